"""Up to which moment the tables are complete: what was on the log at a moment is followed until it is stored.

A mark is taken: a moment and the end of every input topic. It passes when the groups have consumed that much;
what they made meanwhile is followed in the same way (links and verdicts are inputs again), and at last what
they emitted must be stored by the sink. No clock of another process and no count of messages is needed."""

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from sink.encoding import TABLES
from sink.ledger import Stored
from stream.protocol import Log, LogError, LogResetError, Reader, TopicPartition

MARK_SECONDS = 0.5
LOOK_SECONDS = 0.1


@dataclass(frozen=True)
class Stage:
    """A processing group and the topics that it consumes."""

    group: str
    inputs: tuple[str, ...]


@dataclass
class _Mark:
    moment: float
    """Unix seconds: everything accepted before is included."""
    rounds_left: int
    wanted: dict[str, dict[TopicPartition, int]] = field(default_factory=dict)
    """Group -> what it must have consumed."""
    stored: dict[TopicPartition, int] | None = None
    """What the sink must have stored, once the groups are through."""


class Progress:
    """Moves one mark at a time through the stages; `run` in a thread, `complete_until` from any.

    `rounds` is how often outputs become inputs again: 1 when no stage consumes what a stage emits, one more
    for each link of the longest chain."""

    def __init__(
        self,
        log: Log,
        sink: Stored,
        *,
        stages: Sequence[Stage],
        rounds: int = 1,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._log, self._sink, self._stages, self._rounds, self._clock = log, sink, stages, rounds, clock
        self._changed = threading.Condition()
        self._complete_until = 0.0
        self._stopping = False

    @property
    def complete_until(self) -> float:
        """Unix seconds: what was accepted before is in the tables. 0 before the first mark has passed."""
        with self._changed:
            return self._complete_until

    def wait_until(self, moment: float, timeout: float) -> bool:
        """Whether everything accepted before `moment` was stored within `timeout` seconds. For drain."""
        deadline = time.monotonic() + timeout
        with self._changed:
            while self._complete_until < moment and not self._stopping:
                left = deadline - time.monotonic()
                if left <= 0:
                    return False
                self._sink.flush_soon()
                self._changed.wait(min(left, 0.2))
            return self._complete_until >= moment

    def run(self) -> None:
        """Follow marks until `stop`; blocking. Raises LogResetError."""
        reader = self._log.reader()
        try:
            mark: _Mark | None = None
            taken_at = 0.0
            while not self._stopping:
                try:
                    if mark is None:
                        if self._wait(MARK_SECONDS - (time.monotonic() - taken_at)):
                            continue
                        taken_at = time.monotonic()
                        mark = self._take(reader)
                    if self._advance(mark, reader):
                        with self._changed:
                            self._complete_until = mark.moment
                            self._changed.notify_all()
                        mark = None
                    else:
                        self._wait(LOOK_SECONDS)
                except LogResetError:
                    raise
                except LogError:
                    self._wait(1.0)
        finally:
            reader.close()

    def stop(self) -> None:
        with self._changed:
            self._stopping = True
            self._changed.notify_all()

    def _wait(self, seconds: float) -> bool:
        """Whether it is time to end."""
        deadline = time.monotonic() + seconds
        with self._changed:
            while not self._stopping and (left := deadline - time.monotonic()) > 0:
                self._changed.wait(left)
            return self._stopping

    def _take(self, reader: Reader) -> _Mark:
        mark = _Mark(self._clock(), self._rounds)
        mark.wanted = self._ends(reader)
        return mark

    def _ends(self, reader: Reader) -> dict[str, dict[TopicPartition, int]]:
        return {
            stage.group: {
                TopicPartition(topic, partition): end
                for topic in stage.inputs
                for partition, end in reader.end_offsets(topic).items()
                if end
            }
            for stage in self._stages
        }

    def _advance(self, mark: _Mark, reader: Reader) -> bool:
        """Whether the mark has passed everything."""
        while mark.stored is None:
            for group, wanted in mark.wanted.items():
                if not reached(wanted, self._log.committed(group)):
                    return False
            mark.rounds_left -= 1
            if mark.rounds_left > 0:
                mark.wanted = self._ends(reader)
            else:
                mark.stored = {
                    TopicPartition(table.name, partition): end
                    for table in TABLES
                    if table.name != "hits"
                    for partition, end in reader.end_offsets(table.name).items()
                    if end
                }
        return reached(mark.stored, self._sink.visible_positions())


def reached(wanted: Mapping[TopicPartition, int], positions: Mapping[TopicPartition, int]) -> bool:
    """Whether every position is at least the wanted one."""
    return all(positions.get(place, 0) >= offset for place, offset in wanted.items())
