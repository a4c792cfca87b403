"""One ClickHouse engine for the test process (chDB allows one directory per process), a database per test,
the Reporting API on an empty one.

HITSTREAM_TEST_CLICKHOUSE puts a server in its place: `fixture` is that of tests.clickhouse_http, all else the
DSN of one that runs."""

import os
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path

import pytest

from reporting.app import Resources
from reporting.database import ThreadedDatabase
from schemas.access import Grant
from sink.database import Database
from stream.config import ConfigFollower, ConfigWriter
from stream.embedded import EmbeddedLog
from stream.secrets import TokenStore
from stream.users import UserStore
from tests.clickhouse_http import running_clickhouse
from tests.integration.api import ADMIN, Api

_numbers = count(1)


@pytest.fixture(scope="session")
def clickhouse_dsn(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    wanted = os.environ.get("HITSTREAM_TEST_CLICKHOUSE", "")
    directory = tmp_path_factory.mktemp("clickhouse")
    if wanted == "fixture":
        with running_clickhouse(directory) as server:
            yield server.dsn()
    else:
        yield wanted or f"chdb://{directory}"


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


@pytest.fixture(scope="module")
def empty_database(clickhouse_dsn: str) -> Iterator[Database]:
    """Tables without rows, which no test here fills."""
    opened = Database(clickhouse_dsn, "api_tables", views="api_views")
    opened.open()
    yield opened
    opened.close()


@pytest.fixture
def api(tmp_path: Path, empty_database: Database) -> Iterator[Api]:
    log = EmbeddedLog(tmp_path / "log", 1)
    writer, follower = ConfigWriter(log), ConfigFollower(log)
    tokens, users = TokenStore(log), UserStore(log)
    tokens.add(ADMIN, Grant(login="admin", superuser=True))
    executor = ThreadPoolExecutor(2)
    resources = Resources(
        config=follower.refresh,
        database=ThreadedDatabase(lambda: empty_database.client, executor),
        writer=writer,
        writing=threading.Lock(),
        tokens=tokens,
        users=users,
    )
    yield Api(resources, executor)
    executor.shutdown()
    for part in (users, tokens, follower, writer, log):
        part.close()


@pytest.fixture
def two_sites(api: Api) -> Api:
    for name in ("One", "Two"):
        api.value("SitesManager.addSite", siteName=name, urls="http://site.example/")
    return api
