"""Appends to a topic outside units of work: idempotent, acknowledged by all replicas in sync, pipelined.

No transaction: one per append would cost tens of milliseconds and leave markers in `hits`, whose offsets must
have no gaps (the sum of the tallies is the offsets consumed). A failed append may therefore have left some of
its messages: of each partition the first ones, in order."""

import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from stream.faults import crash_point
from stream.kafka_client import TIMEOUT_S, describe, translate_errors
from stream.protocol import Appender, LogError, TopicPartition
from stream.sqlite_files import FileLock

if TYPE_CHECKING:
    from stream.kafka import KafkaLog

APPEND_TIMEOUT_S = 10.0


class KafkaAppender(Appender):
    """The lock is of the directory: several machines may append to a topic, each with its own directory."""

    def __init__(
        self, log: "KafkaLog", topic: str, lock: FileLock, timeout_s: float = APPEND_TIMEOUT_S
    ) -> None:
        self._log = log
        self._topic = topic
        self._name = log.name(topic)
        self._lock = lock
        self._timeout_s = timeout_s
        self._producer: Any = None
        # The first append should not wait for the connection and the topic's leaders.
        self._open().list_topics(self._name, TIMEOUT_S)

    def _open(self) -> Any:
        if self._producer is None:
            self._producer = self._log.connection.producer(
                message_timeout_ms=int(self._timeout_s * 1000), linger_ms=0, batch_num_messages=20_000
            )
        return self._producer

    def append(self, entries: Sequence[tuple[int, bytes, bytes]]) -> Sequence[int]:
        self._log.check_open()
        if not entries:
            return []
        crash_point("log.appending")
        with translate_errors(self._log.connection, f"Appending to {self._topic}"):
            offsets = self._send(entries)
        self._log.written += 1
        crash_point("log.appended")
        # A reset returns when its record is durable: what became durable before may have gone with it, what
        # became durable after must not be acknowledged.
        self._log.check_epoch(self._timeout_s)
        return offsets

    def _send(self, entries: Sequence[tuple[int, bytes, bytes]]) -> list[int]:
        producer = self._open()
        places: dict[int, list[int]] = {}
        delivered: dict[int, list[int]] = {}
        failed: list[Any] = []

        def note(error: Any, message: Any) -> None:
            # In the order of the messages of a partition.
            if error is None:
                delivered[message.partition()].append(message.offset())
            else:
                failed.append(error)

        for place, (partition, _, _) in enumerate(entries):
            places.setdefault(partition, []).append(place)
        delivered.update((partition, []) for partition in places)
        try:
            # One by one: with one callback for a batch of them, confluent-kafka 2.16 breaks the interpreter.
            for partition, key, value in entries:
                producer.produce(self._name, value, key, partition, on_delivery=note)
            deadline = time.monotonic() + self._timeout_s + 1.0
            waiting = producer.flush(self._timeout_s + 1.0)
            while waiting and time.monotonic() < deadline:
                waiting = producer.flush(0.1)
            if failed or waiting:
                said = describe(failed[0]) if failed else f"no answer within {self._timeout_s:g} s"
                raise LogError(
                    f"appending {len(entries)} messages to {self._topic} at {self._log.connection.servers}"
                    f" failed: {said}"
                )
        except BaseException:
            self._give_up()
            raise
        offsets = [-1] * len(entries)
        for partition, of_partition in places.items():
            for place, offset in zip(of_partition, delivered[partition], strict=True):
                offsets[place] = offset
        return offsets

    def _give_up(self) -> None:
        """Another producer makes the next append: this one may still be sending."""
        producer, self._producer = self._producer, None
        producer.purge()
        producer.poll(0)

    def trim(self, positions: Mapping[int, int]) -> None:
        if positions:
            self._log.forget(
                {TopicPartition(self._topic, partition): at for partition, at in positions.items()}
            )

    def close(self) -> None:
        if self._producer is not None:
            self._producer.flush(self._timeout_s)
            self._producer = None
        self._lock.close()
