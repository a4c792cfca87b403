"""Up to which moment of receipt everything is in reports.

Every half second the ends of `hits` are noted with the clock. Once the processors are past a note, the ends
of their outputs are noted beside it; once the sink is past those too, reports are complete up to its moment.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping

from processors.service import GROUP
from schemas.topics import HITS
from sink.encoding import TABLES
from stream.protocol import Log, LogError, LogResetError, Reader, TopicPartition

logger = logging.getLogger("hitstream.freshness")

STEP_SECONDS = 0.5
IDLE_STEP_SECONDS = 1.0
"""While everything accepted is visible."""
MAX_NOTES = 2_000
"""Of a long lag every second note is dropped: the moment then moves in larger steps."""

Positions = Mapping[TopicPartition, int]
REPORT_TABLES = tuple(table.name for table in TABLES if table.name != HITS.name)


def reached(wanted: Positions, positions: Positions) -> bool:
    """Whether every position is at least the wanted one."""
    return all(positions.get(place, 0) >= end for place, end in wanted.items())


class Freshness:
    """`visible` gives what the sink has stored. One thread runs it; any may read `complete_up_to`."""

    def __init__(
        self, log: Log, visible: Callable[[], Positions], clock: Callable[[], float] = time.time
    ) -> None:
        self.complete_up_to = 0.0
        """Unix seconds; 0 until it is known."""
        self._log, self._visible, self._clock = log, visible, clock
        self._accepted: deque[tuple[float, Positions]] = deque()
        self._processed: deque[tuple[float, Positions]] = deque()

    def run(self, stop: threading.Event) -> None:
        """Until `stop`; raises LogResetError when the log was emptied."""
        reader = self._log.reader()
        try:
            while not stop.wait(STEP_SECONDS if self._accepted or self._processed else IDLE_STEP_SECONDS):
                try:
                    self.step(reader)
                except LogResetError:
                    raise
                except LogError as error:
                    # Nothing becomes fresher meanwhile; reports and sink go on.
                    logger.info("how fresh reports are is not known now: %s", error)
        finally:
            reader.close()

    def step(self, reader: Reader) -> None:
        """Note the moment, and see which notes everything is past."""
        visible = self._visible()
        # Before the ends are read: what arrives meanwhile belongs to the next note.
        now = self._clock()
        self._accepted.append((now, self._ends(reader, (HITS.name,))))
        if len(self._accepted) > MAX_NOTES:
            self._accepted = deque(list(self._accepted)[::2])
        while self._processed and reached(self._processed[0][1], visible):
            self.complete_up_to = self._processed.popleft()[0]
        committed = self._log.committed(GROUP)
        passed = 0.0
        while self._accepted and reached(self._accepted[0][1], committed):
            passed = self._accepted.popleft()[0]
        if passed:
            outputs = self._ends(reader, REPORT_TABLES)
            if not self._processed and reached(outputs, visible):
                self.complete_up_to = passed
            else:
                self._processed.append((passed, outputs))

    def _ends(self, reader: Reader, topics: tuple[str, ...]) -> Positions:
        return {
            TopicPartition(topic, partition): end
            for topic in topics
            for partition, end in reader.end_offsets(topic).items()
        }
