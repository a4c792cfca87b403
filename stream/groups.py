"""Processing groups: one SQLite file per partition with its state, its outputs and its input offsets.

Everything a unit of work changes for one partition is in that partition's file, so one SQLite transaction
commits it. Only the owner of the partition writes to the file; consumers of its outputs read it.
"""

import os
import sqlite3
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from schemas.topics import partition_of
from stream import frames
from stream.faults import crash_point
from stream.pace import Pace
from stream.protocol import Batch, Message, TopicPartition
from stream.sqlite_files import (
    Background,
    FileLock,
    checkpoint_passive,
    create_file,
    open_reader,
    open_writer,
    translate_errors,
    wal_bytes,
)
from stream.state import PartitionState, checked_name, create_schema

PAGE_SIZE = 4096
# Of the WAL of one partition: copied in the background from the first size on, by the commit itself at the
# second. Eight partitions stay under 256 MiB together with the hits' segment.
CHECKPOINT_BYTES = 6 << 20
CHECKPOINT_NOW_BYTES = 12 << 20
WAL_KEPT_BYTES = 4 << 20
RELEASE_INTERVAL_S = 5.0
RELEASED_ROWS_PER_COMMIT = 500
UNITS_APART, LONGEST_APART_S = 3.0, 1.0
"""Of units of work (stream.pace): each takes a commit of every partition's file, and reads and writes the
state of its visitors once."""
# Between two looks for new input: grows while nothing comes, also from one poll to the next.
SHORTEST_PAUSE_S = 0.001
LONGEST_PAUSE_S = 0.04
# How long to rely on the bell alone.
BELL_TRUSTED_S = 0.5


def partition_path(directory: Path, partition: int) -> Path:
    return directory / f"p{partition}.sqlite"


def _create_schema(connection: sqlite3.Connection) -> None:
    create_schema(connection)
    for table in ("input", "output"):
        connection.execute(
            f"CREATE TABLE {table} (topic TEXT, partition INTEGER, next INTEGER NOT NULL,"
            " PRIMARY KEY (topic, partition)) WITHOUT ROWID"
        )


class PartitionFile:
    """The writing side of one partition: state, outputs, input offsets and the transaction around them."""

    def __init__(self, directory: Path, group: str, partition: int, cache_bytes: int) -> None:
        self.path = partition_path(directory, partition)
        self._lock = FileLock(directory / f"p{partition}.lock", f"Partition {partition} of group {group}")
        try:
            if not self.path.exists():
                create_file(self.path, PAGE_SIZE, _create_schema)
            self.connection = open_writer(self.path, cache_bytes, WAL_KEPT_BYTES)
            self.state = PartitionState(self.path, self.connection)
        except BaseException:
            self._lock.close()
            raise
        self.load()

    def load(self) -> None:
        """Reads what is committed."""
        execute = self.connection.execute
        self._tables = {name for (name,) in execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
        self.inputs = {TopicPartition(t, p): next_ for t, p, next_ in execute("SELECT * FROM input")}
        self.ends = {(t, p): int(next_) for t, p, next_ in execute("SELECT * FROM output")}

    def rollback(self) -> None:
        with translate_errors(self.path, "Rolling back"):
            if self.connection.in_transaction:
                self.connection.execute("ROLLBACK")
            self.state.forget_pending()
            self.load()

    def _table(self, name: str, columns: str) -> str:
        """Creates the table when it doesn't exist."""
        if name not in self._tables:
            self.connection.execute(f"CREATE TABLE {checked_name(name)} {columns}")
            self._tables.add(name)
        return name

    def append_output(self, topic: str, target: int, keys: list[bytes], values: list[bytes]) -> None:
        base = self.ends.get((topic, target), 0)
        table = self._table(f"output_{topic}", frames.BATCH_COLUMNS)
        self.connection.execute(
            f"INSERT INTO {table} VALUES (?, ?, ?)",  # noqa: S608
            (frames.row_id(target, base), len(keys), frames.encode_frame(keys, values)),
        )
        end = base + len(keys)
        self.connection.execute("REPLACE INTO output VALUES (?, ?, ?)", (topic, target, end))
        self.ends[topic, target] = end

    def set_inputs(self, offsets: Mapping[TopicPartition, int]) -> None:
        self.connection.executemany(
            "REPLACE INTO input VALUES (?, ?, ?)",
            [(at.topic, at.partition, offset) for at, offset in offsets.items()],
        )
        self.inputs.update(offsets)

    def delete_released(self, topic: str, target: int, needed_from: int) -> int:
        """Deletes whole rows of outputs below an offset; some of them, the oldest first. Returns how many."""
        table = f"output_{topic}"
        if table not in self._tables:
            return 0
        return self.connection.execute(
            f"DELETE FROM {table} WHERE id IN (SELECT id FROM {table} WHERE id >= ? AND id < ?"  # noqa: S608
            " AND id + count <= ? ORDER BY id LIMIT ?)",
            (
                frames.row_id(target, 0),
                frames.row_id(target, needed_from),
                frames.row_id(target, needed_from),
                RELEASED_ROWS_PER_COMMIT,
            ),
        ).rowcount

    def close(self) -> None:
        if self.connection.in_transaction:
            self.connection.execute("ROLLBACK")
        self.connection.close()
        self._lock.close()


class GroupReader:
    """Reads offsets and outputs of a group's files from any process."""

    def __init__(self, directory: Path, partitions: int) -> None:
        self._directory = directory
        self._connections: dict[int, sqlite3.Connection] = {}
        self._versions: dict[int, int] = {}
        self._ends: dict[int, dict[tuple[str, int], int]] = {}
        self._partitions = partitions

    def _connection(self, source: int) -> sqlite3.Connection | None:
        connection = self._connections.get(source)
        if connection is None:
            path = partition_path(self._directory, source)
            if not path.exists():
                return None
            connection = self._connections[source] = open_reader(path)
        return connection

    def ends(self) -> Mapping[int, Mapping[tuple[str, int], int]]:
        """Next offset of the outputs: source partition -> (topic, target) -> offset."""
        for source in range(self._partitions):
            connection = self._connection(source)
            if connection is not None:
                # data_version changes with every commit of another connection, and costs microseconds.
                (version,) = connection.execute("PRAGMA data_version").fetchone()
                if self._versions.get(source) != version:
                    rows = connection.execute("SELECT * FROM output").fetchall()
                    self._ends[source] = {(topic, target): next_ for topic, target, next_ in rows}
                    self._versions[source] = version
        return self._ends

    def read(self, source: int, topic: str, target: int, offset: int, max_messages: int) -> list[Message]:
        connection = self._connection(source)
        if connection is None:
            return []
        found = connection.execute(
            "SELECT next FROM output WHERE topic = ? AND partition = ?", (topic, target)
        ).fetchone()
        if found is None or offset >= found[0]:
            return []
        return frames.read_frames(connection, f"output_{checked_name(topic)}", target, offset, max_messages)

    def inputs(self) -> dict[TopicPartition, int]:
        """Committed input offsets of all partitions."""
        offsets: dict[TopicPartition, int] = {}
        for source in range(self._partitions):
            connection = self._connection(source)
            if connection is not None:
                for topic, partition, next_ in connection.execute("SELECT * FROM input").fetchall():
                    offsets[TopicPartition(topic, partition)] = next_
        return offsets

    def close(self) -> None:
        for connection in self._connections.values():
            connection.close()
        self._connections.clear()
        self._versions.clear()


class Inputs(Protocol):
    """What a worker needs of a reader of the whole log."""

    def read_messages(self, topic: str, partition: int, offset: int, max_messages: int) -> list[Message]: ...

    def end_offsets(self, topic: str) -> Mapping[int, int]: ...

    def close(self) -> None: ...


@dataclass(frozen=True, kw_only=True)
class GroupWiring:
    """What the log tells a worker: `home_of` maps a physical partition of an input to the worker's
    partition; `claim` records the group as producer of a topic; `is_split` says whether a topic is filled by
    `emit_keyed`; `needed_from` gives the first offset of each physical partition that a consumer needs, None
    when no consumer is known; `check_open` raises when the log was emptied; `ring` and `look`: the bell."""

    directory: Path
    group: str
    partitions: int
    cache_bytes: int
    home_of: Callable[[str, int], int]
    claim: Callable[[str], None]
    is_split: Callable[[str], bool]
    needed_from: Callable[[str], Mapping[int, int] | None]
    check_open: Callable[[], None]
    ring: Callable[[], None]
    look: Callable[[], bytes]


class GroupWorker:
    """stream.protocol.Worker on partition files."""

    def __init__(
        self, wiring: GroupWiring, reader: Inputs, inputs: Sequence[str], owned: Sequence[int]
    ) -> None:
        self._wiring = wiring
        self._reader = reader
        self._inputs = tuple(inputs)
        self._partitions = tuple(sorted(owned))
        self._files: dict[int, PartitionFile] = {}
        self._outputs: dict[int, dict[tuple[str, int], tuple[list[bytes], list[bytes]]]] = defaultdict(dict)
        self._claimed: set[str] = set()
        self._released_at = time.monotonic()
        self._scrubbing: dict[int, dict[tuple[str, int], int]] = {}
        """Partition -> ends of its outputs when its scrub began."""
        self._turn = 0
        self._pause_s = SHORTEST_PAUSE_S
        self._pace = Pace(times=UNITS_APART, shortest_s=0.0, longest_s=LONGEST_APART_S)
        self._is_behind = False
        """Whether the last unit had all the messages it might."""
        self._exhausted_bell, self._exhausted_until = b"", 0.0
        with translate_errors(wiring.directory, "Opening"):
            try:
                for partition in self._partitions:
                    self._files[partition] = PartitionFile(
                        wiring.directory, wiring.group, partition, wiring.cache_bytes // wiring.partitions
                    )
                self._subscribe()
            except BaseException:
                self._close_files()
                raise
        self._positions = self.committed()
        self._background = Background(f"log-{wiring.group}")

    def _subscribe(self) -> None:
        """Puts every input without an offset at 0: from then on retention waits for this group."""
        for home, file in self._files.items():
            missing = {
                TopicPartition(topic, partition): 0
                for topic in self._inputs
                for partition in self._reader.end_offsets(topic)
                if self._wiring.home_of(topic, partition) == home
                and TopicPartition(topic, partition) not in file.inputs
            }
            if missing:
                with file.state.writing():
                    file.set_inputs(missing)
                    file.connection.execute("COMMIT")

    @property
    def partitions(self) -> Sequence[int]:
        return self._partitions

    def poll(self, max_messages: int, timeout: float) -> Sequence[Batch]:
        deadline = time.monotonic() + timeout
        pause = min(self._pace.next_at, deadline) - time.monotonic()
        if pause > 0 and not self._is_behind:
            time.sleep(pause)
        while True:
            self._wiring.check_open()
            batches = self._read_inputs(max_messages)
            remaining = deadline - time.monotonic()
            if batches:
                self._pace.begin(time.monotonic())
                self._is_behind = sum(len(batch.messages) for batch in batches) >= max_messages
                self._pause_s = SHORTEST_PAUSE_S
            if batches or remaining <= 0:
                return batches
            time.sleep(min(self._pause_s, remaining))
            self._pause_s = min(self._pause_s * 2, LONGEST_PAUSE_S)

    def _read_inputs(self, max_messages: int) -> list[Batch]:
        # The bell first: what is committed after this look rings again.
        bell, now = self._wiring.look(), time.monotonic()
        if bell and bell == self._exhausted_bell and now < self._exhausted_until:
            return []
        ends = {topic: self._reader.end_offsets(topic) for topic in self._inputs}
        waiting = {
            at: ends[at.topic][at.partition] - position
            for at, position in self._positions.items()
            if ends[at.topic][at.partition] > position
        }
        if not waiting:
            self._exhausted_bell, self._exhausted_until = bell, now + BELL_TRUSTED_S
        batches = []
        for at, wanted in share_out(waiting, max_messages, self._turn).items():
            position = self._positions[at]
            messages = self._reader.read_messages(at.topic, at.partition, position, wanted)
            # Nothing left of them: retention or `release` deleted all there were.
            following = messages[-1].offset + 1 if messages else ends[at.topic][at.partition]
            self._positions[at] = following
            if messages:
                home = self._wiring.home_of(at.topic, at.partition)
                batches.append(Batch(at.topic, at.partition, messages, following, home))
        self._turn += 1
        return batches

    def state(self, partition: int) -> PartitionState:
        return self._files[partition].state

    def emit(self, partition: int, topic: str, messages: Sequence[tuple[bytes, bytes]]) -> None:
        if self._wiring.is_split(topic):
            raise ValueError(f"topic {topic} has its own key: use emit_keyed")
        if messages:
            keys, values = self._buffer(partition, topic, partition)
            keys += [key for key, _ in messages]
            values += [value for _, value in messages]

    def emit_keyed(self, partition: int, topic: str, messages: Sequence[tuple[int, bytes]]) -> None:
        if not self._wiring.is_split(topic):
            raise ValueError(f"topic {topic} keeps the partition of its input: use emit")
        for key, value in messages:
            keys, values = self._buffer(partition, topic, partition_of(key, self._wiring.partitions))
            keys.append(key.to_bytes(8, "big"))
            values.append(value)

    def _buffer(self, partition: int, topic: str, target: int) -> tuple[list[bytes], list[bytes]]:
        if partition not in self._files:
            raise ValueError(f"partition {partition} isn't owned by this worker ({self._partitions})")
        if topic not in self._claimed:
            with translate_errors(self._wiring.directory, "Registering a producer in"):
                self._wiring.claim(topic)
            self._claimed.add(topic)
        return self._outputs[partition].setdefault((topic, target), ([], []))

    def commit(self, batches: Sequence[Batch]) -> None:
        self._wiring.check_open()
        offsets: dict[int, dict[TopicPartition, int]] = defaultdict(dict)
        for batch in batches:
            offsets[batch.home][TopicPartition(batch.topic, batch.partition)] = batch.next_offset
        needed = self._released_outputs()
        merged = self._partition_to_merge()
        for partition, file in self._files.items():
            outputs = self._outputs.pop(partition, {})
            if not (outputs or partition in offsets or file.state.failed or file.connection.in_transaction):
                continue
            crash_point("log.committing")
            with file.state.writing():
                for (topic, target), (keys, values) in outputs.items():
                    file.append_output(topic, target, keys, values)
                file.set_inputs(offsets.get(partition, {}))
                self._delete_released(partition, file, needed)
                file.state.stage(merge=partition == merged)
                file.connection.execute("COMMIT")
            file.state.settle()
            crash_point("log.committed")
            self._bound_wal(file)
        self._wiring.ring()
        self._pace.end(time.monotonic())

    def _partition_to_merge(self) -> int | None:
        """One at a time, so that no commit waits for all of them."""
        full = [partition for partition, file in self._files.items() if file.state.wants_merge]
        return max(full, key=lambda p: self._files[p].state.entries_in_memory, default=None)

    def _bound_wal(self, file: PartitionFile) -> None:
        size = wal_bytes(file.path)
        if size >= CHECKPOINT_NOW_BYTES:
            with translate_errors(file.path, "Copying the WAL of"):
                file.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        elif size >= CHECKPOINT_BYTES:
            self._background.submit(file.path, lambda: checkpoint_passive(file.path))

    def _released_outputs(self) -> dict[str, Mapping[int, int]]:
        """Every few seconds: per topic of ours, what consumers still need."""
        if time.monotonic() - self._released_at < RELEASE_INTERVAL_S:
            return {}
        self._released_at = time.monotonic()
        topics = {topic for file in self._files.values() for topic, _ in file.ends}
        needed = {topic: self._wiring.needed_from(topic) for topic in topics}
        return {topic: offsets for topic, offsets in needed.items() if offsets is not None}

    def _delete_released(
        self, partition: int, file: PartitionFile, needed: Mapping[str, Mapping[int, int]]
    ) -> None:
        for topic, target in file.ends if needed else ():
            if topic in needed:
                split = self._wiring.is_split(topic)
                physical = target * self._wiring.partitions + partition if split else target
                file.delete_released(topic, target, needed[topic].get(physical, 0))

    def scrub(self, partition: int) -> bool:
        self._wiring.check_open()
        file = self._files[partition]
        ends = self._scrubbing.setdefault(partition, dict(file.ends))
        is_needed = False
        with translate_errors(file.path, "Scrubbing"):
            with file.state.writing():
                for (topic, target), end in ends.items():
                    needed = self._wiring.needed_from(topic)
                    split = self._wiring.is_split(topic)
                    physical = target * self._wiring.partitions + partition if split else target
                    released = 0 if needed is None else needed.get(physical, 0)
                    is_needed |= released < end
                    while file.delete_released(topic, target, released):
                        pass
                file.state.stage(merge=True)
                file.connection.execute("COMMIT")
            file.state.settle()
            if is_needed:
                return False
            file.connection.execute("VACUUM")
            while wal_bytes(file.path):
                file.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        del self._scrubbing[partition]
        return True

    def rollback(self) -> None:
        self._outputs.clear()
        self._exhausted_bell = b""
        for file in self._files.values():
            file.rollback()
        self._positions = self.committed()

    def committed(self) -> dict[TopicPartition, int]:
        return {
            at: offset
            for file in self._files.values()
            for at, offset in file.inputs.items()
            if at.topic in self._inputs
        }

    def close(self) -> None:
        self._background.close()
        self._reader.close()
        self._close_files()

    def _close_files(self) -> None:
        for file in self._files.values():
            file.close()
        self._files.clear()


def share_out(waiting: Mapping[TopicPartition, int], limit: int, turn: int) -> dict[TopicPartition, int]:
    """How many messages to take from each partition, at most `limit` in all.

    When more waits, partitions with less than an equal share are taken whole and the others by turns, each
    with all that fits: the more hits of a partition come together, the fewer times a visitor's state is read
    and written (8 partitions with a long backlog: 10 % less CPU for a hit than with equal shares)."""
    if sum(waiting.values()) <= limit:
        return dict(waiting)
    equal_share = limit // len(waiting)
    shares = {at: count for at, count in waiting.items() if count <= equal_share}
    limit -= sum(shares.values())
    others = [at for at in waiting if at not in shares]
    first = turn % len(others)
    for at in others[first:] + others[:first]:
        if limit == 0:
            break
        shares[at] = min(waiting[at], limit)
        limit -= shares[at]
    return shares


def group_names(directory: Path) -> list[str]:
    try:
        return sorted(os.listdir(directory))
    except FileNotFoundError:
        return []
