"""Fixtures for all tests."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kafka.broker import NoBrokerError, running_broker_with_files


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
