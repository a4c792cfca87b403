"""PrivacyManager: what is masked before a hit is stored, or afterwards; lifetimes."""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

import msgspec

from reporting.errors import ApiError
from reporting.method import Access, ApiRequest, Method
from reporting.parameters import Parameters
from reporting.past import Past
from reporting.periods import names_several, parse_periods
from reporting.table import Result
from schemas.anonymisation import ACTION_COLUMNS, VISIT_COLUMNS, Anonymisation, Unset
from schemas.config import Config, ConfigEvent, Privacy

REFERRER_MODES = ("", "exclude_query", "exclude_path", "exclude_all")
_MAX_MASK = 4
_DAYS_OF_A_MONTH = 31


async def _write(request: ApiRequest, **changes: Any) -> None:
    def change(config: Config) -> Sequence[ConfigEvent]:
        privacy = msgspec.structs.replace(config.privacy, **changes)
        return [ConfigEvent(at=int(request.now.timestamp() * 1000), privacy=privacy)]

    await request.change(change)


def ip_settings(privacy: Privacy, parameters: Parameters) -> dict[str, Any]:
    """The fields that setAnonymizeIpSettings changes. Raises ApiError."""
    changes: dict[str, Any] = {}
    if "maskLength" in parameters or "anonymizeIPEnable" in parameters:
        enabled = parameters.flag("anonymizeIPEnable", privacy.ip_mask_bytes > 0)
        length = parameters.integer("maskLength", privacy.ip_mask_bytes or 2)
        if not 0 <= length <= _MAX_MASK:
            raise ApiError(f"maskLength is {parameters.text('maskLength')}: expected 0 to {_MAX_MASK} bytes.")
        changes["ip_mask_bytes"] = length if enabled else 0
    for name, key in (
        ("useAnonymizedIpForVisitEnrichment", "use_masked_ip_for_enrichment"),
        ("anonymizeUserId", "anonymise_user_id"),
        ("anonymizeOrderId", "anonymise_order_id"),
        ("forceCookielessTracking", "force_cookieless"),
        ("requireConsent", "require_consent"),
    ):
        if name in parameters:
            changes[key] = parameters.flag(name)
    if "anonymizeReferrer" in parameters:
        mode = parameters.text("anonymizeReferrer")
        if mode not in REFERRER_MODES:
            raise ApiError(
                f"anonymizeReferrer is '{mode}': expected nothing or one of {', '.join(REFERRER_MODES[1:])}."
            )
        changes["anonymise_referrer"] = mode
    return changes


async def _set_ip(request: ApiRequest) -> Result:
    await _write(request, **ip_settings(request.config.privacy, request.parameters))
    return True


def _switch(setting: str, *, on: bool) -> Method:
    async def answer(request: ApiRequest) -> Result:
        await _write(request, **{setting: on})
        return True

    return Method(answer=answer, access=Access.SUPERUSER)


def _lifetime(request: ApiRequest, enable: str, older: str, unit_days: int) -> int:
    """Days, 0 when switched off. Raises ApiError."""
    if not request.parameters.flag(enable):
        return 0
    number = request.parameters.integer(older)
    if number is None or number < 1:
        raise ApiError(f"{older} is '{request.parameters.text(older)}': expected a number from 1.")
    return number * unit_days


async def _set_rows(request: ApiRequest) -> Result:
    """The lifetime of visits and actions, in days."""
    await _write(request, keep_rows_days=_lifetime(request, "enableDeleteLogs", "deleteLogsOlderThan", 1))
    return True


async def _set_archives(request: ApiRequest) -> Result:
    """The lifetime of archives, in months."""
    days = _lifetime(request, "enableDeleteReports", "deleteReportsOlderThan", _DAYS_OF_A_MONTH)
    await _write(request, keep_archives_days=days)
    return True


async def _purge(request: ApiRequest) -> Result:
    past: Past | None = request.state.get("past")
    if past is None:
        raise ApiError("Rows can't be dropped from this process.", 503)
    await asyncio.to_thread(past.purge)
    return True


async def _anonymise(request: ApiRequest) -> Result:
    """Returns when reports show it. Nothing asks for a password here: the token is a super user's."""
    parameters = request.parameters
    past: Past | None = request.state.get("past")
    if past is None:
        raise ApiError("Hits can't be rewritten from this process.", 503)
    first, last = _days(parameters.text("date"), request.now.date())
    wish = Anonymisation(
        site_ids=_sites(request.config, parameters),
        first=first,
        last=last,
        ip=parameters.flag("anonymizeIp"),
        location=parameters.flag("anonymizeLocation"),
        user_id=parameters.flag("anonymizeUserId"),
        visit_columns=_columns(parameters, "unsetVisitColumns", VISIT_COLUMNS),
        action_columns=_columns(parameters, "unsetLinkVisitActionColumns", ACTION_COLUMNS),
    )
    if not (wish.ip or wish.location or wish.user_id or wish.visit_columns or wish.action_columns):
        raise ApiError("Nothing is to be anonymised: expected at least one of the parameters for it.")
    await asyncio.to_thread(past.anonymise, wish)
    return None


def _days(text: str, today: date) -> tuple[date, date]:
    """`2026-09-01,2026-09-30`, a day, or words such as lastWeek. Raises ApiError."""
    (period,) = parse_periods("range" if names_several("day", text) else "day", text, today)
    return period.start, period.end


def _list(parameters: Parameters, name: str) -> list[str]:
    """Comma-separated, JSON, or `name[]=`."""
    value: Any = parameters.values.get(name)
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, str):
        value = value.strip("[] ").replace('"', "").split(",")
    return [str(one).strip() for one in value or () if str(one).strip()]


def _sites(config: Config, parameters: Parameters) -> tuple[int, ...]:
    """`all` or nothing: every one. Raises ApiError."""
    known = sorted(number for number, site in config.sites.items() if not site.deleted)
    wanted = _list(parameters, "idSites")
    if wanted in ([], ["all"]):
        return tuple(known)
    for one in wanted:
        if not one.isdecimal() or int(one) not in known:
            raise ApiError(f"idSites: there is no website {one}.")
    return tuple(sorted({int(one) for one in wanted}))


def _columns(parameters: Parameters, name: str, known: Mapping[str, Unset]) -> tuple[str, ...]:
    """Raises ApiError."""
    wanted = _list(parameters, name)
    for one in wanted:
        if one not in known:
            raise ApiError(f"{name}: '{one}' can't be unset: expected one of {', '.join(known)}.")
    return tuple(wanted)


async def _visit_columns(_request: ApiRequest) -> Result:
    return _shown(VISIT_COLUMNS)


async def _action_columns(_request: ApiRequest) -> Result:
    return _shown(ACTION_COLUMNS)


def _shown(columns: Mapping[str, Unset]) -> list[Any]:
    return [{"column_name": name, "default_value": one.default} for name, one in columns.items()]


METHODS: dict[str, Method] = {
    "PrivacyManager.setAnonymizeIpSettings": Method(answer=_set_ip, access=Access.SUPERUSER),
    "PrivacyManager.setDeleteLogsSettings": Method(answer=_set_rows, access=Access.SUPERUSER),
    "PrivacyManager.setDeleteReportsSettings": Method(answer=_set_archives, access=Access.SUPERUSER),
    "PrivacyManager.executeDataPurge": Method(answer=_purge, access=Access.SUPERUSER),
    "PrivacyManager.activateDoNotTrack": _switch("honour_do_not_track", on=True),
    "PrivacyManager.deactivateDoNotTrack": _switch("honour_do_not_track", on=False),
    "PrivacyManager.activateGlobalPrivacyControl": _switch("honour_global_privacy_control", on=True),
    "PrivacyManager.deactivateGlobalPrivacyControl": _switch("honour_global_privacy_control", on=False),
    "PrivacyManager.anonymizeSomeRawData": Method(
        answer=_anonymise, access=Access.SUPERUSER, required=("date",)
    ),
    "PrivacyManager.getAvailableVisitColumnsToAnonymize": Method(
        answer=_visit_columns, access=Access.SUPERUSER, filters=False
    ),
    "PrivacyManager.getAvailableLinkVisitActionColumnsToAnonymize": Method(
        answer=_action_columns, access=Access.SUPERUSER, filters=False
    ),
}
