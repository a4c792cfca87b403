"""Local days and hours, also in fixed offsets as Matomo spells them."""

import pytest

from rules.local_time import local_clock, timezone_of
from tests.builders import NOON

DAY = NOON // 86400


@pytest.mark.parametrize(
    ("timezone", "day", "hour"),
    [
        ("UTC", DAY, 12),
        ("UTC+14", DAY + 1, 2),
        ("UTC-12", DAY, 0),
        ("UTC+5.75", DAY, 17),
        ("UTC-9.5", DAY, 2),
        ("America/New_York", DAY, 8),
    ],
)
def test_noon_in_utc_is_another_hour_and_maybe_day_elsewhere(timezone: str, day: int, hour: int) -> None:
    assert local_clock(timezone).day_and_hour(NOON) == (day, hour)


@pytest.mark.parametrize("name", ["UTC+15", "UTC+", "Nowhere/Town", "UTC+1.2.3"])
def test_what_is_no_timezone_is_refused(name: str) -> None:
    with pytest.raises((KeyError, ValueError)):
        timezone_of(name)
