"""API metadata: which reports and segments there are, what values a segment has taken."""

# ruff: noqa: S608 - texts of queries are declarations of this repository, values are bound parameters

from dataclasses import replace
from datetime import date, timedelta

from reporting.access import ANONYMOUS
from reporting.api import parse_sites
from reporting.catalogue import entries_of, find_entry
from reporting.errors import ApiError, missing_parameter
from reporting.german import translated
from reporting.method import Access, ApiRequest, Method
from reporting.metric_titles import metric_type
from reporting.periods import names_several, parse_periods
from reporting.report_entry import ReportEntry, metric_title
from reporting.segments import segment_field
from reporting.table import Result, Scalar, Value
from rules.locations import CONTINENTS
from schemas.segments import SEGMENTS, SegmentField, dimension_field


def documentation_of(entry: ReportEntry) -> str:
    """What a report shows, in English."""
    if entry.documentation or not entry.dimension or entry.parameters:
        return entry.documentation
    return "" if entry.category == "Ecommerce" else f"Visits by {entry.dimension.lower()}."


def _types(names: tuple[str, ...], method: Method) -> dict[str, Value]:
    return {name: metric_type(name, method) for name in names}


_GUIDES = "https://matomo.org/"
_EVOLUTION_PERIODS = 30
_EVOLUTION_YEARS = 10


def _graph_urls(request: ApiRequest, entry: ReportEntry) -> dict[str, Value]:
    """Where Matomo draws a report and its evolution. Clients find the addresses here although no instance of
    ours draws; the caller's token is repeated in strict compatibility only."""
    kind, dates = request.parameters.text("period"), request.parameters.text("date")
    if not kind or not dates:
        return {}
    base = (
        f"index.php?module=API&method=ImageGraph.get&idSite={request.site_id}"
        f"&apiModule={entry.module}&apiAction={entry.action}"
    )
    token = request.parameters.text("token_auth")
    if token and request.state.get("compatibility") == "strict":
        base += f"&token_auth={token}"
    base += "".join(f"&{name}={value}" for name, value in entry.parameters)
    several = names_several(kind, dates)
    series = dates if several or kind == "range" else _dates_until(kind, dates, request.now.date())
    evolution = f"{base}&period={'day' if kind == 'range' else kind}&date={series}"
    urls: dict[str, Value] = {"imageGraphUrl": evolution}
    if entry.dimension:
        shown = "range" if several else kind
        urls["imageGraphUrl"] = f"{base}&period={shown}&date={dates}"
    if not entry.constant_rows or entry.method in _WITH_EVOLUTION:
        urls["imageGraphEvolutionUrl"] = evolution
    return urls if entry.stored else {"imageGraphUrl": urls["imageGraphUrl"]}


_WITH_EVOLUTION = ("Referrers.getReferrerType",)
"""Reports of constant rows that change over time like others."""


def _dates_until(kind: str, dates: str, today: date) -> str:
    """The 30 periods (10 years) that end with the one asked for."""
    period = parse_periods(kind, dates, today)[0]
    count = _EVOLUTION_YEARS if kind == "year" else _EVOLUTION_PERIODS
    return f"{period.following(1 - count).start},{period.end}"


def entry_metadata(request: ApiRequest, entry: ReportEntry) -> dict[str, Value]:
    """One report as the metadata methods describe it."""
    method = request.state["methods"][entry.method]

    def titles(names: tuple[str, ...]) -> dict[str, Value]:
        return {name: metric_title(entry, name, request.language) for name in names}

    def words(title: str) -> str:
        # people name their dimensions themselves
        own = title == entry.name and "idDimension" in dict(entry.parameters)
        return title if own else translated(title, request.language)

    metadata: dict[str, Value] = {"category": words(entry.category)}
    if entry.subcategory:
        metadata["subcategory"] = words(entry.subcategory)
    metadata |= {"name": words(entry.name), "module": entry.module, "action": entry.action}
    if entry.parameters:
        metadata["parameters"] = dict(entry.parameters)
    if entry.dimension:
        metadata["dimension"] = words(entry.dimension)
    if text := documentation_of(entry):
        metadata["documentation"] = text
    if entry.guide:
        metadata["onlineGuideUrl"] = _GUIDES + entry.guide
    if entry.dimensions:
        metadata["dimensions"] = {name: words(title) for name, title in entry.dimensions}
    metadata["metrics"] = titles(entry.metrics)
    if entry.documented and not request.parameters.flag("hideMetricsDoc"):
        metadata["metricsDocumentation"] = dict(entry.documented)
    if entry.processed:
        metadata["processedMetrics"] = titles(entry.processed)
    names = tuple(name for name in (*entry.metrics, *(entry.typed or entry.processed)) if name != "label")
    if entry.has_visits:
        names += ("conversion_rate",)
    metadata["metricTypes"] = _types(names, method)
    if entry.subtable_action:
        metadata["actionToLoadSubTables"] = entry.subtable_action
    if entry.constant_rows:
        metadata["constantRowsCount"] = True
    if entry.related:
        metadata["relatedReports"] = [_reference(request, name) for name in entry.related]
    if entry.goal_metrics:
        metadata["metricsGoal"] = titles(entry.goal_metrics)
        metadata["processedMetricsGoal"] = titles(entry.processed_goal_metrics)
        per_goal = ("nb_conversions", "conversion_rate", *entry.goal_metrics)
        first, *others = entry.processed_goal_metrics
        metadata["metricTypesGoal"] = _types((first, *per_goal, *others), method)
    metadata |= _graph_urls(request, entry)
    metadata["uniqueId"] = entry.unique_id
    return metadata


def _reference(request: ApiRequest, method: str) -> dict[str, Value]:
    entry = find_entry(request.config, request.site_id, method, {})
    module, _, action = method.partition(".")
    name = translated(entry.name, request.language) if entry else action
    return {"name": name, "module": module, "action": action}


def _sites(request: ApiRequest) -> tuple[int, ...]:
    """The sites named as idSite or as idSites; none without both."""
    text = ",".join(request.parameters.texts("idSites"))
    if request.sites or not text:
        return request.sites
    return parse_sites(text, request.grant, request.config)[0]


def _report_metadata(request: ApiRequest) -> Result:
    """The reports of one site, which is named as idSite or, as long ago, as the first of idSites."""
    sites = _sites(request)
    if not sites:
        raise missing_parameter("idSite")
    one = replace(request, sites=sites[:1])
    return [entry_metadata(one, entry) for entry in entries_of(request.config, one.site_id)]


def entry_of(request: ApiRequest) -> ReportEntry:
    """The report that apiModule and apiAction name, with its goal or dimension. Raises ApiError."""
    parameters = request.parameters
    name = f"{parameters.required('apiModule')}.{parameters.required('apiAction')}"
    wanted = {key: parameters.text(key) for key in ("idGoal", "idDimension")}
    wanted |= {key: str(value) for key, value in parameters.nested("apiParameters").items()}
    entry = find_entry(request.config, request.site_id, name, wanted)
    if entry is None or entry.method not in request.state["methods"]:
        raise ApiError(
            f"Requested report {name} for Website id={request.site_id} not found in the list of available"
            " reports. \n"
        )
    return entry


def _metadata(request: ApiRequest) -> Result:
    return [entry_metadata(request, entry_of(request))]


_CATEGORIES = (
    "Visitors", "Visitor location", "Custom Variables", "Behaviour", "Events", "Acquisition", "Ecommerce",
)  # fmt: skip
_PERSONAL = frozenset(("visitIp", "fingerprint", "userId", "visitId", "visitorId"))
"""Segments that single out people: clients ask whether the caller may use them."""
_FIVE_PLACES = ("productCategory", "productViewCategory", "customVariableName", "customVariablePageName",
                "customVariablePageValue", "customVariableValue")  # fmt: skip
_UNIONS: dict[str, tuple[str, ...]] = {
    "actionUrl": ("pageUrl", "downloadUrl", "outlinkUrl", "eventUrl"),
    **{name: tuple(f"{name}{place}" for place in range(1, 6)) for name in _FIVE_PLACES},
}
"""Segments that stand for several others."""
_PLACES = frozenset(f"{name}{place}" for name in _FIVE_PLACES[:2] for place in range(1, 6))
"""Work, but clients are told of their union alone."""


def _listed(request: ApiRequest) -> list[SegmentField]:
    """By category (those of plugins last), metrics before dimensions, then by name; custom variables by
    number."""
    fields = {name: one for name, one in SEGMENTS.items() if name not in _PLACES}
    for site_id in _sites(request):
        for dimension in request.config.dimensions.get(site_id, {}).values():
            if dimension.active:
                one = dimension_field(dimension.dimension_id, dimension.scope, dimension.name)
                fields.setdefault(one.name, one)

    def place(one: SegmentField) -> tuple[int, str, bool, str]:
        by_name = "" if one.category == "Custom Variables" else one.title
        at = _CATEGORIES.index(one.category) if one.category in _CATEGORIES else len(_CATEGORIES)
        return at, one.category, not one.metric, by_name

    return sorted(fields.values(), key=place)


def _segments_metadata(request: ApiRequest) -> Result:
    hidden = request.parameters.flag("_hideImplementationData", True)
    rows: list[Value] = []
    for one in _listed(request):
        row: dict[str, Value] = {
            "type": "metric" if one.metric else "dimension",
            "category": one.category,
            "name": one.title,
            "segment": one.name,
        }
        if one.values:
            row["acceptedValues"] = ", ".join(one.values)
        if one.name in _PERSONAL:
            row["permission"] = request.grant.login != ANONYMOUS.login
        if one.name in _UNIONS:
            row["unionOfSegments"] = list(_UNIONS[one.name])
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
    if one.kind == "goal_name":
        goals = request.config.goals.get(request.site_id, {}).values()
        return [goal.name for goal in goals if not goal.deleted]
    if one.kind == "continent":
        return list(CONTINENTS)
    # whose visits they were is for the log of visits
    if not one.suggestions or one.kind == "visitor_id":
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
    "API.getReportMetadata": Method(answer=_report_metadata, takes_sites=True, site_optional=True),
    "API.getMetadata": Method(answer=_metadata, takes_sites=True, required=("apiModule", "apiAction")),
    "API.getSegmentsMetadata": Method(answer=_segments_metadata, takes_sites=True, site_optional=True),
    "API.getSuggestedValuesForSegment": Method(
        answer=_suggested_values, takes_sites=True, required=("segmentName",)
    ),
    "API.getSettings": Method(answer=_settings, access=Access.SOME_VIEW, filters=False),
}
