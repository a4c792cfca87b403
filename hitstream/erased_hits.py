"""Which hits of the log are to be forgotten or are forgotten."""

from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress

import msgspec

from hitstream.history import StoredHit
from schemas.history import Erasure, ErasureDone, HistoryFact, Rewrite, decode_fact
from schemas.hit import decode_hit, first_hit_id_of
from schemas.topics import HISTORY, HITS, partition_of
from stream.protocol import Log, Message

_READ_HITS = 10_000
_AROUND = first_hit_id_of(3_600_000) - first_hit_id_of(0)
"""An hour in hit_ids: hits of several ingest processes are not quite in the order of their ids."""


def hits_on_log(
    log: Log, site_id: int, owners: Collection[int], first_id: int, last_id: int
) -> Iterator[StoredHit]:
    """The owners' hits that are on the log and were received about when those with these ids were."""
    keys = {owner.to_bytes(8, "big") for owner in owners}
    reader = log.reader()
    try:
        for partition in sorted({partition_of(owner, log.partitions) for owner in owners}):
            at = 0
            while (batch := reader.read(HITS.name, partition, at, _READ_HITS)) is not None:
                if _first_id(batch.messages) > last_id + _AROUND:
                    break
                at = batch.next_offset
                for message in batch.messages:
                    if message.key in keys:
                        hit = decode_hit(message.value)
                        if hit.site_id == site_id and hit.hit_id >= first_id - _AROUND:
                            yield StoredHit(message.offset, hit)
    finally:
        reader.close()


def _first_id(messages: Sequence[Message]) -> int:
    """The hit_id of the first message that can be read; 0 when none can."""
    for message in messages:
        with suppress(msgspec.DecodeError):
            return decode_hit(message.value).hit_id
    return 0


class ErasedHits:
    """Which hits of the log were erased or rewritten: the sink must not store them when it reads them
    again."""

    def __init__(self, log: Log) -> None:
        self._offsets: dict[int, set[int]] = defaultdict(set)
        self._facts: dict[int, list[tuple[int, Erasure | Rewrite]]] = defaultdict(list)
        self.newest = 0.0
        """When the last one was asked for, unix seconds."""
        reader = log.reader()
        try:
            for partition, end in reader.end_offsets(HISTORY.name).items():
                first = reader.read(HITS.name, partition, 0, 1)
                oldest = first.messages[0].offset if first is not None else 0
                at = 0
                while at < end and (batch := reader.read(HISTORY.name, partition, at, 10_000)) is not None:
                    for message in batch.messages:
                        self._take(partition, decode_fact(message.value), oldest)
                    at = batch.next_offset
        finally:
            reader.close()

    def _take(self, partition: int, fact: HistoryFact, oldest: int) -> None:
        if isinstance(fact, Erasure | Rewrite):
            self._note(partition, fact, oldest)
            self._facts[fact.number].append((partition, fact))
        elif isinstance(fact, ErasureDone):
            kept = [one for one in self._facts.get(fact.number, ()) if one[0] != partition]
            if kept:
                self._facts[fact.number] = kept
            else:
                self._facts.pop(fact.number, None)

    def _note(self, partition: int, fact: Erasure | Rewrite, oldest: int = 0) -> None:
        self._offsets[partition].update(offset for offset in fact.on_log() if offset >= oldest)
        self.newest = max(self.newest, fact.number / 1e9)

    def add(self, facts: Sequence[tuple[int, Erasure | Rewrite]]) -> None:
        for partition, fact in facts:
            self._note(partition, fact)

    def __call__(self, partition: int, offset: int) -> bool:
        offsets = self._offsets.get(partition)
        return offsets is not None and offset in offsets

    def unfinished(self) -> list[tuple[int, Erasure | Rewrite]]:
        """Deletions recorded before this process, whose rows may still be in the database."""
        return [one for facts in self._facts.values() for one in facts]
