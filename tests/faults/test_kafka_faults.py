"""On a broker: the tables equal those of the embedded log, row for row, whatever is killed meanwhile."""

import shutil
import threading
import time
import uuid
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.builders import config_events
from tests.faults import test_kills
from tests.faults.instance import PARTITIONS, Instance, differences, fill_log, tables_of, tallied
from tests.faults.test_kills import DATABASE_POINTS, HITS, Tables
from tests.faults.traffic import GOALS, SITE
from tests.kafka.broker import JavaBroker

PROCESSOR_POINTS = (
    "processor.polled:2",
    "processor.processed:3",
    "log.committing:3",
    "log.sending:3",
    "log.sent:4",
    "log.committed:5",
    "log.applied:3",
    "processor.committed:2",
)
POINTS = [("processor", point) for point in PROCESSOR_POINTS] + [("database", p) for p in DATABASE_POINTS]
# A group gives up a dead member after that long; the least that brokers allow is often six seconds.
SESSION_MS = 6000


def new_log(servers: str, directory: Path, session_ms: int = SESSION_MS) -> dict[str, str]:
    """Makes a log on the broker; returns the settings that name it."""
    from stream.kafka import make_log
    from stream.kafka_client import Connection
    from stream.kafka_topics import TopicPlan

    prefix = f"f{uuid.uuid4().hex[:16]}"
    make_log(Connection(servers), prefix, TopicPlan(partitions=PARTITIONS))
    directory.mkdir(parents=True, exist_ok=True)
    options = directory / "kafka.properties"
    options.write_text(f"session.timeout.ms={session_ms}\nheartbeat.interval.ms=500\n")
    return {
        "HITSTREAM_KAFKA": servers,
        "HITSTREAM_KAFKA_PREFIX": prefix,
        "HITSTREAM_KAFKA_OPTIONS": str(options),
    }


def started(
    servers: str,
    data_dir: Path,
    crash_at: Mapping[str, str] | None = None,
    modules: Mapping[str, str] | None = None,
) -> Instance:
    environment = new_log(servers, data_dir)
    fill_log(data_dir, config_events(goals=GOALS, **SITE), HITS, environment=environment)
    instance = Instance(data_dir, crash_at, environment, modules)
    instance.start()
    return instance


def finished(instance: Instance, timeout: float = 240.0) -> Tables:
    try:
        instance.drain(timeout)
    finally:
        instance.stop()
    tables = tables_of(instance.data_dir)
    shutil.rmtree(instance.data_dir)
    return tables


@pytest.fixture(scope="module")
def embedded(tmp_path_factory: pytest.TempPathFactory) -> Tables:
    """The tables of the same hits on the embedded log."""
    tables, _ = test_kills.run(tmp_path_factory.mktemp("embedded"), {})
    assert tallied(tables) == len(HITS)
    return tables


def test_the_tables_equal_those_of_the_embedded_log(kafka: str, embedded: Tables, tmp_path: Path) -> None:
    instance = started(kafka, tmp_path / "data")
    tables = finished(instance)
    assert instance.deaths == 0
    assert differences(tables, embedded) == []


def test_kills_at_the_points_of_a_commit_change_no_table(
    kafka: str, embedded: Tables, tmp_path: Path
) -> None:
    """A processor dies after the offsets are sent and after the commit; the short form of those below."""
    instance = started(kafka, tmp_path / "data", {"processor": "log.sent:2,log.committed:4"})
    tables = finished(instance)
    assert instance.crashed == ["log.committed", "log.sent"]
    assert differences(tables, embedded) == []


def test_a_kill_amid_a_wrong_order_of_commit_is_noticed(kafka: str, embedded: Tables, tmp_path: Path) -> None:
    """Input offsets before the transaction: what the comparison is good for."""
    crash_at, modules = {"processor": "broken.between:3"}, {"processor": "tests.faults.broken_order"}
    instance = started(kafka, tmp_path / "data", crash_at, modules)
    tables = finished(instance)
    assert instance.deaths == 1
    assert differences(tables, embedded) != []


@pytest.mark.slow
@pytest.mark.parametrize(("process", "point"), POINTS, ids=[point for _, point in POINTS])
def test_a_kill_at_any_point_changes_no_table(
    process: str, point: str, kafka: str, embedded: Tables, tmp_path: Path
) -> None:
    instance = started(kafka, tmp_path / "data", {process: point})
    tables = finished(instance)
    assert instance.deaths == 1
    if process == "processor":
        assert instance.lag_at_death[0] > 0
    assert differences(tables, embedded) == []


@pytest.mark.slow
def test_processors_that_come_and_go_change_no_table(kafka: str, embedded: Tables, tmp_path: Path) -> None:
    """Two are added while hits wait, one is killed, one is stopped by its operator."""
    instance = started(kafka, tmp_path / "data")
    try:
        instance.add("processor2")
        wait_until_below(instance, len(HITS) * 3 // 4)
        instance.add("processor3")
        instance.kill("processor")
        instance.restart_the_dead()
        wait_until_below(instance, len(HITS) // 2)
        instance.remove("processor2")
    except BaseException:
        instance.stop()
        raise
    tables = finished(instance)
    assert instance.deaths == 1
    assert differences(tables, embedded) == []


def wait_until_below(instance: Instance, lag: int) -> None:
    deadline = time.monotonic() + 120
    while instance.lag() > lag:
        assert time.monotonic() < deadline, instance.output()[-3000:]
        time.sleep(0.05)


@pytest.mark.slow
@pytest.mark.parametrize("share_done", [0.2, 0.6])
def test_a_broker_that_is_killed_and_started_again_changes_no_table(
    own_broker: JavaBroker, embedded: Tables, tmp_path: Path, share_done: float
) -> None:
    instance = started(own_broker.address, tmp_path / "data")
    try:
        wait_until_below(instance, int(len(HITS) * (1 - share_done)))
        own_broker.kill()
        threading.Timer(3.0, own_broker.start).start()
        while not own_broker.is_running():
            time.sleep(0.1)
    except BaseException:
        instance.stop()
        raise
    tables = finished(instance)
    assert differences(tables, embedded) == []
