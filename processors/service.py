"""The processor process: polls, processes, commits; reopens after a reset; stops between units of work."""

import gc
import logging
import threading
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from functools import lru_cache

from processors.agent_cache import AgentCache
from processors.history import (
    History,
    HistoryUnavailableError,
    HttpHistory,
    OwnerHistory,
    RepairRequest,
    decode_request,
)
from processors.journal import JournalTrimmer
from processors.processor import INPUTS, Counts, Processor
from processors.repairs import Wanted, forget_scrub, is_scrub_due
from processors.settings import ProcessorSettings
from rules.locations import guess_country, language_code
from rules.prepare import Lookups
from schemas.history import (
    Erasure,
    ErasureDone,
    OwnerRefold,
    ReplayAsked,
    ReplayLevel,
    Rewrite,
    Summary,
    decode_fact,
)
from schemas.hit import decode_hit
from schemas.topics import HISTORY, REPAIRS
from stream.config import ConfigFollower
from stream.faults import crash_point
from stream.protocol import Batch, Log, LogError, LogResetError, State, Worker

GROUP = "processors"
POLL_SECONDS = 0.5
RETRY_SECONDS = 1.0
FLUSH_AGENTS_SECONDS = 30.0
SCRUB_SECONDS = 2.0
GATHERING = 9
"""While other hits come, late ones of busy owners are gathered for this many times as long as the last refold
of such took."""
SHORTEST_GATHERING_SECONDS = 2.0
LONGEST_GATHERING_SECONDS = 30.0
OWNERS_AT_ONCE = 500
"""Whose past is in memory together; hits have their turn between two such units."""
LATE_STEP_SECONDS = 0.5
"""What a step for busy owners takes, about: their pasts may be long, and all other hits wait for it."""

logger = logging.getLogger("hitstream.processor")


@lru_cache(maxsize=4096)
def locale_of(language: str) -> tuple[str, str]:
    """Code and guessed country of a browser's language; there are few distinct ones."""
    return language_code(language), guess_country(language)


@dataclass
class _Opened:
    worker: Worker
    processor: Processor
    trimmer: JournalTrimmer
    states: dict[int, State] = field(default_factory=dict)
    """Of the partitions as last polled."""


class ProcessorService:
    """Runs the processing of some partitions on an opened log until told to stop."""

    def __init__(
        self,
        settings: ProcessorSettings,
        partitions: Sequence[int] | None,
        log: Log,
        counts: Counts,
    ) -> None:
        """`counts` are the process's: one service follows another in it."""
        self._settings = settings
        self._partitions = partitions
        self._log = log
        self._agents = AgentCache(settings.data_dir / "agents.sqlite")
        self._history: History = HttpHistory(settings.reporting_url, settings.admin_token)
        self._repairs: list[Batch] = []
        self._repair_at = self._gather_until = 0.0
        self._late_at_once = OWNERS_AT_ONCE
        self._unscrubbed: set[int] = set()
        """Partitions in whose files erased hits may have left something."""
        self._scrub_at = 0.0
        self._counts = counts
        self.problem = ""
        """Why the last unit of work failed; empty when all is well."""

    def run(self, stop: threading.Event) -> None:
        """Returns when `stop` is set and the current unit of work is committed, or when the log was emptied
        (then `stop` is not set)."""
        opened = self._open()
        # A unit of work holds some 50,000 objects until it is committed, none in a cycle: with the usual
        # thresholds the collector would walk them, and all caches, many times for nothing.
        gc.freeze()
        gc.set_threshold(200_000, 20, 50)
        flushed_at = time.monotonic()
        try:
            while not stop.is_set():
                try:
                    self._one_unit(opened)
                    self.problem = ""
                except LogResetError:
                    return
                except LogError as error:
                    logger.error("the unit of work failed and will be repeated: %s", error)
                    self.problem = str(error)
                    opened.worker.rollback()
                    self._unscrubbed = set(opened.states)
                    self._repairs.clear()
                    stop.wait(RETRY_SECONDS)
                if time.monotonic() - flushed_at > FLUSH_AGENTS_SECONDS:
                    self._agents.flush()
                    flushed_at = time.monotonic()
        finally:
            self._agents.flush()
            opened.worker.close()

    def _open(self) -> _Opened:
        worker = self._log.worker(GROUP, INPUTS, self._partitions)
        follower = ConfigFollower(self._log)
        lookups = Lookups(agent=self._agents.get, locale=locale_of)
        processor = Processor(worker, follower.at, lookups, time.time)
        processor.counts = self._counts
        keep = timedelta(days=self._settings.allowed_lateness_days + 1)
        return _Opened(worker, processor, JournalTrimmer(worker, keep, time.time))

    def _one_unit(self, opened: _Opened) -> None:
        worker = opened.worker
        waits_for_more = not self._repairs or time.monotonic() < max(self._repair_at, self._gather_until)
        batches = worker.poll(self._settings.process_batch, POLL_SECONDS if waits_for_more else 0)
        self._notice_partitions(opened)
        about_past = [batch for batch in batches if batch.topic in (REPAIRS.name, HISTORY.name)]
        self._repairs = joined([*self._repairs, *about_past])
        batches = [batch for batch in batches if batch.topic not in (REPAIRS.name, HISTORY.name)]
        if batches:
            crash_point("processor.polled")
            for batch in batches:
                opened.processor.process(batch)
            opened.trimmer.trim_some()
            crash_point("processor.processed")
            worker.commit(batches)
            crash_point("processor.committed")
        now = time.monotonic()
        if self._repairs and now >= self._repair_at and (not batches or now >= self._gather_until):
            batch, rest = first_step(self._repairs[0], self._late_at_once)
            if self._repair(opened, batch):
                self._repairs[0:1] = [] if rest is None else [rest]
        elif not self._repairs and self._unscrubbed and time.monotonic() >= self._scrub_at:
            self._scrub_at = time.monotonic() + SCRUB_SECONDS
            self._scrub(opened.worker)

    def _scrub(self, worker: Worker) -> None:
        """What was erased goes from the disk too, once nobody needs what was emitted of it."""
        for partition in sorted(self._unscrubbed):
            if partition not in worker.partitions:
                continue
            if is_scrub_due(worker.state(partition)):
                if not worker.scrub(partition):
                    continue
                forget_scrub(worker.state(partition))
                worker.commit([])
                logger.info("partition %d: what was erased is gone from its files", partition)
            self._unscrubbed.discard(partition)

    def _notice_partitions(self, opened: _Opened) -> None:
        """Forgets what is remembered of partitions that left, also of those that have come back since."""
        worker = opened.worker
        states = {partition: worker.state(partition) for partition in worker.partitions}
        gone = [p for p, state in opened.states.items() if states.get(p) is not state]
        if not gone and len(states) == len(opened.states):
            return
        self._unscrubbed |= {p for p, state in states.items() if opened.states.get(p) is not state}
        opened.states = states
        opened.processor.forget(gone)
        self._repairs = [batch for batch in self._repairs if batch.home not in gone]
        logger.info("processing partitions %s", ",".join(map(str, states)) or "none yet")

    def _repair(self, opened: _Opened, batch: Batch) -> bool:
        """One step of `repairs` or `history`, after everything emitted before is committed. Hits go on when
        the database can't be asked: then it says False, and the step stays uncommitted."""
        level, wanted = asked_of(batch)
        processor = opened.processor
        needed = [
            RepairRequest(site_id, owner)
            for (site_id, owner), asked in wanted.items()
            if processor.repairs.needs(batch.home, site_id, owner, asked)
        ]
        if level:
            processor.set_level(batch, level)
        elif needed:
            try:
                erased = [hit_id for asked in wanted.values() for hit_id in asked.erased]
                histories = self._history.of(batch.home, needed, erased)
            except HistoryUnavailableError as error:
                logger.warning("%d owners wait for a refold from raw hits: %s", len(needed), error)
                self._repair_at = time.monotonic() + RETRY_SECONDS
                return False
            processor.repair(batch, histories, wanted)
            if any(asked.erased or asked.rewritten for asked in wanted.values()):
                self._unscrubbed.add(batch.home)
                self._agents.forget(erased_agents(histories, wanted))
            crash_point("processor.repaired")
        began = time.monotonic()
        late = [owner for owner, asked in wanted.items() if asked.late]
        folded = processor.fold_waiting(batch, late)
        opened.worker.commit([batch])
        if folded:
            # However long the pasts of busy owners are, they take a tenth of the time.
            now = time.monotonic()
            took = now - began
            gathering = max(SHORTEST_GATHERING_SECONDS, GATHERING * took)
            self._gather_until = now + min(LONGEST_GATHERING_SECONDS, gathering)
            fitting = int(len(late) * LATE_STEP_SECONDS / took)
            self._late_at_once = min(max(1, fitting), 2 * len(late), OWNERS_AT_ONCE)
        return True


def joined(batches: Sequence[Batch]) -> list[Batch]:
    """Those that follow each other on one partition of a topic as one batch: each step waits for the sink, so
    owners that are asked for one by one would wait long."""
    found: dict[tuple[str, int], Batch] = {}
    for batch in batches:
        at = (batch.topic, batch.partition)
        before = found.get(at)
        if before is not None:
            messages = [*before.messages, *batch.messages]
            batch = Batch(batch.topic, batch.partition, messages, batch.next_offset, batch.home)
        found[at] = batch
    return list(found.values())


def first_step(batch: Batch, late_at_once: int = OWNERS_AT_ONCE) -> tuple[Batch, Batch | None]:
    """The messages to carry out in one unit of work, and the rest: a level alone, or some owners, of those
    with late hits at most `late_at_once`."""
    count = min(len(batch.messages), OWNERS_AT_ONCE)
    if batch.topic == REPAIRS.name:
        late = [at for at, one in enumerate(batch.messages[:count], 1) if decode_request(one.value).late]
        if len(late) > late_at_once:
            count = late[late_at_once - 1]
    if batch.topic == HISTORY.name:
        for place, message in enumerate(batch.messages[:count]):
            if isinstance(decode_fact(message.value), ReplayLevel):
                count = max(1, place)
                break
    if count == len(batch.messages):
        return batch, None
    return (
        Batch(batch.topic, batch.partition, batch.messages[:count], batch.messages[count].offset, batch.home),
        Batch(batch.topic, batch.partition, batch.messages[count:], batch.next_offset, batch.home),
    )


def erased_agents(
    histories: Iterable[OwnerHistory], wanted: Mapping[tuple[int, int], Wanted]
) -> set[tuple[str, str]]:
    """User agents and client hints of the hits that are erased."""
    found = set()
    for history in histories:
        erased = wanted[(history.site_id, history.owner)].erased
        for _, value in history.hits if erased else ():
            hit = decode_hit(value)
            if hit.hit_id in erased:
                found.add((hit.user_agent, hit.client_hints))
    return found


def asked_of(batch: Batch) -> tuple[int, dict[tuple[int, int], Wanted]]:
    """The level that a step sets (0: none), and what is asked about owners, by (site, owner)."""
    level = 0
    wanted: dict[tuple[int, int], Wanted] = defaultdict(Wanted)
    for message in batch.messages:
        if batch.topic == REPAIRS.name:
            request = decode_request(message.value)
            asked = wanted[(request.site_id, request.owner)]
            asked.level = max(asked.level, request.level)
            asked.always |= request.level == 0 and not request.late
            asked.late |= request.late
            continue
        match fact := decode_fact(message.value):
            case ReplayLevel():
                level = max(level, fact.level)
            case Erasure():
                erased = zip(fact.hit_ids, fact.offsets, strict=True)
                wanted[(fact.site_id, fact.owner)].erased.update(erased)
            case Rewrite():
                asked = wanted[(fact.site_id, fact.owner)]
                asked.always = asked.rewritten = True
            case OwnerRefold():
                asked = wanted[(fact.site_id, fact.owner)]
                asked.level = max(asked.level, fact.level)
                asked.always |= fact.level == 0 or fact.whole
            case ReplayAsked() | ErasureDone() | Summary():
                pass
    return level, wanted
