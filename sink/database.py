"""The ClickHouse database of one instance: chDB in this process or a server, through the same client."""

import functools
import re
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import clickhouse_connect
from clickhouse_connect.driver.client import Client

from sink.migrations import Migration, catalog_of, catalog_statements, definition_of, migrate, view_statements

VIEWS = "hitstream"
_PROBE = "SELECT 1 FORMAT TSV"
_PROBES = 5

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def database_name(epoch: int) -> str:
    """The database of one epoch of the log: a reset begins a new one and drops the old."""
    return f"hitstream_{epoch}"


class LeftoverError(Exception):
    """A connection to chDB keeps answering with the output of a query that failed."""


def _forgets_failed_output(client: Client) -> Client:
    """chDB 4.2 keeps what a query had written before it failed and puts it before the result of the next one
    on the same connection, which may be another user's. So a failure is followed by probes that use it up."""

    def repaired(method: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(method)
        def call(*arguments: Any, **named: Any) -> Any:
            try:
                return method(*arguments, **named)
            except Exception:
                for _ in range(_PROBES):
                    if probe(_PROBE) == b"1\n":
                        break
                else:
                    client.close()
                    raise LeftoverError("the connection to chDB is out of step and was closed") from None
                raise

        return call

    probe = client.raw_query
    for name in ("query", "command", "raw_query", "raw_insert"):
        setattr(client, name, repaired(getattr(client, name)))
    return client


def epoch_of(name: str) -> int:
    """The opposite of database_name."""
    return int(name.rpartition("_")[2])


class Database:
    """Connections to one database of tables (`name`) and one of public views (`views`).

    May be used from any thread: every thread gets a client of its own, since a client serves one call at a
    time. chDB holds its directory alone: a second process that opens it fails."""

    def __init__(self, dsn: str, name: str, *, views: str = VIEWS) -> None:
        for value in (name, views):
            if not _NAME.fullmatch(value):
                raise ValueError(f"{value!r} is not a database name: expected letters, digits and _")
        self.dsn, self.name, self.views = dsn, name, views
        self._local = threading.local()
        self._clients: list[Client] = []
        self._lock = threading.Lock()

    def connect(self, database: str | None = None, settings: Mapping[str, Any] | None = None) -> Client:
        """A client that the caller closes, for the database of tables unless another is named."""
        client = clickhouse_connect.get_client(
            dsn=self.dsn, database=database or self.name, settings=dict(settings or {}), query_limit=0
        )
        return _forgets_failed_output(client) if self.dsn.startswith("chdb:") else client

    @property
    def client(self) -> Client:
        """This thread's client."""
        client: Client | None = getattr(self._local, "client", None)
        if client is None:
            client = self._local.client = self.connect()
            with self._lock:
                self._clients.append(client)
        return client

    def open(self) -> list[Migration]:
        """Create and migrate the database and make its views; returns the migrations applied.

        Raises sink.migrations.NewerDatabaseError."""
        first = clickhouse_connect.get_client(dsn=self.dsn, query_limit=0)
        try:
            for name in (self.name, self.views, catalog_of(self.views)):
                first.command(f"CREATE DATABASE IF NOT EXISTS `{name}`")
        finally:
            first.close()
        applied = migrate(self.command)
        for statement in view_statements(self.name, self.views):
            self.command(statement)
        self._make_catalog()
        return applied

    def _make_catalog(self) -> None:
        # It doesn't change with the epoch, and a reset should not spend time on it.
        statements = catalog_statements(self.views)
        catalog, wanted = catalog_of(self.views), definition_of(statements)
        exists = self.command(f"EXISTS VIEW `{catalog}`.`definition`")
        found = exists and self.command(f"SELECT hash FROM `{catalog}`.`definition`")  # noqa: S608 - our own name
        if found == wanted:
            return
        for statement in statements:
            self.command(statement)
        self.command(f"CREATE OR REPLACE VIEW `{catalog}`.`definition` AS SELECT '{wanted}' AS hash")

    def command(self, sql: str, parameters: Mapping[str, Any] | None = None) -> object:
        """Run a statement without a result set, or one whose first value is wanted."""
        return self.client.command(sql, parameters=dict(parameters) if parameters else None)

    def execute(
        self, sql: str, parameters: Mapping[str, Any] | None = None, settings: Mapping[str, Any] | None = None
    ) -> None:
        """Run a statement for its effect, with {name:Type} bound from `parameters`."""
        self.client.command(
            sql,
            parameters=dict(parameters) if parameters else None,
            settings=dict(settings) if settings else None,
        )

    def rows(
        self,
        sql: str,
        parameters: Mapping[str, Any] | None = None,
        settings: Mapping[str, Any] | None = None,
    ) -> Sequence[Sequence[Any]]:
        """All rows of a query, with {name:Type} bound from `parameters`."""
        result = self.client.query(
            sql,
            parameters=dict(parameters) if parameters else None,
            settings=dict(settings) if settings else None,
        )
        return result.result_rows

    def insert_msgpack(self, table: str, columns: Sequence[str], block: bytes) -> None:
        """Insert concatenated msgpack values, row after row in the order of `columns`."""
        self.client.raw_insert(table, column_names=list(columns), insert_block=block, fmt="MsgPack")

    def keep_hits(self, days: int) -> None:
        """Set the lifetime of raw hits, in days since their receipt (an import brings old ones); 0 keeps them
        for ever."""
        if days:
            self.command(f"ALTER TABLE hits MODIFY TTL toDateTime(received_at) + toIntervalDay({int(days)})")
        elif "TTL" in str(self.command("SHOW CREATE TABLE hits")):
            self.command("ALTER TABLE hits REMOVE TTL")

    def drop_earlier(self) -> list[str]:
        """Drop the databases of earlier epochs that a reset left behind; returns their names.

        Not those of later ones: another reset may have begun one meanwhile."""
        found = self.rows("SELECT name FROM system.databases WHERE match(name, '^hitstream_[0-9]+$')")
        names = [str(row[0]) for row in found if epoch_of(str(row[0])) < epoch_of(self.name)]
        for name in names:
            self.command(f"DROP DATABASE IF EXISTS `{name}` SYNC")
        return names

    def close(self) -> None:
        """Close the clients of all threads."""
        with self._lock:
            clients, self._clients = self._clients, []
            self._local = threading.local()
        for client in clients:
            client.close()
