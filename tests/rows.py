"""Builders of the rows that processors emit: a test names only what it is about."""

from typing import Any

from schemas.rows import Action, Conversion, ConversionItem, Visit
from tests.builders import NOON

A_DAY = NOON // 86400
"""2026-09-10"""


def a_visit(visit_id: int = 1, *, at: int = NOON, **fields: Any) -> Visit:
    defaults: dict[str, Any] = {
        "site_id": 1,
        "date": at // 86400,
        "visitor_id": 0xA1,
        "owner": 0xA1,
        "config_id": 0xF1,
        "first_time": at,
        "last_time": at,
        "local_hour": at % 86400 // 3600,
        "actions": 1,
        "entry_url": "example.org/page",
        "exit_url": "example.org/page",
    }
    return Visit(**{**defaults, "visit_id": visit_id, **fields})


def an_action(hit_id: int = 1, *, at: int = NOON, **fields: Any) -> Action:
    defaults: dict[str, Any] = {
        "site_id": 1,
        "date": at // 86400,
        "visit_id": 1,
        "visitor_id": 0xA1,
        "owner": 0xA1,
        "time": at,
        "local_hour": at % 86400 // 3600,
        "url": "example.org/page",
        "title": "Page",
    }
    return Action(**{**defaults, "hit_id": hit_id, **fields})


def a_conversion(hit_id: int = 1, *, goal_id: int = 1, at: int = NOON, **fields: Any) -> Conversion:
    defaults: dict[str, Any] = {
        "site_id": 1,
        "date": at // 86400,
        "visit_id": 1,
        "visitor_id": 0xA1,
        "owner": 0xA1,
        "time": at,
    }
    return Conversion(**{**defaults, "hit_id": hit_id, "goal_id": goal_id, **fields})


def an_item(hit_id: int = 1, *, sku: str = "A", at: int = NOON, **fields: Any) -> ConversionItem:
    defaults: dict[str, Any] = {"site_id": 1, "date": at // 86400, "goal_id": 0, "visit_id": 1, "time": at}
    return ConversionItem(**{**defaults, "hit_id": hit_id, "sku": sku, **fields})
