"""The topics on a broker: their names, settings and numbers of partitions; what is written down of the log.

    <prefix>.meta                       a record at creation and one per reset; never deleted
    <prefix>.<epoch>.<topic>            the topics; an epoch has topics of its own
    <prefix>.<epoch>.<group>-changelog  state changes of a group, compacted

The record of an epoch holds what its topics are made with, so that a reset makes the same ones. The first
record of an epoch counts: whoever writes a second one at the same moment finds the other's.
"""

import json
import threading
import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import Any

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka import TopicPartition as KafkaPartition
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined,unused-ignore]

from schemas.topics import (
    CONFIG,
    HISTORY,
    HITS,
    LINKS,
    ORDER_VERDICTS,
    ORDERS,
    REPAIRS,
    SALTS,
    TOKENS,
    TOPICS,
)
from stream.kafka_client import (
    LARGEST_MESSAGE,
    SOON_THERE,
    TIMEOUT_S,
    Connection,
    ends_of,
    error_code,
    learn_topics,
)
from stream.protocol import LogError, LogMismatchError

FORMAT = 1
KEYED_TOPICS = frozenset(topic.name for topic in (LINKS, ORDERS, ORDER_VERDICTS, REPAIRS))
SINGLE_TOPICS = frozenset(topic.name for topic in TOPICS if topic.single_partition)
APPENDED_TOPICS = frozenset(topic.name for topic in (HITS, CONFIG, HISTORY, TOKENS, SALTS))
"""Written outside transactions: their offsets have no gaps."""
TOMBSTONES_KEPT = timedelta(days=1)
"""How long a changelog shows that a key was deleted; older copies of state can't be brought up to date."""
_SEGMENT_AGE = timedelta(days=1)
"""From when on the next message begins a new file: what is forgotten goes from disk by whole files."""
_SALTS_KEPT = timedelta(days=6)
_APPEARS_S = 5.0
"""For a topic that was just made to be known to the broker that is asked."""


@dataclass(frozen=True, kw_only=True)
class TopicPlan:
    """What topics are made with. Times in hours; the outputs are only read until the sink has stored them."""

    partitions: int
    replication: int = 1
    min_insync: int = 1
    hits_hours: int = 7 * 24
    outputs_hours: int = 7 * 24
    format: int = FORMAT


@dataclass(frozen=True)
class Meta:
    """The record of an epoch."""

    epoch: int
    plan: TopicPlan


def topic_name(prefix: str, epoch: int, topic: str) -> str:
    return f"{prefix}.{epoch}.{topic}"


def changelog_topic(group: str) -> str:
    return f"{group}-changelog"


def partitions_of(topic: str, plan: TopicPlan) -> int:
    return 1 if topic in SINGLE_TOPICS else plan.partitions


def _milliseconds(time_: timedelta) -> str:
    return str(int(time_.total_seconds() * 1000))


def settings_of(topic: str, plan: TopicPlan) -> dict[str, str]:
    """A topic's settings on the broker."""
    settings = {
        "min.insync.replicas": str(plan.min_insync),
        "max.message.bytes": str(LARGEST_MESSAGE),
        # The broker's own clock: by default it refuses what a writer's clock says is of an hour later.
        "message.timestamp.type": "LogAppendTime",
    }
    hours = timedelta(hours=1)
    if topic == HITS.name:
        kept = _milliseconds(plan.hits_hours * hours)
        return settings | {"retention.ms": kept, "segment.ms": _milliseconds(_SEGMENT_AGE)}
    if topic in (CONFIG.name, HISTORY.name):
        return settings | {"retention.ms": "-1", "retention.bytes": "-1"}
    if topic == SALTS.name:
        # The first record of a day counts, so this one is not compacted; it goes by age.
        day = _milliseconds(timedelta(days=1))
        return settings | {"retention.ms": _milliseconds(_SALTS_KEPT), "segment.ms": day}
    if topic == TOKENS.name:
        # The first record of the instance counts: for a day all are there, also those that came too late.
        lag = _milliseconds(timedelta(days=1))
        return settings | {
            "cleanup.policy": "compact",
            "min.compaction.lag.ms": lag,
            "max.compaction.lag.ms": _milliseconds(timedelta(days=2)),
            "segment.ms": lag,
        }
    if topic.endswith("-changelog"):
        return settings | {
            "cleanup.policy": "compact",
            "delete.retention.ms": _milliseconds(TOMBSTONES_KEPT),
            "max.compaction.lag.ms": _milliseconds(TOMBSTONES_KEPT),
            "segment.ms": _milliseconds(TOMBSTONES_KEPT),
            "segment.bytes": str(256 << 20),
        }
    kept = _milliseconds(plan.outputs_hours * hours)
    return settings | {"retention.ms": kept, "segment.ms": _milliseconds(_SEGMENT_AGE)}


def create_topics(
    admin: AdminClient, prefix: str, epoch: int, plan: TopicPlan, topics: Iterable[str]
) -> list[str]:
    """Makes those of an epoch that are missing; returns their names. Raises KafkaException."""
    wanted = {
        topic_name(prefix, epoch, topic): (partitions_of(topic, plan), settings_of(topic, plan))
        for topic in topics
    }
    return create_missing(admin, wanted, plan.replication)


def create_missing(
    admin: AdminClient, topics: Mapping[str, tuple[int, dict[str, str]]], replication: int
) -> list[str]:
    """Makes topics (name -> partitions, settings) that are missing; returns their names. Raises
    KafkaException."""
    new = [
        NewTopic(name, partitions, replication, config=settings)
        for name, (partitions, settings) in topics.items()
    ]
    made = []
    for name, created in admin.create_topics(new).items():
        try:
            created.result()
            made.append(name)
        except KafkaException as error:
            if error_code(error) != KafkaError.TOPIC_ALREADY_EXISTS:
                raise
    return made


def check_partitions(
    connection: Connection, admin: AdminClient, prefix: str, meta: Meta, topics: Iterable[str]
) -> None:
    """Raises LogMismatchError when somebody changed a topic's number of partitions on the broker, LogError
    when a topic is missing."""
    wanted_partitions = {topic_name(prefix, meta.epoch, t): partitions_of(t, meta.plan) for t in topics}
    deadline = time.monotonic() + _APPEARS_S
    while not wanted_partitions.keys() <= (found := admin.list_topics(timeout=TIMEOUT_S).topics).keys():
        if time.monotonic() > deadline:
            break
        time.sleep(0.02)
    for name, wanted in wanted_partitions.items():
        if name not in found:
            raise LogError(
                f"topic {name} is missing at {connection.servers}: `hitstream topics` makes it anew, empty"
            )
        number = len(found[name].partitions)
        if number != wanted:
            raise LogMismatchError(
                f"topic {name} at {connection.servers} has {number} partitions, it was created with {wanted}:"
                " keys would move to other partitions than their state. Export what you need, then use"
                " another HITSTREAM_KAFKA_PREFIX with the new number and import the hits anew"
            )


def brokers(admin: AdminClient) -> int:
    """How many there are."""
    return len(admin.list_topics(timeout=TIMEOUT_S).brokers)


class MetaTopic:
    """Follows the records of the log; may be used by several threads."""

    def __init__(self, connection: Connection, admin: AdminClient, prefix: str) -> None:
        self.name = f"{prefix}.meta"
        self._connection, self._admin = connection, admin
        self._mutex = threading.Lock()
        self._consumer = connection.consumer(fetch_wait_max_ms=500)
        self._is_assigned = False
        self._next = 0
        self._meta: Meta | None = None

    def exists(self) -> bool:
        """Asked of the whole list, since asking for one topic makes it on brokers that create on demand."""
        return self.name in self._admin.list_topics(timeout=TIMEOUT_S).topics

    def create(self, plan: TopicPlan) -> None:
        """The topic and the first record, where they are missing."""
        create_missing(self._admin, {self.name: (1, settings_of(CONFIG.name, plan))}, plan.replication)
        if self.look() is None:
            self.write(Meta(1, plan))

    def write(self, meta: Meta) -> None:
        """Appends a record; durable on return."""
        producer = self._connection.producer()
        failed: list[KafkaError] = []

        def note(error: KafkaError | None, _: object) -> None:
            if error is not None:
                failed.append(error)

        record = json.dumps({"epoch": meta.epoch, **asdict(meta.plan)}).encode()
        producer.produce(self.name, record, on_delivery=note)
        if producer.flush(TIMEOUT_S) or failed:
            raise KafkaException(failed[0] if failed else KafkaError(KafkaError._TIMED_OUT))

    def glance(self) -> Meta | None:
        """What has arrived here of the records; asks nobody and costs microseconds."""
        with self._mutex:
            if self._is_assigned:
                self._take(0.0)
            return self._meta

    def look(self, timeout: float = TIMEOUT_S) -> Meta | None:
        """The record now, as the broker has it. Raises KafkaException."""
        end = ends_of(self._admin, [(self.name, 0)], timeout=timeout)[self.name, 0]
        deadline = time.monotonic() + timeout
        with self._mutex:
            if not self._is_assigned:
                learn_topics(self._consumer, [self.name])
                self._consumer.assign([KafkaPartition(self.name, 0, 0)])
                self._is_assigned = True
            while self._next < end:
                self._take(0.1)
                if time.monotonic() > deadline:
                    raise KafkaException(KafkaError(KafkaError._TIMED_OUT))
            return self._meta

    def _take(self, timeout: float) -> None:
        """`consume` waits for as many as it may take."""
        for message in self._consumer.consume(1 if timeout else 100, timeout):
            if message.error() is not None:
                if message.error().code() in SOON_THERE or message.error().retriable():
                    continue
                raise KafkaException(message.error())
            self._next = message.offset() + 1
            found = json.loads(message.value())
            if self._meta is None or found["epoch"] > self._meta.epoch:
                self._meta = _meta(found)

    def close(self) -> None:
        with self._mutex:
            self._consumer.close()


def _meta(found: Mapping[str, Any]) -> Meta:
    if int(found.get("format", FORMAT)) > FORMAT:
        raise LogMismatchError(
            f"the log on the broker has format {found['format']}, this version of Hitstream knows up to"
            f" {FORMAT}: run the newer version, or use another HITSTREAM_KAFKA_PREFIX"
        )
    known = {name: int(found[name]) for name in TopicPlan.__dataclass_fields__ if name in found}
    return Meta(int(found["epoch"]), TopicPlan(**known))
