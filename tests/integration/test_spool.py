"""The broker goes away and comes back: ingest keeps taking hits, and each is counted once."""

import json
from pathlib import Path

import pytest

from ingest.settings import IngestSettings
from ingest.spool import FORWARDER, Spool
from schemas.topics import HITS
from stream.embedded import EmbeddedLog
from stream.protocol import LogError
from tests.kafka.stages import (
    PARTITIONS,
    Ingest,
    Stage,
    hits_on,
    make_site,
    messages_of,
    opened_log,
    outcomes_on,
    pages_on,
)
from tests.waiting import wait_until


class FailingAppender:
    """An appender of another log that can be told to fail, before or after it has appended a part."""

    def __init__(self, log: EmbeddedLog) -> None:
        self._appender = log.appender(HITS.name)
        self.is_away = False
        self.takes_first = 0

    def append(self, entries):
        if self.is_away:
            if self.takes_first:
                self._appender.append(entries[: self.takes_first])
            raise LogError("the broker is away")
        return self._appender.append(entries)

    def erase(self, places):
        return False

    def close(self):
        self._appender.close()


def values_of(log: EmbeddedLog, partition: int = 0) -> list[int]:
    reader = log.reader()
    found, offset = [], 0
    while (batch := reader.read(HITS.name, partition, offset, 100)) is not None:
        found += [int(message.value) for message in batch.messages]
        offset = batch.next_offset
    reader.close()
    return found


def entry(number: int) -> tuple[int, bytes, bytes]:
    return (0, b"k", b"%d" % number)


@pytest.fixture
def target_log(tmp_path: Path) -> EmbeddedLog:
    return EmbeddedLog(tmp_path / "target", PARTITIONS)


@pytest.fixture
def target(target_log: EmbeddedLog) -> FailingAppender:
    return FailingAppender(target_log)


def open_spool(tmp_path: Path, target: FailingAppender, max_bytes: int = 256 << 20) -> Spool:
    return Spool(target, tmp_path / "spool", PARTITIONS, max_bytes)


def test_hits_of_a_time_without_broker_are_forwarded_in_order(tmp_path, target, target_log):
    spool = open_spool(tmp_path, target)
    spool.append([entry(0)])
    target.is_away = True
    for number in range(1, 50):
        spool.append([entry(number)])
    assert values_of(target_log) == [0]
    assert spool.state.waiting == 49
    target.is_away = False
    wait_until(lambda: spool.state.waiting == 0)
    wait_until(lambda: not spool._is_used)
    spool.append([entry(50)])
    assert values_of(target_log) == list(range(51))
    assert (spool.state.spooled, spool.state.forwarded) == (49, 49)
    spool.close()


def test_hits_that_arrive_while_the_spool_is_forwarded_come_after_it(tmp_path, target, target_log):
    spool = open_spool(tmp_path, target)
    target.is_away = True
    for number in range(500):
        if number == 100:
            target.is_away = False
        spool.append([entry(number)])
    wait_until(lambda: spool.state.waiting == 0)
    assert values_of(target_log) == list(range(500))
    spool.close()


def test_a_group_that_the_broker_has_in_part_is_forwarded_as_a_whole(tmp_path, target, target_log):
    spool = open_spool(tmp_path, target)
    target.is_away, target.takes_first = True, 1
    spool.append([entry(0), entry(1)])
    target.is_away = False
    wait_until(lambda: spool.state.waiting == 0)
    assert set(values_of(target_log)) == {0, 1}
    assert sorted(values_of(target_log))[-1] == 1
    spool.close()


def test_a_full_spool_refuses_hits_until_it_is_forwarded(tmp_path, target, target_log):
    spool = open_spool(tmp_path, target, max_bytes=300_000)
    target.is_away = True
    taken, refused = 0, ""
    while not refused:
        try:
            spool.append([(0, b"k", b"%d" % taken + b" " * 4000)])
            taken += 1
        except LogError as error:
            refused = str(error)
    assert "HITSTREAM_SPOOL_MAX_BYTES" in refused
    assert 10 < taken < 200
    target.is_away = False
    wait_until(lambda: spool.state.waiting == 0)
    wait_until(lambda: not spool._is_used)
    spool.append([entry(taken)])
    assert values_of(target_log) == list(range(taken + 1))
    spool.close()


def test_what_a_process_left_in_the_spool_is_forwarded_before_anything_else(tmp_path, target, target_log):
    spool = open_spool(tmp_path, target)
    target.is_away = True
    spool.append([entry(number) for number in range(10)])
    spool.close()
    assert values_of(target_log) == []
    spool = open_spool(tmp_path, FailingAppender(target_log))
    assert values_of(target_log) == list(range(10))
    spool.close()


def test_the_segments_of_the_spool_go_when_they_are_forwarded(tmp_path, target):
    spool = open_spool(tmp_path, target, max_bytes=1 << 30)
    target.is_away = True
    for number in range(40):
        spool.append([(0, b"k", b"%d" % number + b" " * 900_000)])
    assert spool._log.sizes()[HITS.name] > 30 << 20
    target.is_away = False
    wait_until(lambda: spool.state.waiting == 0)
    wait_until(lambda: spool._log.sizes()[HITS.name] < 20 << 20)
    assert sum(spool._log.released(FORWARDER).values()) == 40
    spool.close()


# A real broker and a real ingest process


@pytest.mark.parametrize(
    "crash_at", ["", "spool.forwarded", pytest.param("spool.marked", marks=pytest.mark.slow)]
)
def test_a_broker_that_is_killed_and_started_again_loses_no_hit(own_broker, tmp_path, crash_at):
    """Also when ingest dies between forwarding and marking: hits may come twice, with the same hit_id."""
    make_site(own_broker.address, tmp_path / "site")
    ingest = Ingest(own_broker.address, tmp_path / "data")
    ingest.start(crash_at)
    try:
        wait_until(ingest.is_ready)
        for number in range(20):
            ingest.send(number)
        # A broker that took its time has some of them only now.
        wait_until(lambda: ingest.spooled() == 0)
        own_broker.kill()
        for number in range(20, 60):
            ingest.send(number)
        assert ingest.spooled() == 40
        assert json.loads(ingest.ask("/health/ready"))["spooled_hits"] == 40
        assert "40   hits wait" in ingest.status()
        own_broker.start()
        if crash_at:
            wait_until(ingest.died)
            ingest.start()
            wait_until(ingest.is_ready)
        wait_until(lambda: ingest.spooled() == 0)
        for number in range(60, 70):
            ingest.send(number)
        queries = sorted(hits_on(own_broker.address, tmp_path / "site").values())
        assert len(queries) == 70, ingest.output()
        assert len(set(queries)) == 70
    finally:
        ingest.stop()


@pytest.mark.slow
def test_hits_that_are_forwarded_twice_are_counted_once(own_broker, tmp_path):
    """Ingest dies when the broker has the hits of its spool and before that is marked."""
    make_site(own_broker.address, tmp_path / "site")
    ingest = Ingest(own_broker.address, tmp_path / "data")
    processor = Stage("processor", own_broker.address, tmp_path / "processor")
    ingest.start("spool.forwarded")
    try:
        wait_until(ingest.is_ready)
        own_broker.kill()
        for number in range(40):
            ingest.send(number)
        own_broker.start()
        wait_until(ingest.died)
        ingest.start()
        wait_until(ingest.is_ready)
        wait_until(lambda: ingest.spooled() == 0)
        ingest.send(40)
        with opened_log(own_broker.address, tmp_path / "site") as log:
            on_the_log = len(list(messages_of(log, HITS.name)))
            repeated = on_the_log - len(hits_on(own_broker.address, tmp_path / "site"))
            assert repeated > 0, "nothing was forwarded twice"
            processor.start()
            wait_until(lambda: outcomes_on(log).total() >= on_the_log, processor.output)
            assert outcomes_on(log) == {"stored": 41, "duplicate": repeated}
            assert pages_on(log) == {f"example.org/{number}": 1 for number in range(41)}
    finally:
        processor.stop()
        ingest.stop()


def test_the_defaults_leave_room_for_hours_without_broker():
    assert IngestSettings().spool_max_bytes >= 1 << 30
