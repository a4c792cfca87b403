"""Which partitions are this process's: a group of the broker that reads nothing shares them out.

For work that may be done twice without harm: a member that is thought dead may still be at its partitions
when others begin with them."""

import logging
import threading
from typing import Any

from confluent_kafka import KafkaException

from schemas.topics import VISITS
from stream.kafka import KafkaLog

logger = logging.getLogger("hitstream.kafka")

POLL_SECONDS = 0.2
SESSION_MS = 10_000


class PartitionShare:
    """Member of a group from construction to `close`; `partitions` may change at any time."""

    def __init__(self, log: KafkaLog, group: str) -> None:
        self._partitions: frozenset[int] = frozenset()
        self._stop = threading.Event()
        self._consumer = log.connection.consumer(
            log.name(group), session_timeout_ms=SESSION_MS, heartbeat_interval_ms=SESSION_MS // 5
        )
        # All output topics have the same partitions: one of them stands for all.
        self._consumer.subscribe(
            [log.name(VISITS.name)], on_assign=self._assign, on_revoke=self._revoke, on_lost=self._revoke
        )
        self._thread = threading.Thread(target=self._run, name="share", daemon=True)
        self._thread.start()

    @property
    def partitions(self) -> tuple[int, ...]:
        """Owned now, in order; empty before the group has decided."""
        return tuple(sorted(self._partitions))

    def close(self) -> None:
        """Leave the group: the others take over at once."""
        self._stop.set()
        self._thread.join()
        self._consumer.close()

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self._consumer.poll(POLL_SECONDS)
            except KafkaException as error:
                logger.warning("the group of %s can't be asked: %s", VISITS.name, error)
                self._stop.wait(1.0)

    def _assign(self, consumer: Any, places: Any) -> None:
        consumer.assign(places)
        consumer.pause(places)
        self._partitions = frozenset(place.partition for place in places)

    def _revoke(self, consumer: Any, _places: Any) -> None:
        self._partitions = frozenset()
        consumer.unassign()
