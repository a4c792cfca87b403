"""The sink on a real ClickHouse server, alone and as a cluster of one, where a Docker engine is."""

import urllib.parse
from collections.abc import Iterator
from pathlib import Path

import pytest

from sink.archives import archive_day, current_days
from sink.database import Database, server_place
from sink.loop import Sink
from stream.embedded import EmbeddedLog
from tests.clickhouse_http import PASSWORD, USER, running_clickhouse
from tests.integration.sink_process import SMALL_BATCHES, contents, fill

IMAGE = "clickhouse/clickhouse-server:26.9.6.6"
CLUSTER = f"""
<clickhouse>
    <keeper_server>
        <tcp_port>9181</tcp_port>
        <server_id>1</server_id>
        <log_storage_path>/var/lib/clickhouse/coordination/log</log_storage_path>
        <snapshot_storage_path>/var/lib/clickhouse/coordination/snapshots</snapshot_storage_path>
        <raft_configuration>
            <server><id>1</id><hostname>localhost</hostname><port>9234</port></server>
        </raft_configuration>
    </keeper_server>
    <zookeeper><node><host>localhost</host><port>9181</port></node></zookeeper>
    <distributed_ddl><path>/clickhouse/ddl</path></distributed_ddl>
    <remote_servers><main><shard>
        <internal_replication>true</internal_replication>
        <replica>
            <host>localhost</host><port>9000</port><user>{USER}</user><password>{PASSWORD}</password>
        </replica>
    </shard></main></remote_servers>
    <macros><shard>1</shard><replica>one</replica></macros>
</clickhouse>
"""


class ClickHouseContainer:
    """As tests.clickhouse_http.ClickHouseFixture, as far as these tests need it."""

    def __init__(self, host: str, port: int) -> None:
        self._place = f"{host}:{port}"

    def dsn(self, database: str = "", **options: object) -> str:
        password = urllib.parse.quote(PASSWORD, safe="")
        query = f"?{urllib.parse.urlencode(options)}" if options else ""
        return f"http://{USER}:{password}@{self._place}/{database}{query}"


@pytest.fixture(scope="module")
def container(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClickHouseContainer]:
    """Skips where no engine answers."""
    try:
        import docker
        from testcontainers.core.container import DockerContainer
        from testcontainers.core.wait_strategies import HttpWaitStrategy

        docker.from_env(timeout=5).ping()
    except Exception as error:  # whatever the client of Docker raises
        pytest.skip(f"no Docker engine ({type(error).__name__}): needed for a ClickHouse server")
    config = tmp_path_factory.mktemp("config") / "cluster.xml"
    config.write_text(CLUSTER)
    config.chmod(0o644)
    with (
        DockerContainer(IMAGE)
        .with_env("CLICKHOUSE_USER", USER)
        .with_env("CLICKHOUSE_PASSWORD", PASSWORD)
        .with_env("CLICKHOUSE_DEFAULT_ACCESS_MANAGEMENT", "1")
        .with_volume_mapping(str(config), "/etc/clickhouse-server/config.d/cluster.xml", "ro")
        .with_exposed_ports(8123)
        .waiting_for(HttpWaitStrategy(8123, "/ping"))
    ) as started:
        yield ClickHouseContainer(started.get_container_host_ip(), int(started.get_exposed_port(8123)))


@pytest.mark.parametrize("cluster", ["", "main"], ids=["server", "cluster"])
def test_the_tables_of_a_server_are_those_of_the_engine_in_the_process(
    container: ClickHouseContainer, tmp_path: Path, cluster: str
) -> None:
    log = EmbeddedLog(tmp_path / "log", partitions=3)
    fill(log, 300)
    with running_clickhouse(tmp_path / "clickhouse") as fixture:
        here = Database(server_place(fixture.dsn("web")), "web_1")
        here.open()
        Sink(log, here, SMALL_BATCHES).run_to_end()
        expected = contents(here)
        here.close()
    name = f"web{'_on_cluster' if cluster else ''}"
    there = Database(server_place(container.dsn(name), cluster), f"{name}_1")
    there.open()
    there.keep_hits(7)
    Sink(log, there, SMALL_BATCHES).run_to_end()
    assert contents(there) == expected
    ((site_id, day),) = there.rows("SELECT site_id, min(date) FROM visits FINAL GROUP BY site_id LIMIT 1")
    archived = archive_day(there, site_id, day)
    assert archived.generation > 0
    assert current_days(there, site_id, day, day, reports=[]) == {}, "a day must be quiet first"
    assert there.open() == []
    there.close()
    log.close()
