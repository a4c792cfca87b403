"""Which hits are appended together."""

import asyncio
import time
from collections.abc import Sequence

from ingest.committer import Committer
from ingest.metrics import Metrics
from stream.protocol import Appender

Entry = tuple[int, bytes, bytes]


class Remembered(Appender):
    """Keeps groups in memory, with the time at which each came."""

    def __init__(self) -> None:
        self.groups: list[int] = []
        self.times: list[float] = []

    def append(self, entries: Sequence[Entry]) -> Sequence[int]:
        self.groups.append(len(entries))
        self.times.append(time.monotonic())
        return list(range(len(entries)))

    def erase(self, places: object) -> bool:
        return False

    def close(self) -> None:
        pass


def test_hits_that_follow_a_group_soon_are_gathered() -> None:
    appender = Remembered()

    began = time.monotonic()

    async def submit() -> None:
        committer = Committer(appender, Metrics(), max_queued=1000, apart_s=1.0)
        await committer.submit_one((0, b"", b"alone"))
        waiting = []
        for _ in range(3):
            waiting.append(committer.submit([(0, b"", b"soon")] * 2))
            await asyncio.sleep(0)
        await asyncio.gather(*waiting)
        await committer.close()

    asyncio.run(submit())
    assert appender.groups == [1, 6]
    assert appender.times[1] - began >= 1.0


def test_bulk_submissions_wait_for_others_that_come_anyway() -> None:
    appender = Remembered()

    async def submit() -> None:
        committer = Committer(appender, Metrics(), max_queued=1000, bulk_apart_s=0.5)
        await asyncio.gather(*[committer.submit([(0, b"", b"hit")] * 2) for _ in range(3)])
        waiting = []
        for _ in range(2):
            waiting.append(committer.submit([(0, b"", b"hit")] * 2))
            await asyncio.sleep(0.02)
        await asyncio.gather(*waiting)
        await committer.close()

    began = time.monotonic()
    asyncio.run(submit())
    assert appender.groups == [6, 4]
    assert appender.times[1] - began >= 0.5


async def _send_one_after_the_other(committer: Committer, times: int) -> None:
    for _ in range(times):
        await committer.submit([(0, b"", b"hit")] * 2)


def test_clients_who_wait_for_their_answers_are_not_waited_for() -> None:
    appender = Remembered()

    async def submit() -> None:
        committer = Committer(appender, Metrics(), max_queued=1000, bulk_apart_s=60.0)
        await asyncio.gather(*(_send_one_after_the_other(committer, 20) for _ in range(3)))
        await committer.close()

    asyncio.run(asyncio.wait_for(submit(), 20.0))
    assert sum(appender.groups) == 120


def test_a_single_hit_takes_waiting_bulk_submissions_with_it() -> None:
    appender = Remembered()

    async def submit() -> None:
        committer = Committer(appender, Metrics(), max_queued=1000, bulk_apart_s=60.0)
        first = [committer.submit([(0, b"", b"hit")] * 2) for _ in range(3)]
        await asyncio.gather(*first)
        bulk = committer.submit([(0, b"", b"hit")] * 2)
        await asyncio.sleep(0.05)
        assert not bulk.done()
        await committer.submit_one((0, b"", b"alone"))
        assert bulk.done()
        await committer.close()

    asyncio.run(asyncio.wait_for(submit(), 20.0))
    assert appender.groups == [6, 3]
