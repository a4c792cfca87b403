"""The preview of a replay says what the replay then does, also of orders that move between visitors."""

from collections import Counter
from pathlib import Path

import pytest

from hitstream.replay import LAST_SECOND
from hitstream.replay_preview import Measure, Preview, measures_of, preview
from rules.prepare import Lookups
from schemas.config import Config, Replay
from schemas.rows import Action, Conversion, Visit, encode_output
from sink.database import Database
from sink.encoding import HITS, Entry, split
from stream.config import ConfigFollower
from tests.builders import NOON, a_hit, config_events
from tests.integration.test_archives import store
from tests.integration.test_replay import LATER, OWNERS, replay, some_hits
from tests.pipeline import FIREFOX, Pipeline


def store_all(database: Database, pipeline: Pipeline) -> None:
    for number, kind in enumerate((Visit, Action, Conversion)):
        store(database, number, [encode_output(row) for row in pipeline.rows(kind)])
    kept = [Entry(0, offset, value) for owner in OWNERS for offset, value in pipeline.stored_hits(owner)]
    for block in split(HITS, kept, 1).by_month.values():
        database.insert_msgpack(HITS.name, HITS.columns, block.data)


def previewed(database: Database, pipeline: Pipeline, begin: int = 0, end: int = LAST_SECOND) -> Preview:
    follower = ConfigFollower(pipeline.log)
    follower.refresh()
    lookups = Lookups(agent=lambda *_: FIREFOX, locale=lambda language: (language[:5], language[:2]))
    wanted = [Replay(site_ids=(1,), begin=begin, end=end)]
    found = preview(database, follower.current, follower.at, wanted, lookups)
    follower.close()
    return found


def counted(pipeline: Pipeline) -> Counter[Measure]:
    follower = ConfigFollower(pipeline.log)
    config: Config = follower.refresh()
    follower.close()
    counts: Counter[Measure] = Counter()
    for row in pipeline.tables().values():
        for measure, amount in measures_of(row, config):
            counts[measure] += amount  # type: ignore[assignment]
    return counts


def told(counts: Counter[Measure]) -> dict[Measure, float]:
    return {
        measure: round(float(count), 2)
        for measure, count in counts.items()
        if count and measure[1] != "excluded hits"
    }


@pytest.mark.parametrize("seed", range(4))
def test_the_figures_before_and_after_are_those_of_the_tables(
    database: Database, tmp_path: Path, seed: int
) -> None:
    pipeline = Pipeline(tmp_path / "log", config_events(ecommerce=True))
    pipeline.send(*some_hits(seed))
    pipeline.process()
    store_all(database, pipeline)
    before = counted(pipeline)
    pipeline.configure(*LATER)
    found = previewed(database, pipeline)
    replay(pipeline)
    pipeline.process_with_history()
    assert told(found.before) == told(before)
    assert told(found.after) == told(counted(pipeline))
    assert told(found.before) != told(found.after)
    pipeline.close()


def test_an_order_that_goes_leaves_its_id_to_the_next_also_of_a_day_that_is_not_replayed(
    database: Database, tmp_path: Path
) -> None:
    def order(at: int, owner: int, revenue: int, **fields: str):
        mine = {"idgoal": "0", "ec_id": "One", "revenue": str(revenue), **fields}
        return a_hit(at, owner=owner, visitor_id=owner, **mine)

    pipeline = Pipeline(tmp_path / "log", config_events(ecommerce=True))
    pipeline.send(
        order(NOON, 0xA1, 9, user_agent="BadBot"),
        order(NOON + 100_000, 0xB2, 7),
        order(NOON + 100_050, 0xC3, 5),
    )
    pipeline.process()
    store_all(database, pipeline)
    pipeline.configure(*LATER)
    found = previewed(database, pipeline, NOON - 10, NOON + 10)
    revenue = (1, "Goals.get idGoal=ecommerceOrder", "revenue")
    assert (found.before[revenue], found.after[revenue]) == (9, 7)
    replay(pipeline, NOON - 10, NOON + 10)
    pipeline.process_with_history()
    assert [(one.owner, one.revenue) for one in pipeline.rows(Conversion)] == [(0xB2, 7)]
    pipeline.close()
