"""What one input batch adds to its unit of work: outputs, links, tallies, dead letters."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping

import msgspec

from schemas.hit import Hit
from schemas.outcomes import Outcome
from schemas.rows import (
    Action,
    Conversion,
    ConversionItem,
    DeadLetter,
    Row,
    Tally,
    Visit,
    VisitLink,
    encode_output,
)
from schemas.topics import ACTIONS, CONVERSION_ITEMS, CONVERSIONS, VISITS
from stream.protocol import Batch

_MILLISECONDS_PER_DAY = 86_400_000
_TOPICS: Mapping[type[Row], str] = {
    Visit: VISITS.name,
    Action: ACTIONS.name,
    Conversion: CONVERSIONS.name,
    ConversionItem: CONVERSION_ITEMS.name,
}

encode_tally = msgspec.msgpack.Encoder().encode


class Unit:
    """What one input batch adds to its unit of work."""

    def __init__(self, batch: Batch) -> None:
        self.batch = batch
        self.tallies: Counter[tuple[int, int, str, str]] = Counter()
        self.stored: list[Hit] = []
        """Hits that have rows and are not counted yet."""
        self.dead: list[DeadLetter] = []
        self.outputs: dict[str, list[tuple[bytes, bytes]]] = defaultdict(list)
        self.links: list[tuple[int, bytes]] = []
        self.behind: dict[tuple[int, int], int] = {}
        """(site, owner) of owners that must follow a replay -> its level."""

    def count(self, hit: Hit | None, outcome: Outcome, reason: str = "") -> None:
        if hit is None:
            self.tallies[(0, 0, outcome, reason)] += 1
        else:
            day = hit.received_at // _MILLISECONDS_PER_DAY
            self.tallies[(hit.site_id, day, outcome, reason)] += 1

    def count_stored(self) -> None:
        """Nearly all hits are stored: they are counted together."""
        days = Counter((hit.site_id, hit.received_at // _MILLISECONDS_PER_DAY) for hit in self.stored)
        for (site_id, day), count in days.items():
            self.tallies[(site_id, day, Outcome.STORED, "")] += count
        self.stored.clear()

    def add_changes(self, owner: int, changes: Iterable[tuple[Row, bool]]) -> None:
        key = owner.to_bytes(8, "big")
        for row, is_deleted in changes:
            if isinstance(row, VisitLink):
                self.links.append((row.visitor_id, encode_output(row, is_deleted=is_deleted)))
                continue
            topic = _TOPICS[type(row)]
            self.outputs[topic].append((key, encode_output(row, is_deleted=is_deleted)))

    def tally_rows(self) -> list[tuple[bytes, bytes]]:
        batch = self.batch
        first = batch.messages[0].offset
        return [
            (
                b"",
                encode_tally(
                    Tally(
                        topic=batch.topic,
                        partition=batch.partition,
                        first_offset=first,
                        next_offset=batch.next_offset,
                        site_id=site_id,
                        received_on=day,
                        outcome=outcome,
                        reason=reason,
                        count=count,
                    )
                ),
            )
            for (site_id, day, outcome, reason), count in self.tallies.items()
        ]
