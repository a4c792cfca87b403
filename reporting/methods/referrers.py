"""Referrers: where visits came from, and what visits that were attributed to them converted."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from urllib.parse import quote_plus

from reporting.errors import ApiError
from reporting.first_level import FirstLevel, in_order, labels_with_parts
from reporting.generic_filters import sort_rows
from reporting.german import translated
from reporting.icons import icon
from reporting.method import ApiRequest, Cell, Method, ReportShape, Unit
from reporting.queries import EMPTY, Groups, Labels, Metrics, count_by_label, count_labels, read_aggregates
from reporting.rows import Shown, number, numbered, quotient, regroup, visits_table
from reporting.table import Columns, Row, Scalar, Table, simple_table, single_value
from rules.referrers import search_engine_url, search_results_url, social_network_host
from schemas.metrics import FIRST
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
"""Those of the first level of each type's report, search engines being below their keywords."""


async def _read(request: ApiRequest, labels: Sequence[str], kind: str = "") -> Data:
    """`kind`: of one type alone."""
    labels, where = tuple(labels), f"d.l0 = '{kind}'" if kind else ""
    cuts = {
        "referrers": Cut(labels=labels, where=where),
        "referrers_goals": Cut(labels=(*labels[:3], "d.l3"), where=where),
    }
    return await read_aggregates(request, list(cuts), cuts=cuts)


def _level_table(
    request: ApiRequest,
    cell: Cell,
    groups: Mapping[str, Groups],
    level: _Level,
    *,
    by_visits: bool = True,
    below: bool = True,
) -> Table:
    """`by_visits`: most visits first; else in stored order, as the rows were first seen. Without `below` rows
    that have something below them have an empty table there."""
    visits = _of_type(groups["referrers"], level)
    goals = _of_type(groups["referrers_goals"], level)
    by_upper = regroup(visits, lambda labels: (labels[level.label],)).rows
    # of rows of one second those with the first engine would come first where engines were read, too
    order = in_order({upper: metrics[FIRST] for (upper,), metrics in by_upper.items()})
    goals_by_upper = regroup(goals, lambda labels: (labels[level.label], labels[-1]))
    top = visits_table(
        Groups({(upper,): by_upper[upper,] for upper in order}),
        goals_by_upper,
        lambda labels: level.shown(request, labels[0]),
        day=cell.period.kind == "day",
    )
    uppers = list(dict.fromkeys((*order, *(upper for upper, _ in goals_by_upper.rows))))
    stored = {row.label: upper for row, upper in zip(top.rows, uppers, strict=True)}
    if level.below is None:
        return top
    visits_of, goals_of = _by_upper(visits, level), _by_upper(goals, level)
    for row, upper in zip(top.rows, uppers, strict=True):
        if upper in visits_of or level.kind == CAMPAIGN:
            # of what only conversions are attributed to nothing is known below but a campaign's keyword
            of_upper = visits_of.get(upper, EMPTY), goals_of.get(upper, EMPTY)
            if below:
                inner = _below(request, cell, *of_upper, level, upper)
                row.subtable = inner if len(inner) else None
            elif level.kind != CAMPAIGN or any(_with_keyword(one) for one in of_upper):
                row.subtable = Table()
    top = numbered(top)
    return by_stored_label(top, stored) if by_visits else top


def _of_type(groups: Groups, level: _Level) -> Groups:
    return Groups({labels: metrics for labels, metrics in groups.rows.items() if labels[0] == level.kind})


def _by_upper(groups: Groups, level: _Level) -> Mapping[str, Groups]:
    found: dict[str, dict[Labels, Metrics]] = {}
    for labels, metrics in groups.rows.items():
        found.setdefault(labels[level.label], {})[labels] = metrics
    return {upper: Groups(rows) for upper, rows in found.items()}


def _below(
    request: ApiRequest, cell: Cell, visits: Groups, goals: Groups, level: _Level, upper: str
) -> Table:
    """The rows below one label, of the groups that have it."""
    below, shown_below = level.below, level.shown_below
    if below is None or shown_below is None:
        return Table()
    if level.kind == CAMPAIGN:
        # a campaign without keywords has nothing below it
        visits, goals = _with_keyword(visits), _with_keyword(goals)
    return visits_table(
        regroup(visits, lambda labels: (labels[below],)),
        regroup(goals if level.goals_below else EMPTY, lambda labels: (labels[below], labels[-1])),
        lambda labels: shown_below(request, upper, labels[0]),
        day=cell.period.kind == "day",
    )


def _with_keyword(groups: Groups) -> Groups:
    return Groups({labels: metrics for labels, metrics in groups.rows.items() if labels[_KEYWORD]})


async def _subtables(request: ApiRequest, level: _Level, wanted: int) -> Tables:
    """Those of one number, empty where there are not so many."""
    uppers = {
        cell: labels[wanted - 1] if 0 < wanted <= len(labels) else None
        for cell, labels in (await labels_with_parts(request, _first_levels(level))).items()
    }
    shown = sorted({upper for upper in uppers.values() if upper is not None})
    if not shown:
        return {cell: Table() for cell in uppers}
    cut = Cut(
        where=f"d.l0 = '{level.kind}' AND {_LABELS[level.label]} IN {{uppers:Array(String)}}",
        parameters={"uppers": shown},
    )
    names = ["referrers", *(["referrers_goals"] if level.goals_below else [])]
    data = await read_aggregates(request, names, cuts=dict.fromkeys(names, cut))
    result = {}
    for cell, upper in uppers.items():
        visits = _by_upper(data[cell]["referrers"], level)
        goals = _by_upper(data[cell].get("referrers_goals", EMPTY), level)
        result[cell] = (
            Table()
            if upper is None
            else _below(request, cell, visits.get(upper, EMPTY), goals.get(upper, EMPTY), level, upper)
        )
    return result


def _first_levels(level: _Level) -> list[FirstLevel]:
    """Whose rows have sub tables: all that had visits, and campaigns with keywords."""
    where = f"d.l0 = '{level.kind}'"
    if level.kind != CAMPAIGN:
        return [FirstLevel("referrers", _LABELS[level.label], where)]
    has_parts = f"{_LABELS[_KEYWORD]} != ''"
    return [
        FirstLevel(name, _LABELS[level.label], where, has_parts) for name in ("referrers", "referrers_goals")
    ]


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
        wanted = request.parameters.integer("idSubtable", 0)
        if wanted > 0:
            return await _subtables(request, level, wanted)
        labels = _LABELS if request.reads_subtables else _first_level(level)
        data = await _read(request, labels, level.kind)
        # reports that the generic filters do not sort are in the order of their visits
        by_visits = shape.sort_stored or not request.parameters.flag("disable_generic_filters")
        return {
            cell: _level_table(
                request, cell, data[cell], level, by_visits=by_visits, below=request.reads_subtables
            )
            for cell in request.cells
        }

    return Method(cells=cells, shape=shape)


def _part(level: _Level, shape: ReportShape) -> Method:
    """The rows below one row of a report; all of them when idSubtable is left out."""

    async def cells(request: ApiRequest) -> Tables:
        wanted = request.parameters.integer("idSubtable", 0)
        if wanted:
            return await _subtables(request, level, wanted)
        data = await _read(request, _LABELS, level.kind)
        tables = {cell: _level_table(request, cell, data[cell], level) for cell in request.cells}
        return {
            cell: Table([inner for row in table.rows if row.subtable for inner in row.subtable.rows])
            for cell, table in tables.items()
        }

    return Method(cells=cells, shape=shape)


async def _types(request: ApiRequest) -> Tables:
    data = await _read(request, _ALL_TYPES if request.reads_subtables else _TYPES)
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
                inner = _level_table(request, cell, data[cell], _OF_TYPE[kind], below=False)
                row.subtable = inner.map_rows(_alone)
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
            for row in _level_table(request, cell, data[cell], _OF_TYPE[kind], below=False).rows:
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


_COUNTED = {_NAME: "names", _KEYWORD: "keywords", _URL: "urls"}


async def overview(request: ApiRequest) -> Tables:
    counts = {name: f"uniqExact({_LABELS[label]})" for label, name in _COUNTED.items()}
    counts["visits"] = "sum(d.nb_visits)"
    data = await count_by_label(request, "referrers", _TYPES[0], counts, metrics=["nb_visits"])
    result = {}
    for cell, by_type in data.items():
        visits = {name: by_type.get(kind, {}).get("visits", 0.0) for name, kind in _TYPE_COLUMNS}
        total = sum(visits.values())
        columns: Columns = {
            f"Referrers_visitorsFrom{name}": number(visits[name]) for name, _ in _TYPE_COLUMNS
        }
        for name, (kind, label) in _DISTINCT.items():
            columns[f"Referrers_distinct{name}"] = int(by_type.get(kind, {}).get(_COUNTED[label], 0))
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
