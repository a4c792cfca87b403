"""The processing stage on a real embedded log, without processes: append hits, process, read the tables."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from processors.history import OwnerHistory
from processors.processor import INPUTS, Processor
from processors.service import asked_of, first_step
from rules.fold_state import RowKey, row_key
from rules.prepare import Lookups
from rules.prepared import Agent
from schemas.config import ConfigEvent, encode_config_event
from schemas.history import HistoryFact, encode_fact
from schemas.hit import Hit, decode_hit, encode_hit
from schemas.rows import Action, Conversion, ConversionItem, DeadLetter, Row, Tally, Visit
from schemas.topics import partition_of
from stream.config import ConfigFollower
from stream.embedded import EmbeddedLog
from stream.protocol import Batch, Log

TABLES: dict[str, Any] = {
    "visits": Visit,
    "actions": Action,
    "conversions": Conversion,
    "conversion_items": ConversionItem,
}
FIREFOX = Agent(os="WIN", os_version="10", browser="FF", browser_version="128.0", device_type=0)


class Pipeline:
    """Hits in at one end, tables out at the other."""

    def __init__(
        self,
        directory: Path,
        events: Sequence[ConfigEvent],
        partitions: int = 2,
        *,
        log: Log | None = None,
    ) -> None:
        """`log`: another than the embedded."""
        self.log = log or EmbeddedLog(directory, partitions)
        self.configured: list[ConfigEvent] = []
        self.config_offset = self.configure(*events)
        self.hits = self.log.appender("hits")
        self.facts = self.log.appender("history")
        self._reader = self.log.reader()
        self.open_worker()

    def open_worker(self) -> None:
        self.worker = self.log.worker("processors", INPUTS, range(self.log.partitions))
        follower = ConfigFollower(self.log)
        lookups = Lookups(agent=lambda *_: FIREFOX, locale=lambda language: (language[:5], language[:2]))
        self.processor = Processor(self.worker, follower.at, lookups, lambda: 0.0)

    def send(self, *hits: Hit) -> list[Hit]:
        """Under the configuration of now; returns the hits as they are on the log."""
        placed = [msgspec.structs.replace(hit, config_offset=self.config_offset) for hit in hits]
        self.send_placed(*placed)
        return placed

    def send_placed(self, *hits: Hit) -> None:
        self.hits.append(
            [
                (partition_of(hit.owner, self.log.partitions), hit.owner.to_bytes(8, "big"), encode_hit(hit))
                for hit in hits
            ]
        )

    def send_raw(self, value: bytes, partition: int = 0) -> None:
        self.hits.append([(partition, b"", value)])

    def _poll(self, max_messages: int) -> Sequence[Batch]:
        """What comes next; nothing when nothing is left."""
        while not (batches := self.worker.poll(max_messages, 0.5 if self.log.is_remote else 0.0)):
            if not self.log.is_remote or not any(self.log.lag("processors").values()):
                break
        return batches

    def process(self, max_messages: int = 1000) -> None:
        """Until nothing is left to do."""
        while batches := self._poll(max_messages):
            for batch in batches:
                self.processor.process(batch)
            self.worker.commit(batches)

    def stored_hits(self, owner: int) -> list[tuple[int, bytes]]:
        """The owner's hits with their offsets, as the table of raw hits keeps them: each once, its last."""
        partition = partition_of(owner, self.log.partitions)
        batch = self._reader.read("hits", partition, 0, 100_000)
        found = [] if batch is None else batch.messages
        kept = {decode_hit(one.value).hit_id: one for one in found if one.key == owner.to_bytes(8, "big")}
        return [(one.offset, one.value) for one in kept.values()]

    def history_of(self, site_id: int, owner: int) -> OwnerHistory:
        """What the database knows of an owner when all outputs are stored."""
        rows = [row for row in self.tables().values() if getattr(row, "owner", owner) == owner]
        visits = [row for row in rows if isinstance(row, Visit)]
        known = {visit.visit_id for visit in visits}
        keys = [row_key(row) for row in rows if row.visit_id in known]
        links = [(one.visit_id, one.visitor_id) for one in visits if one.visitor_id != owner]
        return OwnerHistory(site_id, owner, self.stored_hits(owner), keys, links)

    def tell(self, partition: int, *facts: HistoryFact) -> None:
        """Append to topic `history`."""
        self.facts.append([(partition, b"", encode_fact(fact)) for fact in facts])

    def configure(self, *events: ConfigEvent) -> int:
        """Append to the configuration; returns its end."""
        self.configured += events
        config = self.log.appender("config")
        offsets = config.append([(0, b"", encode_config_event(event)) for event in events])
        config.close()
        return offsets[-1] + 1

    def process_with_history(self, max_messages: int = 1000) -> int:
        """Until nothing is left to do, refolds of whole owners included; returns how many there were."""
        refolded = 0
        while batches := self._poll(max_messages):
            about_past = [batch for batch in batches if batch.topic in ("repairs", "history")]
            others = [batch for batch in batches if batch not in about_past]
            for batch in others:
                self.processor.process(batch)
            self.worker.commit(others)
            rest: Batch | None
            for one in about_past:
                rest = one
                while rest is not None:
                    step, rest = first_step(rest)
                    refolded += self.carry_out(step)
        return refolded

    def carry_out(self, step: Batch) -> int:
        """One step of topic `repairs` or `history`; returns how many owners were refolded from raw hits."""
        level, wanted = asked_of(step)
        if level:
            self.processor.set_level(step, level)
        needs = self.processor.repairs.needs
        needed = [owner for owner, asked in wanted.items() if needs(step.home, *owner, asked)]
        self.processor.repair(step, [self.history_of(*owner) for owner in needed], wanted)
        self.processor.fold_waiting(step, [owner for owner, asked in wanted.items() if asked.late])
        self.worker.commit([step])
        return len(needed)

    def _messages(self, topic: str) -> list[bytes]:
        values: list[bytes] = []
        for partition, end in self._reader.end_offsets(topic).items():
            at = 0
            while at < end:
                batch = self._reader.read(topic, partition, at, 10_000)
                assert batch is not None
                values.extend(message.value for message in batch.messages)
                at = batch.next_offset
        return values

    def tables(self) -> dict[RowKey, Row]:
        """What a reader of the views sees: the newest version of each key, unless it is deleted."""
        rows: dict[RowKey, Row] = {}
        for topic, kind in TABLES.items():
            for value in self._messages(topic):
                row = msgspec.msgpack.decode(value[1:], type=kind)
                if value[0]:
                    rows.pop(row_key(row), None)
                else:
                    rows[row_key(row)] = row
        return rows

    def rows(self, kind: type) -> list[Any]:
        """The rows of one table in the order of their keys."""
        return [row for _, row in sorted(self.tables().items(), key=str) if isinstance(row, kind)]

    def tallies(self) -> list[Tally]:
        return [msgspec.msgpack.decode(value, type=Tally) for value in self._messages("tallies")]

    def dead(self) -> list[DeadLetter]:
        return [msgspec.msgpack.decode(value, type=DeadLetter) for value in self._messages("dead")]

    def hits_consumed(self) -> int:
        return sum(offset for at, offset in self.worker.committed().items() if at.topic == "hits")

    def close(self) -> None:
        self.worker.close()
        self.hits.close()
        self.facts.close()
        self._reader.close()
        self.log.close()
