import pytest

from tests.contract.backends import Backend


@pytest.fixture(params=["embedded"])
def log_backend(request, tmp_path):
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
