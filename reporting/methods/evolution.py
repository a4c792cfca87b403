"""API.getRowEvolution: how one row or several rows of a report changed over periods."""

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote_plus, unquote_plus

from reporting.errors import ApiError
from reporting.german import translated
from reporting.method import ApiRequest, Method
from reporting.methods.report_metadata import entry_of
from reporting.report_entry import ReportEntry, metric_title
from reporting.table import Columns, Result, Row, Table, TableMap, Value

_MOST_ROWS = 5
"""Rows that are compared when no label is given."""


def _entry(request: ApiRequest) -> ReportEntry:
    entry = entry_of(request)
    if not entry.dimension:
        raise ApiError(
            f"Reports like {entry.method} which do not have a dimension are not supported by row evolution"
        )
    return entry


def _labels(request: ApiRequest) -> list[str]:
    """As sent: a label with `>` inside is encoded once more."""
    labels: list[str] = []
    for text in request.parameters.texts("label"):
        labels += [part for part in text.split(",") if part.strip()]
    return labels


async def _tables(request: ApiRequest, entry: ReportEntry, labels: Sequence[str] = ()) -> dict[str, Table]:
    """The report's tables by date, with all processed columns but without formatting; of `labels` only, whose
    rows say in `label_index` which one they are."""
    values: dict[str, Any] = {
        name: value
        for name, value in request.parameters.values.items()
        if name in ("idSite", "period", "date", "segment", "idGoal", "idDimension", "language")
    }
    if values.get("period") == "range":
        values["period"] = "day"
    values |= {"method": entry.method, "module": "API", "filter_limit": "-1", "format_metrics": "0"}
    if labels:
        values["label"] = {str(at): label for at, label in enumerate(labels)}
        values["labelFilterAddLabelIndex"] = "1"
    if entry.goal_metrics:
        values["filter_add_columns_when_show_all_columns"] = "1"
    result = await request.call(values)
    if not isinstance(result, TableMap):
        raise ApiError(
            "Row evolutions can not be processed with this combination of \\'date\\' and \\'period\\'"
            " parameters."
        )
    return {key: item for key, item in result.items.items() if isinstance(item, Table)}


def _row_of(table: Table, at: int) -> Row | None:
    return next((row for row in table.rows if row.metadata.get("label_index") == at), None)


def _metrics_of(request: ApiRequest, entry: ReportEntry) -> tuple[str, ...]:
    names = entry.evolution or (*entry.metrics, *entry.processed)
    if request.period.kind in ("day", "range"):
        return names
    # rows of longer periods have no unique visitors
    return tuple(name for name in names if name not in ("nb_uniq_visitors", "nb_users"))


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
    percent = round((last - first) / first * 100)
    return f"+{percent}%" if percent >= 0 else f"{percent}%"


def _bounds(values: Sequence[float]) -> dict[str, Value]:
    """Smallest and largest value and the change from first to last; nothing when all are zero."""
    if not any(values):
        return {}
    found: dict[str, Value] = {"min": _plain(min(values)), "max": _plain(max(values))}
    if values[0]:
        found["change"] = _change(values[0], values[-1])
    return found


def _values_of(tables: Mapping[str, Row | None], metric: str) -> list[float]:
    values = []
    for row in tables.values():
        number = _number(row.columns.get(metric)) if row is not None else None
        values.append((number or 0.0) * (100 if metric in _PERCENTS else 1))
    return values


_PLACES = {"bounce_rate": 1, "avg_time_on_page": 2, "exit_rate": 3, "idsubdatatable": 4}
"""Metrics of pages come in an order of their own here."""


def _shown_row(request: ApiRequest, entry: ReportEntry, row: Row) -> Row:
    """The metrics of the report's metadata, in the row's order; percentages formatted."""
    wanted = set(_metrics_of(request, entry))
    columns: Columns = {}
    ordered = sorted(
        row.columns.items(), key=lambda item: _PLACES.get(item[0], 0) if entry.module == "Actions" else 0
    )
    for name, value in ordered:
        if name not in wanted:
            continue
        number = _number(value)
        if name in _PERCENTS and number is not None:
            columns[name] = f"{_plain(round(number * 100, 2))}%"
        else:
            columns[name] = value
    hide_ids = request.parameters.flag("hideIdSubDatable") or request.parameters.flag("hideIdSubDatatable")
    return Row(columns, {}, None, None if hide_ids else row.subtable_id)


def _folder_url(row: Row) -> str:
    """What the addresses of a folder's pages begin with, as its segment has it."""
    segment = row.metadata.get("segment")
    field, operator, value = str(segment or "").partition("=^")
    return unquote_plus(unquote_plus(value)) + "/" if operator and field == "pageUrl" else ""


def _shown_label(
    request: ApiRequest,
    entry: ReportEntry,
    label: str,
    rows: Mapping[str, Row | None],
    *,
    alone: bool = False,
) -> str:
    """A page's or website's row is named by its address, and so is a folder's that comes `alone`; a row below
    another by both names."""
    addresses = entry.module == "Actions" or entry.method == "Referrers.getWebsites"
    for row in rows.values() if addresses and request.parameters.flag("labelUseAbsoluteUrl", True) else ():
        url = None if row is None else row.metadata.get("url") or (alone and _folder_url(row))
        if isinstance(url, str) and url:
            return url.split("://", 1)[-1].removeprefix("www.")
    return " - ".join(unquote_plus(part) for part in label.split(">"))


def _logo(rows: Mapping[str, Row | None]) -> Columns:
    for row in rows.values():
        logo = row.metadata.get("logo") if row is not None else None
        if logo:
            return {"logo": logo}
    return {}


def _titles(request: ApiRequest, entry: ReportEntry) -> dict[str, str]:
    return {name: metric_title(entry, name, request.language) for name in _metrics_of(request, entry)}


async def _one(request: ApiRequest, entry: ReportEntry, label: str) -> Result:
    tables = await _tables(request, entry, [label])
    rows = {key: _row_of(table, 0) for key, table in tables.items()}
    data = TableMap(
        "date",
        {key: Table([] if row is None else [_shown_row(request, entry, row)]) for key, row in rows.items()},
    )
    metrics: dict[str, Value] = {}
    for name, title in _titles(request, entry).items():
        metrics[name] = {"name": title, **_bounds(_values_of(rows, name))}
    return {
        "label": _shown_label(request, entry, label, rows, alone=True),
        "reportData": data,
        "metadata": {"metrics": metrics, "dimension": translated(entry.dimension, request.language)},
    }


async def _several(
    request: ApiRequest,
    entry: ReportEntry,
    found: Sequence[tuple[str, Mapping[str, Row | None]]],
    dates: Sequence[str],
) -> Result:
    """`found`: label and its rows by date."""
    titles = _titles(request, entry)
    column = request.parameters.text("column")
    if column not in titles:
        column = next(iter(titles))
    per_date: dict[str, Table | TableMap | Any] = {}
    for key in dates:
        columns: Columns = {}
        for at, (_, rows) in enumerate(found):
            row = rows[key]
            columns[f"{column}_{at}"] = row.columns.get(column, 0) if row is not None else 0
        per_date[key] = Table([Row(columns)] if columns else [])
    metrics: dict[str, Value] = {}
    for at, (label, rows) in enumerate(found):
        metrics[f"{column}_{at}"] = {
            "name": f"{_shown_label(request, entry, label, rows)} ({titles[column]})",
            **_logo(rows),
            **_bounds(_values_of(rows, column)),
        }
    return {
        "column": column,
        "reportData": TableMap("date", per_date),
        "metadata": {
            "metrics": metrics,
            "dimension": translated(entry.dimension, request.language),
            "columns": dict(titles),
        },
    }


async def _largest(
    request: ApiRequest, entry: ReportEntry
) -> tuple[list[tuple[str, Mapping[str, Row | None]]], list[str]]:
    """The rows that are largest over all dates."""
    tables = await _tables(request, entry)
    limit = request.parameters.integer("filter_limit", _MOST_ROWS)
    count = _MOST_ROWS if limit <= 0 else min(limit, _MOST_ROWS)
    metric = request.parameters.text("filter_sort_column") or _metrics_of(request, entry)[0]
    totals: dict[str, float] = {}
    rows: dict[str, dict[str, Row | None]] = {}
    for key, table in tables.items():
        for row in table:
            label = str(row.label)
            totals[label] = totals.get(label, 0.0) + (_number(row.columns.get(metric)) or 0.0)
            rows.setdefault(label, dict.fromkeys(tables))[key] = row
    chosen = sorted(totals, key=lambda label: -totals[label])[:count]
    return [(quote_plus(label), rows[label]) for label in chosen], list(tables)


async def _evolution(request: ApiRequest) -> Result:
    entry = _entry(request)
    labels = _labels(request)
    if not labels:
        found, dates = await _largest(request, entry)
        return await _several(request, entry, found, dates)
    if len(labels) == 1:
        return await _one(request, entry, labels[0].strip())
    tables = await _tables(request, entry, [label.strip() for label in labels])
    rows = [
        (label, {key: _row_of(table, at) for key, table in tables.items()}) for at, label in enumerate(labels)
    ]
    return await _several(request, entry, rows, list(tables))


METHODS: dict[str, Method] = {
    "API.getRowEvolution": Method(
        answer=_evolution,
        takes_sites=True,
        takes_period=True,
        required=("apiModule", "apiAction"),
        filters=False,
    ),
}
