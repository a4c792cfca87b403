"""Waits until everything that was accepted before is visible in reports.

The targets are taken one after the other, in the order in which the facts flow: once the processors are past
a moment of `hits`, all that follows from it is on the next topics. What processors tell each other can follow
from each other, so those topics are taken until a round finds nothing new.
"""

import time
from collections.abc import Callable, Mapping, Sequence

from processors.service import GROUP
from schemas.topics import HISTORY, HITS, LINKS, ORDER_VERDICTS, ORDERS, REPAIRS
from sink.encoding import TABLES
from sink.ledger import Stored
from stream.protocol import Log, Reader, TopicPartition

POLL_SECONDS = 0.004
_LOOP_TOPICS = (LINKS.name, ORDERS.name, ORDER_VERDICTS.name, REPAIRS.name, HISTORY.name)
"""What processors tell each other and are told about the past."""


class DrainTimeoutError(Exception):
    """Not everything got through in time; the message says what was still under way."""


def places(topic: str, ends: Mapping[int, int]) -> dict[TopicPartition, int]:
    """End offsets of a topic as positions; what has no messages needs no waiting."""
    return {TopicPartition(topic, partition): end for partition, end in ends.items() if end}


def behind(targets: Mapping[TopicPartition, int], reached: Mapping[TopicPartition, int]) -> int:
    """How many offsets are missing."""
    return sum(max(0, end - reached.get(place, 0)) for place, end in targets.items())


def wait_until_processed(log: Log, reader: Reader, topics: Sequence[str], deadline: float) -> bool:
    """Until the processors are past what is on the topics now; says whether anything was under way.

    Raises DrainTimeoutError."""
    targets: dict[TopicPartition, int] = {}
    for topic in topics:
        targets |= places(topic, reader.end_offsets(topic))
    waited = False
    while missing := behind(targets, log.committed(GROUP)):
        waited = True
        if time.monotonic() > deadline:
            raise DrainTimeoutError(f"the processors have {missing} messages of {', '.join(topics)} to go")
        time.sleep(POLL_SECONDS)
    return waited


def wait_until_stored(reader: Reader, sink: Stored, topics: Sequence[str], deadline: float) -> None:
    """Until what is on the topics now is in the tables. Raises DrainTimeoutError."""
    targets: dict[TopicPartition, int] = {}
    for topic in topics:
        targets |= places(topic, reader.end_offsets(topic))
    while missing := behind(targets, sink.visible_positions()):
        if time.monotonic() > deadline:
            said = f": {sink.error}" if sink.error else ""
            raise DrainTimeoutError(f"the sink has {missing} rows to go{said}")
        sink.flush_soon()
        time.sleep(POLL_SECONDS)


def drain(log: Log, sink: Stored, timeout: float, unfinished: Callable[[], str] = lambda: "") -> float:
    """Returns the seconds it took. Raises DrainTimeoutError, LogError. Blocking.

    `unfinished` says what of the past is still to be told to processors or taken out; empty for nothing."""
    began = time.monotonic()
    deadline = began + timeout
    reader = log.reader()
    try:
        wait_until_processed(log, reader, [HITS.name], deadline)
        while said := unfinished():
            if time.monotonic() > deadline:
                raise DrainTimeoutError(said)
            time.sleep(POLL_SECONDS)
        while wait_until_processed(log, reader, _LOOP_TOPICS, deadline):
            pass
        wait_until_stored(reader, sink, [table.name for table in TABLES], deadline)
    finally:
        reader.close()
    return time.monotonic() - began
