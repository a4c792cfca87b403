"""The SQL endpoint: ClickHouse's HTTP protocol for dashboards, over the public views, reading only.

Grafana, Metabase, DBeaver and clickhouse-connect talk to it as to a ClickHouse server. A token is needed; who
may see some sites only sees their rows only. What may run is decided in reporting.sql_guard; readonly and the
limits are set here and can't be raised by the client."""

import asyncio
import base64
import binascii
import logging
import re
import threading
import uuid
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol

from aiohttp import web
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError

from reporting.sql_guard import (
    VIEWS,
    Scope,
    SqlRefusedError,
    allowed_functions,
    check_format,
    check_identifiers,
    check_tree,
    quoted,
    split_format,
    with_catalog,
    with_parameters,
)
from schemas.access import Grant
from schemas.settings import setting

logger = logging.getLogger(__name__)

DEFAULT_FORMAT = "TabSeparated"
CONTENT_TYPES = (
    ("JSONEachRow", "application/x-ndjson; charset=UTF-8"),
    ("JSON", "application/json; charset=UTF-8"),
    ("CSV", "text/csv; charset=UTF-8; header=absent"),
    ("T", "text/tab-separated-values; charset=UTF-8"),
    ("Native", "application/octet-stream"),
    ("RowBinary", "application/octet-stream"),
    ("Arrow", "application/octet-stream"),
    ("Parquet", "application/octet-stream"),
)
OUTPUT_SETTINGS = re.compile(
    r"output_format_(json|csv|tsv|pretty|native|arrow|parquet|binary)_[a-z0-9_]{1,60}|date_time_output_format"
    r"|session_timezone|join_use_nulls|aggregate_functions_null_for_empty|prefer_column_name_to_alias"
)
"""Settings of the client that only shape its answer; all others are left out."""
LOWERED_SETTINGS = ("max_execution_time", "max_result_rows", "max_rows_to_read", "max_threads")

_SHOW_TABLES = re.compile(r"SHOW (?:FULL )?TABLES(?: FROM (?P<database>\w+))?")
_DESCRIBE = re.compile(r"(?:DESCRIBE|DESC) TABLE (?:(?P<database>\w+)\.)?(?P<table>\w+)")
_EXISTS = re.compile(r"EXISTS (?:TABLE |VIEW )?(?:(?P<database>\w+)\.)?(?P<table>\w+)")
_UNESCAPED = {"n": "\n", "t": "\t", "r": "\r", "0": "\0", "b": "\b", "f": "\f"}


@dataclass(frozen=True)
class SqlSettings:
    sql_max_seconds: float = setting(30.0, "longest run of one SQL query", minimum=0.1)
    sql_max_memory: int = setting(1 << 30, "bytes of memory that one SQL query may use", minimum=1 << 20)
    sql_max_rows: int = setting(1_000_000, "rows that one SQL query may return", minimum=1)
    sql_max_bytes: int = setting(256 << 20, "bytes that one SQL query may return", minimum=1)
    sql_max_rows_read: int = setting(2_000_000_000, "rows that one SQL query may read", minimum=1)
    sql_concurrency: int = setting(3, "SQL queries that run at the same time; others wait", minimum=1)


class Authenticate(Protocol):
    """The grant of a token, None when it is wrong; `client` is the address for limits on wrong tokens."""

    def __call__(self, token: str, client: str) -> Grant | None: ...


@dataclass(frozen=True)
class Answer:
    body: bytes
    format: str


def error_of(error: ClickHouseError) -> SqlRefusedError:
    """ClickHouse's own error, shortened to its sentence."""
    # The driver adds the address of the server, which is nobody's business.
    text = re.sub(r"\s*\(for url [^)]*\)\s*$", "", str(error))
    matched = re.search(r"Code: (\d+)\.\s+DB::Exception:\s*", text)
    code = int(matched[1]) if matched else 1002
    sentence = text[matched.end() :] if matched else text
    sentence = re.sub(r"^Code: \d+\. DB::Exception: ", "", sentence)
    named = re.search(r"\(([A-Z][A-Z0-9_]+)\)\s*(?:\(version[^)]*\))?\s*$", sentence)
    name = named[1] if named else "UNKNOWN_EXCEPTION"
    return SqlRefusedError(sentence[: named.start()].strip() if named else sentence.strip(), code, name)


class SqlRunner:
    """Checks and runs queries; may be used from any thread.

    `connect` gives a new client whose database is that of the views; `tables` names the database behind them
    now (it changes with a reset)."""

    def __init__(
        self,
        connect: Callable[[], Client],
        tables: Callable[[], str],
        *,
        views: str = "hitstream",
        settings: SqlSettings | None = None,
    ) -> None:
        self._connect, self._tables = connect, tables
        self.settings = settings or SqlSettings()
        self.scope = Scope(views=views, catalog=f"{views}_catalog")
        self._local = threading.local()
        self._clients: list[Client] = []
        self._functions: frozenset[str] | None = None
        self._lock = threading.Lock()

    @property
    def _client(self) -> Client:
        client: Client | None = getattr(self._local, "client", None)
        if client is None:
            client = self._local.client = self._connect()
            with self._lock:
                self._clients.append(client)
        return client

    def close(self) -> None:
        with self._lock:
            clients, self._clients = self._clients, []
            self._local = threading.local()
        for client in clients:
            client.close()

    def run(
        self,
        text: str,
        grant: Grant,
        *,
        default_format: str = DEFAULT_FORMAT,
        parameters: Mapping[str, str] | None = None,
        client_settings: Mapping[str, str] | None = None,
    ) -> Answer:
        """The answer in the query's own format, else `default_format`. Raises SqlRefusedError."""
        try:
            return self._run(text, grant, default_format, parameters or {}, client_settings or {})
        except ClickHouseError as error:
            raise error_of(error) from None

    def _run(
        self,
        text: str,
        grant: Grant,
        default_format: str,
        parameters: Mapping[str, str],
        client_settings: Mapping[str, str],
    ) -> Answer:
        row_filter = self._row_filter(grant)
        canonical = self._canonical(text)
        check_identifiers(canonical)
        query, wanted = split_format(canonical)
        described = self._described(query)
        if described:
            query = described
        else:
            query = self._spoken_query(query)
            query = self._canonical(with_catalog(with_parameters(query, parameters), self.scope))
            check_identifiers(query)
            check_tree(self._tree(query), self.scope, self._allowed())
        chosen = wanted or default_format
        check_format(chosen)
        settings = ", ".join(
            f"{name} = {value}" for name, value in self._settings(client_settings, row_filter).items()
        )
        body = self._client.raw_query(f"{query} FORMAT {chosen} SETTINGS {settings}")
        return Answer(body, chosen)

    def _tree(self, query: str) -> list[str]:
        """The lines of the parsed query. As tab-separated text: a FORMAT that the driver puts at the end is
        taken for one of the explained query, and a server then answers in its own."""
        lines = self._client.raw_query(f"EXPLAIN AST {query}").decode("utf-8", "surrogateescape")
        return [unescaped(line) for line in lines.split("\n") if line]

    def _canonical(self, text: str) -> str:
        rows = self._client.query(
            "SELECT formatQuerySingleLine({text:String})", parameters={"text": text}
        ).result_rows
        return str(rows[0][0])

    def _allowed(self) -> frozenset[str]:
        if self._functions is None:
            rows = self._client.query(
                "SELECT name, alias_to, toString(categories) FROM system.functions"
            ).result_rows
            self._functions = allowed_functions((str(a), str(b), str(c)) for a, b, c in rows)
        return self._functions

    def _spoken_query(self, query: str) -> str:
        """SHOW and EXISTS of clients as queries over the catalog; others as they are."""
        catalog, views = self.scope.catalog, self.scope.views
        if query == "SHOW DATABASES":
            return f"SELECT name FROM {catalog}.databases"  # noqa: S608 - our own names
        if matched := _SHOW_TABLES.fullmatch(query):
            if matched["database"] not in (None, views):
                raise SqlRefusedError(
                    f"Database {matched['database']} does not exist", 81, "UNKNOWN_DATABASE"
                )
            return f"SELECT name FROM {catalog}.tables ORDER BY name"  # noqa: S608
        if matched := _EXISTS.fullmatch(query):
            known = matched["table"] in VIEWS and matched["database"] in (None, views)
            return f"SELECT toUInt8({int(known)}) AS result"
        return query

    def _described(self, query: str) -> str:
        """DESCRIBE of a public view; empty for other queries."""
        matched = _DESCRIBE.fullmatch(query)
        if matched is None:
            return ""
        views = self.scope.views
        if matched["table"] not in VIEWS or matched["database"] not in (None, views):
            raise SqlRefusedError(f"Table {matched['table']} does not exist", 60, "UNKNOWN_TABLE")
        return f"DESCRIBE TABLE {views}.{matched['table']}"

    def _row_filter(self, grant: Grant) -> str:
        """The value of additional_table_filters, empty for who may see every site."""
        if grant.superuser:
            return ""
        sites = sorted(site_id for site_id in grant.roles if grant.allows("view", site_id))
        if not sites:
            raise SqlRefusedError(f"{grant.login} may not view any site", 497, "ACCESS_DENIED")
        condition = quoted(f"site_id IN ({', '.join(map(str, sites))})")
        tables = self._tables()
        # On a cluster `visits` is spread over tables `visits_local`.
        names = [name for view in sorted(VIEWS) for name in (view, f"{view}_local")]
        return "{" + ", ".join(f"{quoted(f'{tables}.{name}')}: {condition}" for name in names) + "}"

    def _settings(self, wanted: Mapping[str, str], row_filter: str) -> dict[str, str]:
        limits = self.settings
        values = {name: quoted(value) for name, value in wanted.items() if OUTPUT_SETTINGS.fullmatch(name)}
        numbers: dict[str, float] = {
            "max_execution_time": limits.sql_max_seconds,
            "max_result_rows": limits.sql_max_rows,
            "max_rows_to_read": limits.sql_max_rows_read,
            "max_threads": 2,
        }
        for name in LOWERED_SETTINGS:
            try:
                asked = float(wanted.get(name, ""))
            except ValueError:
                continue
            if 0 < asked < numbers[name]:
                numbers[name] = asked if name == "max_execution_time" else int(asked)
        values.update({name: str(number) for name, number in numbers.items()})
        values.update(
            {
                "readonly": "1",
                "max_memory_usage": str(limits.sql_max_memory),
                "max_bytes_before_external_group_by": "0",
                "max_result_bytes": str(limits.sql_max_bytes),
                "result_overflow_mode": "'throw'",
                "timeout_overflow_mode": "'throw'",
                "allow_introspection_functions": "0",
                "max_ast_elements": "20000",
                "max_subquery_depth": "50",
            }
        )
        if row_filter:
            values["additional_table_filters"] = row_filter
        return values


def run_sql(runner: SqlRunner, text: str, grant: Grant, *, format: str = "PrettyCompactMonoBlock") -> str:
    """`hitstream sql`: the answer as text. Raises SqlRefusedError."""
    return runner.run(text, grant, default_format=format).body.decode("utf-8", "replace")


def unescaped(value: str) -> str:
    """A query parameter of the HTTP protocol: tab, newline and backslash come escaped."""
    return re.sub(r"\\(.)", lambda matched: _UNESCAPED.get(matched[1], matched[1]), value, flags=re.DOTALL)


def token_of(request: web.Request, url: Mapping[str, str]) -> str:
    """From X-ClickHouse-Key, Authorization (Bearer, or Basic with any user) or the password parameter."""
    header = request.headers.get("X-ClickHouse-Key", "")
    if header:
        return header
    scheme, _, value = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return value.strip()
    if scheme.lower() == "basic":
        try:
            return base64.b64decode(value, validate=True).decode().partition(":")[2]
        except (binascii.Error, UnicodeDecodeError):
            return ""
    return url.get("password", "")


def content_type(format: str) -> str:
    return next(
        (kind for prefix, kind in CONTENT_TYPES if format.startswith(prefix)), "text/plain; charset=UTF-8"
    )


class SqlEndpoint:
    """The HTTP side: `app()` is served on a port of its own, 127.0.0.1:8123 as ClickHouse's."""

    def __init__(self, runner: SqlRunner, authenticate: Authenticate, *, max_body: int = 1 << 20) -> None:
        self._runner, self._authenticate, self._max_body = runner, authenticate, max_body
        self._executor = ThreadPoolExecutor(runner.settings.sql_concurrency, thread_name_prefix="sql")

    def app(self) -> web.Application:
        app = web.Application(client_max_size=self._max_body)
        for path in ("/", "/query"):
            app.router.add_route("GET", path, self.query)
            app.router.add_route("POST", path, self.query)
        for path in ("/ping", "/replicas_status"):
            app.router.add_get(path, self.ping)
        app.on_cleanup.append(self._clean_up)
        return app

    async def _clean_up(self, _app: web.Application) -> None:
        self._executor.shutdown(wait=True, cancel_futures=True)
        self._runner.close()

    async def ping(self, _request: web.Request) -> web.Response:
        return web.Response(text="Ok.\n")

    async def query(self, request: web.Request) -> web.Response:
        query_id = request.query.get("query_id") or str(uuid.uuid4())
        try:
            text = await self._text(request)
            if text is None:
                return web.Response(text="Ok.\n")
            grant = self._grant(request)
            answer = await self._run(request, text, grant)
        except SqlRefusedError as error:
            return self._refusal(error, query_id)
        response = web.Response(
            body=answer.body,
            headers={
                **self._headers(query_id),
                "Content-Type": content_type(answer.format),
                "X-ClickHouse-Format": answer.format,
            },
        )
        if request.query.get("enable_http_compression") == "1":
            response.enable_compression()
        return response

    async def _text(self, request: web.Request) -> str | None:
        if request.query.get("compress") == "1" or request.query.get("decompress") == "1":
            raise SqlRefusedError(
                "ClickHouse's own block compression is not offered here: switch compression off in the client"
                " (compress=0), or use enable_http_compression",
                48,
                "NOT_IMPLEMENTED",
            )
        if request.headers.get("Content-Encoding", "identity").lower() not in ("identity", "gzip", "deflate"):
            raise SqlRefusedError("the body may come plain, as gzip or as deflate", 48, "NOT_IMPLEMENTED")
        try:
            body = (await request.read()).decode() if request.can_read_body else ""
        except UnicodeDecodeError:
            raise SqlRefusedError("the query is not UTF-8", 62, "SYNTAX_ERROR") from None
        except web.HTTPRequestEntityTooLarge:
            raise SqlRefusedError(
                f"the query is longer than {self._max_body} bytes", 62, "SYNTAX_ERROR"
            ) from None
        parts = [part for part in (request.query.get("query", ""), body) if part.strip()]
        if not parts:
            if request.method == "GET":
                return None
            raise SqlRefusedError("Empty query", 62, "SYNTAX_ERROR")
        return "\n".join(parts)

    def _grant(self, request: web.Request) -> Grant:
        grant = self._authenticate(token_of(request, request.query), request.remote or "")
        if grant is None:
            raise SqlRefusedError(
                "Authentication failed: send a token as password (of any user), X-ClickHouse-Key or Bearer",
                516,
                "AUTHENTICATION_FAILED",
            )
        return grant

    async def _run(self, request: web.Request, text: str, grant: Grant) -> Answer:
        url = request.query
        database = url.get("database") or request.headers.get("X-ClickHouse-Database") or ""
        if database not in ("", "default", self._runner.scope.views):
            raise SqlRefusedError(
                f"Database {database} does not exist, use {self._runner.scope.views}", 81, "UNKNOWN_DATABASE"
            )
        parameters = {
            name.removeprefix("param_"): unescaped(value)
            for name, value in url.items()
            if name.startswith("param_")
        }
        default_format = (
            request.headers.get("X-ClickHouse-Format") or url.get("default_format") or DEFAULT_FORMAT
        )
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(
            self._executor,
            lambda: self._runner.run(
                text, grant, default_format=default_format, parameters=parameters, client_settings=url
            ),
        )

    def _headers(self, query_id: str) -> dict[str, str]:
        return {
            "X-ClickHouse-Server-Display-Name": "hitstream",
            "X-ClickHouse-Query-Id": re.sub(r"[^\w.:-]", "", query_id)[:100],
            "X-ClickHouse-Timezone": "UTC",
            "X-ClickHouse-Summary": "{}",
        }

    def _refusal(self, error: SqlRefusedError, query_id: str) -> web.Response:
        status = {516: 403, 497: 403, 164: 403, 60: 404, 81: 404, 159: 408, 241: 500}.get(error.code, 400)
        headers = {**self._headers(query_id), "X-ClickHouse-Exception-Code": str(error.code)}
        if error.code == 516:
            headers["WWW-Authenticate"] = 'Basic realm="hitstream"'
            status = 401
        return web.Response(
            text=f"Code: {error.code}. DB::Exception: {error}. ({error.name})\n",
            status=status,
            headers=headers,
        )
