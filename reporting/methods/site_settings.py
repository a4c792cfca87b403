"""A site as the API shows it, and what a caller may set of it."""

import ipaddress
import re
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

import msgspec

from reporting.errors import ApiError
from reporting.method import Access, ApiRequest, Method
from reporting.parameters import Parameters
from reporting.table import Result, Value
from reporting.wording import currency_name
from schemas.config import Config, Site

_STARS_LAST = re.compile(r"(?:[0-9]+\.){1,3}\*(?:\.\*)*")
SITE_TYPES = ("website", "mobileapp", "intranet")
_OFFSET = re.compile(r"UTC[+-](1[0-4]|[0-9])(\.5|\.75)?")


def known_sites(config: Config) -> list[Site]:
    """Sites that are not deleted, by id."""
    return [site for _, site in sorted(config.sites.items()) if not site.deleted]


def site_columns(site: Site) -> dict[str, Value]:
    """A site as the API shows it."""
    return {
        "idsite": site.site_id,
        "name": site.name,
        "main_url": site.urls[0] if site.urls else "",
        "ts_created": site.created_at,
        "ecommerce": int(site.ecommerce),
        "sitesearch": int(site.site_search),
        "sitesearch_keyword_parameters": ",".join(site.search_keyword_parameters or ()),
        "sitesearch_category_parameters": ",".join(site.search_category_parameters or ()),
        "timezone": site.timezone,
        "currency": site.currency,
        "exclude_unknown_urls": int(site.exclude_unknown_urls),
        "excluded_ips": ",".join(site.excluded_ips),
        "excluded_parameters": ",".join(site.excluded_parameters),
        "excluded_user_agents": ",".join(site.excluded_user_agents),
        "excluded_referrers": ",".join(site.excluded_referrers),
        "group": site.group,
        "type": site.type,
        "keep_url_fragment": site.keep_url_fragments,
        "creator_login": site.creator,
        "timezone_name": timezone_name(site.timezone),
        "currency_name": currency_name(site.currency),
    }


def timezone_name(zone: str) -> str:
    """`UTC+2` as it is; `America/New_York` is `New York`."""
    return zone if "/" not in zone else zone.rpartition("/")[2].replace("_", " ")


# Reading what a caller sent


def parse_urls(values: Sequence[str]) -> tuple[str, ...]:
    """Without trailing slash, each once. Raises ApiError for what is no address."""
    urls: list[str] = []
    for value in values:
        url = value.strip().rstrip("/")
        if not url:
            continue
        try:
            host = urlsplit(url if "://" in url else f"http://{url}").netloc
        except ValueError:  # an IPv6 address that is none
            host = ""
        if not host or any(mark in url for mark in ' <>"'):
            raise ApiError(f"The url '{value}' is not a valid URL.")
        urls.append(url if "://" in url else f"http://{url}")
    return tuple(dict.fromkeys(urls))


def parse_ips(text: str) -> tuple[str, ...]:
    """Addresses, networks and addresses with `*`. Raises ApiError that names the one that is none."""
    found = []
    for part in comma_or_line_separated(text):
        try:
            if "*" in part and not _STARS_LAST.fullmatch(part):
                raise ValueError(part)
            ipaddress.ip_network(part.replace("*", "0"), strict=False)
        except ValueError:
            raise ApiError(
                f'The IP to exclude "{part}" does not have a valid IP format (for example: 1.2.3.4,'
                " 1.2.3.*, 1.2.*.* or 1.2.3.4/24)."
            ) from None
        found.append(part)
    return tuple(dict.fromkeys(found))


def parse_timezone(zone: str) -> str:
    """Raises ApiError. `UTC+2`, `UTC-3.5` and the names of the time zone database are known."""
    if _OFFSET.fullmatch(zone):
        return zone
    try:
        ZoneInfo(zone)
    except (KeyError, ValueError, OSError):
        raise ApiError(f"The timezone '{zone}' is not valid. Please enter a valid timezone.") from None
    return zone


def parse_currency(code: str) -> str:
    """Raises ApiError. Also codes are taken whose names nobody here knows."""
    if not re.fullmatch(r"[A-Z]{3}", code):
        raise ApiError(
            f"The currency '{code}' is not valid. Please enter a valid currency symbol (eg. USD, EUR)."
        )
    return code


def parse_start(text: str) -> str:
    """YYYY-MM-DD, with or without a time; raises ApiError."""
    match = re.fullmatch(r"\s*(\d{4}-\d{2}-\d{2})(?:[ T](\d{2}:\d{2}:\d{2}))?\s*", text)
    if not match:
        raise ApiError(f"The start date '{text}' is not valid: expected YYYY-MM-DD or YYYY-MM-DD HH:MM:SS.")
    return f"{match[1]} {match[2] or '00:00:00'}"


def comma_or_line_separated(text: str) -> tuple[str, ...]:
    """The parts, trimmed, each once."""
    return tuple(dict.fromkeys(part.strip() for part in re.split(r"[,\n]", text) if part.strip()))


def _setting_values(parameters: Parameters) -> dict[str, Any]:
    """`settingValues[Plugin][n][name|value]`, as Matomo's page sends them, under the parameters' names."""
    names = {
        "urls": "urls", "ecommerce": "ecommerce", "sitesearch": "siteSearch",
        "sitesearch_keyword_parameters": "searchKeywordParameters",
        "sitesearch_category_parameters": "searchCategoryParameters", "excluded_ips": "excludedIps",
        "excluded_parameters": "excludedQueryParameters", "excluded_user_agents": "excludedUserAgents",
        "excluded_referrers": "excludedReferrers", "keep_url_fragment": "keepURLFragments",
        "exclude_unknown_urls": "excludeUnknownUrls",
    }  # fmt: skip
    found: dict[str, Any] = {}
    for settings in parameters.nested("settingValues").values():
        for setting in settings.values() if isinstance(settings, Mapping) else ():
            if isinstance(setting, Mapping) and setting.get("name") in names:
                found[names[setting["name"]]] = setting.get("value", "")
    return found


def changed_site(site: Site, parameters: Parameters) -> Site:
    """The site with what the parameters say; missing ones leave it alone. Raises ApiError."""
    sent = Parameters({**_setting_values(parameters), **parameters.values})
    changes: dict[str, Any] = {}
    if "siteName" in sent:
        name = sent.text("siteName").strip()
        if not name:
            raise ApiError("The site name is empty: please specify a name for the site.")
        changes["name"] = name[:90]
    if "urls" in sent:
        urls = parse_urls([part for text in sent.texts("urls") for part in re.split(r"[,\n]", text)])
        if not urls and site.type != "mobileapp":
            raise ApiError("At least one URL must be specified for the website.")
        changes["urls"] = urls
    for name, key in (("ecommerce", "ecommerce"), ("siteSearch", "site_search"),
                      ("excludeUnknownUrls", "exclude_unknown_urls")):  # fmt: skip
        if sent.text(name) != "":
            changes[key] = sent.flag(name)
    for name, key in (("searchKeywordParameters", "search_keyword_parameters"),
                      ("searchCategoryParameters", "search_category_parameters")):  # fmt: skip
        if name in sent:
            # Empty means the instance's parameters, as in Matomo.
            changes[key] = comma_or_line_separated(sent.text(name)) or None
    for name, key in (("excludedQueryParameters", "excluded_parameters"),
                      ("excludedUserAgents", "excluded_user_agents"),
                      ("excludedReferrers", "excluded_referrers")):  # fmt: skip
        if name in sent:
            changes[key] = tuple(part for text in sent.texts(name) for part in comma_or_line_separated(text))
    if "excludedIps" in sent:
        changes["excluded_ips"] = parse_ips(",".join(sent.texts("excludedIps")))
    if sent.text("timezone"):
        changes["timezone"] = parse_timezone(sent.text("timezone"))
    if sent.text("currency"):
        changes["currency"] = parse_currency(sent.text("currency"))
    if "group" in sent:
        changes["group"] = sent.text("group").strip()
    if sent.text("type"):
        if sent.text("type") not in SITE_TYPES:
            raise ApiError(f"type is '{sent.text('type')}': expected one of {', '.join(SITE_TYPES)}.")
        changes["type"] = sent.text("type")
    if sent.text("startDate"):
        changes["created_at"] = parse_start(sent.text("startDate"))
    fragments = sent.integer("keepURLFragments")
    if fragments is not None:
        if fragments not in (0, 1, 2):
            raise ApiError(
                f"keepURLFragments is {fragments}: expected 0 (the default), 1 (keep) or 2 (drop)."
            )
        changes["keep_url_fragments"] = fragments
    return msgspec.structs.replace(site, **changes)


def at(request: ApiRequest) -> int:
    return int(request.now.timestamp() * 1000)


def site_of(request: ApiRequest) -> Site:
    site = request.config.site(request.site_id)
    assert site is not None, "the dispatcher checks that the site exists"
    return site


def host_and_path(url: str) -> str:
    plain = url.split("://", 1)[-1].rstrip("/").lower()
    return plain.removeprefix("www.")


def _setting(name: str, title: str, kind: str, value: Value, default: Value) -> Value:
    control = {"boolean": "checkbox", "array": "textarea", "integer": "singleselect"}.get(kind, "text")
    return {
        "name": name, "title": title, "value": value, "defaultValue": default, "type": kind,
        "uiControl": control,
    }  # fmt: skip


_MEASURABLES = {
    "website": ("Website", "Pages under one or several addresses."),
    "mobileapp": ("Mobile App", "An app that sends what it shows as pages or screens."),
    "intranet": ("Intranet", "Pages of an organisation, whose visitors share a few addresses."),
}


def _measurable_types(_: ApiRequest) -> Result:
    """The kinds of site, and what may be set of each."""
    return [
        {
            "id": kind,
            "name": _MEASURABLES[kind][0],
            "description": _MEASURABLES[kind][1],
            "howToSetupUrl": "",
            "settings": settings_of(Site(site_id=0, name="")),
        }
        for kind in SITE_TYPES
    ]


def settings_of(site: Site) -> list[Value]:
    """What may be set of a site beside name, timezone and currency, under the names of settingValues."""

    def lines(name: str, title: str, values: Sequence[str] | None) -> Value:
        return _setting(name, title, "array", list(values or ()), [])

    def choice(name: str, title: str, value: int, default: int) -> Value:
        return _setting(name, title, "integer", value, default)

    return [
        {
            "pluginName": "WebsiteMeasurable",
            "title": "WebsiteMeasurable",
            "settings": [
                lines("urls", "URLs", site.urls),
                _setting("exclude_unknown_urls", "Only track URLs of the site", "boolean",
                         site.exclude_unknown_urls, False),
                choice("keep_url_fragment", "Fragments of page URLs", site.keep_url_fragments, 0),
                lines("excluded_ips", "Excluded IPs", site.excluded_ips),
                lines("excluded_parameters", "Excluded parameters", site.excluded_parameters),
                lines("excluded_user_agents", "Excluded user agents", site.excluded_user_agents),
                lines("excluded_referrers", "Excluded referrers", site.excluded_referrers),
                choice("sitesearch", "Site search", int(site.site_search), 1),
                lines("sitesearch_keyword_parameters", "Keyword parameters", site.search_keyword_parameters),
                lines("sitesearch_category_parameters", "Category parameters",
                      site.search_category_parameters),
                choice("ecommerce", "Ecommerce", int(site.ecommerce), 0),
            ],
        }
    ]  # fmt: skip


METHODS: dict[str, Method] = {
    "API.getAvailableMeasurableTypes": Method(
        answer=_measurable_types, access=Access.SOME_VIEW, filters=False
    ),
    "SitesManager.getSiteSettings": Method(
        answer=lambda request: settings_of(site_of(request)),
        access=Access.ADMIN,
        takes_sites=True,
        several_sites=False,
    ),
}
