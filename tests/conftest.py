"""Fixtures for all tests."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from ingest.compiled import stale_modules
from tests.kafka.broker import JavaBroker, NoBrokerError, running_broker_with_files

# An example that a busy machine holds up is no failure.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")


def pytest_configure() -> None:
    if stale := stale_modules():
        raise pytest.UsageError(
            f"compiled before {', '.join(stale)} changed: make compile, or make uncompile"
        )


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """How pytest-xdist shares the tests out: those of a broker to one worker, since each would start a broker
    of its own, and those of a file, which share fixtures, to one. Before its own hook, which writes the names
    of the groups into those of the tests."""
    for item in items:
        # A fixture may ask for the broker only where its parameter is `kafka`.
        needs_broker = "kafka" in getattr(item, "fixturenames", ()) or "[kafka" in item.name
        item.add_marker(pytest.mark.xdist_group("kafka" if needs_broker else item.nodeid.partition("::")[0]))


@pytest.fixture(scope="session")
def kafka_with_files() -> Iterator[tuple[str, Path | None]]:
    """The address of a broker, one for all tests, and the directory of its topics, where that can be read;
    skips where there is none to be had."""
    pytest.importorskip("confluent_kafka")
    pytest.importorskip("rocksdict")
    try:
        with running_broker_with_files() as found:
            yield found
    except NoBrokerError as error:
        pytest.skip(f"no Kafka broker ({error}): HITSTREAM_TEST_KAFKA=host:port names one")


@pytest.fixture(scope="session")
def kafka(kafka_with_files: tuple[str, Path | None]) -> str:
    return kafka_with_files[0]


@pytest.fixture
def own_broker(tmp_path: Path) -> Iterator[JavaBroker]:
    """A broker of one test, which may kill it and start it again."""
    pytest.importorskip("confluent_kafka")
    try:
        broker = JavaBroker(tmp_path / "broker")
    except NoBrokerError as error:
        pytest.skip(f"no broker that can be killed: {error}")
    try:
        broker.start()
        yield broker
    finally:
        broker.stop()
