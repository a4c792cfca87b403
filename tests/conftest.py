"""Fixtures for all tests."""

from collections.abc import Iterator

import pytest

from tests.kafka.broker import NoBrokerError, running_broker


@pytest.fixture(scope="session")
def kafka() -> Iterator[str]:
    """The address of a broker, one for all tests; skips where there is none to be had."""
    pytest.importorskip("confluent_kafka")
    pytest.importorskip("rocksdict")
    try:
        with running_broker() as address:
            yield address
    except NoBrokerError as error:
        pytest.skip(f"no Kafka broker ({error}): HITSTREAM_TEST_KAFKA=host:port names one")
