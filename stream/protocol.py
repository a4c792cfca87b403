"""What every log offers. Two implementations: stream.embedded (SQLite) and stream.kafka.

A log has topics, a topic has partitions, a partition is a sequence of messages with offsets from 0.
Offsets increase by one on the embedded log and may have gaps on Kafka (control records), so callers use
`next_offset` and never count. The number of partitions is fixed when a log is created.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol


class LogError(Exception):
    """The log cannot do what was asked now (disk full, broker away)."""


class LogMismatchError(LogError):
    """The log exists with another number of partitions, or is of a newer version; says the way out."""


class LogInUseError(LogError):
    """Another process holds what only one may write."""


class LogResetError(LogError):
    """The log was emptied since it was opened: close it and open it again, then repeat what was asked."""


class Message(NamedTuple):
    offset: int
    key: bytes
    value: bytes


class TopicPartition(NamedTuple):
    topic: str
    partition: int


@dataclass(frozen=True)
class Batch:
    """Consecutive messages of one partition, in offset order. Never empty.

    `home` is the worker's partition that the batch belongs to: whose state its messages concern and from
    which outputs made of them are emitted. It equals `partition` except on topics filled by `emit_keyed`,
    which a log may split further (one sequence per target and source): always use `home` for `state` and
    `emit`, and `partition` where an offset is meant (`read`, `committed`, `release`, tallies).
    """

    topic: str
    partition: int
    messages: Sequence[Message]
    next_offset: int
    home: int = -1

    def __post_init__(self) -> None:
        if self.home < 0:
            object.__setattr__(self, "home", self.partition)


class Appender(Protocol):
    """A writer of a topic outside units of work (ingest on `hits`, reporting on `config`).

    Its methods may be called from any thread, one call at a time."""

    def append(self, entries: Sequence[tuple[int, bytes, bytes]]) -> Sequence[int]:
        """Append (partition, key, value) triples; returns their offsets once all are durable.

        Raises LogError; then, or when the process dies, some of the messages may have been appended: of each
        partition the first ones, in their order. (The embedded log appends all or nothing. On a broker that
        would need a transaction per append, whose markers would make gaps in the offsets of `hits`, and the
        sum of the tallies is the offsets consumed. Hits carry a `hit_id`, so appending the same ones again
        counts none twice.) Blocking: called from a thread that is not the event loop's."""
        ...

    def erase(self, places: Mapping[int, Collection[int]]) -> bool:
        """Remove key and value of messages (partition -> offsets) from the storage; their offsets stay and
        read as empty. What is gone already, by retention or an earlier call, is no error. False when the log
        can't: then its retention removes them. Blocking; beside `append` from another thread."""
        return not places

    def trim(self, positions: Mapping[int, int]) -> None:
        """Remove what lies below these offsets (by partition), which nobody reads again, at once or as far as
        it fills whole files, of which the newest ends here. Blocking; beside `append` from another thread.
        """
        ...

    def close(self) -> None: ...


class Reader(Protocol):
    """Reads messages without owning a position: the caller says from where.

    To be used by one thread at a time; may be opened in one thread and used in another. Needs no reopening to
    see what other processes append."""

    def read(self, topic: str, partition: int, offset: int, max_messages: int) -> Batch | None:
        """Messages from `offset` on; None when there is none yet. When `offset` was already deleted by
        retention, the first message that exists follows (its offset shows the gap)."""
        ...

    def end_offsets(self, topic: str) -> Mapping[int, int]:
        """Next offset of each partition that `read` takes for the topic (more of them than the log's
        partitions for a topic filled by `emit_keyed`); complete for everything durable at the time of the
        call."""
        ...

    def wait(self, timeout: float) -> bool:
        """Sleeps until something was committed to the log after the last time this returned, or until
        `timeout` seconds have passed; whether something was. A hint, for loops that would otherwise poll."""
        ...

    def close(self) -> None: ...


class State(Protocol):
    """Key-value tables of one partition. Reads see the unit of work's own writes."""

    def get_many(self, table: str, keys: Sequence[bytes]) -> dict[bytes, bytes]:
        """The values that exist."""
        ...

    def put_many(self, table: str, items: Iterable[tuple[bytes, bytes]]) -> None: ...

    def delete_many(self, table: str, keys: Iterable[bytes]) -> None: ...

    def scan(
        self, table: str, start: bytes, end: bytes, limit: int = -1, *, reverse: bool = False
    ) -> Sequence[tuple[bytes, bytes]]:
        """Items with start <= key < end, in key order; from the end when `reverse`, which with `limit=1`
        finds the last one before `end`."""
        ...


class Worker(Protocol):
    """A member of a processing group: owns partitions, their state, outputs and input offsets.

    To be used by one thread at a time."""

    @property
    def partitions(self) -> Sequence[int]:
        """Those whose inputs `poll` gives now. They change only in `poll`, and only for a worker that shares
        the partitions with others. When one leaves, what is not committed of it is dropped, batches that were
        polled included; when it comes (back), its `state` is another object."""
        ...

    def poll(self, max_messages: int, timeout: float) -> Sequence[Batch]:
        """Next messages of the inputs after the committed and already polled ones; empty after `timeout`
        seconds without any. At most one batch per (topic, partition); `max_messages` is for all together and
        is shared out fairly among the partitions that have messages."""
        ...

    def state(self, partition: int) -> State: ...

    def emit(self, partition: int, topic: str, messages: Sequence[tuple[bytes, bytes]]) -> None:
        """Buffer outputs (key, value) made from inputs of `partition`, for the same partition of a
        co-partitioned topic."""
        ...

    def emit_keyed(self, partition: int, topic: str, messages: Sequence[tuple[int, bytes]]) -> None:
        """Buffer outputs for a topic partitioned by an unsigned 64-bit key (topics.partition_of), made from
        inputs of `partition`. The key of such a message is those 8 bytes, big-endian."""
        ...

    def commit(self, batches: Sequence[Batch]) -> None:
        """Make outputs, state and the input offsets past `batches` durable together: everything of one `home`
        partition is atomic; a failure may leave some partitions of the batch committed and others not. What
        belongs to partitions that left since they were polled is passed over.
        Raises LogError, after which `rollback` is called and the inputs of those not committed come again.
        Outputs, state and `batches` must be of the same partitions; `batches` may be empty."""
        ...

    def scrub(self, partition: int) -> bool:
        """Remove from the storage what was deleted from the partition's state and what consumers of its
        outputs have released. Between units of work. False when something emitted before the first call is
        still needed by a consumer: call again later. May take as long as copying the partition's files."""
        ...

    def rollback(self) -> None:
        """Forget uncommitted outputs and state, and poll again from the committed offsets."""
        ...

    def committed(self) -> Mapping[TopicPartition, int]:
        """Next input offset per (topic, partition) of the inputs that belong to the owned partitions."""
        ...

    def close(self) -> None: ...


@dataclass(frozen=True)
class SecretChanges:
    """By the hash of a token its encoded grant, by login the encoded user; None erases."""

    tokens: Mapping[bytes, bytes | None] = field(default_factory=dict)
    users: Mapping[str, bytes | None] = field(default_factory=dict)


class Secrets(Protocol):
    """Tokens, users and salts of an instance, shared by its processes, erasable. May be used by several
    threads."""

    def instance_salt(self) -> bytes:
        """Of the hashes of tokens; the same for as long as the epoch."""
        ...

    def version(self) -> int:
        """Another number when tokens or users were changed by another process. Microseconds."""
        ...

    def tokens(self) -> Mapping[bytes, bytes]: ...

    def users(self) -> Mapping[str, bytes]:
        """In the order of logins."""
        ...

    def update(self, decide: Callable[[Mapping[bytes, bytes]], SecretChanges]) -> None:
        """Makes the changes that `decide` finds for the tokens as they are now; durable on return."""
        ...

    def salt(self, site_id: int, day: int, fresh: bytes) -> bytes:
        """The salt; `fresh` where there is none yet, which is then the salt for everybody."""
        ...

    def forget_salts_before(self, day: int) -> None: ...

    def close(self) -> None: ...


class Log(Protocol):
    """A log opened by one process."""

    @property
    def partitions(self) -> int: ...

    @property
    def is_remote(self) -> bool:
        """Whether asking it may take long, since it is elsewhere: not to be done on an event loop."""
        ...

    @property
    def epoch(self) -> int:
        """Part of every row's version; grows when the log is emptied. The one this instance was opened at."""
        ...

    def current_epoch(self) -> int:
        """The log's epoch now: when it differs from `epoch`, the log was emptied; close and open it again.
        Cheap enough for every turn of an idle loop."""
        ...

    def reset(self) -> int:
        """Empties the log at once, for all processes, and returns the new epoch. What others do with the
        old epoch raises LogResetError; nothing that was acknowledged after this call is lost."""
        ...

    def remove_old_epochs(self) -> None:
        """Deletes what is left of epochs before the current one; may take long."""
        ...

    def appender(self, topic: str, timeout_s: float = 0.0, number: int = 0) -> Appender:
        """`timeout_s`: how long an append may wait for a broker; 0: a usual time. Several processes of one
        machine may append to a topic, each with a `number` of its own. Raises LogInUseError when another
        process of this machine has the number."""
        ...

    def reader(self) -> Reader: ...

    def secrets(self) -> Secrets: ...

    def worker(self, group: str, inputs: Sequence[str], partitions: Sequence[int] | None) -> Worker:
        """A worker of these partitions. None: of those that the log assigns, shared out among the group's
        workers where the log can do that, else all. Raises LogInUseError when another process owns one of the
        partitions in this group."""
        ...

    def committed(self, group: str) -> Mapping[TopicPartition, int]:
        """Committed input offsets of the group, as seen from any process. Inputs that were subscribed to but
        never committed are at 0; empty when no worker of the group ever ran."""
        ...

    def lag(self, group: str) -> Mapping[TopicPartition, int]:
        """Offsets that the group has still to consume, per input partition."""
        ...

    def sizes(self) -> Mapping[str, int]:
        """Bytes on disk, by topic or group ("hits", "processors/p0"); empty where the log isn't ours to
        measure."""
        ...

    def forget(self, positions: Mapping[TopicPartition, int], older_than_s: float = 0.0) -> None:
        """Remove what lies below these offsets, which nobody reads again, and was appended at least so long
        ago, from a log that can't remove single messages (`Appender.erase`, `Worker.scrub`). Such a log
        removes whole files, each begun at most a day before its last message: called again after a day, this
        also removes the file that held the last of the positions. Blocking."""
        ...

    def release(self, consumer: str, positions: Mapping[TopicPartition, int]) -> None:
        """Say that `consumer` needs nothing below these offsets any more; retention may then delete what no
        consumer needs and the retention time has passed. Not every log uses it."""
        ...

    def close(self) -> None:
        """Releases what the log itself holds; its appenders, readers and workers are closed on their own."""
        ...
