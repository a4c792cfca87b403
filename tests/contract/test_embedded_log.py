"""What only the embedded log promises: its files, their bounds, and what happens when the disk fails."""

import contextlib
import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from datetime import timedelta
from pathlib import Path

import pytest

from stream import frames, groups
from stream.embedded import EmbeddedLimits, EmbeddedLog
from stream.protocol import LogError, LogInUseError, LogMismatchError, TopicPartition
from tests.contract.backends import Backend
from tests.waiting import PATIENCE_SECONDS

HITS = "hits"
ALL = range(4)


@pytest.fixture
def directory(tmp_path):
    return tmp_path / "log"


@pytest.fixture
def open_log(directory):
    """A log with segments of 64 KiB that may be removed as soon as nobody needs them."""

    def open_(**changes):
        values = {"segment_bytes": 64 << 10, "hits_retention": timedelta(0)} | changes
        return EmbeddedLog(directory, 4, EmbeddedLimits(**values))

    return open_


def segments(log):
    return sorted(path.name for path in (log.root / "topics" / HITS).glob("*.sqlite"))


def wal_bytes(log):
    return sum(path.stat().st_size for path in log.root.rglob("*-wal"))


def append_kib(appender, kib, partition=0):
    for _ in range(kib // 4):
        appender.append([(partition, b"k", os.urandom(4096))])


def read_all(log, topic, partition):
    reader = log.reader()
    messages, offset = [], 0
    while (batch := reader.read(topic, partition, offset, 100)) is not None:
        messages += batch.messages
        offset = batch.next_offset
    reader.close()
    return messages


def test_segments_roll_by_size_and_reads_go_across_them(open_log, closing):
    log = open_log()
    appender = closing(log.appender(HITS))
    reader = closing(log.reader())
    for n in range(100):
        appender.append([(n % 4, b"%d" % n, b"x" * 4096)])
        assert sum(reader.end_offsets(HITS).values()) == n + 1
    assert len(segments(log)) >= 5
    for partition in ALL:
        messages = read_all(log, HITS, partition)
        assert [message.offset for message in messages] == list(range(25))
        assert [int(message.key) for message in messages] == list(range(partition, 100, 4))
        assert [m.offset for m in reader.read(HITS, partition, 7, 18).messages] == list(range(7, 25))


def test_a_segment_rolls_by_age_but_not_while_it_is_empty(open_log, closing):
    log = open_log(segment_age=timedelta(0))
    appender = closing(log.appender(HITS))
    appender.append([(0, b"", b"1")])
    assert len(segments(log)) == 1
    appender.append([(0, b"", b"2")])
    assert len(segments(log)) == 2
    assert [message.value for message in read_all(log, HITS, 0)] == [b"1", b"2"]


def test_segments_go_when_they_are_old_and_every_consumer_has_released_them(open_log, closing):
    log = open_log()
    appender = closing(log.appender(HITS))
    append_kib(appender, 400)
    all_of_them = segments(log)
    appender.remove_expired()
    assert segments(log) == all_of_them, "nobody has read them"
    worker = closing(log.worker("g", [HITS], ALL))
    log.release("sink", {TopicPartition(HITS, partition): 1000 for partition in ALL})
    appender.remove_expired()
    assert segments(log) == all_of_them, "the group has not read them"
    while batches := worker.poll(1000, 0):
        worker.commit(batches)
    log.release("other", {TopicPartition(HITS, 0): 50})
    appender.remove_expired()
    reader = closing(log.reader())
    first = reader.read(HITS, 0, 0, 1).messages[0].offset
    assert 0 < first <= 50, "only segments without anything from offset 50 on"
    log.forget_consumer("other")
    appender.remove_expired()
    assert len(segments(log)) == 1
    assert reader.read(HITS, 0, 0, 1).messages[0].offset > first
    assert not list((log.root / "topics" / HITS).glob(all_of_them[0] + "*"))


def test_segments_younger_than_the_retention_stay(open_log, closing):
    log = open_log(hits_retention=timedelta(hours=1))
    appender = closing(log.appender(HITS))
    append_kib(appender, 200)
    before = segments(log)
    log.release("sink", {TopicPartition(HITS, partition): 1000 for partition in ALL})
    appender.remove_expired()
    assert segments(log) == before


def test_released_outputs_are_deleted_and_offsets_go_on(open_log, closing, monkeypatch):
    monkeypatch.setattr(groups, "RELEASE_INTERVAL_S", 0.0)
    log = open_log()
    worker = closing(log.worker("g", [HITS], ALL))
    log.release("sink", {TopicPartition("visits", 0): 0})
    sizes = []
    for n in range(60):
        worker.emit(0, "visits", [(b"", b"x" * 50_000)] * 4)
        worker.commit([])
        log.release("sink", {TopicPartition("visits", 0): 4 * n + 2})
        if n > 10:
            sizes.append((log.root / "groups" / "g" / "p0.sqlite").stat().st_size)
    reader = closing(log.reader())
    assert reader.read("visits", 0, 0, 1).messages[0].offset >= 4 * 57
    assert reader.end_offsets("visits")[0] == 240
    assert max(sizes) < 4 << 20, "the space of deleted outputs is used again"


def test_split_outputs_are_kept_until_the_consuming_group_has_committed_them(open_log, closing, monkeypatch):
    monkeypatch.setattr(groups, "RELEASE_INTERVAL_S", 0.0)
    log = open_log()
    source = closing(log.worker("source", [HITS], ALL))
    target = closing(log.worker("target", ["links"], ALL))
    for n in range(50):
        for partition in ALL:
            source.emit_keyed(partition, "links", [(key, b"%d" % n) for key in range(8)])
        source.commit([])
    received = 0
    while batches := target.poll(100, 0):
        received += sum(len(batch.messages) for batch in batches)
        target.commit(batches)
    assert received == 50 * 4 * 8
    for _ in range(3):
        for partition in ALL:
            source.emit_keyed(partition, "links", [(key, b"last") for key in range(8)])
        source.commit([])
    assert len(read_all(log, "links", target.poll(1, 1)[0].partition)) < 20


def test_the_wal_stays_small_while_a_consumer_pauses_and_a_processor_commits(open_log, closing):
    """The paused consumer has read and holds its connections open; the log's WALs stay far below 256 MiB."""
    log = open_log(segment_bytes=64 << 20)
    worker = closing(log.worker("g", [HITS], ALL))
    paused = closing(log.reader())
    largest = 0
    for n in range(80):
        for partition in ALL:
            worker.emit(partition, "visits", [(b"", os.urandom(1000))] * 500)
            worker.state(partition).put_many("heads", [(os.urandom(8), os.urandom(300)) for _ in range(200)])
        worker.commit([])
        if n == 0:
            assert paused.read("visits", 0, 0, 10) is not None
        largest = max(largest, wal_bytes(log))
    assert len(read_all(log, "visits", 3)) == 80 * 500
    written = 80 * 4 * 500 * 1000
    assert written > 150e6
    assert largest < 110 << 20


def test_the_wal_of_small_appends_stays_small_and_its_segment_is_not_rolled(open_log, closing):
    """A message per append writes pages of many times its size."""
    log = open_log(segment_bytes=64 << 20, segment_wal_bytes=4 << 20)
    appender = closing(log.appender(HITS))
    reader = closing(log.reader())
    largest = 0
    for n in range(1500):
        appender.append([(n % 4, b"key", b"x" * 500)])
        assert sum(reader.end_offsets(HITS).values()) == n + 1
        largest = max(largest, wal_bytes(log))
    assert largest < 6 << 20
    assert len(segments(log)) < 4
    assert [len(read_all(log, HITS, partition)) for partition in ALL] == [375] * 4


def test_a_segment_whose_wal_a_reader_pins_is_rolled(open_log, closing):
    log = open_log(segment_bytes=64 << 20, segment_wal_bytes=2 << 20)
    appender = closing(log.appender(HITS))
    appender.append([(0, b"", b"1")])
    pinning = sqlite3.connect(next((log.root / "topics" / HITS).glob("*.sqlite")))
    pinning.execute("BEGIN")
    pinning.execute("SELECT count(*) FROM batch").fetchone()
    for n in range(600):
        appender.append([(n % 4, b"key", b"x" * 500)])
    assert len(segments(log)) > 2
    assert max(path.stat().st_size for path in log.root.rglob("*-wal")) < 3 << 20
    pinning.close()


def test_a_reader_sees_each_append_of_a_concurrent_writer_in_order(open_log, closing):
    log = open_log()
    appender = closing(log.appender(HITS))
    count = 2000

    def write():
        for n in range(0, count, 10):
            appender.append([(0, b"", b"%d" % m) for m in range(n, n + 10)])

    thread = threading.Thread(target=write)
    thread.start()
    reader = closing(log.reader())
    seen, offset = [], 0
    deadline = time.monotonic() + PATIENCE_SECONDS
    while len(seen) < count and time.monotonic() < deadline:
        batch = reader.read(HITS, 0, offset, 64)
        if batch is not None:
            seen += [int(message.value) for message in batch.messages]
            offset = batch.next_offset
    thread.join()
    assert seen == list(range(count))


@pytest.mark.parametrize(("point", "partitions"), [("log.committing:2", {0}), ("log.committed:3", {0, 1, 2})])
def test_a_crash_between_partitions_leaves_each_of_them_whole(
    open_log, directory, closing, point, partitions
):
    log = open_log()
    appender = closing(log.appender(HITS))
    appender.append([(partition, b"k", b"v") for partition in ALL])
    Backend(f"embedded:{directory}").run(
        f"""
        os.environ["HITSTREAM_CRASH_AT"] = {point!r}
        import importlib, stream.faults, stream.groups
        importlib.reload(stream.faults)
        stream.groups.crash_point = stream.faults.crash_point
        worker = log.worker("g", ["hits"], range(4))
        batches = worker.poll(100, 5)
        for batch in batches:
            worker.state(batch.home).put_many("heads", [(b"k", b"new")])
            worker.emit(batch.home, "visits", [(b"k", b"out")])
        worker.commit(batches)
        print("not killed")
        """
    )
    reader = closing(log.reader())
    worker = closing(log.worker("g", [HITS], ALL))
    again = {batch.partition for batch in worker.poll(100, 1)}
    for partition in ALL:
        whole = partition in partitions
        assert (worker.state(partition).get_many("heads", [b"k"]) == {b"k": b"new"}) == whole
        assert reader.end_offsets("visits")[partition] == int(whole)
        assert (partition in again) != whole


@pytest.mark.parametrize("point", ["log.appending", "log.appended"])
def test_a_crash_in_an_append_leaves_all_or_nothing_of_it(open_log, directory, closing, point):
    log = open_log()
    first = log.appender(HITS)
    first.append([(0, b"", b"before")])
    first.close()
    Backend(f"embedded:{directory}").run(
        f"""
        os.environ["HITSTREAM_CRASH_AT"] = {point!r}
        import importlib, stream.faults, stream.segments
        importlib.reload(stream.faults)
        stream.segments.crash_point = stream.faults.crash_point
        log.appender("hits").append([(partition, b"", b"new") for partition in range(4)])
        print("not killed")
        """
    )
    appender = closing(log.appender(HITS))
    assert appender.append([(0, b"", b"after")]) == [1 if point == "log.appending" else 2]
    found = [[message.value for message in read_all(log, HITS, partition)] for partition in ALL]
    new = [] if point == "log.appending" else [b"new"]
    assert found == [[b"before", *new, b"after"], new, new, new]


def open_files():
    """Names of what this process has open; of unlinked files with "(deleted)"."""
    for path in list(Path("/proc/self/fd").iterdir()):
        with contextlib.suppress(FileNotFoundError):  # the listing itself
            yield os.readlink(path)


@pytest.mark.parametrize("point", ["log.appending", "log.appended"])
def test_after_a_crash_of_one_appender_the_others_go_on(open_log, directory, closing, point):
    log = open_log()
    appender = closing(log.appender(HITS))
    assert appender.append([(0, b"", b"before")]) == [0]
    crashed = Backend(f"embedded:{directory}").start(
        f"""
        os.environ["HITSTREAM_CRASH_AT"] = {point!r}
        import importlib, stream.faults, stream.segments
        importlib.reload(stream.faults)
        stream.segments.crash_point = stream.faults.crash_point
        log.appender("hits", number=1).append([(partition, b"", b"new") for partition in range(4)])
        """
    )
    crashed.communicate(timeout=PATIENCE_SECONDS)
    assert crashed.returncode == -signal.SIGKILL
    assert appender.append([(0, b"", b"after")]) == [1 if point == "log.appending" else 2]
    new = [] if point == "log.appending" else [b"new"]
    found = [[message.value for message in read_all(log, HITS, partition)] for partition in ALL]
    assert found == [[b"before", *new, b"after"], new, new, new]


def test_a_segment_that_a_crash_left_with_a_wal_is_erased_while_it_is_read(open_log, directory, closing):
    log = open_log(hits_retention=timedelta(days=1))
    backend = Backend(f"embedded:{directory}")
    crashed = backend.start(
        """
        appender = log.appender("hits")
        for n in range(80):
            appender.append([(0, b"", b"%03d" % n + b"x" * 4096)])
        print("written", flush=True)
        sys.stdin.readline()
        """
    )
    assert crashed.stdout.readline() == "written\n"
    reader = closing(log.reader())
    assert len(reader.read(HITS, 0, 0, 1000).messages) == 80
    crashed.kill()
    crashed.communicate(timeout=PATIENCE_SECONDS)
    # As when it dies between a new segment and the copying of the one before.
    (first, *_) = sorted((log.root / "topics" / HITS).glob("*.sqlite"))
    left = sqlite3.connect(first)
    left.execute("PRAGMA wal_autocheckpoint = 0")
    left.execute("DELETE FROM about")
    left.execute("INSERT INTO about VALUES (1)")
    left.commit()
    other = closing(log.reader())
    assert wal_bytes(log)
    other.read(HITS, 0, 0, 1)
    appender = closing(log.appender(HITS))
    assert appender.erase({0: [3]})
    assert reader.read(HITS, 0, 3, 1).messages[0].value == b""
    left.close()


def test_appenders_follow_each_other_into_new_segments(open_log, closing):
    log = open_log(hits_retention=timedelta(days=1))
    appenders = [closing(log.appender(HITS, number=number)) for number in range(3)]
    for n in range(90):
        # Each has several turns one after the other, so that some roll what another has open.
        offset = appenders[n // 5 % 3].append([(1, b"", b"%03d" % n + b"x" * 4096)])
        assert offset == [n]
    assert len(segments(log)) >= 4
    assert [message.value[:3] for message in read_all(log, HITS, 1)] == [b"%03d" % n for n in range(90)]


def test_what_one_appender_erases_no_other_keeps_or_brings_back(open_log, closing):
    log = open_log(hits_retention=timedelta(days=1))
    first, second = (closing(log.appender(HITS, number=number)) for number in range(2))
    for n in range(30):
        (first, second)[n % 2].append([(0, b"", b"secret%03d" % n + b"x" * 4096)])
    # As two ingest processes do that follow the same facts.
    assert first.erase({0: [3, 28]})
    assert second.erase({0: [3, 28]})
    assert not [name for name in open_files() if str(log.root) in name and name.endswith("(deleted)")]
    assert second.erase({0: [29]})
    assert second.append([(0, b"", b"after")]) == [30]
    assert first.append([(0, b"", b"and after")]) == [31]
    values = [message.value[:9] for message in read_all(log, HITS, 0)]
    expected = [b"" if n in (3, 28, 29) else b"secret%03d" % n for n in range(30)]
    assert values == [*expected, b"after", b"and after"]


def test_appenders_that_are_killed_at_any_moment_lose_and_repeat_nothing(open_log, directory):
    """Of several processes, beside rolled segments, erasures and a reader."""
    open_log()
    backend = Backend(f"embedded:{directory}")

    def start(number, first):
        return backend.start(
            f"""
            appender = log.appender("hits", number={number})
            for n in range({first}, 1_000_000):
                values = [b"%d %d %d" % ({number}, n, at) + b"x" * 3000 for at in range(4)]
                offsets = appender.append([(at % 2, b"", value) for at, value in enumerate(values)])
                if n % 20 == {number}:
                    appender.erase({{0: [offsets[0]]}})
                print(n, *offsets, flush=True)
            """
        )

    acknowledged = {}
    erased = set()
    rng = random.Random(5)
    running = {number: start(number, 0) for number in range(3)}
    for _ in range(6):
        number = rng.choice(list(running))
        last = collect(running.pop(number), number, rng.randrange(20, 80), acknowledged, erased)
        # What was under way may be there or not: the next process goes on after it.
        running[number] = start(number, last + 2)
    for number, process in running.items():
        collect(process, number, 20, acknowledged, erased)
    assert {number for number, _ in acknowledged} == {0, 1, 2}

    log = open_log()
    assert len(segments(log)) > 3
    for partition in (0, 1):
        found = read_all(log, HITS, partition)
        assert [message.offset for message in found] == list(range(len(found)))
        names = [message.value.partition(b"x")[0] for message in found]
        written = [name for name in names if name]
        assert len(set(written)) == len(written), "nothing twice"
        for (number, n), offsets in acknowledged.items():
            for at in range(partition, 4, 2):
                expected = [b"%d %d %d" % (number, n, at)]
                if (partition, offsets[at]) in erased:
                    expected = [b""]
                assert names[offsets[at]] in expected


def collect(process, number, appends, acknowledged, erased):
    """Kills a process after so many appends and takes in what it had said; returns the number of the last."""
    said = [process.stdout.readline() for _ in range(appends)]
    process.kill()
    # Not communicate, which passes over what readline has read ahead.
    said += process.stdout.readlines()
    errors = process.stderr.read()
    process.wait()
    assert "Traceback" not in errors, errors
    last = -1
    for line in said:
        if line.endswith("\n"):
            last, *offsets = map(int, line.split())
            acknowledged[number, last] = offsets
            if last % 20 == number:
                erased.add((0, offsets[0]))
    return last


def test_a_trimmed_segment_is_no_longer_written_to_by_others(open_log, closing):
    log = open_log()
    first, second = (closing(log.appender(HITS, number=number)) for number in range(2))
    first.append([(0, b"", b"old")])
    second.append([(0, b"", b"old too")])
    first.trim({0: 2})
    assert second.append([(0, b"", b"new")]) == [2]
    assert [message.value for message in read_all(log, HITS, 0)] == [b"new"]


def test_a_newer_format_is_refused_with_a_way_out(open_log, directory):
    open_log()
    meta = json.loads((directory / "meta.json").read_text())
    (directory / "meta.json").write_text(json.dumps(meta | {"format": 99}))
    with pytest.raises(LogMismatchError, match="format 99"):
        open_log()


def test_a_directory_that_cannot_be_used_is_a_log_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(LogError, match="file"):
        EmbeddedLog(tmp_path / "file")


def test_a_topic_has_an_appender_or_a_producing_group(open_log, closing):
    log = open_log()
    closing(log.appender(HITS))
    worker = closing(log.worker("g", [HITS], ALL))
    other = closing(log.worker("other", [HITS], ALL))
    with pytest.raises(ValueError, match="appender"):
        worker.emit(0, HITS, [(b"", b"")])
    worker.emit(0, "visits", [(b"", b"")])
    with pytest.raises(ValueError, match="group g"):
        other.emit(0, "visits", [(b"", b"")])
    with pytest.raises(ValueError, match="emitted by a group"):
        log.appender("visits")
    with pytest.raises(ValueError, match="emit_keyed"):
        worker.emit(0, "links", [(b"", b"")])
    with pytest.raises(ValueError, match="use emit"):
        worker.emit_keyed(0, "visits", [(1, b"")])


def test_the_appender_in_use_names_the_process_that_has_it(open_log, closing):
    log = open_log()
    closing(log.appender(HITS))
    with pytest.raises(LogInUseError, match=str(os.getpid())):
        log.appender(HITS)


def test_reset_leaves_old_files_for_later(open_log, closing):
    log = open_log()
    appender = closing(log.appender(HITS))
    append_kib(appender, 2000)
    files = list(log.root.rglob("*"))
    assert log.reset() == 2
    assert list(log.root.rglob("*")) == files
    fresh = open_log()
    assert (fresh.epoch, read_all(fresh, HITS, 0)) == (2, [])
    fresh.remove_old_epochs()
    assert sorted(path.name for path in log.directory.iterdir() if path.is_dir()) == ["2"]
    assert fresh.reset() == 3


def test_an_idle_worker_costs_little(open_log, closing):
    log = open_log()
    closing(log.appender(HITS)).append([(0, b"", b"x")])
    worker = closing(log.worker("g", [HITS, "links", "order_verdicts"], ALL))
    while batches := worker.poll(10, 0):
        worker.commit(batches)
    worker.poll(10, 0.3)
    began = time.process_time()
    worker.poll(10, 2)
    assert time.process_time() - began < 0.04, "2 % of a core"


# A full disk


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 4 MiB."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(place)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("mounting a small file system needs root")
    yield place
    subprocess.run(["umount", "--lazy", str(place)], check=True)


def fill(place: Path) -> Path:
    ballast = place / "ballast"
    with open(ballast, "wb", buffering=0) as file:
        try:
            while file.write(b"x" * 4096):
                pass
        except OSError:
            pass
    return ballast


def test_a_full_disk_refuses_appends_whole_and_takes_them_again_later(small_disk, closing):
    log = EmbeddedLog(small_disk / "log", 4)
    appender = closing(log.appender(HITS))
    appender.append([(partition, b"", b"before") for partition in ALL])
    ballast = fill(small_disk)
    for _ in range(3):
        with pytest.raises(LogError, match="full"):
            appender.append([(partition, b"", os.urandom(20_000)) for partition in ALL])
        assert [len(read_all(log, HITS, partition)) for partition in ALL] == [1, 1, 1, 1]
    ballast.unlink()
    assert appender.append([(partition, b"", b"after") for partition in ALL]) == [1, 1, 1, 1]
    assert [m.value for m in read_all(log, HITS, 2)] == [b"before", b"after"]


def test_a_full_disk_fails_a_commit_and_the_worker_goes_on_later(small_disk, closing):
    log = EmbeddedLog(small_disk / "log", 4)
    appender = closing(log.appender(HITS))
    appender.append([(1, b"", b"input")])
    worker = closing(log.worker("g", [HITS], [1]))
    ballast = fill(small_disk)
    batches = worker.poll(10, 1)
    with pytest.raises(LogError):  # noqa: PT012 - whichever step is the first that doesn't fit
        worker.state(1).put_many("heads", [(b"%d" % n, os.urandom(1000)) for n in range(100)])
        worker.emit(1, "visits", [(b"", os.urandom(20_000))])
        worker.commit(batches)
    worker.rollback()
    assert read_all(log, "visits", 1) == []
    assert worker.state(1).scan("heads", b"", b"\xff") == []
    ballast.unlink()
    batches = worker.poll(10, 1)
    assert [message.value for batch in batches for message in batch.messages] == [b"input"]
    worker.emit(1, "visits", [(b"", b"out")])
    worker.commit(batches)
    assert [message.value for message in read_all(log, "visits", 1)] == [b"out"]


def test_a_full_disk_that_stops_a_segment_from_rolling_loses_nothing(small_disk, closing):
    log = EmbeddedLog(small_disk / "log", 4, EmbeddedLimits(segment_bytes=100_000))
    appender = closing(log.appender(HITS))
    accepted = 0
    with pytest.raises(LogError):  # noqa: PT012 - whichever append is the first that doesn't fit
        for _ in range(1000):
            appender.append([(0, b"%d" % accepted, os.urandom(10_000))])
            accepted += 1
    assert accepted > 20
    assert [int(m.key) for m in read_all(log, HITS, 0)] == list(range(accepted))
    subprocess.run(["mount", "-o", "remount,size=8m", str(small_disk)], check=True)
    assert appender.append([(0, b"%d" % accepted, os.urandom(10_000))]) == [accepted]
    assert [int(m.key) for m in read_all(log, HITS, 0)] == list(range(accepted + 1))


def test_erased_messages_leave_the_files_and_the_rest_is_as_before(open_log, closing):
    log = open_log(hits_retention=timedelta(days=1))
    appender = closing(log.appender(HITS))
    reader = closing(log.reader())
    for number in range(60):
        appender.append([(p, b"key%d" % number, b"secret%03d" % number + b"x" * 2048) for p in ALL])
    assert len(segments(log)) > 3
    before = {p: read_all(log, HITS, p) for p in ALL}
    assert reader.read(HITS, 1, 59, 1).messages[0].value.startswith(b"secret059")
    # In the first segment, in one in the middle and in the one that is being written to.
    assert appender.erase({0: [0, 31], 1: [59], 3: [5000]})
    for partition in ALL:
        gone = {0: {0, 31}, 1: {59}}.get(partition, set())
        expected = [m._replace(key=b"", value=b"") if m.offset in gone else m for m in before[partition]]
        assert read_all(log, HITS, partition) == expected
    assert reader.read(HITS, 1, 59, 1).messages[0].value == b""
    assert reader.end_offsets(HITS) == dict.fromkeys(ALL, 60)
    assert appender.append([(1, b"k", b"after")]) == [60]
    for place, text in (((0, 0), b"secret000"), ((0, 31), b"secret031"), ((1, 59), b"secret059")):
        kept = sum(
            path.read_bytes().count(text) for path in (log.root / "topics" / HITS).iterdir() if path.is_file()
        )
        assert kept == 3, place  # of the other partitions
    assert appender.erase({0: [0, 31]})


def test_a_kill_while_a_segment_is_rewritten_leaves_the_old_or_the_new_one(directory, open_log):
    log = open_log(hits_retention=timedelta(days=1))
    appender = log.appender(HITS)
    for number in range(40):
        appender.append([(0, b"", b"secret%03d" % number + b"x" * 4096)])
    appender.close()
    log.close()
    for point in ("log.erasing", "log.erased"):
        done = subprocess.run(
            [sys.executable, "-c", (
                "import sys; from pathlib import Path; from stream.embedded import EmbeddedLog;"
                f"EmbeddedLog(Path({str(directory)!r})).appender('hits').erase({{0: [3]}})"
            )],
            cwd=Path(__file__).parents[2], env={**os.environ, "HITSTREAM_CRASH_AT": point},
            capture_output=True, check=False,
        )  # fmt: skip
        assert done.returncode != 0, point
        reopened = open_log(hits_retention=timedelta(days=1))
        values = [message.value for message in read_all(reopened, HITS, 0)]
        assert [value[:9] for value in values[:3]] == [b"secret000", b"secret001", b"secret002"]
        assert values[3] == b"" if point == "log.erased" else values[3][:9] == b"secret003"
        assert len(values) == 40
        reopened.close()


def test_a_scrubbed_partition_holds_nothing_of_what_was_deleted_and_released(open_log, closing):
    log = open_log()
    worker = closing(log.worker("g", [HITS], [0]))
    closing(log.appender(HITS)).append([(0, b"", b"hit")])
    batches = worker.poll(10, 1.0)
    state = worker.state(0)
    state.put_many("heads", [(b"a", b"canary-state"), (b"b", b"kept-state")])
    worker.emit(0, "visits", [(b"", b"canary-output" * 100)])
    worker.commit(batches)
    state.delete_many("heads", [b"a"])
    worker.commit([])

    def found(text: bytes) -> bool:
        return any(text in path.read_bytes() for path in log.root.rglob("p0.sqlite*"))

    assert found(b"canary-state")
    assert not worker.scrub(0)  # nobody has read the output
    log.release("sink", {TopicPartition("visits", 0): 1})
    assert worker.scrub(0)
    assert not found(b"canary")
    assert found(b"kept-state")
    assert state.get_many("heads", [b"a", b"b"]) == {b"b": b"kept-state"}
    assert read_all(log, "visits", 0) == []
    assert closing(log.reader()).end_offsets("visits")[0] == 1


def test_long_messages_are_read_in_parts_and_none_is_left_out(tmp_path, closing):
    limits = EmbeddedLimits(segment_bytes=1 << 20, hits_retention=timedelta(0))
    log = closing(EmbeddedLog(tmp_path / "log", 1, limits))
    appender = closing(log.appender("hits"))
    length = frames.MAX_READ_BYTES // 20
    for number in range(0, 60, 3):
        appender.append([(0, b"", bytes([number + at]) * length) for at in range(3)])
    reader = closing(log.reader())
    offset, seen, reads = 0, [], 0
    while (batch := reader.read("hits", 0, offset, 1000)) is not None:
        seen += [message.value[0] for message in batch.messages]
        offset = batch.next_offset
        reads += 1
    assert seen == list(range(60))
    assert 3 <= reads <= 4
