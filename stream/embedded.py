"""The embedded log: SQLite files in one directory, shared by the processes of one machine.

    meta.json                         format version and number of partitions, fixed at creation
    epoch                             number of the current epoch; replaced when the log is emptied
    <epoch>/topics/<topic>/           segments of topics with appenders (stream.segments)
    <epoch>/groups/<group>/p<k>.sqlite  state, outputs and input offsets of a partition (stream.groups)
    <epoch>/producers/<topic>         name of the group that emits the topic
    <epoch>/bell                      rung at every commit (stream.sqlite_files.Bell)
    <epoch>/consumers/<name>.json     what other consumers need no more (stream.consumers)

Topics filled by `emit_keyed` have partitions * partitions physical partitions: number target * partitions +
source, since each source partition's owner writes only to its own file.
"""

import json
import os
import shutil
import sqlite3
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TypeVar

from schemas.topics import DEFAULT_PARTITIONS, LINKS, ORDER_VERDICTS, ORDERS, REPAIRS, TOPICS
from stream import consumers
from stream.groups import (
    BELL_TRUSTED_S,
    LONGEST_PAUSE_S,
    SHORTEST_PAUSE_S,
    GroupReader,
    GroupWiring,
    GroupWorker,
    group_names,
)
from stream.protocol import (
    Batch,
    Log,
    LogError,
    LogMismatchError,
    LogResetError,
    Message,
    Reader,
    TopicPartition,
)
from stream.secrets_file import SecretsFile
from stream.segments import SegmentAppender, SegmentLimits, SegmentReader
from stream.sqlite_files import Bell, make_directory, sync_directory, translate_errors, write_small_file

FORMAT = 1
SPLIT_TOPICS = frozenset(topic.name for topic in (LINKS, ORDERS, ORDER_VERDICTS, REPAIRS))
SINGLE_TOPICS = frozenset(topic.name for topic in TOPICS if topic.single_partition)
RETAINED_TOPICS = frozenset({"hits"})
"""Topics with an appender that lose what is old; the others are kept for ever."""

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class EmbeddedLimits:
    segment_bytes: int = 64 << 20
    segment_wal_bytes: int = 192 << 20
    segment_age: timedelta = timedelta(hours=6)
    hits_retention: timedelta = timedelta(days=2)
    state_cache_bytes: int = 256 << 20
    """Page cache of a process that owns all partitions of a group."""


class EmbeddedLog(Log):
    """stream.protocol.Log on a directory, which is created when missing.

    `partitions` None takes those of the log that exists. Raises LogMismatchError when the log has another
    number, LogError when the directory can't be used."""

    def __init__(
        self, directory: Path, partitions: int | None = None, limits: EmbeddedLimits = EmbeddedLimits()
    ) -> None:
        self.directory = directory
        self._limits = limits
        with translate_errors(directory, "Opening the log in"):
            directory.mkdir(parents=True, exist_ok=True)
            self._partitions = _agree_on_partitions(directory, partitions)
            self._epoch_file = directory / "epoch"
            if not self._epoch_file.exists():
                _link_new(self._epoch_file, b"1")
            self._epoch_stat: tuple[int, int] = (0, 0)
            self._epoch_now = 0
            while True:
                self._epoch = self.current_epoch()
                try:
                    self._make_directories()
                    break
                except FileNotFoundError:
                    if self.current_epoch() == self._epoch:
                        raise

    def _make_directories(self) -> None:
        self.root = self.directory / str(self._epoch)
        make_directory(self.root)
        for name in ("topics", "groups", "producers", "consumers"):
            make_directory(self.root / name)
        self.bell = Bell(self.root / "bell")

    @property
    def limits(self) -> EmbeddedLimits:
        return self._limits

    @property
    def partitions(self) -> int:
        return self._partitions

    @property
    def is_remote(self) -> bool:
        return False

    @property
    def epoch(self) -> int:
        return self._epoch

    def current_epoch(self) -> int:
        found = os.stat(self._epoch_file)
        if (found.st_ino, found.st_mtime_ns) != self._epoch_stat:
            self._epoch_now = int(self._epoch_file.read_text())
            self._epoch_stat = (found.st_ino, found.st_mtime_ns)
        return self._epoch_now

    def check_open(self) -> None:
        """Raises LogResetError when the log was emptied since it was opened."""
        if self.current_epoch() != self._epoch:
            raise LogResetError(
                f"the log in {self.directory} was emptied: it is at epoch {self._epoch_now}, this process has"
                f" opened epoch {self._epoch}; close it and open it again"
            )

    def reset(self) -> int:
        """Empties the log at once and returns the new epoch; other processes notice by `current_epoch`.

        The old files are removed by the next `remove_old_epochs`, which may take longer."""
        with translate_errors(self.directory, "Emptying"):
            epoch = self.current_epoch() + 1
            make_directory(self.directory / str(epoch))
            write_small_file(self._epoch_file, str(epoch).encode(), durable=True)
        return epoch

    def remove_old_epochs(self) -> None:
        """Removes the files of epochs before the current one; processes that still have them open read on."""
        for name in os.listdir(self.directory):
            if name.isdigit() and int(name) < self.current_epoch():
                shutil.rmtree(self.directory / name, ignore_errors=True)

    def topic_partitions(self, topic: str) -> int:
        """How many physical partitions the topic has."""
        if topic in SINGLE_TOPICS:
            return 1
        return self._partitions**2 if topic in SPLIT_TOPICS else self._partitions

    def home_of(self, topic: str, partition: int) -> int:
        """The worker's partition to which a physical partition belongs."""
        return partition // self._partitions if topic in SPLIT_TOPICS else partition

    def appender(
        self,
        topic: str,
        timeout_s: float = 0.0,  # noqa: ARG002
        number: int = 0,
    ) -> SegmentAppender:
        self.check_open()
        directory = self.root / "topics" / topic
        with translate_errors(directory, "Opening"):
            if (self.root / "producers" / topic).exists():
                raise ValueError(f"topic {topic} is emitted by a group; it can't have an appender")
            make_directory(directory)
        retention = self._limits.hits_retention.total_seconds() if topic in RETAINED_TOPICS else None
        return SegmentAppender(
            directory,
            topic,
            number,
            self.topic_partitions(topic),
            SegmentLimits(
                max_bytes=self._limits.segment_bytes,
                max_wal_bytes=self._limits.segment_wal_bytes,
                max_age_s=self._limits.segment_age.total_seconds(),
                retention_s=retention,
            ),
            self.check_open,
            lambda: self._needed_from(topic),
            self.bell.ring,
        )

    def reader(self) -> "EmbeddedReader":
        self.check_open()
        return EmbeddedReader(self)

    def secrets(self) -> SecretsFile:
        return SecretsFile(self)

    def worker(self, group: str, inputs: Sequence[str], partitions: Sequence[int] | None) -> GroupWorker:
        self.check_open()
        if partitions is None:
            partitions = range(self._partitions)
        for topic in inputs:
            if topic in SINGLE_TOPICS:
                raise ValueError(f"topic {topic} has one partition; follow it with a reader")
        directory = self.root / "groups" / group
        with translate_errors(directory, "Opening"):
            make_directory(directory)
        wiring = GroupWiring(
            directory=directory,
            group=group,
            partitions=self._partitions,
            cache_bytes=self._limits.state_cache_bytes,
            home_of=self.home_of,
            claim=lambda topic: self._claim(topic, group),
            is_split=SPLIT_TOPICS.__contains__,
            needed_from=self._needed_from,
            check_open=self.check_open,
            ring=self.bell.ring,
            look=self.bell.look,
        )
        return GroupWorker(wiring, EmbeddedReader(self), inputs, partitions)

    def _claim(self, topic: str, group: str) -> None:
        """Records who emits the topic; ValueError when another group or an appender does."""
        path = self.root / "producers" / topic
        if (self.root / "topics" / topic).exists():
            raise ValueError(f"topic {topic} has an appender; group {group} can't emit it")
        if not path.exists():
            _link_new(path, group.encode())
        producer = path.read_text()
        if producer != group:
            raise ValueError(f"topic {topic} is emitted by group {producer}; group {group} can't")

    def _group_reader(self, group: str) -> GroupReader:
        return GroupReader(self.root / "groups" / group, self._partitions)

    def committed(self, group: str) -> dict[TopicPartition, int]:
        directory = self.root / "groups" / group
        with translate_errors(directory, "Reading"):
            reader = self._group_reader(group)
            try:
                return reader.inputs()
            finally:
                reader.close()

    def lag(self, group: str) -> dict[TopicPartition, int]:
        committed = self.committed(group)
        reader = self.reader()
        try:
            ends = {topic: reader.end_offsets(topic) for topic in {at.topic for at in committed}}
        finally:
            reader.close()
        return {at: max(0, ends[at.topic][at.partition] - offset) for at, offset in committed.items()}

    def sizes(self) -> dict[str, int]:
        sizes: dict[str, int] = {}
        for topic in group_names(self.root / "topics"):
            sizes[topic] = _bytes_under(self.root / "topics" / topic, "")
        for group in group_names(self.root / "groups"):
            for partition in range(self._partitions):
                sizes[f"{group}/p{partition}"] = _bytes_under(
                    self.root / "groups" / group, f"p{partition}.sqlite"
                )
        return sizes

    def forget(self, positions: Mapping[TopicPartition, int], older_than_s: float = 0.0) -> None:
        """Single messages are removed here, and files go when everybody has read them."""

    def release(self, consumer: str, positions: Mapping[TopicPartition, int]) -> None:
        with translate_errors(self.root / "consumers", "Writing positions to"):
            consumers.release(self.root / "consumers", consumer, positions)

    def released(self, consumer: str) -> dict[TopicPartition, int]:
        """What the consumer said that it needs no more."""
        return consumers.read_positions(self.root / "consumers" / f"{consumer}.json")

    def forget_consumer(self, consumer: str) -> None:
        """Retention waits no more for a consumer that is gone for good."""
        (self.root / "consumers" / f"{consumer}.json").unlink(missing_ok=True)

    def _needed_from(self, topic: str) -> dict[int, int] | None:
        """The first offset of each partition that some group or consumer of the topic needs; None when nobody
        consumes it yet, so that nothing may be deleted."""
        followers = consumers.all_positions(self.root / "consumers")
        followers += [self.committed(group) for group in group_names(self.root / "groups")]
        of_topic = [
            {at.partition: offset for at, offset in positions.items() if at.topic == topic}
            for positions in followers
            if any(at.topic == topic for at in positions)
        ]
        if not of_topic:
            return None
        return {
            partition: min(offsets.get(partition, 0) for offsets in of_topic)
            for partition in range(self.topic_partitions(topic))
        }

    def close(self) -> None:
        self.bell.close()


class EmbeddedReader(Reader):
    """stream.protocol.Reader over all topics of an embedded log."""

    def __init__(self, log: EmbeddedLog) -> None:
        self._log = log
        self._segments: dict[str, SegmentReader] = {}
        self._groups: dict[str, GroupReader] = {}
        self._producers: dict[str, str] = {}
        self._mutex = threading.Lock()
        self._heard = b"never"
        self._known_ends: dict[str, tuple[bytes, float, dict[int, int]]] = {}
        """Topic -> bell at which the ends were read, until when to rely on it, the ends."""

    def _segment_reader(self, topic: str) -> SegmentReader | None:
        reader = self._segments.get(topic)
        if reader is None:
            directory = self._log.root / "topics" / topic
            if not directory.exists():
                return None
            reader = self._segments[topic] = SegmentReader(directory, self._log.topic_partitions(topic))
        return reader

    def _group_reader(self, topic: str) -> GroupReader | None:
        group = self._producers.get(topic)
        if group is None:
            try:
                group = (self._log.root / "producers" / topic).read_text()
            except FileNotFoundError:
                return None
            self._producers[topic] = group
        if group not in self._groups:
            self._groups[group] = GroupReader(self._log.root / "groups" / group, self._log.partitions)
        return self._groups[group]

    def _place(self, topic: str, partition: int) -> tuple[int, int]:
        """Source file and target of a physical partition of an emitted topic."""
        if topic in SPLIT_TOPICS:
            target, source = divmod(partition, self._log.partitions)
            return source, target
        return partition, partition

    def read(self, topic: str, partition: int, offset: int, max_messages: int) -> Batch | None:
        messages = self.read_messages(topic, partition, offset, max_messages)
        if not messages:
            return None
        home = self._log.home_of(topic, partition)
        return Batch(topic, partition, messages, messages[-1].offset + 1, home)

    def read_messages(self, topic: str, partition: int, offset: int, max_messages: int) -> list[Message]:
        def look() -> list[Message]:
            segments = self._segment_reader(topic)
            if segments is not None:
                return segments.read(partition, offset, max_messages)
            group = self._group_reader(topic)
            if group is None:
                return []
            source, target = self._place(topic, partition)
            return group.read(source, topic, target, offset, max_messages)

        return self._reading(topic, look)

    def wait(self, timeout: float) -> bool:
        deadline = time.monotonic() + timeout
        pause = SHORTEST_PAUSE_S
        while (bell := self._log.bell.look()) == self._heard:
            remaining = deadline - time.monotonic()
            if remaining <= 0:
                return False
            self._log.check_open()
            time.sleep(min(pause, remaining))
            pause = min(pause * 2, LONGEST_PAUSE_S)
        self._heard = bell
        return True

    def end_offsets(self, topic: str) -> dict[int, int]:
        bell, now = self._log.bell.look(), time.monotonic()
        known = self._known_ends.get(topic)
        if bell and known is not None and known[0] == bell and now < known[1]:
            self._log.check_open()
            return known[2]
        ends = self._look_at_ends(topic)
        self._known_ends[topic] = (bell, now + BELL_TRUSTED_S, ends)
        return ends

    def _look_at_ends(self, topic: str) -> dict[int, int]:
        def look() -> dict[int, int]:
            segments = self._segment_reader(topic)
            if segments is not None:
                return dict(segments.end_offsets())
            ends = dict.fromkeys(range(self._log.topic_partitions(topic)), 0)
            group = self._group_reader(topic)
            if group is not None:
                of_sources = group.ends()
                for partition in ends:
                    source, target = self._place(topic, partition)
                    if source in of_sources:
                        ends[partition] = of_sources[source].get((topic, target), 0)
            return ends

        return self._reading(topic, look)

    def _reading(self, topic: str, look: Callable[[], T]) -> T:
        with self._mutex:
            self._log.check_open()
            try:
                return look()
            except (sqlite3.Error, OSError):
                # A file that retention removed between listing and opening; everything is found anew once.
                self._close_files()
            self._log.check_open()
            try:
                return look()
            except (sqlite3.Error, OSError) as error:
                self._log.check_open()
                raise LogError(f"reading topic {topic} in {self._log.root} failed: {error}") from error

    def _close_files(self) -> None:
        for segments in self._segments.values():
            segments.close()
        for group in self._groups.values():
            group.close()

    def close(self) -> None:
        with self._mutex:
            self._close_files()


def _agree_on_partitions(directory: Path, wanted: int | None) -> int:
    path = directory / "meta.json"
    if not path.exists():
        partitions = DEFAULT_PARTITIONS if wanted is None else wanted
        if partitions < 1:
            raise ValueError(f"partitions must be at least 1, not {partitions}")
        _link_new(path, json.dumps({"format": FORMAT, "partitions": partitions}).encode())
    try:
        meta = json.loads(path.read_bytes())
        found_format, partitions = int(meta["format"]), int(meta["partitions"])
    except (ValueError, KeyError, TypeError) as error:
        raise LogError(f"{path} is damaged ({error}): restore it, or use another data directory") from error
    if found_format > FORMAT:
        raise LogMismatchError(
            f"the log in {directory} has format {found_format}, this version of Hitstream knows up to"
            f" {FORMAT}: run the newer version, or use another data directory"
        )
    if wanted is not None and wanted != partitions:
        raise LogMismatchError(
            f"the log in {directory} was created with {partitions} partitions and can't be changed to"
            f" {wanted}: set the number back to {partitions}, or import the hits anew into another data"
            " directory"
        )
    return partitions


def _link_new(path: Path, content: bytes) -> None:
    """Creates a small file durably; leaves it when another process was first."""
    draft = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}")
    with open(draft, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    try:
        os.link(draft, path)
    except FileExistsError:
        pass
    finally:
        draft.unlink(missing_ok=True)
    sync_directory(path.parent)


def _bytes_under(directory: Path, prefix: str) -> int:
    with os.scandir(directory) as entries:
        total = 0
        for entry in entries:
            if entry.name.startswith(prefix):
                try:
                    total += entry.stat().st_size
                except FileNotFoundError:
                    continue
        return total
