"""Insights: which rows of a report changed most since an earlier period.

A row is kept when its change weighs enough (a share of all visits) and is large enough (a share of what it
was). Movers and shakers have moved clearly more than the whole site did."""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from reporting import generic_filters as filters
from reporting.catalogue import entries_of
from reporting.changed_labels import LABELS, changed_labels, shows_whole_labels
from reporting.errors import ApiError
from reporting.method import Access, AnswerFunction, ApiRequest, Method
from reporting.periods import Period
from reporting.queries import read_aggregates
from reporting.report_entry import ReportEntry
from reporting.table import Result, Row, Table, TableMap
from schemas.report_queries import Cut

Kind = Literal["mover", "new", "disappeared"]
_FILTERS: Mapping[str, Kind] = {"movers": "mover", "new": "new", "disappeared": "disappeared"}
_ORDERS = ("absolute", "relative", "importance")
_OVERVIEW = (
    "Actions_getPageUrls", "Actions_getPageTitles", "Actions_getDownloads", "Referrers_getWebsites",
    "Referrers_getCampaigns", "Referrers_getSocials", "Referrers_getSearchEngines", "UserCountry_getCountry",
)  # fmt: skip
_OVERVIEW_LIMIT = 3
_MOST_ROWS = 2000
_BEYOND_THE_WHOLE = 20.0
"""Points of growth by which movers and shakers must differ from the whole site."""
_SHAKING = 1.0
"""Percent of the total that a change of those must weigh."""
_FEWEST = 2.0
"""A change of less is chance, however small the site is."""


@dataclass(frozen=True, kw_only=True)
class Thresholds:
    """Percentages: of the total that a change must weigh, and of the old value that it must be."""

    impact: float = 2.0
    grown: float = 20.0
    shrunk: float = 20.0
    least: float = 0.0
    """In absolute numbers."""


@dataclass(frozen=True)
class Change:
    """A row then and now."""

    label: str
    old: float
    new: float

    @property
    def kind(self) -> Kind:
        if not self.old:
            return "new"
        return "mover" if self.new else "disappeared"

    @property
    def difference(self) -> float:
        return self.new - self.old

    @property
    def growth(self) -> float:
        """In percent, one digit; what is new has grown by 100."""
        return float(filters.php_round(self.difference / self.old * 100, 1)) if self.old else 100.0

    def passes(self, limits: Thresholds, total: float) -> bool:
        weight = abs(self.difference)
        if not weight or weight < max(total * limits.impact / 100, limits.least):
            return False
        if self.kind != "mover":
            return True
        return self.growth >= limits.grown or self.growth <= -limits.shrunk


def changes_of(old: Mapping[str, float], new: Mapping[str, float]) -> list[Change]:
    """Every label of either period."""
    labels = dict.fromkeys([*new, *old])
    return [Change(label, old.get(label, 0.0), new.get(label, 0.0)) for label in labels]


def movers_and_shakers(old_total: float, new_total: float) -> Thresholds:
    """What stands out against how the whole changed."""
    whole = Change("", old_total, new_total).growth if old_total else 0.0
    beyond = abs(whole) + _BEYOND_THE_WHOLE
    return Thresholds(impact=_SHAKING, grown=beyond, shrunk=beyond, least=_FEWEST)


def chosen(
    changes: Iterable[Change], order: str, kind: Kind | None, increasers: int, decreasers: int
) -> list[Change]:
    """The most important of those that grew and of those that shrank, in the order asked for."""
    kept = [one for one in changes if kind is None or one.kind == kind]
    up = sorted((one for one in kept if one.difference > 0), key=lambda one: -one.difference)
    down = sorted((one for one in kept if one.difference < 0), key=lambda one: one.difference)
    found = [*up[: max(0, increasers)], *down[: max(0, decreasers)]]
    match order:
        case "relative":
            return sorted(found, key=lambda one: -one.growth)
        case "importance":
            return sorted(found, key=lambda one: -abs(one.difference))
        case _:
            return sorted(found, key=lambda one: -one.difference)


def _whole(value: float) -> int | float:
    return int(value) if value == int(value) else value


def _row(change: Change, metric: str, shaker: bool | None) -> Row:
    growth = _whole(change.growth)
    columns: dict[str, Any] = {
        "label": change.label,
        metric: _whole(change.new or change.old),
        "growth_percent": f"{growth}%",
        "growth_percent_numeric": growth,
        "grown": change.difference > 0,
        "value_old": _whole(change.old),
        "value_new": _whole(change.new),
        "difference": _whole(change.difference),
        "importance": _whole(abs(change.difference)),
        "isDisappeared": change.kind == "disappeared",
        "isNew": change.kind == "new",
        "isMover": change.kind == "mover",
    }
    if shaker is not None:
        columns["isMoverAndShaker"] = shaker
    return Row(columns)


@dataclass(frozen=True)
class _Comparison:
    """One report of two periods, and how many visits they had."""

    entry: ReportEntry
    metric: str
    changes: Sequence[Change]
    """At least all that may pass."""
    total: float
    """Of the report's rows in the later period."""
    old_total: float
    new_total: float

    @property
    def weight(self) -> float:
        """What impacts are a share of: all visits, or the report's own total when it has far fewer."""
        return self.new_total if self.total * 2 >= self.new_total else self.total


def _earlier(request: ApiRequest) -> Period:
    steps = request.parameters.integer("comparedToXPeriods", 1) or 1
    try:
        return request.period.following(-max(1, steps))
    except (OverflowError, ValueError):
        raise ApiError("There is no period as long ago.") from None


def _entry(request: ApiRequest, unique_id: str) -> ReportEntry:
    for entry in entries_of(request.config, request.site_id):
        if entry.unique_id == unique_id and entry.dimension and entry.metrics:
            return entry
    raise ApiError(f"A report having the ID '{unique_id}' does not exist")


async def _values(
    request: ApiRequest, entry: ReportEntry, metric: str, period: Period, cuts: Mapping[str, Cut]
) -> dict[str, float]:
    result = await request.call(
        {
            "module": "API",
            "method": entry.method,
            "idSite": str(request.site_id),
            "period": period.kind,
            "date": f"{period.start},{period.end}" if period.kind == "range" else period.start.isoformat(),
            "segment": request.segment,
            "language": request.language,
            "flat": "1",
            "showColumns": metric,
            "filter_limit": str(_MOST_ROWS),
            "format_metrics": "0",
            **dict(entry.parameters),
        },
        cuts,
    )
    rows = result if isinstance(result, Table) else ()
    return {str(row.label): float(filters.number(row.columns.get(metric)) or 0) for row in rows}


async def _visits(request: ApiRequest, period: Period) -> float:
    found = await read_aggregates(replace(request, periods=(period,)), ["summary"])
    return sum(groups["summary"].rows.get((), {}).get("nb_visits", 0.0) for groups in found.values())


async def _compare(request: ApiRequest, unique_id: str, least_impact: float) -> _Comparison:
    """`least_impact`: no change is told that weighs less, in percent."""
    entry, periods = _entry(request, unique_id), (_earlier(request), request.period)
    metric = "nb_visits" if "nb_visits" in entry.metrics else entry.metrics[0]
    totals = await asyncio.gather(*(_visits(request, period) for period in periods))
    labels, changed = LABELS.get(entry.method), None
    if labels is not None and least_impact > 0 and shows_whole_labels(request):
        changed = await changed_labels(request, labels, metric, periods, least_impact / 100, totals[1])

    async def values(at: int) -> dict[str, float]:
        if changed is None:
            return await _values(request, entry, metric, periods[at], {})
        if not changed.any or not changed.totals[at]:
            return {}
        return await _values(request, entry, metric, periods[at], changed.cuts)

    old, new = await asyncio.gather(values(0), values(1))
    if metric != "nb_visits":
        totals = [sum(old.values()), sum(new.values())]
    total = sum(new.values()) if changed is None else changed.totals[1]
    return _Comparison(entry, metric, changes_of(old, new), total, *totals)


def _impact(request: ApiRequest) -> float:
    return max(0.0, request.parameters.number("minImpactPercent", 2.0) or 0.0)


def _insights(request: ApiRequest, found: _Comparison, limit: int, order: str) -> Table:
    parameters = request.parameters
    limits = Thresholds(
        impact=_impact(request),
        grown=max(0.0, parameters.number("minGrowthPercent", 20.0) or 0.0),
        shrunk=max(0.0, parameters.number("minGrowthPercent", 20.0) or 0.0),
    )
    shaking = movers_and_shakers(found.old_total, found.new_total)
    passing = [one for one in found.changes if one.passes(limits, found.weight)]
    best = chosen(passing, order, _FILTERS.get(parameters.text("filterBy")), *_limits(request, limit))
    return Table([_row(one, found.metric, one.passes(shaking, found.weight)) for one in best])


def _shakers(request: ApiRequest, found: _Comparison, limit: int, order: str) -> Table:
    limits = movers_and_shakers(found.old_total, found.new_total)
    passing = [one for one in found.changes if one.passes(limits, found.weight)]
    best = chosen(passing, order, None, *_limits(request, limit))
    return Table([_row(one, found.metric, None) for one in best])


def _limits(request: ApiRequest, limit: int) -> tuple[int, int]:
    parameters = request.parameters
    return parameters.integer("limitIncreaser", limit), parameters.integer("limitDecreaser", limit)


def _order(request: ApiRequest) -> str:
    order = request.parameters.text("orderBy") or "absolute"
    if order not in _ORDERS:
        raise ApiError(f"orderBy must be one of {', '.join(_ORDERS)}, '{order}' given.")
    return order


def _check_filter(request: ApiRequest) -> None:
    wanted = request.parameters.text("filterBy")
    if wanted and wanted not in _FILTERS:
        raise ApiError(f"filterBy must be one of {', '.join(_FILTERS)}, '{wanted}' given.")


async def _get_insights(request: ApiRequest) -> Result:
    _check_filter(request)
    found = await _compare(request, request.parameters.text("reportUniqueId"), _impact(request))
    return _insights(request, found, 5, _order(request))


async def _get_shakers(request: ApiRequest) -> Result:
    found = await _compare(request, request.parameters.text("reportUniqueId"), _SHAKING)
    return _shakers(request, found, 4, _order(request))


async def _overview(request: ApiRequest) -> Result:
    _check_filter(request)
    tables: dict[str, Any] = {}
    for unique_id in _OVERVIEW:
        found = await _compare(request, unique_id, _impact(request))
        tables[found.entry.name] = _insights(request, found, _OVERVIEW_LIMIT, _order(request))
    return TableMap("defaultKeyName", tables)


async def _shakers_overview(request: ApiRequest) -> Result:
    tables: dict[str, Any] = {}
    for unique_id in _OVERVIEW:
        found = await _compare(request, unique_id, _SHAKING)
        tables[found.entry.name] = _shakers(request, found, _OVERVIEW_LIMIT, _order(request))
    return TableMap("defaultKeyName", tables)


def _can_generate(request: ApiRequest) -> Result:
    """Whether there is a period before the one asked for."""
    if request.several_periods:
        return False
    try:
        request.period.following(-1)
    except (OverflowError, ValueError):
        return False
    return True


def _method(answer: AnswerFunction, *required: str) -> Method:
    return Method(
        answer=answer,
        takes_sites=True,
        takes_period=True,
        several_sites=False,
        several_periods=False,
        required=required,
        filters=False,
    )


METHODS: dict[str, Method] = {
    "Insights.canGenerateInsights": Method(
        answer=_can_generate, access=Access.SOME_VIEW, takes_period=True, filters=False
    ),
    "Insights.getInsights": _method(_get_insights, "reportUniqueId"),
    "Insights.getMoversAndShakers": _method(_get_shakers, "reportUniqueId"),
    "Insights.getInsightsOverview": _method(_overview),
    "Insights.getMoversAndShakersOverview": _method(_shakers_overview),
}
