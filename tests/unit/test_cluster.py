"""Our statements on a ClickHouse cluster: replicated tables on the shards, Distributed ones over them."""

import re

import pytest

from sink.cluster import clustered
from sink.migrations import catalog_statements, migrations, statements_of, view_statements

OURS = [statement for migration in migrations() for statement in statements_of(migration.sql)]
TABLES = [one for one in OURS if one.startswith("CREATE TABLE")]


def table_of(statement: str) -> str:
    matched = re.match(r"CREATE TABLE IF NOT EXISTS (\w+)", statement)
    assert matched
    return matched[1]


def test_a_table_becomes_a_replicated_one_per_shard_and_a_distributed_one() -> None:
    statement = (
        "CREATE TABLE IF NOT EXISTS things (\n    site_id UInt32 CODEC(ZSTD(1)),\n    version UInt64\n)\n"
        "ENGINE = ReplacingMergeTree(version, is_deleted)\nPARTITION BY toYYYYMM(date)\n"
        "ORDER BY (site_id, date)"
    )
    assert clustered(statement, "main") == [
        "CREATE TABLE IF NOT EXISTS things_local ON CLUSTER `main` (\n    site_id UInt32 CODEC(ZSTD(1)),\n"
        "    version UInt64\n)\nENGINE = ReplicatedReplacingMergeTree("
        "'/clickhouse/tables/{database}/{table}/{shard}', '{replica}', version, is_deleted)\n"
        "PARTITION BY toYYYYMM(date)\nORDER BY (site_id, date)",
        "CREATE TABLE IF NOT EXISTS things ON CLUSTER `main` AS things_local\n"
        "ENGINE = Distributed('main', currentDatabase(), 'things_local', site_id)",
    ]


@pytest.mark.parametrize("statement", TABLES, ids=table_of)
def test_every_table_of_ours_has_both(statement: str) -> None:
    name = table_of(statement)
    replicated, distributed = clustered(statement, "main")
    assert replicated.startswith(f"CREATE TABLE IF NOT EXISTS {name}_local ON CLUSTER `main` (")
    assert "ENGINE = Replicated" in replicated
    # Columns, partitions, order and settings are as they were.
    before, after = statement.split("ENGINE = ", 1), replicated.split("ENGINE = ", 1)
    assert before[0].split("(", 1)[1] == after[0].split("(", 1)[1]
    assert before[1].partition("\n")[2] == after[1].partition("\n")[2]
    assert distributed.startswith(f"CREATE TABLE IF NOT EXISTS {name} ON CLUSTER `main` AS {name}_local")


@pytest.mark.parametrize("statement", TABLES, ids=table_of)
def test_rows_that_replace_each_other_lie_on_one_shard(statement: str) -> None:
    """The key of the shard is constant or part of the sorting key, by which rows replace each other."""
    key = clustered(statement, "main")[1].rpartition(", ")[2].rstrip(")")
    order = re.search(r"ORDER BY (.*)", statement)
    assert order
    assert key == "0" or re.search(rf"\b{key}\b", order[1])
    assert (key == "site_id") == bool(re.search(r"^    site_id ", statement, re.MULTILINE))


def test_every_statement_of_ours_is_known_on_a_cluster_and_reaches_all_servers() -> None:
    views = [*view_statements("web_1", "web"), *catalog_statements("web")]
    for statement in [*OURS, *views]:
        for one in clustered(statement, "main"):
            assert one.count(" ON CLUSTER `main`") == 1, one


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        (
            "CREATE DATABASE IF NOT EXISTS `web_1`",
            ["CREATE DATABASE IF NOT EXISTS `web_1` ON CLUSTER `main`"],
        ),
        ("DROP DATABASE IF EXISTS `web_1` SYNC", ["DROP DATABASE IF EXISTS `web_1` ON CLUSTER `main` SYNC"]),
        (
            "CREATE OR REPLACE VIEW `web`.visits (\n a Int8) AS SELECT 1",
            ["CREATE OR REPLACE VIEW `web`.visits ON CLUSTER `main` (\n a Int8) AS SELECT 1"],
        ),
        (
            "ALTER TABLE hits MODIFY TTL toDateTime(time) + toIntervalDay(7)",
            ["ALTER TABLE hits_local ON CLUSTER `main` MODIFY TTL toDateTime(time) + toIntervalDay(7)"],
        ),
        (
            "ALTER TABLE visits ADD COLUMN IF NOT EXISTS x UInt8 CODEC(Delta, ZSTD(1)) AFTER hits",
            [
                "ALTER TABLE visits_local ON CLUSTER `main` ADD COLUMN IF NOT EXISTS x UInt8"
                " CODEC(Delta, ZSTD(1)) AFTER hits",
                "ALTER TABLE visits ON CLUSTER `main` ADD COLUMN IF NOT EXISTS x UInt8 AFTER hits",
            ],
        ),
        (
            "ALTER TABLE visits\n    MODIFY COLUMN IF EXISTS x UInt8 CODEC(ZSTD(1))\n"
            "        SETTINGS (min_compress_block_size = 1, max_compress_block_size = 2),\n"
            "    MODIFY COLUMN IF EXISTS y UInt8",
            [
                "ALTER TABLE visits_local ON CLUSTER `main`\n"
                "    MODIFY COLUMN IF EXISTS x UInt8 CODEC(ZSTD(1))\n"
                "        SETTINGS (min_compress_block_size = 1, max_compress_block_size = 2),\n"
                "    MODIFY COLUMN IF EXISTS y UInt8",
                "ALTER TABLE visits ON CLUSTER `main`\n    MODIFY COLUMN IF EXISTS x UInt8,\n"
                "    MODIFY COLUMN IF EXISTS y UInt8",
            ],
        ),
        (
            "ALTER TABLE visits MATERIALIZE COLUMN x SETTINGS mutations_sync = 2",
            ["ALTER TABLE visits_local ON CLUSTER `main` MATERIALIZE COLUMN x SETTINGS mutations_sync = 2"],
        ),
        (
            "ALTER TABLE visits DELETE WHERE site_id = {site:UInt32} SETTINGS mutations_sync = 2",
            [
                "ALTER TABLE visits_local ON CLUSTER `main` DELETE WHERE site_id = {site:UInt32}"
                " SETTINGS mutations_sync = 2"
            ],
        ),
        (
            "OPTIMIZE TABLE visits PARTITION ID '202609' FINAL",
            ["OPTIMIZE TABLE visits_local ON CLUSTER `main` PARTITION ID '202609' FINAL"],
        ),
        (
            "ALTER TABLE visits DELETE WHERE site_id = 1",
            ["ALTER TABLE visits_local ON CLUSTER `main` DELETE WHERE site_id = 1"],
        ),
        (
            "DELETE FROM archives WHERE site_id = 1",
            ["DELETE FROM archives_local ON CLUSTER `main` WHERE site_id = 1"],
        ),
        (
            "OPTIMIZE TABLE visits PARTITION 202601 FINAL",
            ["OPTIMIZE TABLE visits_local ON CLUSTER `main` PARTITION 202601 FINAL"],
        ),
        (
            "INSERT INTO migrations (version, name) VALUES (1, 'DROP')",
            ["INSERT INTO migrations (version, name) VALUES (1, 'DROP')"],
        ),
        ("SELECT count() FROM visits FINAL", ["SELECT count() FROM visits FINAL"]),
    ],
)
def test_other_statements(statement: str, expected: list[str]) -> None:
    assert clustered(statement, "main") == expected


@pytest.mark.parametrize("statement", ["TRUNCATE TABLE visits", "CREATE TABLE x (a Int8) ENGINE = Memory"])
def test_a_change_that_would_reach_one_server_only_is_refused(statement: str) -> None:
    with pytest.raises(ValueError, match="not known on a cluster"):
        clustered(statement, "main")


def test_a_name_that_is_no_name_is_refused() -> None:
    with pytest.raises(ValueError, match="not a cluster's name"):
        clustered("SELECT 1", "main` SYNC; --")
