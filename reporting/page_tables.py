"""The tables of pages by URL and by title: whole trees, or what is shown of them."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from urllib.parse import quote_plus, unquote_plus

from reporting.first_rows import FirstRows, folders_of, read_first_rows
from reporting.method import EVERY_ROW, ApiRequest, Cell
from reporting.page_cuts import (
    NO_FOLDERS,
    Folders,
    PageCuts,
    cuts_of_named,
    folders_beside,
    read_folders,
)
from reporting.pages import (
    HIT_COLUMNS,
    Page,
    PageColumns,
    build_tree,
    double_encoded,
    full_url,
    path_key,
    path_of_title,
    path_of_url,
    secure_url,
)
from reporting.queries import EMPTY, BoundSql, Days, Groups, Metrics, read_aggregates, read_days
from reporting.rows import (
    is_strict,
    numbered,
    segment_value,
)
from reporting.table import Columns, Row, Table
from schemas.metrics import FIRST, TIMINGS
from schemas.page_levels import FOLDERS, SORTED_BY, Members, Prefix, names_of
from schemas.report_queries import WHOLE, Cut
from schemas.reports import AGGREGATES, Aggregate

Tables = Mapping[Cell, Table]


def _pages_of(groups: Mapping[str, Groups], prefix: str) -> dict[str, Page]:
    """The parts of one report joined by page, in order of first appearance."""
    pages: dict[str, Page] = {}

    def page(name: str) -> Page:
        return pages.setdefault(name, Page())

    for (name,), metrics in groups[prefix].rows.items():
        page(name).hits = metrics
    parts = (("time", f"{prefix}_time"), ("entry", f"{prefix}_entry"), ("exit", f"{prefix}_exit"))
    for attribute, key in parts:
        for (name,), metrics in groups[key].rows.items():
            if name in pages:
                setattr(pages[name], attribute, metrics)
    keyed: dict[str, tuple[dict[int, Metrics], dict[int, Metrics]]] = {}
    for at, part in enumerate(("goals", "entry_goals")):
        for (key, goal), metrics in groups[f"{prefix}_{part}"].rows.items():
            keyed.setdefault(key, ({}, {}))[at][int(goal)] = metrics
    for name, known in pages.items():
        key = path_key(name) if prefix == "pages" else name
        if key in keyed and name:
            known.goals, known.entry_goals = keyed[key]
            known.goal_keys = frozenset((key,))
    return pages


def _page_columns(request: ApiRequest, cell: Cell, groups: Mapping[str, Groups], prefix: str) -> PageColumns:
    totals: dict[int, float] = {}
    for (_, goal), metrics in groups["goals"].rows.items():
        totals[int(goal)] = totals.get(int(goal), 0.0) + metrics["nb_conversions"]
    site = request.config.site(cell.site_id)
    goals = request.config.goals.get(cell.site_id, {})

    def allowed(goal_id: int) -> bool:
        if goal_id <= 0:
            return site is not None and site.ecommerce
        return goal_id in goals and not goals[goal_id].deleted

    timed = groups.get("performance", groups[prefix])
    timings = [
        name
        for name in TIMINGS
        if any(metrics.get(f"nb_hits_with_{name}") for metrics in timed.rows.values())
    ]
    return PageColumns(
        day=cell.period.kind == "day",
        timings=timings,
        goal_totals=totals,
        goal_allowed=allowed,
        exact=is_strict(request),
    )


def _url_tree(
    request: ApiRequest, cell: Cell, pages: Mapping[str, Page], columns: PageColumns, segment: str
) -> Table:
    site = request.config.site(cell.site_id)
    urls = site.urls if site else ()
    main_url = (urls[0] if urls else "").rstrip("/")
    delimiter = request.config.tracking.action_url_category_delimiter

    def leaf(_: str, url: str) -> Columns:
        return {"url": secure_url(url, urls), "segment": f"{segment}==" + double_encoded(url)}

    def folder(path: Sequence[str]) -> Columns:
        # also where entry or exit pages are listed
        return {"segment": "pageUrl=^" + double_encoded("/".join((main_url, *path)))}

    return build_tree(
        pages,
        path_of=lambda url: path_of_url(url, delimiter),
        columns=columns,
        url_of=lambda name, page: full_url(name, page.hits["url_prefix"] if page.hits else 4),
        leaf_metadata=leaf,
        folder_metadata=folder,
    )


def _title_tree(request: ApiRequest, pages: Mapping[str, Page], columns: PageColumns, segment: str) -> Table:
    delimiter = request.config.tracking.action_title_category_delimiter
    return build_tree(
        pages,
        path_of=lambda title: path_of_title(title, delimiter),
        columns=columns,
        url_of=lambda _name, _page: "",
        leaf_metadata=lambda name, _: {"segment": f"{segment}==" + quote_plus(segment_value(name.strip()))},
        folder_metadata=lambda path: {"segment": "pageTitle=^" + quote_plus(segment_value("/".join(path)))},
    )


async def page_tables(request: ApiRequest, prefix: Prefix, segment: str, members: Members = "all") -> Tables:
    """The tree of pages of every cell, its sub tables numbered."""
    needed, delimiters = request.rows_needed, request.config.tracking
    usual = (
        delimiters.action_url_category_delimiter == "/"
        if prefix == "pages"
        else not delimiters.action_title_category_delimiter
    )
    if needed is not None and usual:
        return await _first_rows(request, needed, prefix, segment, members)
    wanted = request.parameters.integer("idSubtable", 0)
    if wanted > 0 and prefix == "pages" and usual and len(request.cells) == 1 and not is_strict(request):
        return await _one_folder(request, wanted, segment, members)
    names, cuts = [*names_of(prefix), "goals"], dict[str, Cut]()
    if _shows_hits_only(request, members):
        names, cuts = [prefix], {prefix: Cut(metrics=_HITS)}
    data = await read_aggregates(request, names, cuts=cuts)
    return {
        cell: numbered(_page_table(request, cell, data[cell], prefix, segment, members))
        for cell in request.cells
    }


async def named_pages(
    request: ApiRequest, prefix: Prefix, segment: str, paths: Sequence[Sequence[str]]
) -> Tables:
    """Trees that have at least the pages at the end of `paths`."""
    names = [*names_of(prefix), "goals", "performance"]
    cuts = {**cuts_of_named(prefix, paths), **_TIMINGS_KNOWN}
    data = await read_aggregates(request, names, cuts=cuts)
    return {cell: _page_table(request, cell, data[cell], prefix, segment, "all") for cell in request.cells}


async def _first_rows(
    request: ApiRequest, needed: int, prefix: Prefix, segment: str, members: Members
) -> Tables:
    """The rows that are shown of the one cell."""
    (cell,) = request.cells
    parts = names_of(prefix) if members != "search" else (prefix, f"{prefix}_time")
    names = [prefix] if _shows_hits_only(request, members) else [*parts, "goals", "performance"]
    found = await read_first_rows(request, cell, prefix, names, members, needed)
    if found is None:
        found = await _chosen_rows(request, cell, prefix, names, members, needed)
    table = _page_table(request, cell, found.groups, prefix, segment, members)
    if found.folders is None:
        return {cell: numbered(table)}
    numbers = found.folders.numbers()
    for row in table.rows:
        if row.subtable is not None:
            # none where rows came in meanwhile
            row.subtable_id = numbers.get(str(row.stored_label))
    return {cell: table}


async def _chosen_rows(
    request: ApiRequest, cell: Cell, prefix: Prefix, names: Sequence[str], members: Members, needed: int
) -> FirstRows:
    """Those that the database chooses of all pages."""
    days = await read_days(request, cell.site_id, [cell.period], [AGGREGATES[name] for name in names])
    if prefix == "titles" and needed == EVERY_ROW:
        return FirstRows(await _read_cut(days, names, {}), None)

    cuts = PageCuts(days, prefix, members, needed)
    if days.reads_rows and prefix == "pages":
        # folders are of the same pages: those that are computed are not computed again
        beside = (FOLDERS, folders_beside(days, members))
        found = await _read_cut(days, names, await cuts.read(), beside=beside)
        return FirstRows(found, folders_of(found[FOLDERS.name], members))

    async def rows() -> Mapping[str, Groups]:
        return await _read_cut(days, names, await cuts.read())

    async def folders() -> Folders:
        return await read_folders(days, members) if prefix == "pages" else NO_FOLDERS

    groups, those = await asyncio.gather(rows(), folders())
    return FirstRows(groups, those)


async def _read_cut(
    days: Days,
    names: Sequence[str],
    cuts: Mapping[str, Cut],
    *,
    beside: tuple[Aggregate, BoundSql] | None = None,
) -> Mapping[str, Groups]:
    """Of a single period."""
    (period,) = days.periods
    if len(names) == 1:  # hits only
        cuts = {name: replace(cuts.get(name, WHOLE), metrics=_HITS) for name in names}
    found = await days.read([AGGREGATES[name] for name in names], {**cuts, **_TIMINGS_KNOWN}, beside=beside)
    return {name: groups.get(period, EMPTY) for name, groups in found.items()}


async def _one_folder(request: ApiRequest, wanted: int, segment: str, members: Members) -> Tables:
    """The tree with the pages below one folder, known by its number in the whole tree."""
    (cell,) = request.cells
    names = [*names_of("pages"), "goals", "performance"]
    days = await read_days(request, cell.site_id, [cell.period], [AGGREGATES[name] for name in names])
    folders = await read_folders(days, members)
    if wanted > len(folders.in_order):
        return {cell: Table()}
    path = folders.in_order[wanted - 1]
    groups = await _read_cut(days, names, folders.cuts_below(path))
    table = numbered(_page_table(request, cell, groups, "pages", segment, members))
    # only the folders above it come before it here: what is below follows it in both trees
    return {cell: _renumbered(table, wanted - len(path))}


def _renumbered(table: Table, more: int) -> Table:
    def change(row: Row) -> Row:
        below = None if row.subtable is None else _renumbered(row.subtable, more)
        number_of = None if row.subtable_id is None else row.subtable_id + more
        return Row(row.columns, row.metadata, below, number_of, row.stored_label)

    return table.map_rows(change)


_HITS = frozenset((*HIT_COLUMNS, FIRST, "url_prefix", "nb_hits_following_search"))
"""Of an aggregate, where hits only are shown."""

_TIMINGS_KNOWN = {"performance": Cut(metrics=frozenset(f"nb_hits_with_{name}" for name in TIMINGS))}
"""Of all pages: which timings were measured at all."""


def _shows_hits_only(request: ApiRequest, members: Members) -> bool:
    """Whether all that is shown of pages, or decides which of them are, is how often they were viewed."""
    parameters = request.parameters
    shown = parameters.comma_list("showColumns")
    return (
        members == "all"
        and bool(shown)
        and {*shown} <= {"label", *HIT_COLUMNS}
        and not any(parameters.texts(name) for name in _LOOK_AT_COLUMNS)
    )


_LOOK_AT_COLUMNS = (
    "compare", "filter_add_columns_when_show_all_columns", "filter_column", "filter_column_recursive",
    "filter_excludelowpop", "filter_sort_column", "filter_update_columns_when_show_all_goals", "label",
    "pivotBy",
)  # fmt: skip
"""Parameters that make other columns than those shown matter."""


def _page_table(
    request: ApiRequest,
    cell: Cell,
    found: Mapping[str, Groups],
    prefix: Prefix,
    segment: str,
    members: Members,
) -> Table:
    """Of what was read; the other parts are empty."""
    groups = {**dict.fromkeys((*names_of(prefix), "goals"), EMPTY), **found}
    if len(found) == 1:
        groups["performance"] = EMPTY  # hits only: nobody sees timings
    pages = _pages_of(groups, prefix)
    if members == "search":
        pages = {name: Page(hits=page.hits, time=page.time) for name, page in pages.items()}
    columns = _page_columns(request, cell, groups, prefix)
    if prefix == "pages":
        table = _url_tree(request, cell, pages, columns, segment)
    else:
        table = _title_tree(request, pages, columns, segment)
    if members != "all":
        table = _with_column(table, SORTED_BY[members][1])
    table = table.map_rows(decoded)
    if prefix == "pages" and request.parameters.flag("flat"):
        table = table.map_rows(_rooted)
    if members == "search":
        table = table.map_rows(lambda row: row.with_metadata(without_segment(row.metadata)))
    return table


def _with_column(table: Table, column: str) -> Table:
    """The rows that have it. A folder adds up all pages below it, also those that are not listed then."""
    return table.with_rows(
        row if row.subtable is None else row.with_subtable(_with_column(row.subtable, column))
        for row in table.rows
        if column in row.columns
    )


def decoded(row: Row) -> Row:
    """Labels of pages, titles and searches are shown decoded; what is no UTF-8 then is left out."""
    below = row.subtable.map_rows(decoded) if row.subtable is not None else None
    stored = str(row.label)
    label = unquote_plus(stored, errors="ignore")
    return Row({**row.columns, "label": label}, row.metadata, below, row.subtable_id, stored)


def _rooted(row: Row, level: int = 0) -> Row:
    """A row of a flat report: paths begin at the root, and a folder's own page is the folder."""
    label = str(row.label)
    if row.subtable is not None:
        below = row.subtable.map_rows(lambda inner: _rooted(inner, level + 1))
        root = "/" if level == 0 else ""
        stored = None if row.stored_label is None else root + row.stored_label
        return Row({**row.columns, "label": root + label}, row.metadata, below, row.subtable_id, stored)
    if label != "/index":
        return row
    return Row({**row.columns, "label": "/"}, row.metadata, None, row.subtable_id, "/")


def without_segment(metadata: Columns) -> Columns:
    return {name: value for name, value in metadata.items() if name != "segment"}
