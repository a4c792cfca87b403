"""Rollup workers on a broker: they share the sites, one sweeps, and a killed one only delays archives."""

import contextlib
import os
import re
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path

import pytest

from hitstream.ports import free_port
from schemas.rows import encode_output
from sink.database import Database, database_name, server_place
from sink.encoding import ROW_TABLES, Entry, split
from sink.rollups import MINIMUM_ROWS
from tests.clickhouse_http import ClickHouseFixture
from tests.rows import A_DAY, a_visit
from tests.waiting import PATIENCE_SECONDS, wait_until

pytest.importorskip("faust")

SITES = range(1, 9)
ROOT = Path(__file__).parents[2]


class Workers:
    def __init__(self, directory: Path, broker: str, server: ClickHouseFixture, prefix: str) -> None:
        self.directory = directory
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("HITSTREAM_")},
            "HITSTREAM_KAFKA": broker,
            "HITSTREAM_KAFKA_PREFIX": prefix,
            "HITSTREAM_PARTITIONS": "4",
            "HITSTREAM_CLICKHOUSE": server.dsn("rollups"),
        }
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.ports: dict[str, int] = {}

    def command(self, *arguments: str) -> None:
        done = subprocess.run(
            [sys.executable, "-m", "hitstream", *arguments],
            env={**self.environment, "HITSTREAM_DATA_DIR": str(self.directory / "topics")},
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr

    def start(self, name: str) -> None:
        self.ports[name] = free_port()
        with (self.directory / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(
                [sys.executable, "-m", "hitstream", "rollups"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=ROOT,
                env={
                    **self.environment,
                    "HITSTREAM_DATA_DIR": str(self.directory / name),
                    "HITSTREAM_ROLLUPS_METRICS_PORT": str(self.ports[name]),
                },
            )

    def value(self, name: str, metric: str) -> float:
        """-1 while the worker does not answer."""
        with contextlib.suppress(OSError):
            with urllib.request.urlopen(f"http://127.0.0.1:{self.ports[name]}/metrics", timeout=5) as answer:
                text = answer.read().decode()
            found = re.search(rf"^{metric} (\S+)$", text, re.MULTILINE)
            return float(found[1]) if found else -1.0
        return -1.0

    def said(self) -> str:
        return "\n".join(log.read_text(errors="replace")[-3000:] for log in self.directory.glob("*.log"))

    def wait(self, holds: Callable[[], bool]) -> None:
        wait_until(holds, self.said)

    def stop(self) -> dict[str, int]:
        for process in self.processes.values():
            process.send_signal(signal.SIGTERM)
        return {name: process.wait(PATIENCE_SECONDS) for name, process in self.processes.items()}

    def kill(self) -> None:
        for process in self.processes.values():
            if process.poll() is None:
                process.kill()
                process.wait()


def store_day(database: Database, day: int) -> None:
    """A day of every site that is large enough for an archive, stored an hour ago."""
    visits = ROW_TABLES[0]
    rows = [
        encode_output(a_visit(day * 1_000_000 + site * 10_000 + n, site_id=site, date=day, visitor_id=n))
        for site in SITES
        for n in range(MINIMUM_ROWS)
    ]
    draft = Database(database.place, "draft_1", views="draft")
    draft.open()
    for block in split(visits, [Entry(0, at, row) for at, row in enumerate(rows)], 1).by_month.values():
        draft.insert_msgpack(visits.name, visits.columns, block.data)
    database.command(
        "INSERT INTO visits SELECT * REPLACE (now64(3) - toIntervalHour(1) AS inserted_at)"
        " FROM draft_1.visits"
    )
    draft.command("DROP DATABASE draft_1 SYNC")
    draft.close()


def archived(database: Database, day: int) -> set[int]:
    found = database.rows(
        "SELECT DISTINCT site_id FROM archive_days FINAL WHERE date = {day:Date}",
        {"day": date(1970, 1, 1) + timedelta(days=day)},
    )
    return {int(site) for (site,) in found}


def test_two_workers_share_the_sites_one_sweeps_and_the_other_goes_on_when_it_is_killed(
    workers: Workers,
) -> None:
    place = server_place(workers.environment["HITSTREAM_CLICKHOUSE"])
    database = Database(place, database_name(1, place.views))
    database.open()
    workers.start("a")
    workers.wait(lambda: workers.value("a", "hitstream_rollups_partitions") == 4)
    workers.start("b")
    workers.wait(lambda: all(workers.value(name, "hitstream_rollups_partitions") == 2 for name in ("a", "b")))
    workers.wait(lambda: sum(workers.value(n, "hitstream_rollups_leader") for n in ("a", "b")) == 1)
    # Nobody tells of these rows: the leader's sweep marks them for both.
    store_day(database, A_DAY)
    workers.start("c")  # a worker that comes makes the next sweep a full one
    workers.wait(lambda: archived(database, A_DAY) == set(SITES))
    names = ["a", "b", "c"]
    computed = {name: workers.value(name, "hitstream_rollups_computed_total") for name in names}
    assert sum(computed.values()) >= len(SITES)
    assert sum(count > 0 for count in computed.values()) >= 2, computed
    (leader,) = [name for name in names if workers.value(name, "hitstream_rollups_leader") == 1]
    store_day(database, A_DAY + 1)
    workers.processes[leader].kill()
    workers.processes[leader].wait()
    workers.wait(lambda: archived(database, A_DAY + 1) == set(SITES))
    left = [name for name in names if name != leader]
    workers.wait(lambda: sum(workers.value(n, "hitstream_rollups_leader") for n in left) == 1)
    assert sum(workers.value(name, "hitstream_rollups_partitions") for name in left) == 4
    del workers.processes[leader]
    assert set(workers.stop().values()) == {0}
    database.close()
