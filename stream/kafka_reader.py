"""Reads topics of a broker from where the caller says, with one consumer that stays assigned.

A place that was read once goes on being fetched, so that the next read finds its messages here. What a place
holds besides messages (markers of transactions, messages of those that were given up) is no message and has
offsets: `clear_to` is the offset up to which nothing more is to come.
"""

import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Any

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka import TopicPartition as KafkaPartition

from stream.kafka_client import (
    SOON_THERE,
    TIMEOUT_S,
    decided_ends_of,
    ends_of,
    learn_topics,
    translate_errors,
)
from stream.kafka_topics import APPENDED_TOPICS
from stream.protocol import Batch, LogError, Message, Reader, TopicPartition

if TYPE_CHECKING:
    from stream.kafka import KafkaLog

ENDS_TRUSTED_S = 0.2
"""For how long one look at the ends of all places answers for places that were not read since, unless this
process has written: a caller that goes through many places asks the broker once."""
LONGEST_PAUSE_S = 0.05
UNDECIDED_PATIENCE_S = 10.0
"""For markers of transactions that are committed already; longer ones belong to processes that died."""
BUFFERED_MESSAGES = 10_000
BUFFERED_BYTES = 4 << 20
"""Of one place, before its fetching pauses."""


@dataclass
class _Place:
    position: int
    """Offset that the caller has reached: what is buffered follows from there."""
    buffer: deque[Message] = field(default_factory=deque)
    size: int = 0
    clear_to: int = 0
    """Everything visible below is buffered or was given to the caller."""
    end: int = -1
    """Where the place ended when all were looked at; -1: that answer is used."""
    paused: bool = False


class KafkaReader(Reader):
    """stream.protocol.Reader over all topics of a log."""

    def __init__(self, log: "KafkaLog") -> None:
        self._log = log
        self._consumer = log.connection.consumer(enable_partition_eof=True)
        self._places: dict[TopicPartition, _Place] = {}
        self._looked_at = 0.0
        self._written = 0
        self._tails: TailReader | None = None
        self._heard = -1

    def read(self, topic: str, partition: int, offset: int, max_messages: int) -> Batch | None:
        self._log.check_open()
        at = TopicPartition(topic, partition)
        with translate_errors(self._log.connection, f"Reading {topic}"):
            place = self._place_at(at, offset)
            if len(place.buffer) < max_messages:
                self._fill(at, place, max_messages)
            if not place.buffer:
                return None
        messages = list(islice(place.buffer, max_messages))
        for _ in messages:
            place.buffer.popleft()
        place.size -= sum(len(message.value) for message in messages)
        place.position = messages[-1].offset + 1
        if place.paused and place.size < BUFFERED_BYTES // 2 and len(place.buffer) < BUFFERED_MESSAGES // 2:
            place.paused = False
            self._consumer.resume([self._kafka(at)])
        return Batch(topic, partition, messages, place.position)

    def _kafka(self, at: TopicPartition, offset: int = -1) -> KafkaPartition:
        name = self._log.name(at.topic)
        if offset < 0:
            return KafkaPartition(name, at.partition)
        return KafkaPartition(name, at.partition, offset)

    def _place_at(self, at: TopicPartition, offset: int) -> _Place:
        """The place, fetched from `offset` on."""
        place = self._places.get(at)
        if place is not None:
            # What was skipped by the caller, or lies before the first message that still exists.
            while place.position < offset and place.buffer and place.buffer[0].offset < offset:
                place.size -= len(place.buffer.popleft().value)
            if place.position <= offset <= max(place.position, place.clear_to):
                place.position = offset
                return place
            if place.paused:
                self._consumer.resume([self._kafka(at)])
            self._consumer.incremental_unassign([self._kafka(at)])
        elif not any(known.topic == at.topic for known in self._places):
            learn_topics(self._consumer, [self._log.name(at.topic)])
        place = self._places[at] = _Place(position=offset, clear_to=offset)
        self._consumer.incremental_assign([self._kafka(at, offset)])
        return place

    def _fill(self, at: TopicPartition, place: _Place, wanted: int) -> None:
        """Fetches until there are as many messages as wanted, or all there are, or as many as are kept."""
        end = self._end_of(place)
        deadline = time.monotonic() + TIMEOUT_S
        while len(place.buffer) < wanted and place.clear_to < end and not place.paused:
            self._take(0.1)
            if time.monotonic() > deadline:
                raise LogError(
                    f"{at.topic}/{at.partition} did not come up to offset {end} in {TIMEOUT_S:g} s"
                )

    def _end_of(self, place: _Place) -> int:
        """One look is for all places and answers once for each: what a caller appended itself is seen."""
        now = time.monotonic()
        written = self._log.written
        if place.end < 0 or now - self._looked_at > ENDS_TRUSTED_S or written != self._written:
            self._written = written
            names = {(self._log.name(at.topic), at.partition): at for at in self._places}
            for name, end in ends_of(self._log.admin, names).items():
                self._places[names[name]].end = end
            self._looked_at = now
        end, place.end = place.end, -1
        return end

    def _take(self, timeout: float) -> None:
        """Sorts what was fetched into the places."""
        for message in _consume(self._consumer, timeout):
            at = TopicPartition(self._log.short(message.topic()), message.partition())
            place = self._places.get(at)
            if place is None:
                continue
            error = message.error()
            offset = message.offset()
            if error is not None:
                if error.code() == KafkaError._PARTITION_EOF:
                    place.clear_to = max(place.clear_to, offset)
                elif error.code() not in SOON_THERE and not error.retriable():
                    raise KafkaException(error)
                continue
            if offset < place.clear_to:
                continue
            value = message.value() or b""
            place.buffer.append(Message(offset, message.key() or b"", value))
            place.size += len(value)
            place.clear_to = offset + 1
            if not place.paused and (place.size > BUFFERED_BYTES or len(place.buffer) > BUFFERED_MESSAGES):
                place.paused = True
                self._consumer.pause([self._kafka(at)])

    def end_offsets(self, topic: str) -> dict[int, int]:
        self._log.check_open()
        with translate_errors(self._log.connection, f"Reading the ends of {topic}"):
            places = self._log.places(topic)
            if topic in APPENDED_TOPICS:
                return {partition: end for (_, partition), end in ends_of(self._log.admin, places).items()}
            decided = decided_ends_of(self._log.admin, places, patience=UNDECIDED_PATIENCE_S)
            ends = {partition: end for (_, partition), end in decided.items()}
            if self._tails is None:
                self._tails = TailReader(self._log)
            return self._tails.after_last_message(topic, ends)

    def wait(self, timeout: float) -> bool:
        """Looks at the end of `hits` and `config` now and then: there is no bell to hear."""
        deadline = time.monotonic() + timeout
        pause = 0.002
        while True:
            heard = self._log.sum_of_ends()
            if heard != self._heard:
                self._heard = heard
                return True
            remaining = deadline - time.monotonic()
            if remaining <= 0:
                return False
            time.sleep(min(pause, remaining))
            pause = min(pause * 2, LONGEST_PAUSE_S)

    def close(self) -> None:
        self._consumer.close()
        if self._tails is not None:
            self._tails.close()


class TailReader:
    """Finds the last message of partitions that transactions write to: their end is after a marker."""

    FIRST_STEP = 2
    STEPS_GROW = 16

    def __init__(self, log: "KafkaLog") -> None:
        self._log = log
        self._consumer = log.connection.consumer(
            enable_partition_eof=True, queued_max_messages_kbytes=4096, fetch_message_max_bytes=256 << 10
        )
        self._known: dict[TopicPartition, tuple[int, int]] = {}
        """End of the partition and the offset after its last message, as last seen."""

    def after_last_message(self, topic: str, ends: Mapping[int, int]) -> dict[int, int]:
        """For each partition, given its end."""
        found: dict[int, int] = {}
        waiting: dict[int, int] = {}
        for partition, end in ends.items():
            known_end, after = self._known.get(TopicPartition(topic, partition), (0, 0))
            if known_end == end:
                found[partition] = after
            else:
                waiting[partition] = after
        step = self.FIRST_STEP
        while waiting:
            starts = {partition: max(after, ends[partition] - step) for partition, after in waiting.items()}
            last = self._last_offsets(topic, starts, ends)
            for partition, after in list(waiting.items()):
                if partition in last or starts[partition] == after:
                    found[partition] = last.get(partition, after - 1) + 1
                    self._known[TopicPartition(topic, partition)] = (ends[partition], found[partition])
                    del waiting[partition]
            step *= self.STEPS_GROW
        return {partition: found[partition] for partition in ends}

    def _last_offsets(self, topic: str, starts: Mapping[int, int], ends: Mapping[int, int]) -> dict[int, int]:
        """Offsets of the last messages from `starts` to `ends`, where there is any."""
        name = self._log.name(topic)
        last: dict[int, int] = {}
        if not any(at.topic == topic for at in self._known):
            learn_topics(self._consumer, [name])
        unread = {partition for partition, start in starts.items() if start < ends[partition]}
        self._consumer.assign([KafkaPartition(name, partition, starts[partition]) for partition in unread])
        deadline = time.monotonic() + TIMEOUT_S
        while unread:
            for message in _consume(self._consumer, 0.1):
                partition, offset, error = message.partition(), message.offset(), message.error()
                if error is None:
                    if offset < ends[partition]:
                        last[partition] = offset
                    if offset + 1 >= ends[partition]:
                        unread.discard(partition)
                elif error.code() == KafkaError._PARTITION_EOF:
                    if offset >= ends[partition]:
                        unread.discard(partition)
                elif error.code() not in SOON_THERE and not error.retriable():
                    raise KafkaException(error)
            if time.monotonic() > deadline:
                raise LogError(f"the end of {topic} could not be read within {TIMEOUT_S:g} s")
        self._consumer.unassign()
        return last

    def close(self) -> None:
        self._consumer.close()


def _consume(consumer: Any, timeout: float) -> list[Any]:
    """What is there; when `timeout`, waits for the first of them."""
    found: list[Any] = consumer.consume(1, timeout) if timeout else []
    if found or not timeout:
        found += consumer.consume(5000, 0)
    return found
