"""What topic `history` says to who begins to read it, and how it is kept short.

Most facts only ask processors for something once. What is left of them is told anew in a Summary, after which
they go. Facts and a summary of them say the same twice when a process dies in between, which changes nothing.
"""

import logging
import threading
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field

from processors.service import GROUP
from schemas.history import (
    Erasure,
    ErasureDone,
    HistoryFact,
    ReplayAsked,
    Rewrite,
    Summary,
    decode_fact,
    encode_fact,
)
from schemas.topics import HISTORY, HITS
from stream.protocol import Appender, Log, LogError, LogResetError, Reader, TopicPartition

logger = logging.getLogger("hitstream.history")

READ_FACTS = 10_000
NUMBERS_PER_SUMMARY = 10_000
WORTH_FACTS = 20_000
"""From so many facts on that no summary covers, about a megabyte, it is worth one."""
LOOK_SECONDS = 300.0


@dataclass
class KnownFacts:
    """Of one partition."""

    asked: set[int] = field(default_factory=set)
    """Levels of the replays whose owners were all asked."""
    offsets: set[int] = field(default_factory=set)
    """Hits of the log that were erased or rewritten."""
    newest: int = 0
    """The number of the last deletion or rewriting, unix nanoseconds; 0 for none."""
    unfinished: dict[int, list[Erasure | Rewrite]] = field(default_factory=lambda: defaultdict(list))
    """By number: what may still be to be done in the database."""
    covers: int = 0
    """The offset up to which summaries tell all."""

    def take(self, fact: HistoryFact) -> None:
        match fact:
            case ReplayAsked():
                self.asked.add(fact.level)
            case Erasure() | Rewrite():
                self.note(fact)
                self.unfinished[fact.number].append(fact)
            case ErasureDone():
                self.unfinished.pop(fact.number, None)
            case Summary():
                self.asked.update(fact.asked)
                self.offsets.update(fact.offsets)
                self.newest = max(self.newest, fact.newest)
                self.covers = max(self.covers, fact.covers)
            case _:
                pass

    def note(self, fact: Erasure | Rewrite) -> None:
        self.offsets.update(fact.on_log())
        self.newest = max(self.newest, fact.number)

    def summaries(self, covers: int, oldest: int) -> list[Summary]:
        """Of all facts before offset `covers`, none of them unfinished. `oldest`: the first offset on
        `hits`."""
        asked = sorted(self.asked)
        offsets = sorted(offset for offset in self.offsets if offset >= oldest)
        starts = range(0, max(len(asked), len(offsets), 1), NUMBERS_PER_SUMMARY)
        return [
            Summary(
                asked[start : start + NUMBERS_PER_SUMMARY],
                offsets[start : start + NUMBERS_PER_SUMMARY],
                self.newest,
                covers if start == starts[-1] else 0,
            )
            for start in starts
        ]


@dataclass(frozen=True)
class Stretch:
    """The facts of one partition that are there, and where they begin and end."""

    first: int
    end: int
    known: KnownFacts


def read_facts(reader: Reader) -> dict[int, Stretch]:
    """By partition. Raises LogError."""
    found = {}
    for partition, end in reader.end_offsets(HISTORY.name).items():
        known = KnownFacts()
        first = _first_offset(reader, HISTORY.name, partition, end)
        at = first
        while at < end and (batch := reader.read(HISTORY.name, partition, at, READ_FACTS)) is not None:
            for message in batch.messages:
                if message.offset < end:
                    known.take(decode_fact(message.value))
            at = batch.next_offset
        found[partition] = Stretch(first, end, known)
    return found


def _first_offset(reader: Reader, topic: str, partition: int, end: int) -> int:
    batch = reader.read(topic, partition, 0, 1)
    return end if batch is None else batch.messages[0].offset


class HistoryTrimmer:
    """Keeps the topic short; the process that appends to it has one."""

    def __init__(self, log: Log, facts: Appender, worth: int = WORTH_FACTS) -> None:
        self._log, self._facts, self._worth = log, facts, worth

    def run(self, stop: threading.Event) -> None:
        """Until `stop`. Raises LogResetError."""
        while not stop.wait(LOOK_SECONDS):
            try:
                self.step()
            except LogResetError:
                raise
            except LogError as error:
                logger.warning("topic %s is not shortened now: %s", HISTORY.name, error)

    def step(self) -> None:
        """Write summaries where it is worth it, and let go what they cover. Raises LogError."""
        reader = self._log.reader()
        try:
            stretches = read_facts(reader)
            if sum(one.end - max(one.first, one.known.covers) for one in stretches.values()) >= self._worth:
                # The facts until now are in files of their own then, which can go whole.
                self._facts.trim({})
                stretches = read_facts(reader)
                self._sum_up(reader, stretches)
                stretches = read_facts(reader)
            self._let_go(stretches)
        finally:
            reader.close()

    def _sum_up(self, reader: Reader, stretches: Mapping[int, Stretch]) -> None:
        entries = []
        for partition, one in stretches.items():
            if one.known.unfinished:
                continue
            oldest = _first_offset(reader, HITS.name, partition, 0)
            summaries = one.known.summaries(one.end, oldest)
            entries += [(partition, b"", encode_fact(summary)) for summary in summaries]
        self._facts.append(entries)

    def _let_go(self, stretches: Mapping[int, Stretch]) -> None:
        committed = self._log.committed(GROUP)
        positions = {
            partition: min(one.known.covers, committed.get(TopicPartition(HISTORY.name, partition), 0))
            for partition, one in stretches.items()
        }
        if any(positions[partition] > one.first for partition, one in stretches.items()):
            self._facts.trim(positions)
