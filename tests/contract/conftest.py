import os

import pytest

from tests.contract.backends import Backend


@pytest.fixture(params=["embedded", "kafka"])
def log_backend(request, tmp_path):
    if request.param == "kafka" and "HITSTREAM_TEST_KAFKA" not in os.environ:
        pytest.skip("no broker: HITSTREAM_TEST_KAFKA=host:port names one")
    return Backend(f"{request.param}:{tmp_path / 'log'}")


@pytest.fixture
def closing():
    """Closes what a test opened, the last first, also when the test fails."""
    opened = []

    def keep(thing):
        opened.append(thing)
        return thing

    yield keep
    for thing in reversed(opened):
        thing.close()
