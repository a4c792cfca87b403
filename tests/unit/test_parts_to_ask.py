"""Which days are asked about together to know which of their archives are current."""

from datetime import date, timedelta

import pytest

from hitstream.archives import GOES_ON, parts_to_ask

TODAY = date(2026, 11, 26)
OCTOBER = (date(2026, 10, 1), date(2026, 10, 31))


@pytest.mark.parametrize(
    ("first", "last", "parts"),
    [
        (date(2026, 10, 5), date(2026, 10, 5), [OCTOBER]),
        (*OCTOBER, [OCTOBER]),
        (date(2026, 11, 1), date(2026, 11, 1), [(date(2026, 11, 1), date(2026, 11, 1))]),
        (date(2026, 10, 31), date(2026, 11, 2), [OCTOBER, (date(2026, 11, 1), date(2026, 11, 2))]),
        (date(2027, 3, 1), date(2027, 3, 2), [(date(2027, 3, 1), date(2027, 3, 2))]),
        (
            date(2025, 12, 31),
            date(2026, 1, 1),
            [(date(2025, 12, 1), date(2025, 12, 31)), (date(2026, 1, 1), date(2026, 1, 31))],
        ),
    ],
)
def test_months_that_are_over_are_asked_about_as_a_whole(
    first: date, last: date, parts: list[tuple[date, date]]
) -> None:
    assert parts_to_ask(first, last, TODAY) == parts


def test_a_month_goes_on_while_late_rows_come_in() -> None:
    day, first_of_november = date(2026, 10, 5), date(2026, 11, 1)
    assert parts_to_ask(day, day, first_of_november + GOES_ON - timedelta(days=1)) == [(day, day)]
    assert parts_to_ask(day, day, first_of_november + GOES_ON) == [OCTOBER]


def test_no_days_are_asked_about_that_tables_cannot_hold() -> None:
    parts = parts_to_ask(date(1, 1, 1), date.max, TODAY)
    assert parts[0] == (date(1970, 1, 1), date(1970, 1, 31))
    assert parts[-1] == (date(2026, 11, 1), date(2149, 5, 31))
    assert parts_to_ask(date(2150, 1, 1), date(2150, 1, 2), TODAY) == []
