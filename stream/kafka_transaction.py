"""The transactions of a worker on a broker.

A unit of work is committed whole, or nothing of it exists, or it is in doubt: then `renew` makes a successor,
before which the broker decides."""

import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka import TopicPartition as KafkaPartition

from stream.faults import crash_point
from stream.kafka_client import TIMEOUT_S, Connection, error_code
from stream.protocol import LogError, LogInUseError

TRANSACTION_TIMEOUT_S = 30.0
COMMIT_TIMEOUT_S = 60.0
FENCED = frozenset({KafkaError._FENCED, KafkaError.INVALID_PRODUCER_EPOCH, KafkaError.PRODUCER_FENCED})

Output = tuple[str, int, Sequence[tuple[bytes, bytes]]]
"""Name of a topic, partition, keys and values."""


class Transactions:
    """Whoever used the transactional id before is fenced. `group` is its name in messages.

    Raises KafkaException."""

    def __init__(self, connection: Connection, transactional_id: str, group: str) -> None:
        self.in_doubt = False
        """Whether the last one may exist or not."""
        self._connection, self._transactional_id, self._group = connection, transactional_id, group
        self._fenced = False
        self.renew()

    def renew(self) -> None:
        """The producer's successor aborts the last transaction or finds it committed; the caller reads which
        it was, and then clears `in_doubt`. Raises KafkaException."""
        self._producer = self._connection.producer(
            transactional_id=self._transactional_id,
            transaction_timeout_ms=int(TRANSACTION_TIMEOUT_S * 1000),
            batch_num_messages=20_000,
        )
        self._producer.init_transactions(TIMEOUT_S)

    def check_fenced(self) -> None:
        """Raises LogInUseError once another process has taken over."""
        if self._fenced:
            raise LogInUseError(f"another process took over the work of this one in group {self._group}")

    def commit(
        self,
        outputs: Iterable[Output],
        changelog: str,
        changes: Mapping[int, Sequence[tuple[bytes, bytes | None]]],
        consumed: Callable[[], tuple[list[KafkaPartition], Any]],
    ) -> dict[int, int]:
        """Returns the next offset of each partition of the changelog. `changes` are by its partition;
        `consumed`, asked at last, gives the input offsets and who the group knows this process as.

        Raises KafkaException, LogError, LogInUseError."""
        producer = self._producer
        ends: dict[int, int] = {}

        def changed(error: Any, message: Any) -> None:
            if error is None:
                ends[message.partition()] = message.offset() + 1

        try:
            producer.begin_transaction()
            for name, target, messages in outputs:
                for key, value in messages:
                    producer.produce(name, value, key, target)
                producer.poll(0)
            for partition, items in changes.items():
                for key, change in items[:-1]:
                    producer.produce(changelog, change, key, partition)
                key, change = items[-1]
                producer.produce(changelog, change, key, partition, on_delivery=changed)
                producer.poll(0)
            crash_point("log.sending")
            self._send_offsets(*consumed())
            crash_point("log.sent")
            self._finish()
        except BaseException as error:
            self._abort(error)
            raise
        missing = set(changes) - set(ends)
        if missing:
            # Can't be: the transaction was committed with them.
            self.in_doubt = True
            raise LogError(f"the changelog's offsets of partitions {sorted(missing)} are not known")
        return ends

    def _send_offsets(self, positions: list[KafkaPartition], metadata: Any) -> None:
        """librdkafka may never return from this when the coordinator went away meanwhile, whatever timeout it
        is given (its issues 5456 and 5511). Then the call and its producer are left behind in their thread,
        and `renew` makes a successor, which fences them."""
        outcome: list[BaseException | None] = []

        def send(producer: Any) -> None:
            try:
                producer.send_offsets_to_transaction(positions, metadata, TRANSACTION_TIMEOUT_S)
                outcome.append(None)
            except BaseException as error:
                outcome.append(error)

        thread = threading.Thread(target=send, args=(self._producer,), name="offsets", daemon=True)
        thread.start()
        # After that long the broker gives the transaction up by itself.
        thread.join(TRANSACTION_TIMEOUT_S)
        if not outcome:
            self.in_doubt = True
            raise LogError(f"the broker takes no offsets of group {self._group}")
        if outcome[0] is not None:
            raise outcome[0]

    def _finish(self) -> None:
        """Asks again for as long as it isn't known what became of the transaction."""
        deadline = time.monotonic() + COMMIT_TIMEOUT_S
        while True:
            try:
                self._producer.commit_transaction(COMMIT_TIMEOUT_S)
                return
            except KafkaException as error:
                if not error.args[0].retriable() or time.monotonic() > deadline:
                    raise

    def _abort(self, error: BaseException) -> None:
        """After it, either nothing of the transaction exists, or it is in doubt."""
        if error_code(error) in FENCED:
            self._fenced = True
            self.check_fenced()
        if self.in_doubt:
            return
        try:
            self._producer.abort_transaction(TIMEOUT_S)
        except KafkaException:
            self.in_doubt = True
