"""Topics with appenders: segment files that are rolled by size and age and removed whole.

A segment is named by the number of messages before it and records where each of its partitions begins. Only
the last one is written to, by one appender at a time. Its WAL is copied into it in the background, once when
it is full, and before that when small appends make it large: the way of an append is one write to the end of
a file and one fsync.
"""

import os
import sqlite3
import time
from bisect import bisect_right
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from stream import frames
from stream.faults import crash_point
from stream.protocol import Message
from stream.sqlite_files import (
    Background,
    Turn,
    checkpoint_finished,
    checkpoint_passive,
    create_file,
    lock_appender,
    open_finished,
    open_reader,
    open_writer,
    translate_errors,
    unlink_database,
    wal_bytes,
)

PAGE_SIZE = 4096
# Time stamps of directories come from a clock that ticks every few milliseconds: a listing made this soon
# after the last change may lack a later change of the same tick.
UNSETTLED_NS = 100_000_000


@dataclass(frozen=True)
class Segment:
    """`starts[p]` is the first offset of partition p that the segment can hold."""

    path: Path
    sequence: int
    created_ms: int
    starts: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class SegmentLimits:
    max_bytes: int
    max_wal_bytes: int
    """An append of one message writes 13 kB of pages: the WAL of a quiet site outgrows its content by far.
    From half of this on it is copied in the background; at this size the segment is rolled."""
    max_age_s: float
    retention_s: float | None
    """None: kept for ever."""


def create_segment(directory: Path, starts: Sequence[int]) -> Segment:
    sequence = sum(starts)
    created_ms = time.time_ns() // 1_000_000
    path = directory / f"{sequence:016d}.sqlite"
    if path.exists():  # made by a roll that failed after this
        return Segment(path, sequence, created_ms, tuple(starts))

    def schema(connection: sqlite3.Connection) -> None:
        connection.execute(f"CREATE TABLE batch {frames.BATCH_COLUMNS}")
        connection.execute("CREATE TABLE start (partition INTEGER PRIMARY KEY, next INTEGER NOT NULL)")
        connection.executemany("INSERT INTO start VALUES (?, ?)", enumerate(starts))
        connection.execute("CREATE TABLE about (created_ms INTEGER NOT NULL)")
        connection.execute("INSERT INTO about VALUES (?)", (created_ms,))

    create_file(path, PAGE_SIZE, schema)
    return Segment(path, sequence, created_ms, tuple(starts))


def list_paths(directory: Path) -> list[Path]:
    """Segment files, oldest first."""
    try:
        names = os.listdir(directory)
    except FileNotFoundError:
        return []
    return [directory / name for name in sorted(names) if name.endswith(".sqlite")]


def describe(path: Path, connection: sqlite3.Connection) -> Segment:
    starts = connection.execute("SELECT next FROM start ORDER BY partition").fetchall()
    (created_ms,) = connection.execute("SELECT created_ms FROM about").fetchone()
    return Segment(path, int(path.stem), created_ms, tuple(start for (start,) in starts))


def described(path: Path) -> Segment:
    connection = open_reader(path)
    try:
        return describe(path, connection)
    finally:
        connection.close()


def ends_of(segment: Segment, connection: sqlite3.Connection) -> list[int]:
    ends = (frames.end_of(connection, "batch", partition) for partition in range(len(segment.starts)))
    return [start if end is None else end for start, end in zip(segment.starts, ends, strict=True)]


class SegmentAppender:
    """A writer of a topic's segments (stream.protocol.Appender), alone or by turns with those of other
    numbers.

    `check_open` raises when the log was emptied; `needed_from` says which offset of each partition some
    consumer still needs first, or None when it isn't known yet; `ring` tells readers to look."""

    def __init__(
        self,
        directory: Path,
        topic: str,
        number: int,
        partitions: int,
        limits: SegmentLimits,
        check_open: Callable[[], None],
        needed_from: Callable[[], Mapping[int, int] | None],
        ring: Callable[[], None],
    ) -> None:
        self._directory = directory
        self._topic = topic
        self._limits = limits
        self._check_open = check_open
        self._needed_from = needed_from
        self._ring = ring
        self._swept_at = time.monotonic()
        with translate_errors(directory, "Opening"):
            self._lock = lock_appender(directory / "lock", topic, number)
            try:
                self._turn = Turn(directory / "turn")
                self._upkeep = Turn(directory / "upkeep")
                with self._turn:
                    paths = list_paths(directory)
                    if paths:
                        self._open(paths[-1])
                    else:
                        self._open(create_segment(directory, [0] * partitions).path)
            except BaseException:
                self._lock.close()
                raise
        self._background = Background(f"log-{topic}")
        self._background.submit("sealed", self._copy_sealed)
        ring()  # what a crash may have left committed but untold

    def _open(self, path: Path) -> None:
        self._connection = open_writer(path, cache_bytes=4 << 20, journal_size_limit=0)
        self._segment = describe(path, self._connection)
        self._copied_at = 0
        self._wal_bytes = 0
        self._copied: Segment | None = None
        self._measure()

    def _measure(self) -> None:
        """Takes in what the segment holds."""
        self._ends = ends_of(self._segment, self._connection)
        (pages,) = self._connection.execute("PRAGMA page_count").fetchone()
        self._bytes = pages * PAGE_SIZE
        self._unlooked = self._limits.max_wal_bytes
        self._failed = False

    def _catch_up(self) -> None:
        """After another's turn, or after a failed commit: what it left behind is only known after opening
        the file again."""
        reopen, self._failed = self._failed, True
        newest = (list_paths(self._directory) or [self._segment.path])[-1]
        if reopen or newest != self._segment.path:
            self._connection.close()
            self._open(newest)
        else:
            self._measure()

    @contextmanager
    def _in_turn(self) -> Iterator[None]:
        """No other appender writes meanwhile, and what others have written is known."""
        with self._turn as had_others:
            if had_others or self._failed:
                self._catch_up()
            yield

    def append(self, entries: Sequence[tuple[int, bytes, bytes]]) -> Sequence[int]:
        with translate_errors(self._segment.path, "Appending to"), self._in_turn():
            age_s = time.time() - self._segment.created_ms / 1000
            full = (
                self._bytes >= self._limits.max_bytes
                or age_s >= self._limits.max_age_s
                or self._bound_wal() >= self._limits.max_wal_bytes
            )
            if full and self._ends != list(self._segment.starts):
                self._roll()
            offsets = self._write(entries)
        self._ring()
        # After the commit: an append that a reset overtook is refused, to be repeated in the new epoch.
        self._check_open()
        if time.monotonic() - self._swept_at > 15:
            self._swept_at = time.monotonic()
            self._background.submit("retention", self.remove_expired)
        return offsets

    def _bound_wal(self) -> int:
        """Bytes of the WAL, when last looked: not at every append, a small part of its limit apart."""
        if self._unlooked < self._limits.max_wal_bytes // 64:
            return self._wal_bytes
        self._unlooked = 0
        if self._copied is self._segment:
            # What was appended during the copying in the background: little, and then the WAL starts anew.
            self._copied = None
            self._connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
        size = self._wal_bytes = wal_bytes(self._segment.path)
        start = self._limits.max_wal_bytes // 2
        if size < start:
            self._copied_at = 0
        elif size >= self._copied_at + start // 4:
            # Again after each further eighth: a reader in its middle keeps the WAL from starting anew.
            self._copied_at = size
            segment = self._segment
            self._background.submit(segment, lambda: self._copy(segment))
        return size

    def _copy(self, segment: Segment) -> None:
        checkpoint_passive(segment.path)
        self._copied = segment

    def _write(self, entries: Sequence[tuple[int, bytes, bytes]]) -> list[int]:
        keys: list[list[bytes]] = [[] for _ in self._ends]
        values: list[list[bytes]] = [[] for _ in self._ends]
        ends = self._ends.copy()
        offsets = []
        for partition, key, value in entries:
            keys[partition].append(key)
            values[partition].append(value)
            offsets.append(ends[partition])
            ends[partition] += 1
        row: list[object] = []
        size = 0
        for partition, (base, end) in enumerate(zip(self._ends, ends, strict=True)):
            if end > base:
                payload = frames.encode_frame(keys[partition], values[partition])
                row += (frames.row_id(partition, base), end - base, payload)
                size += len(payload) + 64
        self._failed = True
        crash_point("log.appending")
        if row:
            # One statement that commits itself: every statement more waits for the interpreter lock, 0.1 ms
            # and more beside a busy event loop.
            places = ", ".join(["(?, ?, ?)"] * (len(row) // 3))
            self._connection.execute(f"INSERT INTO batch VALUES {places}", row)  # noqa: S608
        crash_point("log.appended")
        self._failed = False
        self._ends = ends
        self._bytes += size
        self._unlooked += size + (len(row) // 3 + 2) * PAGE_SIZE
        return offsets

    def _roll(self) -> None:
        full, path = self._begin_segment()
        self._background.submit(path, lambda: _seal(full, path))

    def _begin_segment(self) -> tuple[sqlite3.Connection, Path]:
        """Appends go to a new one; returns the connection to the one before and its path."""
        full, path = self._connection, self._segment.path
        self._open(create_segment(self._directory, self._ends).path)
        return full, path

    def _copy_sealed(self) -> None:
        """Finishes segments whose WAL a crash left behind."""
        with self._upkeep:
            for path in list_paths(self._directory)[:-1]:
                checkpoint_finished(path)

    def remove_expired(self) -> None:
        """Unlinks the segments that are past retention and that no consumer needs."""
        if self._limits.retention_s is None:
            return
        needed = self._needed_from()
        if needed is None:
            return
        with self._upkeep:
            for path, following in pairwise(list_paths(self._directory)):
                successor = described(following)
                expired = time.time() - successor.created_ms / 1000 > self._limits.retention_s
                read = all(needed.get(p, 0) >= start for p, start in enumerate(successor.starts))
                if not (expired and read):
                    return
                unlink_database(path)

    def remove_read(self) -> None:
        """Also the newest segment goes as soon as it is past retention and every consumer has read it."""
        with translate_errors(self._directory, "Ending a segment in"):
            self._end_segment()
            self.remove_expired()

    def trim(self, positions: Mapping[int, int]) -> None:
        """Unlinks the segments without a message from `positions` on, the newest one included, which ends
        here (stream.protocol)."""
        with translate_errors(self._directory, "Removing messages of"), self._upkeep:
            self._end_segment()
            for path, following in pairwise(list_paths(self._directory)):
                if any(positions.get(p, 0) < at for p, at in enumerate(described(following).starts)):
                    return
                unlink_database(path)

    def erase(self, places: Mapping[int, Collection[int]]) -> bool:
        """Rewrites the segments that hold the messages, without their keys and values (stream.protocol)."""
        with translate_errors(self._directory, "Erasing messages in"), self._upkeep:
            with self._in_turn():
                pass  # lets go of a segment that another has ended: its old file must not stay open
            paths = list_paths(self._directory)
            for path, following in pairwise((*paths, None)):
                assert path is not None
                is_last = following is None
                wanted = self._held(path, places, is_last=is_last)
                if not any(wanted.values()):
                    continue
                if is_last:
                    self._end_segment()
                # Also of the last one: another appender may have ended it just before.
                checkpoint_finished(path)
                rewrite_without(path, wanted)
        return True

    def _held(
        self, path: Path, places: Mapping[int, Collection[int]], *, is_last: bool
    ) -> dict[int, set[int]]:
        """Of the messages, those that are in the segment with a content."""
        connection = open_reader(path) if is_last or wal_bytes(path) else open_finished(path)
        try:
            starts = describe(path, connection).starts
            found: dict[int, set[int]] = {}
            for partition, offsets in places.items():
                for offset in offsets:
                    if offset >= starts[partition]:
                        held = frames.read_frames(connection, "batch", partition, offset, 1)
                        if held and held[0].offset == offset and held[0].value:
                            found.setdefault(partition, set()).add(offset)
            return found
        finally:
            connection.close()

    def _end_segment(self) -> None:
        """Appends go to a new segment; the one before is complete in its file on return. Not an empty one."""
        with self._in_turn():
            if self._ends == list(self._segment.starts):
                return
            full, path = self._begin_segment()
        _seal(full, path)

    def close(self) -> None:
        self._background.close()
        with self._turn:
            self._connection.close()
        self._turn.close()
        self._upkeep.close()
        self._lock.close()


def rewrite_without(path: Path, places: Mapping[int, Collection[int]]) -> None:
    """Replaces a finished segment by one in which messages are empty. Who has it open reads on in the old
    file until it looks at the directory again."""
    source = open_finished(path)

    def copied(connection: sqlite3.Connection) -> None:
        for (statement,) in source.execute("SELECT sql FROM sqlite_schema WHERE type = 'table'").fetchall():
            connection.execute(statement)
        for table, columns in (("start", 2), ("about", 1)):
            rows = source.execute(f"SELECT * FROM {table}")  # noqa: S608 - our own names
            connection.executemany(f"INSERT INTO {table} VALUES ({', '.join('?' * columns)})", rows)  # noqa: S608
        batches = source.execute("SELECT id, count, payload FROM batch ORDER BY id")
        connection.executemany(
            "INSERT INTO batch VALUES (?, ?, ?)",
            ((row[0], row[1], frames.emptied(row[0], row[2], places)) for row in batches),
        )

    try:
        crash_point("log.erasing")
        create_file(path, PAGE_SIZE, copied)
    finally:
        source.close()
    for suffix in ("-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
    crash_point("log.erased")


def _seal(connection: sqlite3.Connection, path: Path) -> None:
    connection.close()
    checkpoint_finished(path)


def total_bytes(messages: Sequence[Message]) -> int:
    return sum(len(message.value) for message in messages)


class SegmentReader:
    """Reads a topic's segments from any process."""

    OPEN_FILES = 4

    def __init__(self, directory: Path, partitions: int) -> None:
        self._directory = directory
        self._partitions = partitions
        self._segments: list[Segment] = []
        self._connections: dict[Path, sqlite3.Connection] = {}
        self._listed: tuple[int, int] = (0, 0)
        self._inodes: dict[Path, int] = {}
        self._seen: tuple[sqlite3.Connection, int] | None = None
        self._ends: dict[int, int] = dict.fromkeys(range(partitions), 0)

    def _connection(self, path: Path, *, is_last: bool) -> sqlite3.Connection:
        connection = self._connections.pop(path, None)
        if connection is None:
            connection = open_reader(path) if is_last or wal_bytes(path) else open_finished(path)
            while len(self._connections) >= self.OPEN_FILES:
                self._connections.pop(next(iter(self._connections))).close()
        self._connections[path] = connection  # the last one used is the last to be closed
        return connection

    def _list(self) -> list[Segment]:
        try:
            changed = os.stat(self._directory).st_mtime_ns
        except FileNotFoundError:
            return []
        last_change, listed_at = self._listed
        if changed == last_change and listed_at - changed > UNSETTLED_NS:
            return self._segments
        self._listed = (changed, time.time_ns())
        paths = list_paths(self._directory)
        known = {segment.path: segment for segment in self._segments}
        inodes = {path: os.stat(path).st_ino for path in paths}
        # A segment that was rewritten (messages erased) is another file under the same name.
        for path in {path for path in known if self._inodes.get(path) != inodes.get(path)}:
            known.pop(path)
            gone = self._connections.pop(path, None)
            if gone is not None:
                gone.close()
        self._inodes = inodes
        self._segments = [
            known.get(path) or describe(path, self._connection(path, is_last=path == paths[-1]))
            for path in paths
        ]
        return self._segments

    def read(self, partition: int, offset: int, max_messages: int) -> list[Message]:
        segments = self._list()
        if not segments:
            return []
        at = bisect_right(segments, offset, key=lambda segment: segment.starts[partition]) - 1
        messages: list[Message] = []
        for segment in segments[max(0, at) :]:
            wanted = max_messages - len(messages)
            following = messages[-1].offset + 1 if messages else offset
            if messages and following < segment.starts[partition]:
                break  # the segment before was not read to its end
            connection = self._connection(segment.path, is_last=segment is segments[-1])
            messages += frames.read_frames(connection, "batch", partition, following, wanted)
            if len(messages) >= max_messages or total_bytes(messages) >= frames.MAX_READ_BYTES:
                break
        return messages

    def end_offsets(self) -> dict[int, int]:
        segments = self._list()
        if segments:
            last = segments[-1]
            connection = self._connection(last.path, is_last=True)
            # data_version changes with every commit of another connection, and costs microseconds.
            (version,) = connection.execute("PRAGMA data_version").fetchone()
            if self._seen is None or self._seen[0] is not connection or self._seen[1] != version:
                self._ends = dict(enumerate(ends_of(last, connection)))
                self._seen = (connection, version)
        return self._ends

    def close(self) -> None:
        for connection in self._connections.values():
            connection.close()
        self._connections.clear()
        self._segments = []
        self._listed = (0, 0)
        self._seen = None
