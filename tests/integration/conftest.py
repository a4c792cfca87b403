"""One ClickHouse engine for the test process (chDB allows one directory per process), a database per test."""

from collections.abc import Iterator
from itertools import count

import pytest

from sink.database import Database

_numbers = count(1)


@pytest.fixture(scope="session")
def clickhouse_dsn(tmp_path_factory: pytest.TempPathFactory) -> str:
    return f"chdb://{tmp_path_factory.mktemp('clickhouse')}"


@pytest.fixture
def database(clickhouse_dsn: str) -> Iterator[Database]:
    """An empty migrated database with views of its own."""
    number = next(_numbers)
    opened = Database(clickhouse_dsn, f"tables_{number}", views=f"views_{number}")
    opened.open()
    yield opened
    opened.command(f"DROP DATABASE {opened.views}_catalog")
    opened.command(f"DROP DATABASE {opened.views}")
    opened.command(f"DROP DATABASE {opened.name}")
    opened.close()
