"""Live.getVisitorProfile: everything known of one visitor, summed up from the visits log."""

# ruff: noqa: S608 - texts of queries are declarations of this repository, values are bound parameters

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta, tzinfo

from reporting.icons import icon
from reporting.method import ApiRequest
from reporting.queries import compiled_segment
from reporting.rows import goal_key, money, quotient
from reporting.table import Columns, Row, Table, Value
from reporting.visit_dates import local, pretty_date
from reporting.visits import Found, Totals, VisitParts
from reporting.wording import pretty_seconds
from rules.locations import continent_name, country_name
from schemas.config import Site
from schemas.hit import format_visitor_id
from schemas.rows import ActionKind

MOST_VISITS = 100
"""Visits that a profile sums up."""

_TIMINGS = ("time_network", "time_server", "time_transfer", "time_dom_processing", "time_dom_completion",
            "time_on_load")  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Profile:
    """What a profile is made of: `parts` and `rows` are the same visits, newest first."""

    site: Site
    zone: tzinfo
    parts: Sequence[VisitParts]
    rows: Sequence[Row]
    has_more: bool
    totals: Totals
    next_visitor: int | None
    previous_visitor: int | None


def profile_columns(profile: Profile, request: ApiRequest) -> Columns:
    newest, oldest = profile.rows[0], profile.rows[-1]
    columns: Columns = {
        "hasMoreVisits": profile.has_more,
        "visitorId": newest.columns["visitorId"],
        **_visit_totals(profile.parts),
        **_searches(profile.parts),
        **_conversions(profile.parts),
        "totalEvents": _count_of(profile.parts, ActionKind.EVENT),
    }
    if profile.site.ecommerce:
        columns |= _ecommerce(profile.totals)
    columns |= {
        "hasLatLong": request.parameters.flag("checkForLatLong")
        and any(part.visit["latitude"] for part in profile.parts),
        "lastVisits": Table(list(profile.rows)),
        "nextVisitorId": _visitor(profile.next_visitor),
        "previousVisitorId": _visitor(profile.previous_visitor),
    }
    duration = columns["totalVisitDuration"]
    columns |= {
        "totalVisitDurationPretty": pretty_seconds(int(str(duration))),
        "userId": next((row.columns["userId"] for row in profile.rows if row.columns["userId"]), False),
        "firstVisit": _moment(profile.parts[-1], oldest, profile.zone, request),
        "lastVisit": _moment(profile.parts[0], newest, profile.zone, request),
        "visitsAggregated": len(profile.parts),
    }
    timed = [load for part in profile.parts for action in part.actions if (load := _load(action)) is not None]
    if timed:
        columns["averagePageLoadTime"] = quotient(sum(timed), 1000 * len(timed), 2)
    oldest_first = list(reversed(profile.rows))
    return columns | {
        "visitedPages": _visited_pages(oldest_first),
        "devices": _devices(oldest_first),
        "continents": _places(oldest_first, "continentCode", "continent", continent_name),
        "countries": _countries(oldest_first),
    }


def _visitor(visitor_id: int | None) -> Value:
    return False if visitor_id is None else format_visitor_id(visitor_id)


def _count_of(parts: Sequence[VisitParts], kind: int) -> int:
    return sum(int(action["kind"]) == kind for part in parts for action in part.actions)


def _load(action: Found) -> int | None:
    """Milliseconds until a page was there; None unless all its parts are known."""
    timings = [int(action[name]) for name in _TIMINGS]
    return sum(timings) if int(action["kind"]) == ActionKind.PAGE and min(timings) >= 0 else None


def _visit_totals(parts: Sequence[VisitParts]) -> Columns:
    pages = [action for part in parts for action in part.actions if int(action["kind"]) == ActionKind.PAGE]
    visited = Counter(page["url"] for page in pages)
    return {
        "totalVisits": len(parts),
        "totalVisitDuration": sum(int(part.visit["duration"]) for part in parts),
        "totalActions": sum(int(part.visit["actions"]) for part in parts),
        "totalOutlinks": _count_of(parts, ActionKind.OUTLINK),
        "totalDownloads": _count_of(parts, ActionKind.DOWNLOAD),
        "totalSearches": _count_of(parts, ActionKind.SEARCH),
        "totalPageViews": len(pages),
        "totalUniquePageViews": len(visited),
        "totalRevisitedPages": sum(count > 1 for count in visited.values()),
        "totalPageViewsWithTiming": sum(any(int(page[name]) > 0 for name in _TIMINGS) for page in pages),
        "totalPageViewsWithLoadTime": sum(_load(page) is not None for page in pages),
    }


def _searches(parts: Sequence[VisitParts]) -> Columns:
    counted = Counter(
        action["search_keyword"]
        for part in parts
        for action in part.actions
        if int(action["kind"]) == ActionKind.SEARCH
    )
    return {"searches": [{"keyword": word, "searches": count} for word, count in counted.most_common()]}


def _conversions(parts: Sequence[VisitParts]) -> Columns:
    goals = Counter(
        int(one["goal_id"]) for part in parts for one in part.conversions if int(one["goal_id"]) > 0
    )
    return {
        "totalGoalConversions": goals.total(),
        "totalConversionsByGoal": {f"idgoal={goal_key(goal)}": goals[goal] for goal in sorted(goals)},
    }


def _ecommerce(totals: Totals) -> Columns:
    return {
        "totalEcommerceRevenue": money(totals.revenue),
        "totalEcommerceConversions": totals.orders,
        "totalEcommerceItems": totals.items,
        "totalAbandonedCarts": totals.carts,
        "totalAbandonedCartsRevenue": money(totals.cart_revenue),
        "totalAbandonedCartsItems": totals.cart_items,
    }


def _moment(part: VisitParts, row: Row, zone: tzinfo, request: ApiRequest) -> Columns:
    first = local(part.visit["first_ts"], zone)
    summary = str(row.columns["referrerTypeName"])
    if row.columns["referrerName"]:
        summary += f": {row.columns['referrerName']}"
    return {
        "date": int(part.visit["first_ts"]),
        "prettyDate": pretty_date(first),
        "daysAgo": (request.now.astimezone(zone).date() - first.date()).days,
        "referrerType": row.columns["referrerType"],
        "referrerUrl": row.columns["referrerUrl"] or "",
        "referralSummary": summary,
    }


def _most_first(counted: Counter[str]) -> list[tuple[str, int]]:
    """Ties in order of first appearance."""
    return counted.most_common()


def _visited_pages(rows: Sequence[Row]) -> list[Value]:
    """Pages by how often they were seen, under the addresses that the visits log shows."""
    counted: Counter[str] = Counter()
    for row in rows:
        details = row.columns["actionDetails"]
        for action in details if isinstance(details, list) else ():
            if isinstance(action, dict) and action.get("type") == "action" and action.get("url"):
                counted[str(action["url"])] += 1
    return [{"url": url, "count": count} for url, count in _most_first(counted)]


def _devices(rows: Sequence[Row]) -> list[Value]:
    types = Counter(str(row.columns["deviceType"]) for row in rows)
    found: list[Value] = []
    for kind, count in _most_first(types):
        of_type = [row for row in rows if row.columns["deviceType"] == kind]
        names = Counter(_device_name(row) for row in of_type)
        found.append(
            {
                "type": kind,
                "count": count,
                "icon": of_type[0].columns["deviceTypeIcon"],
                "devices": [{"name": name, "count": many} for name, many in _most_first(names)],
            }
        )
    return found


def _device_name(row: Row) -> str:
    brand, model = str(row.columns["deviceBrand"]), str(row.columns["deviceModel"])
    return model if brand == "Unknown" else f"{brand} {model}"


def _places(rows: Sequence[Row], column: str, shown: str, name: Callable[[str], str]) -> list[Value]:
    counted = Counter(str(row.columns[column]) for row in rows)
    return [{shown: code, "nb_visits": count, "prettyName": name(code)} for code, count in counted.items()]


def _countries(rows: Sequence[Row]) -> list[Value]:
    counted = Counter(str(row.columns["countryCode"]) for row in rows)
    found: list[Value] = []
    for code, count in counted.items():
        cities = sorted({str(row.columns["city"]) for row in rows if row.columns["countryCode"] == code
                         and row.columns["city"]})  # fmt: skip
        country: Columns = {"country": code, "nb_visits": count, "flag": icon("flags", code)}
        if cities:
            country["cities"] = list(cities)
        found.append(country | {"prettyName": country_name(code)})
    return found


async def neighbour(
    request: ApiRequest, site_id: int, last: int, visitor_id: int, *, older: bool
) -> int | None:
    """The visitor of the segment who was last seen next before (or after) that second."""
    segment = compiled_segment(request, site_id)
    sign, order = ("<", "DESC") if older else (">", "ASC")
    rows = await request.database.select(
        "SELECT visitor_id AS visitor, toUnixTimestamp(max(last_time)) AS seen FROM visits FINAL"
        " WHERE site_id = {site:UInt32} AND date BETWEEN {first:Date} AND {last:Date}"
        f" AND visitor_id != {{visitor:UInt64}} AND ({segment.visit or '1'}) GROUP BY visitor"
        f" HAVING (seen, visitor) {sign} ({{seen:UInt32}}, {{visitor:UInt64}})"
        f" ORDER BY seen {order}, visitor {order} LIMIT 1",
        {
            "site": site_id,
            "first": request.now.date().replace(year=1971),
            "last": request.now.date() + timedelta(days=2),
            "visitor": visitor_id,
            "seen": last,
            **segment.parameters,
        },
    )
    return int(rows[0]["visitor"]) if rows else None
