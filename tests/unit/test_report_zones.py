"""Timezones of sites as reports use them."""

from datetime import UTC, datetime

import pytest

from reporting.api import zone_of
from reporting.methods.visit_time import sql_zone


@pytest.mark.parametrize(
    ("name", "hour", "in_sql"),
    [
        ("UTC", "00:00", "UTC"),
        ("Europe/Berlin", "01:00", "Europe/Berlin"),
        ("UTC+14", "14:00", "Fixed/UTC+14:00:00"),
        ("UTC+5.5", "05:30", "Fixed/UTC+05:30:00"),
        ("UTC-9.5", "14:30", "Fixed/UTC-09:30:00"),
        ("Mars/Olympus", "00:00", "UTC"),
    ],
)
def test_a_site_may_have_a_zone_of_the_data_base_or_a_fixed_offset(name: str, hour: str, in_sql: str) -> None:
    zone = zone_of(name)
    assert f"{datetime(2026, 1, 1, tzinfo=UTC).astimezone(zone):%H:%M}" == hour
    assert sql_zone(zone) == in_sql
