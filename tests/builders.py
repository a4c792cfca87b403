"""Builders with defaults: a test names only what it is about."""

from typing import Any
from urllib.parse import urlencode

from rules.fold_state import VisitRules
from rules.local_time import local_clock
from rules.prepared import ActionDraft, PreparedHit
from schemas.config import Config, ConfigEvent, Goal, Privacy, Site, Tracking
from schemas.hit import Hit
from schemas.rows import ActionKind

NOON = 1_789_041_600
"""2026-09-10 12:00:00 UTC, a Thursday."""


def visit_rules(timezone: str = "UTC", **tracking: Any) -> VisitRules:
    return VisitRules(tracking=Tracking(**tracking), clock=local_clock(timezone))


_next_hit_id = iter(range(1_000, 10_000_000))


def a_prepared_hit(at: int = NOON, kind: int | None = ActionKind.PAGE, **fields: Any) -> PreparedHit:
    """A page view of http://example.org/page at unix second `at`; kind None has no action."""
    action = fields.pop("action", None)
    if action is None and kind is not None:
        action = ActionDraft(
            kind=kind,
            url=fields.pop("url", "example.org/page"),
            url_prefix=0,
            title=fields.pop("title", "Page"),
        )
    defaults: dict[str, Any] = {"site_id": 1, "owner": 0xA1, "visitor_id": 0xA1, "config_id": 0xF1}
    hit_id = fields.pop("hit_id", None) or next(_next_hit_id)
    return PreparedHit(**{**defaults, "hit_id": hit_id, "time": at, "action": action, **fields})


def a_hit(at: int = NOON, **fields: Any) -> Hit:
    """A page view as ingest writes it; unknown keywords become tracking parameters."""
    own = {name: fields.pop(name) for name in list(fields) if name in Hit.__struct_fields__}
    query = {"idsite": "1", "rec": "1", "url": "http://example.org/page", "action_name": "Page", **fields}
    defaults: dict[str, Any] = {
        "hit_id": next(_next_hit_id),
        "site_id": 1,
        "time": at,
        "received_at": at * 1000,
        "owner": 0xA1,
        "visitor_id": 0xA1,
        "config_id": 0xF1,
        "user_agent": "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:128.0) Gecko/20100101 Firefox/128.0",
        "language": "en-us",
        "ip": "10.1.0.0",
        "config_offset": 1,
        "query": urlencode({name: value for name, value in query.items() if value is not None}),
    }
    return Hit(**{**defaults, **own})


def a_config(
    *,
    goals: tuple[Goal, ...] = (),
    tracking: Tracking | None = None,
    privacy: Privacy | None = None,
    **site: Any,
) -> Config:
    """One site with id 1 at http://example.org/."""
    return config_of(*config_events(goals=goals, tracking=tracking, privacy=privacy, **site))


def config_of(*events: ConfigEvent) -> Config:
    config = Config()
    for event in events:
        config = config.with_event(event)
    return config


def config_events(
    *,
    goals: tuple[Goal, ...] = (),
    tracking: Tracking | None = None,
    privacy: Privacy | None = None,
    **site: Any,
) -> list[ConfigEvent]:
    defaults: dict[str, Any] = {"site_id": 1, "name": "Example", "urls": ("http://example.org/",)}
    events = [ConfigEvent(at=0, site=Site(**{**defaults, **site}))]
    events.extend(ConfigEvent(at=0, goal=goal) for goal in goals)
    if tracking is not None:
        events.append(ConfigEvent(at=0, tracking=tracking))
    if privacy is not None:
        events.append(ConfigEvent(at=0, privacy=privacy))
    return events
