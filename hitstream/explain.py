"""The story of a visit: its row, its actions and conversions, and every raw hit near it."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

Rows = Callable[[str, Mapping[str, Any]], Sequence[Sequence[Any]]]

MARGIN_SECONDS = 1800
"""Raw hits are shown from this long before the visit to this long after it: the gap that separates visits."""

_VISIT = """
SELECT site_id, toString(date), visit_id, lower(leftPad(hex(visitor_id), 16, '0')), toString(owner),
    toUnixTimestamp(first_time), toUnixTimestamp(last_time), actions, duration, user_id,
    referrer_type, referrer_name, version
FROM visits FINAL WHERE visit_id = {visit:UInt64}
"""
_ACTIONS = """
SELECT toString(hit_id), toUnixTimestamp(time), kind, toString(url), title, event_category, event_action,
    search_keyword
FROM actions FINAL WHERE visit_id = {visit:UInt64} ORDER BY time, hit_id
"""
_CONVERSIONS = """
SELECT toString(hit_id), toUnixTimestamp(time), goal_id, revenue, order_id
FROM conversions FINAL WHERE visit_id = {visit:UInt64} ORDER BY time, hit_id
"""
_HITS = """
SELECT toString(hit_id), toUnixTimestamp(time), toUnixTimestamp64Milli(received_at), query, exclusion,
    config_offset, lower(leftPad(hex(visitor_id), 16, '0')), origin
FROM hits FINAL
WHERE site_id = {site:UInt32} AND owner = {owner:UInt64}
    AND time BETWEEN toDateTime({begin:Int64}) AND toDateTime({end:Int64})
ORDER BY time, hit_id
"""


def _named(names: str, row: Sequence[Any]) -> dict[str, Any]:
    return dict(zip(names.split(), row, strict=True))


def explain_visit(rows: Rows, visit_id: int) -> dict[str, Any] | None:
    """A JSON object; None for an unknown visit. Times are unix seconds; ids are decimal text, since they
    exceed what JSON readers keep exact. Each hit says which action or conversion it became."""
    found = rows(_VISIT, {"visit": visit_id})
    if not found:
        return None
    visit = _named(
        "site_id date visit_id visitor_id owner first_time last_time actions duration user_id referrer_type"
        " referrer_name version",
        found[0],
    )
    visit["visit_id"] = str(visit["visit_id"])
    actions = [
        _named("hit_id time kind url title event_category event_action search_keyword", row)
        for row in rows(_ACTIONS, {"visit": visit_id})
    ]
    conversions = [
        _named("hit_id time goal_id revenue order_id", row) for row in rows(_CONVERSIONS, {"visit": visit_id})
    ]
    acted = {action["hit_id"] for action in actions}
    converted = {conversion["hit_id"] for conversion in conversions}
    hits = []
    for row in rows(
        _HITS,
        {
            "site": visit["site_id"],
            "owner": int(visit["owner"]),
            "begin": visit["first_time"] - MARGIN_SECONDS,
            "end": visit["last_time"] + MARGIN_SECONDS,
        },
    ):
        hit = _named(
            "hit_id time received_at_ms query excluded_by_ingest config_offset visitor_id origin", row
        )
        hit["became"] = [
            *(["action"] if hit["hit_id"] in acted else []),
            *(["conversion"] if hit["hit_id"] in converted else []),
        ]
        hits.append(hit)
    return {"visit": visit, "actions": actions, "conversions": conversions, "hits": hits}
