"""Refolds wait while hits, replays and deletions come: in whatever order they are carried out, the tables are
those of the hits in the order of their events."""

import random
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from unittest import mock

import msgspec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from processors.journal import JournalTrimmer
from processors.service import first_step, joined
from rules.fold_state import Facts, RowKey
from rules.owner import Segment, facts_of, new_record, refold
from rules.replays import Replays
from schemas.config import ConfigEvent, Goal, Replay, Tracking
from schemas.history import Erasure, OwnerRefold, ReplayLevel
from schemas.hit import Hit, decode_hit
from schemas.outcomes import Exclusion
from schemas.rows import Row
from schemas.topics import partition_of
from stream.protocol import Batch
from tests.builders import config_events
from tests.pipeline import Pipeline
from tests.property.test_arrival_order import GOALS, KEPT, LAST_DAY_OF_SEPTEMBER, SITE, arrived, some_hits

ABOUT_PAST = ("repairs", "history")
LAST_SECOND = (1 << 32) - 1


@dataclass
class Delayed:
    """A processor that carries out what is asked about the past when it is told to."""

    pipeline: Pipeline
    waiting: list[Batch] = field(default_factory=list)
    sent: list[Hit] = field(default_factory=list)
    erased: set[int] = field(default_factory=set)
    replays: list[tuple[int, Replay]] = field(default_factory=list)
    edits: int = 0

    def send(self, *hits: Hit) -> None:
        self.sent.extend(self.pipeline.send(*hits))

    def consume(self) -> bool:
        """One unit of work of hits, links, claims and verdicts; whether there was anything."""
        batches = self.pipeline.worker.poll(7, 0.0)
        about_past = [batch for batch in batches if batch.topic in ABOUT_PAST]
        others = [batch for batch in batches if batch.topic not in ABOUT_PAST]
        self.waiting = joined([*self.waiting, *about_past])
        for batch in others:
            self.pipeline.processor.process(batch)
        if others:
            self.pipeline.worker.commit(others)
        return bool(batches)

    def carry_out(self, place: int) -> None:
        """One step of what waits, in any of the partitions."""
        if not self.waiting:
            return
        place %= len(self.waiting)
        step, rest = first_step(self.waiting[place])
        self.waiting[place : place + 1] = [] if rest is None else [rest]
        self.pipeline.carry_out(step)

    def edit(self) -> None:
        """A goal, or what is left out, for hits that are accepted from now on."""
        self.edits += 1
        if self.edits % 2:
            excluded = "e_a==play" if self.edits % 4 == 1 else "url=@thanks"
            event = ConfigEvent(at=0, tracking=Tracking(exclude_requests=excluded))
        else:
            goal = Goal(site_id=1, goal_id=self.edits + 10, name="new", pattern="page", revenue=self.edits)
            event = ConfigEvent(at=0, goal=goal)
        self.pipeline.config_offset = self.pipeline.configure(event)

    def replay(self, begin: int) -> None:
        """Everything from a moment on, as hitstream.replay does it."""
        pipeline = self.pipeline
        replay = Replay(site_ids=(1,), begin=begin, end=LAST_SECOND, login="test")
        level = pipeline.config_offset = pipeline.configure(ConfigEvent(at=0, replay=replay))
        self.replays.append((level - 1, replay))
        for partition in range(pipeline.log.partitions):
            pipeline.tell(partition, ReplayLevel(level))
        while self.consume() or any(batch.topic == "history" for batch in self.waiting):
            self.carry_out(next((n for n, one in enumerate(self.waiting) if one.topic == "history"), 0))
        for owner in sorted({hit.owner for hit in self.sent}):
            pipeline.tell(partition_of(owner, pipeline.log.partitions), OwnerRefold(1, owner, level))

    def erase(self, hit: Hit) -> None:
        """As hitstream.erasure: what came before is processed."""
        while self.consume():
            pass
        stored = [
            (offset, known.hit_id)
            for offset, value in self.pipeline.stored_hits(hit.owner)
            if (known := decode_hit(value)).hit_id == hit.hit_id
        ]
        partition = partition_of(hit.owner, self.pipeline.log.partitions)
        fact = Erasure(1, hit.owner, [hit_id for _, hit_id in stored], [offset for offset, _ in stored], 1)
        self.pipeline.tell(partition, fact)
        self.erased.add(hit.hit_id)

    def trim(self) -> None:
        """The journal loses what came too long before the last hit."""
        now = self.sent[-1].received_at / 1000
        trimmer = JournalTrimmer(self.pipeline.worker, KEPT, lambda: now)
        for partition in self.pipeline.worker.partitions:
            trimmer.drop_segments(partition, 1000)
            while trimmer.trim(partition):
                pass
        self.pipeline.worker.commit([])

    def send_again(self, hit: Hit) -> None:
        """As a forwarder does that was not told of success."""
        if hit.hit_id not in self.erased:
            self.pipeline.send_placed(hit)

    def expected(self) -> tuple[dict[RowKey, Row], int]:
        """Tables of the hits in the order of their events, each under the configuration that counts for
        it, and how many that leaves out."""
        replays = Replays(self.replays, self.pipeline.config_offset)
        hits = sorted(
            (hit for hit in self.sent if hit.hit_id not in self.erased),
            key=lambda hit: (hit.time, hit.hit_id),
        )
        with tempfile.TemporaryDirectory(prefix="hitstream-refolds-") as directory:
            pipeline = Pipeline(Path(directory), self.pipeline.configured)
            for hit in hits:
                offset = replays.config_offset(hit.site_id, hit.time, hit.config_offset)
                pipeline.send_placed(msgspec.structs.replace(hit, config_offset=offset))
            pipeline.process_with_history()
            found = pipeline.tables(), left_out(pipeline)
            pipeline.close()
        return found

    def finish(self) -> None:
        while self.consume() or self.waiting:
            self.carry_out(0)


def left_out(pipeline: Pipeline) -> int:
    """How many hits the configuration leaves out, once replays have counted them anew. (What the fold leaves
    out, as a ping without a visit, is counted as it was when the hit came.)"""
    counts: Counter[str] = Counter()
    for tally in pipeline.tallies():
        before, _, now = tally.reason.rpartition(">")
        counts[now] += tally.count
        if before:
            counts[before] -= tally.count
    return counts[Exclusion.EXCLUDED_REQUEST]


@contextmanager
def short_pasts() -> Iterator[None]:
    """A few hits are segments enough that late ones wait for each other."""
    with mock.patch("rules.owner.SEGMENT_LENGTH", 3), mock.patch("processors.owners.BUSY_SEGMENTS", 1):
        yield


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("hits"), st.integers(1, 6)),
        st.tuples(st.just("consume"), st.integers(1, 3)),
        st.tuples(st.just("past"), st.integers(0, 5)),
        st.tuples(st.sampled_from(("edit", "trim")), st.just(0)),
        st.tuples(st.sampled_from(("replay", "erase", "again")), st.integers(0, 100)),
    ),
    max_size=40,
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(hits=some_hits(), steps=STEPS, seed=st.integers(0, 2**32))
def test_refolds_in_any_order_give_the_same_tables(
    hits: list[Hit], steps: list[tuple[str, int]], seed: int
) -> None:
    random.Random(seed).shuffle(hits)
    left = arrived(hits)
    with short_pasts(), tempfile.TemporaryDirectory(prefix="hitstream-refolds-") as directory:
        delayed = Delayed(Pipeline(Path(directory), config_events(goals=GOALS, **SITE)))
        for step, number in steps:
            match step:
                case "hits":
                    delayed.send(*left[:number])
                    del left[:number]
                case "consume":
                    for _ in range(number):
                        delayed.consume()
                case "past":
                    delayed.carry_out(number)
                case "edit":
                    delayed.edit()
                case "replay":
                    delayed.replay(LAST_DAY_OF_SEPTEMBER + 300 * number)
                case "erase" if delayed.sent:
                    delayed.erase(delayed.sent[number % len(delayed.sent)])
                case "again" if delayed.sent:
                    delayed.send_again(delayed.sent[number % len(delayed.sent)])
                case "trim" if delayed.sent:
                    delayed.trim()
        delayed.send(*left)
        delayed.finish()
        tables, count = delayed.expected()
        assert delayed.pipeline.tables() == tables
        # What came twice or is erased was counted.
        if not any(step in ("again", "erase") for step, _ in steps):
            assert left_out(delayed.pipeline) == count
        assert not delayed.pipeline.dead()
        delayed.pipeline.close()


def test_a_verdict_reaches_an_owner_of_whom_all_is_erased() -> None:
    record = new_record()
    lost = Facts(frozenset({1}), ())
    refolded = refold([record.tail], lambda entries: [], (), facts_of(record), lost)
    assert (refolded.segments, refolded.changes) == ([Segment(b"", [], [])], [])
    assert refolded.state == record.state
