"""Group commit: hits are collected while the append before them runs, and appended together."""

import asyncio
import logging
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from ingest.metrics import Metrics
from stream.faults import crash_point
from stream.protocol import Appender, LogError

logger = logging.getLogger(__name__)

_SECONDS_BETWEEN_COMPLAINTS = 5.0

Entry = tuple[int, bytes, bytes]
"""Partition, key, value."""


class Committer:
    """Appends to one topic from one thread; used on the event loop only.

    A group ends with the submission that reaches `max_group` hits or `max_group_bytes` (a submission is never
    divided), so that one append stays short. Appends begin `apart_s` or more one after the other, for logs to
    which many small ones cost much more than few large ones; a hit after a pause does not wait.

    A group without a single hit begins up to `bulk_apart_s` after the append before: who sends in bulk can
    wait that long. It waits for no more submissions than had come until the last append ended: then all
    clients wait who send one request after the other."""

    def __init__(
        self,
        appender: Appender,
        metrics: Metrics,
        *,
        max_queued: int,
        max_group: int = 20_000,
        max_group_bytes: int = 32 << 20,
        apart_s: float = 0.0,
        bulk_apart_s: float = 0.0,
    ) -> None:
        self._appender = appender
        self._metrics = metrics
        self._max_queued = max_queued
        self._max_group = max_group
        self._max_group_bytes = max_group_bytes
        self._apart_s = apart_s
        self._bulk_pause_s = max(0.0, bulk_apart_s - apart_s)
        self._next_at = 0.0
        self._loop = asyncio.get_running_loop()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="append")
        self._entries: list[Entry] = []
        self._bytes = 0
        self._waiting: list[tuple[asyncio.Future[None], int, int]] = []
        """Of each submission: its future, how many hits and bytes it has."""
        self._has_single = False
        self._expected = 0
        """How many submissions waited when the last append ended."""
        self._patience: asyncio.TimerHandle | None = None
        """While a group of bulk submissions waits for more of them."""
        self._scheduled = False
        self._in_flight = 0
        self._complained_at = -_SECONDS_BETWEEN_COMPLAINTS
        self._idle = asyncio.Event()
        self._idle.set()

    @property
    def queued(self) -> int:
        """Hits that are not yet durable."""
        return len(self._entries) + self._in_flight

    def is_full(self) -> bool:
        return self.queued >= self._max_queued

    def submit_one(self, entry: Entry) -> asyncio.Future[None]:
        """As `submit`, for one hit."""
        self._entries.append(entry)
        future = self._loop.create_future()
        self._bytes += len(entry[2])
        self._waiting.append((future, 1, len(entry[2])))
        self._has_single = True
        if not self._scheduled:
            self._schedule()
        elif self._patience:
            self._reschedule()
        return future

    def submit(self, entries: Sequence[Entry]) -> asyncio.Future[None]:
        """Resolves when all entries are durable; fails with LogError when none is."""
        self._entries.extend(entries)
        future = self._loop.create_future()
        size = sum([len(value) for _, _, value in entries])
        self._bytes += size
        self._waiting.append((future, len(entries), size))
        if not self._scheduled:
            self._schedule()
        elif self._patience and self._is_complete():
            self._reschedule()
        return future

    def _schedule(self) -> None:
        self._scheduled = True
        self._idle.clear()
        # The other requests of this turn of the event loop get into the same group.
        self._start_when_due()

    def _is_complete(self) -> bool:
        """Nothing more need be waited for."""
        return self._has_single or len(self._waiting) >= self._expected or self._is_large()

    def _is_large(self) -> bool:
        return len(self._entries) >= self._max_group or self._bytes >= self._max_group_bytes

    def _start_when_due(self) -> None:
        pause = self._next_at - time.perf_counter()
        if not self._is_complete() and pause + self._bulk_pause_s > 0:
            self._patience = self._loop.call_later(pause + self._bulk_pause_s, self._start)
        elif pause > 0 and not self._is_large():
            self._loop.call_later(pause, self._start)
        else:
            self._loop.call_soon(self._start)

    def _reschedule(self) -> None:
        if self._patience:
            self._patience.cancel()
            self._patience = None
        self._start_when_due()

    def _start(self) -> None:
        self._patience = None
        if len(self._entries) <= self._max_group and self._bytes <= self._max_group_bytes:
            entries, self._entries = self._entries, []
            waiting, self._waiting = self._waiting, []
            self._bytes = 0
            self._has_single = False
        else:
            hits = size = taken = 0
            for _, count, its_bytes in self._waiting:
                hits += count
                size += its_bytes
                taken += 1
                if hits >= self._max_group or size >= self._max_group_bytes:
                    break
            self._bytes -= size
            entries, self._entries = self._entries[:hits], self._entries[hits:]
            waiting, self._waiting = self._waiting[:taken], self._waiting[taken:]
        self._in_flight = len(entries)
        crash_point("ingest.grouped")
        started = time.perf_counter()
        self._next_at = started + self._apart_s
        append = self._loop.run_in_executor(self._thread, self._appender.append, entries)
        append.add_done_callback(lambda done: self._finish(done, waiting, len(entries), started))

    def _finish(
        self,
        done: "asyncio.Future[Sequence[int]]",
        waiting: list[tuple[asyncio.Future[None], int, int]],
        hits: int,
        started: float,
    ) -> None:
        self._in_flight = 0
        self._expected = len(waiting) + len(self._waiting)
        self._metrics.append_seconds.observe(time.perf_counter() - started)
        error = done.exception()
        if error is None:
            crash_point("ingest.durable")
            self._metrics.accepted += hits
            self._metrics.append_hits += hits
            for future, _, _ in waiting:
                if not future.done():
                    future.set_result(None)
        else:
            self._metrics.append_failures += 1
            now = time.monotonic()
            if now - self._complained_at > _SECONDS_BETWEEN_COMPLAINTS:
                self._complained_at = now
                logger.error("appending %d hits failed: %s", hits, error)
            if not isinstance(error, LogError):
                error = LogError(f"appending failed: {error}")
            for future, _, _ in waiting:
                if not future.done():
                    future.set_exception(error)
        if self._entries:
            self._start_when_due()
        else:
            self._scheduled = False
            self._idle.set()

    async def close(self) -> None:
        """Appends what is queued, then ends the thread. The appender stays open."""
        await self._idle.wait()
        await self._loop.run_in_executor(None, self._thread.shutdown)
