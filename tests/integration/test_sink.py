"""From the log into real ClickHouse tables: nothing lost, nothing twice, bad rows set aside."""

import os
import tempfile
import threading
import time
from pathlib import Path

import msgspec
import pytest

from schemas.hit import Location, encode_hit
from schemas.rows import Visit, encode_output, encode_row
from sink.database import MERGES_NICER, Database
from sink.encoding import ROW_TABLES, SiteDay
from sink.ledger import read_ledger
from sink.loop import Sink
from sink.settings import SinkSettings
from stream.embedded import EmbeddedLog
from stream.protocol import TopicPartition
from tests.builders import NOON, a_hit
from tests.integration.sink_process import SMALL_BATCHES, emit, fill
from tests.rows import A_DAY, a_conversion, a_visit, an_action, an_item
from tests.waiting import wait_until


@pytest.fixture
def log(tmp_path: Path) -> EmbeddedLog:
    return EmbeddedLog(tmp_path / "log", partitions=2)


def test_every_field_of_a_row_arrives_with_its_value(log: EmbeddedLog, database: Database) -> None:
    visit = a_visit(
        2**63 + 5,
        owner=0xA0,
        goals=[1, 0, 1],
        plugins=["pdf", "cookie"],
        dimensions={3: "käse"},
        custom_variables={1: ("name", "value")},
        has_order_before=True,
        latitude="48.1",
        user_id="u" * 300,
    )
    emit(log, "visits", [encode_output(visit)])
    emit(log, "conversions", [encode_output(a_conversion(goal_id=-1, revenue=9.5))])
    emit(log, "conversion_items", [encode_output(an_item(categories=["a", "b"], price=3.25))])
    Sink(log, database).run_to_end()
    names = Visit.__struct_fields__

    def as_sent(name: str) -> str:
        if name == "date":
            return "toUInt16(date)"
        return f"toUnixTimestamp({name})" if name.endswith("_time") else name

    stored = database.rows(f"SELECT {', '.join(map(as_sent, names))} FROM visits FINAL")
    found = dict(zip(names, stored[0], strict=True))
    assert found == msgspec.structs.asdict(visit)
    assert database.rows("SELECT goal_id, revenue FROM conversions FINAL") == [(-1, 9.5)]
    assert database.rows("SELECT categories, price FROM conversion_items FINAL") == [(["a", "b"], 3.25)]


def test_a_later_output_of_the_same_key_wins_and_a_deleted_one_is_gone(
    log: EmbeddedLog, database: Database
) -> None:
    emit(
        log,
        "visits",
        [
            encode_output(a_visit(1, actions=1)),
            encode_output(a_visit(2)),
            encode_output(a_visit(1, actions=2)),
            encode_output(a_visit(2), is_deleted=True),
        ],
    )
    Sink(log, database).run_to_end()
    assert database.rows("SELECT visit_id, actions FROM visits FINAL") == [(1, 2)]


def test_a_row_that_no_table_takes_does_not_take_the_visit_before_it_along(
    log: EmbeddedLog, database: Database
) -> None:
    fields = msgspec.to_builtins(a_visit(1, actions=2))
    fields[Visit.__struct_fields__.index("duration")] = "long"
    emit(
        log,
        "visits",
        [encode_output(a_visit(1, actions=1)), b"\x00" + msgspec.msgpack.encode(fields)],
    )
    Sink(log, database).run_to_end()
    assert database.rows("SELECT visit_id, actions FROM visits FINAL") == [(1, 1)]
    assert database.rows("SELECT topic, step FROM dead FINAL") == [("visits", "store")]


def test_the_ledger_goes_on_when_the_clock_was_put_back(log: EmbeddedLog, database: Database) -> None:
    """Its records are told apart by when they were made."""
    fill(log, 10)
    Sink(log, database).run_to_end()
    before = read_ledger(database)
    database.command("INSERT INTO sink_offsets SELECT topic, partition, next_offset, version + 86400000000000"
                     " FROM sink_offsets FINAL")  # fmt: skip
    fill(log, 10)
    Sink(log, database).run_to_end()
    after = read_ledger(database)
    grown = [place for place, offset in after.items() if offset > before.get(place, 0)]
    assert {place.topic for place in grown} >= {"hits", "visits", "actions", "tallies"}
    database.command("OPTIMIZE TABLE sink_offsets FINAL")
    assert read_ledger(database) == after


def test_reading_the_log_again_from_its_begin_changes_nothing(log: EmbeddedLog, database: Database) -> None:
    fill(log, 100)
    Sink(log, database, SMALL_BATCHES).run_to_end()
    before = database.rows("SELECT sum(cityHash64(* EXCEPT inserted_at)), count() FROM visits FINAL")
    tallied = database.rows("SELECT sum(count) FROM tallies FINAL")
    database.command("TRUNCATE TABLE sink_offsets")
    Sink(log, database, SMALL_BATCHES).run_to_end()
    assert database.rows("SELECT sum(cityHash64(* EXCEPT inserted_at)), count() FROM visits FINAL") == before
    assert database.rows("SELECT sum(count) FROM tallies FINAL") == tallied == [(100,)]


def test_visible_positions_are_those_of_the_ledger_and_reach_the_end(
    log: EmbeddedLog, database: Database
) -> None:
    fill(log, 60)
    sink = Sink(log, database, SMALL_BATCHES)
    sink.run_to_end()
    reader = log.reader()
    for topic in ("visits", "actions", "tallies", "dead", "hits"):
        for partition, end in reader.end_offsets(topic).items():
            assert sink.visible_positions()[TopicPartition(topic, partition)] == end
    reader.close()
    ledger = database.rows(
        "SELECT topic, partition, next_offset FROM sink_offsets FINAL WHERE next_offset > 0"
    )
    assert {TopicPartition(t, p): o for t, p, o in ledger} == {
        place: offset for place, offset in sink.visible_positions().items() if offset
    }


def test_rows_that_no_table_takes_go_to_dead_and_hold_up_no_other(
    log: EmbeddedLog, database: Database
) -> None:
    good = [encode_output(an_action(n)) for n in range(1, 8)]
    wrong_type = good[0].replace(b"\xaeexample.org/pa", b"\xc4\x0e" + b"\xff" * 14)
    emit(log, "actions", [*good[:3], good[3][:-9], *good[4:], b"", b"\x07junk", wrong_type[:30]])
    sink = Sink(log, database)
    sink.run_to_end()
    assert database.rows("SELECT hit_id FROM actions FINAL ORDER BY hit_id") == [
        (1,),
        (2,),
        (3,),
        (5,),
        (6,),
        (7,),
    ]
    dead = database.rows(
        "SELECT offset, step, length(payload) FROM dead FINAL WHERE topic = 'actions' ORDER BY offset"
    )
    assert dead == [(3, "store", len(good[3]) - 9), (7, "store", 0), (8, "store", 5), (9, "store", 30)]
    assert sink.metrics.dead == {"actions": 4}


def test_a_whole_number_for_a_price_is_repaired_instead_of_refused(
    log: EmbeddedLog, database: Database
) -> None:
    emit(log, "conversion_items", [encode_output(an_item(1, price=7)), encode_output(an_item(2, price=7.5))])
    Sink(log, database).run_to_end()
    assert database.rows("SELECT hit_id, price FROM conversion_items FINAL ORDER BY hit_id") == [
        (1, 7.0),
        (2, 7.5),
    ]
    assert database.rows("SELECT count() FROM dead") == [(0,)]


def test_rows_of_an_older_and_a_newer_release_are_read(log: EmbeddedLog, database: Database) -> None:
    fields = list(msgspec.structs.astuple(a_visit(1, actions=3)))
    older = b"\x00" + msgspec.msgpack.encode(fields[:20])
    fields[Visit.__struct_fields__.index("visit_id")] = 2
    newer = b"\x00" + msgspec.msgpack.encode([*fields, "a field of tomorrow", 5])
    emit(log, "visits", [older, newer])
    Sink(log, database).run_to_end()
    assert database.rows("SELECT visit_id, actions, hits FROM visits FINAL ORDER BY visit_id") == [
        (1, 3, 0),
        (2, 3, 0),
    ]


def test_a_batch_over_ten_years_is_stored(log: EmbeddedLog, database: Database) -> None:
    actions = [an_action(n, at=NOON - n * 30 * 86400) for n in range(1, 121)]
    emit(log, "actions", [encode_output(action) for action in actions])
    Sink(log, database).run_to_end()
    assert database.rows("SELECT count(), uniq(toYYYYMM(date)) > 110 FROM actions FINAL") == [(120, True)]


def test_the_rollups_are_told_which_site_days_changed(log: EmbeddedLog, database: Database) -> None:
    told: list[set[SiteDay]] = []
    emit(log, "visits", [encode_output(a_visit(1)), encode_output(a_visit(2, site_id=300, at=NOON - 86400))])
    Sink(log, database, on_site_days=told.append).run_to_end()
    assert set().union(*told) == {SiteDay(1, A_DAY), SiteDay(300, A_DAY - 1)}


def test_raw_hits_keep_every_field(log: EmbeddedLog, database: Database) -> None:
    hit = a_hit(
        hit_id=2**50, location=Location("de", "by", "München", None, 11.5), exclusion="bot", client_hints="{}"
    )
    appender = log.appender("hits")
    appender.append([(1, b"", encode_hit(hit))])
    appender.close()
    Sink(log, database).run_to_end()
    assert database.rows(
        "SELECT hit_id, toUnixTimestamp(time), toUnixTimestamp64Milli(received_at), query, exclusion,"
        " location.city, location.latitude, location.longitude FROM hits FINAL"
    ) == [(2**50, hit.time, hit.received_at, hit.query, "bot", "München", None, 11.5)]


def test_a_tally_and_a_dead_letter_of_a_processor_are_stored_as_sent(
    log: EmbeddedLog, database: Database
) -> None:
    fill(log, 3)
    Sink(log, database).run_to_end()
    assert database.rows("SELECT outcome, sum(count) FROM tallies FINAL GROUP BY outcome") == [("stored", 3)]
    assert database.rows("SELECT hex(payload), reason, step FROM dead FINAL") == [("00FF", "because", "fold")]


def test_the_metrics_name_rows_and_lag(log: EmbeddedLog, database: Database) -> None:
    emit(log, "visits", [encode_output(a_visit(n)) for n in range(5)])
    sink = Sink(log, database)
    sink.run_to_end()
    text = sink.metrics.prometheus()
    assert 'hitstream_sink_rows_total{table="visits"} 5' in text
    assert 'hitstream_sink_lag_messages{table="visits"}' in text
    assert 'hitstream_sink_insert_seconds_bucket{le="+Inf"} 1' in text


def test_rows_that_come_all_the_time_are_stored_together_and_soon(
    log: EmbeddedLog, database: Database
) -> None:
    sink = Sink(log, database, SinkSettings(sink_flush_seconds=0.2))
    thread = threading.Thread(target=sink.run)
    began = time.monotonic()
    thread.start()
    sent = 0

    def send_until_some_are_stored() -> bool:
        nonlocal sent
        emit(log, "visits", [encode_output(a_visit(sent))])
        sent += 1
        return time.monotonic() - began > 2.0 and "visits" in sink.metrics.rows

    wait_until(send_until_some_are_stored)
    sink.stop()
    thread.join()
    took = time.monotonic() - began
    assert sink.metrics.batches["visits"] <= took / 0.2 + 1
    Sink(log, database).run_to_end()
    assert database.rows("SELECT count() FROM visits FINAL") == [(sent,)]


def test_encode_row_of_a_visit_has_the_header_that_the_sink_cuts() -> None:
    assert encode_row(a_visit()).startswith(ROW_TABLES[0].header)


def test_erased_hits_are_not_stored_when_the_log_is_read_again(log: EmbeddedLog, database: Database) -> None:
    appender = log.appender("hits")
    hits = [encode_hit(a_hit(NOON + number, hit_id=1000 + number)) for number in range(4)]
    appender.append([(0, b"", value) for value in hits])
    appender.erase({0: [3]})
    appender.close()
    Sink(log, database, is_erased=lambda partition, offset: (partition, offset) == (0, 1)).run_to_end()
    assert database.rows("SELECT hit_id FROM hits FINAL ORDER BY hit_id") == [(1000,), (1002,)]
    assert database.rows("SELECT count() FROM dead") == [(0,)]


@pytest.mark.skipif(not hasattr(os, "memfd_create"), reason="rows go through a file where there is no memfd")
def test_rows_on_their_way_are_in_no_file_that_a_kill_would_leave(
    log: EmbeddedLog, database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not database.place.is_embedded:
        pytest.skip("a server gets them in the request")
    nowhere = tmp_path / "nowhere"
    monkeypatch.setattr(tempfile, "tempdir", str(nowhere))
    emit(log, "visits", [encode_output(a_visit(n)) for n in range(5)])
    Sink(log, database).run_to_end()
    assert database.rows("SELECT count() FROM visits FINAL") == [(5,)]
    assert not nowhere.exists()


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="threads are found in /proc")
def test_merges_give_way(database: Database) -> None:
    if not database.place.is_embedded:
        pytest.skip("a server's own threads")
    names = {
        int(thread.name): (thread / "comm").read_text().strip()
        for thread in Path("/proc/self/task").glob("[0-9]*")
    }
    nice = {thread: os.getpriority(os.PRIO_PROCESS, thread) for thread in names}
    merging = {nice[thread] for thread, name in names.items() if name == "MergeMutate"}
    assert merging == {min(19, nice[threading.get_native_id()] + MERGES_NICER)}
