"""Settings of the commands in this package; each stage has its own beside its code."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from schemas.settings import setting
from stream.opening import LogSettings


@dataclass(frozen=True)
class UpSettings(LogSettings):
    """`hitstream up`: the supervisor."""

    host: str = setting("127.0.0.1", "address that the tracker and the API listen on")
    port: int = setting(8080, "port of the tracker and the Reporting API", minimum=1)
    sql_port: int = setting(8123, "port of the SQL endpoint; 0 switches it off", minimum=0)
    admin_token: str = setting(
        "", "token of the super user; when empty one is made and kept in the data directory", secret=True
    )
    ingest_processes: int = setting(
        1,
        "number of ingest processes, 1 to 16; the first listens on the port, the others on the next ones",
        minimum=1,
    )
    processors: int = setting(
        1, "number of processor processes; the partitions are divided among them", minimum=1
    )
    processor_metrics_port: int = setting(
        0,
        "port for /metrics and /health of a processor (`up`: and the next ones); 0 for none",
        minimum=0,
    )
    compatibility: Literal["full", "strict"] = setting(
        "full", "strict reproduces Matomo's omissions in answers (for comparing), full answers everything"
    )
    cors_origins: tuple[str, ...] = setting(
        ("*",), "origins of the web pages that may read the Reporting API; * is any, empty is none"
    )
    first_site: bool = setting(True, "make a first site when there is none")
    stop_seconds: float = setting(
        30.0, "how long a process may take to stop gracefully before it is killed", minimum=0.1
    )


@dataclass(frozen=True)
class DatabaseSettings(LogSettings):
    """`hitstream database`: sink, rollups, Reporting API, SQL endpoint. The sink has settings of its own."""

    host: str = setting("127.0.0.1", "address that the tracker and the API listen on")
    port: int = setting(8080, "port of the tracker and the Reporting API", minimum=1)
    reporting_host: str = setting("127.0.0.1", "address of the API inside, to which ingest forwards")
    reporting_port: int = setting(8081, "its port; `up` chooses a free one", minimum=1)
    sql_host: str = setting("127.0.0.1", "address of the SQL endpoint")
    sql_port: int = setting(8123, "port of the SQL endpoint; 0 switches it off", minimum=0)
    admin_token: str = setting(
        "", "token of the super user; when empty one is made and kept in the data directory", secret=True
    )
    compatibility: Literal["full", "strict"] = setting(
        "full", "strict reproduces Matomo's omissions in answers (for comparing), full answers everything"
    )
    row_limits: tuple[str, ...] = setting(
        (), "rows that strict shows of reports, and below each row, before Others: actions=500/100,..."
    )
    cors_origins: tuple[str, ...] = setting(
        ("*",), "origins of the web pages that may read the Reporting API; * is any, empty is none"
    )
    geoip_database: Path | None = setting(None, "file of a MaxMind-format database with cities or countries")


@dataclass(frozen=True)
class StageSettings(LogSettings):
    """`hitstream sink` and `hitstream rollups`: the work of the database process on a ClickHouse server."""

    metrics_host: str = setting(
        "127.0.0.1", "address on which stages without a port of their own show /metrics and /health"
    )
    sink_metrics_port: int = setting(0, "port for /metrics and /health of a sink; 0 for none", minimum=0)
    rollups_metrics_port: int = setting(
        0, "port for /metrics and /health of a rollup worker; 0 for none", minimum=0
    )


@dataclass(frozen=True)
class ClientSettings:
    """The commands that talk to a running instance: status, drain, sql, explain, reset, import-log, demo."""

    data_dir: Path = setting(Path("data"), "directory that holds the log, the state and the database")
    url: str = setting("", "address of the instance; when empty the one running on the data directory")
    admin_token: str = setting(
        "", "token of the super user; when empty the one kept in the data directory", secret=True
    )
