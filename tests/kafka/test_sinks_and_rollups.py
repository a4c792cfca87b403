"""Several sinks and several rollup workers on one log and one ClickHouse server at the same time."""

import subprocess
import sys

import pytest

from schemas.rows import encode_output
from schemas.settings import load_settings
from schemas.topics import partition_of
from sink.database import Database, database_name, server_place
from sink.rollups import MINIMUM_ROWS
from stream.opening import LogSettings, open_log
from tests.kafka.test_rollup_workers import ROOT, SITES, Workers, archived, store_day
from tests.rows import A_DAY, a_visit

pytestmark = pytest.mark.slow

PARTITIONS = 4
DAYS = range(A_DAY, A_DAY + 2)


def emit_visits(settings: dict[str, str]) -> int:
    """As a processor would, of days of every site that are large enough for archives; returns how many."""
    log = open_log(load_settings(LogSettings, settings))
    worker = log.worker("processors", ["hits"], range(PARTITIONS))
    count = 0
    for day in DAYS:
        for site in SITES:
            for number in range(MINIMUM_ROWS):
                visit = a_visit(
                    day * 1_000_000 + site * 10_000 + number, site_id=site, date=day, visitor_id=number
                )
                partition = partition_of(number, PARTITIONS)
                worker.emit(partition, "visits", [(number.to_bytes(8, "big"), encode_output(visit))])
                count += 1
            worker.commit([])
    worker.close()
    log.close()
    return count


def start_sink(workers: Workers, name: str) -> None:
    with (workers.directory / f"{name}.log").open("ab") as log:
        workers.processes[name] = subprocess.Popen(
            [sys.executable, "-m", "hitstream", "sink"],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=ROOT,
            env={**workers.environment, "HITSTREAM_DATA_DIR": str(workers.directory / name)},
        )


def test_two_sinks_and_two_rollup_workers_at_once_store_every_row_once(workers: Workers) -> None:
    """One sink is killed while it stores; the other takes its partitions."""
    place = server_place(workers.environment["HITSTREAM_CLICKHOUSE"])
    wanted = emit_visits({**workers.environment, "HITSTREAM_DATA_DIR": str(workers.directory / "emitter")})
    database = Database(place, database_name(1, place.views))
    database.open()
    # A day that changed an hour ago; those that the sinks store get archives when they have been quiet.
    store_day(database, DAYS[0] - 1)
    wanted += len(SITES) * MINIMUM_ROWS
    for name in ("rollups1", "rollups2"):
        workers.start(name)
    for name in ("sink1", "sink2"):
        start_sink(workers, name)

    def count(what: str) -> int:
        return int(str(database.rows(f"SELECT {what} FROM visits FINAL")[0][0]))

    workers.wait(lambda: count("count()") > len(SITES) * MINIMUM_ROWS)
    killed = workers.processes.pop("sink1")
    killed.kill()
    killed.wait()
    workers.wait(lambda: count("count()") >= wanted)
    assert count("count()") == count("uniqExact(site_id, visit_id)") == wanted
    workers.wait(lambda: archived(database, DAYS[0] - 1) == set(SITES))
    visits = database.rows("SELECT date, site_id, count() FROM visits FINAL GROUP BY ALL")
    assert {int(str(number)) for _, _, number in visits} == {MINIMUM_ROWS}
    database.close()
    assert set(workers.stop().values()) == {0}
