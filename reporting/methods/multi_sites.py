"""MultiSites: the main metrics of all sites, and how they changed since the period before."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import date

from reporting.access import sites_with
from reporting.method import ApiRequest, Cell, Method, ReportShape, Unit
from reporting.periods import Period, parse_date
from reporting.queries import Metrics, read_aggregates
from reporting.rows import add_metrics, money, number, quotient
from reporting.table import Columns, Result, Row, Table, TableMap, Value, simple_table
from reporting.wording import currency_symbol, short_period

_EVOLUTIONS = (
    ("visits", "nb_visits"), ("actions", "nb_actions"), ("pageviews", "nb_pageviews"), ("revenue", "revenue"),
)  # fmt: skip
_ENHANCED = {"nb_conversions": "previous_Goal_nb_conversions"}
_ENHANCED_ORDERS = {
    "orders": "previous_Goal_0_nb_conversions", "ecommerce_revenue": "previous_Goal_0_revenue",
}  # fmt: skip
"""Columns of enhanced=1, the latter of sites that sell -> metadata with the period before."""


async def _metrics(request: ApiRequest, cells: Sequence[Cell]) -> dict[Cell, dict[str, float]]:
    data = await read_aggregates(request, ["summary", "actions_summary", "goals"], cells)
    result = {}
    for cell, groups in data.items():
        visits = groups["summary"].rows.get((), {})
        pages = groups["actions_summary"].rows.get(("1",), {})
        earned: Metrics = {}
        for (_, goal), metrics in groups["goals"].rows.items():
            if int(goal) >= 0:
                add_metrics(earned, metrics)
        orders: Metrics = {}
        for (_, goal), metrics in groups["goals"].rows.items():
            if int(goal) == 0:
                add_metrics(orders, metrics)
        result[cell] = {
            "nb_visits": visits.get("nb_visits", 0.0),
            "nb_actions": visits.get("nb_actions", 0.0),
            "nb_pageviews": pages.get("nb_hits", 0.0),
            "revenue": earned.get("revenue", 0.0),
            "nb_conversions": earned.get("nb_conversions", 0.0),
            "orders": orders.get("nb_conversions", 0.0),
            "ecommerce_revenue": orders.get("revenue", 0.0),
        }
    return result


def change(now: float, before: float) -> float:
    """The change as a fraction of `before`; from nothing to something counts as doubling."""
    if before:
        return float(quotient(now - before, before, 3))
    return 1.0 if now else 0.0


def _trend(fraction: float) -> int:
    return (fraction > 0) - (fraction < 0)


def _evolution_columns(
    now: Mapping[str, float], before: Mapping[str, float], enhanced: Iterable[str] = ()
) -> Columns:
    columns: Columns = {}
    for name, metric in (*_EVOLUTIONS, *((name, name) for name in enhanced)):
        fraction = change(now[metric], before[metric])
        columns[f"{name}_evolution"] = fraction
        columns[f"{name}_evolution_trend"] = _trend(fraction)
    return columns


def _main_columns(now: Mapping[str, float]) -> Columns:
    columns: Columns = {name: number(now[name]) for name in ("nb_visits", "nb_actions", "nb_pageviews")}
    columns["revenue"] = money(now["revenue"])
    return columns


async def _with_previous(
    request: ApiRequest, sites: Sequence[int], periods: Sequence[Period]
) -> dict[Cell, dict[str, float]]:
    first = periods[0].following(-1)
    everything = [Cell(site, period) for site in sites for period in (first, *periods)]
    return await _metrics(request, everything)


async def site_rows(
    request: ApiRequest, sites: Sequence[int], periods: Sequence[Period]
) -> dict[Period, Table]:
    data = await _with_previous(request, sites, periods)
    result = {}
    for period in periods:
        before = period.following(-1)
        rows = []
        for site_id in sites:
            site = request.config.site(site_id)
            if site is None:
                continue
            now, earlier = data[Cell(site_id, period)], data[Cell(site_id, before)]
            enhanced: dict[str, str] = {}
            if request.parameters.flag("enhanced"):
                enhanced = _ENHANCED | (_ENHANCED_ORDERS if site.ecommerce else {})
            metadata: Columns = {
                "idsite": site_id,
                "ratio": 1,
                "currencySymbol": currency_symbol(site.currency),
                "previous_nb_visits": number(earlier["nb_visits"]),
                "periodName": period.kind,
                "previousRange": short_period(before, request.language),
                "previous_nb_actions": number(earlier["nb_actions"]),
                "previous_Actions_nb_pageviews": number(earlier["nb_pageviews"]),
                "previous_Goal_revenue": money(earlier["revenue"]),
                **{shown: money(earlier[name]) for name, shown in enhanced.items()},
                "group": site.group,
                "main_url": site.urls[0] if site.urls else "",
            }
            columns = _main_columns(now) | {name: money(now[name]) for name in enhanced}
            columns |= _evolution_columns(now, earlier, enhanced)
            if enhanced or any(now.values()):
                rows.append(Row({"label": site.name, **columns}, metadata))
        rows.sort(key=lambda row: -float(str(row.columns["nb_visits"])))
        result[period] = Table(rows)
    return result


async def _all(request: ApiRequest) -> Result:
    known = sorted(site_id for site_id, site in request.config.sites.items() if not site.deleted)
    sites = sites_with(request.grant, "view", known)
    tables = await site_rows(request, sites, request.periods)
    if request.several_periods:
        return TableMap("date", {period.key: tables[period] for period in request.periods})
    return tables[request.period]


async def _one(request: ApiRequest) -> Mapping[Cell, Table]:
    data = await _with_previous(request, request.sites, request.periods)
    result = {}
    for cell in request.cells:
        now, before = data[cell], data[Cell(cell.site_id, cell.period.following(-1))]
        columns: Columns = {"nb_visits": number(now["nb_visits"]), "nb_actions": number(now["nb_actions"])}
        columns |= _evolution_columns(now, before)
        columns["nb_pageviews"] = number(now["nb_pageviews"])
        columns["revenue"] = money(now["revenue"])
        result[cell] = simple_table(columns, filled=not now["nb_visits"])
    return result


def _last_date(request: ApiRequest, period: Period) -> date:
    """The day asked for, one period earlier; the beginning of the period before where several are asked."""
    text = request.parameters.text("date")
    if request.several_periods or "," in text or period.kind not in ("month", "year"):
        return period.following(-1).start
    day = parse_date(text, request.now.date())
    before = period.following(-1)
    return day.replace(
        year=before.start.year,
        month=before.end.month if period.kind == "month" else day.month,
        day=min(day.day, before.end.day if period.kind == "month" else 28 if day.month == 2 else day.day),
    )


async def _with_groups(request: ApiRequest) -> Result:
    """Sites matching `pattern` with the totals over all of them, a page of rows at a time."""
    known = sorted(site_id for site_id, site in request.config.sites.items() if not site.deleted)
    sites = sites_with(request.grant, "view", known)
    period = request.periods[-1]
    table = (await site_rows(request, sites, [period]))[period]
    pattern = request.parameters.text("pattern").lower()
    rows = [row for row in table.rows if pattern in str(row.label).lower()]
    totals: dict[str, float] = {"nb_pageviews": 0, "nb_visits": 0, "nb_actions": 0, "revenue": 0}
    previous = 0.0
    for row in table.rows:
        for name in totals:
            totals[name] += float(str(row.columns[name]))
        previous += float(str(row.metadata["previous_nb_visits"]))
    shown: dict[str, Value] = {name: money(value) for name, value in totals.items()}
    shown["nb_visits_lastdate"] = number(previous)
    limit = request.parameters.integer("filter_limit", -1)
    offset = request.parameters.integer("filter_offset", 0)
    end = None if limit < 0 else offset + limit
    return {
        "numSites": len(sites),
        "totals": shown,
        "lastDate": _last_date(request, period).isoformat(),
        "sites": [{**row.columns, **row.metadata} for row in rows[offset:end]],
    }


_UNITS = {
    f"{name}_evolution": Unit.PERCENT
    for name in (*(name for name, _ in _EVOLUTIONS), *_ENHANCED, *_ENHANCED_ORDERS)
}
_SHAPE = ReportShape(name="All Websites dashboard", units=_UNITS, sort_stored=True)

METHODS: dict[str, Method] = {
    "MultiSites.getAll": Method(answer=_all, takes_period=True, shape=_SHAPE),
    "MultiSites.getOne": Method(cells=_one, shape=replace(_SHAPE, sort_column="")),
    "MultiSites.getAllWithGroups": Method(answer=_with_groups, takes_period=True, filters=False),
}
