"""A late hit older than the journal: the owner is refolded from its raw hits."""

from pathlib import Path

from processors.owners import JOURNAL_TABLE
from schemas.rows import Visit
from tests.builders import NOON, a_hit, config_events
from tests.pipeline import Pipeline


def forget_journal(pipeline: Pipeline) -> None:
    for partition in pipeline.worker.partitions:
        state = pipeline.worker.state(partition)
        state.delete_many(JOURNAL_TABLE, [key for key, _ in state.scan(JOURNAL_TABLE, b"", b"\xff" * 9)])
    pipeline.worker.commit([])


def test_a_hit_older_than_the_journal_gives_the_tables_of_the_right_order(tmp_path: Path) -> None:
    # The first visit's id and the second one's profile depend on the hit that comes last.
    order = {"idgoal": "0", "revenue": "9", "ec_id": "order-1", "ec_items": '[["a","A","x",1,1]]'}
    hits = [a_hit(NOON + 600), a_hit(NOON + 1200, **order), a_hit(NOON + 9000), a_hit(NOON + 9300)]
    late = a_hit(NOON, url="http://example.org/first")
    hits_in_order = [late, *hits]
    expected = Pipeline(tmp_path / "expected", config_events(ecommerce=True))
    expected.send(*hits_in_order)
    expected.process()

    pipeline = Pipeline(tmp_path / "repaired", config_events(ecommerce=True))
    pipeline.send(*hits)
    pipeline.process()
    forget_journal(pipeline)
    pipeline.send(late)
    assert pipeline.process_with_history() == 1
    assert pipeline.tables() == expected.tables()
    first = min(pipeline.rows(Visit), key=lambda visit: visit.first_time)
    assert first.entry_url == "example.org/first"
    assert sum(tally.count for tally in pipeline.tallies()) == pipeline.hits_consumed() == 5
    assert not pipeline.dead()

    # The head goes on as if nothing had happened.
    for one in (expected, pipeline):
        one.send(a_hit(NOON + 9400, hit_id=1 << 40))
        one.process()
    assert pipeline.tables() == expected.tables()
    pipeline.close()
    expected.close()
