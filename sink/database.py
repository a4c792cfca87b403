"""The ClickHouse database of one instance: chDB in this process or a server, through the same client."""

import contextlib
import errno
import functools
import os
import re
import shutil
import tempfile
import threading
import urllib.parse
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import clickhouse_connect
from clickhouse_connect.driver.client import Client

from schemas.settings import SettingsError
from sink import cluster as clusters
from sink.migrations import Migration, catalog_of, catalog_statements, definition_of, migrate, view_statements

VIEWS = "hitstream"
_PROBE = "SELECT 1 FORMAT TSV"
_PROBES = 5

NOT_STORED: Mapping[str, Mapping[str, str]] = {"actions": {"owner": "UInt64"}}
"""Fields of rows that are read and left out, with their types: an action's owner is its visit's, and took
3.4 of 53 bytes per action."""

STORED_AS: Mapping[str, Mapping[str, tuple[str, str]]] = {
    table: {"owner": ("owner_less_visitor", "owner - visitor_id")} for table in ("visits", "hits")
}
"""Fields of rows that other columns tell: the column that is stored instead, and what goes into it. A column
with the name of the field computes it."""

INSERT_SETTINGS: Mapping[str, int] = {
    # Rows of one key in a block are left to merges and FINAL, as those of two blocks are: to look for them
    # took a tenth to a fifth of an insert. Of visits there is only the newest (sink.encoding.split).
    "optimize_on_insert": 0,
    # One block, one thread: more of them only wait for each other.
    "max_threads": 1,
}

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


MERGES_NICER = 10
"""By so much than other threads. A merge can wait; hits that are accepted, processed and stored meanwhile
can't. It still gets a tenth of a core that others want whole."""


def _let_merges_give_way() -> None:
    """Of this process's threads those that merge parts get a core after all others do; on Linux."""
    nice = os.getpriority(os.PRIO_PROCESS, 0) + MERGES_NICER
    for thread in Path("/proc/self/task").glob("[0-9]*"):
        # It may have ended meanwhile.
        with contextlib.suppress(OSError):
            if (thread / "comm").read_text().strip() == "MergeMutate":
                os.setpriority(os.PRIO_PROCESS, int(thread.name), nice)


@contextlib.contextmanager
def _readable(block: bytes) -> Iterator[str]:
    """A path under which chDB reads `block`: in memory where the system has that, since a file would stay
    behind when the process is killed, with addresses of visitors in it."""
    if hasattr(os, "memfd_create"):
        with open(os.memfd_create("hitstream"), "wb") as file:
            file.write(block)
            file.flush()
            yield f"/proc/self/fd/{file.fileno()}"
    else:
        with tempfile.NamedTemporaryFile(prefix="hitstream-", suffix=".msgpack") as file:
            file.write(block)
            file.flush()
            yield file.name


def database_name(epoch: int, views: str = VIEWS) -> str:
    """The database of one epoch of the log: a reset begins a new one and drops the old."""
    return f"{views}_{epoch}"


def kept_of(name: str) -> str:
    """The database beside that of an embedded epoch's tables, for what reports keep in memory."""
    return f"{name}_kept"


ROOM_BYTES = 64 << 20


@dataclass(frozen=True)
class Place:
    """Where a database is and how it is reached; `repr` shows no password."""

    dsn: str = field(repr=False)
    """Without the name of a database."""
    views: str = VIEWS
    """The database of the public views; those of tables have its name and the epoch."""
    cluster: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Of every connection."""

    @property
    def is_embedded(self) -> bool:
        return self.dsn.startswith("chdb:")


def server_place(
    dsn: str, cluster: str = "", *, variable: str = "HITSTREAM_CLICKHOUSE", reads_only: bool = False
) -> Place:
    """The server of a DSN http(s)://user:password@host:port/database. Raises SettingsError, whose text holds
    nothing of the DSN."""
    try:
        parts = urllib.parse.urlsplit(dsn)
        reachable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        reachable = False
    if not reachable:
        raise SettingsError(f"{variable} is not valid: expected http(s)://user:password@host:port/database")
    views = urllib.parse.unquote(parts.path.strip("/")) or VIEWS
    for name, meaning in ((views, f"the database in {variable}"), (cluster, "HITSTREAM_CLICKHOUSE_CLUSTER")):
        if name and not _NAME.fullmatch(name):
            raise SettingsError(f"{meaning} is {name!r}: expected letters, digits and _")
    bare = urllib.parse.urlunsplit((parts.scheme, parts.netloc, "", parts.query, ""))
    settings = clusters.READ_SETTINGS if reads_only else clusters.SETTINGS
    return Place(bare, views, cluster, settings if cluster else {})


def _quoted(text: str) -> str:
    """A string literal of SQL."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


class _Writes:
    """How many statements of this process have ended that may have changed a database."""

    def __init__(self) -> None:
        self._counting, self.ended = threading.Lock(), 0

    @contextlib.contextmanager
    def counted(self) -> Iterator[None]:
        """Also one that failed: some of it may be stored."""
        try:
            yield
        finally:
            with self._counting:
                self.ended += 1


_WRITES = _Writes()


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
    return int(name.removesuffix("_kept").rpartition("_")[2])


def check_room(directory: Path) -> None:
    """Raises OSError where a disk has less than ROOM_BYTES left.

    chDB that creates a table or a view on a full disk leaves an empty definition, and never opens again."""
    free = shutil.disk_usage(directory).free
    if free < ROOM_BYTES:
        raise OSError(
            errno.ENOSPC,
            f"no space for the database to start: {free >> 20} MiB are free, {ROOM_BYTES >> 20} needed",
            str(directory),
        )


class Database:
    """Connections to one database of tables (`name`) and one of public views (`views`).

    May be used from any thread: every thread gets a client of its own, since a client serves one call at a
    time. chDB holds its directory alone: a second process that opens it fails."""

    def __init__(self, place: Place | str, name: str, *, views: str = "") -> None:
        """`place` may be a DSN; `views` is that of the place unless given."""
        self.place = Place(place) if isinstance(place, str) else place
        self.name, self.views = name, views or self.place.views
        for value in (self.name, self.views):
            if not _NAME.fullmatch(value):
                raise ValueError(f"{value!r} is not a database name: expected letters, digits and _")
        self._local = threading.local()
        self._clients: list[Client] = []
        self._types: dict[str, dict[str, str]] = {}
        """Types of the columns of tables that were inserted into."""
        self._lock = threading.Lock()

    def connect(self, database: str | None = None, settings: Mapping[str, Any] | None = None) -> Client:
        """A client that the caller closes, for the database of tables unless another is named."""
        return self._connect(database or self.name, settings)

    def _connect(self, database: str | None, settings: Mapping[str, Any] | None = None) -> Client:
        wanted = {**self.place.settings, **(settings or {})}
        if self.place.is_embedded:
            client = clickhouse_connect.get_client(
                dsn=self.place.dsn, database=database, settings=wanted, query_limit=0
            )
            return _forgets_failed_output(client)
        # A session would be locked by a query that timed out here and still runs there.
        return clickhouse_connect.get_client(
            dsn=self.place.dsn,
            database=database,
            settings=wanted,
            query_limit=0,
            autogenerate_session_id=False,
        )

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

        Raises sink.migrations.NewerDatabaseError, OSError when the disk has no room for chDB to start."""
        if self.place.is_embedded:
            check_room(Path(self.place.dsn.removeprefix("chdb://")).parent)
        first = self._connect(None if self.place.is_embedded else "default")
        try:
            for name in (self.name, self.views, catalog_of(self.views)):
                for statement in self._spoken(f"CREATE DATABASE IF NOT EXISTS `{name}`"):
                    first.command(statement)
            if self.place.is_embedded:
                first.command(f"CREATE DATABASE IF NOT EXISTS `{kept_of(self.name)}` ENGINE = Memory")
        finally:
            first.close()
        applied = migrate(self.command)
        for statement in view_statements(self.name, self.views):
            self.command(statement)
        self._make_catalog()
        if self.place.is_embedded:
            _let_merges_give_way()
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

    def _spoken(self, sql: str) -> list[str]:
        """The statements that stand for one where it runs."""
        return clusters.clustered(sql, self.place.cluster) if self.place.cluster else [sql]

    @property
    def writes(self) -> int:
        """Another number once a statement has ended that may have changed the database: of this process, in
        which an embedded one has all of them."""
        return _WRITES.ended

    def command(self, sql: str, parameters: Mapping[str, Any] | None = None) -> object:
        """Run a statement without a result set, or one whose first value is wanted."""
        answer: object = None
        with _WRITES.counted():
            for statement in self._spoken(sql):
                answer = self.client.command(statement, parameters=dict(parameters) if parameters else None)
        return answer

    def execute(
        self, sql: str, parameters: Mapping[str, Any] | None = None, settings: Mapping[str, Any] | None = None
    ) -> None:
        """Run a statement for its effect, with {name:Type} bound from `parameters`."""
        with _WRITES.counted():
            for statement in self._spoken(sql):
                self.client.command(
                    statement,
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
        """Insert concatenated msgpack values, row after row in the order of `columns`.

        They are read as plain strings and made LowCardinality a column at a time: an action takes 5.1 us of
        CPU instead of 8.0 us, a visit 5.4 us instead of 10.0 us."""
        with _WRITES.counted():
            self._insert_msgpack(table, columns, block)

    def _insert_msgpack(self, table: str, columns: Sequence[str], block: bytes) -> None:
        left_out, instead = NOT_STORED.get(table, {}), STORED_AS.get(table, {})
        stored = [instead.get(name, (name, name)) for name in columns if name not in left_out]
        names, values = (", ".join(texts) for texts in zip(*stored, strict=True))
        structure = _quoted(self._structure(table, columns))
        into = f"{table} ({names}) SELECT {values} FROM"
        if not self.place.is_embedded:
            self.client.raw_insert(
                f"{into} input({structure})",
                insert_block=block,
                fmt="MsgPack",
                settings=dict(INSERT_SETTINGS),
            )
            return
        settings = ", ".join(f"{name} = {value}" for name, value in INSERT_SETTINGS.items())
        with _readable(block) as path:
            self.client.command(
                f"INSERT INTO {into} file({_quoted(path)}, 'MsgPack', {structure}) SETTINGS {settings}"
            )

    def _structure(self, table: str, columns: Sequence[str]) -> str:
        """Names and types of columns as ClickHouse writes them, without LowCardinality."""
        types = self._types.get(table)
        if types is None:
            found = self.rows(
                "SELECT name, type FROM system.columns"
                " WHERE database = {database:String} AND table = {table:String}",
                {"database": self.name, "table": table},
            )
            types = {str(name): str(kind).replace("LowCardinality(String)", "String") for name, kind in found}
            types |= NOT_STORED.get(table, {})
            self._types[table] = types
        return ", ".join(f"{name} {types[name]}" for name in columns)

    def keep_hits(self, days: int) -> None:
        """Set the lifetime of raw hits, in days since their receipt (an import brings old ones); 0 keeps them
        for ever."""
        table = clusters.local("hits") if self.place.cluster else "hits"
        defined = str(self.command(f"SHOW CREATE TABLE {table}"))
        # Every process that opens the database says so; a change goes over all parts.
        if days and f"+ toIntervalDay({int(days)})" not in defined:
            self.command(f"ALTER TABLE hits MODIFY TTL toDateTime(received_at) + toIntervalDay({int(days)})")
        elif not days and "TTL" in defined:
            self.command("ALTER TABLE hits REMOVE TTL")

    def drop_earlier(self) -> list[str]:
        """Drop the databases of earlier epochs that a reset left behind; returns their names.

        Not those of later ones: another reset may have begun one meanwhile."""
        found = self.rows(
            "SELECT name FROM system.databases WHERE match(name, {pattern:String})",
            {"pattern": f"^{self.views}_[0-9]+(_kept)?$"},
        )
        names = [str(row[0]) for row in found if epoch_of(str(row[0])) < epoch_of(self.name)]
        for name in names:
            self.command(f"DROP DATABASE IF EXISTS `{name}` SYNC")
        return names

    def release(self) -> None:
        """Close this thread's client, before the thread ends."""
        client: Client | None = getattr(self._local, "client", None)
        if client is not None:
            with self._lock:
                self._clients.remove(client)
            del self._local.client
            client.close()

    def close(self) -> None:
        """Close the clients of all threads."""
        with self._lock:
            clients, self._clients = self._clients, []
            self._local = threading.local()
        for client in clients:
            client.close()
