"""The journal loses hits that were received too long ago for a refold from it."""

from collections.abc import Callable
from datetime import timedelta
from time import monotonic

from processors.owners import JOURNAL_TABLE
from schemas.hit import decode_hit
from stream.protocol import Worker

_ROWS_PER_TRIM = 2000
_TRIM_EVERY_SECONDS = 30.0


class JournalTrimmer:
    """Deletes the oldest hits of the journal, a few with every unit of work, so that none has to wait."""

    def __init__(self, worker: Worker, keep: timedelta, clock: Callable[[], float]) -> None:
        self._worker = worker
        self._keep = keep
        self._clock = clock
        self._next_at = monotonic() + _TRIM_EVERY_SECONDS

    def trim_some(self) -> None:
        """Part of the unit of work that is being made: the caller commits."""
        if monotonic() < self._next_at:
            return
        self._next_at = monotonic() + _TRIM_EVERY_SECONDS
        received_before_ms = int((self._clock() - self._keep.total_seconds()) * 1000)
        for partition in self._worker.partitions:
            state = self._worker.state(partition)
            oldest = state.scan(JOURNAL_TABLE, b"", b"\xff" * 9, limit=1)
            if not oldest or decode_hit(oldest[0][1]).received_at >= received_before_ms:
                continue
            rows = state.scan(JOURNAL_TABLE, b"", b"\xff" * 9, limit=_ROWS_PER_TRIM)
            state.delete_many(
                JOURNAL_TABLE,
                [key for key, value in rows if decode_hit(value).received_at < received_before_ms],
            )
            # More may be waiting: go on with the next unit of work.
            self._next_at = monotonic()
