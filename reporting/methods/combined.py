"""API.get: the one-row reports of all modules in one row."""

import asyncio
from collections.abc import Mapping

from reporting.method import ApiRequest, Cell, Method, ReportShape, Unit
from reporting.methods import actions, goals, referrers, visits_summary
from reporting.methods.plugins import plugin_metrics
from reporting.methods.visits_summary import ACTIONS_PER_VISIT, AVERAGE_TIME, BOUNCE_RATE
from reporting.queries import read_aggregates
from reporting.rows import number, quotient
from reporting.table import Columns, Table, Value, simple_table
from schemas.metrics import TIMINGS
from schemas.plugins import installed_plugins

_SUMMARY = ("nb_uniq_visitors", "nb_visits", "nb_users", "nb_actions", "max_actions", "bounce_count",
            "sum_visit_length")  # fmt: skip
_FREQUENCY = ("nb_visits", "nb_actions", "nb_uniq_visitors", "nb_users", "max_actions", "bounce_rate",
              "nb_actions_per_visit", "avg_time_on_site")  # fmt: skip
_TIMING_NAMES = {
    "time_network": ("network_time", "network_hits"), "time_server": ("servery_time", "server_hits"),
    "time_transfer": ("transfer_time", "transfer_hits"),
    "time_dom_processing": ("domprocessing_time", "domprocessing_hits"),
    "time_dom_completion": ("domcompletion_time", "domcompletion_hits"),
    "time_on_load": ("onload_time", "onload_hits"),
}  # fmt: skip


def _columns_of(table: Table) -> Columns:
    return dict(table.rows[0].columns) if table.rows else {}


async def _performance(request: ApiRequest) -> Mapping[Cell, Columns]:
    data = await read_aggregates(request, ["performance"])
    result = {}
    for cell, groups in data.items():
        metrics = groups["performance"].rows.get((), {})
        columns: Columns = {}
        total, hits = 0.0, 0.0
        for name in TIMINGS:
            spent, count = metrics.get(f"sum_{name}", 0.0), metrics.get(f"nb_hits_with_{name}", 0.0)
            total, hits = total + spent, max(hits, count)
            time_name, hits_name = _TIMING_NAMES[name]
            columns[f"PagePerformance_{time_name}"] = number(round(spent, 3))
            columns[f"PagePerformance_{hits_name}"] = number(count)
        columns["PagePerformance_pageload_time"] = number(round(total, 3))
        columns["PagePerformance_pageload_hits"] = number(hits)
        result[cell] = columns
    return result


async def _get(request: ApiRequest) -> Mapping[Cell, Table]:
    summary, frequency, origin, raw_timings = await asyncio.gather(
        visits_summary.summary_columns(request),
        visits_summary.frequency(request),
        referrers.overview(request),
        _performance(request),
    )
    timings, conversions, main_actions = await asyncio.gather(
        actions.performance(request),
        goals.overview(request),
        actions.overview(request),
    )
    plugins = [await plugin_metrics(request, plugin) for plugin in installed_plugins() if plugin.metrics]
    wanted = set(request.parameters.comma_list("columns"))
    result = {}
    for cell in request.cells:
        visits, returning = summary[cell], _columns_of(frequency[cell])
        referrer, goal = _columns_of(origin[cell]), _columns_of(conversions[cell])
        columns: Columns = {name: visits[name] for name in _SUMMARY if name in visits}
        for suffix in ("new", "returning"):
            for name in _FREQUENCY:
                if f"{name}_{suffix}" in returning:
                    columns[f"{name}_{suffix}"] = returning[f"{name}_{suffix}"]
        percents = {name: value for name, value in referrer.items() if name.endswith("_percent")}
        columns |= {name: value for name, value in referrer.items() if name not in percents}
        columns |= raw_timings[cell]
        for found in plugins:
            columns |= found[cell]
        columns |= _columns_of(timings[cell])
        empty = not visits["nb_visits"]
        if request.several_periods and empty:
            # dates without data have the counts of actions only
            columns = {}
        if not request.several_periods or goal.get("nb_conversions"):
            columns |= goal
        columns |= _columns_of(main_actions[cell])
        if not (request.several_periods and empty):
            columns |= percents
        visit_count = _number(visits["nb_visits"])
        columns["bounce_rate"] = quotient(_number(visits["bounce_count"]), visit_count, 2)
        columns["nb_actions_per_visit"] = quotient(_number(visits["nb_actions"]), visit_count, 1)
        columns["avg_time_on_site"] = quotient(_number(visits["sum_visit_length"]), visit_count, 0)
        if wanted:
            columns = {name: value for name, value in columns.items() if name in wanted}
        result[cell] = simple_table(columns) if columns else Table(simple=True)
    return result


def _number(value: Value) -> float:
    return float(value) if isinstance(value, (int, float)) else 0.0


def _units() -> dict[str, Unit]:
    units: dict[str, Unit] = {
        metric.name: metric.unit
        for metric in (BOUNCE_RATE, ACTIONS_PER_VISIT, AVERAGE_TIME)
        if metric.unit != Unit.NUMBER
    }
    for module in (visits_summary, referrers, goals, actions):
        for name in ("VisitFrequency.get", "Referrers.get", "Goals.get", "PagePerformance.get"):
            method = module.METHODS.get(name)
            if method is not None:
                units |= dict(method.shape.units or {})
    return units


METHODS: dict[str, Method] = {
    "API.get": Method(cells=_get, shape=ReportShape(name="Main metrics", sort_column="", units=_units())),
}
