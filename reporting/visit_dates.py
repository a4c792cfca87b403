"""Moments of visits in words, in the site's timezone."""

from datetime import datetime, tzinfo
from typing import Any


def pretty_date(moment: datetime) -> str:
    """Thursday, September 10, 2026"""
    return f"{moment:%A}, {moment:%B} {moment.day}, {moment.year}"


def pretty_moment(moment: datetime) -> str:
    """Sep 10, 2026 10:00:00"""
    return f"{moment:%b} {moment.day}, {moment.year} {moment:%H:%M:%S}"


def local(timestamp: Any, zone: tzinfo) -> datetime:
    return datetime.fromtimestamp(int(timestamp), zone)


def wall_clock(timestamp: Any, zone: tzinfo) -> int:
    """The site's local time as if it were UTC: what Matomo calls the timestamp of an action."""
    offset = local(timestamp, zone).utcoffset()
    return int(timestamp) + (0 if offset is None else int(offset.total_seconds()))
