"""When archives are computed: once a day is quiet, fairly among sites, with a sweep that trusts no hint."""

import heapq
import logging
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta

from clickhouse_connect.driver.exceptions import ClickHouseError

from schemas.reports import AGGREGATES, Aggregate
from sink.archives import (
    ALL_VISITS,
    DEFAULT_LIMITS,
    SLACK,
    ArchivedDay,
    ArchivedSegment,
    ArchiveLimits,
    archive_day,
    forget,
    report_key,
    rows_of_day,
    stale_days,
    superseded,
)
from sink.database import Database
from sink.encoding import SiteDay

logger = logging.getLogger(__name__)

SWEEP_SECONDS = 300.0
FORGET_SECONDS = 600.0
MINIMUM_INTERVAL_SECONDS = 60.0
DURATIONS_BETWEEN = 20
HEAVY_SECONDS = 5.0
MINIMUM_ROWS = 2_000
"""Measured: an archive of a small day takes 0.9 s, a report from 2,000 rows some milliseconds."""
RETRY_SECONDS = 60.0

Work = tuple[int, date, str]
"""(site_id, day, key of the segment)"""


def next_start(changed_at: float, last_end: float | None, last_seconds: float) -> float:
    """When a day may be computed. An archive counts once its day was quiet for the slack, so not before; and
    at most every 60 s or 20 times its last duration."""
    quiet = changed_at + SLACK.total_seconds() + 1
    if last_end is None:
        return quiet
    return max(quiet, last_end + max(MINIMUM_INTERVAL_SECONDS, DURATIONS_BETWEEN * last_seconds))


@dataclass
class _Computed:
    end: float
    seconds: float
    generation: int


@dataclass(frozen=True)
class RollupStatus:
    """For `status` and /metrics."""

    waiting: int
    """Days (times segments) whose archive is older than their rows; answered from rows meanwhile."""
    running: int
    computed: int
    """Computations finished since start."""
    failed: int
    seconds: float
    """Spent computing since start."""
    last_error: str
    oldest_change: datetime | None
    """Of the waiting days: when the first of them changed."""


@dataclass
class _Totals:
    computed: int = 0
    failed: int = 0
    seconds: float = 0.0
    last_error: str = ""
    replaced: list[tuple[float, tuple[int, date, int]]] = field(default_factory=list)


class Rollups:
    """Keeps archives newer than their rows. Call `changed` with hints, and `run` in one or more threads, or
    `step` from a timer of one's own (a Faust worker).

    `segments` gives what is archived of a site besides all visits; `aggregates` gives a site's reports. A day
    of fewer than `minimum_rows` is left to be answered from rows, so that many tiny sites cost little.
    `leftovers_after` is the age from which unfinished computations are cleared away; 0: nobody else computes.
    """

    def __init__(
        self,
        database: Database,
        *,
        segments: Callable[[int], Iterable[ArchivedSegment]] = lambda _site: (),
        aggregates: Callable[[int], Sequence[Aggregate]] = lambda _site: tuple(AGGREGATES.values()),
        limits: ArchiveLimits = DEFAULT_LIMITS,
        minimum_rows: int = MINIMUM_ROWS,
        leftovers_after: timedelta = timedelta(0),
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._database, self._segments, self._aggregates = database, segments, aggregates
        self._limits, self._clock, self._minimum_rows = limits, clock, minimum_rows
        self._leftovers_after = leftovers_after
        self._lock = threading.Lock()
        self._wake = threading.Condition(self._lock)
        self._changed: dict[SiteDay, float] = {}
        self._running: dict[int, float] = {}
        """Sites being computed, with the seconds that their day took last time."""
        self._computed: dict[Work, _Computed] = {}
        self._totals = _Totals()
        self._swept_until: datetime | None = None
        self._sweep_at = 0.0
        self._forget_at = 0.0
        self._stopping = False

    def changed(self, site_days: Iterable[SiteDay]) -> None:
        """Rows of these days were stored just now. A hint: what is not told is found by the sweep."""
        now = self._clock()
        with self._lock:
            for site_day in site_days:
                self._changed[site_day] = now
            self._wake.notify_all()

    def status(self) -> RollupStatus:
        with self._lock:
            totals = self._totals
            oldest = min(self._changed.values(), default=None)
            return RollupStatus(
                waiting=len(self._changed),
                running=len(self._running),
                computed=totals.computed,
                failed=totals.failed,
                seconds=totals.seconds,
                last_error=totals.last_error,
                oldest_change=None if oldest is None else datetime.fromtimestamp(oldest, UTC),
            )

    def run(self) -> None:
        """Compute what is due until `stop`; blocking. May run in several threads: a site is never computed by
        two at once, and sites that take long never occupy all of them."""
        while not self._stopping:
            if not self.step():
                with self._wake:
                    if not self._stopping:
                        self._wake.wait(1.0)

    def stop(self) -> None:
        with self._wake:
            self._stopping = True
            self._wake.notify_all()

    def step(self, *, others: int = 1) -> bool:
        """Sweep when it is time, then compute the day that is due longest; says whether there was one.

        `others` is how many sites may be computed at the same time before long ones have to wait."""
        self._sweep_when_due()
        taken = self._take(others)
        if taken is None:
            return False
        site_day, changed_at = taken
        day = date(1970, 1, 1) + timedelta(days=site_day.day)
        failed = ""
        try:
            if rows_of_day(self._database, site_day.site_id, day) >= self._minimum_rows:
                for segment in (ALL_VISITS, *self._segments(site_day.site_id)):
                    self._compute(site_day.site_id, day, segment)
        except (ClickHouseError, OSError) as error:
            failed = str(error)
            logger.warning("archive of site %s, %s failed: %s", site_day.site_id, day, error)
        with self._lock:
            del self._running[site_day.site_id]
            if failed:
                self._totals.failed += 1
                self._totals.last_error = failed
                # As if it had changed later: the next attempt waits
                later = self._clock() + RETRY_SECONDS - SLACK.total_seconds()
                self._changed[site_day] = max(self._changed.get(site_day, 0.0), later)
            elif self._changed.get(site_day) == changed_at:
                del self._changed[site_day]
        return True

    def compute_all(self) -> int:
        """Sweep and compute every stale day now, quiet or not; returns how many. For tests and commands: days
        that changed within the slack stay stale."""
        done = 0
        for stale in stale_days(self._database):
            for segment in (ALL_VISITS, *self._segments(stale.site_id)):
                self._compute(stale.site_id, stale.date, segment)
            done += 1
        return done

    def _compute(self, site_id: int, day: date, segment: ArchivedSegment) -> ArchivedDay:
        archived = archive_day(
            self._database,
            site_id,
            day,
            segment=segment,
            aggregates=self._aggregates(site_id),
            limits=self._limits,
        )
        now = self._clock()
        work = (site_id, day, segment.key)
        with self._lock:
            before = self._computed.get(work)
            if before is not None:
                self._totals.replaced.append((now, (site_id, day, before.generation)))
            self._computed[work] = _Computed(now, archived.seconds, archived.generation)
            self._totals.computed += 1
            self._totals.seconds += archived.seconds
        return archived

    def _take(self, others: int) -> tuple[SiteDay, float] | None:
        now = self._clock()
        with self._lock:
            due = []
            for site_day, changed_at in self._changed.items():
                if site_day.site_id in self._running:
                    continue
                day = date(1970, 1, 1) + timedelta(days=site_day.day)
                last = self._computed.get((site_day.site_id, day, ""))
                seconds = last.seconds if last else 0.0
                start = next_start(changed_at, last.end if last else None, seconds)
                if start > now:
                    continue
                if seconds > HEAVY_SECONDS and len(self._running) >= others:
                    continue
                due.append((start, site_day, changed_at, seconds))
            if not due:
                return None
            _, site_day, changed_at, seconds = heapq.nsmallest(1, due)[0]
            self._running[site_day.site_id] = seconds
            return site_day, changed_at

    def _sweep_when_due(self) -> None:
        now = self._clock()
        with self._lock:
            if now < self._sweep_at:
                return
            self._sweep_at = now + SWEEP_SECONDS
            since, until = self._swept_until, datetime.fromtimestamp(now, UTC) - 2 * SLACK
            full = since is None
        try:
            if full:
                # Left by a process that was killed; nobody reads them.
                forget(self._database, superseded(self._database, older_than=self._leftovers_after))
            found = stale_days(self._database, since=since)
            self._forget_replaced(now)
        except (ClickHouseError, OSError) as error:
            with self._lock:
                self._totals.last_error = str(error)
                self._sweep_at = now + RETRY_SECONDS
            logger.warning("the sweep for stale archives failed: %s", error)
            return
        with self._lock:
            self._swept_until = until
            for stale in found:
                site_day = SiteDay(stale.site_id, (stale.date - date(1970, 1, 1)).days)
                self._changed.setdefault(site_day, stale.changed_at.timestamp())

    def _forget_replaced(self, now: float) -> None:
        # A reader may have looked up a generation just before it was replaced, and read it a moment later.
        with self._lock:
            old = [what for since, what in self._totals.replaced if now - since >= FORGET_SECONDS]
            self._totals.replaced = [one for one in self._totals.replaced if now - one[0] < FORGET_SECONDS]
        forget(self._database, old)

    def keys_of(self, site_id: int) -> list[str]:
        """The reports that an archive of the site holds (sink.archives.report_key)."""
        return [report_key(one) for one in self._aggregates(site_id)]
