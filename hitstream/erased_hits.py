"""Which hits of the log are to be forgotten or are forgotten."""

from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress

import msgspec

from hitstream.history import StoredHit
from hitstream.known_facts import read_facts
from schemas.history import Erasure, Rewrite
from schemas.hit import decode_hit, first_hit_id_of
from schemas.topics import HITS, partition_of
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
        reader = log.reader()
        try:
            self._known = {partition: one.known for partition, one in read_facts(reader).items()}
        finally:
            reader.close()
        self._begun = [
            (partition, fact)
            for partition, known in self._known.items()
            for facts in known.unfinished.values()
            for fact in facts
        ]

    @property
    def newest(self) -> float:
        """When the last one was asked for, unix seconds; 0 for never."""
        return max((known.newest for known in self._known.values()), default=0) / 1e9

    def add(self, facts: Sequence[tuple[int, Erasure | Rewrite]]) -> None:
        for partition, fact in facts:
            self._known[partition].note(fact)

    def __call__(self, partition: int, offset: int) -> bool:
        known = self._known.get(partition)
        return known is not None and offset in known.offsets

    def unfinished(self) -> list[tuple[int, Erasure | Rewrite]]:
        """Deletions recorded before this process, whose rows may still be in the database."""
        return self._begun
