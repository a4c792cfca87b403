"""A member of a processing group on a broker: one transaction per commit, for all partitions it owns.

The order of a commit: outputs and state changes are sent, then the input offsets, then the transaction is
committed, then the changes are applied to RocksDB. Should the process die before that last step, the
changelog brings the changes back.

A worker that was given partitions keeps them; its transactional id is that of the partitions, so a later
owner of the same ones fences it. A worker that shares them (partitions None) subscribes to the first input
with the cooperative protocol and takes the same partitions of the other inputs; the offsets of a
transaction carry its generation, so a zombie's are refused. Such a worker has a directory, and a
transactional id, of its own.
"""

import logging
import time
import uuid
from collections import defaultdict, deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka import TopicPartition as KafkaPartition

from schemas.topics import partition_of
from stream.faults import crash_point
from stream.groups import share_out
from stream.kafka_client import SOON_THERE, TIMEOUT_S, ends_of, error_code, learn_topics, translate_errors
from stream.kafka_restore import Restore
from stream.kafka_topics import KEYED_TOPICS, TOMBSTONES_KEPT, changelog_topic
from stream.kafka_transaction import COMMIT_TIMEOUT_S, Transactions
from stream.pace import Pace
from stream.protocol import Batch, LogError, LogInUseError, Message, TopicPartition, Worker
from stream.rocks_state import RocksState, open_database
from stream.sqlite_files import FileLock

if TYPE_CHECKING:
    from stream.kafka import KafkaLog

BUFFERED_MESSAGES = 20_000
SESSION_TIMEOUT_S = 10.0
RESTORE_SLICE_S = 0.2
MOST_MEMBERS = 1000
SHORTEST_APART_S, LONGEST_APART_S, UNITS_APART = 0.2, 0.5, 5.0
"""Of units of work (stream.pace): a transaction writes markers to some fifty partitions, which cost the
broker 10 ms whether there are ten hits in it or thousands, and most of its messages cost a request each.
Measured at 3,000 hits/s: half a second apart instead of 0.2 a hit costs a processor 10 % less, the broker
15 %."""
STALE_AFTER_S = TOMBSTONES_KEPT.total_seconds() / 2

logger = logging.getLogger("hitstream.kafka")


@dataclass
class _Input:
    """One partition of an input: what is fetched, what of it was polled and not committed."""

    committed: int = 0
    is_heard: bool = False
    """Whether it has given anything, be it that it is at its end."""
    waiting: deque[Message] = field(default_factory=deque)
    polled: deque[Message] = field(default_factory=deque)

    def take(self, count: int) -> list[Message]:
        messages = [self.waiting.popleft() for _ in range(count)]
        self.polled.extend(messages)
        return messages

    def commit(self, next_offset: int) -> None:
        while self.polled and self.polled[0].offset < next_offset:
            self.polled.popleft()
        self.committed = max(self.committed, next_offset)

    def rollback(self) -> None:
        self.waiting.extendleft(reversed(self.polled))
        self.polled.clear()


@dataclass
class _Owned:
    """A partition whose state is at hand."""

    state: RocksState
    lock: FileLock | None


class KafkaWorker(Worker):
    """stream.protocol.Worker."""

    def __init__(
        self, log: "KafkaLog", group: str, inputs: Sequence[str], partitions: Sequence[int] | None
    ) -> None:
        self._log = log
        self._group = group
        self._inputs = tuple(inputs)
        self._shares = partitions is None
        self._owned: dict[int, _Owned] = {}
        self._arriving: set[int] = set()
        self._restore: Restore | None = None
        self._restoring: dict[int, _Owned] = {}
        self._unset: list[KafkaPartition] = []
        self._places: dict[TopicPartition, _Input] = {}
        self._outputs: dict[int, dict[tuple[str, int], list[tuple[bytes, bytes]]]] = defaultdict(dict)
        self._turn = 0
        self._pace = Pace(times=UNITS_APART, shortest_s=SHORTEST_APART_S, longest_s=LONGEST_APART_S)
        self._root = log.directory / str(log.epoch) / group
        self._member_lock: FileLock | None = None
        self._consumer: Any = None
        self._transactions: Transactions
        self._changelog = log.name(changelog_topic(group))
        with translate_errors(log.connection, f"Opening group {group}"):
            self._root.mkdir(parents=True, exist_ok=True)
            try:
                log.create_changelog(group)
                if partitions is None:
                    self._join()
                else:
                    self._own(sorted(partitions))
            except BaseException:
                self.close()
                raise

    # -- which partitions ------------------------------------------------------------------------------

    def _own(self, partitions: Sequence[int]) -> None:
        """For good; returns when their state is at hand."""
        locks = {}
        try:
            for partition in partitions:
                what = f"Partition {partition} of group {self._group}"
                locks[partition] = FileLock(self._root / f"p{partition}.lock", what)
        except LogInUseError:
            for lock in locks.values():
                lock.close()
            raise
        # Fences a former owner before its last changes are read.
        self._transactions = self._open_transactions(f"p{'-'.join(map(str, partitions))}")
        self._consumer = self._log.connection.consumer(self._log.name(self._group), enable_partition_eof=True)
        learn_topics(self._consumer, map(self._log.name, self._inputs))
        self._open_states(partitions, locks)
        while self._restoring:
            self._restore_some(TIMEOUT_S)
        self._consumer.assign([self._kafka(at, place.committed) for at, place in self._places.items()])
        deadline = time.monotonic() + TIMEOUT_S
        while not self._all_heard() and time.monotonic() < deadline:
            self._fetch(0.1)

    def _join(self) -> None:
        """Takes part in sharing the partitions; they come with the first polls."""
        directory = self._claim_member_directory()
        identity = directory / "id"
        if not identity.exists():
            identity.write_text(uuid.uuid4().hex)
        self._root = directory
        self._transactions = self._open_transactions(identity.read_text().strip())
        self._consumer = self._log.connection.consumer(
            self._log.name(self._group),
            enable_partition_eof=True,
            partition_assignment_strategy="cooperative-sticky",
            session_timeout_ms=int(SESSION_TIMEOUT_S * 1000),
            heartbeat_interval_ms=int(SESSION_TIMEOUT_S * 300),
        )
        learn_topics(self._consumer, map(self._log.name, self._inputs))
        self._consumer.subscribe(
            [self._log.name(self._inputs[0])],
            on_assign=self._on_assign,
            on_revoke=self._on_revoke,
            on_lost=self._on_revoke,
        )

    def _open_transactions(self, name: str) -> Transactions:
        identity = self._log.name(f"{self._group}.{name}")
        return Transactions(self._log.connection, identity, self._group)

    def _claim_member_directory(self) -> Path:
        """The first that no process of this machine holds: a restarted one finds its state again."""
        for number in range(MOST_MEMBERS):
            try:
                what = f"Member {number} of group {self._group}"
                self._member_lock = FileLock(self._root / f"member{number}.lock", what)
            except LogInUseError:
                continue
            directory = self._root / f"member{number}"
            directory.mkdir(exist_ok=True)
            return directory
        raise LogInUseError(f"{MOST_MEMBERS} processes use {self._root}")

    def _on_assign(self, consumer: Any, partitions: list[KafkaPartition]) -> None:
        consumer.incremental_assign(partitions)
        for at in partitions:
            self._arriving.add(at.partition)
            # It is being fetched from what is committed: what comes before its state is at hand waits here.
            self._places[TopicPartition(self._inputs[0], at.partition)] = _Input()

    def _on_revoke(self, consumer: Any, partitions: list[KafkaPartition]) -> None:
        """Also of a member that the group gave up (lost): another may own the partitions already."""
        leaving = [at.partition for at in partitions]
        others = [
            self._kafka(at) for at in self._places if at.partition in leaving and at.topic != self._inputs[0]
        ]
        for partition in leaving:
            self._depart(partition)
        consumer.incremental_unassign(partitions)
        with suppress(KafkaException):  # those that had not been assigned yet
            consumer.incremental_unassign(others)

    def _depart(self, partition: int) -> None:
        """Drops what is not committed and closes the state."""
        self._arriving.discard(partition)
        self._outputs.pop(partition, None)
        for at in [at for at in self._places if at.partition == partition]:
            del self._places[at]
        self._unset = [at for at in self._unset if at.partition != partition]
        if self._restoring.get(partition) is not None and self._restore is not None:
            self._restore.leave_out(partition)
        for known in (self._owned, self._restoring):
            owned = known.pop(partition, None)
            if owned is not None:
                owned.state.close()
                if owned.lock is not None:
                    owned.lock.close()

    def _settle(self) -> None:
        """Opens what was assigned and goes on restoring it; the other partitions are worked on meanwhile."""
        if self._arriving and not self._restoring:
            arriving = sorted(self._arriving)
            self._arriving.clear()
            try:
                self._open_states(arriving, {})
                self._consumer.incremental_assign(
                    [
                        self._kafka(at, place.committed)
                        for at, place in self._places.items()
                        if at.partition in self._restoring and at.topic != self._inputs[0]
                    ]
                )
            except BaseException:
                # The next poll tries again; what has come of their hits stays.
                for owned in self._restoring.values():
                    owned.state.close()
                self._restoring.clear()
                self._arriving.update(arriving)
                raise
        if self._restoring:
            self._restore_some(RESTORE_SLICE_S)
        if self._unset:
            self._commit_zeros()

    def _open_states(self, partitions: Sequence[int], locks: Mapping[int, FileLock]) -> None:
        """Of partitions that are ours from now on: what is committed of their inputs, then their state."""
        mine = [self._kafka(TopicPartition(topic, p)) for topic in self._inputs for p in partitions]
        # Waits for transactions that a former owner left undecided: only then the changelog's end says all.
        for at in self._consumer.committed(mine, TIMEOUT_S):
            if at.error is not None:
                raise KafkaException(at.error)
            place = TopicPartition(self._log.short(at.topic), at.partition)
            self._places.setdefault(place, _Input()).committed = max(0, at.offset)
            if at.offset < 0:
                self._unset.append(KafkaPartition(at.topic, at.partition, 0))
        ends = ends_of(self._log.admin, [(self._changelog, p) for p in partitions], committed=False)
        for partition in partitions:
            state = open_database(
                self._root / f"p{partition}",
                ends[self._changelog, partition],
                STALE_AFTER_S,
            )
            self._restoring[partition] = _Owned(state, locks.get(partition))
        if not self._shares:
            self._commit_zeros()
        states = {partition: owned.state for partition, owned in self._restoring.items()}
        self._restore = Restore(
            self._log, self._changelog, states, {partition: end for (_, partition), end in ends.items()}
        )
        self._restore_began = time.monotonic()

    def _restore_some(self, seconds: float) -> None:
        assert self._restore is not None
        self._restore.step(seconds)
        if self._restore.finished:
            if self._restore.applied:
                took = time.monotonic() - self._restore_began
                logger.info("%d changes of state restored in %.1f s", self._restore.applied, took)
            self._restore.close()
            self._restore = None
            self._owned.update(self._restoring)
            self._owned = dict(sorted(self._owned.items()))
            self._restoring.clear()

    def _commit_zeros(self) -> None:
        """Inputs that were never committed are put at their begin, for those who ask how far the group is."""
        if self._unset:
            try:
                self._consumer.commit(offsets=self._unset, asynchronous=False)
            except KafkaException as error:
                # The group is being shared out anew: the next poll comes here again.
                if not self._shares or (not error.args[0].retriable() and not _is_rebalance(error)):
                    raise
                return
            self._unset = []

    @property
    def partitions(self) -> Sequence[int]:
        return tuple(self._owned)

    # -- inputs ----------------------------------------------------------------------------------------

    def _kafka(self, at: TopicPartition, offset: int = -1) -> KafkaPartition:
        name = self._log.name(at.topic)
        if offset < 0:
            return KafkaPartition(name, at.partition)
        return KafkaPartition(name, at.partition, offset)

    def poll(self, max_messages: int, timeout: float) -> Sequence[Batch]:
        deadline = time.monotonic() + timeout
        self._wait_for_more(max_messages, deadline)
        while True:
            self._log.check_open()
            self._transactions.check_fenced()
            remaining = max(0.0, deadline - time.monotonic())
            with translate_errors(self._log.connection, f"Polling for group {self._group}"):
                self._fetch(min(0.1, remaining))
                if self._shares:
                    self._settle()
            batches = self._take(max_messages)
            if batches:
                self._pace.begin(time.monotonic())
            if batches or not remaining:
                return batches

    def _wait_for_more(self, max_messages: int, deadline: float) -> None:
        """The client fetches meanwhile."""
        pause = min(self._pace.next_at, deadline) - time.monotonic()
        if pause > 0 and not self._restoring and self._waiting() < max_messages:
            time.sleep(pause)

    def _waiting(self) -> int:
        return sum(len(place.waiting) for at, place in self._places.items() if at.partition in self._owned)

    def _all_heard(self) -> bool:
        """Whether all owned partitions are being fetched: they begin one after the other."""
        return all(place.is_heard for at, place in self._places.items() if at.partition in self._owned)

    def _fetch(self, wait: float) -> None:
        waiting = self._waiting()
        room = BUFFERED_MESSAGES - waiting
        # One first, so that a message that is there does not wait for the others; at least a look, since it
        # is here that partitions come and go.
        found = self._consumer.consume(1, 0.0 if waiting or self._restoring else wait)
        if room > 1:
            found += self._consumer.consume(room, 0)
        for message in found:
            at = TopicPartition(self._log.short(message.topic()), message.partition())
            place = self._places.get(at)
            error = message.error()
            if error is not None:
                if error.code() == KafkaError._PARTITION_EOF:
                    if place is not None:
                        place.is_heard = True
                elif error.code() not in SOON_THERE and not error.retriable():
                    raise KafkaException(error)
            elif place is not None:
                place.is_heard = True
                place.waiting.append(Message(message.offset(), message.key() or b"", message.value() or b""))

    def _take(self, max_messages: int) -> list[Batch]:
        waiting = {
            at: len(place.waiting)
            for at, place in self._places.items()
            if place.waiting and at.partition in self._owned
        }
        batches = []
        for at, count in share_out(waiting, max_messages, self._turn).items():
            messages = self._places[at].take(count)
            batches.append(Batch(at.topic, at.partition, messages, messages[-1].offset + 1))
        self._turn += 1
        return batches

    # -- outputs ---------------------------------------------------------------------------------------

    def state(self, partition: int) -> RocksState:
        self._check_owned(partition)
        return self._owned[partition].state

    def _check_owned(self, partition: int) -> None:
        if partition not in self._owned:
            raise ValueError(f"partition {partition} isn't owned by this worker ({self.partitions})")

    def emit(self, partition: int, topic: str, messages: Sequence[tuple[bytes, bytes]]) -> None:
        if topic in KEYED_TOPICS:
            raise ValueError(f"topic {topic} has its own key: use emit_keyed")
        self._check_owned(partition)
        if messages:
            self._outputs[partition].setdefault((topic, partition), []).extend(messages)

    def emit_keyed(self, partition: int, topic: str, messages: Sequence[tuple[int, bytes]]) -> None:
        if topic not in KEYED_TOPICS:
            raise ValueError(f"topic {topic} keeps the partition of its input: use emit")
        self._check_owned(partition)
        outputs = self._outputs[partition]
        for key, value in messages:
            target = partition_of(key, self._log.partitions)
            outputs.setdefault((topic, target), []).append((key.to_bytes(8, "big"), value))

    # -- the unit of work ------------------------------------------------------------------------------

    def commit(self, batches: Sequence[Batch]) -> None:
        self._log.check_open()
        self._transactions.check_fenced()
        offsets = {
            TopicPartition(batch.topic, batch.partition): batch.next_offset
            for batch in batches
            if batch.home in self._owned
        }
        outputs = [
            (self._log.name(topic), target, messages)
            for of_partition in self._outputs.values()
            for (topic, target), messages in of_partition.items()
        ]
        changes = {
            partition: changed
            for partition, owned in self._owned.items()
            if (changed := owned.state.changes())
        }
        if not (offsets or outputs or changes):
            return
        crash_point("log.committing")
        with translate_errors(self._log.connection, f"Committing for group {self._group}"):
            ends = self._transactions.commit(
                outputs, self._changelog, changes, lambda: (self._positions(offsets), self._metadata())
            )
        self._log.written += 1
        crash_point("log.committed")
        self._outputs.clear()
        for partition, changed in changes.items():
            state = self._owned[partition].state
            state.apply(changed, ends[partition])
            state.forget_changes()
        for at, offset in offsets.items():
            self._places[at].commit(offset)
        self._pace.end(time.monotonic())
        crash_point("log.applied")

    def _positions(self, offsets: Mapping[TopicPartition, int]) -> list[KafkaPartition]:
        """Never empty: it is by the offsets that the broker refuses a zombie."""
        if not offsets:
            at = next(at for at in self._places if at.partition in self._owned)
            offsets = {at: self._places[at].committed}
        return [self._kafka(at, offset) for at, offset in offsets.items()]

    def _metadata(self) -> Any:
        """Who we are in the group. One that was given up has no name there, and offsets without a name would
        be taken from anybody."""
        metadata = self._consumer.consumer_group_metadata()
        if self._shares and not self._consumer.memberid():
            raise LogError(f"this process is no longer a member of group {self._group}")
        return metadata

    def scrub(self, partition: int) -> bool:
        """The copy of the state is compacted here; the changelog is by the broker, and topics lose what is
        old by their retention."""
        self._check_owned(partition)
        with translate_errors(self._log.connection, f"Compacting the state of partition {partition}"):
            self._owned[partition].state.compact()
        return True

    def rollback(self) -> None:
        self._transactions.check_fenced()
        self._outputs.clear()
        for owned in self._owned.values():
            owned.state.forget_changes()
        for place in self._places.values():
            place.rollback()
        if self._transactions.in_doubt:
            with translate_errors(self._log.connection, f"Rolling back for group {self._group}"):
                self._resolve()

    def _resolve(self) -> None:
        """Finds out what became of the last transaction: the producer's successor aborts it or finds it
        committed, then offsets and state are read."""
        self._transactions.renew()
        mine = [self._kafka(at) for at in self._places]
        for at in self._consumer.committed(mine, TIMEOUT_S):
            if at.error is not None:
                raise KafkaException(at.error)
            place = self._places[TopicPartition(self._log.short(at.topic), at.partition)]
            place.committed = max(0, at.offset)
            while place.waiting and place.waiting[0].offset < place.committed:
                place.waiting.popleft()
        states = {partition: owned.state for partition, owned in self._owned.items()}
        ends = ends_of(self._log.admin, [(self._changelog, p) for p in states], committed=False)
        restore = Restore(self._log, self._changelog, states, {p: end for (_, p), end in ends.items()})
        deadline = time.monotonic() + COMMIT_TIMEOUT_S
        try:
            while not restore.finished:
                restore.step(1.0)
                if time.monotonic() > deadline:
                    raise LogError(f"the changelog of group {self._group} can't be read to its end")
        finally:
            restore.close()
        self._transactions.in_doubt = False

    def committed(self) -> dict[TopicPartition, int]:
        return {at: place.committed for at, place in self._places.items() if at.partition in self._owned}

    def close(self) -> None:
        # Leaving the group calls _on_revoke, where the states are closed.
        if self._consumer is not None:
            self._consumer.close()
        for partition in [*self._owned, *self._restoring]:
            self._depart(partition)
        if self._restore is not None:
            self._restore.close()
            self._restore = None
        self._places.clear()
        if self._member_lock is not None:
            self._member_lock.close()


def _is_rebalance(error: KafkaException) -> bool:
    return error_code(error) in {
        KafkaError.REBALANCE_IN_PROGRESS,
        KafkaError.ILLEGAL_GENERATION,
        KafkaError.UNKNOWN_MEMBER_ID,
        KafkaError._NO_OFFSET,
    }
