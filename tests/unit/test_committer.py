"""Which hits are appended together."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence

from ingest.committer import Committer
from ingest.metrics import Metrics
from stream.protocol import Appender

Entry = tuple[int, bytes, bytes]

TWO: Sequence[Entry] = [(0, b"", b"hit")] * 2


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

    def trim(self, positions: object) -> None:
        pass

    def close(self) -> None:
        pass


def appended(
    send: Callable[[Committer], Awaitable[None]], *, apart_s: float = 0.0, bulk_apart_s: float = 0.0
) -> Remembered:
    """What `send` submits, as it was appended. Raises TimeoutError after 20 s."""
    appender = Remembered()

    async def run() -> None:
        committer = Committer(
            appender, Metrics(), max_queued=1000, apart_s=apart_s, bulk_apart_s=bulk_apart_s
        )
        await send(committer)
        await committer.close()

    asyncio.run(asyncio.wait_for(run(), 20.0))
    return appender


def test_hits_that_follow_a_group_soon_are_gathered() -> None:
    async def send(committer: Committer) -> None:
        await committer.submit_one((0, b"", b"alone"))
        waiting = []
        for _ in range(3):
            waiting.append(committer.submit(TWO))
            await asyncio.sleep(0)
        await asyncio.gather(*waiting)

    began = time.monotonic()
    found = appended(send, apart_s=1.0)
    assert found.groups == [1, 6]
    assert found.times[1] - began >= 1.0


def test_bulk_submissions_wait_for_others_that_come_anyway() -> None:
    async def send(committer: Committer) -> None:
        await asyncio.gather(*[committer.submit(TWO) for _ in range(3)])
        waiting = []
        for _ in range(2):
            waiting.append(committer.submit(TWO))
            await asyncio.sleep(0.02)
        await asyncio.gather(*waiting)

    began = time.monotonic()
    found = appended(send, bulk_apart_s=2.0)
    assert found.groups == [6, 4]
    assert found.times[1] - began >= 2.0


def test_clients_who_wait_for_their_answers_are_not_waited_for() -> None:
    async def client(committer: Committer) -> None:
        for _ in range(20):
            await committer.submit(TWO)

    async def send(committer: Committer) -> None:
        await asyncio.gather(*(client(committer) for _ in range(3)))

    assert sum(appended(send, bulk_apart_s=60.0).groups) == 120


def test_a_single_hit_takes_waiting_bulk_submissions_with_it() -> None:
    async def send(committer: Committer) -> None:
        await asyncio.gather(*[committer.submit(TWO) for _ in range(3)])
        bulk = committer.submit(TWO)
        await asyncio.sleep(0.05)
        assert not bulk.done()
        await committer.submit_one((0, b"", b"alone"))
        assert bulk.done()

    assert appended(send, bulk_apart_s=60.0).groups == [6, 3]
