"""The story of a visit in words: what `hitstream explain` prints."""

from collections.abc import Callable, Mapping
from typing import Any

from schemas.rows import ActionKind


def story_lines(found: Mapping[str, Any], clock: Callable[[int], str]) -> list[str]:
    """The story as a person reads it; `clock` writes unix seconds."""
    visit = found["visit"]
    lines = [
        f"visit {visit['visit_id']} of visitor {visit['visitor_id']} on site {visit['site_id']},"
        f" day {visit['date']}",
        f"  {clock(visit['first_time'])} to {clock(visit['last_time'])} UTC, {visit['actions']} actions,"
        f" {visit['duration']} s, owner {visit['owner']}",
        "",
    ]
    if not found["raw_hits_kept"]:
        lines += ["its raw hits are no longer kept: see HITSTREAM_KEEP_HITS_DAYS", ""]
    lines.append("hits of the owner in and around the visit")
    actions = {action["hit_id"]: action for action in found["actions"]}
    for hit in found["hits"]:
        late = hit["received_at_ms"] / 1000 - hit["time"]
        of_other = hit["visit_id"] not in ("", visit["visit_id"])
        where = f" visit {hit['visit_id']}" if of_other else " this visit" if hit["visit_id"] else ""
        lines.append(f"  {clock(hit['time'])}  hit {hit['hit_id']}  {hit['became']}{where}: {hit['why']}")
        if late >= 60:
            lines.append(f"      received {late:.0f} s later")
        if hit["folded_under"] != hit["config_offset"]:
            lines.append(
                f"      accepted under config {hit['config_offset']}, replayed under {hit['folded_under']}"
            )
        if action := actions.get(hit["hit_id"]):
            text = action["url"] or action["title"] or action["event_category"] or action["search_keyword"]
            lines.append(f"      {_KINDS.get(action['kind'], 'action')}: {text}")
        if came := hit.get("visit_referrer"):
            lines.append(f"      the visit comes from {_referrer(came)}")
        lines += [
            f"      converts goal {one['goal_id']}: {one['why']}, revenue {one['revenue']:g};"
            f" credit to {_referrer(one['credit'])}, told by the {one['credit']['by']}"
            for one in hit["conversions"]
        ]
        if "order" in hit:
            lines.append(f"      {hit['order']}")
        lines.append(f"      {hit['query'][:160]}")
    return lines


_KINDS = {
    ActionKind.PAGE: "page", ActionKind.OUTLINK: "outlink", ActionKind.DOWNLOAD: "download",
    ActionKind.SEARCH: "search", ActionKind.EVENT: "event", ActionKind.CONTENT: "content",
}  # fmt: skip
"""As in the view `actions`."""
_TYPES = {
    1: "direct entry", 2: "search engine", 3: "website", 6: "campaign", 7: "social network",
    8: "AI assistant",
}  # fmt: skip


def _referrer(one: Mapping[str, Any]) -> str:
    text = _TYPES.get(one["type"], str(one["type"]))
    text += f" {one['name']}" if one["name"] else ""
    return text + (f" ({one['keyword']})" if one["keyword"] else "")
