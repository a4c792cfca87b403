"""The story of a visit: what was decided about every hit of it and near it, and by which rule.

The owner's raw hits are folded once more, under the configuration that counts for each of them, and the fold
is watched. Nothing is written."""

from collections.abc import Sequence
from typing import Any

from hitstream.history import read_hits
from hitstream.replay_preview import Folder, ordered
from rules.conversions import attribute_with_source
from rules.fold import fold_hit, why_visit_begins
from rules.fold_state import Facts, FoldState, Rows, VisitRules
from rules.prepared import PreparedHit
from rules.replays import Replays
from schemas.config import Config
from schemas.hit import Hit, format_visitor_id
from schemas.outcomes import Exclusion
from schemas.rows import CART_GOAL, ORDER_GOAL, Conversion, Visit
from sink.database import Database

MARGIN_SECONDS = 1800
"""Hits are shown from this long before the visit to this long after it: the gap that separates visits."""

_VISIT = """
SELECT site_id, toString(date), visit_id, lower(leftPad(hex(visitor_id), 16, '0')), toString(owner),
    toUnixTimestamp(first_time), toUnixTimestamp(last_time), actions, duration, user_id,
    referrer_type, referrer_name, referrer_keyword, version
FROM visits FINAL WHERE visit_id = {visit:UInt64}
"""
_ACTIONS = """
SELECT toString(hit_id), toUnixTimestamp(time), kind, toString(url), title, event_category, event_action,
    search_keyword
FROM actions FINAL WHERE visit_id = {visit:UInt64} ORDER BY time, hit_id
"""
_CONVERSIONS = """
SELECT toString(hit_id), toUnixTimestamp(time), goal_id, revenue, order_id, referrer_type, referrer_name
FROM conversions FINAL WHERE visit_id = {visit:UInt64} ORDER BY time, hit_id
"""
_ORDERS = """
SELECT hit_id FROM conversions FINAL
WHERE site_id = {site:UInt32} AND owner = {owner:UInt64} AND goal_id = 0
"""


def _named(names: str, row: Sequence[Any]) -> dict[str, Any]:
    return dict(zip(names.split(), row, strict=True))


def explain_visit(database: Database, config: Config, folder: Folder, visit_id: int) -> dict[str, Any] | None:
    """A JSON object; None for an unknown visit. Times are unix seconds; ids are decimal text, since they
    exceed what JSON readers keep exact. Blocking."""
    found = database.rows(_VISIT, {"visit": visit_id})
    if not found:
        return None
    visit = _named(
        "site_id date visit_id visitor_id owner first_time last_time actions duration user_id referrer_type"
        " referrer_name referrer_keyword version",
        found[0],
    )
    visit["visit_id"] = str(visit["visit_id"])
    bound = {"site": visit["site_id"], "owner": int(visit["owner"])}
    hits = read_hits(database, "site_id = {site:UInt32} AND owner = {owner:UInt64}", bound)
    orders = {int(hit_id) for (hit_id,) in database.rows(_ORDERS, bound)}
    told = tell(ordered(hits), config, folder, orders)
    near = [
        one
        for one in told
        if one["visit_id"] == visit["visit_id"]
        or visit["first_time"] - MARGIN_SECONDS <= one["time"] <= visit["last_time"] + MARGIN_SECONDS
    ]
    return {
        "visit": visit,
        "actions": [
            _named("hit_id time kind url title event_category event_action search_keyword", row)
            for row in database.rows(_ACTIONS, {"visit": visit_id})
        ],
        "conversions": [
            _named("hit_id time goal_id revenue order_id referrer_type referrer_name", row)
            for row in database.rows(_CONVERSIONS, {"visit": visit_id})
        ],
        "hits": near,
        "raw_hits_kept": any(one["visit_id"] == visit["visit_id"] for one in told),
    }


def tell(hits: Sequence[Hit], config: Config, folder: Folder, kept_orders: set[int]) -> list[dict[str, Any]]:
    """One object per hit of an owner, in event order: `became` (opened, joined, excluded, dead), why, and
    what it converted."""
    replays = Replays(config.replays, config.offset)
    state = FoldState()
    told = []
    for hit in hits:
        one = _facts(hit, replays)
        told.append(one)
        prepared = folder.prepared(hit, replays)
        if prepared is None:
            one |= {"became": "dead", "why": "it can't be read: see the dead letters"}
        elif isinstance(prepared, Exclusion):
            one |= {"became": "excluded", "why": str(prepared)}
        else:
            _fold(one, state, *prepared, kept_orders, config)
    return told


def _facts(hit: Hit, replays: Replays) -> dict[str, Any]:
    return {
        "hit_id": str(hit.hit_id),
        "time": hit.time,
        "received_at_ms": hit.received_at,
        "visitor_id": format_visitor_id(hit.visitor_id),
        "origin": hit.origin,
        "query": hit.query,
        "config_offset": hit.config_offset,
        "folded_under": replays.config_offset(hit.site_id, hit.time, hit.config_offset),
        "visit_id": "",
        "conversions": [],
    }


def _fold(
    one: dict[str, Any],
    state: FoldState,
    hit: PreparedHit,
    rules: VisitRules,
    kept_orders: set[int],
    config: Config,
) -> None:
    before = state.visit
    gap = None if before is None else hit.time - before.last_time
    rule = "" if before is None else why_visit_begins(before, hit, rules.tracking, rules.clock.day(hit.time))
    is_order = hit.ecommerce is not None and hit.ecommerce.order_id != ""
    is_lost = is_order and hit.hit_id not in kept_orders
    facts = Facts(lost_orders=frozenset((hit.hit_id,)) if is_lost else frozenset())
    referrer = None if before is None else before.referrer_type
    rows = Rows()
    excluded = fold_hit(state, hit, rules, rows, facts)
    if excluded is not None:
        one |= {"became": "excluded", "why": str(excluded)}
        return
    visit = state.visit
    assert visit is not None
    one["visit_id"] = str(visit.visit_id)
    opened = before is None or rule != ""
    one |= {"became": "opened" if opened else "joined", "why": _why(rule, gap, rules, opened=opened)}
    if opened or referrer != visit.referrer_type:
        one["visit_referrer"] = {
            "type": visit.referrer_type, "name": visit.referrer_name, "keyword": visit.referrer_keyword,
        }  # fmt: skip
    if is_lost:
        one["order"] = "its order id belongs to an earlier order"
    one["conversions"] = [
        _conversion(row, visit, hit, config) for row in rows.rows.values()
        if isinstance(row, Conversion) and row.hit_id == hit.hit_id
    ]  # fmt: skip


def _why(rule: str, gap: int | None, rules: VisitRules, *, opened: bool) -> str:
    if gap is None:
        return "the first hit of this visitor"
    length = rules.tracking.visit_standard_length
    if not opened:
        return f"{max(0, gap)} s after the last action, less than visit_standard_length = {length} s"
    match rule:
        case "visit_standard_length":
            return f"{gap} s after the last action, at least visit_standard_length = {length} s"
        case "new_visit":
            return "the tracker said new_visit=1"
        case "another_user_id":
            return "another user id than the visit's"
        case _:
            return rule


def _conversion(row: Conversion, visit: Visit, hit: PreparedHit, config: Config) -> dict[str, Any]:
    referrer, source = attribute_with_source(visit, hit)
    return {
        "goal_id": row.goal_id,
        "why": _matched(row, hit, config),
        "revenue": row.revenue,
        "credit": {"type": referrer.type, "name": referrer.name, "keyword": referrer.keyword, "by": source},
    }


def _matched(row: Conversion, hit: PreparedHit, config: Config) -> str:
    if row.goal_id == ORDER_GOAL:
        return f"order {row.order_id}"
    if row.goal_id == CART_GOAL:
        return "cart"
    goal = config.goals.get(row.site_id, {}).get(row.goal_id)
    if any(match.manual and match.goal_id == row.goal_id for match in hit.goals):
        return "the tracker said idgoal"
    if goal is None:
        return "a goal that no longer exists"
    return f"{goal.match_attribute} {goal.pattern_type} {goal.pattern!r} ({goal.name})"
