"""The sink and a ClickHouse server: over HTTP, with faults, in several processes."""

import threading
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Literal

import pytest
from clickhouse_connect.driver.exceptions import ClickHouseError

from hitstream.settings import StageSettings
from hitstream.sink_process import NamedShare, SinkProcess
from schemas.settings import SettingsError
from sink.cluster import SETTINGS, clustered
from sink.database import Database, database_name, server_place
from sink.encoding import TABLES
from sink.ledger import Ledger, read_ledger
from sink.loop import Sink
from sink.migrations import catalog_statements, migrations, statements_of, view_statements
from sink.settings import SinkSettings
from stream.embedded import EmbeddedLog
from stream.protocol import TopicPartition
from tests.clickhouse_http import ClickHouseFixture, Fault, running_clickhouse
from tests.integration.sink_process import SMALL_BATCHES, contents, fill
from tests.waiting import wait_until

HITS = 600
"""25 days of September and October."""
GIVES_UP_SECONDS = 5
"""More than a request takes on a busy machine."""
_epochs = count(1)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClickHouseFixture]:
    with running_clickhouse(tmp_path_factory.mktemp("server") / "clickhouse") as started:
        yield started


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedLog]:
    opened = EmbeddedLog(tmp_path_factory.mktemp("log"), partitions=3)
    fill(opened, HITS)
    yield opened
    opened.close()


def opened(server: ClickHouseFixture, **options: object) -> Database:
    """An empty database that gives up on a request after some seconds."""
    options.setdefault("send_receive_timeout", GIVES_UP_SECONDS)
    place = server_place(server.dsn("web", **options))
    name = database_name(next(_epochs), place.views)
    # Making tables takes longer on a busy machine, and no fault is meant for it.
    patient = Database(server_place(server.dsn("web")), name)
    patient.open()
    patient.close()
    return Database(place, name)


def stored(server: ClickHouseFixture, database: Database) -> dict[str, list[str]]:
    """The contents of the database, for which the server may take its time."""
    patient = Database(server_place(server.dsn("web")), database.name)
    found = contents(patient)
    patient.close()
    return found


@pytest.fixture(scope="module")
def undisturbed(server: ClickHouseFixture, log: EmbeddedLog) -> dict[str, list[str]]:
    server.set_faults()
    database = opened(server)
    Sink(log, database, SMALL_BATCHES).run_to_end()
    tables = contents(database)
    database.close()
    assert [len(tables[name]) for name in ("hits", "actions", "visits", "tallies")] == [HITS, HITS, 18, HITS]
    return tables


def many_faults() -> Iterator[Fault]:
    """For `make faults`: every kind at every table, at its first, second and third insert."""
    kinds: tuple[Literal["hang", "drop", "half", "refuse"], ...] = ("hang", "drop", "half", "refuse")
    for does in kinds:
        for table in ("visits", "actions", "hits", "tallies", "sink_offsets"):
            if does == "half" and table not in ("actions", "hits"):
                continue  # rows of one month
            for skip in range(3):
                # The driver repeats a request once whose connection broke.
                yield Fault(f"INSERT INTO {table}", does, skip=skip, times=1 if does == "hang" else 3)


@pytest.mark.parametrize(
    "fault",
    [
        *(pytest.param(fault, marks=pytest.mark.slow) for fault in many_faults()),
        Fault("INSERT INTO visits", "hang"),
        Fault("INSERT INTO actions", "hang", skip=1),
        Fault("INSERT INTO hits", "drop", times=3),
        Fault("INSERT INTO actions", "half", skip=1, times=3),
        Fault("INSERT INTO hits", "half", times=2),
        Fault("INSERT INTO sink_offsets", "hang"),
        Fault("INSERT INTO sink_offsets", "drop", skip=2, times=3),
        Fault("INSERT INTO sink_offsets", "refuse", times=2),
        Fault("INSERT INTO tallies", "refuse", skip=1, times=3),
    ],
    ids=lambda fault: f"{fault.does}-{fault.match.split()[-1]}-{fault.skip}",
)
def test_after_a_fault_of_the_server_nothing_is_lost_and_nothing_doubled(
    fault: Fault, server: ClickHouseFixture, log: EmbeddedLog, undisturbed: dict[str, list[str]]
) -> None:
    database = opened(server)
    server.set_faults(fault)
    sink = Sink(log, database, SMALL_BATCHES)
    assert sum(log_ends(log)) > 0, "there is work in flight"
    sink.run_to_end()
    assert server.fired() == [fault.times]
    # The driver itself repeats a request once whose connection broke.
    assert sink.metrics.retries >= 1
    if fault.does == "half":
        assert any(made < makes for makes, made in server.halves()), "no insert touched two months"
    server.set_faults()
    assert stored(server, database) == undisturbed
    database.close()


def log_ends(log: EmbeddedLog) -> list[int]:
    """What a sink without a ledger has still to store."""
    reader = log.reader()
    ends = [end for table in TABLES for end in reader.end_offsets(table.name).values()]
    reader.close()
    return ends


def test_a_ledger_entry_that_was_made_before_the_timeout_is_not_made_again(
    server: ClickHouseFixture, tmp_path: Path
) -> None:
    log = EmbeddedLog(tmp_path / "log", partitions=1)
    fill(log, 5)
    database = opened(server)
    server.set_faults(Fault("INSERT INTO sink_offsets", "hang"))
    Sink(log, database, SinkSettings()).run_to_end()
    inserts = [sql for sql in server.seen() if sql.startswith("INSERT INTO sink_offsets")]
    assert len(inserts) == 1
    assert read_ledger(database)[TopicPartition("hits", 0)] == 5
    database.close()


def test_a_server_that_is_killed_and_comes_back_gets_all_rows(
    tmp_path: Path, log: EmbeddedLog, undisturbed: dict[str, list[str]]
) -> None:
    with running_clickhouse(tmp_path / "clickhouse") as server:
        database = opened(server)
        sink = Sink(log, database, SMALL_BATCHES)
        server.set_faults(Fault("INSERT INTO actions", "hang", skip=2))
        storing = threading.Thread(target=sink.run)
        storing.start()
        wait_until(lambda: server.fired() == [1])
        server.kill()
        wait_until(lambda: bool(sink.error))
        server.start()
        wait_until(lambda: len(done(log, sink)) == 7 * 3)
        sink.stop()
        storing.join()
        assert stored(server, database) == undisturbed
        database.close()


def test_a_sink_process_whose_server_is_away_at_the_start_waits_and_then_stores(
    tmp_path: Path, log: EmbeddedLog, undisturbed: dict[str, list[str]]
) -> None:
    with running_clickhouse(tmp_path / "clickhouse") as server:
        server.kill()
        place = server_place(server.dsn("web", send_receive_timeout=GIVES_UP_SECONDS))
        stop = threading.Event()
        process = SinkProcess(
            StageSettings(),
            SMALL_BATCHES,
            place,
            lambda: EmbeddedLog(log.root.parent, partitions=3),
            lambda _log: NamedShare(range(3)),
        )
        running = threading.Thread(target=process.run, args=(stop,))
        running.start()
        assert "do not answer" in process.problem()
        server.start()
        server.set_faults(Fault("SELECT topic, partition", "refuse", times=1))
        database = Database(place, database_name(log.epoch, place.views))
        wait_until(lambda: not process.problem() and is_stored(database, undisturbed))
        assert "hitstream_sink_works 1" in process.metrics()
        stop.set()
        running.join()
        assert stored(server, database) == undisturbed
        database.close()


def is_stored(database: Database, wanted: dict[str, list[str]]) -> bool:
    try:
        return contents(database) == wanted
    except ClickHouseError:
        return False  # no tables yet


def done(log: EmbeddedLog, sink: Sink) -> list[TopicPartition]:
    """Places of the sink's topics that are stored to their end."""
    reader = log.reader()
    positions = sink.visible_positions()
    found = [
        place for place, offset in positions.items()
        if reader.end_offsets(place.topic).get(place.partition, 0) <= offset
    ]  # fmt: skip
    reader.close()
    return found


def test_several_sinks_share_the_partitions_and_the_ledger_has_them_all(
    server: ClickHouseFixture, log: EmbeddedLog, undisturbed: dict[str, list[str]]
) -> None:
    server.set_faults()
    databases = [opened(server)]
    databases.append(Database(databases[0].place, databases[0].name))
    databases[1].open()
    sinks = [
        Sink(log, databases[0], SMALL_BATCHES, partitions=[0, 2]),
        Sink(log, databases[1], SMALL_BATCHES, partitions=[1]),
    ]
    threads = [threading.Thread(target=sink.run_to_end) for sink in sinks]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {place.partition for place in sinks[1].visible_positions()} == {1}
    found = contents(databases[0])
    assert found == undisturbed
    everywhere = {**sinks[0].visible_positions(), **sinks[1].visible_positions()}
    assert Ledger(databases[0]).visible_positions() == {p: o for p, o in everywhere.items() if o}
    for database in databases:
        database.close()


def test_two_sinks_on_the_same_partition_double_nothing(
    server: ClickHouseFixture, log: EmbeddedLog, undisturbed: dict[str, list[str]]
) -> None:
    server.set_faults()
    first = opened(server)
    second = Database(first.place, first.name)
    sinks = [Sink(log, database, SMALL_BATCHES) for database in (first, second)]
    threads = [threading.Thread(target=sink.run_to_end) for sink in sinks]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert contents(first) == undisturbed
    first.close()
    second.close()


def test_the_ledger_keeps_what_it_knew_while_the_server_is_away(server: ClickHouseFixture) -> None:
    now = [0.0]
    database = opened(server)
    database.command(
        "INSERT INTO sink_offsets (topic, partition, next_offset, version) VALUES ('hits', 0, 7, 1)"
    )
    ledger = Ledger(database, lambda: now[0])
    known = {TopicPartition("hits", 0): 7}
    assert ledger.visible_positions() == known
    server.set_faults(Fault("SELECT topic, partition", "refuse", times=100))
    now[0] = 1.0
    assert (ledger.visible_positions(), ledger.error != "") == (known, True)
    server.set_faults()
    now[0] = 2.0
    assert (ledger.visible_positions(), ledger.error) == (known, "")
    database.close()


def test_a_wrong_password_is_told_without_showing_it(
    server: ClickHouseFixture, caplog: pytest.LogCaptureFixture
) -> None:
    dsn = server.dsn("web").replace("%2F", "X")
    place = server_place(dsn)
    with pytest.raises(ClickHouseError) as refused:
        Database(place, "web_1").open()
    shown = f"{refused.value}{refused.value.__cause__}{place}{caplog.text}"
    assert "Authentication failed" in shown
    assert "p@ss" not in shown
    assert "p%40ss" not in shown


@pytest.mark.parametrize(
    "dsn",
    [
        "clickhouse://user:sesame@host:9000/web",
        "http://user:sesame@host:port/web",
        "http://",
        "user:sesame@host",
        "http://user:sesame@host/two/names",
        "http://user:sesame@[::1/web",
    ],
)
def test_an_address_that_cannot_be_used_is_refused_without_showing_it(dsn: str) -> None:
    with pytest.raises(SettingsError, match="HITSTREAM_CLICKHOUSE") as refused:
        server_place(dsn)
    assert "sesame" not in str(refused.value)


def test_clickhouse_reads_our_statements_for_a_cluster(server: ClickHouseFixture) -> None:
    """Its parser; that they do what they should needs servers (test_clickhouse_container)."""
    server.set_faults()
    database = opened(server)
    ours = [statement for one in migrations() for statement in statements_of(one.sql)]
    ours += [*view_statements("web_1", "web"), *catalog_statements("web")]
    ours += ["CREATE DATABASE IF NOT EXISTS `web_1`", "DROP DATABASE IF EXISTS `web_1` SYNC"]
    ours += ["ALTER TABLE hits MODIFY TTL toDateTime(received_at) + toIntervalDay(7)"]
    ours += ["ALTER TABLE visits DELETE WHERE site_id = 1 SETTINGS mutations_sync = 2"]
    ours += ["DELETE FROM archives WHERE site_id IN [1] AND date = '2026-01-01'"]
    for statement in ours:
        for one in clustered(statement, "main"):
            ((formatted,),) = database.rows("SELECT formatQuerySingleLine({sql:String})", {"sql": one})
            assert "ON CLUSTER main" in formatted
    database.close()


def test_the_settings_of_a_cluster_are_settings_of_clickhouse(server: ClickHouseFixture) -> None:
    server.set_faults()
    database = opened(server)
    found = database.rows(
        "SELECT name FROM system.settings WHERE name IN {names:Array(String)}", {"names": list(SETTINGS)}
    )
    assert {name for (name,) in found} == set(SETTINGS)
    database.close()
