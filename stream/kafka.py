"""The log on a Kafka-compatible broker (confluent-kafka); state in RocksDB with a changelog.

    stream.kafka_client     connection, clients, errors
    stream.kafka_topics     names and settings of topics, epochs
    stream.kafka_settings   settings that differ on the broker
    stream.kafka_appender   `hits`, `config`: idempotent, no transactions
    stream.kafka_reader     reading from anywhere
    stream.kafka_offsets    what groups have committed
    stream.kafka_worker     the unit of work: one transaction for all owned partitions
    stream.rocks_state      state of one partition

Nothing here needs more than the protocol of Kafka 2.5 (transactions fenced by the generation of the group).
"""

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka import TopicPartition as KafkaPartition
from confluent_kafka.admin import OffsetSpec  # type: ignore[attr-defined,unused-ignore]

from schemas.topics import DEFAULT_PARTITIONS, TOPICS
from stream.kafka_appender import APPEND_TIMEOUT_S, KafkaAppender
from stream.kafka_client import TIMEOUT_S, Connection, ends_of, error_code, translate_errors
from stream.kafka_marks import make_marks_topic
from stream.kafka_offsets import GroupOffsets
from stream.kafka_reader import KafkaReader, TailReader
from stream.kafka_secrets import KafkaSecrets
from stream.kafka_topics import (
    APPENDED_TOPICS,
    SINGLE_TOPICS,
    Meta,
    MetaTopic,
    TopicPlan,
    brokers,
    changelog_topic,
    check_partitions,
    create_topics,
    partitions_of,
    topic_name,
)
from stream.kafka_worker import KafkaWorker
from stream.protocol import Log, LogError, LogMismatchError, LogResetError, TopicPartition
from stream.sqlite_files import lock_appender

TOPIC_NAMES = tuple(topic.name for topic in TOPICS)


class KafkaLog(Log):
    """stream.protocol.Log. `directory` is local: state of workers and locks. `partitions` None takes those of
    the log that exists. Raises LogMismatchError, LogError when there is no log at the broker."""

    def __init__(
        self,
        connection: Connection,
        directory: Path,
        partitions: int | None = None,
        *,
        prefix: str = "hitstream",
        topics: Sequence[str] = TOPIC_NAMES,
    ) -> None:
        self.connection = connection
        self.directory = directory
        self._prefix = prefix
        self._topics = topics
        self.written = 0
        """Grows with every append and commit of this process; readers look anew then."""
        with translate_errors(connection, "Opening the log"):
            self.admin = connection.admin()
            self._meta = MetaTopic(connection, self.admin, prefix)
            directory.mkdir(parents=True, exist_ok=True)
            found = self._meta.look() if self._meta.exists() else None
            if found is None:
                raise LogError(
                    f"there is no log {prefix} at {connection.servers}: make them with `hitstream topics`"
                )
            if partitions is not None and partitions != found.plan.partitions:
                raise LogMismatchError(
                    f"the log {prefix} at {connection.servers} was created with {found.plan.partitions}"
                    f" partitions and can't be changed to {partitions}: set the number back to"
                    f" {found.plan.partitions}, or use another HITSTREAM_KAFKA_PREFIX and import anew"
                )
            check_partitions(connection, self.admin, prefix, found, topics)
        self._opened = found
        self._offsets = GroupOffsets(connection)

    @property
    def partitions(self) -> int:
        return self._opened.plan.partitions

    @property
    def is_remote(self) -> bool:
        return True

    @property
    def epoch(self) -> int:
        return self._opened.epoch

    @property
    def plan(self) -> TopicPlan:
        return self._opened.plan

    def name(self, topic: str) -> str:
        """A topic's full name on the broker."""
        return topic_name(self._prefix, self._opened.epoch, topic)

    def short(self, name: str) -> str:
        return name.rpartition(".")[2]

    def places(self, topic: str) -> list[tuple[str, int]]:
        """All partitions of a topic."""
        return [(self.name(topic), partition) for partition in range(partitions_of(topic, self.plan))]

    def current_epoch(self) -> int:
        with translate_errors(self.connection, "Asking for the epoch"):
            found = self._meta.look()
        return found.epoch if found else 0

    def check_open(self) -> None:
        """Raises LogResetError when word of a reset has come; asks nobody."""
        found = self._meta.glance()
        if found is not None and found.epoch != self._opened.epoch:
            self._refuse(found)

    def check_epoch(self, timeout: float) -> None:
        """As `check_open`, for what must not be said after a reset: asks the broker."""
        with translate_errors(self.connection, "Asking for the epoch"):
            found = self._meta.look(timeout)
        if found is not None and found.epoch != self._opened.epoch:
            self._refuse(found)

    def _refuse(self, found: Meta) -> None:
        raise LogResetError(
            f"the log {self._prefix} was emptied: it is at epoch {found.epoch}, this process has opened epoch"
            f" {self._opened.epoch}; close it and open it again"
        )

    def reset(self) -> int:
        """Makes the topics of a new epoch and then begins it; the old ones go with `remove_old_epochs`."""
        with translate_errors(self.connection, "Emptying the log"):
            found = self._meta.look() or self._opened
            following = replace(found, epoch=found.epoch + 1)
            create_topics(self.admin, self._prefix, following.epoch, following.plan, self._topics)
            self._meta.write(following)
        return self.current_epoch()

    def remove_old_epochs(self) -> None:
        """Deletes topics and groups of epochs before the current one; those who use them find out."""
        with translate_errors(self.connection, "Removing old topics"):
            current = self.current_epoch()

            def is_old(name: str) -> bool:
                prefix, epoch, rest = (*name.rsplit(".", 2), "", "")[:3]
                return prefix == self._prefix and epoch.isdigit() and bool(rest) and int(epoch) < current

            old = [name for name in self.admin.list_topics(timeout=TIMEOUT_S).topics if is_old(name)]
            for deleted in (self.admin.delete_topics(old) if old else {}).values():
                _unless(deleted.result, KafkaError.UNKNOWN_TOPIC_OR_PART)
            known = self.admin.list_consumer_groups().result().valid
            groups = [group.group_id for group in known if is_old(group.group_id)]
            for forgotten in (self.admin.delete_consumer_groups(groups) if groups else {}).values():
                _unless(forgotten.result, KafkaError.NON_EMPTY_GROUP, KafkaError.GROUP_ID_NOT_FOUND)

    def appender(self, topic: str, timeout_s: float = 0.0, number: int = 0) -> KafkaAppender:
        self.check_open()
        with translate_errors(self.connection, f"Opening topic {topic}"):
            lock = lock_appender(self.directory / f"{self.name(topic)}.lock", topic, number)
            return KafkaAppender(self, topic, lock, timeout_s or APPEND_TIMEOUT_S)

    def reader(self) -> KafkaReader:
        self.check_open()
        return KafkaReader(self)

    def secrets(self) -> KafkaSecrets:
        self.check_open()
        return KafkaSecrets(self)

    def worker(self, group: str, inputs: Sequence[str], partitions: Sequence[int] | None) -> KafkaWorker:
        self.check_open()
        for topic in inputs:
            if topic in SINGLE_TOPICS:
                raise ValueError(f"topic {topic} has one partition; follow it with a reader")
        return KafkaWorker(self, group, inputs, partitions)

    def create_changelog(self, group: str) -> None:
        topic = changelog_topic(group)
        if self.name(topic) not in self.admin.list_topics(timeout=TIMEOUT_S).topics:
            create_topics(self.admin, self._prefix, self.epoch, self.plan, [topic])

    def committed(self, group: str) -> dict[TopicPartition, int]:
        with translate_errors(self.connection, f"Reading the offsets of group {group}"):
            places = [at for topic in self._topics for at in self.places(topic)]
            found = self._offsets.committed(self.name(group), places)
        return {TopicPartition(self.short(topic), at): offset for (topic, at), offset in found.items()}

    def lag(self, group: str) -> dict[TopicPartition, int]:
        committed = self.committed(group)
        reader = self.reader()
        try:
            ends = {topic: reader.end_offsets(topic) for topic in {at.topic for at in committed}}
        finally:
            reader.close()
        return {at: max(0, ends[at.topic][at.partition] - offset) for at, offset in committed.items()}

    def sum_of_ends(self) -> int:
        """Grows with whatever is committed to the log."""
        self.check_open()
        with translate_errors(self.connection, "Reading the ends of the log"):
            places = [at for topic in self._topics for at in self.places(topic)]
            return sum(ends_of(self.admin, places).values())

    def sizes(self) -> dict[str, int]:
        return {}

    def forget(self, positions: Mapping[TopicPartition, int], older_than_s: float = 0.0) -> None:
        """At once for readers; the broker's files follow by whole segments (stream.kafka_topics)."""
        with translate_errors(self.connection, "Removing what was erased"):
            wanted = {at: offset for at, offset in positions.items() if offset > 0}
            if older_than_s:
                old = self._ends_before(wanted, time.time() - older_than_s)
                wanted = {at: min(offset, old[at]) for at, offset in wanted.items() if old[at] > 0}
            places = [
                KafkaPartition(self.name(at.topic), at.partition, offset)
                for at, offset in self._past_markers(wanted).items()
            ]
            for removed in (self.admin.delete_records(places) if places else {}).values():
                removed.result()

    def _ends_before(self, places: Iterable[TopicPartition], moment: float) -> dict[TopicPartition, int]:
        """The offset after the last message that was written before a moment (unix)."""
        asked = {(self.name(at.topic), at.partition): at for at in places}
        since = OffsetSpec.for_timestamp(int(moment * 1000))
        found = self.admin.list_offsets({KafkaPartition(*name): since for name in asked})
        ends = ends_of(self.admin, asked)
        offsets = {(at.topic, at.partition): one.result().offset for at, one in found.items()}
        return {at: ends[name] if offsets[name] < 0 else offsets[name] for name, at in asked.items()}

    def _past_markers(self, positions: Mapping[TopicPartition, int]) -> dict[TopicPartition, int]:
        """Where only markers of transactions follow, the place's end: a marker would keep its file."""
        by_topic: dict[str, list[int]] = {}
        for at in positions:
            if at.topic not in APPENDED_TOPICS:
                by_topic.setdefault(at.topic, []).append(at.partition)
        found = dict(positions)
        tails = TailReader(self)
        try:
            for topic, partitions in by_topic.items():
                ends = {p: end for (_, p), end in ends_of(self.admin, self.places(topic)).items()}
                last = tails.after_last_message(topic, {p: ends[p] for p in partitions})
                for p in partitions:
                    if positions[TopicPartition(topic, p)] >= last[p]:
                        found[TopicPartition(topic, p)] = ends[p]
        finally:
            tails.close()
        return found

    def release(self, consumer: str, positions: Mapping[TopicPartition, int]) -> None:
        """The broker deletes by time; nothing waits for a consumer."""

    def close(self) -> None:
        self._offsets.close()
        self._meta.close()


def _unless(result: object, *codes: int) -> None:
    try:
        result()  # type: ignore[operator]
    except KafkaException as error:
        if error_code(error) not in codes:
            raise


def count_brokers(connection: Connection) -> int:
    """Raises LogError."""
    with translate_errors(connection, "Asking for brokers"):
        return brokers(connection.admin())


def default_plan(servers: int, partitions: int = DEFAULT_PARTITIONS) -> TopicPlan:
    """For so many brokers: three copies where there are as many, of which two must have a message."""
    replication = min(3, servers)
    return TopicPlan(partitions=partitions, replication=replication, min_insync=max(1, replication - 1))


def make_log(
    connection: Connection, prefix: str, plan: TopicPlan | None = None, topics: Sequence[str] = TOPIC_NAMES
) -> tuple[Meta, list[str]]:
    """Creates what is missing of the log; returns its record and the topics that were made.

    Raises LogMismatchError when the log has another number of partitions, LogError."""
    with translate_errors(connection, "Creating topics"):
        admin = connection.admin()
        meta = MetaTopic(connection, admin, prefix)
        try:
            meta.create(plan or default_plan(brokers(admin)))
            found = meta.look()
        finally:
            meta.close()
        assert found is not None
        if plan is not None and plan.partitions != found.plan.partitions:
            raise LogMismatchError(
                f"the log {prefix} at {connection.servers} was created with {found.plan.partitions}"
                f" partitions and can't be changed to {plan.partitions}: keys would move to other partitions"
                f" than their state. Keep {found.plan.partitions}, or use another HITSTREAM_KAFKA_PREFIX and"
                " import the hits anew"
            )
        made = create_topics(admin, prefix, found.epoch, found.plan, topics)
        made += make_marks_topic(admin, prefix, found.plan)
        check_partitions(connection, admin, prefix, found, topics)
    return found, made
