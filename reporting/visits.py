"""Reads visits with everything they did."""

# ruff: noqa: S608 - texts of queries are declarations of this repository, values are bound parameters

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from reporting.method import ApiRequest
from reporting.queries import compiled_segment
from schemas.rows import CART_GOAL, ORDER_GOAL

Found = Mapping[str, Any]
"""A row of the database, keyed by column; times also as <name>_ts, unix seconds."""


@dataclass
class VisitParts:
    """A visit's rows in the tables."""

    visit: Found
    actions: list[Found] = field(default_factory=list)
    conversions: list[Found] = field(default_factory=list)
    items: dict[int, list[Found]] = field(default_factory=dict)
    """Products by the hit of their order or cart."""


@dataclass(frozen=True)
class Totals:
    """What a visitor ordered and left in carts, over all time."""

    revenue: float = 0.0
    orders: int = 0
    items: int = 0
    cart_revenue: float = 0.0
    carts: int = 0
    cart_items: int = 0


@dataclass(frozen=True, kw_only=True)
class VisitQuery:
    """Which visits to read: unix seconds, both included; 0 is open."""

    site_id: int
    since: int = 0
    until: int = 0
    limit: int | None = None
    visitor_id: int | None = None
    ascending: bool = False
    with_actions: bool = True


_TIMES = "toUnixTimestamp(first_time) AS first_ts, toUnixTimestamp(last_time) AS last_ts"


async def read_visits(request: ApiRequest, query: VisitQuery) -> list[VisitParts]:
    """Newest first unless ascending."""
    since = datetime.fromtimestamp(query.since, UTC).date() - timedelta(days=1)
    until = datetime.fromtimestamp(query.until, UTC).date() + timedelta(days=1) if query.until else None
    parameters: dict[str, object] = {
        "site": query.site_id, "since": query.since, "until": query.until or 4_000_000_000,
        "first": since if query.since else datetime(1970, 1, 2, tzinfo=UTC).date(),
        "last": until or datetime(2105, 1, 1, tzinfo=UTC).date(),
    }  # fmt: skip
    conditions = [
        "site_id = {site:UInt32} AND date BETWEEN {first:Date} AND {last:Date}",
        "toUnixTimestamp(last_time) BETWEEN {since:UInt32} AND {until:UInt32}",
    ]
    if query.visitor_id is not None:
        conditions.append("visitor_id = {visitor:UInt64}")
        parameters["visitor"] = query.visitor_id
    if request.segment:
        segment = compiled_segment(request, query.site_id)
        if not segment.is_all:
            conditions.append(f"({segment.visit})")
            parameters.update(segment.parameters)
    order = "ASC" if query.ascending else "DESC"
    limit = f" LIMIT {int(query.limit)}" if query.limit is not None and query.limit >= 0 else ""
    visits = await request.database.select(
        f"SELECT *, {_TIMES} FROM visits FINAL WHERE {' AND '.join(conditions)}"
        f" ORDER BY last_time {order}, visit_id {order}{limit}",
        parameters,
    )
    parts = {int(visit["visit_id"]): VisitParts(visit) for visit in visits}
    if parts and query.with_actions:
        await _add_details(request, query.site_id, parts)
    return list(parts.values())


async def _add_details(request: ApiRequest, site_id: int, parts: Mapping[int, VisitParts]) -> None:
    firsts = [datetime.fromtimestamp(int(part.visit["first_ts"]), UTC).date() for part in parts.values()]
    lasts = [datetime.fromtimestamp(int(part.visit["last_ts"]), UTC).date() for part in parts.values()]
    parameters: dict[str, object] = {
        "site": site_id, "visits": list(parts), "first": min(firsts) - timedelta(days=1),
        "last": max(lasts) + timedelta(days=1),
    }  # fmt: skip
    where = (
        "site_id = {site:UInt32} AND date BETWEEN {first:Date} AND {last:Date}"
        " AND visit_id IN {visits:Array(UInt64)}"
    )
    for table, name in (("actions", "actions"), ("conversions", "conversions")):
        rows = await request.database.select(
            f"SELECT *, toUnixTimestamp(time) AS ts FROM {table} FINAL WHERE {where} ORDER BY time, hit_id",
            parameters,
        )
        for row in rows:
            getattr(parts[int(row["visit_id"])], name).append(row)
    items = await request.database.select(
        f"SELECT * FROM conversion_items FINAL WHERE {where} ORDER BY hit_id, sku", parameters
    )
    for item in items:
        parts[int(item["visit_id"])].items.setdefault(int(item["hit_id"]), []).append(item)


async def read_totals(request: ApiRequest, site_id: int, visitors: Iterable[int]) -> dict[int, Totals]:
    rows = await request.database.select(
        "SELECT visitor_id, goal_id, sum(revenue) AS money, count() AS times, sum(items) AS products"
        " FROM conversions FINAL WHERE site_id = {site:UInt32} AND goal_id <= 0"
        " AND visitor_id IN {visitors:Array(UInt64)} GROUP BY visitor_id, goal_id",
        {"site": site_id, "visitors": list(visitors)},
    )
    found: dict[int, dict[int, Found]] = {}
    for row in rows:
        found.setdefault(int(row["visitor_id"]), {})[int(row["goal_id"])] = row
    nothing: Found = {"money": 0.0, "times": 0, "products": 0}
    result = {}
    for visitor, by_goal in found.items():
        order, cart = by_goal.get(ORDER_GOAL, nothing), by_goal.get(CART_GOAL, nothing)
        result[visitor] = Totals(
            float(order["money"]), int(order["times"]), int(order["products"]),
            float(cart["money"]), int(cart["times"]), int(cart["products"]),
        )  # fmt: skip
    return result
