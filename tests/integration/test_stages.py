"""One process per stage on a ClickHouse server, as on a cluster; the log is embedded or on a broker."""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pytest

from hitstream.client import InstanceClient, InstanceError
from hitstream.ports import free_port
from tests.clickhouse_http import ClickHouseFixture, running_clickhouse
from tests.instance import TOKEN, RunningInstance, running_instance
from tests.waiting import PATIENCE_SECONDS, wait_until

AGENT = "Mozilla/5.0 (X11; Linux x86_64; rv:133.0) Gecko/20100101 Firefox/133.0"


SHARES = {"sink a": "0,1", "sink b": "2-3"}
STAGES = ("ingest", "reporting", "processor", "sink a", "sink b", "rollups")


class Stages:
    """The processes of an instance, each started by its own command."""

    def __init__(self, data_dir: Path, server: ClickHouseFixture, broker: str = "") -> None:
        self.data_dir, self.broker = data_dir, broker
        self.ports = {name: free_port() for name in STAGES}
        self.url = f"http://127.0.0.1:{self.ports['ingest']}"
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("HITSTREAM_")},
            "HITSTREAM_DATA_DIR": str(data_dir),
            "HITSTREAM_KAFKA": broker,
            "HITSTREAM_KAFKA_PREFIX": f"stages{time.time_ns()}",
            "HITSTREAM_PARTITIONS": "4",
            "HITSTREAM_ADMIN_TOKEN": TOKEN,
            "HITSTREAM_CLICKHOUSE": server.dsn(f"stages_{'kafka' if broker else 'embedded'}"),
            "HITSTREAM_CLICKHOUSE_READER": server.dsn(f"stages_{'kafka' if broker else 'embedded'}"),
            "HITSTREAM_PORT": str(self.ports["ingest"]),
            "HITSTREAM_REPORTING_PORT": str(self.ports["reporting"]),
            "HITSTREAM_REPORTING_URL": f"http://127.0.0.1:{self.ports['reporting']}",
            "HITSTREAM_SQL_PORT": "0",
            "HITSTREAM_SINK_HITS_FLUSH_SECONDS": "0.5",
            "HITSTREAM_PROCESSOR_METRICS_PORT": str(self.ports["processor"]),
            "HITSTREAM_ROLLUPS_METRICS_PORT": str(self.ports["rollups"]),
        }
        self.processes: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, name: str, *arguments: str, **settings: str) -> None:
        if self.broker:  # as on machines of their own
            settings["HITSTREAM_DATA_DIR"] = str(self.data_dir / name)
        with (self.data_dir.parent / "stages.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(
                [sys.executable, "-m", "hitstream", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**self.environment, **settings},
                cwd=Path(__file__).parents[2],
            )

    def start_sink(self, name: str, partitions: str) -> None:
        port = str(self.ports[name])
        # On a broker they share the partitions out among themselves.
        named = [] if self.broker else ["--partitions", partitions]
        self.start(name, "sink", *named, HITSTREAM_SINK_METRICS_PORT=port)

    def stop(self) -> dict[str, int]:
        """Exit statuses after SIGTERM."""
        for process in self.processes.values():
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGTERM)
        return {name: process.wait(PATIENCE_SECONDS) for name, process in self.processes.items()}

    def said(self) -> str:
        return (self.data_dir.parent / "stages.log").read_text(errors="replace")

    def metrics(self, stage: str) -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.ports[stage]}/metrics", timeout=60) as answer:
            return str(answer.read().decode())


def client(url: str) -> InstanceClient:
    return InstanceClient(url, TOKEN, timeout=600)


def api(url: str, method: str, **parameters: str) -> object:
    fields = {"module": "API", "method": method, "format": "json", "token_auth": TOKEN, **parameters}
    status, body = client(url).request(
        "POST",
        "/index.php",
        urllib.parse.urlencode(fields).encode(),
        {"Content-Type": "application/x-www-form-urlencoded"},
    )
    assert status == 200, body
    return json.loads(body)


def send(url: str, hits: int) -> None:
    lines = [
        f"?idsite=1&rec=1&url=http://one.example/p{n % 7}&_id={n % 20:016x}&ua={AGENT}"
        "&cdt=2026-09-10+12:00:00"
        for n in range(hits)
    ]
    body = json.dumps({"requests": lines, "token_auth": TOKEN}).encode()
    status, answer = client(url).request("POST", "/matomo.php", body)
    assert status == 200, answer


def drain(stages: Stages) -> None:
    answer = client(stages.url).json("POST", "/hitstream/drain")
    assert answer["drained"], (answer, stages.said()[-3000:])


def answers(stages: Stages) -> bool:
    with contextlib.suppress(InstanceError):
        client(stages.url).json("GET", "/hitstream/sites")
        return True
    return False


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClickHouseFixture]:
    with running_clickhouse(tmp_path_factory.mktemp("server") / "clickhouse") as started:
        yield started


@pytest.fixture(scope="module", params=["embedded", "kafka"])
def stages(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, server: ClickHouseFixture
) -> Iterator[Stages]:
    broker = request.getfixturevalue("kafka") if request.param == "kafka" else ""
    started = Stages(tmp_path_factory.mktemp("stages") / "data", server, broker)
    if broker:
        pytest.importorskip("faust")
        started.start("topics", "topics")
        assert started.processes.pop("topics").wait(PATIENCE_SECONDS) == 0, started.said()
    started.start("reporting", "reporting")
    started.start("processor", "processor")
    for name, partitions in SHARES.items():
        started.start_sink(name, partitions)
    started.start("rollups", "rollups")
    started.start("ingest", "ingest")
    try:
        wait_until(lambda: answers(started), lambda: started.said()[-3000:])
        api(started.url, "SitesManager.addSite", siteName="One", **{"urls[0]": "http://one.example"})
        yield started
    finally:
        started.stop()


def pages(url: str) -> int:
    found = api(url, "Actions.get", idSite="1", period="day", date="2026-09-10")
    assert isinstance(found, dict)
    return int(found["nb_pageviews"])


def samples(text: str, name: str) -> Mapping[str, float]:
    """Labels as written -> value."""
    found = re.findall(rf"^{name}(?:\{{(.*)\}})? (\S+)$", text, re.MULTILINE)
    return {labels: float(value) for labels, value in found}


def test_hits_sent_to_one_process_per_stage_are_in_reports_after_a_drain(stages: Stages) -> None:
    send(stages.url, 100)
    drain(stages)
    assert pages(stages.url) == 100
    status = client(stages.url).json("GET", "/hitstream/status")
    assert (status["accepted"], status["outcomes"], status["problems"]) == (100, {"stored": 100}, [])
    assert status["balance"]["adds_up"]


def test_every_stage_shows_its_metrics(stages: Stages) -> None:
    send(stages.url, 20)
    drain(stages)
    reporting = stages.metrics("reporting")
    assert samples(reporting, "hitstream_works") == {'part="database"': 1, 'part="log"': 1}
    assert samples(reporting, "hitstream_processor_lag_messages")['topic="hits"'] == 0
    processor = stages.metrics("processor")
    assert samples(processor, "hitstream_processor_works") == {"": 1}
    assert samples(processor, "hitstream_processor_hits_total")[""] >= 20
    # One visitor, so one of them has all.
    rows = [samples(stages.metrics(name), "hitstream_sink_rows_total") for name in SHARES]
    assert sum(of_sink.get('table="actions"', 0) for of_sink in rows) >= 20
    assert samples(stages.metrics("rollups"), "hitstream_rollups_failed_total") == {"": 0}
    assert samples(stages.metrics("ingest"), "hitstream_ingest_accepted_hits_total")[""] >= 20


def test_the_metrics_of_reports_are_also_behind_the_port_of_ingest_for_who_may_see_them(
    stages: Stages,
) -> None:
    status, body = client(stages.url).request("GET", "/hitstream/metrics")
    assert status == 200
    assert samples(body.decode(), "hitstream_works")
    nobody = InstanceClient(stages.url, "0" * 32, timeout=30)
    assert nobody.request("GET", "/hitstream/metrics")[0] == 401


def test_a_killed_sink_goes_on_where_it_was(stages: Stages) -> None:
    before = pages(stages.url)
    for name in SHARES:  # whichever has the visitor's partition
        killed = stages.processes.pop(name)
        killed.kill()
        killed.wait()
        send(stages.url, 30)
        if name == "sink a" or not stages.broker:  # on a broker the other one takes over
            stages.start_sink(name, SHARES[name])
    drain(stages)
    assert pages(stages.url) == before + 60


def test_after_a_reset_all_stages_work_on_the_new_epoch(stages: Stages) -> None:
    processed = samples(stages.metrics("processor"), "hitstream_processor_hits_total")[""]
    client(stages.url).json("POST", "/hitstream/reset?yes=1")
    api(stages.url, "SitesManager.addSite", siteName="One", **{"urls[0]": "http://one.example"})
    send(stages.url, 30)
    drain(stages)
    assert pages(stages.url) == 30
    assert samples(stages.metrics("processor"), "hitstream_processor_hits_total")[""] >= processed + 30
    assert [name for name, process in stages.processes.items() if process.poll() is not None] == []


def test_no_process_wrote_the_password_down_and_all_end_on_a_signal(stages: Stages) -> None:
    assert set(stages.stop().values()) == {0}
    assert "fixture:p" not in stages.said()
    assert "fixture%3Ap" not in stages.said()


@pytest.mark.parametrize("command", [["sink"], ["rollups"], ["reporting"]])
def test_a_stage_that_needs_a_server_says_so(command: Sequence[str], tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("HITSTREAM_")}
    ended = subprocess.run(
        [sys.executable, "-m", "hitstream", *command],
        capture_output=True,
        text=True,
        check=False,
        env={**environment, "HITSTREAM_DATA_DIR": str(tmp_path)},
        cwd=Path(__file__).parents[2],
    )
    assert ended.returncode == 78
    assert "set HITSTREAM_CLICKHOUSE" in ended.stderr


def test_up_works_on_a_server_too(tmp_path: Path, server: ClickHouseFixture) -> None:
    settings = {"HITSTREAM_CLICKHOUSE": server.dsn("up"), "HITSTREAM_PARTITIONS": "2"}
    with running_instance(tmp_path / "data", settings) as instance:
        running: RunningInstance = instance
        running.api("SitesManager.addSite", siteName="One", **{"urls[0]": "http://one.example"})
        send(running.url, 10)
        running.drain()
        assert pages(running.url) == 10
    assert not (tmp_path / "data" / "clickhouse").exists()
