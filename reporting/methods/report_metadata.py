"""API metadata: which reports and segments there are, what values a segment has taken."""

# ruff: noqa: S608 - texts of queries are declarations of this repository, values are bound parameters

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from reporting.catalogue import CATALOGUE, ReportEntry, metric_title, metric_type
from reporting.errors import ApiError
from reporting.method import Access, ApiRequest, Method
from reporting.periods import Period
from reporting.segments import segment_field
from reporting.table import Columns, Result, Row, Scalar, Table, TableMap, Value
from reporting.wording import pretty_period, pretty_range
from schemas.segments import SEGMENTS, dimension_field


def _methods() -> Mapping[str, Method]:
    from reporting.methods import METHODS as ALL

    return ALL


def _translated(entry: ReportEntry, names: tuple[str, ...], language: str) -> dict[str, Value]:
    return {name: metric_title(entry, name, language) for name in names}


def _documentation(entry: ReportEntry) -> str:
    return entry.documentation or f"Visits by {entry.dimension.lower()}."


def entry_metadata(request: ApiRequest, entry: ReportEntry) -> dict[str, Value]:
    """One report as the metadata methods describe it."""
    method = _methods()[entry.method]
    language = request.language
    metadata: dict[str, Value] = {"category": entry.category}
    if entry.subcategory:
        metadata["subcategory"] = entry.subcategory
    metadata |= {"name": entry.name, "module": entry.module, "action": entry.action}
    if entry.dimension:
        metadata["dimension"] = entry.dimension
    metadata["documentation"] = _documentation(entry)
    metadata["metrics"] = _translated(entry, entry.metrics, language)
    if entry.processed:
        metadata["processedMetrics"] = _translated(entry, entry.processed, language)
    types: dict[str, Value] = {name: metric_type(name, method) for name in (*entry.metrics, *entry.processed)}
    metadata["metricTypes"] = types
    if entry.goal_metrics:
        metadata["metricsGoal"] = {"nb_conversions": "Conversions", "revenue": "Revenue"}
        metadata["processedMetricsGoal"] = {"revenue_per_visit": "Revenue per Visit"}
    if entry.subtable_action:
        metadata["actionToLoadSubTables"] = entry.subtable_action
    if entry.constant_rows:
        metadata["constantRowsCount"] = 1
    metadata["uniqueId"] = entry.unique_id
    return metadata


def _report_metadata(request: ApiRequest) -> Result:
    return [entry_metadata(request, entry) for entry in CATALOGUE.values()]


def _entry_of(request: ApiRequest) -> ReportEntry:
    name = f"{request.parameters.required('apiModule')}.{request.parameters.required('apiAction')}"
    entry = CATALOGUE.get(name)
    if entry is None:
        raise ApiError(
            f"Requested report {name} for Website id={request.site_id} not found in the list of available"
            " reports. \n"
        )
    return entry


def _metadata(request: ApiRequest) -> Result:
    return [entry_metadata(request, _entry_of(request))]


def _split(table: Table) -> tuple[list[Value], list[Value]]:
    data: list[Value] = []
    metadata: list[Value] = []
    for row in table:
        data.append(dict(row.columns))
        metadata.append(dict(row.metadata))
    return data, metadata


def _only(entry: ReportEntry, row: Row, *, with_goals: bool) -> Row:
    wanted = {"label", *entry.metrics, *entry.processed}
    if with_goals:
        wanted |= {"revenue"}
    return row.with_columns({name: value for name, value in row.columns.items() if name in wanted})


def _total_row(table: Table) -> Columns:
    totals: dict[str, float] = {}
    for row in table:
        for name, value in row.columns.items():
            if isinstance(value, (int, float)) and not isinstance(value, bool):
                totals[name] = (
                    max(totals.get(name, 0), value)
                    if name.startswith("max_")
                    else totals.get(name, 0) + value
                )
    return {name: int(value) if value == int(value) else round(value, 2) for name, value in totals.items()}


async def _processed(request: ApiRequest) -> Result:
    """A report with its metadata, its columns' titles and formatted data."""
    entry = _entry_of(request)
    values: dict[str, Any] = {
        name: value
        for name, value in request.parameters.values.items()
        if name not in ("method", "apiModule", "apiAction", "format")
    }
    values |= {"method": entry.method, "format_metrics": request.parameters.text("format_metrics") or "all"}
    if entry.goal_metrics:
        values["filter_add_columns_when_show_all_columns"] = "1"
    result = await request.call(values)
    site = request.config.site(request.site_id)
    names = (*(("label",) if entry.dimension else ()), *entry.metrics, *entry.processed)
    columns: dict[str, Value] = {
        name: entry.dimension if name == "label" else metric_title(entry, name, request.language)
        for name in names
    }
    data, row_metadata, totals = _report_parts(entry, result, request.periods, request.language)
    return {
        "website": site.name if site else "",
        "prettyDate": _pretty_date(request),
        "metadata": entry_metadata(request, entry),
        "columns": columns,
        "reportData": data,
        "reportMetadata": row_metadata,
        "reportTotal": totals,
    }


def _pretty_date(request: ApiRequest) -> str:
    """The period in words; of several the whole time."""
    if not request.several_periods:
        return pretty_period(request.period, request.language)
    return pretty_range(request.periods[0].start, request.periods[-1].end, request.language)


def _report_parts(
    entry: ReportEntry, result: Result, periods: tuple[Period, ...], language: str
) -> tuple[Value, Value, Value]:
    if isinstance(result, TableMap):
        data: dict[str, Value] = {}
        metadata: dict[str, Value] = {}
        for key, item in result.items.items():
            data[key], metadata[key], _ = _report_parts(entry, item, periods, language)
        return data, metadata, []
    if not isinstance(result, Table):
        return [], [], []
    table = result.map_rows(lambda row: _only(entry, row, with_goals=False))
    if table.simple:
        return dict(table.rows[0].columns) if table.rows else [], [], []
    rows, metadata_rows = _split(table)
    return rows, metadata_rows, _total_row(result)


def _segments_metadata(request: ApiRequest) -> Result:
    fields = list(SEGMENTS.values())
    for site_id in request.sites[:1]:
        for dimension in request.config.dimensions.get(site_id, {}).values():
            if dimension.active:
                fields.append(dimension_field(dimension.dimension_id, dimension.scope, dimension.name))
    hidden = request.parameters.flag("_hideImplementationData", True)
    order = ("Visitors", "Visitor location", "Custom Variables", "Custom Dimensions", "Behaviour", "Events",
             "Acquisition", "Ecommerce")  # fmt: skip
    fields.sort(key=lambda one: (order.index(one.category), not one.metric))
    rows: list[Value] = []
    for one in fields:
        row: dict[str, Value] = {
            "type": "metric" if one.metric else "dimension",
            "category": one.category,
            "name": one.title,
            "segment": one.name,
        }
        if one.values:
            row["acceptedValues"] = ", ".join(one.values)
        if not hidden:
            row["needsMostFrequentValues"] = one.suggestions
        rows.append(row)
    return rows


_SUGGESTION_DAYS = 60


async def _suggested_values(request: ApiRequest) -> Result:
    """The values that visits of the last 60 days had most often."""
    name = request.parameters.required("segmentName")
    one = segment_field(name, request.site_id, request.config)
    if one is None:
        raise ApiError(f"Segment '{name}' is not a supported segment.")
    if one.values:
        return list(one.values)
    if not one.suggestions or one.kind in ("visitor_id", "goal_name", "continent"):
        return []
    table = {"visit": "visits", "action": "actions", "conversion": "conversions", "item": "conversion_items"}[
        one.scope
    ]
    expression = f"arrayJoin({one.sql})" if one.kind in ("texts", "numbers") else one.sql
    today = request.now.date()
    rows = await request.database.select(
        f"SELECT toString({expression}) AS value, count() AS times FROM {table} FINAL"
        " WHERE site_id = {site:UInt32} AND date BETWEEN {first:Date} AND {last:Date}"
        f" AND ({one.where or '1'}) GROUP BY value HAVING value != '' ORDER BY times DESC, value LIMIT 200",
        {
            "site": request.site_id,
            "first": today - timedelta(days=_SUGGESTION_DAYS),
            "last": today + timedelta(days=1),
        },
    )
    values: list[Value] = []
    for row in rows:
        text = str(row["value"])
        shown: Scalar = "http://" + text if one.kind == "url" else text
        values.append(shown)
    return values


def _settings(request: ApiRequest) -> Result:
    tracking = request.config.tracking
    return {
        "action_url_category_delimiter": tracking.action_url_category_delimiter,
        "action_title_category_delimiter": tracking.action_title_category_delimiter,
        "compatibility": str(request.state.get("compatibility", "full")),
    }


METHODS: dict[str, Method] = {
    "API.getReportMetadata": Method(
        answer=_report_metadata, takes_sites=True, site_optional=True, filters=False
    ),
    "API.getMetadata": Method(
        answer=_metadata, takes_sites=True, required=("apiModule", "apiAction"), filters=False
    ),
    "API.getProcessedReport": Method(
        answer=_processed,
        takes_sites=True,
        takes_period=True,
        several_sites=False,
        required=("apiModule", "apiAction"),
        filters=False,
    ),
    "API.getSegmentsMetadata": Method(
        answer=_segments_metadata, takes_sites=True, site_optional=True, filters=False
    ),
    "API.getSuggestedValuesForSegment": Method(
        answer=_suggested_values, takes_sites=True, required=("segmentName",), filters=False
    ),
    "API.getSettings": Method(answer=_settings, access=Access.SOME_VIEW, filters=False),
}
