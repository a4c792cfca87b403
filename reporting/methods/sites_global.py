"""SitesManager: rules of tracking for the whole instance, and the timezones and currencies that there are."""

import ipaddress
from collections.abc import Sequence
from typing import Any
from zoneinfo import available_timezones

import msgspec

from reporting.errors import ApiError
from reporting.method import Access, ApiRequest, Method
from reporting.methods.site_settings import (
    at,
    comma_or_line_separated,
    known_sites,
    parse_currency,
    parse_ips,
    parse_timezone,
    site_of,
    timezone_name,
)
from reporting.table import Result, Value
from reporting.wording import CURRENCIES, currency_name, currency_symbol
from schemas.config import Config, ConfigEvent


def _set_tracking(**names: str) -> Method:
    """A setter: parameter -> field of Tracking. A missing parameter leaves the field alone."""

    async def answer(request: ApiRequest) -> Result:
        changes: dict[str, Any] = {}
        for parameter, name in names.items():
            if parameter not in request.parameters:
                continue
            text = ",".join(request.parameters.texts(parameter))
            match name:
                case "excluded_ips":
                    changes[name] = parse_ips(text)
                case "default_timezone":
                    changes[name] = parse_timezone(text)
                case "default_currency":
                    changes[name] = parse_currency(text)
                case "keep_url_fragments":
                    changes[name] = request.parameters.flag(parameter)
                case _:
                    changes[name] = comma_or_line_separated(text)

        def change(config: Config) -> Sequence[ConfigEvent]:
            return [ConfigEvent(at=at(request), tracking=msgspec.structs.replace(config.tracking, **changes))]

        await request.change(change)
        return True

    return Method(answer=answer, access=Access.SUPERUSER)


def _get_tracking(name: str, access: Access = Access.SOME_VIEW) -> Method:
    """A getter: lists as comma separated text."""

    def answer(request: ApiRequest) -> Result:
        value = getattr(request.config.tracking, name)
        return ",".join(value) if isinstance(value, tuple) else value

    return Method(answer=answer, access=access)


def _site_exclusions(field: str, instance_field: str) -> Method:
    """What is excluded on a site: its own and the instance's."""

    def answer(request: ApiRequest) -> Result:
        own = getattr(site_of(request), field)
        everywhere = getattr(request.config.tracking, instance_field)
        return list(dict.fromkeys((*everywhere, *own)))

    return Method(answer=answer, takes_sites=True, several_sites=False)


_COMMON, _CUSTOM = "common_session_parameters", "custom"


async def _exclude_parameters(request: ApiRequest) -> Result:
    """`custom` with a list, or only the parameters that are always left out of page URLs."""
    kind = request.parameters.required("exclusionType")
    names = comma_or_line_separated(",".join(request.parameters.texts("queryParamsToExclude")))
    if kind not in (_COMMON, _CUSTOM):
        raise ApiError(
            f"exclusionType is '{kind}': expected {_COMMON} or {_CUSTOM} (with the names to exclude)."
        )
    if kind == _CUSTOM and not names:
        raise ApiError("queryParamsToExclude is empty: custom needs the names of parameters.")

    def change(config: Config) -> Sequence[ConfigEvent]:
        excluded = names if kind == _CUSTOM else ()
        tracking = msgspec.structs.replace(config.tracking, excluded_parameters=excluded)
        return [ConfigEvent(at=at(request), tracking=tracking)]

    await request.change(change)
    return None


def _parameter_exclusion(request: ApiRequest) -> Result:
    return _CUSTOM if request.config.tracking.excluded_parameters else _COMMON


def _timezones(_: ApiRequest) -> Result:
    """Zones by continent, and fixed offsets under `UTC`."""
    groups: dict[str, dict[str, Value]] = {}
    for zone in sorted(available_timezones()):
        continent, slash, _rest = zone.partition("/")
        if slash and continent not in (
            "Etc",
            "SystemV",
            "US",
            "Brazil",
            "Canada",
            "Chile",
            "Mexico",
            "posix",
            "right",
        ):
            groups.setdefault(continent, {})[zone] = timezone_name(zone)
    offsets: dict[str, Value] = {}
    for half in range(-24, 29):
        hours = half / 2
        name = f"UTC{hours:+g}" if hours else "UTC"
        offsets[name] = name
    return {**groups, "UTC": offsets}


def _unique_timezones(request: ApiRequest) -> Result:
    return list(dict.fromkeys(site.timezone for site in known_sites(request.config)))


def _timezone_name(request: ApiRequest) -> Result:
    return timezone_name(parse_timezone(request.parameters.required("timezone")))


def _currencies(_: ApiRequest) -> Result:
    by_name = sorted(CURRENCIES, key=lambda code: currency_name(code))
    return {code: f"{currency_name(code)} ({currency_symbol(code)})" for code in by_name}


def _currency_symbols(_: ApiRequest) -> Result:
    return {code: currency_symbol(code) for code in CURRENCIES}


def _ips_for_range(request: ApiRequest) -> Result:
    text = request.parameters.required("ipRange")
    try:
        network = ipaddress.ip_network(_with_mask(text), strict=False)
    except ValueError:
        return False
    return [str(network.network_address), str(network.broadcast_address)]


def _with_mask(text: str) -> str:
    """`1.2.*.*` as 1.2.0.0/16."""
    stars = text.count("*")
    return f"{text.replace('*', '0')}/{32 - 8 * stars}" if stars and "/" not in text else text


def _open(answer: Any, access: Access = Access.NONE) -> Method:
    return Method(answer=answer, access=access)


METHODS: dict[str, Method] = {
    "SitesManager.setGlobalQueryParamExclusion": Method(
        answer=_exclude_parameters, access=Access.SUPERUSER, required=("exclusionType",)
    ),
    "SitesManager.getExclusionTypeForQueryParams": _open(_parameter_exclusion, Access.SOME_VIEW),
    "SitesManager.setGlobalExcludedIps": _set_tracking(excludedIps="excluded_ips"),
    "SitesManager.getExcludedIpsGlobal": _get_tracking("excluded_ips", Access.SOME_ADMIN),
    "SitesManager.setGlobalSearchParameters": _set_tracking(
        searchKeywordParameters="site_search_keyword_parameters",
        searchCategoryParameters="site_search_category_parameters",
    ),
    "SitesManager.getSearchKeywordParametersGlobal": _get_tracking("site_search_keyword_parameters"),
    "SitesManager.getSearchCategoryParametersGlobal": _get_tracking("site_search_category_parameters"),
    "SitesManager.setGlobalExcludedQueryParameters": _set_tracking(
        excludedQueryParameters="excluded_parameters"
    ),
    "SitesManager.getExcludedQueryParametersGlobal": _get_tracking("excluded_parameters"),
    "SitesManager.getExcludedQueryParameters": _site_exclusions("excluded_parameters", "excluded_parameters"),
    "SitesManager.setGlobalExcludedUserAgents": _set_tracking(excludedUserAgents="excluded_user_agents"),
    "SitesManager.getExcludedUserAgentsGlobal": _get_tracking("excluded_user_agents", Access.SOME_ADMIN),
    "SitesManager.setGlobalExcludedReferrers": _set_tracking(excludedReferrers="excluded_referrers"),
    "SitesManager.getExcludedReferrersGlobal": _get_tracking("excluded_referrers"),
    "SitesManager.getExcludedReferrers": _site_exclusions("excluded_referrers", "excluded_referrers"),
    "SitesManager.setKeepURLFragmentsGlobal": _set_tracking(enabled="keep_url_fragments"),
    "SitesManager.getKeepURLFragmentsGlobal": _get_tracking("keep_url_fragments"),
    "SitesManager.setDefaultTimezone": _set_tracking(defaultTimezone="default_timezone"),
    "SitesManager.getDefaultTimezone": _get_tracking("default_timezone", Access.NONE),
    "SitesManager.setDefaultCurrency": _set_tracking(defaultCurrency="default_currency"),
    "SitesManager.getDefaultCurrency": _get_tracking("default_currency", Access.NONE),
    "SitesManager.getTimezonesList": _open(_timezones),
    "SitesManager.getUniqueSiteTimezones": _open(_unique_timezones, Access.SUPERUSER),
    "SitesManager.getTimezoneName": Method(answer=_timezone_name, access=Access.NONE, required=("timezone",)),
    "SitesManager.isTimezoneSupportEnabled": _open(lambda _: True, Access.SOME_ADMIN),
    "SitesManager.getCurrencyList": _open(_currencies),
    "SitesManager.getCurrencySymbols": _open(_currency_symbols),
    "SitesManager.getIpsForRange": Method(answer=_ips_for_range, access=Access.NONE, required=("ipRange",)),
}
