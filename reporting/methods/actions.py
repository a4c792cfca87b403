"""Actions: pages by URL and title, downloads, outlinks, site search; and PagePerformance."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from urllib.parse import unquote_plus

from reporting.method import ApiRequest, Method, ProcessedMetric, ReportShape, Unit
from reporting.page_tables import Tables, decoded, named_pages, page_tables, without_segment
from reporting.pages import (
    Page,
    PageColumns,
    build_tree,
    double_encoded,
    full_url,
    path_of_link,
    path_of_title,
    path_of_url,
)
from reporting.queries import read_aggregates
from reporting.rows import (
    UNIQUE,
    ColumnOrder,
    cell_number,
    find_subtable,
    number,
    numbered,
    quotient,
    ratio_metric,
    segment_value,
)
from reporting.table import Columns, Row, Scalar, Table, simple_table
from rules.urls import clean_url, url_rules
from schemas.metrics import TIMINGS
from schemas.page_levels import SORTED_BY, Members, Prefix


def _average(name: str, digits: int) -> ProcessedMetric:
    def compute(row: Row, _: Table) -> Scalar:
        return quotient(cell_number(row, f"sum_{name}"), cell_number(row, f"nb_hits_with_{name}"), digits)

    return ProcessedMetric(
        name=f"avg_{name}",
        compute=compute,
        unit=Unit.SHORT_SECONDS,
        first_level_only=True,
        applies=lambda table: any(f"nb_hits_with_{name}" in row.columns for row in table),
    )


def _load_time(row: Row, _: Table) -> Scalar:
    parts = (
        quotient(cell_number(row, f"sum_{name}"), cell_number(row, f"nb_hits_with_{name}"), 3)
        for name in TIMINGS
    )
    # not rounded again: clients see the sum of fractions as it is
    return sum(float(part) for part in parts)


TIME_ON_PAGE = ratio_metric("avg_time_on_page", "sum_time_spent", "nb_hits", 0, Unit.CLOCK)
BOUNCE_RATE = ratio_metric("bounce_rate", "entry_bounce_count", "entry_nb_visits", 2, Unit.PERCENT)
EXIT_RATE = ratio_metric("exit_rate", "exit_nb_visits", "nb_visits", 2, Unit.PERCENT)
LOAD_TIME = ProcessedMetric(
    name="avg_page_load_time", compute=_load_time, unit=Unit.SHORT_SECONDS, first_level_only=True
)
PAGE_METRICS = (*(_average(name, 3) for name in TIMINGS), LOAD_TIME, TIME_ON_PAGE, BOUNCE_RATE, EXIT_RATE)
_SUMS = tuple(f"sum_{name}" for name in TIMINGS)


def part_of(request: ApiRequest, tables: Tables) -> Tables:
    """The sub table that idSubtable names, in every cell; the tables themselves without it."""
    wanted = request.parameters.integer("idSubtable")
    if wanted is None or wanted <= 0:
        return tables
    return {cell: find_subtable(table, wanted) or Table() for cell, table in tables.items()}


def _pages(prefix: Prefix, segment: str, name: str, members: Members = "all") -> Method:
    async def cells(request: ApiRequest) -> Tables:
        return part_of(request, await page_tables(request, prefix, segment, members))

    dimension = "Actions_PageUrl" if prefix == "pages" else "Actions_PageTitle"
    return Method(
        cells=cells,
        shape=ReportShape(
            name=name,
            dimension=dimension,
            recursive=True,
            flat_separator="/" if prefix == "pages" else " - ",
            sort_column=SORTED_BY[members][1],
            processed=PAGE_METRICS,
            folder_segment_early=True,
            row_limit="actions",
            temporary=_SUMS,
        ),
    )


def _links(aggregate: str, segment: str, name: str, dimension: str) -> Method:
    async def cells(request: ApiRequest) -> Tables:
        return part_of(request, await link_tables(request, aggregate, segment))

    return Method(
        cells=cells,
        shape=ReportShape(
            name=name, dimension=dimension, recursive=True, flat_separator="/", row_limit="actions"
        ),
    )


async def link_tables(request: ApiRequest, aggregate: str, segment: str) -> Tables:
    data = await read_aggregates(request, [aggregate])
    result = {}
    for cell in request.cells:
        pages = {name: Page(hits=metrics) for (name,), metrics in data[cell][aggregate].rows.items()}
        table = build_tree(
            pages,
            path_of=path_of_link,
            columns=PageColumns(day=cell.period.kind == "day"),
            url_of=lambda name, page: full_url(name, page.hits["url_prefix"] if page.hits else 4),
            leaf_metadata=lambda _, url: {"url": url, "segment": f"{segment}==" + double_encoded(url)},
            folder_metadata=lambda _: {},
        )
        result[cell] = numbered(table)
    return result


def _one(
    tables_of: Callable[[ApiRequest, Sequence[Sequence[str]]], "object"],
    parameter: str,
    path_of: Callable[[ApiRequest, int, str], list[list[str]]],
    shape: ReportShape,
) -> Method:
    async def cells(request: ApiRequest) -> Tables:
        text = request.parameters.required(parameter)
        paths = {site_id: path_of(request, site_id, text) for site_id in request.sites}
        of_all = [path for of_site in paths.values() for path in of_site]
        tables: Tables = await tables_of(request, of_all)  # type: ignore[misc]
        result = {}
        for cell, table in tables.items():
            wanted = paths[cell.site_id]
            row = next((found for path in wanted if (found := _find_row(table, path)) is not None), None)
            shown = [] if row is None else [Row(row.columns, without_segment(row.metadata))]
            result[cell] = Table(shown)
        return result

    return Method(cells=cells, required=(parameter,), shape=shape, one_date_per_site=True)


def _find_row(table: Table | None, path: Sequence[str]) -> Row | None:
    """The row at the end of a path of labels."""
    for at, label in enumerate(path):
        if table is None:
            return None
        row = next((row for row in table.rows if row.label == label), None)
        if row is None:
            return None
        if at == len(path) - 1:
            return row
        table = row.subtable
    return None


def _url_paths(request: ApiRequest, site_id: int, text: str) -> list[list[str]]:
    """As the tracker would have stored the page."""
    variants = [text, unquote_plus(text)]
    site = request.config.site(site_id)
    if site is not None:
        rules = url_rules(site, request.config.tracking)
        variants += [clean_url(rules, variant).full for variant in variants]
    paths = [path_of_url(_bare(variant)) for variant in dict.fromkeys(variants)]
    return [[unquote_plus(part, errors="ignore") for part in path] for path in paths]


def _bare(url: str) -> str:
    for scheme in ("https://", "http://"):
        url = url.removeprefix(scheme)
    return url.removeprefix("www.")


def _title_paths(_: ApiRequest, _site: int, text: str) -> list[list[str]]:
    paths = [path_of_title(variant) for variant in dict.fromkeys((text, unquote_plus(text)))]
    return [[unquote_plus(part, errors="ignore") for part in path] for path in paths]


def _link_paths(_: ApiRequest, _site: int, text: str) -> list[list[str]]:
    return [path_of_link(_bare(variant)) for variant in dict.fromkeys((text, unquote_plus(text)))]


async def overview(request: ApiRequest) -> Tables:
    data = await read_aggregates(request, ["actions_summary", "searches"])
    result = {}
    for cell in request.cells:
        by_kind = {int(kind): metrics for (kind,), metrics in data[cell]["actions_summary"].rows.items()}
        columns: Columns = {}
        for kind, name in ((1, "pageviews"), (3, "downloads"), (2, "outlinks")):
            metrics = by_kind.get(kind, {})
            columns[f"nb_{name}"] = number(metrics.get("nb_hits", 0))
            columns[f"nb_uniq_{name}"] = number(metrics.get("nb_unique", 0))
        searches = by_kind.get(8, {})
        columns["nb_searches"] = number(searches.get("nb_hits", 0))
        columns["nb_keywords"] = len(data[cell]["searches"].rows)
        result[cell] = simple_table(columns, filled=not by_kind)
    return result


async def _search_tables(request: ApiRequest, only_without_result: bool) -> Tables:
    data = await read_aggregates(request, ["searches", "searches_time", "searches_exit"])
    result = {}
    for cell in request.cells:
        groups = data[cell]
        times, exits = groups["searches_time"].rows, groups["searches_exit"].rows
        rows = []
        for key, metrics in groups["searches"].rows.items():
            if only_without_result and (metrics["nb_with_results"] or not metrics["nb_no_result"]):
                continue
            order = ColumnOrder(cell.period.kind == "day")
            time = times.get(key)
            order.add(
                metrics["first_day"],
                {
                    "nb_visits": number(metrics["nb_visits"]),
                    "nb_hits": number(metrics["nb_hits"]),
                    "sum_time_spent": number(time["sum_time_spent"]) if time else 0,
                },
            )
            if key in exits:
                left = number(exits[key]["exit_nb_visits"])
                day = cell.period.kind == "day"
                order.add(exits[key]["first_day"], {"exit_nb_visits": str(left) if day else left})
            label = key[0]
            rows.append(
                decoded(
                    Row(
                        {"label": label, **order.columns()},
                        {"segment": f"siteSearchKeyword=={segment_value(label)}"},
                    )
                )
            )
        rows.sort(key=lambda row: -cell_number(row, "nb_visits"))
        result[cell] = Table(rows)
    return result


async def _keywords(request: ApiRequest) -> Tables:
    return await _search_tables(request, only_without_result=False)


async def _no_result_keywords(request: ApiRequest) -> Tables:
    return await _search_tables(request, only_without_result=True)


async def _categories(request: ApiRequest) -> Tables:
    data = await read_aggregates(request, ["search_categories"])
    result = {}
    for cell in request.cells:
        groups, day = data[cell]["search_categories"].rows, cell.period.kind == "day"
        rows = [
            Row(
                {
                    "label": label,
                    "nb_visits": number(metrics["nb_visits"]),
                    **({"nb_uniq_visitors": number(metrics["nb_uniq_visitors"])} if day else {}),
                    "nb_actions": number(metrics["nb_hits"]),
                    **({} if day else {UNIQUE["nb_uniq_visitors"]: number(metrics["nb_uniq_visitors"])}),
                },
                {"segment": f"siteSearchCategory=={segment_value(label)}"},
            )
            for (label,), metrics in sorted(groups.items(), key=lambda item: -item[1]["nb_visits"])
        ]
        result[cell] = Table(rows)
    return result


async def performance(request: ApiRequest) -> Tables:
    data = await read_aggregates(request, ["performance"])
    result = {}
    for cell in request.cells:
        metrics = data[cell]["performance"].rows.get((), {})
        columns: Columns = {}
        for name in TIMINGS:
            columns[f"avg_{name}"] = quotient(
                metrics.get(f"sum_{name}", 0), metrics.get(f"nb_hits_with_{name}", 0), 2
            )
        # over the pages with any timing: not the sum of averages over different pages
        columns["avg_page_load_time"] = quotient(
            metrics.get("sum_load", 0), metrics.get("nb_hits_with_load", 0), 2
        )
        result[cell] = simple_table(columns, filled=not metrics)
    return result


_PER_SEARCH, _PER_CATEGORY = (
    replace(ratio_metric("nb_pages_per_search", name, "nb_visits", 1, Unit.NUMBER), totalled=True)
    for name in ("nb_hits", "nb_actions")
)
_KEYWORD_SHAPE = ReportShape(
    name="Site Search Keywords",
    row_limit="site_search",
    dimension="Actions_SearchKeyword",
    processed=(_PER_SEARCH, TIME_ON_PAGE, BOUNCE_RATE, EXIT_RATE),
)
_SINGLE_PAGE = ReportShape(
    name="Page URLs",
    processed=(TIME_ON_PAGE, BOUNCE_RATE, EXIT_RATE),
    temporary=_SUMS,
    hidden=tuple(f"{part}_{name}" for name in TIMINGS for part in ("nb_hits_with", "min", "max")),
)

METHODS: dict[str, Method] = {
    "Actions.get": Method(cells=overview, shape=ReportShape(name="Actions - Main metrics", sort_column="")),
    "Actions.getPageUrls": _pages("pages", "pageUrl", "Page URLs"),
    "Actions.getEntryPageUrls": _pages("pages", "entryPageUrl", "Entry pages", "entry"),
    "Actions.getExitPageUrls": _pages("pages", "exitPageUrl", "Exit pages", "exit"),
    "Actions.getPageUrlsFollowingSiteSearch": _pages(
        "pages", "pageUrl", "Pages Following a Site Search", "search"
    ),
    "Actions.getPageTitles": _pages("titles", "pageTitle", "Page titles"),
    "Actions.getEntryPageTitles": _pages("titles", "entryPageTitle", "Entry page titles", "entry"),
    "Actions.getExitPageTitles": _pages("titles", "exitPageTitle", "Exit page titles", "exit"),
    "Actions.getPageTitlesFollowingSiteSearch": _pages(
        "titles",
        "pageTitle",
        "Page Titles Following a Site Search",
        "search",
    ),
    "Actions.getPageUrl": _one(
        lambda request, paths: named_pages(request, "pages", "pageUrl", paths),
        "pageUrl",
        _url_paths,
        _SINGLE_PAGE,
    ),
    "Actions.getPageTitle": _one(
        lambda request, paths: named_pages(request, "titles", "pageTitle", paths),
        "pageName",
        _title_paths,
        replace(_SINGLE_PAGE, name="Page titles"),
    ),
    "Actions.getDownloads": _links("downloads", "downloadUrl", "Downloads", "Actions_DownloadUrl"),
    "Actions.getDownload": _one(
        lambda request, _: link_tables(request, "downloads", "downloadUrl"),
        "downloadUrl",
        _link_paths,
        ReportShape(name="Downloads"),
    ),
    "Actions.getOutlinks": _links("outlinks", "outlinkUrl", "Outlinks", "Actions_ClickedUrl"),
    "Actions.getOutlink": _one(
        lambda request, _: link_tables(request, "outlinks", "outlinkUrl"),
        "outlinkUrl",
        _link_paths,
        ReportShape(name="Outlinks"),
    ),
    "Actions.getSiteSearchKeywords": Method(cells=_keywords, shape=_KEYWORD_SHAPE),
    "Actions.getSiteSearchNoResultKeywords": Method(
        cells=_no_result_keywords,
        shape=replace(
            _KEYWORD_SHAPE, name="Search Keywords with No Results", dimension="Actions_SearchNoResultKeyword"
        ),
    ),
    "Actions.getSiteSearchCategories": Method(
        cells=_categories,
        shape=ReportShape(
            name="Search Categories",
            row_limit="site_search",
            dimension="Actions_SearchCategory",
            processed=(_PER_CATEGORY,),
            hidden=("nb_uniq_visitors",),
        ),
    ),
    "PagePerformance.get": Method(
        cells=performance,
        shape=ReportShape(
            name="Performance overview",
            sort_column="",
            units={f"avg_{name}": Unit.SHORT_SECONDS for name in (*TIMINGS, "page_load_time")},
        ),
    ),
}
