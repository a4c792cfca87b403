"""Periods and dates as Matomo writes them: `period=week&date=last4` becomes days.

Pure: today's date is a parameter. Weeks start on Monday.
"""

import re
from calendar import monthrange
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Literal

from reporting.errors import ApiError

PeriodKind = Literal["day", "week", "month", "year", "range"]
KINDS: tuple[PeriodKind, ...] = ("day", "week", "month", "year", "range")


@dataclass(frozen=True)
class Period:
    """Local days from `start` to `end`, both included."""

    kind: PeriodKind
    start: date
    end: date

    @property
    def key(self) -> str:
        """How a date map names it: 2010-01-04, 2010-01, 2010 or `2010-01-04,2010-01-10`."""
        match self.kind:
            case "day":
                return self.start.isoformat()
            case "month":
                return self.start.isoformat()[:7]
            case "year":
                return self.start.isoformat()[:4]
            case _:
                return f"{self.start.isoformat()},{self.end.isoformat()}"

    @property
    def days(self) -> int:
        return (self.end - self.start).days + 1

    def following(self, steps: int) -> "Period":
        """The period `steps` after this one (before, when negative); ranges move by their length."""
        match self.kind:
            case "month":
                months = self.start.year * 12 + self.start.month - 1 + steps
                return period_of("month", date(months // 12, months % 12 + 1, 1))
            case "year":
                return period_of("year", date(self.start.year + steps, 1, 1))
            case _:
                shift = timedelta(days=self.days * steps)
                return Period(self.kind, self.start + shift, self.end + shift)


def period_of(kind: PeriodKind, day: date) -> Period:
    """The day, week, month or year that contains `day`."""
    match kind:
        case "week":
            monday = day - timedelta(days=day.weekday())
            return Period("week", monday, monday + timedelta(days=6))
        case "month":
            return Period("month", day.replace(day=1), day.replace(day=monthrange(day.year, day.month)[1]))
        case "year":
            return Period("year", date(day.year, 1, 1), date(day.year, 12, 31))
        case _:
            return Period(kind, day, day)


def _shifted_month(day: date, months: int) -> date:
    index = day.year * 12 + day.month - 1 + months
    year, month = index // 12, index % 12 + 1
    return date(year, month, min(day.day, monthrange(year, month)[1]))


_WORDS: Mapping[str, Callable[[date], date]] = {
    "today": lambda today: today,
    "now": lambda today: today,
    "yesterday": lambda today: today - timedelta(days=1),
    "yesterdaysametime": lambda today: today - timedelta(days=1),
    "tomorrow": lambda today: today + timedelta(days=1),
    "lastweek": lambda today: today - timedelta(days=7),
    "lastmonth": lambda today: _shifted_month(today, -1),
    "lastyear": lambda today: _shifted_month(today, -12),
}
_AGO = re.compile(r"([+-]?)\s*(\d{1,5})\s*(day|week|month|year)s?(\s+ago)?")
_DASHED = re.compile(r"(\d{4})-(\d{1,2})-(\d{1,2})(?:[ T]\d{1,2}:\d{2}(?::\d{2})?)?")
_COMPACT = re.compile(r"(\d{4})(\d{2})(\d{2})")


def date_not_understood() -> ApiError:
    # "false" is what PHP's parser returned; clients compare the whole message.
    return ApiError(
        "Date format must be: YYYY-MM-DD, or 'today' or 'yesterday' or any keyword supported by the strtotime"
        " function (see http://php.net/strtotime for more information): false"
    )


def _parse_date(text: str, today: date) -> date:
    text = text.strip()
    word = _WORDS.get(text.lower().replace(" ", "").replace("-", ""))
    if word is not None:
        return word(today)
    match = _DASHED.fullmatch(text) or _COMPACT.fullmatch(text)
    if match:
        try:
            return date(int(match[1]), int(match[2]), int(match[3]))
        except ValueError:
            raise date_not_understood() from None
    ago = _AGO.fullmatch(text.lower())
    if ago:
        amount = int(ago[2]) * (-1 if ago[1] == "-" else 1) * (-1 if ago[4] else 1)
        try:
            match ago[3]:
                case "day":
                    return today + timedelta(days=amount)
                case "week":
                    return today + timedelta(weeks=amount)
                case "month":
                    return _shifted_month(today, amount)
                case _:
                    return _shifted_month(today, amount * 12)
        except (ValueError, OverflowError):
            raise date_not_understood() from None
    raise date_not_understood()


_FIRST_YEAR, _LAST_YEAR = 1900, 2148
"""The database knows dates until 2149, and periods around the one asked for must be dates too."""


def parse_date(text: str, today: date) -> date:
    """A date or a word for one; raises ApiError. A time of day is dropped, unix timestamps are not dates."""
    found = _parse_date(text, today)
    if not _FIRST_YEAR <= found.year <= _LAST_YEAR:
        raise date_not_understood()
    return found


_RELATIVE = re.compile(r"(last|previous)(\d*)")
_BOUNDS = re.compile(r"(\d{4}-\d{1,2}-\d{1,2}),(\d{4}-\d{1,2}-\d{1,2}|today|now|yesterday)")
_MAX_PERIODS = 4000
"""Eleven years of days in one answer; more is refused rather than computed."""


def names_several(kind: str, text: str) -> bool:
    """Whether `date` asks for a map of periods."""
    text = text.strip()
    return kind != "range" and bool(_RELATIVE.fullmatch(text) or _BOUNDS.fullmatch(text))


def _relative_days(word: str, count: str, kind: PeriodKind, today: date) -> tuple[date, date]:
    """First and last day of lastN (up to today) or previousN (up to the period before today's)."""
    number = max(1, int(count) if count else 1)
    if number > _MAX_PERIODS:
        raise ApiError(f"The date '{word}{count}' asks for too many periods (at most {_MAX_PERIODS}).")
    unit: PeriodKind = "day" if kind == "range" else kind
    newest = period_of(unit, today)
    if word == "previous":
        newest = newest.following(-1)
    try:
        oldest = newest.following(1 - number)
    except (OverflowError, ValueError):
        raise date_not_understood() from None
    last = newest.end if word == "previous" else today
    return oldest.start, last


def _range_not_correct(text: str) -> ApiError:
    return ApiError(
        f"The date '{text}' is not a correct date range. It should have the following format: "
        " 'lastN', 'previousN', 'YYYY-MM-DD,YYYY-MM-DD'."
    )


def _bounds(kind: PeriodKind, text: str, today: date) -> tuple[date, date]:
    relative = _RELATIVE.fullmatch(text)
    if relative:
        return _relative_days(relative[1], relative[2], kind, today)
    if kind == "range" and text in ("lastWeek", "lastMonth", "lastYear"):
        unit: PeriodKind = "week" if text == "lastWeek" else "month" if text == "lastMonth" else "year"
        whole = period_of(unit, today).following(-1)
        return whole.start, whole.end
    bounds = _BOUNDS.fullmatch(text)
    if not bounds:
        raise _range_not_correct(text)
    return parse_date(bounds[1], today), parse_date(bounds[2], today)


def parse_kind(text: str) -> PeriodKind:
    """Raises ApiError; names are case-sensitive."""
    for kind in KINDS:
        if text == kind:
            return kind
    raise ApiError(
        f"The period '{text}' is not supported. Try any of the following instead: {', '.join(KINDS)}"
    )


def parse_periods(kind_text: str, date_text: str, today: date) -> tuple[Period, ...]:
    """The periods of a request in ascending order; several only when `names_several`. Raises ApiError."""
    kind = parse_kind(kind_text)
    text = date_text.strip()
    if kind == "range":
        start, end = _bounds(kind, text, today)
        return (Period("range", min(start, end), end),)
    if not names_several(kind, text):
        return (period_of(kind, parse_date(text, today)),)
    start, end = _bounds(kind, text, today)
    if start > end:
        start = end
    periods = [period_of(kind, start)]
    last = period_of(kind, end)
    while periods[-1].start < last.start:
        if len(periods) >= _MAX_PERIODS:
            raise ApiError(f"The date '{text}' asks for too many periods (at most {_MAX_PERIODS}).")
        periods.append(periods[-1].following(1))
    return tuple(periods)
