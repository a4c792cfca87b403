"""Marks of changed days on their way from sinks to rollup workers."""

import asyncio
import time

import pytest

from schemas.marks import decode_mark
from schemas.topics import partition_of
from stream.kafka import make_log
from stream.kafka_client import Connection
from stream.kafka_marks import MarkSender, marks_topic
from stream.kafka_topics import TopicPlan
from tests.waiting import PATIENCE_SECONDS


def test_the_last_change_of_each_day_arrives_in_the_partition_of_its_site(kafka: str) -> None:
    connection, prefix = Connection(kafka), f"marks{time.time_ns()}"
    make_log(connection, prefix, TopicPlan(partitions=4))
    now = [100.0]
    sender = MarkSender(connection, prefix, 4, lambda: now[0])
    sender.changed(1, [(1, 20_000), (2, 20_000)])
    now[0] = 101.0
    sender.changed(1, [(1, 20_000)])
    sender.changed(2, [(1, 20_000)])
    sender.close()
    consumer = connection.consumer("marks-test")
    consumer.subscribe([marks_topic(prefix)])
    found = {}
    deadline = time.monotonic() + PATIENCE_SECONDS
    while len(found) < 3:
        assert time.monotonic() < deadline, found
        message = consumer.poll(1.0)
        if message is not None and not message.error():
            mark = decode_mark(message.value())
            assert message.partition() == partition_of(mark.site_id, 4)
            found[(mark.epoch, mark.site_id, mark.day)] = mark.changed_at
    consumer.close()
    assert found == {(1, 1, 20_000): 101.0, (1, 2, 20_000): 100.0, (2, 1, 20_000): 101.0}


@pytest.mark.parametrize("codec", ["lz4", "zstd"])
def test_marks_reach_faust_whatever_the_log_is_compressed_with(kafka: str, codec: str) -> None:
    """Its client reads no codec but gzip."""
    aiokafka = pytest.importorskip("aiokafka")
    connection, prefix = Connection(kafka, {"compression.type": codec}), f"marks{time.time_ns()}"
    make_log(connection, prefix, TopicPlan(partitions=1))
    days = 500
    sender = MarkSender(connection, prefix, 1)
    sender.changed(1, [(1, day) for day in range(days)])
    sender.close()

    async def read() -> set[int]:
        consumer = aiokafka.AIOKafkaConsumer(bootstrap_servers=kafka, auto_offset_reset="earliest")
        await consumer.start()
        try:
            consumer.assign([aiokafka.TopicPartition(marks_topic(prefix), 0)])
            found: set[int] = set()
            while len(found) < days:
                message = await asyncio.wait_for(consumer.getone(), PATIENCE_SECONDS)
                found.add(decode_mark(message.value).day)
            return found
        finally:
            await consumer.stop()

    assert asyncio.run(read()) == set(range(days))
