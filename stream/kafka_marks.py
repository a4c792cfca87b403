"""The topic of marks, `<prefix>.changed_days`: it belongs to no epoch, holds hints only and forgets in a day.

A site's marks are in the partition of the site, so that one rollup worker gets them all."""

import logging
import threading
import time
from collections.abc import Callable, Iterable

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from schemas.marks import ChangedDay, encode_mark
from schemas.topics import partition_of
from stream.kafka_client import Connection
from stream.kafka_topics import TopicPlan, create_missing

logger = logging.getLogger("hitstream.marks")

SEND_SECONDS = 5.0
_KEPT_MS = 24 * 3600 * 1000
CODEC = "gzip"
"""The only one that Faust's client reads without another library."""


def marks_topic(prefix: str) -> str:
    return f"{prefix}.changed_days"


def make_marks_topic(admin: AdminClient, prefix: str, plan: TopicPlan) -> list[str]:
    """Makes it when it is missing; says what was made. Raises KafkaException."""
    settings = {"retention.ms": str(_KEPT_MS), "cleanup.policy": "delete", "compression.type": CODEC}
    return create_missing(admin, {marks_topic(prefix): (plan.partitions, settings)}, plan.replication)


class MarkSender:
    """Sends marks every few seconds, the last change of each day. Failing costs nothing but time."""

    def __init__(
        self, connection: Connection, prefix: str, partitions: int, clock: Callable[[], float] = time.time
    ) -> None:
        self._producer = connection.producer(codec=CODEC, linger_ms=50, message_timeout_ms=30_000)
        self._topic, self._partitions, self._clock = marks_topic(prefix), partitions, clock
        self._waiting: dict[tuple[int, int, int], float] = {}
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="marks", daemon=True)
        self._thread.start()

    def changed(self, epoch: int, site_days: Iterable[tuple[int, int]]) -> None:
        """(site_id, day) pairs that got rows just now."""
        now = self._clock()
        with self._lock:
            self._waiting.update({(epoch, site_id, day): now for site_id, day in site_days})

    def close(self) -> None:
        self._stop.set()
        self._thread.join()
        self._send()
        self._producer.flush(5.0)

    def _run(self) -> None:
        while not self._stop.wait(SEND_SECONDS):
            self._send()

    def _send(self) -> None:
        with self._lock:
            waiting, self._waiting = self._waiting, {}
        try:
            for (epoch, site_id, day), changed_at in waiting.items():
                mark = ChangedDay(epoch=epoch, site_id=site_id, day=day, changed_at=changed_at)
                self._producer.produce(
                    self._topic,
                    value=encode_mark(mark),
                    key=site_id.to_bytes(4, "big"),
                    partition=partition_of(site_id, self._partitions),
                )
            self._producer.poll(0)
        except (BufferError, KafkaException) as error:
            logger.warning("marks of %d changed days were not sent: %s", len(waiting), error)
