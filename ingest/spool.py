"""While the broker is away, hits wait in an embedded log beside it (the spool) and are forwarded in order.

A group of hits that the broker did not take in time goes to the spool as a whole, and so does every later one
until the spool is empty again: the hits of an owner keep their order. How far the spool is forwarded is
marked after the broker has the hits. A group of which the broker had some, or one that was forwarded and
not marked when the process died, comes twice; processors know the hits by their hit_id and count none twice.
"""

import logging
import shutil
import threading
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from schemas.topics import HITS
from stream.embedded import EmbeddedLimits, EmbeddedLog
from stream.faults import crash_point
from stream.protocol import Appender, LogError, LogResetError, TopicPartition

logger = logging.getLogger(__name__)

FORWARDER = "forwarder"
FORWARD_MESSAGES = 2_000
LONGEST_PAUSE_S = 2.0
LOOK_AT_SIZE_S = 1.0
SEGMENT_BYTES = 16 << 20


@dataclass
class SpoolState:
    """For metrics."""

    waiting: int = 0
    """Hits in the spool that the broker does not have."""
    size: int = 0
    """Bytes of the spool's files."""
    spooled: int = 0
    forwarded: int = 0
    """Hits since the process started."""


class Spool(Appender):
    """An appender of `hits` that does not fail while the spool has room. `directory` is of one epoch.

    What an earlier process left in the spool is forwarded before this returns, so that all hits are on the
    log before anything is read from it. Raises LogError."""

    def __init__(self, target: Appender, directory: Path, partitions: int, max_bytes: int) -> None:
        self.state = SpoolState()
        self._target = target
        self._max_bytes = max_bytes
        self._log = EmbeddedLog(
            directory,
            partitions,
            EmbeddedLimits(segment_bytes=SEGMENT_BYTES, hits_retention=timedelta(0)),
        )
        self._spool = self._log.appender(HITS.name)
        self._reader = self._log.reader()
        self._places = [TopicPartition(HITS.name, partition) for partition in range(partitions)]
        self._forwarded = dict.fromkeys(self._places, 0) | self._log.released(FORWARDER)
        self._mutex = threading.Lock()
        """Held while it is decided where hits go; not while they are forwarded."""
        self._is_used = False
        self._sized_at = 0.0
        self._wake = threading.Event()
        self._closing = threading.Event()
        if self._count():
            logger.info("forwarding %d hits that an earlier process left in the spool", self.state.waiting)
        while self._forward_some():
            pass
        self._spool.remove_read()
        self._thread = threading.Thread(target=self._run, name="spool", daemon=True)
        self._thread.start()

    def append(self, entries: Sequence[tuple[int, bytes, bytes]]) -> Sequence[int]:
        """Offsets are those of whichever log has taken the entries."""
        with self._mutex:
            if not self._is_used:
                try:
                    return self._target.append(entries)
                except LogResetError:
                    raise
                except LogError as error:
                    logger.warning("hits go to the spool until the broker takes them: %s", error)
                    self._is_used = True
            return self._spool_up(entries)

    def _spool_up(self, entries: Sequence[tuple[int, bytes, bytes]]) -> Sequence[int]:
        if time.monotonic() - self._sized_at > LOOK_AT_SIZE_S:
            self._measure()
        self.state.size += sum(len(key) + len(value) for _, key, value in entries)
        if self.state.size > self._max_bytes:
            self._measure()
            if self.state.size > self._max_bytes:
                raise LogError(
                    f"the broker is away and the spool is full: {self.state.size >> 20} MiB of"
                    f" {self._max_bytes >> 20} (HITSTREAM_SPOOL_MAX_BYTES)"
                )
        offsets = self._spool.append(entries)
        crash_point("spool.spooled")
        self.state.spooled += len(entries)
        self.state.waiting += len(entries)
        self._wake.set()
        return offsets

    def _measure(self) -> None:
        self.state.size = self._log.sizes().get(HITS.name, 0)
        self._sized_at = time.monotonic()

    def _count(self) -> int:
        ends = self._reader.end_offsets(HITS.name)
        self.state.waiting = sum(ends[at.partition] - offset for at, offset in self._forwarded.items())
        return self.state.waiting

    def _run(self) -> None:
        pause = 0.1
        while not self._closing.is_set():
            self._wake.wait(1.0)
            if not self._is_used:
                self._wake.clear()
                continue
            try:
                if not self._forward_some() and self._is_emptied():
                    logger.info("the spool is forwarded: hits go to the broker again")
                pause = 0.1
            except LogResetError:
                return  # whoever appends is told too, and opens the new epoch
            except LogError as error:
                logger.info("%d hits wait in the spool: %s", self.state.waiting, error)
                self._closing.wait(pause)
                pause = min(pause * 2, LONGEST_PAUSE_S)

    def _forward_some(self) -> bool:
        """Whether there was anything to forward."""
        entries: list[tuple[int, bytes, bytes]] = []
        following: dict[TopicPartition, int] = {}
        for at in self._places:
            batch = self._reader.read(at.topic, at.partition, self._forwarded[at], FORWARD_MESSAGES)
            if batch is not None:
                entries += [(at.partition, message.key, message.value) for message in batch.messages]
                following[at] = batch.next_offset
        if not entries:
            return False
        self._target.append(entries)
        crash_point("spool.forwarded")
        self._forwarded |= following
        self._log.release(FORWARDER, self._forwarded)
        crash_point("spool.marked")
        self.state.forwarded += len(entries)
        self._spool.remove_expired()
        with self._mutex:
            self._count()
        return True

    def _is_emptied(self) -> bool:
        """Whether nothing was added meanwhile; then hits go to the broker from now on, and no copy stays."""
        with self._mutex:
            if self._count():
                return False
            self._spool.remove_read()
            self._is_used = False
            self._wake.clear()
            self._measure()
            return True

    def trim(self, positions: Mapping[int, int]) -> None:
        self._target.trim(positions)

    def erase(self, places: Mapping[int, Collection[int]]) -> bool:
        return self._target.erase(places)

    def close(self) -> None:
        """What waits stays for the next process."""
        self._closing.set()
        self._wake.set()
        self._thread.join()
        self._reader.close()
        self._spool.close()
        self._log.close()
        self._target.close()


def drop_other_epochs(directory: Path, epoch: int) -> None:
    """Hits of an epoch that was emptied are not forwarded into the next."""
    for old in directory.glob("*"):
        if old.name.isdigit() and int(old.name) != epoch:
            logger.warning("the log was emptied: hits that waited in %s are dropped", old)
            shutil.rmtree(old, ignore_errors=True)
