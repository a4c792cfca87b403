"""Transitions: what came before and after a page, by URL or title."""

# ruff: noqa: S608 - texts of queries are declarations of this repository, values are bound parameters

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from reporting.archives import Rows
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

    async def _rows(self, table: str, columns: str, chosen: str, parts: Sequence[str]) -> Rows:
        """The rows of all `parts`, SELECTs from `found`: the columns of the rows that are `chosen`, which are
        read and counted once (`times`): of a well-known page there are millions."""
        condition = self.visit if table == "visits" else self.ids
        sql = (
            f"WITH found AS MATERIALIZED (SELECT {columns}, count() AS times FROM {table} FINAL"
            " WHERE site_id = {site:UInt32} AND date BETWEEN {first:Date} AND {last:Date}"
            f" AND ({condition}) AND ({chosen}) GROUP BY ALL)"
            f" {' UNION ALL '.join(parts)} SETTINGS enable_materialized_cte = 1"
        )
        return await self.request.database.rows(sql, self.parameters)

    async def around(self) -> "Around":
        page, kind = self.page, ActionKind
        on_page = f"kind = {kind.PAGE} AND {page.own} = {{page:String}}"
        after_page = f"previous_kind = {kind.PAGE} AND {page.previous} = {{page:String}}"
        links = f"kind IN ({kind.OUTLINK}, {kind.DOWNLOAD})"
        rows = await self._rows(
            "actions",
            f"kind, previous_kind, {page.own}, {page.previous}, if({links}, url, '') AS link,"
            f" if({links}, url_prefix, 0) AS prefix, search_keyword, previous_keyword,"
            " position = 2 AS is_second",
            f"({on_page}) OR ({after_page})",
            (
                f"SELECT 1, previous_kind AS kind_of, multiIf(kind_of = {kind.SEARCH}, previous_keyword,"
                f" kind_of = {kind.PAGE}, {page.previous}, '') AS name, is_second AS number, sum(times)"
                f" FROM found WHERE {on_page} GROUP BY kind_of, name, number",
                f"SELECT 0, kind AS kind_of, multiIf(kind_of = {kind.SEARCH}, search_keyword, {links}, link,"
                f" {page.own}) AS name, prefix AS number, sum(times) FROM found WHERE {after_page}"
                f" AND (kind IN ({kind.PAGE}, {kind.SEARCH}) OR {links}) GROUP BY kind_of, name, number",
            ),
        )
        around = Around([], [])
        for is_before, *one in rows:
            around[0 if is_before else 1].append(one)
        return around

    async def visits(self) -> tuple[Sequence[tuple[int, str, str, str, float]], float]:
        """Visits that entered on the page, by the referrer's type, name, keyword and URL; how many left on
        it."""
        page = self.page
        entered, left = (f"{column} = {{page:String}}" for column in (page.entry, page.exit))
        referrer = "referrer_type, referrer_name, referrer_keyword, referrer_url"
        rows = await self._rows(
            "visits",
            f"{page.entry}, {page.exit}, {referrer}",
            f"{entered} OR {left}",
            (
                f"SELECT 1 AS is_entry, {referrer}, sum(times) FROM found WHERE {entered}"
                f" GROUP BY {referrer}",
                f"SELECT 0 AS is_entry, 0, '', '', '', sum(times) FROM found WHERE {left}",
            ),
        )
        entries = [
            (int(kind), str(name), str(keyword), str(url), float(times))
            for is_entry, kind, name, keyword, url, times in rows
            if is_entry
        ]
        return entries, sum(float(row[-1]) for row in rows if not row[0])


class Around(NamedTuple):
    """What visits saw before a page and what they did after it, each a list of kind of action, name, number
    and how often. The name is the keyword of a search, else URL or title as the page is asked for, of links
    the URL. The number is 1 before the page where nothing came before that; after it, the prefix of a
    link."""

    before: list[Sequence[Any]]
    after: list[Sequence[Any]]


def _internal(page: Page, around: Around, limit: int) -> dict[str, Value]:
    """Pages and searches before, and the loops."""
    pages: dict[str, float] = {}
    searches: dict[str, float] = {}
    loops = 0.0
    for kind, name, is_first, times in around.before:
        if kind == ActionKind.SEARCH:
            if page.own == "url" and is_first:
                # a search that opened the visit is known by titles only
                continue
            searches[name] = searches.get(name, 0.0) + times
        elif kind == ActionKind.PAGE and name == page.value:
            loops += times
        elif kind == ActionKind.PAGE:
            pages[name] = pages.get(name, 0.0) + times
    views = sum(float(one[-1]) for one in around.before)
    return {
        "previousPages": _grouped_table(pages, limit),
        "previousSiteSearches": _grouped_table(searches, limit),
        "pageMetrics": {"loops": number(loops), "pageviews": number(views)},
    }


async def following(request: ApiRequest, page: Page, limit: int) -> dict[str, Table]:
    """Pages, searches, outlinks and downloads after a page, with how often (`referrals`)."""
    return _following(page, await _Reader(request, page).around(), limit)


_FOLLOWING: Mapping[int, str] = {
    ActionKind.PAGE: "followingPages",
    ActionKind.SEARCH: "followingSiteSearches",
    ActionKind.OUTLINK: "outlinks",
    ActionKind.DOWNLOAD: "downloads",
}


def _following(page: Page, around: Around, limit: int) -> dict[str, Table]:
    groups: dict[str, dict[str, float]] = {part: {} for part in _FOLLOWING.values()}
    for kind, name, prefix, times in around.after:
        if kind in (ActionKind.OUTLINK, ActionKind.DOWNLOAD):
            name = full_url(name, float(prefix))
        elif kind == ActionKind.PAGE and name == page.value:
            continue
        group = groups[_FOLLOWING[kind]]
        group[name] = group.get(name, 0.0) + times
    return {part: _grouped_table(found, limit) for part, found in groups.items()}


async def _external(reader: _Reader, limit: int) -> tuple[list[Value], float, float]:
    """Where visits that began on the page came from; entries and exits."""
    entries, exits = await reader.visits()
    by_type: dict[int, dict[str, float]] = {}
    visits: dict[int, float] = {}
    for kind, name, keyword, url, count in entries:
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
    referrers: list[Value] = [
        {
            "label": _REFERRERS.get(kind, (str(kind), str(kind)))[0],
            "shortName": _REFERRERS.get(kind, (str(kind), str(kind)))[1],
            "visits": number(visits[kind]),
            "details": [*_grouped(by_type[kind], limit, texts=True)],
        }
        for kind in sorted(visits)
    ]
    return referrers, sum(visits.values()), exits


async def transitions(request: ApiRequest, page: Page) -> Result:
    limit = max(0, request.parameters.integer("limitBeforeGrouping", 0))
    wanted = set(request.parameters.comma_list("parts")) or {"all"}
    parts = [part for part in PARTS if part in wanted or "all" in wanted]
    reader = _Reader(request, page)
    answer: dict[str, Value] = {"date": short_period(request.period, request.language)}
    if "internalReferrers" in parts or "followingActions" in parts:
        around = await reader.around()
        if not around.before:
            raise ApiError("NoDataForAction")
        if "internalReferrers" in parts:
            answer |= _internal(page, around, limit)
        if "followingActions" in parts:
            answer |= _following(page, around, limit)
    if "externalReferrers" in parts:
        referrers, entries, exits = await _external(reader, limit)
        held = answer.get("pageMetrics")
        known = held if isinstance(held, dict) else {}
        answer["pageMetrics"] = {**known, "entries": number(entries), "exits": number(exits)}
        answer["referrers"] = referrers
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
