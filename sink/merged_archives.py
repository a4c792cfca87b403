# ruff: noqa: S608 - the texts are declarations of ours; values are bound
"""Months and years of archives: what their days have in common is added up once, not for every question.

The rows of a merged month stand for those of its days, in the same table and form, dated by the day on which
their labels first appeared; so they are read and merged with other days as days are. A merged month says of
which generations of days it was made: it counts while just these are current, and can't be out of date. So it
is with years, which hold whole months."""

import hashlib
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Literal

from schemas.report_queries import WHOLE, period_sql
from schemas.reports import AGGREGATES, Aggregate
from sink.archives import (
    ALL_VISITS,
    ARCHIVED_SQL,
    DEFAULT_LIMITS,
    MERGED,
    TYPED_UNIQUES,
    UNIQUE_STATES,
    UNIQUES,
    ArchivedDay,
    ArchivedSegment,
    ArchiveLimits,
    current_archives,
    days_with,
    make_current,
)
from sink.database import Database
from sink.first_rows import first_rows
from sink.report_keys import has_first_rows, keys_of_archive, report_key

SECONDS_OF_QUIET = 60.0
RETRY_SECONDS = 300.0
DURATIONS_BETWEEN = 20
"""What is merged is merged again after so many times what it took at the earliest."""

_DAYS = "days before "
"""Begins the name among the reports of a merged span that says which days it holds."""

Kind = Literal["month", "year"]
KINDS: tuple[Kind, ...] = ("month", "year")
_NAMES: Mapping[Kind, str] = dict(zip(KINDS, MERGED, strict=True))


def start_of(kind: Kind, day: date) -> date:
    """The first day of the month or year."""
    return day.replace(day=1) if kind == "month" else day.replace(month=1, day=1)


def following(kind: Kind, start: date) -> date:
    """The start of the next one."""
    return start_of(kind, start + timedelta(days=31 if kind == "month" else 366))


def days_of(kind: Kind, start: date) -> list[date]:
    return [start + timedelta(days=at) for at in range((following(kind, start) - start).days)]


def _made_of(days: Mapping[date, int], before: date) -> str:
    """Names the days (with their generation) of one span that a merge holds: all that were current then."""
    text = ",".join(f"{day}:{days[day]}" for day in sorted(days))
    return f"{_DAYS}{before}: {hashlib.sha256(text.encode()).hexdigest()[:24]}"


@dataclass(frozen=True)
class Merged:
    """One finished merge of archived days."""

    segment: str
    """Under which its rows are stored."""
    start: date
    generation: int
    reports: frozenset[str]
    made_of: str
    before: date
    """The days of the month or year before this one are in it."""

    def stands_for(self, current: Mapping[date, int], first: date, last: date) -> list[date]:
        """Those of `current` days (with their generation) that are in it; none when others were merged, or
        days outside of [first, last]."""
        if self.start < first or self.before - timedelta(days=1) > last:
            return []
        found = {day: made for day, made in current.items() if self.start <= day < self.before}
        return sorted(found) if found and _made_of(found, self.before) == self.made_of else []


def merged_spans(database: Database, site_id: int, segment: str) -> list[Merged]:
    """All of a site and segment (its key): months, then years."""
    found = database.rows(
        "SELECT segment, date, generation, reports FROM archive_days FINAL"
        " WHERE site_id = {site:UInt32} AND segment IN {segments:Array(String)} ORDER BY segment, date",
        {"site": site_id, "segments": [name + segment for name in MERGED]},
    )
    spans = []
    for stored, start, generation, reports in found:
        made_of = next(one for one in reports if one.startswith(_DAYS))
        before = date.fromisoformat(made_of.removeprefix(_DAYS).partition(":")[0])
        spans.append(Merged(str(stored), start, int(generation), frozenset(reports), made_of, before))
    return spans


Stored = tuple[str, int]
"""The name that stands for the segment of a day's archive where it is read, and the generation."""


def with_merged(
    days: Mapping[date, int],
    spans: Iterable[Merged],
    *,
    segment: str,
    reports: Iterable[str],
    first: date,
    last: date,
) -> dict[date, Stored]:
    """Where current `days` that hold all of `reports` are read: the largest span of [first, last] stands for
    as many as possible."""
    stored = {day: (segment, generation) for day, generation in days.items()}
    for span in spans if len(days) > 1 else ():
        if span.reports.issuperset(reports):
            stored |= dict.fromkeys(span.stands_for(days, first, last), (span.segment, span.generation))
    return stored


def merge_span(
    database: Database,
    site_id: int,
    kind: Kind,
    start: date,
    *,
    before: date,
    segment: ArchivedSegment = ALL_VISITS,
    aggregates: Sequence[Aggregate] | None = None,
    limits: ArchiveLimits = DEFAULT_LIMITS,
) -> ArchivedDay | None:
    """Merge archives that are current and hold all of `aggregates`: of a month the days before `before`, of a
    year the months that end before it. None when there are too few, or when just these are merged.

    Repeated it gives the same numbers under a new generation, killed half-way it changes nothing. Raises
    ArchiveTooLongError."""
    chosen = tuple(AGGREGATES.values()) if aggregates is None else aggregates
    reports = [*(report_key(one) for one in chosen), UNIQUES]
    before = _end(kind, start, before)
    last = before - timedelta(days=1)
    archived = current_archives(database, site_id, start, last, segment=segment.key)
    current = days_with(archived, reports)
    if all(TYPED_UNIQUES in archived[day][1] for day in current):
        reports.append(TYPED_UNIQUES)
    if not _worth_it(kind, current):
        return None
    made_of, name = _made_of(current, before), _NAMES[kind] + segment.key
    spans = merged_spans(database, site_id, segment.key)
    held = [one for one in spans if (one.segment, one.start, one.made_of) == (name, start, made_of)]
    stored = [*dict.fromkeys((*reports, *keys_of_archive(chosen)))]
    if any(one.reports.issuperset(stored) for one in held):
        return None
    months = [one for one in spans if kind == "year" and one.segment == _NAMES["month"] + segment.key]
    days = with_merged(current, months, segment=segment.key, reports=reports, first=start, last=last)
    began, generation = time.monotonic(), time.time_ns()
    bound = {
        "site": site_id,
        "stored": name,
        "generation": generation,
        "days": list(days),
        "generations": [one for _, one in days.values()],
        "segments": sorted({one for one, _ in days.values()}),
    }
    for together in _by_merges(chosen):
        merged = period_sql([(together, WHOLE)], kind, ARCHIVED_SQL)
        database.execute(
            "INSERT INTO archives (site_id, segment, report, date, generation, labels, metrics)"
            " SELECT {site:UInt32}, {stored:String}, report, toDate(toUInt16(first_day)),"
            f" {{generation:UInt64}}, names, merged FROM ({merged})",
            {**bound, "reports": [report_key(one) for one in together]},
            limits.settings(),
        )
    if has_first_rows(chosen):
        for statement, parameters in first_rows(site_id, name, generation, first=start, last=last):
            database.execute(statement, parameters, limits.settings())
    database.execute(
        f"INSERT INTO uniques (site_id, segment, date, generation, {', '.join(UNIQUE_STATES)})"
        " SELECT {site:UInt32}, {stored:String}, min(date), {generation:UInt64},"
        f" {', '.join(f'uniqExactMergeState({one})' for one in UNIQUE_STATES)} FROM uniques"
        " WHERE site_id = {site:UInt32} AND segment IN {segments:Array(String)} AND (date, generation) IN"
        " arrayZip({days:Array(Date)}, {generations:Array(UInt64)})",
        bound,
        limits.settings(),
    )
    seconds = time.monotonic() - began
    done = ArchivedDay(site_id, start, name, generation, datetime.now(UTC), seconds)
    make_current(database, done, [*stored, made_of])
    return done


def _end(kind: Kind, start: date, before: date) -> date:
    """The day before which days are merged: years hold whole months."""
    return min(following(kind, start), before if kind == "month" else before.replace(day=1))


def _worth_it(kind: Kind, days: Iterable[date]) -> bool:
    """Whether there are several to be merged."""
    return len({day if kind == "month" else day.month for day in days}) > 1


def _by_merges(aggregates: Iterable[Aggregate]) -> list[list[Aggregate]]:
    """Those whose metrics merge alike: a statement computes every merge of each of its rows."""
    found: dict[frozenset[str], list[Aggregate]] = {}
    for one in aggregates:
        found.setdefault(frozenset(metric.merge for metric in one.metrics), []).append(one)
    return list(found.values())


Span = tuple[int, Kind, date]
"""Site, kind and first day."""


def spans_to_merge(database: Database, before: date) -> set[Span]:
    """Those of which some segment has archives of days before `before` that are not merged as they are.
    Whether rows are newer than archives is not looked at."""
    wanted = set()
    for kind, (name, start_of_date) in zip(KINDS, MERGED.items(), strict=True):
        others = " AND ".join(f"NOT startsWith(segment, '{one}')" for one in MERGED)
        found = database.rows(
            f"""
            SELECT site_id, replaceOne(segment, '{name}', '') AS key, {start_of_date}(date) AS start,
                groupArrayIf((date, generation), {others}),
                groupArrayArrayIf(reports, startsWith(segment, '{name}'))
            FROM archive_days FINAL WHERE date < {{before:Date}} GROUP BY site_id, key, start
            HAVING count() > 1
            """,
            {"before": before},
        )
        for site_id, _, start, archived, reports in found:
            end = _end(kind, start, before)
            days = {day: generation for day, generation in archived if day < end}
            made_of = next((one for one in reports if one.startswith(_DAYS)), "")
            if _worth_it(kind, days) and made_of != _made_of(days, end):
                wanted.add((int(site_id), kind, start))
    return wanted


class MergeTurns:
    """Which months and years are to be merged, and when: soon after one of their days was archived, while
    they go on once a day and once a month. Yesterday still changes. From any thread."""

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
        self._due: dict[Span, float] = {}
        self._not_before: dict[Span, float] = {}

    @property
    def before(self) -> date:
        """Days before this one are merged."""
        return datetime.fromtimestamp(self._clock(), UTC).date() - timedelta(days=1)

    def archived(self, site_id: int, day: date) -> None:
        """A day was computed."""
        for kind in KINDS:
            start = start_of(kind, day)
            soon = day < _end(kind, start, self.before)
            self._wait_until(self._soon(kind) if soon else self._next(kind), (site_id, kind, start))

    def look(self) -> None:
        """Find what is to be merged, whatever this process was told. Raises the database's errors."""
        for span in spans_to_merge(self._database, self.before):
            self._wait_until(self._soon(span[1]), span)

    def take(self, may: Callable[[int, date, date], bool]) -> Span | None:
        """What is due longest of those that may be merged now, as `may` says of a site, the first day and the
        day before which days are merged."""
        now, before = self._clock(), self.before
        with self._lock:
            due = [
                (at, span)
                for span, at in self._due.items()
                if at <= now and may(span[0], span[2], _end(span[1], span[2], before))
            ]
            if not due:
                return None
            _, span = min(due)
            del self._due[span]
        return span

    def merge(self, span: Span) -> list[tuple[int, date, int]]:
        """All segments; returns what nobody reads any more (sink.archives.forget). Raises the database's and
        the log's errors, ArchiveTooLongError."""
        site_id, kind, start = span
        before, seconds = self.before, 0.0
        replaced = []
        try:
            for segment in (ALL_VISITS, *self._segments(site_id)):
                spans = merged_spans(self._database, site_id, segment.key)
                name = _NAMES[kind] + segment.key
                held = [one for one in spans if (one.segment, one.start) == (name, start)]
                merged = merge_span(
                    self._database,
                    site_id,
                    kind,
                    start,
                    before=before,
                    segment=segment,
                    aggregates=self._aggregates(site_id),
                    limits=self._limits,
                )
                if merged is not None:
                    seconds += merged.seconds
                    replaced += [
                        (site_id, day, one.generation) for one in held for day in days_of(kind, start)
                    ]
        except BaseException:
            self._wait_until(self._clock() + RETRY_SECONDS, span)
            raise
        with self._lock:
            self._not_before[span] = self._clock() + DURATIONS_BETWEEN * seconds
        if _end(kind, start, before) < following(kind, start):
            self._wait_until(self._next(kind), span)
        return replaced

    def _soon(self, kind: Kind) -> float:
        """Years after the months that they are made of."""
        return self._clock() + SECONDS_OF_QUIET * (1 if kind == "month" else 2)

    def _next(self, kind: Kind) -> float:
        """When one more day or month can be merged: `before` passes it."""
        before = self.before
        then = before + timedelta(days=1) if kind == "month" else following("month", before.replace(day=1))
        midnight = datetime(then.year, then.month, then.day, tzinfo=UTC) + timedelta(days=1)
        return midnight.timestamp() + SECONDS_OF_QUIET * KINDS.index(kind)

    def _wait_until(self, moment: float, span: Span) -> None:
        """At the earliest; what waits for an earlier one stays."""
        with self._lock:
            moment = max(moment, self._not_before.get(span, 0.0))
            self._due[span] = min(moment, self._due.get(span, moment))
