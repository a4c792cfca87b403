"""What a group has committed, asked of its coordinator.

A consumer that never joins asks. The admin client's request for it may go on for ever with a coordinator that
went away (librdkafka's issue 5511), and was seen to end the process by an assertion when it timed out."""

import threading
import time
from collections.abc import Iterable
from typing import Any

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka import TopicPartition as KafkaPartition

from stream.kafka_client import TIMEOUT_S, Connection, error_code

STABLE_PATIENCE_S = 1.0
"""How long to wait for a transaction that is being committed before answering with what was before it."""
_NOT_YET = {KafkaError.UNSTABLE_OFFSET_COMMIT, KafkaError._TIMED_OUT}


class GroupOffsets:
    """For any thread."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._consumers: dict[tuple[str, str], Any] = {}
        self._mutex = threading.Lock()

    def committed(self, group: str, places: Iterable[tuple[str, int]]) -> dict[tuple[str, int], int]:
        """(topic, partition) -> offset, of those that have one. Raises KafkaException."""
        asked = [KafkaPartition(topic, partition) for topic, partition in places]
        deadline = time.monotonic() + STABLE_PATIENCE_S
        while (left := deadline - time.monotonic()) > 0:
            try:
                found = self._consumer(group, "read_committed").committed(asked, left)
            except KafkaException as error:
                if error_code(error) not in _NOT_YET:
                    raise
            else:
                if not any(at.error for at in found):
                    return _known(found)
            time.sleep(0.002)
        return _known(self._consumer(group, "read_uncommitted").committed(asked, TIMEOUT_S))

    def _consumer(self, group: str, isolation: str) -> Any:
        with self._mutex:
            consumer = self._consumers.get((group, isolation))
            if consumer is None:
                consumer = self._connection.consumer(group, isolation_level=isolation)
                self._consumers[(group, isolation)] = consumer
            return consumer

    def close(self) -> None:
        with self._mutex:
            for consumer in self._consumers.values():
                consumer.close()
            self._consumers.clear()


def _known(found: Iterable[KafkaPartition]) -> dict[tuple[str, int], int]:
    return {(at.topic, at.partition): at.offset for at in found if at.offset >= 0}
