"""Owners in the state of a partition: heads, stored segments and the hits of the journal."""

from collections.abc import Iterable, Mapping, Sequence

from rules.owner import (
    JournalHit,
    OwnerRecord,
    ReadyHit,
    Segment,
    decode_record,
    decode_segment,
    encode_journal_hit,
    encode_record,
    encode_segment,
)
from stream.protocol import State

OWNERS_TABLE = "owners"
SEGMENTS_TABLE = "segments"
JOURNAL_TABLE = "journal"

OwnerKey = bytes
"""4 bytes site id, 8 bytes owner, big-endian."""


BUSY_SEGMENTS = 4
"""From so many stored segments on, some 250 hits, an owner's late hits wait for each other: a refold takes
16 us for each hit after the late one, and 1 us for each of a visit that goes on and is carried."""


def is_busy(record: OwnerRecord, late: tuple[int, int]) -> bool:
    """Whether a hit that comes before the record's tail is not worth a refold of its own."""
    entries = record.tail.entries
    in_tail = bool(entries) and late >= (entries[0].time, entries[0].hit_id)
    return record.stored_segments >= BUSY_SEGMENTS and not in_tail


def owner_key(site_id: int, owner: int) -> OwnerKey:
    return (site_id << 64 | owner).to_bytes(12, "big")


def segment_key(key: OwnerKey, time: int, hit_id: int) -> bytes:
    """Segments of an owner sort by their first entry; event times are moved to be positive."""
    return key + (((time + (1 << 62)) << 64) | hit_id).to_bytes(16, "big")


def owner_of_segment(key: bytes) -> OwnerKey:
    return key[:12]


def _journal_key(offset: int) -> bytes:
    return offset.to_bytes(8, "big")


def load_records(state: State, keys: Sequence[OwnerKey]) -> dict[OwnerKey, OwnerRecord]:
    """The heads that exist."""
    return {key: decode_record(value) for key, value in state.get_many(OWNERS_TABLE, keys).items()}


def save_records(state: State, records: Mapping[OwnerKey, OwnerRecord]) -> None:
    state.put_many(OWNERS_TABLE, [(key, encode_record(record)) for key, record in records.items()])


def save_segments(state: State, key: OwnerKey, segments: Iterable[Segment]) -> None:
    state.put_many(
        SEGMENTS_TABLE,
        [
            (segment_key(key, segment.entries[0].time, segment.entries[0].hit_id), encode_segment(segment))
            for segment in segments
        ],
    )


def delete_segments(state: State, key: OwnerKey, segments: Iterable[Segment]) -> None:
    state.delete_many(
        SEGMENTS_TABLE,
        [segment_key(key, segment.entries[0].time, segment.entries[0].hit_id) for segment in segments],
    )


def segments_from(
    state: State, key: OwnerKey, time: int, hit_id: int, until: tuple[int, int] | None = None
) -> list[Segment]:
    """The stored segments from the one that (time, hit_id) falls into, or from the first when it is older;
    to the last, or to the one that `until` falls into."""
    at = segment_key(key, time, hit_id)
    start = key
    end = key + b"\xff" * 17 if until is None else segment_key(key, *until) + b"\x00"
    found = state.scan(SEGMENTS_TABLE, start, at + b"\x00", limit=1, reverse=True)
    if found:
        start = found[0][0]
    return [decode_segment(value) for _, value in state.scan(SEGMENTS_TABLE, start, end)]


def save_hits(state: State, hits: Iterable[ReadyHit]) -> None:
    """The journal, by offset: it grows at its end only."""
    state.put_many(
        JOURNAL_TABLE,
        [
            (
                _journal_key(ready.entry.offset),
                encode_journal_hit(JournalHit(ready.entry.hit_id, ready.config_offset, ready.hit)),
            )
            for ready in hits
        ],
    )


def load_hits(state: State, offsets: Sequence[int]) -> dict[int, bytes]:
    """The hits that are still in the journal, by offset."""
    keys = [_journal_key(offset) for offset in offsets]
    return {int.from_bytes(key, "big"): value for key, value in state.get_many(JOURNAL_TABLE, keys).items()}


def delete_journal(state: State, offsets: Iterable[int]) -> None:
    state.delete_many(JOURNAL_TABLE, [_journal_key(offset) for offset in offsets])
