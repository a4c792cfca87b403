"""API.getProcessedReport: a report with its metadata, its columns' titles and values as people read them."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from reporting import generic_filters as filters
from reporting.api import run_method
from reporting.catalogue import CARTS, ORDERS
from reporting.comparison import changes_of
from reporting.german import translated
from reporting.method import ApiRequest, Method, Unit
from reporting.methods.report_metadata import entry_metadata, entry_of
from reporting.metric_titles import metric_type
from reporting.parameters import Parameters
from reporting.postprocess import rows_needed
from reporting.report_entry import ReportEntry, metric_title
from reporting.table import Columns, Result, Row, Table, TableMap, Value
from reporting.wording import format_value, pretty_period, pretty_range

_OWN_PARAMETERS = frozenset(
    {"method", "apiModule", "apiAction", "apiParameters", "format", "format_metrics", "showRawMetrics",
     "hideMetricsDoc", "hideIdSubDatable", "showColumns", "hideColumns"}
)  # fmt: skip
"""What the inner request must not repeat."""
_ADDED = "nb_actions_per_visit"
_OF_GOAL = "goal_"
"""How columns of one goal begin, which rows have when they are asked for."""
_CHANGE = "_change"
_FORMER = frozenset({"avg_time_generation"})
"""Clients of former versions find it in metadata; it is no longer recorded."""
_ROWS_WANTED = frozenset(
    {"module", "idSite", "period", "date", "segment", "idGoal", "idDimension", "idSubtable", "language"}
)


def _pretty_date(request: ApiRequest) -> str:
    """The period in words; of several the whole time."""
    if not request.several_periods:
        return pretty_period(request.period, request.language)
    return pretty_range(request.periods[0].start, request.periods[-1].end, request.language)


def _empty_columns(entry: ReportEntry, result: Result) -> frozenset[str]:
    """What is told in the types of metrics only: a former metric, and users where a site knows none."""
    if entry.dimension:
        return _FORMER
    users = (row.columns.get("nb_users") for table in _tables(result) for row in table)
    return _FORMER if any(filters.number(value) for value in users) else _FORMER | {"nb_users"}


def _tables(result: Result) -> Sequence[Table]:
    if isinstance(result, TableMap):
        return [table for item in result.items.values() for table in _tables(item)]
    return [result] if isinstance(result, Table) else []


def _chosen(request: ApiRequest, names: Sequence[str]) -> tuple[str, ...]:
    """Those of the columns that showColumns and hideColumns leave."""
    shown = request.parameters.comma_list("showColumns")
    hidden = request.parameters.comma_list("hideColumns")
    return tuple(
        name for name in names if name not in hidden and (not shown or name in shown or name == "label")
    )


def _columns(request: ApiRequest, entry: ReportEntry, empty: frozenset[str]) -> dict[str, Value]:
    names = [*(("label",) if entry.dimension else ()), *entry.metrics, *entry.processed]
    names = [name for name in names if name not in empty]
    if "revenue" in entry.goal_metrics:
        names.append("revenue")
    return {
        name: translated(entry.dimension, request.language)
        if name == "label"
        else metric_title(entry, name, request.language)
        for name in _chosen(request, names)
    }


def _chosen_metadata(
    request: ApiRequest, metadata: dict[str, Value], empty: frozenset[str]
) -> dict[str, Value]:
    """Metadata of the chosen columns only."""
    for part in ("metrics", "metricsDocumentation", "processedMetrics", "metricTypes"):
        held = metadata.get(part)
        if isinstance(held, Mapping):
            without = empty if part in ("metrics", "metricsDocumentation") else ()
            metadata[part] = {
                name: held[name] for name in _chosen(request, list(held)) if name not in without
            }
    return {name: value for name, value in metadata.items() if value != {}}


def _shows_goals(request: ApiRequest, entry: ReportEntry) -> bool:
    """Whether the columns of goals are asked for and the report has any."""
    asked = request.parameters.text("filter_update_columns_when_show_all_goals")
    return bool(entry.goal_metrics) and asked not in ("", "0")


def _with_goal_rates(entry: ReportEntry) -> ReportEntry:
    """The report with conversion rates, as it is described when the columns of goals are shown."""
    first, *others = entry.goal_metrics
    return replace(
        entry,
        processed=tuple(dict.fromkeys((*entry.processed, "conversion_rate"))),
        goal_metrics=(first, "conversion_rate", *others),
    )


def _goal_unit(name: str) -> Unit:
    """Of a column such as goal_1_revenue_per_visit."""
    return Unit.PERCENT if name.endswith("_rate") else Unit.MONEY if "revenue" in name else Unit.NUMBER


class _Values:
    """How the request wants values: as they are, its processed metrics as text, or everything as text."""

    def __init__(self, request: ApiRequest, entry: ReportEntry, method: Method) -> None:
        self._language = request.language
        site = request.config.site(request.site_id)
        self._currency = "USD" if site is None else site.currency
        wanted = request.parameters.text("format_metrics")
        self._units: dict[str, Unit] = {}
        if wanted == "0":
            return
        declared = {metric.name: metric.unit for metric in (*filters.VISIT_METRICS, *method.shape.processed)}
        names = dict.fromkeys((*entry.processed, *declared))
        if not wanted:
            names |= dict.fromkeys((*entry.metrics, "revenue"))
        for name in names:
            unit = declared.get(name, (method.shape.units or {}).get(name, Unit.NUMBER))
            if unit is Unit.NUMBER:
                unit = _UNITS.get(metric_type(name, method), Unit.NUMBER)
            if not wanted and unit is Unit.SECONDS:
                unit = Unit.CLOCK
            self._units[name] = unit

    def shown(self, name: str, value: Value) -> Value:
        unit = self._units.get(name)
        if self._units and name.startswith(_OF_GOAL):
            unit = _goal_unit(name)
        if unit is None or unit is Unit.NUMBER:
            return value
        return format_value(value, unit, self._currency, self._language)


_UNITS = {"percent": Unit.PERCENT, "money": Unit.MONEY, "duration_s": Unit.SECONDS}


def _inner(request: ApiRequest, entry: ReportEntry) -> dict[str, Any]:
    values = {name: value for name, value in request.parameters.values.items() if name not in _OWN_PARAMETERS}
    given = request.parameters.nested("apiParameters")
    return {**given, **values, **dict(entry.parameters), "method": entry.method, "format_metrics": "0"}


def _complete(
    row: Row,
    request: ApiRequest,
    entry: ReportEntry,
    columns: Mapping[str, Value],
    values: _Values,
    *,
    raw: bool,
) -> Row:
    """The row's own columns in their order, then the missing ones as zero."""
    with_goals = "conversion_rate" in entry.goal_metrics
    shown: Columns = {
        name: values.shown(name, 0 if value is None else value)
        for name, value in row.columns.items()
        if raw or name in columns or (with_goals and name.startswith(_OF_GOAL))
    }
    missing = [name for name in columns if name not in shown]
    shown |= {name: 0 if name in entry.processed else values.shown(name, 0) for name in missing}
    compared = row.metadata.get("comparisons")
    if isinstance(compared, Table):
        shown["comparisons"] = _compared(compared, request, entry, columns, values)
    return Row(shown)


def _compared(
    series: Table, request: ApiRequest, entry: ReportEntry, columns: Mapping[str, Value], values: _Values
) -> Table:
    """Of each series the columns of the report, also those that only processed reports have, and how they
    changed; what a series lacks is zero and did not change."""
    width = 1 + len(request.parameters.texts("compareSegments"))
    step = width if request.parameters.flag("invert_compare_change_compute") else -width
    rates: list[Columns] = [
        {
            metric.name: metric.compute(row, series)
            for metric in filters.VISIT_METRICS
            if "bounce_rate" in entry.processed and metric.name in columns and metric.name not in row.columns
        }
        for row in series
    ]
    result: list[Row] = []
    for at, row in enumerate(series):
        own = {name: value for name, value in row.columns.items() if name in columns} | rates[at]
        changes = {name: value for name, value in row.columns.items() if name.endswith(_CHANGE)}
        if changes:
            # against the first date with the same segment, or the second one's when inverted
            past = at + step if step > 0 else at % width
            changes |= changes_of(rates[at], rates[past], request.language)
        shown: Columns = {name: values.shown(name, value) for name, value in own.items()}
        shown |= {name: value for name, value in changes.items() if name.removesuffix(_CHANGE) in columns}
        shown |= {
            name: 0 if name in entry.processed else values.shown(name, 0)
            for name in columns
            if name not in shown
        }
        shown |= {name + _CHANGE: "+0%" for name in columns if name + _CHANGE not in shown}
        result.append(Row(shown, row.metadata))
    return series.with_rows(result, None)


def _metadata_row(row: Row, *, hide_ids: bool) -> Row | None:
    """A row without anything to say has no row in reportMetadata."""
    columns: Columns = {name: value for name, value in row.metadata.items() if name != "comparisons"}
    if row.subtable_id is not None and not hide_ids:
        columns["idsubdatatable"] = row.subtable_id
    return Row(columns) if columns or row.subtable_id is not None else None


def _data(
    result: Result, request: ApiRequest, entry: ReportEntry, columns: Mapping[str, Value], values: _Values
) -> tuple[Value, Value]:
    """reportData and reportMetadata; of several periods under their names."""
    if isinstance(result, TableMap):
        names = {period.key: pretty_period(period, request.language) for period in request.periods}
        parts = {
            names.get(key, key): _data(item, request, entry, columns, values)
            for key, item in result.items.items()
        }
        return (
            TableMap("prettyDate", {name: data for name, (data, _) in parts.items()}),
            TableMap("prettyDate", {name: metadata for name, (_, metadata) in parts.items()}),
        )
    if not isinstance(result, Table) or (result.filled and request.several_periods):
        return Table(), Table()
    raw = request.parameters.flag("showRawMetrics")
    table = _with_visit_metrics(result, entry)

    def complete(row: Row) -> Row:
        return _complete(row, request, entry, columns, values, raw=raw)

    if result.simple:
        return Table([complete(row) for row in table.rows] if columns else [], simple=True), Table()
    # ids are hidden where the sub tables are at hand only
    hide_ids = request.parameters.flag("hideIdSubDatable") and request.parameters.flag("expanded")
    metadata = [row for each in table if (row := _metadata_row(each, hide_ids=hide_ids)) is not None]
    return table.map_rows(complete), Table(metadata)


def _with_visit_metrics(table: Table, entry: ReportEntry) -> Table:
    """Rows of visits have all metrics of visits, before those that only their report has."""
    if "bounce_rate" not in entry.processed:
        return table
    names = [metric.name for metric in filters.VISIT_METRICS]
    whole = filters.compute_processed(table, filters.VISIT_METRICS)

    def ordered(row: Row, complete: Row) -> Row:
        computed = {*entry.processed, *(name for name in row.columns if name.startswith(_OF_GOAL))}
        columns = {name: value for name, value in row.columns.items() if name not in computed}
        columns |= {name: row.columns.get(name, complete.columns.get(name)) for name in names}
        return row.with_columns({**columns, **row.columns})

    rows = [ordered(row, complete) for row, complete in zip(table, whole, strict=True)]
    return table.with_rows(rows, None)


def _goal_order(key: str) -> tuple[int, str]:
    """Carts, orders, goals by number."""
    goal = key.removeprefix("idgoal=")
    return (int(goal) if goal.isdigit() else {CARTS: -1, ORDERS: 0}.get(goal, 0), key)


def _rates_last(goal: Value) -> Value:
    """Rates of pages are computed after everything that is stored."""
    if not isinstance(goal, Mapping):
        return goal
    return dict(sorted(goal.items(), key=lambda item: item[0].endswith("_rate")))


def _sum_of(table: Table, entry: ReportEntry) -> Columns:
    total = filters.sum_rows(table, entry.processed)
    for name, value in total.items():
        if isinstance(value, Mapping):
            total[name] = {key: _rates_last(value[key]) for key in sorted(value, key=_goal_order)}
        elif not name.startswith(("min_", "max_")):
            total[name] = filters.number(value)
    return total


async def _totals(request: ApiRequest, entry: ReportEntry, method: Method) -> Value:
    """The sums over all rows of the report, of all its periods; only reports with rows have them."""
    if not entry.dimension:
        return []
    values = {name: value for name, value in _inner(request, entry).items() if name in _ROWS_WANTED}
    parameters = Parameters({**values, **dict(entry.parameters), "filter_limit": "-1"})
    whole = replace(request, method=entry.method, parameters=parameters)
    whole = replace(whole, rows_needed=rows_needed(whole, method.shape))
    totalled = [metric for metric in method.shape.processed if metric.totalled]
    summed: list[Row] = []
    for table in _tables(await run_method(whole, method)):
        total = _sum_of(filters.compute_processed(table, totalled), entry)
        if _ADDED in entry.processed and total:
            total[_ADDED] = filters.quotient(total.get("nb_actions"), total.get("nb_visits"), 1)
        summed.append(Row(total))
    return dict(filters.sum_rows(summed))


async def _processed(request: ApiRequest) -> Result:
    entry = entry_of(request)
    if _shows_goals(request, entry):
        entry = _with_goal_rates(entry)
    method = request.state["methods"][entry.method]
    result = await request.call(_inner(request, entry))
    empty = _empty_columns(entry, result)
    columns = _columns(request, entry, empty)
    metadata = _chosen_metadata(request, entry_metadata(request, entry), empty)
    values = _Values(request, entry, method)
    data, row_metadata = _data(result, request, entry, columns, values)
    site = request.config.site(request.site_id)
    return {
        "website": site.name if site else "",
        "prettyDate": _pretty_date(request),
        "metadata": metadata,
        "columns": columns,
        "reportData": data,
        "reportMetadata": row_metadata,
        "reportTotal": await _totals(request, entry, method),
    }


METHODS: dict[str, Method] = {
    "API.getProcessedReport": Method(
        answer=_processed,
        takes_sites=True,
        takes_period=True,
        several_sites=False,
        required=("apiModule", "apiAction"),
        filters=False,
    ),
}
