"""How far the sinks are, from the ledger in the database: for processes that have no sink themselves."""

import threading
import time
from collections.abc import Callable, Mapping
from typing import Protocol

from clickhouse_connect.driver.exceptions import ClickHouseError

from sink.database import Database
from stream.protocol import TopicPartition

FRESH_SECONDS = 0.1


class Stored(Protocol):
    """What is in the tables: a sink of this process, or the ledger of all."""

    error: str
    """What the database said last, while it refuses to work; empty when all is well."""

    def visible_positions(self) -> Mapping[TopicPartition, int]:
        """Next offset per topic and partition: everything below is in the tables and in the ledger."""
        ...

    def flush_soon(self) -> None:
        """Ask for a flush of everything read, where the sink is this process."""
        ...


def read_ledger(database: Database) -> dict[TopicPartition, int]:
    """Next offset per topic and partition, as recorded. Raises the database's errors."""
    rows = database.rows(
        "SELECT topic, partition, argMax(next_offset, version) FROM sink_offsets GROUP BY ALL"
    )
    return {TopicPartition(str(topic), int(partition)): int(offset) for topic, partition, offset in rows}


def newest_version(database: Database) -> int:
    """Of the records of the ledger, 0 when there is none: a later record needs a greater one, also when the
    clock was put back. Raises the database's errors."""
    return int(database.rows("SELECT max(version) FROM sink_offsets")[0][0])


class Ledger:
    """The ledger, asked at most every tenth of a second. May be used from any thread."""

    def __init__(self, database: Database, clock: Callable[[], float] = time.monotonic) -> None:
        self.error = ""
        self._database, self._clock = database, clock
        self._lock = threading.Lock()
        self._positions: Mapping[TopicPartition, int] = {}
        self._read_at: float | None = None

    def visible_positions(self) -> Mapping[TopicPartition, int]:
        """While the database does not answer: what it said last, and `error` says why."""
        with self._lock:
            now = self._clock()
            if self._read_at is None or now - self._read_at >= FRESH_SECONDS:
                try:
                    self._positions = read_ledger(self._database)
                    self.error = ""
                except (ClickHouseError, OSError) as error:
                    self.error = str(error)
                self._read_at = self._clock()
            return self._positions

    def flush_soon(self) -> None:
        """Sinks in other processes flush when it is their time."""
