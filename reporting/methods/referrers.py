"""Referrers: where visits came from, and what visits that were attributed to them converted."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from urllib.parse import quote_plus

from reporting.errors import ApiError
from reporting.generic_filters import sort_rows
from reporting.german import translated
from reporting.icons import icon
from reporting.method import ApiRequest, Cell, Method, ReportShape, Unit
from reporting.queries import Groups, Labels, count_labels, read_aggregates
from reporting.rows import Shown, find_subtable, number, numbered, quotient, regroup, visits_table
from reporting.table import Columns, Row, Scalar, Table, simple_table, single_value
from rules.referrers import search_engine_url, search_results_url, social_network_host
from schemas.report_queries import Cut

Tables = Mapping[Cell, Table]

DIRECT, SEARCH, WEBSITE, CAMPAIGN, SOCIAL, ASSISTANT = "1", "2", "3", "6", "7", "8"
TYPE_NAMES = {
    DIRECT: "Direct Entry", SEARCH: "Search Engines", WEBSITE: "Websites", CAMPAIGN: "Campaigns",
    SOCIAL: "Social Networks", ASSISTANT: "AI Assistants",
}  # fmt: skip
TYPE_SEGMENTS = {
    DIRECT: "direct", SEARCH: "search", WEBSITE: "website", CAMPAIGN: "campaign", SOCIAL: "social",
    ASSISTANT: "ai",
}  # fmt: skip
KEYWORD_UNKNOWN = "Keyword not defined"

# Labels of the aggregates: type, name, keyword (and, for visits, the referring URL).
_NAME, _KEYWORD, _URL = 1, 2, 3


@dataclass(frozen=True)
class _Level:
    """One report: visits of a type by one label, and by another one below it."""

    kind: str
    label: int
    below: int | None
    shown: Callable[[ApiRequest, str], Shown]
    shown_below: Callable[[ApiRequest, str, str], Shown] | None = None
    """(request, upper label, label)"""
    goals_below: bool = True


def _host_of(url: str) -> str:
    return url.split("://", 1)[-1].split("/", 1)[0]


def _keyword(_: ApiRequest, keyword: str) -> Shown:
    return Shown(
        keyword or KEYWORD_UNKNOWN,
        {"segment": f"referrerType==search;referrerKeyword=={quote_plus(keyword)}"},
    )


def _engine_logo(name: str) -> str:
    return icon("searchEngines", _host_of(search_engine_url(name)) or "xx")


def _engine(_: ApiRequest, name: str) -> Shown:
    return Shown(
        name,
        {
            "segment": f"referrerType==search;referrerName=={quote_plus(name)}",
            "url": search_engine_url(name),
            "logo": _engine_logo(name),
        },
    )


def _engine_of_keyword(_: ApiRequest, keyword: str, name: str) -> Shown:
    segment = f"referrerKeyword=={keyword};referrerType==search;referrerName=={quote_plus(name)}"
    url = search_results_url(name, keyword) or search_engine_url(name)
    return Shown(name, {"segment": segment, "url": url, "logo": _engine_logo(name)})


def _keyword_of_engine(request: ApiRequest, name: str, keyword: str) -> Shown:
    segment = f"referrerName=={name};referrerType==search;referrerKeyword=={quote_plus(keyword)}"
    metadata: Columns = {"segment": segment}
    if keyword:
        metadata["url"] = search_results_url(name, keyword)
    unknown = "" if _is_raw(request) else KEYWORD_UNKNOWN
    return Shown(keyword or unknown, metadata)


def _website(_: ApiRequest, name: str) -> Shown:
    return Shown(name, {"segment": f"referrerName=={quote_plus(name)}"})


def path_of(url: str) -> str:
    """The label of a referring page below its website: `blog/page.html?x`, `index` for the start page."""
    path = url.split("://", 1)[-1].partition("/")[2]
    return path or "index"


def _page(request: ApiRequest, _: str, url: str) -> Shown:
    if _is_raw(request):
        return Shown(url)
    return Shown(path_of(url), {"url": url, "segment": f"referrerUrl=={quote_plus(url)}"})


def _is_raw(request: ApiRequest) -> bool:
    """expanded=1 shows referring pages as they are stored; every other way asks the report of pages."""
    parameters = request.parameters
    return parameters.flag("expanded") and not parameters.flag("flat") and not parameters.texts("label")


def _campaign(_: ApiRequest, name: str) -> Shown:
    return Shown(name, {"segment": f"referrerType==campaign;referrerName=={quote_plus(name)}"})


def _campaign_keyword(_: ApiRequest, name: str, keyword: str) -> Shown:
    segment = (
        f"referrerName=={quote_plus(name)};referrerType==campaign;referrerKeyword=={quote_plus(keyword)}"
    )
    return Shown(keyword or KEYWORD_UNKNOWN, {"segment": segment})


def _social(_: ApiRequest, name: str) -> Shown:
    host = social_network_host(name)
    return Shown(
        name,
        {
            "url": host,
            "logo": icon("socials", host or "xx"),
            "segment": f"referrerType==social;referrerName=={quote_plus(name)}",
        },
    )


def _assistant(_: ApiRequest, name: str) -> Shown:
    return Shown(name, {"segment": f"referrerType==ai;referrerName=={quote_plus(name)}"})


KEYWORDS = _Level(SEARCH, _KEYWORD, _NAME, _keyword, _engine_of_keyword)
ENGINES = _Level(SEARCH, _NAME, _KEYWORD, _engine, _keyword_of_engine)
WEBSITES = _Level(WEBSITE, _NAME, _URL, _website, _page, goals_below=False)
CAMPAIGNS = _Level(CAMPAIGN, _NAME, _KEYWORD, _campaign, _campaign_keyword)
SOCIALS = _Level(SOCIAL, _NAME, _URL, _social, _page, goals_below=False)
ASSISTANTS = _Level(ASSISTANT, _NAME, None, _assistant)
_OF_TYPE = {SEARCH: KEYWORDS, WEBSITE: WEBSITES, CAMPAIGN: CAMPAIGNS, SOCIAL: SOCIALS, ASSISTANT: ASSISTANTS}

Data = Mapping[Cell, Mapping[str, Groups]]


_LABELS = ("d.l0", "d.l1", "d.l2", "d.l3")
_TYPES = ("d.l0", "''", "''", "''")


def _first_level(level: _Level) -> tuple[str, ...]:
    """The labels that its rows come from; a campaign has something below it only with a keyword."""
    kept = {0, level.label, _KEYWORD} if level.kind == CAMPAIGN else {0, level.label}
    return tuple(label if at in kept else "''" for at, label in enumerate(_LABELS))


_ALL_TYPES = (
    "d.l0",
    f"if(d.l0 = '{SEARCH}', '', d.l1)",
    f"if(d.l0 IN ('{SEARCH}', '{CAMPAIGN}'), d.l2, '')",
    "''",
)
"""The same for reports of several types, search engines being below their keywords."""


async def _read(request: ApiRequest, first_level: Sequence[str] = _LABELS) -> Data:
    """With the labels of `first_level` alone where no rows below it are needed."""
    labels = tuple(_LABELS if request.reads_subtables else first_level)
    cuts = {"referrers": Cut(labels=labels), "referrers_goals": Cut(labels=(*labels[:3], "d.l3"))}
    return await read_aggregates(request, list(cuts), cuts=cuts)


def _level_table(
    request: ApiRequest, cell: Cell, groups: Mapping[str, Groups], level: _Level, *, by_visits: bool = True
) -> Table:
    """`by_visits`: most visits first; else in stored order, as the rows were first seen."""
    visits, goals = groups["referrers"], groups["referrers_goals"]
    day = cell.period.kind == "day"

    def of_type(labels: Labels) -> bool:
        return labels[0] == level.kind

    top = visits_table(
        regroup(visits, lambda labels: (labels[level.label],) if of_type(labels) else None),
        regroup(goals, lambda labels: (labels[level.label], labels[-1]) if of_type(labels) else None),
        lambda labels: level.shown(request, labels[0]),
        day=day,
    )
    if level.below is None or level.shown_below is None:
        return top
    below, shown_below = level.below, level.shown_below
    by_upper: dict[str, dict[Labels, dict[str, float]]] = {}
    for labels, metrics in visits.rows.items():
        if of_type(labels):
            by_upper.setdefault(labels[level.label], {})[labels] = metrics
    goals_by_upper: dict[str, dict[Labels, dict[str, float]]] = {}
    if level.goals_below:
        for labels, metrics in goals.rows.items():
            if of_type(labels):
                goals_by_upper.setdefault(labels[level.label], {})[labels] = metrics
    uppers = list(dict.fromkeys((*by_upper, *goals_by_upper)))
    by_label = {level.shown(request, upper).label: upper for upper in uppers}
    for row in top.rows:
        upper = by_label.get(row.label, "")
        if upper not in by_upper and level.kind != CAMPAIGN:
            # only conversions are attributed to it: nothing is known below but a campaign's keyword
            continue
        inner_visits = Groups(by_upper.get(upper, {}))
        inner_goals = Groups(goals_by_upper.get(upper, {}))
        if level.kind == CAMPAIGN:
            # a campaign without keywords has nothing below it
            inner_visits = Groups({key: one for key, one in inner_visits.rows.items() if key[_KEYWORD]})
            inner_goals = Groups({key: one for key, one in inner_goals.rows.items() if key[_KEYWORD]})
        inner = visits_table(
            regroup(inner_visits, lambda labels: (labels[below],)),
            regroup(inner_goals, lambda labels: (labels[below], labels[-1])),
            lambda labels, upper=upper: shown_below(request, upper, labels[0]),  # type: ignore[misc]
            day=day,
        )
        if len(inner):
            row.subtable = inner
    top = numbered(top)
    return by_stored_label(top, by_label) if by_visits else top


def by_stored_label(table: Table, stored: Mapping[Scalar, str]) -> Table:
    """Most visits first, then by the label as it is stored: a missing one is empty and comes first."""
    order = sort_rows(
        [Row({**row.columns, "label": stored.get(row.label, row.label)}) for row in table.rows],
        "label",
        False,
    )
    places = {row.label: at for at, row in enumerate(order)}
    return table.with_rows(
        sorted(
            table.rows,
            key=lambda row: (-float(str(row.columns["nb_visits"])), places[stored.get(row.label, row.label)]),
        )
    )


def _report(level: _Level, shape: ReportShape) -> Method:
    async def cells(request: ApiRequest) -> Tables:
        data = await _read(request, _first_level(level))
        # reports that the generic filters do not sort are in the order of their visits
        by_visits = shape.sort_stored or not request.parameters.flag("disable_generic_filters")
        tables = {
            cell: _level_table(request, cell, data[cell], level, by_visits=by_visits)
            for cell in request.cells
        }
        return _part_of(request, tables)

    return Method(cells=cells, shape=shape)


def _part_of(request: ApiRequest, tables: Tables) -> Tables:
    wanted = request.parameters.integer("idSubtable")
    if wanted is None or wanted <= 0:
        return tables
    return {cell: find_subtable(table, wanted) or Table() for cell, table in tables.items()}


def _part(level: _Level, shape: ReportShape) -> Method:
    """The rows below one row of a report; all of them when idSubtable is left out."""

    async def cells(request: ApiRequest) -> Tables:
        data = await _read(request)
        wanted = request.parameters.integer("idSubtable", 0)
        result = {}
        for cell in request.cells:
            table = _level_table(request, cell, data[cell], level)
            if wanted:
                result[cell] = find_subtable(table, wanted) or Table()
            else:
                result[cell] = Table(
                    [inner for row in table.rows if row.subtable for inner in row.subtable.rows]
                )
        return result

    return Method(cells=cells, shape=shape)


async def _types(request: ApiRequest) -> Tables:
    data = await _read(request, _TYPES)
    wanted_type = request.parameters.text("typeReferrer")
    raw_labels = request.parameters.text("_setReferrerTypeLabel", "1") == "0"
    tables = {}
    for cell in request.cells:
        visits, goals = data[cell]["referrers"], data[cell]["referrers_goals"]
        day = cell.period.kind == "day"

        def shown(labels: Labels) -> Shown:
            kind = labels[0]
            name = kind if raw_labels else translated(TYPE_NAMES.get(kind, kind), request.language)
            segment = f"referrerType=={TYPE_SEGMENTS.get(kind, kind)}"
            return Shown(name, {"segment": segment, "referrer_type": int(kind)})

        table = visits_table(
            regroup(visits, lambda labels: (labels[0],)),
            regroup(goals, lambda labels: (labels[0], labels[-1])),
            shown,
            day=day,
        )
        for row in table.rows:
            kind = str(row.metadata["referrer_type"])
            if kind in _OF_TYPE:
                # the number of the sub table is the type itself
                row.subtable = _level_table(request, cell, data[cell], _OF_TYPE[kind]).map_rows(_alone)
                row.subtable_id = int(kind)
        if wanted_type:
            table = table.with_rows(
                row for row in table.rows if str(row.metadata["referrer_type"]) == wanted_type
            )
        tables[cell] = table
    wanted = request.parameters.integer("idSubtable")
    if wanted is None or wanted <= 0:
        return tables
    return {
        cell: next(
            (row.subtable for row in table.rows if row.subtable_id == wanted and row.subtable), Table()
        )
        for cell, table in tables.items()
    }


def _alone(row: Row) -> Row:
    return Row(row.columns, row.metadata)


async def _all(request: ApiRequest) -> Tables:
    """Keywords, websites, campaigns and social networks in one list."""
    if request.several_periods:
        raise ApiError("Referrers.getAll with multiple sites or dates is not supported (yet).")
    data = await _read(request, _ALL_TYPES)
    result = {}
    for cell in request.cells:
        rows = []
        for kind in (SEARCH, WEBSITE, CAMPAIGN, SOCIAL):
            for row in _level_table(request, cell, data[cell], _OF_TYPE[kind]).rows:
                rows.append(Row(row.columns, {**row.metadata, "referer_type": int(kind)}))
        rows.sort(key=lambda row: -float(str(row.columns["nb_visits"])))
        result[cell] = Table(rows)
    return result


_DISTINCT: Mapping[str, tuple[str, int]] = {
    "SearchEngines": (SEARCH, _NAME), "SocialNetworks": (SOCIAL, _NAME), "Keywords": (SEARCH, _KEYWORD),
    "Websites": (WEBSITE, _NAME), "WebsitesUrls": (WEBSITE, _URL), "Campaigns": (CAMPAIGN, _NAME),
}  # fmt: skip


def _distinct(name: str) -> str:
    kind, label = _DISTINCT[name]
    return f"uniqExactIf({_LABELS[label]}, d.l0 = '{kind}')"


def _number_of(name: str) -> Method:
    counts = {"distinct": _distinct(name), "rows": "count()"}

    async def cells(request: ApiRequest) -> Tables:
        data = await count_labels(request, "referrers", counts)
        return {
            cell: single_value(f"Referrers_distinct{name}", found["distinct"], filled=not found["rows"])
            for cell, found in data.items()
        }

    return Method(cells=cells, shape=ReportShape(name="Referrers Overview"))


_TYPE_COLUMNS: Sequence[tuple[str, str]] = (
    ("SearchEngines", SEARCH), ("SocialNetworks", SOCIAL), ("DirectEntry", DIRECT), ("Websites", WEBSITE),
    ("Campaigns", CAMPAIGN),
)  # fmt: skip


async def overview(request: ApiRequest) -> Tables:
    data, distinct = await asyncio.gather(
        read_aggregates(request, ["referrers"], cuts={"referrers": Cut(labels=_TYPES)}),
        count_labels(request, "referrers", {name: _distinct(name) for name in _DISTINCT}),
    )
    result = {}
    for cell, groups in data.items():
        by_type = regroup(groups["referrers"], lambda labels: (labels[0],)).rows
        visits = {name: by_type.get((kind,), {}).get("nb_visits", 0.0) for name, kind in _TYPE_COLUMNS}
        total = sum(visits.values())
        columns: Columns = {
            f"Referrers_visitorsFrom{name}": number(visits[name]) for name, _ in _TYPE_COLUMNS
        }
        for name, number_of in distinct[cell].items():
            columns[f"Referrers_distinct{name}"] = number_of
        for name in ("DirectEntry", "SearchEngines", "Campaigns", "SocialNetworks", "Websites"):
            columns[f"Referrers_visitorsFrom{name}_percent"] = quotient(visits[name], total, 2)
        result[cell] = simple_table(columns, filled=not total)
    return result


def _shape(
    name: str,
    dimension: str,
    below: str = "",
    method: str = "",
    separator: str = " - ",
    *,
    sort_stored: bool = False,
) -> ReportShape:
    return ReportShape(
        name=name,
        dimension=dimension,
        subtable_dimension=below,
        subtable_method=method,
        flat_separator=separator,
        sort_stored=sort_stored,
        row_limit="referrers",
    )


_PAGES = _shape("Referrer URLs", "Referrers_WebsitePage")

METHODS: dict[str, Method] = {
    "Referrers.get": Method(
        cells=overview,
        shape=ReportShape(
            name="Referrers Overview",
            sort_column="",
            units={f"Referrers_visitorsFrom{name}_percent": Unit.PERCENT for name, _ in _TYPE_COLUMNS},
        ),
    ),
    "Referrers.getReferrerType": Method(
        cells=_types,
        several_sites=False,
        shape=replace(
            _shape("Channel Type", "Referrers_ReferrerType", "Referrers_Referrer"),
            row_limit="",
            nested_metadata=True,
            flattens=False,
            segment_early=True,
            subtables_by_label=True,
        ),
    ),
    "Referrers.getAll": Method(
        cells=_all,
        several_sites=False,
        shape=replace(_shape("All Channels", "Referrers_Referrer"), row_limit="", segment_early=True),
    ),
    "Referrers.getKeywords": _report(
        KEYWORDS,
        _shape(
            "Keywords",
            "Referrers_Keyword",
            "Referrers_SearchEngine",
            "Referrers.getSearchEnginesFromKeywordId",
            sort_stored=True,
        ),
    ),
    "Referrers.getSearchEnginesFromKeywordId": _part(
        KEYWORDS, _shape("Search Engines", "Referrers_SearchEngine")
    ),
    "Referrers.getSearchEngines": _report(
        ENGINES,
        _shape(
            "Search Engines",
            "Referrers_SearchEngine",
            "Referrers_Keyword",
            "Referrers.getKeywordsFromSearchEngineId",
        ),
    ),
    "Referrers.getKeywordsFromSearchEngineId": _part(ENGINES, _shape("Keywords", "Referrers_Keyword")),
    "Referrers.getCampaigns": _report(
        CAMPAIGNS,
        _shape("Campaigns", "Referrers_Campaign", "Referrers_Keyword", "Referrers.getKeywordsFromCampaignId"),
    ),
    "Referrers.getKeywordsFromCampaignId": _part(CAMPAIGNS, _shape("Keywords", "Referrers_Keyword")),
    "Referrers.getWebsites": _report(
        WEBSITES,
        _shape(
            "Websites", "Referrers_Website", "Referrers_WebsitePage", "Referrers.getUrlsFromWebsiteId", "/"
        ),
    ),
    "Referrers.getUrlsFromWebsiteId": _part(WEBSITES, _PAGES),
    "Referrers.getSocials": _report(
        SOCIALS,
        _shape(
            "Social Networks",
            "Referrers_SocialNetwork",
            "Referrers_WebsitePage",
            "Referrers.getUrlsForSocial",
        ),
    ),
    "Referrers.getUrlsForSocial": _part(SOCIALS, _PAGES),
    **{f"Referrers.getNumberOfDistinct{name}": _number_of(name) for name in _DISTINCT},
}
