"""Marks of changed days on their way from sinks to rollup workers."""

import time

from schemas.marks import decode_mark
from schemas.topics import partition_of
from stream.kafka import make_log
from stream.kafka_client import Connection
from stream.kafka_marks import MarkSender, marks_topic
from stream.kafka_topics import TopicPlan


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
    deadline = time.monotonic() + 60
    while len(found) < 3:
        assert time.monotonic() < deadline, found
        message = consumer.poll(1.0)
        if message is not None and not message.error():
            mark = decode_mark(message.value())
            assert message.partition() == partition_of(mark.site_id, 4)
            found[(mark.epoch, mark.site_id, mark.day)] = mark.changed_at
    consumer.close()
    assert found == {(1, 1, 20_000): 101.0, (1, 2, 20_000): 100.0, (2, 1, 20_000): 101.0}
