"""PrivacyManager: what is masked before a hit is stored."""

import asyncio
from collections.abc import Sequence
from typing import Any

import msgspec

from reporting.errors import ApiError
from reporting.method import Access, ApiRequest, Method
from reporting.parameters import Parameters
from reporting.past import Past
from reporting.table import Result
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
        if length is None or not 0 <= length <= _MAX_MASK:
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


METHODS: dict[str, Method] = {
    "PrivacyManager.setAnonymizeIpSettings": Method(answer=_set_ip, access=Access.SUPERUSER),
    "PrivacyManager.setDeleteLogsSettings": Method(answer=_set_rows, access=Access.SUPERUSER),
    "PrivacyManager.setDeleteReportsSettings": Method(answer=_set_archives, access=Access.SUPERUSER),
    "PrivacyManager.executeDataPurge": Method(answer=_purge, access=Access.SUPERUSER),
    "PrivacyManager.activateDoNotTrack": _switch("honour_do_not_track", on=True),
    "PrivacyManager.deactivateDoNotTrack": _switch("honour_do_not_track", on=False),
    "PrivacyManager.activateGlobalPrivacyControl": _switch("honour_global_privacy_control", on=True),
    "PrivacyManager.deactivateGlobalPrivacyControl": _switch("honour_global_privacy_control", on=False),
}
