"""The sink follows the outputs and raw hits on the log and keeps the tables of the database equal to them.

The order of a flush is what makes it exact: rows, then the ledger, then the release of the log. A row may be
inserted twice (its version is its offset, so the tables show it once), and none is skipped, wherever the
process is killed."""

import logging
import math
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from clickhouse_connect.driver.exceptions import ClickHouseError

from schemas.rows import DeadLetter, encode_row
from sink.database import Database
from sink.encoding import DEAD, HITS, TABLES, Block, Entry, SiteDay, Table, halves, split
from sink.ledger import newest_version, read_ledger
from sink.metrics import SinkMetrics
from sink.settings import SinkSettings
from stream.faults import crash_point
from stream.pace import Pace
from stream.protocol import Log, LogError, LogResetError, Reader, TopicPartition

logger = logging.getLogger(__name__)

CONSUMER = "sink"
ROWS = tuple(table for table in TABLES if table is not HITS)
READ_MESSAGES = 5_000
FEW_MESSAGES = 2_000
"""A step that read fewer is followed by a pause: rows then come in batches, and an idle sink costs little."""
PAUSE_SECONDS = 0.05
IDLE_PAUSE_SECONDS = 0.2
UNSEEN_SECONDS = 2.0
"""How long a commit may stay unseen whose process died before it told of it."""
LAG_SECONDS = 1.0
FLUSH_TIMES, FLUSH_LONGEST_TIMES = 6.0, 3.0
"""Flushes begin six times as long one after the other as one takes, up to three times `sink_flush_seconds`.
Three times as many rows at once cost a quarter less: a part has its price, and fewer are merged."""
# ClickHouse refuses an insert that touches more than 100 partitions; a batch with many months is cut before.
MONTHS_AT_ONCE = 30
RETRY_SECONDS = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0)

# Codes of ClickHouse errors that say: this data never fits, repeat it and it is refused again.
CONTENT_ERRORS = frozenset(
    {
        6,  # CANNOT_PARSE_TEXT
        27,  # CANNOT_PARSE_INPUT_ASSERTION_FAILED
        33,  # CANNOT_READ_ALL_DATA
        41,  # CANNOT_PARSE_DATETIME
        44,  # ILLEGAL_COLUMN
        53,  # TYPE_MISMATCH
        69,  # ARGUMENT_OUT_OF_BOUND
        70,  # CANNOT_CONVERT_TYPE
        72,  # CANNOT_PARSE_NUMBER
        117,  # INCORRECT_DATA
        128,  # TOO_LARGE_ARRAY_SIZE
        131,  # TOO_LARGE_STRING_SIZE
        349,  # CANNOT_INSERT_NULL_IN_ORDINARY_COLUMN
    }
)


def is_refusal(error: ClickHouseError) -> bool:
    """Whether the database refused what it was given, not when or how."""
    return getattr(error, "code", None) in CONTENT_ERRORS


@dataclass
class _Pending:
    """What was read of one topic and is not in the database yet."""

    entries: list[Entry] = field(default_factory=list)
    size: int = 0
    since: float = 0.0
    positions: dict[TopicPartition, int] = field(default_factory=dict)


class StoppedError(Exception):
    """The sink was told to stop while it waited for the database."""


class Sink:
    """Reads from the positions of the ledger and writes until stopped. Several may share the partitions.

    `on_site_days` is told which sites and days got new rows: a hint for the rollups. `partitions` are all
    unless given. Two that store the same partition cost work, nothing else. `is_erased` says whether the hit
    at a partition and offset of `hits` must not come back. `metrics` outlive the sink where one follows
    another in the same process."""

    def __init__(
        self,
        log: Log,
        database: Database,
        settings: SinkSettings | None = None,
        *,
        on_site_days: Callable[[set[SiteDay]], None] = lambda _days: None,
        partitions: Sequence[int] | None = None,
        is_erased: Callable[[int, int], bool] = lambda _partition, _offset: False,
        metrics: SinkMetrics | None = None,
    ) -> None:
        self.metrics = metrics or SinkMetrics()
        self.error: str = ""
        """What the database said last, while it refuses to work; empty when all is well."""
        self._log, self._database = log, database
        self._partitions = tuple(range(log.partitions) if partitions is None else partitions)
        self._settings = settings or SinkSettings()
        self._on_site_days = on_site_days
        self._is_erased = is_erased
        self._stop = threading.Event()
        self._flush_wanted = threading.Event()
        self._wake = threading.Event()
        self._visible: dict[TopicPartition, int] = {}
        self._visible_lock = threading.Lock()
        self._next: dict[TopicPartition, int] = {}
        self._pending = {table.name: _Pending() for table in TABLES}
        seconds = self._settings.sink_flush_seconds
        self._pace = Pace(times=FLUSH_TIMES, shortest_s=seconds, longest_s=FLUSH_LONGEST_TIMES * seconds)
        self._lag_at = 0.0
        self._ledger_version = 0

    def visible_positions(self) -> Mapping[TopicPartition, int]:
        """Next offset per topic and partition: everything below is in the tables and in the ledger."""
        with self._visible_lock:
            return dict(self._visible)

    def flush_soon(self) -> None:
        """Ask for a flush of everything read, raw hits included, before its time (for drain)."""
        self._flush_wanted.set()
        self._wake.set()

    def stop(self) -> None:
        """Let `run` flush what it has read and return."""
        self._stop.set()
        self._wake.set()

    def run(self) -> None:
        """Follow the log until `stop`; blocking, for a thread of its own. Waits while the log or the database
        can't be used and then goes on. Raises LogResetError: a new epoch needs a new sink and database."""
        reader = self._log.reader()
        try:
            self._resume()
            idle = 0
            while not self._stop.is_set():
                try:
                    read = self.step(reader)
                except LogResetError:
                    raise
                except LogError as error:
                    self.error = str(error)
                    self._stop.wait(1.0)
                    continue
                idle = 0 if read else idle + 1
                if read < FEW_MESSAGES:
                    pause = PAUSE_SECONDS if idle < 40 else IDLE_PAUSE_SECONDS
                    # What comes before the next flush is read then.
                    self._wake.wait(max(pause, self._rows_due_in()))
                    if idle >= 40:
                        self._sleep_on(reader)
                    self._wake.clear()
            for table in TABLES:
                self._flush([table])
        except StoppedError:
            logger.info(
                "the sink stopped before its last rows were stored; they are read again at the next start"
            )
        finally:
            reader.close()

    def _sleep_on(self, reader: Reader) -> None:
        """While nothing is to be stored and nobody has committed anything to a log in the data directory: to
        ask for that costs a microsecond, to look at every partition a millisecond."""
        if self._log.is_remote or any(pending.positions for pending in self._pending.values()):
            return
        deadline = time.monotonic() + UNSEEN_SECONDS
        while time.monotonic() < deadline and not reader.wait(0):
            if self._wake.wait(IDLE_PAUSE_SECONDS):
                return

    def run_to_end(self) -> None:
        """Store everything that is on the log now, then return; for tests and one-off commands."""
        reader = self._log.reader()
        try:
            self._resume()
            while self.step(reader):
                pass
            self._flush([table for table in TABLES if self._pending[table.name].positions])
        finally:
            reader.close()

    def _resume(self) -> None:
        ledger = {
            place: offset
            for place, offset in read_ledger(self._database).items()
            if place.partition in self._partitions
        }
        for table in TABLES:
            for partition in self._partitions:
                ledger.setdefault(TopicPartition(table.name, partition), 0)
        with self._visible_lock:
            self._visible = dict(ledger)
        self._next = dict(ledger)
        self._pending = {table.name: _Pending() for table in TABLES}
        self._ledger_version = newest_version(self._database)

    def step(self, reader: Reader) -> int:
        """Read once what each partition has and flush what is due; returns how many messages were read."""
        read = 0
        for table in TABLES:
            for partition in self._partitions:
                read += self._read(reader, table, partition)
        crash_point("sink.read")
        if self._flush_wanted.is_set() and not read:
            self._flush_wanted.clear()
            self._flush([table for table in TABLES if self._pending[table.name].positions])
        self._flush_due()
        self._measure_lag(reader)
        return read

    def _read(self, reader: Reader, table: Table, partition: int) -> int:
        place = TopicPartition(table.name, partition)
        batch = reader.read(table.name, partition, self._next[place], READ_MESSAGES)
        if batch is None:
            return 0
        pending = self._pending[table.name]
        if not pending.positions:
            pending.since = time.monotonic()
        messages = batch.messages
        if table is HITS:
            messages = [
                message
                for message in messages
                if message.value and not self._is_erased(partition, message.offset)
            ]
        pending.entries += [Entry(partition, message.offset, message.value) for message in messages]
        pending.size += sum([len(message.value) for message in messages])
        pending.positions[place] = self._next[place] = batch.next_offset
        if self._is_full(pending):
            self._flush([table])
        return len(batch.messages)

    def _is_full(self, pending: _Pending) -> bool:
        settings = self._settings
        return len(pending.entries) >= settings.sink_flush_rows or pending.size >= settings.sink_flush_bytes

    def _flush_due(self) -> None:
        now = time.monotonic()
        settings = self._settings
        hurry = self._flush_wanted.is_set()
        hits_seconds = settings.sink_flush_seconds if hurry else settings.sink_hits_flush_seconds
        due = list(ROWS) if now >= self._due_at(ROWS, settings.sink_flush_seconds) else []
        if now >= self._due_at((HITS,), hits_seconds):
            due.append(HITS)
        if due:
            self._pace.begin(now)
            self._flush(due)
            self._pace.end(time.monotonic())

    def _due_at(self, tables: Sequence[Table], seconds: float) -> float:
        """When what was read of these tables is to be stored."""
        since = [pending.since for table in tables if (pending := self._pending[table.name]).positions]
        return max(min(since) + seconds, self._pace.next_at) if since else math.inf

    def _rows_due_in(self) -> float:
        """Seconds; 0 when nothing was read or it is wanted now."""
        due_at = self._due_at(ROWS, self._settings.sink_flush_seconds)
        return 0.0 if self._flush_wanted.is_set() or due_at == math.inf else due_at - time.monotonic()

    def _flush(self, tables: Sequence[Table]) -> None:
        positions: dict[TopicPartition, int] = {}
        site_days: set[SiteDay] = set()
        for table in tables:
            pending = self._pending[table.name]
            if not pending.positions:
                continue
            site_days |= self._store(table, pending.entries)
            positions.update(pending.positions)
            crash_point("sink.inserted")
            crash_point(f"sink.inserted.{table.name}")
        if not positions:
            return
        crash_point("sink.before_ledger")
        self._record(positions)
        crash_point("sink.after_ledger")
        for table in tables:
            self._pending[table.name] = _Pending()
        with self._visible_lock:
            self._visible.update(positions)
        self._log.release(CONSUMER, self.visible_positions())
        crash_point("sink.released")
        if site_days:
            self._on_site_days(site_days)

    def _store(self, table: Table, entries: Sequence[Entry]) -> set[SiteDay]:
        blocks = split(table, entries, self._log.epoch)
        dead = list(blocks.unreadable)
        months = sorted(blocks.by_month)
        for start in range(0, len(months), MONTHS_AT_ONCE):
            joined = [blocks.by_month[month] for month in months[start : start + MONTHS_AT_ONCE]]
            block = (
                joined[0]
                if len(joined) == 1
                else Block(
                    [entry for one in joined for entry in one.entries],
                    [part for one in joined for part in one.parts],
                )
            )
            if not self._insert(table, block):
                dead += self._salvage(table, block.entries)
        if dead:
            self._bury(table, dead)
        return blocks.site_days

    def _insert(self, table: Table, block: Block) -> bool:
        """Insert, however long the database needs to accept it; False when it refuses the content."""
        data = block.data
        attempt = 0
        while True:
            started = time.monotonic()
            try:
                self._database.insert_msgpack(table.name, table.columns, data)
            except (ClickHouseError, OSError) as error:
                if isinstance(error, ClickHouseError) and is_refusal(error):
                    return False
                self._wait_to_retry(error, attempt)
                attempt += 1
                continue
            self.error = ""
            self.metrics.inserted(table.name, len(block.entries), time.monotonic() - started)
            return True

    def _wait_to_retry(self, error: Exception, attempt: int) -> None:
        self.error = str(error)
        self.metrics.retried()
        wait = RETRY_SECONDS[min(attempt, len(RETRY_SECONDS) - 1)]
        logger.warning("the database does not take rows, next attempt in %s s: %s", wait, error)
        if self._stop.wait(wait):
            raise StoppedError

    def _salvage(self, table: Table, entries: Sequence[Entry]) -> list[tuple[Entry, str]]:
        """Store what can be stored of a refused batch: all rows recoded, then halves down to the bad rows."""
        blocks = split(table, entries, self._log.epoch, recode=True)
        dead = list(blocks.unreadable)
        for block in blocks.by_month.values():
            dead += self._insert_by_halves(table, block.entries)
        return dead

    def _insert_by_halves(self, table: Table, entries: Sequence[Entry]) -> list[tuple[Entry, str]]:
        blocks = split(table, entries, self._log.epoch, recode=True)
        dead: list[tuple[Entry, str]] = []
        for block in blocks.by_month.values():
            if self._insert(table, block):
                continue
            if len(block.entries) == 1:
                dead.append((block.entries[0], "the database refuses the row"))
                continue
            for half in halves(block.entries):
                dead += self._insert_by_halves(table, half)
        return dead

    def _bury(self, table: Table, dead: Sequence[tuple[Entry, str]]) -> None:
        now = int(time.time())
        letters = [
            Entry(
                entry.partition,
                entry.offset,
                encode_row(
                    DeadLetter(
                        topic=table.name,
                        partition=entry.partition,
                        offset=entry.offset,
                        step="store",
                        reason=reason,
                        payload=entry.value,
                        time=now,
                    )
                ),
            )
            for entry, reason in dead
        ]
        for block in split(DEAD, letters, self._log.epoch).by_month.values():
            if not self._insert(DEAD, block):
                raise RuntimeError(f"the database refuses dead letters of {table.name}")
        self.metrics.buried(table.name, len(dead))
        logger.error("%d rows of %s can't be stored, the first: %s", len(dead), table.name, dead[0][1])

    def _record(self, positions: Mapping[TopicPartition, int]) -> None:
        version = self._ledger_version = max(time.time_ns(), self._ledger_version + 1)
        values = ", ".join(
            f"('{place.topic}', {place.partition}, {offset}, {version})"
            for place, offset in positions.items()
        )
        attempt = 0
        while True:
            try:
                self._database.command(
                    f"INSERT INTO sink_offsets (topic, partition, next_offset, version) VALUES {values}"  # noqa: S608 - numbers and our own topic names
                )
            except (ClickHouseError, OSError) as error:
                self._wait_to_retry(error, attempt)
                attempt += 1
                # What timed out here may have been carried out there; or another sink has gone on meanwhile.
                if self._is_recorded(positions):
                    return
                continue
            return

    def _is_recorded(self, positions: Mapping[TopicPartition, int]) -> bool:
        try:
            ledger = read_ledger(self._database)
        except (ClickHouseError, OSError):
            return False
        return all(ledger.get(place, 0) >= offset for place, offset in positions.items())

    def _measure_lag(self, reader: Reader) -> None:
        now = time.monotonic()
        if now - self._lag_at < LAG_SECONDS:
            return
        self._lag_at = now
        self.metrics.lags(
            {
                table.name: sum(
                    max(0, end - self._visible.get(TopicPartition(table.name, partition), 0))
                    for partition, end in reader.end_offsets(table.name).items()
                    if partition in self._partitions
                )
                for table in TABLES
            }
        )
