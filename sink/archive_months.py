# ruff: noqa: S608 - the texts are declarations of ours; values are bound
"""Months of archives: what the days of a month have in common is added up once, not for every question.

The rows of a merged month stand for those of its days, in the same table and form, dated by the day on which
their labels first appeared; so they are read and merged with other days as days are. A merged month says of
which generations of days it was made: it counts while just these are current, and can't be out of date."""

import hashlib
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from schemas.report_queries import period_sql
from schemas.reports import AGGREGATES, Aggregate
from sink.archives import (
    ALL_VISITS,
    ARCHIVED_SQL,
    DEFAULT_LIMITS,
    MONTHS,
    UNIQUES,
    ArchivedDay,
    ArchivedSegment,
    ArchiveLimits,
    current_days,
    make_current,
    report_key,
)
from sink.database import Database

SECONDS_OF_QUIET = 60.0
RETRY_SECONDS = 300.0
DURATIONS_BETWEEN = 20
"""A month is merged again after so many times what it took at the earliest."""

_DAYS = "days before "
"""Begins the name among the reports of a merged month that says which days it holds."""


def month_segment(segment: str) -> str:
    """Under which the merged months of a segment (its key) are stored."""
    return MONTHS + segment


def last_of_month(month: date) -> date:
    return (month + timedelta(days=31)).replace(day=1) - timedelta(days=1)


def days_of(month: date) -> list[date]:
    return [month.replace(day=at) for at in range(1, last_of_month(month).day + 1)]


def _made_of(days: Mapping[date, int], before: date) -> str:
    """Names the days (with their generation) of one month that a merge holds: all that were current then."""
    text = ",".join(f"{day}:{days[day]}" for day in sorted(days))
    return f"{_DAYS}{before}: {hashlib.sha256(text.encode()).hexdigest()[:24]}"


@dataclass(frozen=True)
class MergedMonth:
    """One finished merge of archived days."""

    month: date
    generation: int
    reports: frozenset[str]
    made_of: str
    before: date
    """The days of the month before this one are in it."""

    def lies_within(self, first: date, last: date) -> bool:
        """Whether no day of it is outside of [first, last]."""
        return first <= self.month and self.before - timedelta(days=1) <= last

    def days_in(self, current: Mapping[date, int]) -> list[date]:
        """The days of `current` (with their generation) that it stands for; none when others were merged."""
        found = {day: made for day, made in current.items() if self.month <= day < self.before}
        return sorted(found) if found and _made_of(found, self.before) == self.made_of else []


def merged_months(database: Database, site_id: int, segment: str) -> dict[date, MergedMonth]:
    """All of a site and segment (its key), by their first day."""
    found = database.rows(
        "SELECT date, generation, reports FROM archive_days FINAL"
        " WHERE site_id = {site:UInt32} AND segment = {segment:String}",
        {"site": site_id, "segment": month_segment(segment)},
    )
    months = {}
    for month, generation, reports in found:
        made_of = next(one for one in reports if one.startswith(_DAYS))
        before = date.fromisoformat(made_of.removeprefix(_DAYS).partition(":")[0])
        months[month] = MergedMonth(month, int(generation), frozenset(reports), made_of, before)
    return months


def merge_month(
    database: Database,
    site_id: int,
    month: date,
    *,
    before: date,
    segment: ArchivedSegment = ALL_VISITS,
    aggregates: Sequence[Aggregate] | None = None,
    limits: ArchiveLimits = DEFAULT_LIMITS,
) -> ArchivedDay | None:
    """Merge the archives of a month's days before `before` that are current and hold all of `aggregates`.
    None when fewer than two are, or when just these are merged already.

    Repeated it gives the same numbers under a new generation, killed half-way it changes nothing. Raises
    ArchiveTooLongError."""
    chosen = tuple(AGGREGATES.values()) if aggregates is None else aggregates
    reports = [*(report_key(one) for one in chosen), UNIQUES]
    before = min(before, last_of_month(month) + timedelta(days=1))
    days = current_days(
        database, site_id, month, before - timedelta(days=1), segment=segment.key, reports=reports
    )
    if len(days) < 2:
        return None
    made_of = _made_of(days, before)
    held = merged_months(database, site_id, segment.key).get(month)
    if held is not None and held.made_of == made_of and held.reports.issuperset(reports):
        return None
    began, generation = time.monotonic(), time.time_ns()
    stored = month_segment(segment.key)
    bound = {
        "site": site_id,
        "segment": segment.key,
        "stored": stored,
        "generation": generation,
        "days": list(days),
        "generations": list(days.values()),
        "segments": [segment.key],
    }
    for together in _by_merges(chosen):
        merged = period_sql(together, "month", ARCHIVED_SQL)
        database.execute(
            "INSERT INTO archives (site_id, segment, report, date, generation, labels, metrics)"
            " SELECT {site:UInt32}, {stored:String}, report, toDate(toUInt16(first_day)),"
            f" {{generation:UInt64}}, names, merged FROM ({merged})",
            {**bound, "reports": [report_key(one) for one in together]},
            limits.settings(),
        )
    database.execute(
        "INSERT INTO uniques (site_id, segment, date, generation, visitors, users)"
        " SELECT {site:UInt32}, {stored:String}, min(date), {generation:UInt64},"
        " uniqExactMergeState(visitors), uniqExactMergeState(users) FROM uniques"
        " WHERE site_id = {site:UInt32} AND segment = {segment:String} AND (date, generation) IN"
        " arrayZip({days:Array(Date)}, {generations:Array(UInt64)})",
        bound,
        limits.settings(),
    )
    seconds = time.monotonic() - began
    merged_at = datetime.now(UTC)
    make_current(
        database,
        ArchivedDay(site_id, month, stored, generation, merged_at, seconds),
        [*reports, made_of],
    )
    return ArchivedDay(site_id, month, stored, generation, merged_at, seconds)


def _by_merges(aggregates: Iterable[Aggregate]) -> list[list[Aggregate]]:
    """Those whose metrics merge alike: a statement computes every merge of each of its rows."""
    found: dict[frozenset[str], list[Aggregate]] = {}
    for one in aggregates:
        found.setdefault(frozenset(metric.merge for metric in one.metrics), []).append(one)
    return list(found.values())


def months_to_merge(database: Database, before: date) -> set[tuple[int, date]]:
    """Sites and months of which some segment has archives of several days before `before` that are not merged
    as they are. Whether rows are newer than archives is not looked at."""
    found = database.rows(
        f"""
        SELECT site_id, replaceOne(segment, '{MONTHS}', '') AS key, toStartOfMonth(date) AS month,
            groupArrayIf((date, generation), NOT startsWith(segment, '{MONTHS}')),
            groupArrayArrayIf(reports, startsWith(segment, '{MONTHS}'))
        FROM archive_days FINAL WHERE date < {{before:Date}} GROUP BY site_id, key, month HAVING count() > 1
        """,
        {"before": before},
    )
    wanted = set()
    for site_id, _, month, days, reports in found:
        made_of = next((one for one in reports if one.startswith(_DAYS)), "")
        end = min(before, last_of_month(month) + timedelta(days=1))
        if len(days) > 1 and made_of != _made_of(dict(days), end):
            wanted.add((int(site_id), month))
    return wanted


class MonthTurns:
    """Which months are to be merged, and when: a minute after one of their days was archived, one that goes
    on once a day. Yesterday still changes. From any thread."""

    def __init__(
        self,
        database: Database,
        *,
        segments: Callable[[int], Iterable[ArchivedSegment]],
        aggregates: Callable[[int], Sequence[Aggregate]],
        limits: ArchiveLimits,
        clock: Callable[[], float],
    ) -> None:
        self._database, self._segments, self._aggregates = database, segments, aggregates
        self._limits, self._clock = limits, clock
        self._lock = threading.Lock()
        self._due: dict[tuple[int, date], float] = {}
        self._not_before: dict[tuple[int, date], float] = {}

    @property
    def before(self) -> date:
        """Days before this one are merged."""
        return datetime.fromtimestamp(self._clock(), UTC).date() - timedelta(days=1)

    def archived(self, site_id: int, day: date) -> None:
        """A day was computed."""
        if day < self.before:
            self._wait_until(self._clock() + SECONDS_OF_QUIET, site_id, day.replace(day=1))
        else:
            self._wait_until(self._next_day(), site_id, day.replace(day=1))

    def look(self) -> None:
        """Find what is to be merged, whatever this process was told. Raises the database's errors."""
        for site_id, month in months_to_merge(self._database, self.before):
            self._wait_until(self._clock() + SECONDS_OF_QUIET, site_id, month)

    def take(self, may: Callable[[int, date], bool]) -> tuple[int, date] | None:
        """The site and month that is due longest of those that `may` be merged now."""
        now = self._clock()
        with self._lock:
            due = [(at, *one) for one, at in self._due.items() if at <= now and may(*one)]
            if not due:
                return None
            _, site_id, month = min(due)
            del self._due[site_id, month]
        return site_id, month

    def merge(self, site_id: int, month: date) -> list[tuple[int, date, int]]:
        """All segments; returns what nobody reads any more (sink.archives.forget). Raises the database's and
        the log's errors, ArchiveTooLongError."""
        before, seconds = self.before, 0.0
        replaced = []
        try:
            for segment in (ALL_VISITS, *self._segments(site_id)):
                held = merged_months(self._database, site_id, segment.key).get(month)
                merged = merge_month(
                    self._database,
                    site_id,
                    month,
                    before=before,
                    segment=segment,
                    aggregates=self._aggregates(site_id),
                    limits=self._limits,
                )
                if merged is not None:
                    seconds += merged.seconds
                    replaced += [(site_id, day, held.generation) for day in days_of(month)] if held else []
        except BaseException:
            self._wait_until(self._clock() + RETRY_SECONDS, site_id, month)
            raise
        with self._lock:
            self._not_before[site_id, month] = self._clock() + DURATIONS_BETWEEN * seconds
        if before <= last_of_month(month):
            self._wait_until(self._next_day(), site_id, month)
        return replaced

    def _next_day(self) -> float:
        return (self._clock() // 86400 + 1) * 86400

    def _wait_until(self, moment: float, site_id: int, month: date) -> None:
        """At the earliest; what waits for an earlier one stays."""
        one = (site_id, month)
        with self._lock:
            moment = max(moment, self._not_before.get(one, 0.0))
            self._due[one] = min(moment, self._due.get(one, moment))
