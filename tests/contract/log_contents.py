"""What the contract tests write to a log and how they read it."""

import time

from tests.waiting import PATIENCE_SECONDS

ALL = range(4)
HITS = "hits"


def entries(count, partition=0, start=0):
    return [(partition, b"k%d" % n, b"v%d" % n) for n in range(start, start + count)]


def take(worker, count):
    """Polls until `count` messages came, as {(topic, partition): [value, ...]} and the batches."""
    batches = []
    deadline = time.monotonic() + PATIENCE_SECONDS
    while sum(len(batch.messages) for batch in batches) < count and time.monotonic() < deadline:
        batches += worker.poll(1000, 0.5)
    values = {}
    for batch in batches:
        values.setdefault((batch.topic, batch.partition), []).extend(m.value for m in batch.messages)
    return values, batches


def last_of_each(batches):
    """`commit` takes the newest batch of each partition like the sequence of all of them."""
    return list({(batch.topic, batch.partition): batch for batch in batches}.values())


def values_of(log, topic):
    """Everything that exists of a topic, by partition, in order."""
    reader = log.reader()
    try:
        found = {}
        for partition, end in reader.end_offsets(topic).items():
            offset = 0
            while offset < end and (batch := reader.read(topic, partition, offset, 7)) is not None:
                found.setdefault(partition, []).extend(message.value for message in batch.messages)
                offset = batch.next_offset
        return found
    finally:
        reader.close()
