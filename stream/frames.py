"""How messages lie in SQLite: one row per batch of one partition, numbered by its first offset.

A row's id is partition << 44 | first offset, so that one table holds all partitions of a topic, each in
offset order, and needs no second index. The payload is a msgpack pair of two equally long
lists: keys, values.
"""

import sqlite3
from collections.abc import Collection, Mapping, Sequence

import msgspec

from stream.protocol import Message

OFFSET_BITS = 44
MAX_READ_BYTES = 32 << 20
"""A read ends after the row that reaches this, so that long messages don't fill the memory."""
BATCH_COLUMNS = "(id INTEGER PRIMARY KEY, count INTEGER NOT NULL, payload BLOB NOT NULL)"

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(tuple[list[bytes], list[bytes]]).decode


def row_id(partition: int, offset: int) -> int:
    return partition << OFFSET_BITS | offset


def offset_of(identifier: int) -> int:
    return identifier & ((1 << OFFSET_BITS) - 1)


def encode_frame(keys: Sequence[bytes], values: Sequence[bytes]) -> bytes:
    return _encode((keys, values))


def read_frames(
    connection: sqlite3.Connection, table: str, partition: int, offset: int, max_messages: int
) -> list[Message]:
    """At most `max_messages` messages from `offset` on, fewer when they are long; from the first that exists
    when `offset` is gone."""
    first = row_id(partition, offset)
    # The row that holds `offset` may have begun before it.
    row = connection.execute(
        f"SELECT id, count FROM {table} WHERE id <= ? AND id >= ? ORDER BY id DESC LIMIT 1",  # noqa: S608
        (first, row_id(partition, 0)),
    ).fetchone()
    if row is not None and row[0] + row[1] > first:
        first = row[0]
    messages: list[Message] = []
    size = 0
    rows = connection.execute(
        f"SELECT id, count, payload FROM {table} WHERE id >= ? AND id < ? ORDER BY id",  # noqa: S608
        (first, row_id(partition + 1, 0)),
    )
    try:
        for identifier, count, payload in rows:
            base = offset_of(identifier)
            keys, values = _decode(payload)
            skipped = max(0, offset - base)
            wanted = max_messages - len(messages)
            if skipped or count - skipped > wanted:
                keys, values = keys[skipped : skipped + wanted], values[skipped : skipped + wanted]
            messages += map(Message, range(base + skipped, base + skipped + len(keys)), keys, values)
            size += len(payload)
            if len(messages) >= max_messages or size >= MAX_READ_BYTES:
                break
    finally:
        rows.close()  # an unfinished statement would keep its snapshot, and so the WAL
    return messages


def emptied(identifier: int, payload: bytes, places: Mapping[int, Collection[int]]) -> bytes:
    """The payload of a row without keys and values of the messages at these places (partition -> offsets)."""
    base = offset_of(identifier)
    offsets = places.get(identifier >> OFFSET_BITS, ())
    keys, values = _decode(payload)
    inside = [offset - base for offset in offsets if base <= offset < base + len(keys)]
    if not inside:
        return payload
    for place in inside:
        keys[place] = values[place] = b""
    return encode_frame(keys, values)


def end_of(connection: sqlite3.Connection, table: str, partition: int) -> int | None:
    """The next offset after the last row of a partition; None when it has no row."""
    row = connection.execute(
        f"SELECT id, count FROM {table} WHERE id >= ? AND id < ? ORDER BY id DESC LIMIT 1",  # noqa: S608
        (row_id(partition, 0), row_id(partition + 1, 0)),
    ).fetchone()
    return None if row is None else offset_of(row[0]) + int(row[1])
