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
