"""Transitions: what came before and after a page, by URL or title."""

# ruff: noqa: S608 - texts of queries are declarations of this repository, values are bound parameters

from collections.abc import Mapping
from dataclasses import dataclass

from reporting.errors import ApiError
from reporting.german import translated
from reporting.method import Access, ApiRequest, Method
from reporting.pages import full_url
from reporting.queries import compiled_segment
from reporting.rows import number
from reporting.table import Columns, Result, Row, Table, Value
from reporting.wording import short_period
from schemas.rows import ActionKind

PARTS = ("internalReferrers", "followingActions", "externalReferrers")
_REFERRERS = {
    1: ("Direct entries", "direct"), 2: ("From search engines", "search"), 3: ("From websites", "website"),
    6: ("From campaigns", "campaign"), 7: ("From social networks", "social"), 8: ("From AI assistants", "ai"),
}  # fmt: skip


@dataclass(frozen=True)
class Page:
    """The page asked about: the columns that hold it and its value there."""

    own: str
    previous: str
    entry: str
    exit: str
    value: str


def page_of(url: str) -> Page:
    """The page with this URL as it is stored, without scheme and `www.`."""
    return Page("url", "previous_url", "entry_url", "exit_url", url)


def _by_url(text: str) -> Page:
    return page_of(text.split("://", 1)[-1].removeprefix("www.").split("#", 1)[0])


def _by_title(text: str) -> Page:
    return Page("title", "previous_title", "entry_title", "exit_title", text.strip())


def _grouped_table(found: Mapping[str, float], limit: int) -> Table:
    return Table([Row(columns) for columns in _grouped(found, limit)])


def _grouped(found: Mapping[str, float], limit: int, *, texts: bool = False) -> list[Columns]:
    """Most often first, then by label; what is beyond the limit as Others. `texts`: counts as texts."""
    ordered = sorted(found.items(), key=lambda item: (-item[1], item[0]))
    rows: list[Columns] = [
        {"label": label, "referrals": str(number(count)) if texts else number(count)}
        for label, count in (ordered[:limit] if limit else ordered)
    ]
    rest = sum(count for _, count in ordered[limit:]) if limit else 0
    if rest:
        rows.append({"label": "Others", "referrals": number(rest)})
    return rows


class _Reader:
    """The queries about one page in one site and period."""

    def __init__(self, request: ApiRequest, page: Page) -> None:
        self.request, self.page = request, page
        segment = compiled_segment(request, request.site_id)
        self.ids, self.visit = segment.ids(), segment.visit or "1"
        self.parameters: dict[str, object] = {
            "site": request.site_id,
            "first": request.periods[0].start,
            "last": request.periods[-1].end,
            "page": page.value,
            **segment.parameters,
        }

    async def rows(self, columns: str, table: str, where: str, group: str = "") -> list[Mapping[str, object]]:
        condition = self.visit if table == "visits" else self.ids
        sql = (
            f"SELECT {columns} FROM {table} FINAL WHERE site_id = {{site:UInt32}}"
            f" AND date BETWEEN {{first:Date}} AND {{last:Date}} AND ({condition}) AND {where}"
        )
        return list(
            await self.request.database.select(sql + (f" GROUP BY {group}" if group else ""), self.parameters)
        )

    async def counts(self, columns: str, table: str, where: str, group: str) -> dict[tuple[str, ...], float]:
        """Group -> number of rows. `columns` are the group's expressions."""
        names = group.split(", ")
        found: dict[tuple[str, ...], float] = {}
        for row in await self.rows(f"{columns}, count() AS times", table, where, group):
            key = tuple(str(row[name]) for name in names)
            found[key] = found.get(key, 0.0) + float(str(row["times"]))
        return found


async def _internal(reader: _Reader, limit: int, answer: dict[str, Value]) -> float:
    """Pages and searches before; returns the loops."""
    page = reader.page
    on_page = f"kind = {int(ActionKind.PAGE)} AND {page.own} = {{page:String}}"
    before = await reader.counts(
        f"previous_kind, {page.previous} AS before, previous_keyword, position = 2 AS second", "actions",
        on_page, "previous_kind, before, previous_keyword, second",
    )  # fmt: skip
    pages: dict[str, float] = {}
    searches: dict[str, float] = {}
    loops = 0.0
    for (kind, name, keyword, second), count in before.items():
        if kind == str(int(ActionKind.SEARCH)):
            if page.own == "url" and second == "1":
                # a search that opened the visit is known by titles only
                continue
            searches[keyword] = searches.get(keyword, 0.0) + count
        elif kind == str(int(ActionKind.PAGE)) and name == page.value:
            loops += count
        elif kind == str(int(ActionKind.PAGE)):
            pages[name] = pages.get(name, 0.0) + count
    answer["previousPages"] = _grouped_table(pages, limit)
    answer["previousSiteSearches"] = _grouped_table(searches, limit)
    answer["pageMetrics"] = {"loops": number(loops), "pageviews": number(sum(before.values()))}
    return loops


async def following(request: ApiRequest, page: Page, limit: int) -> dict[str, Table]:
    """Pages, searches, outlinks and downloads after a page, with how often (`referrals`)."""
    return await _following(_Reader(request, page), limit)


async def _following(reader: _Reader, limit: int) -> dict[str, Table]:
    page = reader.page
    after = await reader.counts(
        f"kind, {page.own} AS after, search_keyword, url, url_prefix", "actions",
        f"previous_kind = {int(ActionKind.PAGE)} AND {page.previous} = {{page:String}}",
        "kind, after, search_keyword, url, url_prefix",
    )  # fmt: skip
    groups: dict[str, dict[str, float]] = {
        "followingPages": {}, "followingSiteSearches": {}, "outlinks": {}, "downloads": {},
    }  # fmt: skip
    for (kind, name, keyword, url, prefix), count in after.items():
        match int(kind):
            case ActionKind.PAGE if name != page.value:
                group, label = groups["followingPages"], name
            case ActionKind.SEARCH:
                group, label = groups["followingSiteSearches"], keyword
            case ActionKind.OUTLINK:
                group, label = groups["outlinks"], full_url(url, float(prefix))
            case ActionKind.DOWNLOAD:
                group, label = groups["downloads"], full_url(url, float(prefix))
            case _:
                continue
        group[label] = group.get(label, 0.0) + count
    return {part: _grouped_table(found, limit) for part, found in groups.items()}


async def _external(reader: _Reader, limit: int, answer: dict[str, Value]) -> tuple[float, float]:
    """Where visits that began on the page came from; returns entries and exits."""
    page = reader.page
    entries = await reader.counts(
        "referrer_type, referrer_name, referrer_keyword, referrer_url", "visits",
        f"{page.entry} = {{page:String}}",
        "referrer_type, referrer_name, referrer_keyword, referrer_url",
    )  # fmt: skip
    left = await reader.rows("count() AS times", "visits", f"{page.exit} = {{page:String}}")
    by_type: dict[int, dict[str, float]] = {}
    visits: dict[int, float] = {}
    for (kind_text, name, keyword, url), count in entries.items():
        kind = int(kind_text)
        visits[kind] = visits.get(kind, 0.0) + count
        details = by_type.setdefault(kind, {})
        match kind:
            case 1:
                continue
            case 3 | 7:
                label = url
            case 6:
                label = f"{name} {keyword}".strip()
            case _:
                label = name
        details[label] = details.get(label, 0.0) + count
    answer["referrers"] = [
        {
            "label": _REFERRERS.get(kind, (str(kind), str(kind)))[0],
            "shortName": _REFERRERS.get(kind, (str(kind), str(kind)))[1],
            "visits": number(visits[kind]),
            "details": [*_grouped(by_type[kind], limit, texts=True)],
        }
        for kind in sorted(visits)
    ]
    return sum(visits.values()), float(str(left[0]["times"]))


async def transitions(request: ApiRequest, page: Page) -> Result:
    limit = max(0, request.parameters.integer("limitBeforeGrouping", 0))
    wanted = set(request.parameters.comma_list("parts")) or {"all"}
    parts = [part for part in PARTS if part in wanted or "all" in wanted]
    reader = _Reader(request, page)
    inner: dict[str, Value] = {}
    if "internalReferrers" in parts or "followingActions" in parts:
        await _internal(reader, limit, inner)
        metrics = inner["pageMetrics"]
        if isinstance(metrics, dict) and not metrics["pageviews"]:
            raise ApiError("NoDataForAction")
    answer: dict[str, Value] = {"date": short_period(request.period, request.language)}
    if "internalReferrers" in parts:
        answer |= inner
    if "followingActions" in parts:
        answer |= await _following(reader, limit)
    if "externalReferrers" in parts:
        external: dict[str, Value] = {}
        entries, exits = await _external(reader, limit, external)
        metrics = answer.get("pageMetrics")
        own = dict(metrics) if isinstance(metrics, dict) else {}
        answer["pageMetrics"] = {**own, "entries": number(entries), "exits": number(exits)}
        answer |= external
    return answer


async def _for_url(request: ApiRequest) -> Result:
    return await transitions(request, _by_url(request.parameters.required("pageUrl")))


async def _for_title(request: ApiRequest) -> Result:
    return await transitions(request, _by_title(request.parameters.required("pageTitle")))


async def _for_action(request: ApiRequest) -> Result:
    kind = request.parameters.required("actionType")
    if kind not in ("url", "title"):
        raise ApiError("Unknown action type")
    name = request.parameters.required("actionName")
    return await transitions(request, _by_url(name) if kind == "url" else _by_title(name))


_WORDS = {
    "pageviewsInline": "%s page views",
    "loopsInline": "%s reloads",
    "fromPreviousPages": "From pages of the site",
    "fromPreviousPagesInline": "%s from pages of the site",
    "fromPreviousSiteSearches": "From site searches",
    "fromPreviousSiteSearchesInline": "%s from site searches",
    "fromSearchEngines": "From search engines",
    "fromSearchEnginesInline": "%s from search engines",
    "fromSocialNetworks": "From social networks",
    "fromSocialNetworksInline": "%s from social networks",
    "fromWebsites": "From websites",
    "fromWebsitesInline": "%s from websites",
    "fromCampaigns": "From campaigns",
    "fromCampaignsInline": "%s from campaigns",
    "directEntries": "Direct entries",
    "directEntriesInline": "%s direct entries",
    "toFollowingPages": "To pages of the site",
    "toFollowingPagesInline": "%s to pages of the site",
    "toFollowingSiteSearches": "Site searches",
    "toFollowingSiteSearchesInline": "%s site searches",
    "downloads": "Downloads",
    "downloadsInline": "%s downloads",
    "outlinks": "Outlinks",
    "outlinksInline": "%s outlinks",
    "exits": "Exits",
    "exitsInline": "%s exits",
    "bouncesInline": "%s bounces",
}
"""What clients that draw transitions say, by the names they ask for; %s is the number they fill in."""


def _words(request: ApiRequest) -> Result:
    return {name: translated(text, request.language) for name, text in _WORDS.items()}


async def _is_period_allowed(_request: ApiRequest) -> Result:
    """Clients ask before they offer transitions: here periods of all lengths have them."""
    return True


def _method(answer: object, *required: str) -> Method:
    return Method(
        answer=answer,  # type: ignore[arg-type]
        takes_sites=True,
        takes_period=True,
        several_sites=False,
        several_periods=False,
        required=required,
        filters=False,
    )


METHODS: dict[str, Method] = {
    "Transitions.getTransitionsForPageUrl": _method(_for_url, "pageUrl"),
    "Transitions.getTransitionsForPageTitle": _method(_for_title, "pageTitle"),
    "Transitions.getTransitionsForAction": _method(_for_action, "actionName", "actionType"),
    "Transitions.getTranslations": Method(answer=_words, access=Access.SOME_VIEW, filters=False),
    "Transitions.isPeriodAllowed": _method(_is_period_allowed),
}
