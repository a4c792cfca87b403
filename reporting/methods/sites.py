"""SitesManager: the sites and the instance-wide rules of tracking."""

import ipaddress
import re
from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from typing import Any
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, available_timezones

import msgspec

from reporting.access import sites_with
from reporting.errors import ApiError, missing_parameter
from reporting.method import Access, ApiRequest, Method
from reporting.parameters import Parameters
from reporting.rows import is_strict
from reporting.table import Result, Value
from reporting.wording import CURRENCIES, currency_name, currency_symbol
from schemas.access import Role
from schemas.config import Config, ConfigEvent, Site

_PAGE_OF_SITES = 15
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
    for part in _parts(text):
        plain = part.replace("*", "0")
        try:
            ipaddress.ip_network(plain, strict=False)
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


def _parts(text: str) -> tuple[str, ...]:
    """Comma or line separated."""
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
            changes[key] = _parts(sent.text(name)) or None
    for name, key in (("excludedQueryParameters", "excluded_parameters"),
                      ("excludedUserAgents", "excluded_user_agents"),
                      ("excludedReferrers", "excluded_referrers")):  # fmt: skip
        if name in sent:
            changes[key] = tuple(part for text in sent.texts(name) for part in _parts(text))
    if "excludedIps" in sent:
        changes["excluded_ips"] = parse_ips(",".join(sent.texts("excludedIps")))
    if sent.text("timezone"):
        changes["timezone"] = parse_timezone(sent.text("timezone"))
    if sent.text("currency"):
        changes["currency"] = parse_currency(sent.text("currency"))
    if "group" in sent:
        changes["group"] = sent.text("group").strip()
    if sent.text("type"):
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


def _at(request: ApiRequest) -> int:
    return int(request.now.timestamp() * 1000)


# Sites


async def _add_site(request: ApiRequest) -> Result:
    if not request.parameters.text("siteName").strip():
        raise missing_parameter("siteName")

    def change(config: Config) -> Sequence[ConfigEvent]:
        draft = Site(
            site_id=max(config.sites, default=0) + 1,
            name="",
            created_at=request.now.strftime("%Y-%m-%d %H:%M:%S"),
            creator=request.grant.login,
            timezone=config.tracking.default_timezone,
            currency=config.tracking.default_currency,
        )
        return [ConfigEvent(at=_at(request), site=changed_site(draft, request.parameters))]

    config = await request.change(change)
    return max(config.sites)


async def _change_site(request: ApiRequest, parameters: Parameters) -> None:
    def change(config: Config) -> Sequence[ConfigEvent]:
        return [ConfigEvent(at=_at(request), site=changed_site(config.sites[request.site_id], parameters))]

    await request.change(change)


async def _update_site(request: ApiRequest) -> Result:
    await _change_site(request, request.parameters)
    return None


async def _delete_site(request: ApiRequest) -> Result:
    def change(config: Config) -> Sequence[ConfigEvent]:
        if len(known_sites(config)) == 1:
            raise ApiError("It is not possible to delete the only site of this instance.")
        deleted = msgspec.structs.replace(config.sites[request.site_id], deleted=True)
        return [ConfigEvent(at=_at(request), site=deleted)]

    await request.change(change)
    return None


def _site_of(request: ApiRequest) -> Site:
    site = request.config.site(request.site_id)
    assert site is not None, "the dispatcher checks that the site exists"
    return site


async def _get_site(request: ApiRequest) -> Result:
    return (await _shown(request, [_site_of(request)]))[0]


async def _first_days(request: ApiRequest, sites: Sequence[Site]) -> dict[int, date]:
    """The day of each site's first visit."""
    rows = await request.database.select(
        "SELECT site_id, min(date) AS first FROM visits WHERE has({sites:Array(UInt32)}, site_id)"
        " GROUP BY site_id",
        {"sites": [site.site_id for site in sites]},
    )
    return {int(row["site_id"]): date.fromisoformat(str(row["first"])[:10]) for row in rows}


def created_at(site: Site, first_day: date | None) -> str:
    """Matomo moves a site's creation to the day before its earliest visit."""
    if first_day is None:
        return site.created_at
    return min(site.created_at, f"{first_day - timedelta(days=1)} 00:00:00")


async def _shown(request: ApiRequest, sites: Sequence[Site]) -> list[Value]:
    shown: list[Value] = []
    first_days = await _first_days(request, sites) if is_strict(request) else {}
    for site in sites:
        columns = site_columns(site)
        columns["ts_created"] = created_at(site, first_days.get(site.site_id))
        if not request.grant.superuser:
            del columns["creator_login"]
        shown.append(columns)
    return shown


def _with_role(request: ApiRequest, role: Role) -> list[Site]:
    sites = known_sites(request.config)
    allowed = set(sites_with(request.grant, role, (site.site_id for site in sites)))
    return [site for site in sites if site.site_id in allowed]


def _exactly(request: ApiRequest, role: Role) -> list[Site]:
    """Sites on which this is the role, no more and no less; none for a super user but `admin`."""
    if request.grant.superuser:
        return known_sites(request.config) if role == "admin" else []
    return [site for site in known_sites(request.config) if request.grant.roles.get(site.site_id) == role]


async def _all_sites(request: ApiRequest) -> Result:
    return await _shown(request, known_sites(request.config))


def _all_ids(request: ApiRequest) -> Result:
    return [site.site_id for site in known_sites(request.config)]


async def _sites_at_least_view(request: ApiRequest) -> Result:
    limit = request.parameters.integer("limit")
    sites = _with_role(request, "view")
    return await _shown(request, sites if not limit or limit < 0 else sites[:limit])


async def _sites_with_admin(request: ApiRequest) -> Result:
    pattern = request.parameters.text("pattern").lower()
    sites = [site for site in _with_role(request, "admin") if _matches(site, pattern)]
    limit = request.parameters.integer("limit")
    return await _shown(request, sites if not limit or limit < 0 else sites[:limit])


async def _sites_with_view(request: ApiRequest) -> Result:
    return await _shown(request, _exactly(request, "view"))


async def _sites_with_minimum(request: ApiRequest) -> Result:
    permission = request.parameters.text("permission")
    if permission not in ("view", "write", "admin"):
        raise ApiError(f"permission is '{permission}': expected view, write or admin.")
    role: Role = "view" if permission == "view" else "write" if permission == "write" else "admin"
    pattern = request.parameters.text("pattern").lower()
    return await _shown(request, [site for site in _with_role(request, role) if _matches(site, pattern)])


def _ids_at_least_view(request: ApiRequest) -> Result:
    return [site.site_id for site in _with_role(request, "view")]


def _ids_with_view(request: ApiRequest) -> Result:
    return [site.site_id for site in _exactly(request, "view")]


def _ids_with_write(request: ApiRequest) -> Result:
    return [site.site_id for site in _exactly(request, "write")]


def _ids_with_admin(request: ApiRequest) -> Result:
    return [site.site_id for site in _with_role(request, "admin")]


def _host_and_path(url: str) -> str:
    plain = url.split("://", 1)[-1].rstrip("/").lower()
    return plain.removeprefix("www.")


def _ids_from_url(request: ApiRequest) -> Result:
    wanted = _host_and_path(request.parameters.required("url"))
    found: list[Value] = []
    for site in _with_role(request, "view"):
        if any(_host_and_path(url) == wanted for url in site.urls):
            found.append({"idsite": site.site_id})
    return found


def _urls(request: ApiRequest) -> Result:
    return list(_site_of(request).urls)


async def _add_aliases(request: ApiRequest) -> Result:
    added = parse_urls([part for text in request.parameters.texts("urls") for part in text.split(",")])

    def change(config: Config) -> Sequence[ConfigEvent]:
        site = config.sites[request.site_id]
        urls = tuple(dict.fromkeys((*site.urls, *added)))
        return [ConfigEvent(at=_at(request), site=msgspec.structs.replace(site, urls=urls))]

    before = len(_site_of(request).urls)
    config = await request.change(change)
    return len(config.sites[request.site_id].urls) - before


async def _set_aliases(request: ApiRequest) -> Result:
    aliases = parse_urls([part for text in request.parameters.texts("urls") for part in text.split(",")])

    def change(config: Config) -> Sequence[ConfigEvent]:
        site = config.sites[request.site_id]
        urls = tuple(dict.fromkeys((*site.urls[:1], *aliases)))
        return [ConfigEvent(at=_at(request), site=msgspec.structs.replace(site, urls=urls))]

    config = await request.change(change)
    return len(config.sites[request.site_id].urls) - 1


def _matches(site: Site, pattern: str) -> bool:
    if not pattern:
        return True
    texts = (site.name, site.group, *site.urls, str(site.site_id))
    return any(pattern in text.lower() for text in texts)


async def _pattern_sites(request: ApiRequest) -> Result:
    """Sites whose name, group or address contains the pattern; by name."""
    pattern = request.parameters.text("pattern").lower()
    sites = [site for site in _with_role(request, "view") if _matches(site, pattern)]
    sites.sort(key=lambda site: site.name.lower())
    limit = request.parameters.integer("limit")
    if limit is not None and limit > 0:
        sites = sites[:limit]
    return await _shown(request, sites)


def _groups(request: ApiRequest) -> Result:
    return list(dict.fromkeys(site.group for site in known_sites(request.config)))


async def _from_group(request: ApiRequest) -> Result:
    group = request.parameters.text("group").strip()
    return await _shown(request, [site for site in known_sites(request.config) if site.group == group])


async def _rename_group(request: ApiRequest) -> Result:
    old, new = request.parameters.text("oldGroupName"), request.parameters.text("newGroupName").strip()

    def change(config: Config) -> Sequence[ConfigEvent]:
        return [
            ConfigEvent(at=_at(request), site=msgspec.structs.replace(site, group=new))
            for site in known_sites(config)
            if site.group == old
        ]

    await request.change(change)
    return True


# Instance-wide settings


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
                    changes[name] = _parts(text)

        def change(config: Config) -> Sequence[ConfigEvent]:
            return [
                ConfigEvent(at=_at(request), tracking=msgspec.structs.replace(config.tracking, **changes))
            ]

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
        own = getattr(_site_of(request), field)
        everywhere = getattr(request.config.tracking, instance_field)
        return list(dict.fromkeys((*everywhere, *own)))

    return Method(answer=answer, takes_sites=True, several_sites=False)


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


# Tracking code


def _tracker_base(request: ApiRequest) -> str:
    given = request.parameters.text("piwikUrl") or str(request.state.get("base_url", ""))
    return given.split("://", 1)[-1].rstrip("/")


def _quoted(text: str) -> str:
    """Inside a single-quoted string of a script in a page."""
    return text.replace("\\", "\\\\").replace("'", "\\'").replace("<", "\\u003C").replace("\n", " ")


def _javascript_tag(request: ApiRequest) -> Result:
    """The snippet that loads the tracker, as HTML text."""
    parameters = request.parameters
    calls: list[str] = []
    if parameters.flag("mergeSubdomains") or parameters.flag("mergeAliasUrls"):
        hosts = [f"*.{_host_and_path(url)}" for url in _site_of(request).urls]
        if parameters.flag("mergeSubdomains") and hosts:
            calls.append(f"setCookieDomain', '{_quoted(hosts[0])}'")
        listed = ",".join(f"'{_quoted(host)}'" for host in hosts)
        calls.append(f"setDomains', [{listed}]")
    for name, method in (
        ("customCampaignNameQueryParam", "setCampaignNameKey"),
        ("customCampaignKeywordParam", "setCampaignKeywordKey"),
    ):
        if parameters.text(name):
            calls.append(f"{method}', '{_quoted(parameters.text(name))}'")
    if parameters.flag("doNotTrack"):
        calls.append("setDoNotTrack', true")
    if parameters.flag("disableCookies"):
        calls.append("disableCookies'")
    calls += ["trackPageView'", "enableLinkTracking'"]
    pushes = "".join(f"  _paq.push(['{call}]);\n" for call in calls)
    return (
        "<!-- Matomo -->\n<script>\n"
        "  var _paq = window._paq = window._paq || [];\n"
        '  /* tracker methods like "setCustomDimension" should be called before "trackPageView" */\n'
        f"{pushes}"
        "  (function() {\n"
        f'    var u="//{_quoted(_tracker_base(request))}/";\n'
        "    _paq.push(['setTrackerUrl', u+'matomo.php']);\n"
        f"    _paq.push(['setSiteId', '{request.site_id}']);\n"
        "    var d=document, g=d.createElement('script'), s=d.getElementsByTagName('script')[0];\n"
        "    g.async=true; g.src=u+'matomo.js'; s.parentNode.insertBefore(g,s);\n"
        "  })();\n</script>\n<!-- End Matomo Code -->\n"
    )


def _image_code(request: ApiRequest) -> Result:
    query = f"idsite={request.site_id}&amp;rec=1"
    if goal := request.parameters.integer("idGoal"):
        query += f"&amp;idgoal={goal}"
    base = str(request.parameters.text("piwikUrl") or request.state.get("base_url", ""))
    scheme = "https" if base.startswith("https://") else "http"
    return (
        "<!-- Matomo Image Tracker-->\n"
        f'<img referrerpolicy="no-referrer-when-downgrade" src="{scheme}://{_tracker_base(request)}/matomo.php?{query}"'
        ' style="border:0" alt="" />\n<!-- End Matomo -->'
    )


def _on_site(answer: Any, access: Access = Access.VIEW, required: tuple[str, ...] = ()) -> Method:
    return Method(answer=answer, access=access, takes_sites=True, several_sites=False, required=required)


def _open(answer: Any, access: Access = Access.NONE) -> Method:
    return Method(answer=answer, access=access)


METHODS: dict[str, Method] = {
    "SitesManager.addSite": Method(answer=_add_site, access=Access.SUPERUSER, required=("siteName",)),
    "SitesManager.updateSite": _on_site(_update_site, Access.ADMIN),
    "SitesManager.deleteSite": Method(
        answer=_delete_site, access=Access.SUPERUSER, takes_sites=True, several_sites=False
    ),
    "SitesManager.getSiteFromId": _on_site(_get_site),
    "SitesManager.getAllSites": _open(_all_sites, Access.SUPERUSER),
    "SitesManager.getAllSitesId": _open(_all_ids, Access.SUPERUSER),
    "SitesManager.getSitesWithAtLeastViewAccess": _open(_sites_at_least_view),
    "SitesManager.getSitesWithAdminAccess": _open(_sites_with_admin),
    "SitesManager.getSitesWithViewAccess": _open(_sites_with_view),
    "SitesManager.getSitesWithMinimumAccess": Method(
        answer=_sites_with_minimum, access=Access.NONE, required=("permission",)
    ),
    "SitesManager.getSitesIdWithAtLeastViewAccess": _open(_ids_at_least_view),
    "SitesManager.getSitesIdWithViewAccess": _open(_ids_with_view),
    "SitesManager.getSitesIdWithWriteAccess": _open(_ids_with_write),
    "SitesManager.getSitesIdWithAdminAccess": _open(_ids_with_admin),
    "SitesManager.getSitesIdFromSiteUrl": Method(
        answer=_ids_from_url, access=Access.SOME_VIEW, required=("url",)
    ),
    "SitesManager.getSiteUrlsFromId": _on_site(_urls),
    "SitesManager.addSiteAliasUrls": _on_site(_add_aliases, Access.ADMIN, ("urls",)),
    "SitesManager.setSiteAliasUrls": _on_site(_set_aliases, Access.ADMIN),
    "SitesManager.getPatternMatchSites": Method(
        answer=_pattern_sites, access=Access.NONE, required=("pattern",)
    ),
    "SitesManager.getNumWebsitesToDisplayPerPage": _open(lambda _: _PAGE_OF_SITES, Access.SOME_VIEW),
    "SitesManager.getSitesGroups": _open(_groups, Access.SUPERUSER),
    "SitesManager.getSitesFromGroup": _open(_from_group, Access.SUPERUSER),
    "SitesManager.renameGroup": Method(
        answer=_rename_group, access=Access.SUPERUSER, required=("oldGroupName", "newGroupName")
    ),
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
    "SitesManager.getJavascriptTag": _on_site(_javascript_tag),
    "SitesManager.getImageTrackingCode": _on_site(_image_code),
}
