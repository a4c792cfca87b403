"""The journal loses hits that were received too long ago for a refold from it, and owners lose the segments
that lead to nothing but such hits."""

from collections.abc import Callable
from datetime import timedelta
from time import monotonic

import msgspec

from processors.owners import (
    JOURNAL_TABLE,
    SEGMENTS_TABLE,
    OwnerKey,
    load_records,
    owner_of_segment,
    save_records,
)
from rules.owner import decode_segment
from schemas.hit import first_hit_id_of
from stream.protocol import State, Worker

_ROWS_PER_TRIM = 2000
_SEGMENTS_PER_TRIM = 4000
"""Looked at every half minute, by all partitions together, in a round over all of them: some 30 ms (7 us for
one of 64 hits)."""
_TRIM_EVERY_SECONDS = 30.0
_END = b"\xff" * 32


class JournalTrimmer:
    """Deletes the oldest hits of the journal and what leads to them, a few with every unit of work, so that
    none has to wait."""

    def __init__(self, worker: Worker, keep: timedelta, clock: Callable[[], float]) -> None:
        self._worker = worker
        self._keep = keep
        self._clock = clock
        self._next_at = self._next_round_at = monotonic() + _TRIM_EVERY_SECONDS
        self._round: dict[int, bytes] = {}
        """partition -> the segment with which its round goes on"""

    def trim_some(self) -> None:
        """Part of the unit of work that is being made: the caller commits."""
        now = monotonic()
        if now < self._next_at:
            return
        self._next_at = now + _TRIM_EVERY_SECONDS
        partitions = self._worker.partitions
        if now >= self._next_round_at:
            self._next_round_at = now + _TRIM_EVERY_SECONDS
            for partition in partitions:
                self.drop_segments(partition, _SEGMENTS_PER_TRIM // len(partitions) + 1)
        for partition in partitions:
            if self.trim(partition):
                # More may be waiting: go on with the next unit of work.
                self._next_at = monotonic()

    def trim(self, partition: int) -> bool:
        """Delete some of the oldest hits; whether there were any to delete."""
        state = self._worker.state(partition)
        first_kept = self._first_kept()
        oldest = state.scan(JOURNAL_TABLE, b"", b"\xff" * 9, limit=1)
        if not oldest or _hit_id(oldest[0][1]) >= first_kept:
            return False
        rows = state.scan(JOURNAL_TABLE, b"", b"\xff" * 9, limit=_ROWS_PER_TRIM)
        state.delete_many(JOURNAL_TABLE, [key for key, value in rows if _hit_id(value) < first_kept])
        return True

    def drop_segments(self, partition: int, most: int) -> None:
        """Look at the next segments of the round and drop those that lead to no hit of the journal."""
        self._round[partition] = _drop_segments(
            self._worker.state(partition),
            self._round.get(partition, b""),
            most,
            self._first_kept(),
        )

    def _first_kept(self) -> int:
        """The smallest id of a hit that is not too old."""
        return first_hit_id_of(int((self._clock() - self._keep.total_seconds()) * 1000))


class _Head(msgspec.Struct, array_like=True):
    """The beginning of a rules.owner.JournalHit: the id tells when the hit was received."""

    hit_id: int


_decode_head = msgspec.msgpack.Decoder(_Head).decode


def _hit_id(value: bytes) -> int:
    return _decode_head(value).hit_id


def _drop_segments(state: State, start: bytes, most: int, before: int) -> bytes:
    """Look at `most` stored segments from key `start` on and delete those whose hits all have ids under
    `before`; returns where to go on, empty for the beginning."""
    rows = state.scan(SEGMENTS_TABLE, start, _END, limit=most)
    gone: list[bytes] = []
    horizons: dict[OwnerKey, tuple[int, int]] = {}
    for key, value in rows:
        entries = decode_segment(value).entries
        if all(entry.hit_id < before for entry in entries):
            gone.append(key)
            horizons[owner_of_segment(key)] = (entries[-1].time, entries[-1].hit_id)
    if gone:
        records = load_records(state, list(horizons))
        for owner, record in records.items():
            record.horizon = max(record.horizon, horizons[owner])
        save_records(state, records)
        state.delete_many(SEGMENTS_TABLE, gone)
    return rows[-1][0] + b"\x00" if len(rows) == most else b""
