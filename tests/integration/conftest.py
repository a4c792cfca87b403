"""One ClickHouse engine for the test process (chDB allows one directory per process), a database per test,
the Reporting API on an empty one.

HITSTREAM_TEST_CLICKHOUSE puts a server in its place: `fixture` is that of tests.clickhouse_http, all else the
DSN of one that runs."""

import os
import threading
import uuid
from collections.abc import Iterator, Mapping
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
from tests.instance import RunningInstance, running_instance
from tests.integration.api import ADMIN, Api
from tests.integration.on_disk import BrokerFiles

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


@pytest.fixture(scope="module", params=["embedded", "kafka"])
def log_settings(request: pytest.FixtureRequest) -> Mapping[str, str]:
    """Where an instance has its log: in its directory, or on a broker. A module may take one of them only."""
    return settings_of_log(request)


def settings_of_log(request: pytest.FixtureRequest) -> Mapping[str, str]:
    """Of the log that the fixture's parameter names."""
    if request.param == "embedded":
        return {}
    return {
        "HITSTREAM_KAFKA": request.getfixturevalue("kafka"),
        "HITSTREAM_KAFKA_PREFIX": f"i{uuid.uuid4().hex[:16]}",
        "HITSTREAM_PARTITIONS": "2",
    }


@pytest.fixture(scope="module")
def instance_settings() -> Mapping[str, str]:
    """What else a module's instance is told."""
    return {}


@pytest.fixture(scope="module")
def instance(
    tmp_path_factory: pytest.TempPathFactory,
    log_settings: Mapping[str, str],
    instance_settings: Mapping[str, str],
) -> Iterator[RunningInstance]:
    """A whole Hitstream for a module's tests, on either log."""
    settings = {**log_settings, **instance_settings}
    with running_instance(tmp_path_factory.mktemp("instance") / "data", settings) as running:
        yield running


@pytest.fixture
def empty(instance: RunningInstance) -> RunningInstance:
    """With one site and nothing else."""
    assert instance.command("reset", "--yes").returncode == 0
    instance.api("SitesManager.addSite", siteName="One", ecommerce="1", **{"urls[0]": "http://one.example"})
    return instance


@pytest.fixture
def broker(instance: RunningInstance, request: pytest.FixtureRequest) -> BrokerFiles | None:
    """None where the instance has its log in its directory, or a broker whose files are elsewhere."""
    if "HITSTREAM_KAFKA" not in instance.environment:
        return None
    directory = request.getfixturevalue("kafka_with_files")[1]
    return BrokerFiles(instance, directory) if directory is not None else None
