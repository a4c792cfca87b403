"""Boundaries of periods and dates."""

from datetime import date

import pytest

from reporting.errors import ApiError
from reporting.periods import Period, names_several, parse_date, parse_periods
from reporting.wording import pretty_period, pretty_range

TODAY = date(2010, 3, 10)  # a Wednesday


@pytest.mark.parametrize(
    ("text", "day"),
    [
        ("2010-01-05", date(2010, 1, 5)),
        ("2010-1-5", date(2010, 1, 5)),
        ("20100105", date(2010, 1, 5)),
        ("2010-01-05 ", date(2010, 1, 5)),
        ("2010-01-05 23:59:59", date(2010, 1, 5)),
        ("today", TODAY),
        ("yesterday", date(2010, 3, 9)),
        ("last month", date(2010, 2, 10)),
        ("-3 days", date(2010, 3, 7)),
        ("2 weeks ago", date(2010, 2, 24)),
        ("last year", date(2009, 3, 10)),
    ],
)
def test_a_date_is_understood(text: str, day: date) -> None:
    assert parse_date(text, TODAY) == day


@pytest.mark.parametrize(
    "text",
    ["", "notadate", "2010-02-30", "2010-13-01", "1262304000", "2010-01-05,foo", "9999-12-31", "0001-01-01"],
)
def test_what_is_no_date_is_refused_with_the_formats(text: str) -> None:
    with pytest.raises(ApiError, match="Date format must be: YYYY-MM-DD"):
        parse_date(text, TODAY)


@pytest.mark.parametrize(
    ("kind", "text", "keys"),
    [
        ("day", "2010-01-04,2010-01-06", ["2010-01-04", "2010-01-05", "2010-01-06"]),
        ("day", "2010-01-05,2010-01-05", ["2010-01-05"]),
        ("day", "2010-01-06,2010-01-04", ["2010-01-04"]),
        ("day", "last2", ["2010-03-09", "2010-03-10"]),
        ("day", "previous2", ["2010-03-08", "2010-03-09"]),
        ("week", "2010-01-03,2010-01-12",
         ["2009-12-28,2010-01-03", "2010-01-04,2010-01-10", "2010-01-11,2010-01-17"]),
        ("month", "2009-12-31,2010-01-01", ["2009-12", "2010-01"]),
        ("month", "last3", ["2010-01", "2010-02", "2010-03"]),
        ("year", "2009-06-01,2010-02-01", ["2009", "2010"]),
        ("range", "2010-01-03,2010-01-04", ["2010-01-03,2010-01-04"]),
        ("range", "last7", ["2010-03-04,2010-03-10"]),
        ("range", "previous7", ["2010-03-03,2010-03-09"]),
        ("week", "2010-01-03", ["2009-12-28,2010-01-03"]),
    ],
)  # fmt: skip
def test_dates_become_periods_in_ascending_order(kind: str, text: str, keys: list[str]) -> None:
    assert [period.key for period in parse_periods(kind, text, TODAY)] == keys


def test_a_leap_day_ends_february() -> None:
    assert parse_periods("month", "2012-02-01", TODAY)[0].end == date(2012, 2, 29)


def test_only_ranges_of_dates_ask_for_a_map() -> None:
    assert names_several("day", "2010-01-04,2010-01-04")
    assert names_several("week", "last1")
    assert not names_several("range", "2010-01-04,2010-01-05")
    assert not names_several("day", "2010-01-04")


@pytest.mark.parametrize("text", ["2010-01-05", "2010-01-05,foo"])
def test_a_range_needs_two_dates(text: str) -> None:
    with pytest.raises(ApiError, match="is not a correct date range"):
        parse_periods("range", text, TODAY)


def test_period_names_are_case_sensitive() -> None:
    with pytest.raises(ApiError, match="The period 'Day' is not supported"):
        parse_periods("Day", "today", TODAY)


def test_too_many_periods_are_refused_instead_of_computed() -> None:
    with pytest.raises(ApiError, match="too many periods"):
        parse_periods("day", "1900-01-01,2100-01-01", TODAY)
    with pytest.raises(ApiError, match="too many periods"):
        parse_periods("day", "last99999", TODAY)


def test_periods_read_like_sentences() -> None:
    week = Period("week", date(2010, 1, 4), date(2010, 1, 10))
    assert pretty_period(week, "en") == "week January 4\u2009–\u200910, 2010"
    assert (
        pretty_period(Period("day", date(2010, 1, 5), date(2010, 1, 5)), "de") == "Dienstag, 5. Januar 2010"
    )
    assert pretty_range(date(2010, 1, 1), date(2010, 7, 31), "en") == "January 1\u2009–\u2009July 31, 2010"
    across = pretty_range(date(2009, 12, 28), date(2010, 1, 3), "en")
    assert across == "December 28, 2009\u2009–\u2009January 3, 2010"
