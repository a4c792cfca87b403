"""VisitsSummary and VisitFrequency: one row per period."""

import asyncio
from collections.abc import Mapping, Sequence

from reporting.errors import ApiError
from reporting.method import ApiRequest, Cell, Method, ProcessedMetric, ReportShape, Unit
from reporting.queries import Metrics, read_aggregates
from reporting.rows import is_strict, number, quotient, ratio_metric
from reporting.table import Columns, Table, simple_table, single_value
from reporting.uniques import EVERYBODY, NEW, RETURNING, Visitors, read_uniques
from reporting.wording import pretty_seconds

COLUMNS = (
    "nb_visits",
    "nb_actions",
    "nb_visits_converted",
    "bounce_count",
    "sum_visit_length",
    "max_actions",
)

BOUNCE_RATE = ratio_metric("bounce_rate", "bounce_count", "nb_visits", 2, Unit.PERCENT)
ACTIONS_PER_VISIT = ratio_metric("nb_actions_per_visit", "nb_actions", "nb_visits", 1, Unit.NUMBER)
AVERAGE_TIME = ratio_metric("avg_time_on_site", "sum_visit_length", "nb_visits", 0, Unit.SECONDS)


def counts_uniques(request: ApiRequest, kind: str) -> bool:
    """Matomo computes unique visitors for day, week and month only."""
    return kind in ("day", "week", "month") or not is_strict(request)


async def summary_columns(request: ApiRequest) -> Mapping[Cell, Columns]:
    """The plain columns of every cell, zeros where nothing happened."""
    data = await read_aggregates(request, ["summary"])
    (uniques,) = await _uniques(request, EVERYBODY)
    with_uniques = counts_uniques(request, request.period.kind)
    return {
        cell: _columns(data[cell]["summary"].rows.get((), {}), uniques.get(cell), with_uniques=with_uniques)
        for cell in request.cells
    }


async def _uniques(request: ApiRequest, *of: Visitors) -> Sequence[Mapping[Cell, tuple[int, int]]]:
    """Exact visitors and users of each cell; none for days, whose metrics are exact."""
    kind = request.period.kind
    if kind == "day" or not counts_uniques(request, kind):
        return [{} for _ in of]
    return await read_uniques(request, of)


def _columns(metrics: Metrics, uniques: tuple[int, int] | None, *, with_uniques: bool) -> Columns:
    columns: Columns = {}
    if with_uniques:
        visitors, users = uniques or (metrics.get("nb_uniq_visitors", 0), metrics.get("nb_users", 0))
        columns["nb_uniq_visitors"], columns["nb_users"] = number(visitors), number(users)
    for name in COLUMNS:
        columns[name] = number(metrics.get(name, 0))
    return columns


async def _get(request: ApiRequest) -> Mapping[Cell, Table]:
    data = await summary_columns(request)
    return {cell: simple_table(columns, filled=not columns["nb_visits"]) for cell, columns in data.items()}


def _single(column: str) -> Method:
    async def cells(request: ApiRequest) -> Mapping[Cell, Table]:
        if column in ("nb_uniq_visitors", "nb_users") and not counts_uniques(request, request.period.kind):
            raise ApiError(
                f"The metric {column} is not enabled for the requested period."
                " Please see this FAQ: https://matomo.org/faq/how-to/faq_113/"
            )
        data = await summary_columns(request)
        return {
            cell: single_value(column, columns.get(column, 0), filled=not columns["nb_visits"])
            for cell, columns in data.items()
        }

    return Method(cells=cells, shape=ReportShape())


async def _pretty_length(request: ApiRequest) -> Mapping[Cell, Table]:
    data = await summary_columns(request)
    result = {}
    for cell, columns in data.items():
        length = columns["sum_visit_length"]
        shown = pretty_seconds(length if isinstance(length, (int, float)) else 0)
        result[cell] = single_value("sum_visit_length", shown, filled=not columns["nb_visits"])
    return result


def _frequency_metric(name: str, amount: str, digits: int, unit: Unit, suffix: str) -> ProcessedMetric:
    return ratio_metric(f"{name}_{suffix}", f"{amount}_{suffix}", f"nb_visits_{suffix}", digits, unit)


_FREQUENCY_COLUMNS = ("nb_visits", "nb_actions", "nb_visits_converted", "bounce_count", "sum_visit_length",
                      "max_actions")  # fmt: skip


async def frequency(request: ApiRequest) -> Mapping[Cell, Table]:
    with_uniques = counts_uniques(request, request.period.kind)
    data_by_type, uniques_by_type = await asyncio.gather(
        read_aggregates(request, ["visitor_types"]), _uniques(request, NEW, RETURNING)
    )
    parts: dict[str, Mapping[Cell, Columns]] = {}
    for suffix, label, uniques in zip(("new", "returning"), ("0", "1"), uniques_by_type, strict=True):
        parts[suffix] = {
            cell: _columns(
                data_by_type[cell]["visitor_types"].rows.get((label,), {}),
                uniques.get(cell),
                with_uniques=with_uniques,
            )
            for cell in request.cells
        }
    result = {}
    for cell in request.cells:
        columns: Columns = {}
        for suffix, data in parts.items():
            of_cell = data[cell]
            if not of_cell["nb_visits"] and (request.several_periods or request.several_sites):
                continue
            if with_uniques:
                columns[f"nb_uniq_visitors_{suffix}"] = of_cell["nb_uniq_visitors"]
                columns[f"nb_users_{suffix}"] = of_cell["nb_users"]
            for name in _FREQUENCY_COLUMNS:
                columns[f"{name}_{suffix}"] = of_cell[name]
            visits, actions, length, bounces = (
                float(str(of_cell[name]))
                for name in ("nb_visits", "nb_actions", "sum_visit_length", "bounce_count")
            )
            columns[f"bounce_rate_{suffix}"] = quotient(bounces, visits, 2)
            columns[f"nb_actions_per_visit_{suffix}"] = quotient(actions, visits, 1)
            columns[f"avg_time_on_site_{suffix}"] = quotient(length, visits, 0)
        empty = not any(columns.get(f"nb_visits_{suffix}") for suffix in parts)
        result[cell] = simple_table(columns, filled=empty)
    return result


_SHAPE = ReportShape(
    name="Visits Summary", sort_column="", processed=(BOUNCE_RATE, ACTIONS_PER_VISIT, AVERAGE_TIME)
)

METHODS: dict[str, Method] = {
    "VisitsSummary.get": Method(cells=_get, shape=_SHAPE),
    "VisitsSummary.getVisits": _single("nb_visits"),
    "VisitsSummary.getUniqueVisitors": _single("nb_uniq_visitors"),
    "VisitsSummary.getUsers": _single("nb_users"),
    "VisitsSummary.getActions": _single("nb_actions"),
    "VisitsSummary.getMaxActions": _single("max_actions"),
    "VisitsSummary.getBounceCount": _single("bounce_count"),
    "VisitsSummary.getVisitsConverted": _single("nb_visits_converted"),
    "VisitsSummary.getSumVisitsLength": _single("sum_visit_length"),
    "VisitsSummary.getSumVisitsLengthPretty": Method(cells=_pretty_length, shape=ReportShape()),
    "VisitFrequency.get": Method(
        cells=frequency,
        shape=ReportShape(
            name="Returning Visits",
            date_key="period",
            always_compared=tuple(
                f"{name}_{suffix}"
                for suffix in ("returning", "new")
                for name in ("avg_time_on_site", "nb_actions_per_visit", "bounce_rate")
            ),
            sort_column="",
            units={
                f"{name}_{suffix}": unit
                for suffix in ("new", "returning")
                for name, unit in (("bounce_rate", Unit.PERCENT), ("avg_time_on_site", Unit.SECONDS))
            },
        ),
    ),
}
