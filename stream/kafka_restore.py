"""Brings copies of state up to date with their changelog, a slice at a time."""

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka import TopicPartition as KafkaPartition

from stream.kafka_client import SOON_THERE, learn_topics
from stream.rocks_state import RocksState

if TYPE_CHECKING:
    from stream.kafka import KafkaLog

SLICE_MESSAGES = 20_000


class Restore:
    """Of some partitions of a changelog (a topic's full name), up to `ends`.

    `ends` are where the log ends including transactions that are not decided: a former owner's last one may
    be committed already and its markers on their way, so what it changed must be waited for."""

    def __init__(
        self, log: "KafkaLog", changelog: str, states: Mapping[int, RocksState], ends: Mapping[int, int]
    ) -> None:
        self._states = dict(states)
        self._ends = {partition: ends[partition] for partition in states}
        self._consumer = log.connection.consumer(enable_partition_eof=True)
        self._waiting = {p for p, state in states.items() if state.next_offset < ends[p]}
        learn_topics(self._consumer, [changelog])
        self._consumer.assign(
            [KafkaPartition(changelog, p, self._states[p].next_offset) for p in self._waiting]
        )
        self.applied = 0

    @property
    def finished(self) -> bool:
        return not self._waiting

    def step(self, seconds: float) -> None:
        """Works for about so long; waits when nothing comes. Raises KafkaException, LogError."""
        deadline = time.monotonic() + seconds
        while self._waiting and time.monotonic() < deadline:
            changes: dict[int, dict[bytes, bytes | None]] = {}
            reached: dict[int, int] = {}
            found = self._consumer.consume(1, min(0.1, seconds))
            if found:
                found += self._consumer.consume(SLICE_MESSAGES, 0)
            for message in found:
                partition, offset, error = message.partition(), message.offset(), message.error()
                if error is None:
                    changes.setdefault(partition, {})[message.key()] = message.value()
                    reached[partition] = offset + 1
                elif error.code() == KafkaError._PARTITION_EOF:
                    reached[partition] = max(reached.get(partition, 0), offset)
                elif error.code() not in SOON_THERE and not error.retriable():
                    raise KafkaException(error)
            for partition, offset in reached.items():
                if partition in self._waiting:
                    of_partition = changes.get(partition, {})
                    self._states[partition].apply(of_partition.items(), offset)
                    self.applied += len(of_partition)
                    if offset >= self._ends[partition]:
                        self._waiting.discard(partition)

    def leave_out(self, partition: int) -> None:
        """A partition that went to another owner meanwhile."""
        self._waiting.discard(partition)
        self._states.pop(partition, None)

    def close(self) -> None:
        self._consumer.close()
