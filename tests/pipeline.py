"""The processing stage on a real embedded log, without processes: append hits, process, read the tables."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from processors.processor import INPUTS, Processor
from rules.fold import RowKey, row_key
from rules.prepare import Lookups
from rules.prepared import Agent
from schemas.config import ConfigEvent, encode_config_event
from schemas.hit import Hit, encode_hit
from schemas.rows import Action, Conversion, ConversionItem, DeadLetter, Row, Tally, Visit
from schemas.topics import partition_of
from stream.config import ConfigFollower
from stream.embedded import EmbeddedLog

TABLES: dict[str, Any] = {
    "visits": Visit,
    "actions": Action,
    "conversions": Conversion,
    "conversion_items": ConversionItem,
}
FIREFOX = Agent(os="WIN", os_version="10", browser="FF", browser_version="128.0", device_type=0)


class Pipeline:
    """Hits in at one end, tables out at the other."""

    def __init__(self, directory: Path, events: Sequence[ConfigEvent], partitions: int = 2) -> None:
        self.log = EmbeddedLog(directory, partitions)
        config = self.log.appender("config")
        config.append([(0, b"", encode_config_event(event)) for event in events])
        config.close()
        self.config_offset = len(events)
        self._hits = self.log.appender("hits")
        self._reader = self.log.reader()
        self.open_worker()

    def open_worker(self) -> None:
        self.worker = self.log.worker("processors", INPUTS, range(self.log.partitions))
        follower = ConfigFollower(self.log)
        lookups = Lookups(agent=lambda *_: FIREFOX, locale=lambda language: (language[:5], language[:2]))
        self.processor = Processor(self.worker, follower.at, lookups, lambda: 0.0)

    def send(self, *hits: Hit) -> None:
        entries = []
        for hit in hits:
            placed = msgspec.structs.replace(hit, config_offset=self.config_offset)
            key = hit.owner.to_bytes(8, "big")
            entries.append((partition_of(hit.owner, self.log.partitions), key, encode_hit(placed)))
        self._hits.append(entries)

    def send_raw(self, value: bytes, partition: int = 0) -> None:
        self._hits.append([(partition, b"", value)])

    def process(self, max_messages: int = 1000) -> None:
        """Until nothing is left to do."""
        while batches := self.worker.poll(max_messages, 0.0):
            for batch in batches:
                self.processor.process(batch)
            self.worker.commit(batches)

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
        self._hits.close()
        self._reader.close()
        self.log.close()
