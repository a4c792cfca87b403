"""SitesManager: the sites."""

from collections.abc import Sequence
from datetime import date, timedelta
from typing import Any

import msgspec

from reporting.access import sites_with
from reporting.errors import ApiError, missing_parameter
from reporting.method import Access, ApiRequest, Method
from reporting.methods.site_settings import (
    at,
    changed_site,
    host_and_path,
    known_sites,
    parse_urls,
    site_columns,
    site_of,
)
from reporting.parameters import Parameters
from reporting.rows import is_strict
from reporting.table import Result, Value
from schemas.access import Role
from schemas.config import Config, ConfigEvent, Site

_PAGE_OF_SITES = 15


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
        return [ConfigEvent(at=at(request), site=changed_site(draft, request.parameters))]

    config = await request.change(change)
    return max(config.sites)


async def _change_site(request: ApiRequest, parameters: Parameters) -> None:
    def change(config: Config) -> Sequence[ConfigEvent]:
        return [ConfigEvent(at=at(request), site=changed_site(config.sites[request.site_id], parameters))]

    await request.change(change)


async def _update_site(request: ApiRequest) -> Result:
    await _change_site(request, request.parameters)
    return None


async def _delete_site(request: ApiRequest) -> Result:
    def change(config: Config) -> Sequence[ConfigEvent]:
        if len(known_sites(config)) == 1:
            raise ApiError("It is not possible to delete the only site of this instance.")
        deleted = msgspec.structs.replace(config.sites[request.site_id], deleted=True)
        return [ConfigEvent(at=at(request), site=deleted)]

    await request.change(change)
    return None


async def _get_site(request: ApiRequest) -> Result:
    return (await _shown(request, [site_of(request)]))[0]


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


async def _ids_with_visits(request: ApiRequest) -> Result:
    """Sites with an action since `timestamp` (unix seconds; without it, ever)."""
    rows = await request.database.select(
        "SELECT DISTINCT site_id FROM visits WHERE last_time >= toDateTime({since:Int64}, 'UTC')"
        " ORDER BY site_id",
        {"since": max(0, min(request.parameters.integer("timestamp", 0), 2**32 - 1))},
    )
    known = {site.site_id for site in known_sites(request.config)}
    return [int(row["site_id"]) for row in rows if int(row["site_id"]) in known]


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


def _ids_from_url(request: ApiRequest) -> Result:
    wanted = host_and_path(request.parameters.required("url"))
    found: list[Value] = []
    for site in _with_role(request, "view"):
        if any(host_and_path(url) == wanted for url in site.urls):
            found.append({"idsite": site.site_id})
    return found


def _urls(request: ApiRequest) -> Result:
    return list(site_of(request).urls)


async def _add_aliases(request: ApiRequest) -> Result:
    added = parse_urls([part for text in request.parameters.texts("urls") for part in text.split(",")])

    def change(config: Config) -> Sequence[ConfigEvent]:
        site = config.sites[request.site_id]
        urls = tuple(dict.fromkeys((*site.urls, *added)))
        return [ConfigEvent(at=at(request), site=msgspec.structs.replace(site, urls=urls))]

    before = len(site_of(request).urls)
    config = await request.change(change)
    return len(config.sites[request.site_id].urls) - before


async def _set_aliases(request: ApiRequest) -> Result:
    aliases = parse_urls([part for text in request.parameters.texts("urls") for part in text.split(",")])

    def change(config: Config) -> Sequence[ConfigEvent]:
        site = config.sites[request.site_id]
        urls = tuple(dict.fromkeys((*site.urls[:1], *aliases)))
        return [ConfigEvent(at=at(request), site=msgspec.structs.replace(site, urls=urls))]

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
            ConfigEvent(at=at(request), site=msgspec.structs.replace(site, group=new))
            for site in known_sites(config)
            if site.group == old
        ]

    await request.change(change)
    return True


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
    "SitesManager.getMessagesToWarnOnSiteRemoval": _on_site(lambda _: [], Access.ADMIN),
    "SitesManager.getSiteFromId": _on_site(_get_site),
    "SitesManager.getAllSites": _open(_all_sites, Access.SUPERUSER),
    "SitesManager.getAllSitesId": _open(_all_ids, Access.SUPERUSER),
    "SitesManager.getSitesWithAtLeastViewAccess": _open(_sites_at_least_view),
    "SitesManager.getSitesWithAdminAccess": _open(_sites_with_admin),
    "SitesManager.getSitesWithViewAccess": _open(_sites_with_view),
    "SitesManager.getSitesWithMinimumAccess": Method(
        answer=_sites_with_minimum, access=Access.NONE, required=("permission",)
    ),
    "SitesManager.getSitesIdWithVisits": Method(answer=_ids_with_visits, access=Access.SUPERUSER),
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
}
