"""When archives are computed: once a day is quiet, fairly among sites, with a sweep that trusts no hint.

Each worker has sites of its own and two lanes. The number of a day's rows, which no load of the machine
changes, tells its lane: no site waits for one whose archives take a minute. In either lane sites take turns,
one computation each. What rows don't tell (few of them, much work) the quick lane gives up to the long."""

import logging
import math
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from functools import partial
from typing import Literal

from clickhouse_connect.driver.exceptions import ClickHouseError

from schemas.reports import AGGREGATES, Aggregate
from schemas.settings import SettingsError
from sink.archives import (
    ALL_VISITS,
    DEFAULT_LIMITS,
    SLACK,
    ArchivedDay,
    ArchivedSegment,
    ArchiveLimits,
    ArchiveTooLongError,
    FrozenDayError,
    StaleDay,
    archive_day,
    current_days,
    days_without_segments,
    forget,
    rows_of_days,
    sites_with_archives,
    stale_days,
    superseded,
)
from sink.database import Database
from sink.encoding import SiteDay
from sink.merged_archives import MergeTurns
from sink.report_keys import keys_of_archive
from sink.settings import RollupSettings
from stream.protocol import LogError, LogResetError

logger = logging.getLogger(__name__)

SWEEP_SECONDS = 300.0
FORGET_SECONDS = 600.0
MINIMUM_INTERVAL_SECONDS = 60.0
DURATIONS_BETWEEN = 20
QUICK_SECONDS = 4.0
"""What one computation of the quick lane takes at most by its rows, on a quiet machine."""
GIVE_UP_SECONDS = 15.0
"""After so long a computation is no work for the quick lane, though its rows are few."""
ROWS_PER_SECOND = 100_000
SMALLEST_SECONDS = 0.4
"""Measured on two cores: what each computation takes, and what its rows add."""
WEIGHED_TOGETHER = 1_000
MINIMUM_ROWS = 2_000
"""Measured: an archive of a small day takes 0.3 s of CPU, a report from 2,000 rows some milliseconds."""
RETRY_SECONDS = 60.0
_EPOCH = date(1970, 1, 1)
_LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)
"""When days changed that only lack the archive of a segment."""

Work = tuple[int, date, str]
"""(site_id, day, key of the segment)"""
Lane = Literal["quick", "long"]
LANES: tuple[Lane, ...] = ("quick", "long")


@dataclass(frozen=True)
class RollupWorker:
    """Computes the archives of some sites; `sites` is None for all that no other worker has."""

    name: str = "rest"
    sites: frozenset[int] | None = None


def parse_workers(entries: Iterable[str]) -> tuple[RollupWorker, ...]:
    """`shops=1 2` and the like, and one for all other sites. Raises ValueError."""
    workers: list[RollupWorker] = []
    given: set[int] = set()
    for entry in entries:
        name, equals, numbers = (part.strip() for part in entry.partition("="))
        sites = frozenset(int(part) for part in numbers.split() if part.isdecimal())
        if not equals or not name or not sites or len(sites) != len(numbers.split()):
            raise ValueError(f"{entry!r} is no worker with sites, as shops=1 2 is")
        if sites & given or name in {"rest", *(worker.name for worker in workers)}:
            raise ValueError(f"{entry!r} names a worker or a site for the second time")
        given |= sites
        workers.append(RollupWorker(name, sites))
    return (*workers, RollupWorker())


def next_start(changed_at: float, last_end: float | None, last_seconds: float) -> float:
    """When a day may be computed. An archive counts once its day was quiet for the slack, so not before; and
    at most every 60 s or 20 times its last duration."""
    quiet = changed_at + SLACK.total_seconds() + 1
    if last_end is None:
        return quiet
    return max(quiet, last_end + max(MINIMUM_INTERVAL_SECONDS, DURATIONS_BETWEEN * last_seconds))


@dataclass
class _Turns:
    """A day that is being computed, one segment at each of its turns."""

    changed_at: float
    """When it had changed when the first segment was computed."""
    due: float
    """Its place among the days that wait."""
    done: set[str] = field(default_factory=set)
    """Keys of the segments computed so far."""


@dataclass
class _Computed:
    end: float
    seconds: float
    generation: int


def _date(site_day: SiteDay) -> date:
    return _EPOCH + timedelta(days=site_day.day)


@dataclass(frozen=True)
class RollupStatus:
    """For `status` and /metrics."""

    waiting: int
    """Days (times segments) whose archive is older than their rows; answered from rows meanwhile."""
    running: int
    computed: int
    """Computations finished since the process started."""
    failed: int
    seconds: float
    """Spent computing since then."""
    last_error: str
    oldest_change: datetime | None
    """Of the waiting days: when the first of them changed."""


@dataclass
class RollupCounts:
    """Since the process started: the rollups of one epoch of the log count on where those before ended."""

    computed: int = 0
    failed: int = 0
    seconds: float = 0.0


class Rollups:
    """Keeps archives newer than their rows. Call `changed` with hints, and `run` in one or more threads, or
    `step` from a timer of one's own (a Faust worker).

    `segments` gives what is archived of a site besides all visits; `aggregates` gives a site's reports. A day
    of fewer than `minimum_rows` is left to be answered from rows, so that many tiny sites cost little: their
    days are weighed together. What takes longer than `quick_seconds` by its rows is for the long lane, and
    what took longer than `give_up_seconds` in the quick one. `workers` share the sites; `only` names the one
    that runs here, when others run elsewhere. `leftovers_after` is the age from which unfinished computations
    are cleared away; 0: nobody else computes.
    Without `sweeps` somebody else calls `sweep`, for all.
    """

    def __init__(
        self,
        database: Database,
        *,
        segments: Callable[[int], Iterable[ArchivedSegment]] = lambda _site: (),
        aggregates: Callable[[int], Sequence[Aggregate]] = lambda _site: tuple(AGGREGATES.values()),
        limits: ArchiveLimits = DEFAULT_LIMITS,
        minimum_rows: int = MINIMUM_ROWS,
        workers: Sequence[RollupWorker] = (RollupWorker(),),
        only: str = "",
        quick_seconds: float = QUICK_SECONDS,
        give_up_seconds: float = GIVE_UP_SECONDS,
        leftovers_after: timedelta = timedelta(0),
        sweeps: bool = True,
        counts: RollupCounts | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._database, self._segments, self._aggregates = database, segments, aggregates
        self._limits, self._clock, self._minimum_rows = limits, clock, minimum_rows
        self.workers = tuple(worker for worker in workers if only in ("", worker.name))
        if not self.workers:
            raise ValueError(f"there is no rollup worker {only!r}")
        self._quick_seconds, self._give_up_seconds = quick_seconds, give_up_seconds
        self._leftovers_after, self._sweeps = leftovers_after, sweeps
        self.merges = MergeTurns(
            database,
            segments=segments,
            aggregates=aggregates,
            limits=replace(limits, priority=2),
            clock=clock,
        )
        self._given = frozenset(site for worker in workers for site in worker.sites or ())
        self._lock = threading.Lock()
        self._wake = threading.Condition(self._lock)
        self._changed: dict[SiteDay, float] = {}
        self._running: set[int] = set()
        """Sites being computed: never by two at once."""
        self._weighed: dict[SiteDay, float] = {}
        """Changed days that are worth an archive, with the seconds that each of their computations takes."""
        self._turns: dict[SiteDay, _Turns] = {}
        """Days of which some segments are computed, or which the quick lane gave up."""
        self._large: set[SiteDay] = set()
        """Given up by the quick lane, and not tried there again."""
        self._lacking: set[SiteDay] = set()
        """Archived before one of the site's segments was stored: only what is missing is computed."""
        self._weighing = threading.Lock()
        self._computed: dict[Work, _Computed] = {}
        self._counts = counts or RollupCounts()
        self._last_error = ""
        self._replaced: list[tuple[float, tuple[int, date, int]]] = []
        """Archives that others took the place of, and when."""
        self._swept_until: datetime | None = None
        self._sweep_at = 0.0
        self._stopping = False

    def changed(self, site_days: Iterable[SiteDay], at: float | None = None) -> None:
        """Rows of these days were stored at that moment, just now unless given. A hint: what is not told is
        found by the sweep."""
        changed_at = self._clock() if at is None else at
        with self._lock:
            for site_day in site_days:
                if self._is_here(site_day.site_id):
                    self._changed[site_day] = max(changed_at, self._changed.get(site_day, 0.0))
            self._wake.notify_all()

    def status(self) -> RollupStatus:
        with self._lock:
            counts = self._counts
            oldest = min(self._changed.values(), default=None)
            return RollupStatus(
                waiting=len(self._changed),
                running=len(self._running),
                computed=counts.computed,
                failed=counts.failed,
                seconds=counts.seconds,
                last_error=self._last_error,
                oldest_change=None if oldest is None else datetime.fromtimestamp(oldest, UTC),
            )

    def lanes(self) -> list[tuple[str, Callable[[], None]]]:
        """What threads have to run, with a name for each."""
        return [
            (f"rollups-{worker.name}-{lane}", partial(self.run, worker, lane))
            for worker in self.workers
            for lane in LANES
        ]

    def run(self, worker: RollupWorker | None = None, lane: Lane = "long") -> None:
        """Compute what is due of a worker's sites until `stop`; blocking, one call per lane. Without a worker
        it is of all sites, one after the other."""
        while not self._stopping:
            if not self.step(worker, lane):
                with self._wake:
                    if not self._stopping:
                        self._wake.wait(1.0)

    def stop(self) -> None:
        with self._wake:
            self._stopping = True
            self._wake.notify_all()

    def step(self, worker: RollupWorker | None = None, lane: Lane = "long") -> bool:
        """Compute one segment of the day that is due longest; says whether there was one. The long lane
        sweeps when it is time, since that may take some seconds, and merges when no day is due."""
        if lane == "long":
            self._sweep_when_due()
        if self._weighing.acquire(blocking=False):
            try:
                self._weigh_due()
            finally:
                self._weighing.release()
        taken = self._take(worker, lane)
        if taken is None:
            return lane == "long" and self._merge(worker)
        site_day, turns = taken
        failed = ""
        try:
            segment = self._next_segment(site_day, turns)
            if segment is not None:
                self._compute(site_day.site_id, _date(site_day), segment, self._limits_of(lane))
                turns.done.add(segment.key)
                segment = self._next_segment(site_day, turns)
        except ArchiveTooLongError:
            with self._lock:
                self._large.add(site_day)
                self._weighed[site_day] = math.inf
        except FrozenDayError:
            segment = None  # a row came after the rows of its day were removed; the archive stays as it was
        except LogResetError:
            raise
        except (ClickHouseError, OSError, LogError) as error:
            failed = str(error)
            logger.warning("archive of site %s, %s failed: %s", site_day.site_id, _date(site_day), error)
        with self._wake:
            self._running.discard(site_day.site_id)
            if failed:
                self._wait_after(site_day, failed)
            elif segment is None:
                self._finish(site_day, turns)
            else:
                turns.due = self._clock()
                self._turns[site_day] = turns
            self._wake.notify_all()
        return True

    def _merge(self, worker: RollupWorker | None) -> bool:
        """The month or year that is due longest and has no days that wait; says whether there was one."""
        with self._lock:
            waiting = [(one.site_id, _date(one)) for one in self._changed]

        def may(site_id: int, start: date, before: date) -> bool:
            return self._belongs(site_id, worker) and not any(
                site == site_id and start <= day < before for site, day in waiting
            )

        span = self.merges.take(may)
        if span is None:
            return False
        try:
            replaced = self.merges.merge(span)
            with self._lock:
                self._replaced += [(self._clock(), one) for one in replaced]
        except LogResetError:
            raise
        except (ClickHouseError, OSError, LogError) as error:
            with self._lock:
                self._counts.failed += 1
                self._last_error = str(error)
            logger.warning("merging archives of site %s, the %s %s, failed: %s", *span, error)
        return True

    def _limits_of(self, lane: Lane) -> ArchiveLimits:
        """Queries of the quick lane go before those of the long one."""
        if lane == "long":
            return replace(self._limits, priority=2)
        return replace(self._limits, priority=1, deadline=time.monotonic() + self._give_up_seconds)

    def _next_segment(self, site_day: SiteDay, turns: _Turns) -> ArchivedSegment | None:
        """None: everything of the day is computed."""
        for segment in (ALL_VISITS, *self._segments(site_day.site_id)):
            if segment.key in turns.done:
                continue
            lacking = site_day in self._lacking
            if not lacking or not self._is_current(site_day.site_id, _date(site_day), segment):
                return segment
            turns.done.add(segment.key)
        return None

    def _wait_after(self, site_day: SiteDay, failed: str) -> None:
        """As if it had changed later: the next attempt waits. With the lock held."""
        self._counts.failed += 1
        self._last_error = failed
        later = self._clock() + RETRY_SECONDS - SLACK.total_seconds()
        self._changed[site_day] = max(self._changed.get(site_day, 0.0), later)

    def _finish(self, site_day: SiteDay, turns: _Turns) -> None:
        """With the lock held."""
        self._weighed.pop(site_day, None)
        if self._changed.get(site_day) == turns.changed_at:
            del self._changed[site_day]
            self._lacking.discard(site_day)

    def _weigh_due(self) -> None:
        """Drop days with few rows, many of them after one query; note how long the others may take."""
        now = self._clock()
        with self._lock:
            due = {
                site_day: changed_at
                for site_day, changed_at in self._changed.items()
                if site_day not in self._weighed and self._start_of(site_day, changed_at) <= now
            }
        chosen = list(due)[:WEIGHED_TOGETHER]
        if not chosen:
            return
        days = {one: (one.site_id, _date(one)) for one in chosen}
        try:
            counted = rows_of_days(self._database, days.values())
        except (ClickHouseError, OSError) as error:
            logger.warning("counting the rows of changed days failed: %s", error)
            return
        with self._lock:
            for site_day in chosen:
                rows = counted[days[site_day]]
                if rows >= self._minimum_rows:
                    seconds = SMALLEST_SECONDS + rows / ROWS_PER_SECOND
                    self._weighed[site_day] = math.inf if site_day in self._large else seconds
                elif self._changed.get(site_day) == due[site_day]:
                    del self._changed[site_day]

    def compute_all(self) -> int:
        """Sweep and compute every stale day now, quiet or not; returns how many. For tests and commands: days
        that changed within the slack stay stale."""
        done = 0
        for stale in stale_days(self._database):
            for segment in (ALL_VISITS, *self._segments(stale.site_id)):
                self._compute(stale.site_id, stale.date, segment, self._limits)
            done += 1
        return done

    def _compute(
        self, site_id: int, day: date, segment: ArchivedSegment, limits: ArchiveLimits
    ) -> ArchivedDay:
        archived = archive_day(
            self._database,
            site_id,
            day,
            segment=segment,
            aggregates=self._aggregates(site_id),
            limits=limits,
        )
        now = self._clock()
        work = (site_id, day, segment.key)
        with self._lock:
            before = self._computed.get(work)
            if before is not None:
                self._replaced.append((now, (site_id, day, before.generation)))
            self._computed[work] = _Computed(now, archived.seconds, archived.generation)
            self._counts.computed += 1
            self._counts.seconds += archived.seconds
        self.merges.archived(site_id, day)
        return archived

    def _is_current(self, site_id: int, day: date, segment: ArchivedSegment) -> bool:
        reports = keys_of_archive(self._aggregates(site_id))
        return day in current_days(self._database, site_id, day, day, segment=segment.key, reports=reports)

    def _start_of(self, site_day: SiteDay, changed_at: float) -> float:
        last = self._computed.get((site_day.site_id, _date(site_day), ""))
        return next_start(changed_at, last.end if last else None, last.seconds if last else 0.0)

    def _is_here(self, site_id: int) -> bool:
        return any(self._belongs(site_id, worker) for worker in self.workers)

    def _belongs(self, site_id: int, worker: RollupWorker | None) -> bool:
        if worker is None:
            return True
        return site_id not in self._given if worker.sites is None else site_id in worker.sites

    def _take(self, worker: RollupWorker | None, lane: Lane) -> tuple[SiteDay, _Turns] | None:
        """The day of the worker's sites that is due longest. What takes long is not for the quick lane; the
        long lane takes such days first."""
        now = self._clock()
        with self._lock:
            due = []
            for site_day, seconds in self._weighed.items():
                changed_at = self._changed.get(site_day)
                if changed_at is None or site_day.site_id in self._running:
                    continue
                long = seconds > self._quick_seconds
                if (long and lane == "quick") or not self._belongs(site_day.site_id, worker):
                    continue
                begun = self._turns.get(site_day)
                start = begun.due if begun else self._start_of(site_day, changed_at)
                if start <= now:
                    due.append((not long, start, site_day, changed_at))
            if not due:
                return None
            _, start, site_day, changed_at = min(due)
            self._running.add(site_day.site_id)
            return site_day, self._turns.pop(site_day, _Turns(changed_at, start))

    def _sweep_when_due(self) -> None:
        now = self._clock()
        with self._lock:
            if now < self._sweep_at:
                return
            self._sweep_at = now + SWEEP_SECONDS
        try:
            found = self.sweep() if self._sweeps else []
            self._forget_replaced(now)
        except (ClickHouseError, OSError) as error:
            with self._lock:
                self._last_error = str(error)
                self._sweep_at = now + RETRY_SECONDS
            logger.warning("the sweep for stale archives failed: %s", error)
            return
        with self._lock:
            for stale in found:
                if not self._is_here(stale.site_id):
                    continue
                site_day = SiteDay(stale.site_id, (stale.date - _EPOCH).days)
                if stale.changed_at == _LONG_AGO and site_day not in self._changed:
                    self._lacking.add(site_day)
                self._changed.setdefault(site_day, stale.changed_at.timestamp())

    def _days_without_segments(self) -> list[StaleDay]:
        """Archived days that lack a segment which was stored later."""
        found = []
        for site_id in sites_with_archives(self._database):
            keys = [segment.key for segment in self._segments(site_id)]
            for day in days_without_segments(self._database, site_id, keys) if keys else ():
                found.append(StaleDay(site_id, day, _LONG_AGO))
        return found

    def sweep(self, *, full: bool = False) -> list[StaleDay]:
        """Stale days that got rows since the last sweep; all of them the first time and when `full`. Then
        the days, long quiet, that lack the archive of a segment.

        Raises the database's errors."""
        now = self._clock()
        with self._lock:
            since = None if full else self._swept_until
        if since is None:
            # Left by a process that was killed; nobody reads them.
            forget(self._database, superseded(self._database, older_than=self._leftovers_after))
            self.merges.look()
        found = stale_days(self._database, since=since)
        stale = {(one.site_id, one.date) for one in found}
        found += [one for one in self._days_without_segments() if (one.site_id, one.date) not in stale]
        with self._lock:
            self._swept_until = datetime.fromtimestamp(now, UTC) - 2 * SLACK
        return found

    def _forget_replaced(self, now: float) -> None:
        # A reader may have looked up a generation just before it was replaced, and read it a moment later.
        with self._lock:
            old = [what for since, what in self._replaced if now - since >= FORGET_SECONDS]
            self._replaced = [one for one in self._replaced if now - one[0] < FORGET_SECONDS]
        forget(self._database, old)

    def keys_of(self, site_id: int) -> list[str]:
        """The reports that an archive of the site holds (sink.report_keys)."""
        return keys_of_archive(self._aggregates(site_id))


def open_rollups(
    database: Database,
    settings: RollupSettings,
    *,
    segments: Callable[[int], Iterable[ArchivedSegment]] = lambda _site: (),
    leftovers_after: timedelta = timedelta(0),
    counts: RollupCounts | None = None,
) -> Rollups:
    """With the workers that the settings name. Raises SettingsError."""
    try:
        workers = parse_workers(settings.rollup_workers)
        return Rollups(
            database,
            segments=segments,
            workers=workers,
            only=settings.rollup_worker,
            leftovers_after=leftovers_after,
            counts=counts,
        )
    except ValueError as error:
        raise SettingsError(f"HITSTREAM_ROLLUP_WORKERS: {error}") from None
