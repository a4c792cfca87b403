"""CustomDimensions.getCustomDimension: visits or actions by the value of a dimension of the site."""

from collections.abc import Mapping
from dataclasses import replace
from urllib.parse import quote_plus

from reporting.errors import ApiError
from reporting.method import ApiRequest, Cell, Method, ReportShape, Unit
from reporting.methods.visits_summary import ACTIONS_PER_VISIT, AVERAGE_TIME, BOUNCE_RATE
from reporting.queries import Metrics, read_aggregates
from reporting.rows import (
    UNIQUE,
    Shown,
    cell_number,
    find_subtable,
    number,
    numbered,
    ratio_metric,
    segment_value,
    visits_table,
)
from reporting.table import Columns, Row, Table
from schemas.config import Dimension
from schemas.metrics import TIMINGS
from schemas.reports import dimension_aggregates

Tables = Mapping[Cell, Table]
UNDEFINED = "Value not defined"


def chosen_dimension(request: ApiRequest, site_id: int) -> Dimension:
    """The active dimension that idDimension names. Raises ApiError."""
    number_of = request.parameters.integer("idDimension", 0)
    dimension = request.config.dimensions.get(site_id, {}).get(number_of)
    if dimension is None:
        raise ApiError(f"Dimension {number_of} for website {site_id} does not exist.")
    if not dimension.active:
        raise ApiError(f"Dimension {number_of} for website {site_id} is not active.")
    return dimension


def _segment(dimension: Dimension, value: str) -> str:
    return f"dimension{dimension.dimension_id}=={segment_value(value)}"


async def _visit_scope(request: ApiRequest, cells: list[Cell], dimension: Dimension) -> dict[Cell, Table]:
    aggregates = dimension_aggregates(dimension.dimension_id, "visit")
    data = await read_aggregates(request, aggregates, cells)
    result = {}
    for cell, groups in data.items():
        visits, goals = groups[aggregates[0].name], groups[aggregates[1].name]
        day = cell.period.kind == "day"
        table = visits_table(
            visits,
            goals,
            lambda labels: Shown(labels[0] or UNDEFINED, {"segment": _segment(dimension, labels[0])}),
            day=day,
        )
        result[cell] = table.map_rows(_as_texts) if day else table
    return result


_DAY_TEXTS = ("nb_uniq_visitors", "nb_visits", "nb_actions", "sum_visit_length", "bounce_count",
              "nb_visits_converted")  # fmt: skip


def _as_texts(row: Row) -> Row:
    """Rows of a day hold the database's decimals as texts, and no users."""
    columns: Columns = {}
    for name, value in row.columns.items():
        if name == "nb_users":
            continue
        columns[name] = str(value) if name in _DAY_TEXTS and "nb_uniq_visitors" in row.columns else value
    return row.with_columns(columns)


def _action_columns(metrics: Metrics, *, day: bool) -> Columns:
    columns: Columns = {"nb_visits": number(metrics["nb_visits"])}
    if day:
        columns["nb_uniq_visitors"] = number(metrics["nb_uniq_visitors"])
    columns["nb_hits"] = number(metrics["nb_hits"])
    for name in TIMINGS:
        count = metrics[f"nb_hits_with_{name}"]
        columns[f"sum_{name}"] = number(round(metrics[f"sum_{name}"], 3))
        columns[f"nb_hits_with_{name}"] = number(count)
        columns[f"min_{name}"] = number(metrics[f"min_{name}"]) if count else 0
        columns[f"max_{name}"] = number(metrics[f"max_{name}"]) if count else 0
    for name in ("sum_time_spent", "bounce_count", "exit_nb_visits"):
        columns[name] = number(metrics[name])
    if not day:
        columns[UNIQUE["nb_uniq_visitors"]] = number(metrics["nb_uniq_visitors"])
    return columns


async def _action_scope(request: ApiRequest, cells: list[Cell], dimension: Dimension) -> dict[Cell, Table]:
    of_value, of_url = dimension_aggregates(dimension.dimension_id, "action")
    data = await read_aggregates(request, (of_value, of_url), cells)
    is_flat = request.parameters.flag("flat")
    result = {}
    for cell, groups in data.items():
        day = cell.period.kind == "day"
        below: dict[str, list[Row]] = {}
        urls = sorted(groups[of_url.name].rows.items(), key=lambda item: -item[1]["nb_hits"])
        for (value, url), metrics in urls:
            # Of a value that PHP takes for false the sub rows have none; flat rows have their value's.
            metadata: Columns = {"segment": _segment(dimension, value)} if is_flat else {}
            if value not in ("", "0"):
                metadata = {
                    "segment": f"{_segment(dimension, value)};actionUrl=${quote_plus(url)}",
                    "url": quote_plus(url),
                }
            below.setdefault(value, []).append(
                Row({"label": url, **_action_columns(metrics, day=day)}, metadata)
            )
        rows = []
        for (value,), metrics in groups[of_value.name].rows.items():
            row = Row(
                {"label": value or UNDEFINED, **_action_columns(metrics, day=day)},
                {"segment": _segment(dimension, value)},
            )
            row.subtable = Table(below.get(value, []))
            rows.append(row)
        table = numbered(Table(rows))
        result[cell] = table.with_rows(sorted(table.rows, key=lambda row: -cell_number(row, "nb_hits")))
    return result


async def _cells(request: ApiRequest) -> Tables:
    result: dict[Cell, Table] = {}
    for site_id in request.sites:
        dimension = chosen_dimension(request, site_id)
        cells = [cell for cell in request.cells if cell.site_id == site_id]
        read = _visit_scope if dimension.scope == "visit" else _action_scope
        result |= await read(request, cells, dimension)
    wanted = request.parameters.integer("idSubtable")
    if wanted:
        return {cell: find_subtable(table, wanted) or Table() for cell, table in result.items()}
    return result


def _of_visits(table: Table) -> bool:
    return any("nb_actions" in row.columns or "sum_visit_length" in row.columns for row in table) or any(
        "goals" in row.columns for row in table
    )


def _of_actions(table: Table) -> bool:
    return any("nb_hits" in row.columns for row in table)


_PROCESSED = (
    replace(AVERAGE_TIME, applies=_of_visits),
    replace(BOUNCE_RATE, applies=_of_visits),
    replace(ACTIONS_PER_VISIT, applies=_of_visits),
    replace(
        ratio_metric("avg_time_on_dimension", "sum_time_spent", "nb_hits", 0, Unit.CLOCK), applies=_of_actions
    ),
    replace(BOUNCE_RATE, applies=_of_actions),
    replace(ratio_metric("exit_rate", "exit_nb_visits", "nb_visits", 2, Unit.PERCENT), applies=_of_actions),
)

METHODS: dict[str, Method] = {
    "CustomDimensions.getCustomDimension": Method(
        cells=_cells,
        required=("idDimension",),
        shape=ReportShape(
            name="Custom Dimension",
            dimension="CustomDimension_CustomDimension",
            dimension_parameter="idDimension",
            recursive=True,
            row_limit="custom_dimensions",
            segment_early=True,
            processed=_PROCESSED,
        ),
    ),
}
