"""Settings of the sink, the rollups and the SQL endpoint: parts of the database process."""

from dataclasses import dataclass

from schemas.settings import setting


@dataclass(frozen=True)
class ClickHouseSettings:
    """Where the tables are."""

    clickhouse: str = setting(
        "",
        "ClickHouse server, http(s)://user:password@host:port/database; empty: chDB in the data directory",
        secret=True,
    )
    clickhouse_reader: str = setting(
        "", "the same for queries of reports and SQL, with a user who may only read", secret=True
    )
    clickhouse_cluster: str = setting(
        "", "cluster of that server: tables are then replicated and divided by site among its shards"
    )


@dataclass(frozen=True)
class SinkSettings:
    sink_flush_seconds: float = setting(
        0.5,
        "seconds after which read rows go into the database; up to three times that while storing is slow",
        minimum=0.01,
    )
    sink_hits_flush_seconds: float = setting(
        5.0, "the same for raw hits, which no report reads: larger batches cost less", minimum=0.01
    )
    sink_flush_rows: int = setting(50_000, "rows of one table that go into the database at once", minimum=1)
    sink_flush_bytes: int = setting(
        32 << 20, "bytes of one table that go into the database at once", minimum=1
    )
    keep_hits_days: int = setting(180, "days that raw hits are kept in the database, 0 for ever", minimum=0)
    keep_rows_days: int = setting(
        0, "days that visits and actions are kept, by whole months, 0 for ever; archives stay", minimum=0
    )
    keep_archives_days: int = setting(
        0, "days that archives are kept, by whole months, 0 for ever", minimum=0
    )


@dataclass(frozen=True)
class RollupSettings:
    """Who computes the archives of which sites."""

    rollup_workers: tuple[str, ...] = setting(
        (), "workers that compute the archives of some sites only, as `shops=1 2`; `rest` does the others"
    )
    rollup_worker: str = setting(
        "", "the one of these workers that runs in this process; empty: all of them, in one process"
    )
