"""Topic `history` stays short, and nobody who begins to read it knows less."""

import random
from pathlib import Path

import pytest

from hitstream.erased_hits import ErasedHits
from hitstream.known_facts import HistoryTrimmer, read_facts
from hitstream.replay import asked_levels
from ingest.erasures import LogErasures
from schemas.history import (
    Erasure,
    ErasureDone,
    OwnerRefold,
    ReplayAsked,
    ReplayLevel,
    Summary,
    decode_fact,
)
from schemas.topics import HISTORY, partition_of
from stream.embedded import EmbeddedLog
from stream.protocol import Log
from tests.builders import NOON, a_hit, config_events
from tests.integration.test_replay import OWNERS, kafka_log, replay
from tests.pipeline import Pipeline
from tests.waiting import wait_until


@pytest.fixture(params=["embedded", "kafka"])
def log(request: pytest.FixtureRequest, tmp_path: Path) -> Log:
    if request.param == "embedded":
        return EmbeddedLog(tmp_path / "log", 2)
    return kafka_log(request.getfixturevalue("kafka"), f"trimming{random.randrange(1 << 40)}", tmp_path)


def facts_on(log: Log) -> int:
    reader = log.reader()
    try:
        return sum(one.end - one.first for one in read_facts(reader).values())
    finally:
        reader.close()


def test_facts_that_are_carried_out_go_and_what_they_said_stays(log: Log, tmp_path: Path) -> None:
    pipeline = Pipeline(tmp_path, config_events(), log=log)
    trimmer = HistoryTrimmer(log, pipeline.facts, worth=20)
    for number, owner in enumerate((*OWNERS, *OWNERS)):
        pipeline.send(a_hit(NOON + number, owner=owner, visitor_id=owner))
    pipeline.process()
    level = replay(pipeline)
    for partition in range(log.partitions):
        pipeline.tell(partition, ReplayAsked(level))
    home = partition_of(0xA1, log.partitions)
    ((offset, _), *_others) = pipeline.stored_hits(0xA1)
    pipeline.tell(home, Erasure(1, 0xA1, [1000], [offset], 7), ErasureDone(7))
    for _ in range(10):
        pipeline.tell(home, OwnerRefold(1, 0xA1, level))

    # What processors have not carried out yet stays.
    trimmer.step()
    assert pipeline.process_with_history() >= len(OWNERS)
    trimmer.step()
    assert facts_on(log) < 10

    def all_is_known() -> None:
        assert asked_levels(log) == {0: {level}, 1: {level}}
        erased = ErasedHits(log)
        assert erased(home, offset)
        assert not erased(home, offset + 1)
        assert (erased.newest, erased.unfinished()) == (7e-9, [])

    all_is_known()
    # A second round sums up the first summary too; an unfinished deletion is left as it is.
    for partition in range(log.partitions):
        for _ in range(20):
            pipeline.tell(partition, ReplayLevel(level))
    pipeline.tell(home, Erasure(1, 0xA1, [1001], [offset + 1], 8))
    pipeline.process_with_history()
    trimmer.step()
    assert ErasedHits(log).unfinished() == [(home, Erasure(1, 0xA1, [1001], [offset + 1], 8))]
    pipeline.tell(home, ErasureDone(8))
    pipeline.process_with_history()
    trimmer.step()
    trimmer.step()
    assert asked_levels(log) == {0: {level}, 1: {level}}
    erased = ErasedHits(log)
    assert erased(home, offset)
    assert erased(home, offset + 1)
    assert facts_on(log) < 30
    pipeline.close()


def test_ingest_takes_hits_out_of_the_log_also_when_only_a_summary_tells_of_them(tmp_path: Path) -> None:
    log = EmbeddedLog(tmp_path / "log", 2)
    pipeline = Pipeline(tmp_path, config_events(), log=log)
    pipeline.send(a_hit(NOON), a_hit(NOON + 1))
    home = partition_of(0xA1, log.partitions)
    (first, _), (second, _) = pipeline.stored_hits(0xA1)
    pipeline.tell(home, Erasure(1, 0xA1, [1000], [first], 7), ErasureDone(7))
    pipeline.process_with_history()
    trimmer = HistoryTrimmer(log, pipeline.facts, worth=1)
    trimmer.step()
    pipeline.process_with_history()
    trimmer.step()
    reader = log.reader()
    batch = reader.read(HISTORY.name, home, 0, 10)
    assert batch is not None
    assert [type(decode_fact(message.value)) for message in batch.messages] == [Summary]
    reader.close()
    erasures = LogErasures(log, pipeline.hits)
    wait_until(lambda: len(pipeline.stored_hits(0xA1)) == 1)
    erasures.close()
    assert [offset for offset, _ in pipeline.stored_hits(0xA1)] == [second]
    pipeline.close()
