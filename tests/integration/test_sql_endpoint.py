# ruff: noqa: E501 - queries and their answers stand side by side
"""SQL for dashboards: what clients need works, all else is refused, on a real engine and with a real client."""

import asyncio
import os
import re
import threading
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import clickhouse_connect
import pytest
from aiohttp import web
from clickhouse_connect.driver.exceptions import DatabaseError

from reporting.sql_endpoint import SqlEndpoint, SqlRunner, SqlSettings, run_sql
from reporting.sql_guard import SqlRefusedError
from schemas.access import Grant
from schemas.rows import Tally, encode_output, encode_row
from sink.database import Database
from sink.encoding import ROW_TABLES, TALLIES, Entry, Table, split
from tests.builders import NOON
from tests.rows import a_conversion, a_visit, an_action, an_item
from tests.waiting import PATIENCE_SECONDS

DOCS = Path(__file__).parents[2] / "docs" / "sql.md"
ADMIN = Grant(login="admin", superuser=True)
OF_SITE_1 = Grant(login="one", roles={1: "view"})
NOBODY = Grant(login="nobody")
GRANTS = {"admin-token": ADMIN, "site-1": OF_SITE_1, "no-site": NOBODY}


def store(database: Database, table: Table, *values: bytes) -> None:
    for block in split(table, [Entry(0, at, value) for at, value in enumerate(values)], 1).by_month.values():
        database.insert_msgpack(table.name, table.columns, block.data)


@pytest.fixture(scope="module")
def database(clickhouse_dsn: str) -> Iterator[Database]:
    """Two sites with a visit each; the names are those of a real instance."""
    opened = Database(clickhouse_dsn, "hitstream_77")
    opened.open()
    visits, actions, conversions, items = ROW_TABLES
    store(
        opened,
        visits,
        encode_output(a_visit(11, actions=2, country="de", referrer_type=2, dimensions={3: "x"})),
        encode_output(a_visit(22, site_id=2, visitor_id=0xB2)),
    )
    store(
        opened,
        actions,
        encode_output(an_action(11, visit_id=11, url_prefix=3)),
        encode_output(an_action(12, visit_id=11, at=NOON + 60, kind=8, url="", search_keyword="shoes")),
        encode_output(an_action(22, visit_id=22, site_id=2)),
    )
    store(
        opened,
        conversions,
        encode_output(a_conversion(12, goal_id=0, visit_id=11, revenue=9.5, order_id="A1")),
    )
    store(opened, items, encode_output(an_item(12, sku="S1", price=9.5, visit_id=11)))
    tally = Tally(
        topic="hits", partition=0, first_offset=0, next_offset=3, site_id=1, received_on=20_000,
        outcome="stored", reason="", count=3,
    )  # fmt: skip
    store(opened, TALLIES, encode_row(tally))
    yield opened
    for name in ("hitstream_catalog", "hitstream", "hitstream_77"):
        opened.command(f"DROP DATABASE {name}")
    opened.close()


def runner_of(database: Database, settings: SqlSettings | None = None) -> SqlRunner:
    return SqlRunner(lambda: database.connect(database.views), lambda: database.name, settings=settings)


@pytest.fixture(scope="module")
def runner(database: Database) -> Iterator[SqlRunner]:
    made = runner_of(database)
    yield made
    made.close()


@pytest.fixture(scope="module")
def address(database: Database) -> Iterator[str]:
    """A running endpoint."""
    endpoint = SqlEndpoint(runner_of(database), lambda token, _client: GRANTS.get(token))
    loop = asyncio.new_event_loop()
    started: list[int] = []
    ready = threading.Event()

    async def start() -> web.AppRunner:
        app_runner = web.AppRunner(endpoint.app())
        await app_runner.setup()
        site = web.TCPSite(app_runner, "127.0.0.1", 0)
        await site.start()
        started.append(app_runner.addresses[0][1])
        ready.set()
        return app_runner

    def serve() -> None:
        app_runner = loop.run_until_complete(start())
        loop.run_forever()
        loop.run_until_complete(app_runner.cleanup())

    thread = threading.Thread(target=serve)
    thread.start()
    assert ready.wait(PATIENCE_SECONDS)
    yield f"127.0.0.1:{started[0]}"
    loop.call_soon_threadsafe(loop.stop)
    thread.join()


def ask(
    address: str,
    query: str = "",
    *,
    body: bytes | None = None,
    headers: dict[str, str] | None = None,
    **url: str,
) -> tuple[int, str]:
    parameters = urllib.parse.urlencode({**({"query": query} if query else {}), **url})
    request = urllib.request.Request(
        f"http://{address}/?{parameters}",
        data=body,
        headers={"X-ClickHouse-Key": "admin-token"} if headers is None else headers,
    )
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE_SECONDS) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def sql(runner: SqlRunner, text: str, grant: Grant = ADMIN, **parameters: str) -> str:
    return runner.run(text, grant, parameters=parameters).body.decode()


@pytest.mark.parametrize(
    ("query", "answer"),
    [
        ("SELECT site_id, visitor_id FROM visits ORDER BY 1", "1\t00000000000000a1\n2\t00000000000000b2\n"),
        ("select count(*) from hitstream.actions", "3\n"),
        ("SELECT url, path, kind FROM actions WHERE action_id = 11", "https://www.example.org/page\texample.org/page\tpage\n"),
        ("SELECT v.country, countIf(a.kind = 'search') FROM visits v JOIN actions a USING (visit_id) GROUP BY 1 ORDER BY 1",
         "\t0\nde\t1\n"),
        ("WITH t AS (SELECT visit_id FROM visits) SELECT count() FROM t WHERE visit_id IN (SELECT visit_id FROM actions)", "2\n"),
        ("WITH t AS (SELECT toUInt64(11) AS id) SELECT count() FROM visits WHERE visit_id IN t", "1\n"),
        ("SELECT referrer_type, dimensions[3] FROM visits WHERE dimensions[3] != ''", "search\tx\n"),
        ("SELECT sum(number) FROM numbers(10)", "45\n"),
        ("SELECT row_number() OVER (ORDER BY visit_id), uniqExactIf(visitor_id, 1) FROM visits GROUP BY visit_id ORDER BY 1 LIMIT 1", "1\t1\n"),
        ("SELECT kind, order_id, revenue FROM conversions -- a comment; with a semicolon", "order\tA1\t9.5\n"),
        ("SELECT sku, price * quantity FROM conversion_items;", "S1\t9.5\n"),
        ("SELECT outcome, sum(count) FROM tallies GROUP BY outcome", "stored\t3\n"),
        ("SELECT 'from system.tables; {x:String}'", "from system.tables; {x:String}\n"),
        ("SHOW TABLES", "actions\nconversion_items\nconversions\ntallies\nvisits\n"),
        ("SHOW DATABASES", "hitstream\n"),
        ("EXISTS TABLE hitstream.visits", "1\n"),
        ("EXISTS TABLE hitstream.archives", "0\n"),
        ("SELECT count() FROM system.tables", "5\n"),
        ("SELECT DISTINCT database FROM system.columns", "hitstream\n"),
        ("SELECT t.name FROM system.tables AS t WHERE t.name = 'visits'", "visits\n"),
        ("SELECT currentDatabase(), timezone() != '', version() != '', displayName()", "hitstream\t1\t1\thitstream\n"),
        ("SELECT 1 UNION ALL SELECT 2 INTERSECT SELECT 2", "1\n2\n"),
    ],
)  # fmt: skip
def test_queries_of_dashboards_are_answered(runner: SqlRunner, query: str, answer: str) -> None:
    assert sql(runner, query) == answer


@pytest.mark.parametrize(
    "query",
    [
        "SELECT * FROM file('/etc/passwd', 'LineAsString', 'a String')",
        "SELECT file('/etc/passwd')",
        "SELECT * FROM url('http://127.0.0.1:1/', 'LineAsString', 'a String')",
        "SELECT * FROM remote('127.0.0.1', 'system', 'one')",
        "SELECT * FROM s3('http://127.0.0.1:1/b/k', 'CSV', 'a String')",
        "SELECT * FROM executable('id', 'TSV', 'a String')",
        "SELECT * FROM mysql('127.0.0.1:1', 'a', 'b', 'c', 'd')",
        "SELECT * FROM merge('hitstream_77', '.*')",
        "SELECT * FROM view(SELECT * FROM hitstream_77.visits)",
        "SELECT * FROM cluster('default', system.one)",
        "SELECT * FROM input('a String')",
        "SELECT * FROM dictionary('d')",
        "SELECT * FROM generateRandom('a String')",
        "SELECT * FROM visits JOIN (SELECT * FROM file('/etc/passwd', 'LineAsString', 'a String')) USING a",
        "SELECT (SELECT a FROM file('/etc/passwd', 'LineAsString', 'a String') LIMIT 1)",
        "SELECT 1 WHERE 1 IN (SELECT 1 FROM url('http://127.0.0.1:1/', 'CSV', 'a String'))",
        "WITH x AS (SELECT * FROM hitstream_77.visits) SELECT * FROM x",
        "SELECT * FROM hitstream_77.visits",
        "SELECT * FROM hitstream_77.dead",
        "SELECT * FROM hitstream_77.archives",
        "SELECT 1 IN hitstream_77.visits",
        "SELECT (1, 2) NOT IN hitstream_77.sink_offsets",
        "SELECT * FROM `hitstream_77`.`hits`",
        "SELECT * FROM system.processes_all",
        "SELECT * FROM system.query_log",
        "SELECT * FROM system.users",
        "SELECT * FROM system.parts",
        "SELECT * FROM `system`.`parts`",
        "SELECT * FROM system.numbers",
        "SELECT * FROM information_schema.tables",
        "SELECT * FROM INFORMATION_SCHEMA.TABLES",
        "SELECT * FROM default.visits",
        "SELECT dictGet('d', 'a', 1)",
        "SELECT joinGet('hitstream_77.visits', 'a', 1)",
        "SELECT hasColumnInTable('hitstream_77', 'visits', 'ip')",
        "SELECT getSetting('readonly')",
        "SELECT getMacro('x')",
        "SELECT sleep(3)",
        "SELECT aiGenerate('x')",
        "SELECT catboostEvaluate('/m', 1)",
        "SELECT COLUMNS('a') APPLY(file) FROM visits",
        "SELECT `x\n  y` FROM visits",
        "SELECT `x\\n  y` FROM visits",
        "SELECT 1 INTO OUTFILE '{tmp}/out'",
        "SELECT 1 INTO OUTFILE '{tmp}/out' FORMAT CSV",
        "SELECT 1 SETTINGS readonly = 0",
        "SELECT 1 FORMAT CSV SETTINGS max_execution_time = 0",
        "SELECT * FROM (SELECT 1 SETTINGS max_memory_usage = 0)",
        "SELECT 1; DROP TABLE hitstream_77.visits",
        "SELECT 1; SELECT * FROM hitstream_77.visits",
        "INSERT INTO hitstream_77.visits (site_id) SELECT 1",
        "INSERT INTO FUNCTION file('{tmp}/out', 'CSV', 'a UInt8') SELECT 1",
        "CREATE TABLE hitstream.t (a UInt8) ENGINE = Memory",
        "CREATE TEMPORARY TABLE t (a UInt8)",
        "CREATE FUNCTION f AS x -> x",
        "DROP TABLE hitstream_77.visits",
        "TRUNCATE TABLE hitstream_77.visits",
        "ALTER TABLE hitstream_77.visits DELETE WHERE 1",
        "DELETE FROM hitstream_77.visits WHERE 1",
        "OPTIMIZE TABLE hitstream_77.visits",
        "SYSTEM SHUTDOWN",
        "KILL QUERY WHERE 1",
        "BACKUP DATABASE hitstream_77 TO File('{tmp}/out')",
        "SET readonly = 0",
        "USE hitstream_77",
        "GRANT ALL ON *.* TO default",
        "EXPLAIN SELECT * FROM hitstream_77.visits",
        "EXPLAIN AST SELECT 1",
        "SHOW CREATE TABLE hitstream_77.visits",
        "SHOW CREATE TABLE hitstream.visits",
        "SHOW TABLES FROM hitstream_77",
        "SHOW TABLES FROM system",
        "SHOW GRANTS",
        "SHOW PROCESSLIST",
        "DESCRIBE TABLE hitstream_77.visits",
        "DESCRIBE TABLE file('/etc/passwd')",
        "DESCRIBE TABLE url('http://127.0.0.1:1/', 'CSV')",
        "SELECT 1 FORMAT Template",
        "SELECT 1 FORMAT SQLInsert",
        "SELECT * FROM {t:Identifier}",
        "SELECT 1 /* open",
        "SELECT 'open",
        "no SQL at all",
    ],
)
def test_everything_else_is_refused(
    runner: SqlRunner, database: Database, tmp_path: Path, query: str
) -> None:
    before = database.rows("SELECT count() FROM visits")
    with pytest.raises(SqlRefusedError):
        sql(runner, query.replace("{tmp}", str(tmp_path)), t="hitstream_77.visits")
    assert list(tmp_path.iterdir()) == []
    assert database.rows("SELECT count() FROM visits") == before


def test_the_engine_itself_refuses_files_when_the_guard_would_let_them_pass(
    runner: SqlRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reporting.sql_endpoint.check_tree", lambda *_: None)
    for query in (
        "SELECT * FROM file('/etc/passwd', 'LineAsString', 'a String')",
        "DROP TABLE hitstream_77.visits",
    ):
        with pytest.raises(SqlRefusedError) as refused:
            sql(runner, query)
        assert refused.value.code in (164, 62), str(refused.value)


def test_who_may_see_one_site_sees_its_rows_only(runner: SqlRunner) -> None:
    assert sql(runner, "SELECT DISTINCT site_id FROM visits", OF_SITE_1) == "1\n"
    assert sql(runner, "SELECT count(), max(site_id) FROM actions", OF_SITE_1) == "2\t1\n"
    assert sql(runner, "SELECT count() FROM visits WHERE site_id = 2", OF_SITE_1) == "0\n"
    inner = "SELECT count() FROM visits WHERE visit_id IN (SELECT visit_id FROM actions WHERE site_id = 2)"
    assert sql(runner, inner, OF_SITE_1) == "0\n"
    assert (
        sql(runner, "SELECT count() FROM (SELECT 1 FROM visits UNION ALL SELECT 1 FROM visits)", OF_SITE_1)
        == "2\n"
    )
    with pytest.raises(SqlRefusedError, match="may not view any site"):
        sql(runner, "SELECT 1", NOBODY)


@pytest.mark.parametrize(
    ("settings", "query", "message"),
    [
        (SqlSettings(sql_max_seconds=0.3), "SELECT count() FROM numbers(1000000000) WHERE sipHash64(number) % 7 = 1", "TIMEOUT"),
        (SqlSettings(sql_max_memory=20 << 20), "SELECT uniqExact(number) FROM numbers(50000000)", "MEMORY_LIMIT"),
        (SqlSettings(sql_max_rows=10), "SELECT * FROM numbers(1000)", "TOO_MANY_ROWS"),
        (SqlSettings(sql_max_rows_read=1000), "SELECT sum(number) FROM numbers(100000)", "TOO_MANY_ROWS"),
        (SqlSettings(sql_max_bytes=1000), "SELECT toString(number) FROM numbers(9000)", "TOO_MANY"),
    ],
)  # fmt: skip
def test_a_query_is_limited_in_time_memory_and_rows(
    database: Database, settings: SqlSettings, query: str, message: str
) -> None:
    limited = runner_of(database, settings)
    try:
        with pytest.raises(SqlRefusedError) as refused:
            sql(limited, query)
        assert message in refused.value.name
        assert sql(limited, "SELECT 1") == "1\n"
    finally:
        limited.close()


def test_a_client_can_lower_a_limit_and_not_raise_it(runner: SqlRunner) -> None:
    with pytest.raises(SqlRefusedError):
        runner.run("SELECT * FROM numbers(100)", ADMIN, client_settings={"max_result_rows": "10"})
    raised = {"max_result_rows": "99999999", "readonly": "0", "max_memory_usage": "0"}
    with pytest.raises(SqlRefusedError):
        runner.run("SELECT * FROM numbers(2000000)", ADMIN, client_settings=raised)


def test_a_query_that_failed_half_way_leaves_nothing_to_the_next_one(runner: SqlRunner) -> None:
    for _ in range(3):
        with pytest.raises(SqlRefusedError):
            sql(runner, "SELECT number FROM numbers(2000000)")
        assert sql(runner, "SELECT 'mine'") == "mine\n"
        with pytest.raises(SqlRefusedError):
            sql(runner, "SELECT if(number = 1500000, toUInt8('x'), 0) FROM numbers(2000000)")
        assert sql(runner, "SELECT count() FROM visits") == "2\n"


def test_a_token_is_needed_and_taken_from_every_place_that_clients_use(address: str) -> None:
    basic = {"Authorization": "Basic YW55Ym9keTphZG1pbi10b2tlbg=="}
    assert ask(address, "SELECT 1", headers=basic) == (200, "1\n")
    assert ask(address, "SELECT 1", headers={"Authorization": "Bearer admin-token"}) == (200, "1\n")
    assert ask(address, "SELECT 1", headers={}, user="any", password="admin-token") == (200, "1\n")
    for headers in ({}, {"X-ClickHouse-Key": "wrong"}, {"Authorization": "Basic !!"}):
        status, text = ask(address, "SELECT 1", headers=headers)
        assert status == 401
        assert text.startswith("Code: 516. DB::Exception: Authentication failed")
    assert ask(address, headers={}) == (200, "Ok.\n")


def test_the_protocol_of_queries_parameters_and_formats(address: str) -> None:
    assert ask(address, body=b"SELECT 2") == (200, "2\n")
    assert ask(address, "SELECT 3", body=b"FORMAT JSONEachRow") == (200, '{"3":3}\n')
    assert ask(address, "SELECT 1 AS a", default_format="CSVWithNames") == (200, '"a"\n1\n')
    assert ask(address, "SELECT 1", database="hitstream", session_id="s", readonly="0") == (200, "1\n")
    assert ask(address, "SELECT 1", database="hitstream_77")[0] == 404
    typed = "SELECT {s:String}, {n:UInt8} + 1, {a:Array(String)}, {d:Date} FORMAT JSONCompactEachRow"
    assert ask(
        address, typed, param_s="it's\\ta", param_n="4", param_a="['x','y']", param_d="2026-01-02"
    ) == (
        200,
        '["it\'s\\ta", 5, ["x","y"], "2026-01-02"]\n',
    )
    status, text = ask(address, "SELECT {s:String}")
    assert (status, text.split(".")[0]) == (400, "Code: 456")
    status, text = ask(address, "SELECT nosuch FROM visits")
    assert status == 400
    assert "UNKNOWN_IDENTIFIER" in text
    assert "hitstream_77" not in text
    status, text = ask(address, "SELECT * FROM hitstream_77.visits")
    assert (status, text.split(".")[0]) == (403, "Code: 497")
    assert ask(address, "SELECT 1", compress="1")[0] == 400


def test_clickhouse_connect_works_as_with_a_server(address: str) -> None:
    host, port = address.split(":")
    client = clickhouse_connect.get_client(
        host=host, port=int(port), username="anyone", password="admin-token", database="hitstream"
    )
    result = client.query(
        "SELECT site_id, date, first_time, dimensions, goals, latitude FROM visits WHERE site_id = {s:UInt32}",
        parameters={"s": 1},
    )
    assert result.column_names == ("site_id", "date", "first_time", "dimensions", "goals", "latitude")
    assert result.result_rows[0][0] == 1
    assert result.result_rows[0][3] == {3: "x"}
    assert client.query("SELECT name FROM system.tables WHERE database = 'hitstream'").row_count == 5
    assert client.command("SELECT count() FROM actions") == 3
    with pytest.raises(DatabaseError, match="not one of the tables"):
        client.query("SELECT * FROM hitstream_77.visits")
    client.close()


def test_every_view_is_described_with_a_comment_per_column(runner: SqlRunner) -> None:
    for view in sql(runner, "SHOW TABLES").split():
        described = [
            line.split("\t") for line in sql(runner, f"DESCRIBE TABLE hitstream.{view}").splitlines()
        ]
        assert len(described) >= 5
        assert all(columns[4] for columns in described), view


def test_hitstream_sql_prints_a_table(runner: SqlRunner) -> None:
    printed = run_sql(runner, "SELECT site_id FROM visits ORDER BY 1", ADMIN)
    assert "site_id" in printed
    assert re.search(r"2\. │ +2 │", printed) or "│       2 │" in printed


def test_the_examples_of_the_documentation_run(runner: SqlRunner) -> None:
    examples = re.findall(r"```sql\n(.*?)```", DOCS.read_text(encoding="utf-8"), re.DOTALL)
    assert len(examples) >= 6
    for example in examples:
        sql(runner, example, site="1", first="2026-09-01", last="2026-09-30")


def test_the_process_environment_is_out_of_reach(runner: SqlRunner) -> None:
    assert os.environ.get("PATH")
    for query in (
        "SELECT * FROM system.environment",
        "SELECT getServerSetting('path')",
        "SELECT getClientHTTPHeader('a')",
    ):
        with pytest.raises(SqlRefusedError):
            sql(runner, query)
