"""Which lines of an interrupted import had arrived: each hit carries its file and line in `hs_line`."""

import re
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from hitstream.drain import drain
from hitstream.engine import Engine
from schemas.hit import decode_hit
from schemas.topics import HITS
from stream.protocol import Message, Reader

STEP = 5_000
DRAIN_SECONDS = 600.0


def lines_in(values: Sequence[bytes], marker: str) -> set[int]:
    """Line numbers that follow `hs_line=<marker>` in encoded hits, whose queries are plain ASCII."""
    pattern = re.compile(rb"hs_line=" + re.escape(marker.encode()) + rb"([0-9]+)")
    return {int(found) for value in values for found in pattern.findall(value)}


def newest_first(reader: Reader, partition: int, end: int) -> Iterator[Sequence[Message]]:
    """Messages of `hits` in runs from the end to the first one kept."""
    while end > 0:
        start = max(0, end - STEP)
        messages: list[Message] = []
        offset = start
        while offset < end and (batch := reader.read(HITS.name, partition, offset, end - offset)):
            messages += [message for message in batch.messages if message.offset < end]
            offset = batch.next_offset
        if not messages:
            return
        yield messages
        end = start


def received_at_ms(message: Message) -> int:
    """0 for what is no hit."""
    try:
        return decode_hit(message.value).received_at
    except (msgspec.DecodeError, msgspec.ValidationError):
        return 0


def arrived_lines(engine: Engine, marker: str, since: float) -> list[int]:
    """Lines whose hits were received since (unix seconds): from the log and, what it no longer keeps, from
    the raw hits in the tables. Blocking. Raises LogError, DrainTimeoutError."""
    found: set[int] = set()
    reader = engine.log.reader()
    try:
        for partition, end in reader.end_offsets(HITS.name).items():
            for messages in newest_first(reader, partition, end):
                found |= lines_in([message.value for message in messages], marker)
                if received_at_ms(messages[0]) < since * 1000:
                    break
    finally:
        reader.close()
    drain(engine.log, engine.sink, DRAIN_SECONDS)
    rows: Sequence[Sequence[Any]] = engine.database.rows(
        "SELECT query FROM hits WHERE received_at >= toDateTime64({since:Float64}, 3)"
        " AND position(query, concat('hs_line=', {marker:String})) > 0",
        {"marker": marker, "since": since},
    )
    return sorted(found | lines_in([str(row[0]).encode() for row in rows], marker))
