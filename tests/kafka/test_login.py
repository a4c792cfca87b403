"""TLS and SASL as HITSTREAM_KAFKA_OPTIONS names them, on a broker that takes nobody without."""

import os
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from schemas.settings import load_settings
from stream.opening import LogSettings, open_log
from stream.protocol import Log, LogError, TopicPartition
from tests.clickhouse_http import running_clickhouse
from tests.contract.log_contents import values_of
from tests.instance import RunningInstance
from tests.kafka.broker import NoBrokerError
from tests.kafka.secure import MECHANISMS, PASSWORD, STORE_PASSWORD, USER, SecureBroker
from tests.kafka.test_rollup_workers import Workers
from tests.waiting import PATIENCE_SECONDS

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
WRONG_PASSWORD = "falsch-Wort-19"
SECRETS = (PASSWORD, STORE_PASSWORD, WRONG_PASSWORD)


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecureBroker]:
    pytest.importorskip("confluent_kafka")
    try:
        broker = SecureBroker(tmp_path_factory.mktemp("secure"))
    except NoBrokerError as error:
        pytest.skip(f"no broker with TLS: {error}")
    broker.start()
    yield broker
    broker.stop()


def settings_of(broker: SecureBroker, directory: Path, options: str) -> dict[str, str]:
    """As an operator sets them, with a log of its own."""
    directory.mkdir(parents=True, exist_ok=True)
    file = directory / "kafka.properties"
    file.write_text(options)
    return {
        "HITSTREAM_KAFKA": broker.address,
        "HITSTREAM_KAFKA_PREFIX": f"l{uuid.uuid4().hex[:16]}",
        "HITSTREAM_KAFKA_OPTIONS": str(file),
        "HITSTREAM_PARTITIONS": "2",
        "HITSTREAM_DATA_DIR": str(directory / "data"),
    }


def run(settings: dict[str, str], *command: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "hitstream", *command],
        env={**os.environ, **settings},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )


def opened(settings: dict[str, str]) -> Log:
    return open_log(load_settings(LogSettings, settings))


@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_a_unit_of_work_is_done_and_its_state_restored_behind_a_login(
    broker: SecureBroker, tmp_path: Path, mechanism: str
) -> None:
    settings = settings_of(broker, tmp_path, broker.options(mechanism))
    made = run(settings, "topics")
    assert made.returncode == 0, made.stderr
    log = opened(settings)
    appender = log.appender("hits")
    offsets = appender.append([(n % 2, b"key", b"%d" % n) for n in range(10)])
    assert list(offsets) == [n // 2 for n in range(10)]
    appender.close()
    worker = log.worker("g", ["hits", "links"], None)
    deadline = time.monotonic() + PATIENCE_SECONDS
    while sum(log.committed("g").values()) < 10:
        assert time.monotonic() < deadline
        batches = worker.poll(10, 0.5)
        for batch in batches:
            worker.emit(batch.home, "visits", [(m.key, m.value) for m in batch.messages])
            worker.state(batch.home).put_many("heads", [(m.value, b"seen") for m in batch.messages])
        try:
            worker.commit(batches)
        except LogError:  # the partitions were being shared out
            worker.rollback()
    worker.close()
    assert log.committed("g")[TopicPartition("hits", 1)] == 5
    assert sorted(v for values in values_of(log, "visits").values() for v in values) == [
        b"%d" % n for n in range(10)
    ]
    log.close()
    elsewhere = opened({**settings, "HITSTREAM_DATA_DIR": str(tmp_path / "elsewhere")})
    worker = elsewhere.worker("g", ["hits", "links"], [0, 1])
    heads = [key for p in (0, 1) for key, _ in worker.state(p).scan("heads", b"", b"\xff")]
    assert sorted(heads) == [b"%d" % n for n in range(10)]
    worker.close()
    elsewhere.close()


@pytest.mark.parametrize("command", ["topics", "ingest", "processor", "database"])
@pytest.mark.parametrize(
    ("wrong", "expected"),
    [
        ("PLAIN", "the broker refuses the login, see sasl.* in HITSTREAM_KAFKA_OPTIONS"),
        ("SCRAM-SHA-512", "the broker refuses the login, see sasl.* in HITSTREAM_KAFKA_OPTIONS"),
        ("certificate", "certificate verify failed"),
    ],
)
def test_a_wrong_password_and_a_strange_certificate_are_one_line_soon(
    broker: SecureBroker, tmp_path: Path, wrong: str, expected: str, command: str
) -> None:
    if wrong == "certificate":
        options = broker.options("PLAIN", certificate=broker.strange_certificate)
    else:
        options = broker.options(wrong, password=WRONG_PASSWORD)
    began = time.monotonic()
    found = run(settings_of(broker, tmp_path, options), command)
    assert time.monotonic() - began < 20
    assert found.returncode == 1
    assert (found.stdout, found.stderr.count("\n")) == ("", 1), found.stderr
    assert expected in found.stderr
    assert broker.address in found.stderr
    check_no_secret(found.stderr)


def check_no_secret(text: str) -> None:
    for secret in SECRETS:
        assert secret not in text, text[max(0, text.index(secret) - 300) :][:600]


@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_an_instance_behind_a_login_counts_hits_and_writes_no_secret(
    broker: SecureBroker, tmp_path: Path, mechanism: str
) -> None:
    settings = settings_of(broker, tmp_path, broker.options(mechanism))
    del settings["HITSTREAM_DATA_DIR"]
    instance = RunningInstance(tmp_path / "data", {**settings, "HITSTREAM_PROCESSORS": "2"})
    said = [instance.command("topics")]
    assert said[0].returncode == 0, said[0].stderr
    instance.start()
    try:
        instance.wait_until_ready()
        instance.api("SitesManager.addSite", siteName="Test", urls="http://localhost")
        client = instance.client()
        for page in range(20):
            status, _ = client.request(
                "GET", f"/matomo.php?idsite=1&rec=1&send_image=0&url=http://localhost/{page}"
                f"&cdt=2026-09-10+12:00:00&token_auth={instance.token}", b"",
                {"User-Agent": "Mozilla/5.0 Firefox/133.0"},
            )  # fmt: skip
            assert status == 204
        instance.drain()
        actions = instance.api("VisitsSummary.getActions", idSite="1", period="day", date="2026-09-10")
        assert actions == {"value": 20}
        shown = [
            str(client.request("GET", path)) for path in ("/metrics", "/health/ready", "/hitstream/status")
        ]
        client.close()
        said += [instance.command(*words) for words in (("status",), ("doctor",), ("settings",))]
    finally:
        instance.stop()
    for text in (instance.log(), *shown, *(one.stdout + one.stderr for one in said)):
        check_no_secret(text)
    for file in (tmp_path / "data").rglob("*"):
        if file.is_file():
            assert not any(secret.encode() in file.read_bytes() for secret in SECRETS), file
    assert USER in (tmp_path / "kafka.properties").read_text()


@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_a_rollup_worker_logs_in_too(broker: SecureBroker, tmp_path: Path, mechanism: str) -> None:
    """It is a Faust app with a client of its own."""
    pytest.importorskip("faust")
    settings = settings_of(broker, tmp_path, broker.options(mechanism))
    with running_clickhouse(tmp_path / "clickhouse") as server:
        workers = Workers(tmp_path, broker.address, server, settings["HITSTREAM_KAFKA_PREFIX"])
        workers.environment |= {**settings, "HITSTREAM_CLICKHOUSE": server.dsn("rollups")}
        try:
            workers.command("topics")
            workers.start("a")
            workers.wait(lambda: workers.value("a", "hitstream_rollups_partitions") == 2)
            workers.wait(lambda: workers.value("a", "hitstream_rollups_leader") == 1)
            assert workers.stop() == {"a": 0}
        finally:
            workers.kill()
    check_no_secret(workers.said())
