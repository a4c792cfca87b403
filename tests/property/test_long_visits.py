"""Visits that come late before a long one: it is carried on, not folded anew, and the tables are the same."""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from unittest import mock

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rules.fold_state import Rows, row_key
from rules.owner import Entry, ReadyHit, append, facts_of, new_record, refold
from rules.prepared import GoalMatch
from schemas.hit import Hit
from schemas.rows import Conversion
from tests.builders import a_hit, a_prepared_hit, config_events, visit_rules
from tests.pipeline import Pipeline
from tests.property.test_arrival_order import GOALS, KINDS, LAST_DAY_OF_SEPTEMBER, SITE, tables_after

NOON = LAST_DAY_OF_SEPTEMBER + 16 * 3600
"""In New York."""
DAY = 86_400
IN_A_VISIT = [
    kind for kind in KINDS if not {"uid", "new_visit"} & kind.keys() and "utm" not in kind.get("url", "")
]


@st.composite
def a_long_visit(draw: st.DrawFn) -> list[Hit]:
    """20 to 60 hits; now and then a visit ends among them."""
    kinds = draw(st.lists(st.sampled_from(IN_A_VISIT), min_size=20, max_size=60))
    gaps = draw(st.lists(st.sampled_from((1, 30, 60, 600, 1800)), min_size=60, max_size=60))
    time, hits = NOON, []
    for number, kind in enumerate(kinds):
        time += gaps[number] if number % 20 == 19 else min(gaps[number], 60)
        hits.append(a_hit(time, hit_id=100_000 + 16 * number, **kind))
    return hits


@st.composite
def some_late_hits(draw: st.DrawFn) -> list[Hit]:
    """Up to five, from the day before to the middle of the long visit."""
    seconds = draw(st.lists(st.integers(-DAY, 1200), min_size=1, max_size=5, unique=True))
    kinds = draw(st.lists(st.sampled_from(IN_A_VISIT), min_size=5, max_size=5))
    return [
        a_hit(NOON + after, hit_id=200_000 + 16 * number, **kind)
        for number, (after, kind) in enumerate(zip(seconds, kinds, strict=False))
    ]


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(visit=a_long_visit(), late=some_late_hits(), batch_size=st.integers(1, 5))
def test_late_hits_before_a_long_visit_give_the_tables_of_the_order_of_events(
    visit: list[Hit], late: list[Hit], batch_size: int
) -> None:
    in_order, _ = tables_after(sorted([*visit, *late], key=lambda hit: (hit.time, hit.hit_id)), 100, None)
    with (
        mock.patch("rules.owner.SEGMENT_LENGTH", 3),
        tempfile.TemporaryDirectory(prefix="hitstream-long-") as directory,
    ):
        pipeline = Pipeline(Path(directory), config_events(goals=GOALS, **SITE))
        for hits in (visit, late):
            for start in range(0, len(hits), batch_size):
                pipeline.send(*hits[start : start + batch_size])
                pipeline.process_with_history()
        found = pipeline.tables()
        pipeline.close()
    assert found == in_order


def test_a_late_visit_leaves_most_hits_of_a_long_one_unread() -> None:
    rules = visit_rules()
    matched = (GoalMatch(2, 5.0, True),)
    hits = [
        a_prepared_hit(NOON + at, hit_id=16 * (at + 1), goals=matched if at % 100 == 50 else ())
        for at in range(1000)
    ]
    late = a_prepared_hit(NOON - DAY, hit_id=20_000)
    ready = {hit.hit_id: ReadyHit(Entry(hit.time, hit.hit_id, 0), hit, rules, 1) for hit in (*hits, late)}
    read: list[Entry] = []

    def load(entries: Sequence[Entry]) -> list[ReadyHit]:
        read.extend(entries)
        return [ready[entry.hit_id] for entry in entries]

    record, rows = new_record(), Rows()
    appended = append(record, [ready[hit.hit_id] for hit in hits], rows)
    facts = facts_of(record)
    refolded = refold([*appended.full, record.tail], load, [ready[late.hit_id]], facts, facts)

    expected = Rows()
    append(new_record(), [ready[hit.hit_id] for hit in (late, *hits)], expected)
    tables = dict(rows.rows)
    for row, is_deleted in refolded.changes:
        assert not is_deleted
        tables[row_key(row)] = row
    assert tables == expected.rows
    assert [row.visit_count for row in tables.values() if isinstance(row, Conversion)] == [2] * 10
    assert len(read) < 200
