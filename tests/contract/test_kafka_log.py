"""What only the log on a broker promises: shared partitions, fencing, restored state, its topics."""

import signal
import time
from collections import Counter
from pathlib import Path

import pytest

from stream.protocol import LogError, LogInUseError, LogMismatchError, TopicPartition
from tests.contract.backends import Backend, prefix_of
from tests.contract.log_contents import ALL, HITS, entries, last_of_each, take, values_of
from tests.waiting import PATIENCE_SECONDS, wait_until

pytest.importorskip("confluent_kafka")
pytest.importorskip("rocksdict")

INPUTS = [HITS, "links"]


@pytest.fixture
def backend(kafka, tmp_path):
    return Backend(f"kafka:{kafka}|{tmp_path / 'log'}")


@pytest.fixture
def log(backend, closing):
    return closing(backend.open())


@pytest.fixture
def another_machine(backend, tmp_path, closing):
    """The same log, opened with another directory."""
    log = closing(backend.open())
    log.directory = tmp_path / "other"
    log.directory.mkdir()
    return log


def copy_some(worker, count=50, timeout=0.1):
    """One unit of work: copies hits to `visits` and to `links`, and counts both in state. One that is
    refused, as it may be while the partitions are shared out anew, is done again by the next."""
    batches = worker.poll(count, timeout)
    for batch in batches:
        state = worker.state(batch.home)
        counts = state.get_many("counts", [m.value for m in batch.messages])
        state.put_many(
            "counts", [(m.value, b"%d" % (int(counts.get(m.value, b"0")) + 1)) for m in batch.messages]
        )
        if batch.topic == HITS:
            worker.emit(batch.home, "visits", [(m.key, m.value) for m in batch.messages])
            worker.emit_keyed(batch.home, "links", [(int(m.value), m.value) for m in batch.messages])
    try:
        worker.commit(batches)
    except LogError:
        worker.rollback()


def until(condition, *workers):
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, [worker.partitions for worker in workers]
        for worker in workers:
            copy_some(worker)


def drain(log, *workers):
    until(lambda: not any(log.lag("g").values()) and log.lag("g"), *workers)


def check_all_copied(log, total, *workers):
    assert Counter(v for values in values_of(log, "visits").values() for v in values) == Counter(
        b"%d" % n for n in range(total)
    )
    counted = Counter()
    for worker in workers:
        for partition in worker.partitions:
            for key, value in worker.state(partition).scan("counts", b"", b"\xff"):
                counted[key] += int(value)
    assert counted == {b"%d" % n: 2 for n in range(total)}, "once as a hit, once as a link"


# Shared partitions


def test_workers_share_the_partitions_and_each_message_is_processed_once(backend, log, closing):
    appender = closing(log.appender(HITS))
    appender.append([(n % 4, b"", b"%d" % n) for n in range(2000)])
    first = closing(log.worker("g", INPUTS, None))
    until(lambda: len(first.partitions) == 4, first)
    second = closing(closing(backend.open()).worker("g", INPUTS, None))
    until(lambda: len(first.partitions) == len(second.partitions) == 2, first, second)
    assert sorted([*first.partitions, *second.partitions]) == list(ALL)
    appender.append([(n % 4, b"", b"%d" % n) for n in range(2000, 4000)])
    drain(log, first, second)
    check_all_copied(log, 4000, first, second)
    first.close()
    appender.append([(n % 4, b"", b"%d" % n) for n in range(4000, 5000)])
    until(lambda: len(second.partitions) == 4, second)
    drain(log, second)
    check_all_copied(log, 5000, second)


@pytest.mark.slow
def test_a_killed_member_loses_its_partitions_to_the_others_and_no_message(backend, log, closing):
    closing(log.appender(HITS)).append([(n % 4, b"", b"%d" % n) for n in range(2000)])
    other = backend.start(
        """
        from tests.contract.test_kafka_log import INPUTS, copy_some
        worker = log.worker("g", INPUTS, None)
        while True:
            copy_some(worker)
            print(len(worker.partitions), flush=True)
        """
    )
    while other.stdout.readline() != "4\n":
        pass
    worker = closing(log.worker("g", INPUTS, None))
    until(lambda: len(worker.partitions) == 2, worker)
    other.kill()
    other.communicate()
    until(lambda: len(worker.partitions) == 4, worker)
    drain(log, worker)
    check_all_copied(log, 2000, worker)


@pytest.mark.slow
def test_a_zombie_that_the_group_gave_up_cannot_commit(backend, log, closing):
    """It was stopped amid a unit of work and goes on when another has its partitions."""
    closing(log.appender(HITS)).append([(n % 4, b"", b"%d" % n) for n in range(400)])
    zombie = backend.start(
        """
        from stream.protocol import LogError
        from tests.contract.log_contents import last_of_each, take
        worker = log.worker("g", ["hits", "links"], None)
        batches = take(worker, 400)[1]
        for batch in batches:
            worker.emit(batch.home, "visits", [(m.key, b"zombie") for m in batch.messages])
            worker.state(batch.home).put_many("counts", [(b"zombie", b"1")])
        print("ready", flush=True)
        sys.stdin.readline()
        for attempt in (last_of_each(batches), []):
            try:
                worker.commit(attempt)
                print("committed")
            except LogError:
                print("refused")
        worker.rollback()
        while worker.partitions:
            worker.poll(0, 0.1)
        print("gave them up", flush=True)
        sys.stdin.readline()
        """
    )
    assert zombie.stdout.readline() == "ready\n"
    zombie.send_signal(signal.SIGSTOP)
    worker = closing(log.worker("g", INPUTS, None))
    until(lambda: len(worker.partitions) == 4, worker)
    drain(log, worker)
    zombie.send_signal(signal.SIGCONT)
    zombie.stdin.write("\n")
    zombie.stdin.flush()
    said = [zombie.stdout.readline() for _ in range(3)]
    zombie.kill()
    _, err = zombie.communicate()
    assert said == ["refused\n", "refused\n", "gave them up\n"], err
    until(lambda: len(worker.partitions) == 4, worker)
    check_all_copied(log, 400, worker)


def test_a_later_owner_of_the_same_partitions_fences_the_earlier_one(log, another_machine, closing):
    closing(log.appender(HITS)).append(entries(3))
    first = closing(log.worker("g", [HITS], ALL))
    _, batches = take(first, 3)
    first.emit(0, "visits", [(b"", b"late")])
    second = closing(another_machine.worker("g", [HITS], ALL))
    with pytest.raises(LogInUseError, match="took over"):
        first.commit(last_of_each(batches))
    with pytest.raises(LogInUseError):
        first.rollback()
    second.commit(last_of_each(take(second, 3)[1]))
    assert values_of(log, "visits") == {}
    assert log.committed("g")[TopicPartition(HITS, 0)] == 3


# State


def fill_state(log, units=3):
    worker = log.worker("g", [HITS], [1])
    for unit in range(units):
        worker.state(1).put_many("heads", [(b"%d" % n, b"%d" % unit) for n in range(100)])
        worker.state(1).put_many("journal", [(b"%d" % unit, b"x" * 1000)])
        worker.commit([])
    worker.state(1).delete_many("journal", [b"0"])
    worker.commit([])
    worker.close()


def check_state(worker):
    state = worker.state(1)
    assert state.scan("heads", b"", b"\xff") == sorted((b"%d" % n, b"2") for n in range(100))
    assert [key for key, _ in state.scan("journal", b"", b"\xff")] == [b"1", b"2"]


@pytest.fixture
def restored(monkeypatch):
    """How many changes each opening took from the changelog."""
    from stream import kafka_worker

    counts = []

    class Counting(kafka_worker.Restore):
        def close(self):
            counts.append(self.applied)
            super().close()

    monkeypatch.setattr(kafka_worker, "Restore", Counting)
    return counts


def test_state_that_matches_the_changelog_is_used_as_it_is(log, closing, restored):
    fill_state(log)
    check_state(closing(log.worker("g", [HITS], [1])))
    assert restored == [0, 0]


def test_state_is_rebuilt_where_there_is_none(log, another_machine, closing, restored):
    fill_state(log)
    check_state(closing(another_machine.worker("g", [HITS], [1])))
    assert restored[-1] > 100


def test_state_that_was_left_behind_is_brought_up_to_date(log, another_machine, closing, restored):
    fill_state(log, units=1)
    fill_state(another_machine)
    check_state(closing(log.worker("g", [HITS], [1])))
    assert restored[-1] > 0


def test_state_that_is_too_old_for_the_tombstones_is_rebuilt(log, another_machine, closing, monkeypatch):
    fill_state(log, units=1)
    worker = log.worker("g", [HITS], [1])
    worker.state(1).put_many("heads", [(b"of a change that was compacted away", b"1")])
    changes = worker.state(1).changes()
    worker._owned[1].state.apply(changes, worker._owned[1].state.next_offset)
    worker.close()
    fill_state(another_machine)
    monkeypatch.setattr("stream.kafka_worker.STALE_AFTER_S", -10.0)
    check_state(closing(log.worker("g", [HITS], [1])))


def test_state_of_another_changelog_is_not_used(log, closing):
    """As when the topics were deleted and made anew."""
    worker = log.worker("g", [HITS], [1])
    worker._owned[1].state.apply([(b"heads\x00wrong", b"1")], 10_000)
    worker.close()
    fill_state(log)
    check_state(closing(log.worker("g", [HITS], [1])))


# Topics


def test_topics_are_made_once_and_another_number_of_partitions_is_refused(kafka, tmp_path):
    from stream.kafka import KafkaLog, make_log
    from stream.kafka_client import Connection
    from stream.kafka_topics import TopicPlan

    connection, prefix = Connection(kafka), prefix_of(str(tmp_path))
    with pytest.raises(LogError, match="hitstream topics"):
        KafkaLog(connection, tmp_path / "early", prefix=prefix)
    meta, made = make_log(connection, prefix, TopicPlan(partitions=2))
    assert meta.plan.partitions == 2
    assert f"{prefix}.1.hits" in made
    assert make_log(connection, prefix, TopicPlan(partitions=2))[1] == []
    assert make_log(connection, prefix)[0] == meta
    with pytest.raises(LogMismatchError, match=r"2 partitions.*3.*HITSTREAM_KAFKA_PREFIX"):
        make_log(connection, prefix, TopicPlan(partitions=3))


def test_partitions_that_were_added_on_the_broker_are_refused(backend, log, kafka):
    from confluent_kafka.admin import NewPartitions

    log.admin.create_partitions([NewPartitions(log.name(HITS), 6)])[log.name(HITS)].result()
    wait_until(lambda: len(log.admin.list_topics(timeout=60).topics[log.name(HITS)].partitions) == 6)
    with pytest.raises(LogMismatchError, match="6 partitions"):
        backend.open()


def test_a_writer_whose_clock_is_days_ahead_is_not_refused(log):
    producer = log.connection.producer()
    three_days_ahead = int((time.time() + 3 * 86_400) * 1000)
    refused = []
    for topic in (HITS, "visits"):
        producer.produce(
            log.name(topic),
            b"value",
            partition=0,
            timestamp=three_days_ahead,
            on_delivery=lambda error, _message: refused.append(error),
        )
    assert producer.flush(PATIENCE_SECONDS) == 0
    assert refused == [None, None]


def test_old_topics_and_groups_go_after_a_reset(backend, log):
    log.worker("g", [HITS], [0]).close()
    old = log.name(HITS)
    log.reset()
    fresh = backend.open()
    fresh.remove_old_epochs()
    wait_until(lambda: old not in fresh.admin.list_topics(timeout=60).topics)
    assert fresh.name(HITS) in fresh.admin.list_topics(timeout=60).topics
    fresh.close()


# Options


def test_options_are_read_from_a_file_and_no_value_is_shown(tmp_path):
    from stream.kafka_client import Connection, OptionsError, read_options

    file = tmp_path / "kafka.properties"
    file.write_text("# login\nsecurity.protocol = SASL_SSL\n\nsasl.password=geheim=1\n")
    assert read_options(file) == {"security.protocol": "SASL_SSL", "sasl.password": "geheim=1"}
    assert "geheim" not in repr(Connection("b:9092", read_options(file)))
    file.write_text("sasl.password=geheim\nacks=0\n")
    with pytest.raises(OptionsError, match="line 2: acks is set by Hitstream") as refused:
        read_options(file)
    assert "geheim" not in str(refused.value)
    file.write_text("geheim")
    with pytest.raises(OptionsError, match="line 1: expected name=value"):
        read_options(file)
    with pytest.raises(OptionsError, match="No such file"):
        read_options(Path(str(file) + ".no"))


def test_a_broker_that_is_away_is_a_log_error(tmp_path, monkeypatch):
    from stream import kafka_client
    from stream.kafka import KafkaLog
    from stream.kafka_client import Connection

    monkeypatch.setattr(kafka_client, "TIMEOUT_S", 1.0)
    with pytest.raises(LogError, match=r"127\.0\.0\.1:1"):
        KafkaLog(Connection("127.0.0.1:1"), tmp_path)


def test_what_is_forgotten_is_gone_for_every_reader_and_offsets_go_on(log, closing):
    appender, worker = closing(log.appender(HITS)), closing(log.worker("g", [HITS], ALL))
    offsets = appender.append([(0, b"", b"%d" % number) for number in range(4)])
    drain(log, worker)
    end = closing(log.reader()).end_offsets("visits")[0]
    log.forget({TopicPartition(HITS, 0): offsets[2], TopicPartition("visits", 0): end})
    reader = closing(log.reader())
    assert [message.offset for message in reader.read(HITS, 0, 0, 10).messages] == [offsets[2], offsets[3]]
    assert reader.read("visits", 0, 0, 10) is None
    # Messages of the last hour stay; what was forgotten before is no error.
    log.forget({TopicPartition(HITS, 0): offsets[3]}, older_than_s=3600.0)
    assert closing(log.reader()).read(HITS, 0, 0, 1).messages[0].offset == offsets[2]
    log.forget({TopicPartition(HITS, 0): offsets[1]})
    appender.append([(0, b"", b"4")])
    drain(log, worker)
    assert [message.value for message in closing(log.reader()).read("visits", 0, 0, 10).messages] == [b"4"]


def test_salts_that_all_went_by_age_keep_nobody_from_opening_the_secrets(log, closing):
    secrets, reader = closing(log.secrets()), closing(log.reader())
    secrets.salt(1, 20_000, b"a" * 16)
    secrets.forget_salts_before(20_001)
    wait_until(lambda: closing(log.reader()).read("salts", 0, 0, 1) is None)
    assert reader.end_offsets("salts")[0] > 0
    assert closing(log.secrets()).salt(1, 20_001, b"b" * 16) == b"b" * 16
