"""The log on a Kafka-compatible broker (confluent-kafka); state in RocksDB (rocksdict) with a changelog.

    <prefix>.meta                     {"epoch", "partitions"}: a record at creation and one per reset
    <prefix>.<epoch>.<topic>          the topics; an epoch has topics of its own
    <prefix>.<epoch>.<group>-changelog  state changes of a group, compacted
    <directory>/<epoch>/<group>/p<k>/   RocksDB of a partition, rebuilt from the changelog when it is missing

A unit of work is one Kafka transaction per partition, of a producer whose transactional id names the group
and the partition: a later owner fences an earlier one. On one machine the lock of the directory refuses the
later one.

Unfinished, and used by nothing yet. On a Kafka 4.0 broker most contract tests passed and three failed:
reading at the end before an append, a kill before a commit, the lag of separate groups. One transaction
per partition is too slow.
"""

import json
import time
from collections import defaultdict, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer
from confluent_kafka import TopicPartition as KafkaPartition
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined,unused-ignore]
from rocksdict import Options, Rdict, WriteBatch

from schemas.topics import DEFAULT_PARTITIONS, TOPICS, partition_of
from stream.faults import crash_point
from stream.groups import share_out
from stream.protocol import (
    Appender,
    Batch,
    Log,
    LogError,
    LogMismatchError,
    LogResetError,
    Message,
    Reader,
    TopicPartition,
)
from stream.sqlite_files import FileLock

TIMEOUT_S = 30.0
EPOCH_TRUSTED_S = 0.2
BUFFERED_MESSAGES = 20_000
SINGLE_TOPICS = frozenset(topic.name for topic in TOPICS if topic.single_partition)
NO_LEADER_YET = frozenset(
    {
        KafkaError._UNKNOWN_PARTITION,
        KafkaError._UNKNOWN_TOPIC,
        KafkaError.UNKNOWN_TOPIC_OR_PART,
        KafkaError.NOT_LEADER_FOR_PARTITION,
        KafkaError.LEADER_NOT_AVAILABLE,
    }
)
_OFFSET_KEY = b"\x00changelog"


@contextmanager
def translate_errors(doing: str) -> Iterator[None]:
    try:
        yield
    except (KafkaException, OSError) as error:
        raise LogError(f"{doing} failed: {error}") from error


def end_offset(consumer: Consumer, at: KafkaPartition) -> int:
    """Where the next message goes. A topic that was just made has no leader for some moments."""
    deadline = time.monotonic() + TIMEOUT_S
    while True:
        try:
            _, end = consumer.get_watermark_offsets(at, TIMEOUT_S)
            return int(end)
        except KafkaException as error:
            if error.args[0].code() not in NO_LEADER_YET or time.monotonic() > deadline:
                raise
        time.sleep(0.05)


class KafkaLog(Log):
    """`directory` is local: state of workers and locks. Raises LogMismatchError, LogError."""

    def __init__(
        self,
        bootstrap: str,
        directory: Path,
        partitions: int | None = None,
        *,
        prefix: str = "hitstream",
        replication: int = 1,
    ) -> None:
        self.bootstrap = bootstrap
        self.directory = directory
        self._prefix = prefix
        self._replication = replication
        self._admin = AdminClient({"bootstrap.servers": bootstrap})
        self._meta = f"{prefix}.meta"
        with translate_errors(f"Opening the log at {bootstrap}"):
            directory.mkdir(parents=True, exist_ok=True)
            self._create({self._meta: 1}, {"cleanup.policy": "delete", "retention.ms": "-1"})
            self._meta_reader = self.consumer()
            self._asked_at = 0.0
            self._epoch_now, found = self._read_meta()
            if self._epoch_now == 0:
                self._write_meta(1, partitions or DEFAULT_PARTITIONS)
                self._epoch_now, found = self._read_meta()
            self._partitions = found
            if partitions is not None and partitions != found:
                raise LogMismatchError(
                    f"the log {prefix} at {bootstrap} was created with {found} partitions; it can't be"
                    f" changed to {partitions}: set it back to {found}, or use another prefix and import anew"
                )
            self._epoch = self._epoch_now
            self._create(
                {self.name(t.name): self.topic_partitions(t.name) for t in TOPICS}, {"retention.ms": "-1"}
            )

    def _create(self, topics: Mapping[str, int], settings: Mapping[str, str]) -> None:
        new = [
            NewTopic(name, partitions, self._replication, config=dict(settings))
            for name, partitions in topics.items()
        ]
        for created in self._admin.create_topics(new).values():
            try:
                created.result()
            except KafkaException as error:
                if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                    raise

    def _read_meta(self) -> tuple[int, int]:
        at = KafkaPartition(self._meta, 0)
        end = end_offset(self._meta_reader, at)
        if end == 0:
            return 0, 0
        for offset in range(end - 1, -1, -1):
            self._meta_reader.assign([KafkaPartition(self._meta, 0, offset)])
            for message in self._meta_reader.consume(1, TIMEOUT_S):
                if message.error() is None:
                    meta = json.loads(message.value())
                    return int(meta["epoch"]), int(meta["partitions"])
        return 0, 0

    def _write_meta(self, epoch: int, partitions: int) -> None:
        producer = Producer({"bootstrap.servers": self.bootstrap, "acks": "all", "enable.idempotence": True})
        producer.produce(self._meta, json.dumps({"epoch": epoch, "partitions": partitions}).encode())
        if producer.flush(TIMEOUT_S):
            raise LogError(f"the broker at {self.bootstrap} did not take the epoch within {TIMEOUT_S:g} s")

    def consumer(self, group: str = "hitstream-reader") -> Any:
        """A Consumer; Any since its messages are typed as if every part could be missing."""
        return Consumer(
            {
                "bootstrap.servers": self.bootstrap,
                "group.id": group,
                "isolation.level": "read_committed",
                "enable.auto.commit": False,
                "enable.auto.offset.store": False,
                "enable.partition.eof": True,
                "auto.offset.reset": "earliest",
                "fetch.wait.max.ms": 20,
                "queued.max.messages.kbytes": 65536,
            }
        )

    def name(self, topic: str) -> str:
        return f"{self._prefix}.{self._epoch_now if not hasattr(self, '_epoch') else self._epoch}.{topic}"

    def topic_partitions(self, topic: str) -> int:
        return 1 if topic in SINGLE_TOPICS else self._partitions

    @property
    def partitions(self) -> int:
        return self._partitions

    @property
    def epoch(self) -> int:
        return self._epoch

    def current_epoch(self) -> int:
        with translate_errors("Asking for the epoch"):
            self._asked_at = time.monotonic()
            self._epoch_now, _ = self._read_meta()
        return self._epoch_now

    def check_open(self) -> None:
        if time.monotonic() - self._asked_at > EPOCH_TRUSTED_S:
            self.current_epoch()
        if self._epoch_now != self._epoch:
            raise LogResetError(
                f"the log {self._prefix} was emptied: it is at epoch {self._epoch_now}, this process has"
                f" opened epoch {self._epoch}; close it and open it again"
            )

    def reset(self) -> int:
        epoch = self.current_epoch() + 1
        with translate_errors("Emptying the log"):
            self._write_meta(epoch, self._partitions)
        return epoch

    def appender(self, topic: str) -> Appender:
        self.check_open()
        lock = FileLock(self.directory / f"{self.name(topic)}.lock", f"Topic {topic} of the log")
        return KafkaAppender(self, topic, lock)

    def reader(self) -> "KafkaReader":
        self.check_open()
        return KafkaReader(self)

    def worker(self, group: str, inputs: Sequence[str], partitions: Sequence[int]) -> "KafkaWorker":
        self.check_open()
        return KafkaWorker(self, group, inputs, partitions)

    def changelog(self, group: str) -> str:
        name = self.name(f"{group}-changelog")
        self._create({name: self._partitions}, {"cleanup.policy": "compact"})
        return name

    def group_id(self, group: str) -> str:
        return self.name(group)

    def committed(self, group: str) -> dict[TopicPartition, int]:
        every = [
            KafkaPartition(self.name(topic.name), partition)
            for topic in TOPICS
            for partition in range(self.topic_partitions(topic.name))
        ]
        head = self.name("")
        with translate_errors("Reading committed offsets"):
            consumer = self.consumer(self.group_id(group))
            try:
                found = consumer.committed(every, TIMEOUT_S)
            finally:
                consumer.close()
        return {
            TopicPartition(at.topic.removeprefix(head), at.partition): at.offset
            for at in found
            if at.offset >= 0
        }

    def lag(self, group: str) -> dict[TopicPartition, int]:
        committed = self.committed(group)
        reader = self.reader()
        try:
            lag = {}
            for at, offset in committed.items():
                waiting = max(0, reader.end_offsets(at.topic)[at.partition] - offset)
                # Offsets at the end may be markers of transactions, which are no messages.
                if waiting and reader.read(at.topic, at.partition, offset, 1) is None:
                    waiting = 0
                lag[at] = waiting
            return lag
        finally:
            reader.close()

    def sizes(self) -> dict[str, int]:
        return {}

    def release(self, consumer: str, positions: Mapping[TopicPartition, int]) -> None:
        """The broker deletes by time; nothing waits for a consumer."""

    def close(self) -> None:
        self._meta_reader.close()


def transactional_producer(log: KafkaLog, identifier: str) -> Producer:
    producer = Producer(
        {
            "bootstrap.servers": log.bootstrap,
            "transactional.id": log.name(identifier),
            "linger.ms": 1,
            "message.max.bytes": 8 << 20,
        }
    )
    producer.init_transactions(TIMEOUT_S)
    return producer


class KafkaAppender(Appender):
    """Each append is a transaction."""

    def __init__(self, log: KafkaLog, topic: str, lock: FileLock) -> None:
        self._log = log
        self._topic = topic
        self._lock = lock
        with translate_errors(f"Opening topic {topic}"):
            self._producer = transactional_producer(log, f"append-{topic}")

    def append(self, entries: Sequence[tuple[int, bytes, bytes]]) -> Sequence[int]:
        self._log.check_open()
        if not entries:
            return []
        offsets = [-1] * len(entries)
        name = self._log.name(self._topic)
        with translate_errors(f"Appending to {name}"):
            self._producer.begin_transaction()
            try:
                for place, (partition, key, value) in enumerate(entries):

                    def delivered(error: Any, message: Any, place: int = place) -> None:
                        if error is None:
                            offsets[place] = message.offset()

                    self._producer.produce(name, value, key, partition, on_delivery=delivered)
                self._producer.flush(TIMEOUT_S)
                self._producer.commit_transaction(TIMEOUT_S)
            except BaseException:
                self._producer.abort_transaction(TIMEOUT_S)
                raise
        return offsets

    def close(self) -> None:
        self._producer.flush(TIMEOUT_S)
        self._lock.close()


class KafkaReader(Reader):
    def __init__(self, log: KafkaLog) -> None:
        self._log = log
        self._consumer = log.consumer()

    def read(self, topic: str, partition: int, offset: int, max_messages: int) -> Batch | None:
        self._log.check_open()
        name = self._log.name(topic)
        with translate_errors(f"Reading {name}"):
            end = end_offset(self._consumer, KafkaPartition(name, partition))
            if offset >= end:
                return None
            self._consumer.assign([KafkaPartition(name, partition, offset)])
            messages: list[Message] = []
            deadline = time.monotonic() + TIMEOUT_S
            while len(messages) < max_messages and time.monotonic() < deadline:
                for found in self._consumer.consume(max_messages - len(messages), 0.5):
                    if found.error() is None:
                        messages.append(Message(found.offset(), found.key() or b"", found.value() or b""))
                    elif found.error().code() == KafkaError._PARTITION_EOF:
                        deadline = 0.0
                    else:
                        raise KafkaException(found.error())
            self._consumer.unassign()
        if not messages:
            return None
        return Batch(topic, partition, messages, messages[-1].offset + 1)

    def end_offsets(self, topic: str) -> dict[int, int]:
        self._log.check_open()
        name = self._log.name(topic)
        with translate_errors(f"Reading {name}"):
            return {
                partition: end_offset(self._consumer, KafkaPartition(name, partition))
                for partition in range(self._log.topic_partitions(topic))
            }

    def wait(self, timeout: float) -> bool:
        time.sleep(min(timeout, 0.05))
        return True

    def close(self) -> None:
        self._consumer.close()


class KafkaState:
    """stream.protocol.State: RocksDB with the pending changes of the unit of work above it."""

    def __init__(self, path: Path) -> None:
        self.database: Any = Rdict(str(path), Options(raw_mode=True))
        self.pending: dict[bytes, bytes | None] = {}

    def get_many(self, table: str, keys: Sequence[bytes]) -> dict[bytes, bytes]:
        head = table.encode() + b"\x00"
        found: dict[bytes, bytes] = {}
        for key in keys:
            full = head + key
            value = self.pending[full] if full in self.pending else self.database.get(full)
            if value is not None:
                found[key] = value
        return found

    def put_many(self, table: str, items: Iterable[tuple[bytes, bytes]]) -> None:
        head = table.encode() + b"\x00"
        self.pending.update((head + key, value) for key, value in items)

    def delete_many(self, table: str, keys: Iterable[bytes]) -> None:
        head = table.encode() + b"\x00"
        self.pending.update((head + key, None) for key in keys)

    def scan(
        self, table: str, start: bytes, end: bytes, limit: int = -1, *, reverse: bool = False
    ) -> Sequence[tuple[bytes, bytes]]:
        head = table.encode() + b"\x00"
        first, last = head + start, head + end
        changed = {key: value for key, value in self.pending.items() if first <= key < last}
        found: dict[bytes, bytes] = {}
        for key, value in self.database.items(backwards=reverse, from_key=last if reverse else first):
            if (key < first) if reverse else (key >= last):
                break
            if key not in changed and key < last:
                found[key] = value
                if 0 <= limit <= len(found):
                    break
        found.update((key, value) for key, value in changed.items() if value is not None)
        ordered = sorted(found.items(), reverse=reverse)
        return [(key[len(head) :], value) for key, value in (ordered if limit < 0 else ordered[:limit])]

    def apply(self, changes: Mapping[bytes, bytes | None], next_offset: int) -> None:
        batch = WriteBatch(raw_mode=True)
        for key, value in changes.items():
            if value is None:
                batch.delete(key)
            else:
                batch.put(key, value)
        batch.put(_OFFSET_KEY, next_offset.to_bytes(8, "big"))
        self.database.write(batch)

    def next_offset(self) -> int:
        stored = self.database.get(_OFFSET_KEY)
        return 0 if stored is None else int.from_bytes(stored, "big")


class KafkaWorker:
    """stream.protocol.Worker with one transactional producer per partition."""

    def __init__(self, log: KafkaLog, group: str, inputs: Sequence[str], owned: Sequence[int]) -> None:
        self._log = log
        self._group = group
        self._inputs = tuple(inputs)
        self._partitions = tuple(sorted(owned))
        self._locks: list[FileLock] = []
        self._states: dict[int, KafkaState] = {}
        self._producers: dict[int, Producer] = {}
        self._outputs: dict[int, list[tuple[str, int, bytes, bytes]]] = defaultdict(list)
        self._buffers: dict[TopicPartition, deque[Message]] = {}
        self._turn = 0
        root = log.directory / str(log.epoch) / group
        with translate_errors(f"Opening group {group}"):
            root.mkdir(parents=True, exist_ok=True)
            try:
                for partition in self._partitions:
                    what = f"Partition {partition} of group {group}"
                    self._locks.append(FileLock(root / f"p{partition}.lock", what))
                self._changelog = log.changelog(group)
                for partition in self._partitions:
                    # Fences a former owner on another machine before its last changes are read.
                    self._producers[partition] = transactional_producer(log, f"{group}.p{partition}")
                    self._states[partition] = KafkaState(root / f"p{partition}")
                    self._restore(partition)
            except BaseException:
                self._close_state()
                raise
            self._consumer = log.consumer(log.group_id(group))
            self._subscribe()
            self._assign()

    def _restore(self, partition: int) -> None:
        state = self._states[partition]
        consumer = self._log.consumer()
        try:
            consumer.assign([KafkaPartition(self._changelog, partition, state.next_offset())])
            while True:
                changes: dict[bytes, bytes | None] = {}
                following = state.next_offset()
                ended = False
                for message in consumer.consume(5000, 1.0):
                    if message.error() is None:
                        changes[message.key()] = message.value()
                        following = message.offset() + 1
                    elif message.error().code() == KafkaError._PARTITION_EOF:
                        ended = True
                    else:
                        raise KafkaException(message.error())
                if changes:
                    state.apply(changes, following)
                if ended:
                    return
        finally:
            consumer.close()

    def _subscribe(self) -> None:
        mine = [
            KafkaPartition(self._log.name(topic), partition)
            for topic in self._inputs
            for partition in self._partitions
        ]
        missing = [at for at in self._consumer.committed(mine, TIMEOUT_S) if at.offset < 0]
        if missing:
            offsets = [KafkaPartition(at.topic, at.partition, 0) for at in missing]
            self._consumer.commit(offsets=offsets, asynchronous=False)
        self._mine = mine

    def _assign(self) -> None:
        self._committed = {
            TopicPartition(self._short(at.topic), at.partition): at.offset
            for at in self._consumer.committed(self._mine, TIMEOUT_S)
        }
        self._buffers = {at: deque() for at in self._committed}
        self._consumer.assign(
            [KafkaPartition(self._log.name(at.topic), at.partition, o) for at, o in self._committed.items()]
        )

    def _short(self, name: str) -> str:
        return name.removeprefix(self._log.name(""))

    @property
    def partitions(self) -> Sequence[int]:
        return self._partitions

    def poll(self, max_messages: int, timeout: float) -> Sequence[Batch]:
        deadline = time.monotonic() + timeout
        while True:
            self._log.check_open()
            remaining = max(0.0, deadline - time.monotonic())
            buffered = sum(map(len, self._buffers.values()))
            room = BUFFERED_MESSAGES - buffered
            with translate_errors("Polling"):
                wait = 0.0 if buffered else min(remaining, 0.1)
                # One first, so that a message that is there does not wait for the others.
                found = self._consumer.consume(1, wait) if not buffered else []
                found += self._consumer.consume(room, 0) if room > 0 else []
            for message in found:
                if message.error() is None:
                    at = TopicPartition(self._short(message.topic()), message.partition())
                    self._buffers[at].append(
                        Message(message.offset(), message.key() or b"", message.value() or b"")
                    )
                elif message.error().code() != KafkaError._PARTITION_EOF:
                    raise LogError(f"polling failed: {message.error()}")
            batches = self._take(max_messages)
            if batches or deadline <= time.monotonic():
                return batches

    def _take(self, max_messages: int) -> list[Batch]:
        waiting = {at: len(buffer) for at, buffer in self._buffers.items() if buffer}
        batches = []
        for at, count in share_out(waiting, max_messages, self._turn).items():
            messages = [self._buffers[at].popleft() for _ in range(count)]
            batches.append(Batch(at.topic, at.partition, messages, messages[-1].offset + 1))
        self._turn += 1
        return batches

    def state(self, partition: int) -> KafkaState:
        return self._states[partition]

    def emit(self, partition: int, topic: str, messages: Sequence[tuple[bytes, bytes]]) -> None:
        self._outputs[partition] += [(topic, partition, key, value) for key, value in messages]

    def emit_keyed(self, partition: int, topic: str, messages: Sequence[tuple[int, bytes]]) -> None:
        self._outputs[partition] += [
            (topic, partition_of(key, self._log.partitions), key.to_bytes(8, "big"), value)
            for key, value in messages
        ]

    def commit(self, batches: Sequence[Batch]) -> None:
        self._log.check_open()
        offsets: dict[int, dict[TopicPartition, int]] = defaultdict(dict)
        for batch in batches:
            offsets[batch.home][TopicPartition(batch.topic, batch.partition)] = batch.next_offset
        for partition in self._partitions:
            outputs = self._outputs.pop(partition, [])
            changes = self._states[partition].pending
            if outputs or changes or partition in offsets:
                crash_point("log.committing")
                with translate_errors(f"Committing partition {partition}"):
                    self._commit_partition(partition, outputs, changes, offsets[partition])
                crash_point("log.committed")
                self._committed.update(offsets[partition])

    def _commit_partition(
        self,
        partition: int,
        outputs: Sequence[tuple[str, int, bytes, bytes]],
        changes: Mapping[bytes, bytes | None],
        offsets: Mapping[TopicPartition, int],
    ) -> None:
        producer = self._producers[partition]
        following = self._states[partition].next_offset()

        def changed(error: Any, message: Any) -> None:
            nonlocal following
            if error is None:
                following = max(following, message.offset() + 1)

        producer.begin_transaction()
        try:
            for topic, target, key, value in outputs:
                self._produce(producer, self._log.name(topic), target, key, value)
            for key, change in changes.items():
                self._produce(producer, self._changelog, partition, key, change, changed)
            if offsets:
                positions = [
                    KafkaPartition(self._log.name(at.topic), at.partition, o) for at, o in offsets.items()
                ]
                metadata = self._consumer.consumer_group_metadata()
                producer.send_offsets_to_transaction(positions, metadata, TIMEOUT_S)
            producer.commit_transaction(TIMEOUT_S)
        except BaseException:
            producer.abort_transaction(TIMEOUT_S)
            raise
        # Should the process die here, the changelog brings these changes back.
        if changes:
            self._states[partition].apply(changes, following)
        self._states[partition].pending.clear()

    @staticmethod
    def _produce(
        producer: Producer, name: str, partition: int, key: bytes, value: bytes | None, delivered: Any = None
    ) -> None:
        while True:
            try:
                producer.produce(name, value, key, partition, on_delivery=delivered)
                return
            except BufferError:
                producer.poll(0.05)

    def rollback(self) -> None:
        self._outputs.clear()
        for state in self._states.values():
            state.pending.clear()
        with translate_errors("Rolling back"):
            self._assign()

    def committed(self) -> dict[TopicPartition, int]:
        return dict(self._committed)

    def close(self) -> None:
        self._consumer.close()
        self._close_state()

    def _close_state(self) -> None:
        for state in self._states.values():
            state.database.close()
        for lock in self._locks:
            lock.close()
