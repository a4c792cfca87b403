"""A ClickHouse server for tests: chDB, the same engine, in a process of its own over the HTTP protocol.

    with running_clickhouse(directory) as server:
        Database(server_place(server.dsn), "hitstream_1")

It speaks what clickhouse-connect needs: queries in any output format, inserts with their data in the body,
parameters, settings, the database, a user with a password. It can be told to fail (`Fault`). It has no
replication: clusters need real servers (tests/integration/test_clickhouse_container.py).

python -m tests.clickhouse_http DIRECTORY PORT PASSWORD
"""

import base64
import email
import email.policy
import json
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Literal

import chdb

from hitstream.ports import free_port
from tests.waiting import PATIENCE_SECONDS

USER, PASSWORD = "hitstream", "fixture:p@ss/word"

# What a server takes from the address and chDB does not know as settings.
_TRANSPORT = frozenset(
    re.findall(
        r"\w+",
        """
        query database user password session_id session_timeout session_check query_id quota_key compress
        decompress wait_end_of_query client_protocol_version role buffer_size enable_http_compression
        send_progress_in_http_headers http_headers_progress_interval_ms default_format
        cancel_http_readonly_queries_on_client_close
        """,
    )
)
_INSERT = re.compile(rb"\s*(INSERT INTO [^\n]*?)\s+FORMAT (\w+)\s*\n", re.DOTALL)
_HAS_RESULT = re.compile(r"\s*(SELECT|SHOW|EXISTS|DESC|EXPLAIN|WITH)\b", re.IGNORECASE)
_FORMAT = re.compile(r"\bFORMAT\s+(\w+)(\s+SETTINGS\b.*)?\s*;?\s*$", re.IGNORECASE | re.DOTALL)


@dataclass
class Fault:
    """What goes wrong at requests whose SQL begins with `match` (a regular expression).

    `hang`: the statement is carried out and never answered. `drop`: carried out, then the connection closes.
    `half`: an insert is carried out for some of the months that it touches, then the connection closes.
    `refuse`: not carried out, answered with an error of a server that shuts down."""

    match: str
    does: Literal["hang", "drop", "half", "refuse"]
    skip: int = 0
    """Requests that pass before."""
    times: int = 1
    fired: int = 0


class _Engine:
    """Connections by database and settings, since both belong to a connection."""

    def __init__(self, directory: str) -> None:
        self._directory = directory
        self._keeper = chdb.connect(directory)
        self._idle: dict[tuple[str, tuple[tuple[str, str], ...]], list[Any]] = {}
        self._lock = threading.Lock()

    def run(
        self, sql: str | bytes, database: str, settings: Mapping[str, str], parameters: Mapping[str, str]
    ) -> bytes:
        key = (database, tuple(sorted(settings.items())))
        with self._lock:
            idle = self._idle.setdefault(key, [])
            connection = idle.pop() if idle else None
        if connection is None:
            connection = self._open(database, settings)
        try:
            answer = connection.query(sql, "TabSeparated", params=dict(parameters)).bytes() or b""
        except Exception:
            # chDB would put what a failed query had written before the next result.
            connection.close()
            raise
        with self._lock:
            self._idle[key].append(connection)
        return bytes(answer)

    def _open(self, database: str, settings: Mapping[str, str]) -> Any:
        connection = chdb.connect(self._directory)
        try:
            if database:
                connection.query(f"USE `{database}`", "TabSeparated")
            for name, value in settings.items():
                if not re.fullmatch(r"\w+", name):
                    raise RuntimeError(f"Code: 115. DB::Exception: Unknown setting {name}. (UNKNOWN_SETTING)")
                quoted = value.replace("\\", "\\\\").replace("'", "\\'")
                connection.query(f"SET {name} = '{quoted}'", "TabSeparated")
        except Exception:
            connection.close()
            raise
        return connection


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: "_Server"

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: a failed test shows the client's error."""

    def do_GET(self) -> None:
        self._answer_request()

    def do_POST(self) -> None:
        self._answer_request()

    def _answer_request(self) -> None:
        url = urllib.parse.urlsplit(self.path)
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if url.path == "/ping":
            return self._send(200, b"Ok.\n")
        if url.path == "/faults":
            return self._faults(body)
        given = dict(urllib.parse.parse_qsl(url.query, keep_blank_values=True))
        if self.headers.get_content_type() == "multipart/form-data":
            given |= self._fields(body)
            body = b""
        if not self._is_known(given):
            return self._fail("Code: 516. DB::Exception: Authentication failed. (AUTHENTICATION_FAILED)", 403)
        parameters = {n.removeprefix("param_"): v for n, v in given.items() if n.startswith("param_")}
        settings = {n: v for n, v in given.items() if n not in _TRANSPORT and not n.startswith("param_")}
        text = given.get("query", "").encode()
        sql = text + b"\n" + body if text and body else text or body
        with self.server.lock:
            self.server.seen.append(sql[:200].decode(errors="replace"))
            fault = next((f for f in self.server.faults if self._is_hit(f, sql)), None)
        if fault and fault.does == "refuse":
            return self._fail("Code: 210. DB::Exception: Server is shutting down. (NETWORK_ERROR)", 503)
        try:
            halved = fault is not None and fault.does == "half"
            answer = self._run(sql, given.get("database", ""), settings, parameters, halved=halved)
        except Exception as error:
            return self._fail(str(error), 500)
        if fault:
            if fault.does == "hang":
                self.server.released.wait()
            self.close_connection = True
            return None
        return self._send(200, answer, self._result_format(sql))

    def _fields(self, body: bytes) -> dict[str, str]:
        """Query and parameters, when they are too long for an address."""
        head = f"Content-Type: {self.headers['Content-Type']}\r\n\r\n".encode()
        form = email.message_from_bytes(head + body, policy=email.policy.HTTP)
        return {
            str(part.get_param("name", header="content-disposition")): bytes(
                part.get_payload(decode=True)
            ).decode()
            for part in form.iter_parts()
        }

    def _is_hit(self, fault: Fault, sql: bytes) -> bool:
        if fault.fired >= fault.times or not re.match(fault.match.encode(), sql):
            return False
        if fault.skip:
            fault.skip -= 1
            return False
        fault.fired += 1
        return True

    def _is_known(self, given: Mapping[str, str]) -> bool:
        scheme, _, value = self.headers.get("Authorization", "").partition(" ")
        user, password = given.get("user", ""), given.get("password", "")
        if scheme == "Basic":
            user, _, password = base64.b64decode(value).decode().partition(":")
        return (user, password) == (USER, self.server.password)

    def _run(
        self,
        sql: bytes,
        database: str,
        settings: Mapping[str, str],
        parameters: Mapping[str, str],
        *,
        halved: bool,
    ) -> bytes:
        insert = _INSERT.match(sql)
        if insert is None or insert[2] == b"Values":
            return self.server.engine.run(sql.decode(), database, settings, parameters)
        with tempfile.NamedTemporaryFile(suffix=".block") as block:
            block.write(sql[insert.end() :])
            block.flush()
            into, kind = insert[1].decode(), insert[2].decode()
            if " FROM input(" in into:
                # What a server calls input() is a file where the engine has no connection to read from.
                statement = into.replace(" FROM input(", f" FROM file('{block.name}', '{kind}', ", 1)
            else:
                statement = f"{into} FROM INFILE '{block.name}' FORMAT {kind}"
            if not halved:
                return self.server.engine.run(statement, database, settings, parameters)
            return self._run_half(statement, insert[1].split()[2].decode(), database, settings)

    def _run_half(self, statement: str, table: str, database: str, settings: Mapping[str, str]) -> bytes:
        """As a server that ends between two parts: an insert makes a part per month, one after the other."""

        def run(sql: str) -> bytes:
            return self.server.engine.run(sql, database, settings, {})

        parts_sql = (
            f"SELECT name FROM system.parts WHERE active AND database = '{database}' AND table = '{table}'"
            " ORDER BY partition_id"
        )
        run(f"SYSTEM STOP MERGES {table}")
        before = set(run(parts_sql).decode().split())
        run(statement)
        made = [name for name in run(parts_sql).decode().split() if name not in before]
        for name in made[(len(made) + 1) // 2 :]:
            run(f"ALTER TABLE {table} DROP PART '{name}'")
        run(f"SYSTEM START MERGES {table}")
        self.server.halves.append([len(made), (len(made) + 1) // 2])
        return b""

    def _result_format(self, sql: bytes) -> str:
        text = sql[:64].decode(errors="replace")
        if not _HAS_RESULT.match(text):
            return ""
        named = _FORMAT.search(sql[-4000:].decode(errors="replace"))
        return named[1] if named else "TabSeparated"

    def _faults(self, body: bytes) -> None:
        server = self.server
        with server.lock:
            if self.command == "POST":
                server.released.set()
                server.released = threading.Event()
                server.seen.clear()
                server.halves.clear()
                server.faults = [Fault(**fault) for fault in json.loads(body)]
            told = {
                "faults": [asdict(fault) for fault in server.faults],
                "seen": server.seen,
                "halves": server.halves,
            }
        self._send(200, json.dumps(told).encode())

    def _fail(self, message: str, status: int) -> None:
        code = re.search(r"Code: (\d+)", message)
        self._send(status, message.encode() + b"\n", code=code[1] if code else "1002")

    def _send(self, status: int, body: bytes, format: str = "", code: str = "") -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("X-ClickHouse-Server-Display-Name", "fixture")
        self.send_header("X-ClickHouse-Summary", "{}")
        self.send_header("X-ClickHouse-Timezone", "UTC")
        if format:
            self.send_header("X-ClickHouse-Format", format)
        if code:
            self.send_header("X-ClickHouse-Exception-Code", code)
        self.end_headers()
        self.wfile.write(body)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, directory: str, port: int, password: str) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.engine, self.password = _Engine(directory), password
        self.faults: list[Fault] = []
        self.seen: list[str] = []
        self.halves: list[list[int]] = []
        self.lock = threading.Lock()
        self.released = threading.Event()


class ClickHouseFixture:
    """The process, as a test sees it. `kill` and `start` again keep address and data."""

    def __init__(self, directory: Path) -> None:
        self.directory, self.port = directory, free_port()
        self._process: subprocess.Popen[bytes] | None = None

    def dsn(self, database: str = "", **options: object) -> str:
        """`options` are those of clickhouse_connect, such as send_receive_timeout."""
        password = urllib.parse.quote(PASSWORD, safe="")
        query = f"?{urllib.parse.urlencode(options)}" if options else ""
        return f"http://{USER}:{password}@127.0.0.1:{self.port}/{database}{query}"

    def start(self) -> None:
        log = (self.directory.parent / f"{self.directory.name}.log").open("ab")
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.clickhouse_http", str(self.directory), str(self.port), PASSWORD],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=Path(__file__).parent.parent,
            env={**os.environ, "TZ": "UTC"},
        )
        log.close()
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{self.port}/ping", timeout=5).close()
                return
            except OSError:
                if self._process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(f"the fixture did not start: see {self.directory}.log") from None
                time.sleep(0.05)

    def kill(self) -> None:
        """As by kill -9."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def set_faults(self, *faults: Fault) -> None:
        """From now on, in place of earlier ones; what hangs is let go."""
        self._tell(json.dumps([asdict(fault) for fault in faults]).encode())

    def fired(self) -> list[int]:
        """How often each fault happened."""
        return [fault["fired"] for fault in self._tell(None)["faults"]]

    def seen(self) -> list[str]:
        """The beginnings of all SQL since `set_faults`."""
        return list(self._tell(None)["seen"])

    def halves(self) -> list[list[int]]:
        """Of each insert that was half done: parts that it makes, parts that it made."""
        return list(self._tell(None)["halves"])

    def _tell(self, body: bytes | None) -> Any:
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}/faults", data=body)
        with urllib.request.urlopen(request, timeout=PATIENCE_SECONDS) as answer:
            return json.load(answer)


@contextmanager
def running_clickhouse(directory: Path) -> Iterator[ClickHouseFixture]:
    fixture = ClickHouseFixture(directory)
    fixture.start()
    try:
        yield fixture
    finally:
        fixture.kill()


def main() -> None:
    directory, port, password = sys.argv[1:]
    _Server(directory, int(port), password).serve_forever()


if __name__ == "__main__":
    main()
