"""What every log offers. Two implementations: stream.embedded (SQLite) and stream.kafka.

A log has topics, a topic has partitions, a partition is a sequence of messages with offsets from 0.
Offsets increase by one on the embedded log and may have gaps on Kafka (control records), so callers use
`next_offset` and never count. The number of partitions is fixed when a log is created.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol


class LogError(Exception):
    """The log cannot do what was asked now (disk full, broker away). Nothing was appended."""


class LogMismatchError(LogError):
    """The log exists with another number of partitions, or is of a newer version; says the way out."""


class LogInUseError(LogError):
    """Another process holds what only one may write."""


class Message(NamedTuple):
    offset: int
    key: bytes
    value: bytes


class TopicPartition(NamedTuple):
    topic: str
    partition: int


@dataclass(frozen=True)
class Batch:
    """Consecutive messages of one partition, in offset order. Never empty."""

    topic: str
    partition: int
    messages: Sequence[Message]
    next_offset: int


class Appender(Protocol):
    """The one writer of a topic outside units of work (ingest on `hits`, reporting on `config`)."""

    def append(self, entries: Sequence[tuple[int, bytes, bytes]]) -> Sequence[int]:
        """Append (partition, key, value) triples; returns their offsets once all are durable.

        All or nothing. Raises LogError. Blocking: called from a thread that is not the event loop's."""
        ...

    def close(self) -> None: ...


class Reader(Protocol):
    """Reads messages without owning a position: the caller says from where."""

    def read(self, topic: str, partition: int, offset: int, max_messages: int) -> Batch | None:
        """Messages from `offset` on; None when there is none yet. When `offset` was already deleted by
        retention, the first message that exists follows (its offset shows the gap)."""
        ...

    def end_offsets(self, topic: str) -> Mapping[int, int]:
        """Next offset of each partition; complete for everything durable at the time of the call."""
        ...

    def close(self) -> None: ...


class State(Protocol):
    """Key-value tables of one partition. Reads see the unit of work's own writes."""

    def get_many(self, table: str, keys: Sequence[bytes]) -> dict[bytes, bytes]:
        """The values that exist."""
        ...

    def put_many(self, table: str, items: Iterable[tuple[bytes, bytes]]) -> None: ...

    def delete_many(self, table: str, keys: Iterable[bytes]) -> None: ...

    def scan(self, table: str, start: bytes, end: bytes, limit: int = -1) -> Sequence[tuple[bytes, bytes]]:
        """Items with start <= key < end, in key order."""
        ...


class Worker(Protocol):
    """A member of a processing group: owns partitions, their state, outputs and input offsets."""

    @property
    def partitions(self) -> Sequence[int]: ...

    def poll(self, max_messages: int, timeout: float) -> Sequence[Batch]:
        """Next messages of the inputs after the committed and already polled ones; empty after `timeout`
        seconds without any. At most one batch per (topic, partition)."""
        ...

    def state(self, partition: int) -> State: ...

    def emit(self, partition: int, topic: str, messages: Sequence[tuple[bytes, bytes]]) -> None:
        """Buffer outputs (key, value) made from inputs of `partition`, for the same partition of a
        co-partitioned topic."""
        ...

    def emit_keyed(self, partition: int, topic: str, messages: Sequence[tuple[int, bytes]]) -> None:
        """Buffer outputs for a topic partitioned by an unsigned 64-bit key (topics.partition_of)."""
        ...

    def commit(self, batches: Sequence[Batch]) -> None:
        """Make outputs, state and the input offsets past `batches` durable together. Raises LogError, after
        which `rollback` is called and the inputs come again."""
        ...

    def rollback(self) -> None:
        """Forget uncommitted outputs and state, and poll again from the committed offsets."""
        ...

    def committed(self) -> Mapping[TopicPartition, int]:
        """Next input offset per (topic, partition) of the owned partitions."""
        ...

    def close(self) -> None: ...


class Log(Protocol):
    """A log opened by one process."""

    @property
    def partitions(self) -> int: ...

    @property
    def epoch(self) -> int:
        """Part of every row's version; grows when the log is emptied."""
        ...

    def appender(self, topic: str) -> Appender:
        """Raises LogInUseError when another process appends to the topic."""
        ...

    def reader(self) -> Reader: ...

    def worker(self, group: str, inputs: Sequence[str], partitions: Sequence[int]) -> Worker:
        """Raises LogInUseError when another process owns one of the partitions in this group."""
        ...

    def committed(self, group: str) -> Mapping[TopicPartition, int]:
        """Committed input offsets of the group, as seen from any process."""
        ...

    def release(self, consumer: str, positions: Mapping[TopicPartition, int]) -> None:
        """Say that `consumer` needs nothing below these offsets any more; retention may then delete what no
        consumer needs and the retention time has passed. Not every log uses it."""
        ...
