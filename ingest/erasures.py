"""Erased hits leave the log: ingest owns the segments of `hits`, so ingest rewrites them."""

import logging
import threading
from collections import defaultdict

from schemas.history import Erasure, Rewrite, Summary, decode_fact
from schemas.topics import HISTORY
from stream.protocol import Appender, Log, LogError, LogResetError, Reader

logger = logging.getLogger(__name__)

LOOK_SECONDS = 0.5
RETRY_SECONDS = 5.0
_READ_FACTS = 10_000


class LogErasures:
    """Follows topic `history` in a thread of its own, from its beginning; what is gone costs a look."""

    def __init__(self, log: Log, hits: Appender) -> None:
        self._log, self._hits = log, hits
        self._next: dict[int, int] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="erasures", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        reader = self._log.reader()
        try:
            wait = 0.0
            while not self._stop.wait(wait):
                wait = LOOK_SECONDS
                try:
                    erased = self.step(reader)
                except LogResetError:
                    return
                except LogError as error:
                    logger.warning("erased hits can't be taken out of the log now: %s", error)
                    wait = RETRY_SECONDS
                    continue
                if erased:
                    logger.info("%d erased hits are no longer on the log", erased)
        finally:
            reader.close()

    def step(self, reader: Reader) -> int:
        """Erase what was asked for since the last step; returns how many hits, 0 where the log loses them in
        another way (`Log.forget`). Raises LogError."""
        places: dict[int, set[int]] = defaultdict(set)
        following = dict(self._next)
        for partition, end in reader.end_offsets(HISTORY.name).items():
            at = following.get(partition, 0)
            while at < end and (batch := reader.read(HISTORY.name, partition, at, _READ_FACTS)) is not None:
                for message in batch.messages:
                    fact = decode_fact(message.value)
                    if isinstance(fact, Erasure | Rewrite | Summary):
                        places[partition].update(fact.on_log())
                at = batch.next_offset
            following[partition] = at
        erased = bool(places) and self._hits.erase(places)
        self._next = following
        return sum(map(len, places.values())) if erased else 0

    def close(self) -> None:
        """Waits for what is under way."""
        self._stop.set()
        self._thread.join()
