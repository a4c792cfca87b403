"""What every log promises of workers: units of work, partitions and their owners, state."""

import pytest

from schemas.topics import partition_of
from stream.protocol import TopicPartition
from tests.contract.log_contents import ALL, HITS, entries, last_of_each, take, values_of
from tests.waiting import PATIENCE_SECONDS

# The unit of work


def test_nothing_of_a_unit_of_work_is_seen_before_its_commit(log, appender, closing):
    appender.append(entries(3))
    worker = closing(log.worker("g", [HITS], ALL))
    _, batches = take(worker, 3)
    worker.emit(0, "visits", [(b"k", b"out")])
    worker.emit_keyed(0, "links", [(7, b"link")])
    worker.state(0).put_many("heads", [(b"a", b"1")])
    assert values_of(log, "visits") == {}
    assert values_of(log, "links") == {}
    assert log.committed("g")[TopicPartition(HITS, 0)] == 0
    worker.commit(last_of_each(batches))
    assert values_of(log, "visits") == {0: [b"out"]}
    assert list(values_of(log, "links").values()) == [[b"link"]]
    assert log.committed("g")[TopicPartition(HITS, 0)] == batches[-1].next_offset


def test_rollback_forgets_all_and_polls_the_same_again(log, appender, closing):
    appender.append(entries(3))
    worker = closing(log.worker("g", [HITS], ALL))
    first, _ = take(worker, 3)
    worker.emit(0, "visits", [(b"k", b"out")])
    worker.state(0).put_many("heads", [(b"a", b"1")])
    worker.rollback()
    assert worker.state(0).get_many("heads", [b"a"]) == {}
    again, batches = take(worker, 3)
    assert again == first
    worker.commit(last_of_each(batches))
    assert values_of(log, "visits") == {}


def test_rollback_keeps_what_was_committed_before(log, appender, closing):
    appender.append(entries(2))
    worker = closing(log.worker("g", [HITS], ALL))
    (batch,) = worker.poll(1, PATIENCE_SECONDS)
    worker.state(0).put_many("heads", [(b"a", b"1")])
    worker.commit([batch])
    worker.poll(1, PATIENCE_SECONDS)
    worker.state(0).put_many("heads", [(b"a", b"2")])
    worker.state(0).put_many("journal", [(b"j", b"1")])
    worker.rollback()
    assert worker.state(0).get_many("heads", [b"a"]) == {b"a": b"1"}
    assert worker.state(0).scan("journal", b"", b"\xff") == []
    assert [m.value for b in worker.poll(5, PATIENCE_SECONDS) for m in b.messages] == [b"v1"]
    worker.state(0).put_many("journal", [(b"j", b"2")])
    assert worker.state(0).get_many("journal", [b"j"]) == {b"j": b"2"}


def test_polling_ahead_of_the_commit_loses_nothing(log, appender, closing):
    appender.append(entries(4))
    worker = closing(log.worker("g", [HITS], ALL))
    (first,) = worker.poll(2, PATIENCE_SECONDS)
    (second,) = worker.poll(2, PATIENCE_SECONDS)
    worker.commit([first])
    worker.rollback()
    assert [m.value for b in worker.poll(9, PATIENCE_SECONDS) for m in b.messages] == [
        m.value for m in second.messages
    ]


@pytest.mark.parametrize("step", ["before", "after"])
def test_a_process_killed_at_the_commit_leaves_all_or_nothing(log_backend, log, closing, step):
    appender = log.appender(HITS)
    appender.append([*entries(3, 0), *entries(3, 1)])
    appender.close()
    log_backend.run(
        f"""
        from tests.contract.log_contents import last_of_each, take
        worker = log.worker("g", ["hits"], range(4))
        batches = take(worker, 6)[1]
        for batch in batches:
            worker.state(batch.home).put_many("heads", [(m.key, m.value) for m in batch.messages])
            worker.emit(batch.home, "visits", [(m.key, m.value) for m in batch.messages])
            worker.emit_keyed(batch.home, "links", [(5, b"link")])
        if {step!r} == "after":
            worker.commit(last_of_each(batches))
        os.kill(os.getpid(), 9)
        """
    )
    expected = [b"v0", b"v1", b"v2"]
    worker = closing(log.worker("g", [HITS], ALL))
    if step == "before":
        assert values_of(log, "visits") == {}
        assert values_of(log, "links") == {}
        assert worker.state(0).get_many("heads", [b"k0"]) == {}
        values, _ = take(worker, 6)
        assert values == {(HITS, 0): expected, (HITS, 1): expected}
    else:
        assert values_of(log, "visits") == {0: expected, 1: expected}
        assert list(values_of(log, "links").values()) in ([[b"link"], [b"link"]], [[b"link", b"link"]])
        assert worker.state(1).get_many("heads", [b"k0", b"k2"]) == {b"k0": b"v0", b"k2": b"v2"}
        assert worker.poll(100, 0.1) == []


def test_state_and_outputs_without_input_can_be_committed(log, closing):
    worker = closing(log.worker("g", [HITS], ALL))
    worker.emit(2, "visits", [(b"k", b"by a timer")])
    worker.state(1).put_many("heads", [(b"a", b"1")])
    worker.commit([])
    worker.rollback()
    assert values_of(log, "visits") == {2: [b"by a timer"]}
    assert worker.state(1).get_many("heads", [b"a"]) == {b"a": b"1"}


def test_outputs_follow_the_order_of_emits_and_commits(log, closing):
    worker = closing(log.worker("g", [HITS], ALL))
    for unit in range(3):
        worker.emit(0, "visits", [(b"", b"%d.0" % unit), (b"", b"%d.1" % unit)])
        worker.emit(0, "visits", [(b"", b"%d.2" % unit)])
        worker.commit([])
    assert values_of(log, "visits") == {0: [b"%d.%d" % (unit, n) for unit in range(3) for n in range(3)]}


def test_keyed_outputs_reach_the_worker_that_owns_the_key(log, closing):
    """Whoever emits it, a message comes to the owner of its key's partition, with the key, in order."""
    sources = closing(log.worker("sources", [HITS], ALL))
    owners = [closing(log.worker("owners", ["links"], [partition])) for partition in ALL]
    keys = [0, 1, 2**64 - 1, *(n * 7919 for n in range(40))]
    for source in ALL:
        sources.emit_keyed(source, "links", [(key, b"%d:%d" % (source, key)) for key in keys])
    sources.commit([])
    for partition, owner in enumerate(owners):
        mine = [key for key in keys if partition_of(key, 4) == partition]
        _, batches = take(owner, 4 * len(mine))
        assert {batch.home for batch in batches} <= {partition}
        received = [(m.key, m.value) for batch in batches for m in batch.messages]
        for source in ALL:
            of_source = [item for item in received if item[1].startswith(b"%d:" % source)]
            assert of_source == [(key.to_bytes(8, "big"), b"%d:%d" % (source, key)) for key in mine]
        owner.commit(last_of_each(batches))
        assert owner.poll(10, 0.05) == []
    assert sum(log.lag("owners").values()) == 0


def test_a_worker_may_consume_what_its_group_emits(log, appender, closing):
    appender.append(entries(1, partition=2))
    worker = closing(log.worker("g", [HITS, "links"], ALL))
    _, batches = take(worker, 1)
    worker.emit_keyed(2, "links", [(99, b"link")])
    worker.commit(batches)
    values, batches = take(worker, 1)
    assert list(values.values()) == [[b"link"]]
    assert batches[0].home == partition_of(99, 4)


def test_inputs_emitted_by_another_group_come_by_partition(log, closing):
    first = closing(log.worker("first", [HITS], ALL))
    second = closing(log.worker("second", ["visits"], [3]))
    first.emit(3, "visits", [(b"k", b"v")])
    first.emit(1, "visits", [(b"k", b"not mine")])
    first.commit([])
    values, _ = take(second, 1)
    assert values == {("visits", 3): [b"v"]}


# Ownership


def test_a_partition_of_a_group_has_one_owner(log_backend, log, closing):
    closing(log.worker("g", [HITS], [0, 1]))
    said = log_backend.run(
        """
        from stream.protocol import LogInUseError
        log.worker("g", ["hits"], [2, 3]).close()
        log.worker("other", ["hits"], [0, 1]).close()
        try:
            log.worker("g", ["hits"], [1, 2])
        except LogInUseError as error:
            print("refused:", error)
        log.worker("g", ["hits"], [2]).close()
        """
    )
    assert said.startswith("refused: ")


def test_partitions_move_between_owners_with_state_and_offsets(log, appender, closing):
    appender.append([*entries(3, 0), *entries(3, 1)])
    first = log.worker("g", [HITS], [0, 1])
    _, batches = take(first, 6)
    for batch in batches:
        first.state(batch.home).put_many("heads", [(b"owner", b"%d" % batch.home)])
    first.commit(last_of_each(batches))
    first.close()
    appender.append([*entries(1, 0, start=3), *entries(1, 1, start=3)])
    for partition in (1, 0):
        worker = closing(log.worker("g", [HITS], [partition]))
        assert worker.state(partition).get_many("heads", [b"owner"]) == {b"owner": b"%d" % partition}
        assert take(worker, 1)[0] == {(HITS, partition): [b"v3"]}


def test_the_partitions_of_a_killed_process_can_be_owned_at_once(log_backend, log, closing):
    log_backend.run('worker = log.worker("g", ["hits"], range(4)); os.kill(os.getpid(), 9)')
    closing(log.worker("g", [HITS], ALL))


def test_groups_have_their_own_offsets(log, appender, closing):
    appender.append(entries(2))
    first, second = closing(log.worker("a", [HITS], ALL)), closing(log.worker("b", [HITS], ALL))
    _, batches = take(first, 2)
    first.commit(last_of_each(batches))
    assert take(second, 2)[0] == {(HITS, 0): [b"v0", b"v1"]}
    assert log.lag("a")[TopicPartition(HITS, 0)] == 0
    assert log.lag("b")[TopicPartition(HITS, 0)] == 2
    assert log.committed("nobody") == {}


# State


@pytest.fixture
def state(log, closing):
    return closing(log.worker("g", [HITS], ALL)).state(0)


def test_state_reads_its_own_writes(state):
    state.put_many("heads", [(b"a", b"1"), (b"b", b"2"), (b"a", b"3")])
    assert state.get_many("heads", [b"a", b"b", b"c", b"a"]) == {b"a": b"3", b"b": b"2"}
    state.delete_many("heads", [b"a", b"unknown"])
    assert state.get_many("heads", [b"a", b"b"]) == {b"b": b"2"}


def test_state_of_a_table_that_was_never_written_is_empty(state):
    assert state.get_many("heads", [b"a"]) == {}
    assert state.scan("heads", b"", b"\xff") == []
    state.delete_many("heads", [b"a"])


def test_tables_and_partitions_do_not_share_keys(log, closing):
    worker = closing(log.worker("g", [HITS], ALL))
    worker.state(0).put_many("heads", [(b"a", b"1")])
    worker.state(0).put_many("journal", [(b"a", b"2")])
    worker.state(1).put_many("heads", [(b"a", b"3")])
    assert worker.state(0).get_many("heads", [b"a"]) == {b"a": b"1"}
    assert worker.state(0).get_many("journal", [b"a"]) == {b"a": b"2"}
    assert worker.state(1).get_many("heads", [b"a"]) == {b"a": b"3"}


def test_a_scan_is_in_key_order_from_start_up_to_but_without_end(state):
    keys = [b"", b"\x00", b"a", b"a\x00", b"ab", b"b", b"\xff", b"\xff\xff"]
    state.put_many("journal", [(key, b"v" + key) for key in reversed(keys)])
    assert [key for key, _ in state.scan("journal", b"a", b"b")] == [b"a", b"a\x00", b"ab"]
    assert state.scan("journal", b"", b"\xff\xff\xff") == [(key, b"v" + key) for key in keys]
    assert [key for key, _ in state.scan("journal", b"a", b"\xff", 2)] == [b"a", b"a\x00"]
    assert [key for key, _ in state.scan("journal", b"a", b"b", 1, reverse=True)] == [b"ab"]
    assert [key for key, _ in state.scan("journal", b"", b"b", reverse=True)] == keys[4::-1]
    assert state.scan("journal", b"b", b"a") == []


def test_a_scan_sees_committed_and_own_changes_as_one(log, closing):
    worker = closing(log.worker("g", [HITS], ALL))
    state = worker.state(0)
    state.put_many("journal", [(b"a", b"1"), (b"b", b"1"), (b"c", b"1")])
    worker.commit([])
    state.delete_many("journal", [b"b"])
    state.put_many("journal", [(b"c", b"2"), (b"d", b"2")])
    assert state.scan("journal", b"a", b"e") == [(b"a", b"1"), (b"c", b"2"), (b"d", b"2")]
    assert state.scan("journal", b"a", b"e", 2, reverse=True) == [(b"d", b"2"), (b"c", b"2")]


def test_large_numbers_of_keys_and_large_values_are_found(state):
    items = {n.to_bytes(4, "big"): b"%d" % n for n in range(3000)}
    items[b"large"] = b"x" * 300_000
    state.put_many("heads", items.items())
    assert state.get_many("heads", list(items)) == items


# Retention, epoch, partitions
