"""A late hit older than the journal: the owner is refolded from its raw hits."""

from pathlib import Path

from processors.history import OwnerHistory, decode_request
from processors.owners import JOURNAL_TABLE
from rules.fold import Rows, row_key
from schemas.hit import Hit, encode_hit
from schemas.rows import Visit
from schemas.topics import REPAIRS
from tests.builders import NOON, a_hit, config_events
from tests.pipeline import Pipeline


def history_of(pipeline: Pipeline, hits: list[Hit], site_id: int, owner: int) -> OwnerHistory:
    """What the database knows when all outputs are stored."""
    rows = Rows()
    for row in pipeline.tables().values():
        rows.put(row)
    keys = [row_key(row) for row in rows.rows.values() if getattr(row, "owner", owner) == owner]
    return OwnerHistory(site_id, owner, [encode_hit(hit) for hit in hits if hit.owner == owner], keys)


def forget_journal(pipeline: Pipeline) -> None:
    for partition in pipeline.worker.partitions:
        state = pipeline.worker.state(partition)
        state.delete_many(JOURNAL_TABLE, [key for key, _ in state.scan(JOURNAL_TABLE, b"", b"\xff" * 9)])
    pipeline.worker.commit([])


def process_with_repairs(pipeline: Pipeline, hits: list[Hit]) -> int:
    """Number of owners refolded from raw hits."""
    repaired = 0
    while batches := pipeline.worker.poll(1000, 0.0):
        for batch in batches:
            if batch.topic != REPAIRS.name:
                pipeline.processor.process(batch)
        pipeline.worker.commit([batch for batch in batches if batch.topic != REPAIRS.name])
        for batch in (batch for batch in batches if batch.topic == REPAIRS.name):
            requests = {decode_request(message.value) for message in batch.messages}
            histories = [history_of(pipeline, hits, r.site_id, r.owner) for r in requests]
            pipeline.processor.repair(batch, histories)
            pipeline.worker.commit([batch])
            repaired += len(histories)
    return repaired


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
    assert process_with_repairs(pipeline, hits_in_order) == 1
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
