"""Settings of the ingest process."""

from dataclasses import dataclass
from pathlib import Path

from schemas.settings import setting
from stream.opening import LogSettings


@dataclass(frozen=True, kw_only=True)
class IngestSettings(LogSettings):
    """Filled by schemas.settings.load_settings; what concerns sites or visitors' privacy is configuration."""

    host: str = setting("127.0.0.1", "address to listen on")
    port: int = setting(8080, "port to listen on", minimum=0)
    admin_token: str = setting("", "token with superuser access", secret=True)
    tracker_paths: tuple[str, ...] = setting((), "paths that accept hits besides /matomo.php and /piwik.php")
    trusted_proxies: tuple[str, ...] = setting(
        (), "addresses or ranges of reverse proxies whose X-Forwarded-For names the client"
    )
    reporting_url: str = setting("", "where every other path is forwarded to; empty: answered with 404")
    max_body_bytes: int = setting(10 * 1024 * 1024, "largest request body", minimum=1024)
    max_hit_bytes: int = setting(
        256 * 1024, "longest query of one hit; a longer one is refused as invalid", minimum=1024
    )
    max_buffered_bytes: int = setting(
        256 * 1024 * 1024, "bodies being read at the same time before new ones get 503", minimum=1024
    )
    max_url_bytes: int = setting(32 * 1024, "longest request path with its query", minimum=1024)
    client_timeout_s: float = setting(20.0, "time a client has for sending one request", minimum=0.1)
    keepalive_timeout_s: float = setting(75.0, "time an idle connection stays open", minimum=0)
    max_connections: int = setting(10_000, "connections accepted at the same time", minimum=1)
    max_queued_hits: int = setting(
        200_000, "hits waiting for the log before new ones are answered with 503", minimum=1
    )
    spool_max_bytes: int = setting(
        4 << 30,
        "hits kept in the data directory while the broker is away, before new ones get 503",
        minimum=0,
    )
    spool_after_s: float = setting(
        3.0, "how long a hit waits for the broker before it goes to the spool", minimum=0.1
    )
    ingest_number: int = setting(
        0, "number of this ingest process, 0 to 15; part of every hit's id", minimum=0
    )
    identity_entries: int = setting(
        1_000_000, "active visitors remembered before the oldest are forgotten", minimum=1000
    )
    geoip_database: Path | None = setting(None, "file of a MaxMind-format database with cities or countries")
    config_refresh_s: float = setting(0.02, "how often the configuration log is looked at", minimum=0.001)
    shutdown_timeout_s: float = setting(15.0, "time for answering what is in flight on SIGTERM", minimum=0)
