import pytest

from tests.contract.backends import Backend
from tests.contract.log_contents import HITS


@pytest.fixture(params=["embedded", "kafka"])
def log_backend(request, tmp_path):
    place = str(tmp_path / "log")
    if request.param == "kafka":
        place = f"{request.getfixturevalue('kafka')}|{place}"
    return Backend(f"{request.param}:{place}")


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


@pytest.fixture
def log(log_backend, closing):
    return closing(log_backend.open())


@pytest.fixture
def appender(log, closing):
    return closing(log.appender(HITS))
