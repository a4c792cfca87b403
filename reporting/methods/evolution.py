"""API.getRowEvolution: how one row or several rows of a report changed over periods."""

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import unquote_plus

from reporting.catalogue import CATALOGUE, ReportEntry, metric_title
from reporting.errors import ApiError
from reporting.generic_filters import find_label
from reporting.method import ApiRequest, Method
from reporting.table import Columns, Result, Row, Table, TableMap, Value

_MOST_ROWS = 5
"""Rows that are compared when no label is given."""


def _entry(request: ApiRequest) -> ReportEntry:
    name = f"{request.parameters.required('apiModule')}.{request.parameters.required('apiAction')}"
    entry = CATALOGUE.get(name)
    if entry is None or not entry.dimension:
        raise ApiError(
            f"Reporting API '{name}' does not have a dimension, and row evolution is not available for it."
            if entry is not None
            else f"Requested report {name} for Website id={request.site_id} not found in the list of available"
            " reports.",
        )
    return entry


def _labels(request: ApiRequest) -> list[str]:
    labels: list[str] = []
    for text in request.parameters.texts("label"):
        labels += [part.strip() for part in text.split(",")] if text else []
    return [unquote_plus(label) for label in labels if label]


async def _tables(request: ApiRequest, entry: ReportEntry, columns: bool) -> dict[str, Table]:
    """The report's tables by date, with all processed columns but without formatting."""
    passed = {
        name: value
        for name, value in request.parameters.values.items()
        if name in ("idSite", "period", "date", "segment", "idGoal", "idDimension", "language")
    }
    values: dict[str, Any] = {
        **passed, "method": entry.method, "filter_limit": "-1", "expanded": "1", "format_metrics": "0",
        "module": "API",
    }  # fmt: skip
    if columns and entry.goal_metrics:
        values["filter_add_columns_when_show_all_columns"] = "1"
    result = await request.call(values)
    if not isinstance(result, TableMap):
        raise ApiError(
            "Row evolutions can not be processed with this combination of 'date' and 'period' parameters."
        )
    return {key: item for key, item in result.items.items() if isinstance(item, Table)}


def _metrics_of(entry: ReportEntry) -> tuple[str, ...]:
    return entry.evolution or (*entry.metrics, *entry.processed)


def _number(value: Value) -> float | None:
    if isinstance(value, bool) or value is None:
        return None
    if isinstance(value, (int, float)):
        return float(value)
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            return None
    return None


_PERCENTS = ("bounce_rate", "exit_rate", "conversion_rate", "interaction_rate")


def _plain(value: float) -> int | float:
    return int(value) if value == int(value) else value


def _change(first: float, last: float) -> str:
    if not first:
        return "+100%" if last else "+0%"
    percent = round((last - first) / first * 100)
    return f"+{percent}%" if percent >= 0 else f"{percent}%"


def _bounds(values: Sequence[float]) -> dict[str, Value]:
    """Smallest and largest value and the change from first to last; nothing when all are zero."""
    if not any(values):
        return {}
    found: dict[str, Value] = {"min": _plain(min(values)), "max": _plain(max(values))}
    if values[0] or values[-1]:
        found["change"] = _change(values[0], values[-1])
    return found


def _values_of(tables: Mapping[str, Row | None], metric: str) -> list[float]:
    values = []
    for row in tables.values():
        number = _number(row.columns.get(metric)) if row is not None else None
        values.append((number or 0.0) * (100 if metric in _PERCENTS else 1))
    return values


_HIDDEN = ("label", "max_actions", "sum_visit_length", "bounce_count", "nb_visits_converted",
           "conversion_rate",
           "goals", "nb_conversions", "revenue")  # fmt: skip


def _shown_row(entry: ReportEntry, row: Row) -> Row:
    """The metrics of the report's metadata, in the row's order; percentages formatted."""
    wanted = set(_metrics_of(entry))
    columns: Columns = {}
    for name, value in row.columns.items():
        if name not in wanted:
            continue
        number = _number(value)
        if name in _PERCENTS and number is not None:
            columns[name] = f"{_plain(round(number * 100, 2))}%"
        else:
            columns[name] = value
    return Row(columns, {}, None, row.subtable_id)


def _shown_label(label: str, rows: Mapping[str, Row | None]) -> str:
    """A page's row is named by its address."""
    for row in rows.values():
        url = row.metadata.get("url") if row is not None else None
        if isinstance(url, str) and url:
            return url.split("://", 1)[-1].removeprefix("www.")
    return label.split(">")[-1].strip() if ">" in label else label


async def _one(request: ApiRequest, entry: ReportEntry, tables: Mapping[str, Table], label: str) -> Result:
    rows = {key: find_label(table, label) for key, table in tables.items()}
    data = TableMap(
        "date", {key: Table([] if row is None else [_shown_row(entry, row)]) for key, row in rows.items()}
    )
    metrics: dict[str, Value] = {}
    for name in _metrics_of(entry):
        metrics[name] = {
            "name": metric_title(entry, name, request.language),
            **_bounds(_values_of(rows, name)),
        }
    return {
        "label": _shown_label(label, rows),
        "reportData": data,
        "metadata": {"metrics": metrics, "dimension": entry.dimension},
    }


async def _several(
    request: ApiRequest, entry: ReportEntry, tables: Mapping[str, Table], labels: Sequence[str]
) -> Result:
    names = _metrics_of(entry)
    column = request.parameters.text("column")
    if column not in names:
        column = names[0]
    found = [{key: find_label(table, label) for key, table in tables.items()} for label in labels]
    per_date: dict[str, Table | TableMap | Any] = {}
    for key in tables:
        columns: Columns = {}
        for at, rows in enumerate(found):
            row = rows[key]
            value = row.columns.get(column, 0) if row is not None else 0
            columns[f"{column}_{at}"] = value
        per_date[key] = Table([Row(columns)])
    metrics: dict[str, Value] = {}
    for at, label in enumerate(labels):
        title = metric_title(entry, column, request.language)
        metrics[f"{column}_{at}"] = {
            "name": f"{_shown_label(label, found[at])} ({title})",
            **_bounds(_values_of(found[at], column)),
        }
    return {
        "column": column,
        "reportData": TableMap("date", per_date),
        "metadata": {
            "metrics": metrics,
            "dimension": entry.dimension,
            "columns": {name: metric_title(entry, name, request.language) for name in names},
        },
    }


def _largest_labels(tables: Mapping[str, Table], metric: str, limit: int) -> list[str]:
    totals: dict[str, float] = {}
    for table in tables.values():
        for row in table:
            label = str(row.label)
            totals[label] = totals.get(label, 0.0) + (_number(row.columns.get(metric)) or 0.0)
    return sorted(totals, key=lambda label: -totals[label])[:limit]


async def _evolution(request: ApiRequest) -> Result:
    entry = _entry(request)
    tables = await _tables(request, entry, columns=True)
    labels = _labels(request)
    if not labels:
        limit = request.parameters.integer("filter_limit", _MOST_ROWS)
        count = _MOST_ROWS if limit is None or limit <= 0 else min(limit, _MOST_ROWS)
        sort = request.parameters.text("filter_sort_column") or _metrics_of(entry)[0]
        labels = _largest_labels(tables, sort, count)
        return await _several(request, entry, tables, labels)
    if len(labels) == 1:
        return await _one(request, entry, tables, labels[0])
    return await _several(request, entry, tables, labels)


METHODS: dict[str, Method] = {
    "API.getRowEvolution": Method(
        answer=_evolution,
        takes_sites=True,
        takes_period=True,
        required=("apiModule", "apiAction"),
        filters=False,
    ),
}
