"""What happens to a method's result before it is rendered, in Matomo's order.

pivot, flatten, row filters (pattern, population, sort, truncate, limit), processed metrics, comparisons,
column numbers, column selection, label, formatting. Maps are processed table by table.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from reporting import generic_filters as filters
from reporting.comparison import Series, comparison_series, own_series, with_comparisons
from reporting.errors import ApiError
from reporting.labels import keep_labels
from reporting.method import EVERY_ROW, ApiRequest, Method, ProcessedMetric, ReportShape, Unit
from reporting.parameters import Parameters
from reporting.table import Result, Row, Table, TableMap, Value
from reporting.wording import format_value

DEFAULT_LIMIT = 100
"""Rows of a table when filter_limit is not given: Matomo's `API_datatable_default_limit`."""

_READ_WHOLE = (
    "compare", "disable_generic_filters", "expanded", "flat", "pivotBy", "filter_pattern",
    "filter_pattern_recursive", "filter_excludelowpop", "filter_truncate", "filter_sort_order",
    "filter_add_columns_when_show_all_columns", "filter_update_columns_when_show_all_goals",
    "keep_totals_row", "idSubtable",
)  # fmt: skip
"""Parameters of filters that look at all rows, or at those below them."""
_MOST_NEEDED = 1_000

Rerun = Callable[[ApiRequest, Mapping[str, Any]], Awaitable[Result]]


@dataclass(frozen=True, kw_only=True)
class Postprocessing:
    request: ApiRequest
    method: Method
    rerun: Rerun


@dataclass(frozen=True)
class _Prepared:
    """A table after the steps that comparisons need, and the metrics that were added to it."""

    table: Table
    metrics: tuple[ProcessedMetric, ...]


async def postprocess(result: Result, steps: Postprocessing) -> Result:
    """Raises ApiError for parameters that cannot be applied to the report."""
    if isinstance(result, TableMap) and result.key_name == "idSite":
        sites = {
            key: await postprocess(item, _of_site(steps, int(key))) for key, item in result.items.items()
        }
        return TableMap(result.key_name, sites)
    if isinstance(result, TableMap):
        compared = await _map_comparisons(result, steps)
        items: dict[str, Value] = {}
        for at, (key, item) in enumerate(result.items.items()):
            if isinstance(item, Table):
                items[key] = await _process(item, steps, compared[at] if compared else None)
            else:
                items[key] = await postprocess(item, steps)
        for comparison in compared[len(items) :]:
            items[comparison.key] = await _process(Table(), steps, comparison)
        return TableMap(result.key_name, items)
    if isinstance(result, Table):
        return await _process(result, steps)
    if isinstance(result, list):
        return _filter_list(result, steps.request.parameters)
    return result


def rows_needed(request: ApiRequest, shape: ReportShape) -> int | None:
    """How many first rows in the report's own order decide its answer (ApiRequest.rows_needed). None where
    filters look at more, for strict instances, whose limits add up the other rows, and for several tables."""
    parameters = request.parameters
    if len(request.cells) != 1 or request.state.get("compatibility") == "strict" or shape.sort_stored:
        return None
    if parameters.text("format").lower() in ("console", "original") or parameters.texts("label"):
        return None
    if any(parameters.flag(name) or parameters.nested(name) for name in _READ_WHOLE):
        return None
    if parameters.text("filter_sort_column") not in ("", shape.sort_column) or shape.sort_order != "desc":
        return None
    count = parameters.integer("filter_limit", DEFAULT_LIMIT)
    needed = count + max(0, parameters.integer("filter_offset", 0))
    return needed if 0 <= count <= needed <= _MOST_NEEDED else EVERY_ROW


def _of_site(steps: Postprocessing, site_id: int) -> Postprocessing:
    """The same for one of several sites: its comparisons and its currency."""
    return replace(steps, request=replace(steps.request, sites=(site_id,), several_sites=False))


@dataclass(frozen=True)
class _Comparison:
    series: tuple[Series, ...]
    """The table's own first, unless it has ended."""
    others: list[Table]
    """Of the series after the own one."""
    key: str = ""
    """Of the date in a map; empty: a table alone."""
    ended: bool = False
    """The table's own dates have ended, others go on."""


async def _process(table: Table, steps: Postprocessing, comparison: _Comparison | None = None) -> Table:
    """`comparison`: of one date of a map; a table alone reads its own."""
    parameters, shape = steps.request.parameters, steps.method.shape
    prepared = _prepare(table, parameters, steps.request, shape)
    whole, table = table, prepared.table
    if parameters.flag("compare") and steps.request.periods:
        # a log of visits of no period is compared with nothing
        if comparison is None:
            series = comparison_series(steps.request)
            comparison = _Comparison(series, [await _other(one, steps) for one in series[1:]])
        elif table.filled or not len(table):
            table = Table([Row({})], simple=table.simple)
        processed = tuple(metric.name for metric in shape.processed if metric.applies is None)
        table = with_comparisons(
            table,
            comparison.others,
            comparison.series,
            shape,
            inverted=parameters.flag("invert_compare_change_compute"),
            temporary=() if parameters.flag("showRawMetrics") else shape.temporary,
            always=(shape.always_compared or processed) if comparison.key else (),
            ended=comparison.ended,
        )
    if parameters.flag("disable_queued_filters"):
        table = filters.number_columns(table)
    table = _select_columns(table, parameters, shape)
    labels = tuple(label for label in parameters.texts("label") if label.strip())
    if labels:
        table = keep_labels(table, labels, parameters.flag("labelFilterAddLabelIndex"))
    table = _hide_trees(_format(table, steps, prepared.metrics), parameters, shape)
    format_name = parameters.text("format").lower()
    if format_name not in ("console", "original"):
        return table
    totals = _totals(whole, steps)
    if format_name == "console":
        table.metadata = _console_metadata(totals, shape)
        return table
    table.metadata = totals
    if parameters.flag("keep_totals_row") and "totals" in totals:
        label = parameters.text("keep_totals_row_label") or "Totals"
        table.totals = {"label": label, **dict(_columns_of(totals["totals"]))}
    return table


def _columns_of(value: Value) -> Mapping[str, Value]:
    return value if isinstance(value, Mapping) else {}


def _totals(whole: Table, steps: Postprocessing) -> dict[str, Value]:
    """The sums over all rows, also of those that limits leave out, for formats that show metadata of tables;
    nothing for totals=0. One-row reports with processed metrics have none."""
    shape = steps.method.shape
    if not steps.request.parameters.flag("totals", True) or (shape.processed and whole.simple):
        return {}
    summed = Table([Row(filters.sum_rows(whole))])
    totals = filters.compute_processed(summed, shape.processed)
    return {
        "totals": _format(totals, steps, shape.processed).rows[0].columns,
        "totalsUnformatted": totals.rows[0].columns,
    }


def _console_metadata(totals: Mapping[str, Value], shape: ReportShape) -> dict[str, Value]:
    """What the console format lists below a table."""
    metadata: dict[str, Value] = dict.fromkeys(("ts_archived", "site", "period", "segment", "segmentPretty"))
    metadata |= totals
    metadata["total_rows_before_limit"] = None
    if shape.processed:
        metadata["processed_metrics_computed"] = None
        metadata["processed_metrics_formatted"] = None
    return metadata


def _known_dimensions(methods: Mapping[str, Method]) -> frozenset[str]:
    shapes = [method.shape for method in methods.values()]
    return frozenset(name for shape in shapes for name in (shape.dimension, shape.subtable_dimension))


def _without_trees(table: Table) -> Table:
    """Rows that had a sub table have an empty one: thousands of rows that nobody sees cost nothing."""
    return table.map_rows(lambda row: row if row.subtable is None else row.with_subtable(Table()))


def _prepare(table: Table, parameters: Parameters, request: ApiRequest, shape: ReportShape) -> _Prepared:
    if not request.looks_below:
        table = _without_trees(table)
    if parameters.text("pivotBy"):
        dimensions = _known_dimensions(request.state.get("methods", {}))
        table = _pivot(table, parameters, shape, request.method, dimensions)
        # the columns by which reports are stored in order are gone
        shape = replace(shape, sort_stored=False)
    if shape.dimension_parameter:
        dimension = shape.dimension + parameters.text(shape.dimension_parameter)
        shape = replace(shape, dimension=dimension)
    if parameters.flag("flat"):
        table = filters.flatten(table, shape, with_parents=parameters.flag("include_aggregate_rows"))
    whole = table
    metrics: tuple[ProcessedMetric, ...] = () if parameters.text("pivotBy") else shape.processed
    if any(label.strip() for label in parameters.texts("label")):
        # the row that is asked for may lie deeper, and is the whole answer then
        metrics = tuple(replace(metric, first_level_only=False) for metric in metrics)
    if not parameters.flag("disable_generic_filters"):
        # Load times come first and the other metrics of the report last: where names are equal, theirs is
        # the value.
        added, with_goals = _visit_metrics(table, parameters)
        early = tuple(metric for metric in metrics if metric.first_level_only)
        metrics = (*early, *added, *(metric for metric in metrics if not metric.first_level_only))
        if added and not with_goals:
            table = filters.drop_rows_without_visits(table)
        whole, table = table, _filter_rows(table, parameters, shape, metrics)
    shown = parameters.comma_list("showColumns")
    computed = metrics
    if shown and not parameters.flag("compare"):
        computed = tuple(metric for metric in metrics if metric.name in shown)
    return _Prepared(filters.compute_processed(table, computed, whole), metrics)


def _pivot(
    table: Table, parameters: Parameters, shape: ReportShape, method: str, dimensions: frozenset[str]
) -> Table:
    dimension = parameters.text("pivotBy")
    if dimension.replace(".", "_", 1) not in dimensions:
        raise ApiError(f"Invalid dimension '{dimension}'.")
    column = parameters.text("pivotByColumn")
    maximum = parameters.integer("pivotByColumnLimit", 10)
    numbered = not parameters.flag("disable_queued_filters")
    return filters.pivot(table, shape, method, dimension, column, maximum, numbered=numbered)


def _visit_metrics(table: Table, parameters: Parameters) -> tuple[tuple[ProcessedMetric, ...], bool]:
    """What is added to each row, and whether it is about goals; only one of the two parameters applies."""
    if table.simple:
        return (), False
    if parameters.text("filter_update_columns_when_show_all_goals") not in ("", "0"):
        return filters.visit_metrics(table, _shown_goals(parameters)), True
    if parameters.flag("filter_add_columns_when_show_all_columns"):
        return filters.visit_metrics(table, None), False
    return (), False


def _shown_goals(parameters: Parameters) -> str:
    """The goal whose columns are asked for, else -1: the rates of all goals."""
    return parameters.text("filter_show_goal_columns_process_goals") or parameters.text("idGoal") or "-1"


def _filter_rows(
    table: Table, parameters: Parameters, shape: ReportShape, metrics: tuple[ProcessedMetric, ...]
) -> Table:
    processed = {metric.name for metric in metrics}
    pattern_columns = parameters.comma_list("filter_column") or ("label",)
    sort_column = parameters.text("filter_sort_column") or ("" if shape.sort_stored else shape.sort_column)
    population_column = parameters.text("filter_excludelowpop")
    computed = bool(processed & {*pattern_columns, sort_column, population_column})
    if computed:
        table = filters.compute_processed(table, metrics)
    if pattern := parameters.text("filter_pattern"):
        table = filters.keep_matching(table, pattern_columns, pattern)
    if pattern := parameters.text("filter_pattern_recursive"):
        column = parameters.text("filter_column_recursive") or "label"
        table = filters.keep_matching_branches(table, column, pattern)
    if population_column:
        minimum = parameters.number("filter_excludelowpop_value", 0.0) or 0.0
        table = filters.exclude_low_population(table, population_column, minimum)
    if not table.simple and (sort_column or parameters.text("filter_sort_order")):
        order = parameters.text("filter_sort_order") or (
            "desc" if parameters.text("filter_sort_column") else shape.sort_order
        )
        table = filters.sort(table, sort_column or shape.sort_column, order, shape)
    keep = parameters.integer("filter_truncate")
    labels = any(label.strip() for label in parameters.texts("label"))
    if keep is not None and not labels and not table.simple:
        table = filters.truncate(table, keep, processed if computed else ())
    if not labels:
        offset = parameters.integer("filter_offset", 0)
        table = filters.limit(table, offset, parameters.integer("filter_limit", DEFAULT_LIMIT))
    return table


def _select_columns(table: Table, parameters: Parameters, shape: ReportShape) -> Table:
    shown, hidden = parameters.comma_list("showColumns"), parameters.comma_list("hideColumns")
    if table.simple and not shown and not shape.selects_columns:
        # One-row reports take `columns` themselves; Matomo answers their own order, as for showColumns.
        shown = parameters.comma_list("columns")
    if shown or hidden:
        recursive = parameters.flag("hideColumnsRecursively", shape.nested_hiding)
        table = filters.select_columns(table, shown, hidden, recursive)
    if hidden or parameters.flag("showRawMetrics"):
        return filters.drop_columns(table, shape.hidden)
    return filters.drop_columns(table, (*shape.temporary, *shape.hidden))


_NOT_COMPARED = frozenset(("filter_limit", "filter_offset", "filter_truncate", "label", "compare"))


async def _rerun_for(one: Series, steps: Postprocessing) -> Result:
    """The report of another series, as the method gives it."""
    plain = {
        name: value for name, value in steps.request.parameters.values.items() if name not in _NOT_COMPARED
    }
    changes = {
        "periods": one.dates or (one.period,),
        "segment": one.segment,
        "several_periods": bool(one.dates),
        "parameters": Parameters(plain),
    }
    return await steps.rerun(steps.request, changes)


def _prepared_for_comparison(result: Result, steps: Postprocessing) -> Table:
    """Prepared as the report itself, but whole."""
    plain = {
        name: value for name, value in steps.request.parameters.values.items() if name not in _NOT_COMPARED
    }
    table = result if isinstance(result, Table) else Table()
    whole = Parameters({**plain, "filter_limit": "-1"})
    return _prepare(table, whole, steps.request, steps.method.shape).table


async def _other(one: Series, steps: Postprocessing) -> Table:
    return _prepared_for_comparison(await _rerun_for(one, steps), steps)


async def _map_comparisons(result: TableMap, steps: Postprocessing) -> list[_Comparison]:
    """What each date of a map is compared with: the dates at its place in the other series. Where another
    series goes on after the last date, so do the comparisons, of the others alone."""
    request = steps.request
    if not request.parameters.flag("compare") or not request.several_periods:
        return []
    series = comparison_series(request)
    maps = [await _rerun_for(one, steps) for one in series[1:]]

    def table_at(other: Result, place: int) -> Table:
        items = list(other.items.values()) if isinstance(other, TableMap) else []
        table = _prepared_for_comparison(items[place] if place < len(items) else None, steps)
        return Table() if table.filled else table

    keys = list(result.items)
    comparisons = [
        _Comparison(tuple(one.at(place) for one in series), [table_at(other, place) for other in maps], key)
        for place, key in enumerate(keys)
    ]
    longest = max(len(one.dates) for one in series)
    if steps.method.shape.date_key == "date" and keys:
        width = own_series(series)
        for place in range(len(keys), longest):
            later = tuple(one.at(place) for one in series[width:])
            tables = [table_at(other, place) for other in maps[width - 1 :]]
            key = request.periods[-1].following(place - len(keys) + 1).key
            comparisons.append(_Comparison(later, tables, key, ended=True))
    return comparisons


def _formats(parameters: Parameters) -> frozenset[Unit]:
    """Which units become text: percentages by default, nothing for 0, everything for 1 and all."""
    wanted = parameters.text("format_metrics", "bc")
    if wanted == "0":
        return frozenset()
    if wanted in ("1", "all", "true"):
        return frozenset(Unit)
    return frozenset({Unit.PERCENT})


def _format(table: Table, steps: Postprocessing, metrics: tuple[ProcessedMetric, ...]) -> Table:
    parameters, shape = steps.request.parameters, steps.method.shape
    formatted = _formats(parameters)
    units = {metric.name: metric.unit for metric in metrics}
    everything = parameters.text("format_metrics") == "all"
    plain_units = {
        name: unit for name, unit in (shape.units or {}).items() if everything or unit is not Unit.MONEY
    }
    units = {name: unit for name, unit in {**plain_units, **units}.items() if unit in formatted}
    if not units:
        return table
    currency = "USD"
    if steps.request.sites:
        site = steps.request.config.site(steps.request.sites[0])
        currency = site.currency if site is not None else currency

    def change_row(row: Row) -> Row:
        columns = {
            name: format_value(value, units[name], currency, steps.request.language)
            if name in units
            else value
            for name, value in row.columns.items()
        }
        compared = row.metadata.get("comparisons")
        if isinstance(compared, Table):
            row = row.with_metadata({**row.metadata, "comparisons": compared.map_rows(change_row)})
        return row.with_columns(columns)

    return filters.with_subtables(table, lambda part: part.map_rows(change_row))


def _hide_trees(table: Table, parameters: Parameters, shape: ReportShape) -> Table:
    """Sub tables are shown for expanded=1 only; rows below the first level of a report whose sub tables are
    another report show no metadata there."""
    labels = any(label.strip() for label in parameters.texts("label"))
    # rows that were asked for by label come alone
    expanded = parameters.flag("expanded") and not parameters.flag("flat") and not labels
    depth = parameters.integer("depth")
    hide_ids = parameters.flag("hideIdSubDatable") or parameters.flag("hideIdSubDatatable")

    def change(row: Row, level: int) -> Row:
        below = None
        if expanded and row.subtable is not None and (depth is None or level < depth):
            below = row.subtable.map_rows(lambda inner: change(inner, level + 1))
        bare = level > 0 and not (shape.recursive or shape.nested_metadata or labels)
        metadata: dict[str, Value] = _bare_comparisons(row.metadata) if bare else row.metadata
        return Row(row.columns, metadata, below, None if hide_ids else row.subtable_id)

    return table.map_rows(lambda row: change(row, 0))


def _bare_comparisons(metadata: dict[str, Value]) -> dict[str, Value]:
    """What stays of a sub row's metadata: its comparisons, without their segments."""
    compared = metadata.get("comparisons")
    if not isinstance(compared, Table):
        return {}

    def change(row: Row) -> Row:
        return row.with_metadata({name: value for name, value in row.metadata.items() if name != "segment"})

    return {"comparisons": compared.map_rows(change)}


def _filter_list(values: list[Value], parameters: Parameters) -> list[Value]:
    """Lists of objects: pattern, limit, chosen columns; plain lists: the limit."""
    if not values:
        return values
    if pattern := parameters.text("filter_pattern"):
        columns = parameters.comma_list("filter_column")
        rows = [Row(dict(value)) for value in values if isinstance(value, Mapping)]
        if columns and len(rows) == len(values):
            values = [dict(row.columns) for row in filters.keep_matching(Table(rows), columns, pattern).rows]
    count, offset = parameters.integer("filter_limit", -1), parameters.integer("filter_offset", 0)
    if offset > 0 or count >= 0:
        end = None if count < 0 else offset + count
        values = values[max(0, offset) : end]
    shown, hidden = parameters.comma_list("showColumns"), parameters.comma_list("hideColumns")
    if not shown and not hidden:
        return values
    return [
        {
            name: inner
            for name, inner in value.items()
            if name not in hidden and (not shown or name in shown or name == "label")
        }
        if isinstance(value, Mapping)
        else value
        for value in values
    ]
