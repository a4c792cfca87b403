"""Any order of arrival gives the same tables as the order of the events, on the real log and state."""

import random
import shutil
import tempfile
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from processors.journal import JournalTrimmer
from processors.owners import BUSY_SEGMENTS, SEGMENTS_TABLE
from schemas.config import Goal, Tracking
from schemas.hit import Hit, first_hit_id_of
from schemas.outcomes import Outcome
from tests.builders import a_hit, config_events
from tests.pipeline import Pipeline

LAST_DAY_OF_SEPTEMBER = 1_790_726_400
"""2026-09-30 00:00:00 UTC: the hits spread over two midnights and the end of a month."""

ALICE = 3
"""Visitor id of the user, who also has hits of an own owner: logins elsewhere reach it by links."""

GOALS = (
    Goal(site_id=1, goal_id=1, name="thanks", pattern="thanks", revenue=5.0),
    Goal(site_id=1, goal_id=2, name="many", pattern="page", allow_multiple=True),
    Goal(
        site_id=1,
        goal_id=3,
        name="long",
        match_attribute="visit_duration",
        pattern="5",
        pattern_type="greater_than",
    ),
)
SITE = {"timezone": "America/New_York", "ecommerce": True}
ITEMS = ('[["a","A","x",1,1]]', '[["a","A","x",1,2],["b","B","y",2,1]]')

KINDS: tuple[dict[str, Any], ...] = (
    {},
    {"url": "http://example.org/thanks"},
    {"url": "http://example.org/?utm_campaign=spring"},
    {"url": "http://example.org/?utm_campaign=summer&utm_term=x"},
    {"urlref": "http://other.example/a"},
    {"e_c": "video", "e_a": "play", "e_v": "3"},
    {"search": "shoes"},
    {"link": "http://away.example/"},
    {"ping": "1"},
    {"new_visit": "1"},
    {"idgoal": "0", "ec_items": ITEMS[0], "revenue": "1"},
    {"idgoal": "0", "ec_items": ITEMS[1], "revenue": "4"},
    {"idgoal": "0", "ec_id": "order-1", "revenue": "9", "ec_items": ITEMS[0]},
    {"idgoal": "0", "ec_id": "order-2", "revenue": "9"},
    {"idgoal": "2", "revenue": "2"},
    {"pv_id": "abcdef", "pf_srv": "20"},
    {"ping": "1", "pv_id": "abcdef", "pf_onl": "30"},
    {"uid": "alice"},
)


@st.composite
def some_hits(draw: st.DrawFn) -> list[Hit]:
    """Up to 40 hits of three owners within three days, many of them close together."""
    hits: list[Hit] = []
    time = LAST_DAY_OF_SEPTEMBER
    for number in range(draw(st.integers(2, 40))):
        time += draw(st.sampled_from((0, 1, 30, 600, 1799, 1800, 1801, 4000, 30_000)))
        owner = draw(st.integers(1, 3))
        kind = draw(st.sampled_from(KINDS))
        hits.append(
            a_hit(
                time,
                hit_id=1000 + number * 16,
                owner=owner,
                visitor_id=ALICE if "uid" in kind else owner,
                user_id=kind.get("uid", ""),
                **kind,
            )
        )
    return hits


def tables_after(
    hits: list[Hit], batch_size: int, tracking: Tracking | None, goals: tuple[Goal, ...] = GOALS
) -> tuple[dict[Any, Any], Pipeline]:
    directory = Path(tempfile.mkdtemp(prefix="hitstream-order-"))
    try:
        pipeline = Pipeline(directory, config_events(goals=goals, tracking=tracking, **SITE))
        for start in range(0, len(hits), batch_size):
            pipeline.send(*hits[start : start + batch_size])
            pipeline.process()
        found = pipeline.tables()
        tallied = sum(tally.count for tally in pipeline.tallies())
        assert tallied == pipeline.hits_consumed() == len(hits)
        assert not pipeline.dead()
        pipeline.close()
        return found, pipeline
    finally:
        shutil.rmtree(directory, ignore_errors=True)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    hits=some_hits(),
    seed=st.integers(0, 2**32),
    batch_size=st.integers(1, 15),
    splits_at_midnight=st.booleans(),
)
def test_any_permutation_of_the_log_gives_the_same_tables(
    hits: list[Hit], seed: int, batch_size: int, splits_at_midnight: bool
) -> None:
    tracking = None if splits_at_midnight else Tracking(create_new_visit_after_midnight=False)
    in_order, _ = tables_after(hits, len(hits), tracking)
    shuffled = hits[:]
    random.Random(seed).shuffle(shuffled)
    permuted, _ = tables_after(shuffled, batch_size, tracking)
    assert permuted == in_order


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(hits=some_hits(), start=st.integers(0, 40), batch_size=st.integers(1, 15))
def test_replaying_any_suffix_changes_nothing(hits: list[Hit], start: int, batch_size: int) -> None:
    once, _ = tables_after(hits, batch_size, None)
    twice, _ = tables_after(hits + hits[start:], batch_size, None)
    assert twice == once


def test_a_long_owner_is_refolded_in_parts_with_the_same_result(tmp_path: Path) -> None:
    hits = [
        a_hit(
            LAST_DAY_OF_SEPTEMBER + 300 * number,
            hit_id=1000 + number * 16,
            url=f"http://example.org/{number % 7}",
        )
        for number in range(700)
    ]
    held_back = [hits[number] for number in (0, 3, 64, 128, 250, 251, 600, 698)]
    expected, _ = tables_after(hits, 700, None)
    pipeline = Pipeline(tmp_path, config_events(goals=GOALS, **SITE))
    for start in range(0, len(hits), 50):
        pipeline.send(*(hit for hit in hits[start : start + 50] if hit not in held_back))
        pipeline.process()
    for hit in held_back:
        pipeline.send(hit)
        pipeline.process_with_history()
    assert pipeline.tables() == expected
    pipeline.send(*held_back)
    pipeline.process_with_history()
    assert pipeline.tables() == expected
    repeated = sum(tally.count for tally in pipeline.tallies() if tally.outcome == Outcome.DUPLICATE)
    assert repeated == len(held_back)
    pipeline.close()


def test_late_hits_of_a_busy_owner_wait_for_each_other_and_give_the_same_tables(tmp_path: Path) -> None:
    hits = [
        a_hit(
            LAST_DAY_OF_SEPTEMBER + 150 * number,
            hit_id=1000 + number * 16,
            url=f"http://example.org/{number % 7}",
        )
        for number in range(64 * (BUSY_SEGMENTS + 6))
    ]
    held_back = [hits[number] for number in (0, 3, 64, 128, 350, 351, 400)]
    expected, _ = tables_after(hits, 2000, None)
    pipeline = Pipeline(tmp_path, config_events(goals=GOALS, **SITE))
    pipeline.send(*(hit for hit in hits if hit not in held_back))
    pipeline.process()
    for hit in (*held_back, held_back[0]):
        pipeline.send(hit)
        batches = pipeline.worker.poll(100, 0.0)
        for batch in batches:
            if batch.topic == "hits":
                pipeline.processor.process(batch)
                pipeline.worker.commit([batch])
    assert pipeline.processor.counts.refolds == 0
    # What waits is part of the state: another process goes on with it.
    pipeline.worker.close()
    pipeline.open_worker()
    assert pipeline.process_with_history() == 0
    assert pipeline.processor.counts.refolds == 1
    assert pipeline.tables() == expected
    tallies = pipeline.tallies()
    assert sum(tally.count for tally in tallies if tally.outcome == Outcome.STORED) == len(hits)
    assert sum(tally.count for tally in tallies if tally.outcome == Outcome.DUPLICATE) == 1
    pipeline.close()


ARRIVAL_HOURS = 7
"""Between two arrivals: a segment holds a day of receipt, so an owner's hits make several."""
KEPT = timedelta(hours=30)


def arrived(hits: list[Hit]) -> list[Hit]:
    """The hits received one after another, in this order."""
    placed = []
    for number, hit in enumerate(hits):
        received_at = LAST_DAY_OF_SEPTEMBER * 1000 + number * ARRIVAL_HOURS * 3_600_000
        placed.append(
            msgspec.structs.replace(hit, received_at=received_at, hit_id=first_hit_id_of(received_at))
        )
    return placed


def process_and_trim(pipeline: Pipeline, hits: list[Hit]) -> int:
    """Send, process and lose what was received too long before; returns how many owners were folded anew."""
    pipeline.send(*hits)
    repaired = pipeline.process_with_history()
    now = hits[-1].received_at / 1000
    trimmer = JournalTrimmer(pipeline.worker, KEPT, lambda: now)
    for partition in pipeline.worker.partitions:
        trimmer.drop_segments(partition, 1000)
        while trimmer.trim(partition):
            pass
    pipeline.worker.commit([])
    return repaired


def stored_segments(pipeline: Pipeline) -> int:
    states = (pipeline.worker.state(partition) for partition in pipeline.worker.partitions)
    return sum(len(state.scan(SEGMENTS_TABLE, b"", b"\xff" * 32)) for state in states)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(hits=some_hits(), seed=st.integers(0, 2**32), batch_size=st.integers(1, 5))
def test_hits_older_than_a_trimmed_journal_give_the_same_tables(
    hits: list[Hit], seed: int, batch_size: int
) -> None:
    shuffled = hits[:]
    random.Random(seed).shuffle(shuffled)
    shuffled = arrived(shuffled)
    in_order = sorted(shuffled, key=lambda hit: (hit.time, hit.hit_id))
    expected, _ = tables_after(in_order, len(in_order), None)
    with tempfile.TemporaryDirectory(prefix="hitstream-order-") as directory:
        pipeline = Pipeline(Path(directory), config_events(goals=GOALS, **SITE))
        for start in range(0, len(shuffled), batch_size):
            process_and_trim(pipeline, shuffled[start : start + batch_size])
        assert pipeline.tables() == expected
        assert not pipeline.dead()
        pipeline.close()


def test_an_owner_loses_the_segments_that_the_journal_no_longer_fills(tmp_path: Path) -> None:
    hits = arrived(
        [a_hit(LAST_DAY_OF_SEPTEMBER + ARRIVAL_HOURS * 3600 * number, url=f"http://example.org/{number}")
         for number in range(60)]
    )  # fmt: skip
    recent, old = hits[-2], hits[20]
    pipeline = Pipeline(tmp_path, config_events(goals=GOALS, **SITE))
    most = 0
    for hit in hits:
        if hit not in (recent, old):
            assert process_and_trim(pipeline, [hit]) == 0
            most = max(most, stored_segments(pipeline))
    assert 0 < most <= 3
    newest = hits[-1].received_at
    again = msgspec.structs.replace(recent, received_at=newest + 1000, hit_id=first_hit_id_of(newest + 1000))
    assert process_and_trim(pipeline, [again]) == 0
    last = msgspec.structs.replace(old, received_at=newest + 2000, hit_id=first_hit_id_of(newest + 2000))
    assert process_and_trim(pipeline, [last]) == 1
    in_order = sorted(
        [hit for hit in hits if hit not in (recent, old)] + [again, last],
        key=lambda hit: (hit.time, hit.hit_id),
    )
    expected, _ = tables_after(in_order, 60, None)
    assert pipeline.tables() == expected
    assert stored_segments(pipeline) <= 4
    pipeline.close()


def test_a_verdict_about_an_order_that_left_the_journal_is_followed(tmp_path: Path) -> None:
    order = {"idgoal": "0", "ec_id": "o-1", "revenue": "9"}
    first = a_hit(LAST_DAY_OF_SEPTEMBER + 100, owner=1, visitor_id=1, **order)
    others = [a_hit(LAST_DAY_OF_SEPTEMBER + 90_000 * number, owner=1, visitor_id=1) for number in range(1, 9)]
    winner = a_hit(LAST_DAY_OF_SEPTEMBER, owner=2, visitor_id=2, **order)
    hits = arrived([first, *others, winner])
    pipeline = Pipeline(tmp_path, config_events(goals=GOALS, **SITE))
    repaired = sum(process_and_trim(pipeline, [hit]) for hit in hits)
    assert repaired == 1
    in_order = sorted(hits, key=lambda hit: (hit.time, hit.hit_id))
    expected, _ = tables_after(in_order, len(in_order), None)
    assert pipeline.tables() == expected
    pipeline.close()


def test_a_link_to_a_visit_that_left_the_journal_is_followed(tmp_path: Path) -> None:
    own = [
        a_hit(LAST_DAY_OF_SEPTEMBER + 90_000 * number, owner=ALICE, visitor_id=ALICE) for number in range(9)
    ]
    login = a_hit(LAST_DAY_OF_SEPTEMBER + 5000, owner=2, visitor_id=ALICE, user_id="alice", uid="alice")
    hits = arrived([*own, login])
    pipeline = Pipeline(tmp_path, config_events(goals=GOALS, **SITE))
    assert sum(process_and_trim(pipeline, [hit]) for hit in hits) == 1
    in_order = sorted(hits, key=lambda hit: (hit.time, hit.hit_id))
    expected, _ = tables_after(in_order, len(in_order), None)
    assert pipeline.tables() == expected
    pipeline.close()


def test_a_link_is_followed_past_hits_that_made_no_visit() -> None:
    ping, page, login = arrived(
        [
            a_hit(LAST_DAY_OF_SEPTEMBER, owner=ALICE, visitor_id=ALICE, ping="1"),
            a_hit(LAST_DAY_OF_SEPTEMBER + 5400, owner=ALICE, visitor_id=ALICE),
            a_hit(LAST_DAY_OF_SEPTEMBER + 1800, owner=1, visitor_id=ALICE, user_id="alice", uid="alice"),
        ]
    )
    # They are in segments of their own.
    page = msgspec.structs.replace(page, hit_id=page.hit_id + (1 << 42))
    expected, _ = tables_after([ping, login, page], 1, None)
    found, _ = tables_after([ping, page, login], 1, None)
    assert found == expected
