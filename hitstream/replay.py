"""Replays: hits of the past are folded under today's configuration while hits keep coming (DESIGN section 4).

A replay is first a fact on `config`, which no stage may forget. Then every partition is told its level, and
only then the owners with hits in its time are asked, one by one, to follow: who is asked is read from the
tables when all hits processed before the level are stored, and later ones are known to the processors. A
start finds what an earlier process did not finish asking and asks again; owners that followed do nothing.
"""

import logging
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from hitstream.history import wait_for_sink
from hitstream.known_facts import read_facts
from processors.service import GROUP
from reporting.api import zone_of
from schemas.config import Config, ConfigEvent, Replay
from schemas.history import OwnerRefold, ReplayAsked, ReplayLevel, encode_fact
from schemas.topics import HISTORY, partition_of
from sink.database import Database
from sink.ledger import Stored
from stream.faults import crash_point
from stream.protocol import Appender, Log, LogError, LogResetError, TopicPartition

logger = logging.getLogger("hitstream.replay")

LAST_SECOND = (1 << 32) - 1
OWNERS_PER_APPEND = 5_000
LEVEL_SECONDS = 120.0
RETRY_SECONDS = 5.0
POLL_SECONDS = 0.02


class ReplayError(Exception):
    """What was asked can't be replayed; the message says what was expected."""


@dataclass(frozen=True)
class Asked:
    """What came of one replay."""

    level: int
    owners: int


def plan_replays(
    config: Config,
    sites: Sequence[int],
    first: str,
    last: str,
    login: str,
    frozen: date | None = None,
    *,
    whole: bool = False,
) -> list[Replay]:
    """One replay per time zone: days are those of the sites. `sites` empty: all; dates empty: open. Days
    before `frozen` have no rows any more and stay as they are.

    Raises ReplayError."""
    known = sorted(site_id for site_id, site in config.sites.items() if not site.deleted)
    unknown = sorted(set(sites) - set(known))
    if unknown:
        raise ReplayError(f"site {unknown[0]} does not exist")
    begin, end = _day(first, "from"), _day(last, "to")
    if begin and end and begin > end:
        raise ReplayError(f"the days from {first} to {last} are none: expected the earlier one first")
    if frozen is not None:
        if end and end < frozen:
            raise ReplayError(f"the rows before {frozen} are gone: their reports can't change any more")
        begin = max(begin or frozen, frozen)
    by_times: dict[tuple[int, int], list[int]] = defaultdict(list)
    for site_id in sites or known:
        timezone = config.sites[site_id].timezone
        times = (
            midnight_of(begin, timezone) if begin else 0,
            midnight_of(end, timezone, after=True) if end else LAST_SECOND,
        )
        by_times[times].append(site_id)
    return [
        Replay(site_ids=tuple(of_zone), begin=times[0], end=times[1], login=login, whole=whole)
        for times, of_zone in by_times.items()
    ]


def _day(text: str, name: str) -> date | None:
    if not text:
        return None
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise ReplayError(f"{name} is {text!r}: expected a day such as 2026-09-10") from None


def midnight_of(day: date, timezone: str, *, after: bool = False) -> int:
    """Unix second at which a day begins, or has ended."""
    if after:
        day += timedelta(days=1)
    return int(datetime(day.year, day.month, day.day, tzinfo=zone_of(timezone)).timestamp())


def owners_of(database: Database, site_id: int, replay: Replay, level: int) -> Iterator[int]:
    """Owners that have hits which the replay covers."""
    rows = database.rows(
        "SELECT DISTINCT owner FROM hits WHERE site_id = {site:UInt32} AND is_deleted = 0"
        " AND toUInt32(time) >= {begin:UInt32} AND toUInt32(time) < {end:UInt32}"
        " AND config_offset < {level:UInt64} ORDER BY owner",
        {"site": site_id, "begin": replay.begin, "end": replay.end, "level": level},
    )
    return (int(owner) for (owner,) in rows)


class Replayer:
    """Asks the owners of replays to follow. `run` in a thread; `start` from any."""

    def __init__(
        self,
        log: Log,
        database: Database,
        sink: Stored,
        facts: Appender,
        config: Callable[[], Config],
        write: Callable[[ConfigEvent], Config],
    ) -> None:
        """`write` appends one event to the configuration, alone."""
        self._log, self._database, self._sink = log, database, sink
        self._facts, self._config, self._write = facts, config, write
        self._changed = threading.Condition()
        self._asked: dict[int, Asked] = {}
        self._todo = self._unfinished()
        self._stopping = False

    def start(self, replays: Sequence[Replay], timeout: float) -> list[Asked]:
        """Record replays and return when all their owners were asked. Blocking. Raises LogError."""
        levels = []
        for replay in replays:
            config = self._write(ConfigEvent(at=int(time.time() * 1000), replay=replay))
            level = config.replays[-1][0] + 1
            levels.append(level)
            with self._changed:
                self._todo.append((level, replay, frozenset(range(self._log.partitions))))
                self._changed.notify_all()
        crash_point("replay.recorded")
        with self._changed:
            if not self._changed.wait_for(
                lambda: self._stopping or all(level in self._asked for level in levels), timeout
            ):
                raise LogError(
                    "the replay is recorded and goes on, but its owners were not all asked in time"
                )
            return [self._asked[level] for level in levels if level in self._asked]

    @property
    def waiting(self) -> int:
        """Replays whose owners are not all asked yet, those of an earlier process included."""
        with self._changed:
            return len(self._todo)

    def stop(self) -> None:
        with self._changed:
            self._stopping = True
            self._changed.notify_all()

    def run(self) -> None:
        """Finish what was begun before, then what is asked, until `stop`. Raises LogResetError."""
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._stopping or self._todo)
                if self._stopping:
                    return
                level, replay, partitions = self._todo[0]
            try:
                owners = self._ask(level, replay, partitions)
            except LogResetError:
                raise
            except LogError as error:
                logger.warning("a replay waits: %s", error)
                with self._changed:
                    self._changed.wait_for(lambda: self._stopping, RETRY_SECONDS)
                continue
            with self._changed:
                self._todo.pop(0)
                self._asked[level] = Asked(level, owners)
                self._changed.notify_all()

    def _unfinished(self) -> list[tuple[int, Replay, frozenset[int]]]:
        asked = asked_levels(self._log)
        return [
            (offset + 1, replay, missing)
            for offset, replay in self._config().replays
            if (missing := frozenset(p for p, levels in asked.items() if offset + 1 not in levels))
        ]

    def _ask(self, level: int, replay: Replay, partitions: frozenset[int]) -> int:
        self._announce(level, partitions)
        crash_point("replay.announced")
        for partition in sorted(partitions):
            wait_for_sink(self._log, self._sink, partition, lambda: self._stopping)
        count = 0
        for site_id in replay.site_ids:
            entries: list[tuple[int, bytes, bytes]] = []
            for owner in owners_of(self._database, site_id, replay, level):
                partition = partition_of(owner, self._log.partitions)
                if partition in partitions:
                    fact = encode_fact(OwnerRefold(site_id, owner, level, replay.whole))
                    entries.append((partition, owner.to_bytes(8, "big"), fact))
                if len(entries) >= OWNERS_PER_APPEND:
                    count += self._append(entries)
                    entries = []
            count += self._append(entries)
        crash_point("replay.asked")
        self._append([(partition, b"", encode_fact(ReplayAsked(level))) for partition in sorted(partitions)])
        logger.info("replay at config offset %d: %d owners asked", level - 1, count)
        return count

    def _append(self, entries: Sequence[tuple[int, bytes, bytes]]) -> int:
        if entries:
            self._facts.append(entries)
        return len(entries)

    def _announce(self, level: int, partitions: Iterable[int]) -> None:
        """Tell the partitions the level and wait until all have taken it in."""
        numbers = sorted(partitions)
        fact = encode_fact(ReplayLevel(level))
        offsets = self._facts.append([(partition, b"", fact) for partition in numbers])
        wanted = {
            TopicPartition(HISTORY.name, partition): offset + 1
            for partition, offset in zip(numbers, offsets, strict=True)
        }
        wait_until_committed(self._log, wanted, LEVEL_SECONDS, lambda: self._stopping)


def wait_until_committed(
    log: Log, wanted: Mapping[TopicPartition, int], seconds: float, is_stopping: Callable[[], bool]
) -> None:
    """Until the processors are past these offsets. Blocking; raises LogError when it takes longer, or when
    this process stops: what the processors need from it may then never come."""
    deadline = time.monotonic() + seconds
    while True:
        committed = log.committed(GROUP)
        missing = [place for place, offset in wanted.items() if committed.get(place, 0) < offset]
        if not missing:
            return
        if time.monotonic() > deadline:
            raise LogError(
                f"the processors did not take in topic {missing[0].topic}, partition {missing[0].partition}"
                f" within {seconds:.0f} s: do they run?"
            )
        if is_stopping():
            raise LogError("this process stops")
        time.sleep(POLL_SECONDS)


def asked_levels(log: Log) -> dict[int, set[int]]:
    """Partition -> the levels of replays whose owners were all asked."""
    reader = log.reader()
    try:
        return {partition: one.known.asked for partition, one in read_facts(reader).items()}
    finally:
        reader.close()
