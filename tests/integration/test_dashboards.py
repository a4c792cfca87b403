"""The SQL of Grafana's dashboards and alerts, on the views it will be asked of."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from schemas.rows import Tally, encode_output, encode_row
from sink.database import Database
from sink.encoding import ROW_TABLES, TALLIES, Entry, Table, split
from tests.rows import a_conversion, a_visit, an_action, an_item

GRAFANA = Path(__file__).parents[2] / "compose" / "grafana"
PRODUCT = json.loads((GRAFANA / "dashboards" / "product.json").read_text())
HOUR = 3600
PANELS = {panel["title"]: panel["targets"][0]["rawSql"] for panel in PRODUCT["panels"]}


@pytest.fixture(scope="module")
def database(clickhouse_dsn: str) -> Iterator[Database]:
    """Nine days: site 1 as usual until now, site 2 without visits in the last hours, site 3 small."""
    opened = Database(clickhouse_dsn, "dashboards_1", views="dashboards")
    opened.open()
    now = int(opened.rows("SELECT toUnixTimestamp(now())")[0][0])
    visits, actions, conversions, items = ROW_TABLES
    ids = iter(range(1, 100_000))
    past = [
        a_visit(next(ids), site_id=site, at=now - days * 24 * HOUR - n * 60 - 30, referrer_type=3,
                referrer_name="news.example", country="de", os="WIN", browser="FF", converted=n == 0)
        for days in range(8)
        for site, count in ((1, 20), (2, 20 if days else 0), (3, 2 if days else 0))
        for n in range(count)
    ]  # fmt: skip
    store(opened, visits, [encode_output(one) for one in past])
    kinds = (1, 2, 3, 8, 10)
    found = [an_action(next(ids), at=now - n * 60, kind=kinds[n % 5], event_value=2.0,
                       has_event_value=n % 5 == 4) for n in range(50)]  # fmt: skip
    store(opened, actions, [encode_output(one) for one in found])
    sold = [a_conversion(next(ids), at=now - 60, goal_id=goal, revenue=10.0) for goal in (0, 1, -1)]
    store(opened, conversions, [encode_output(one) for one in sold])
    store(opened, items, [encode_output(an_item(next(ids), at=now - 60, sku="A", price=5.0, quantity=2))])
    tally = Tally(topic="hits", partition=0, first_offset=0, next_offset=9, site_id=1,
                  received_on=now // 86400, outcome="stored", reason="", count=9)  # fmt: skip
    store(opened, TALLIES, [encode_row(tally)])
    yield opened
    for name in (opened.views, f"{opened.views}_catalog", opened.name):
        opened.command(f"DROP DATABASE {name}")
    opened.close()


def store(database: Database, table: Table, values: list[bytes]) -> None:
    for block in split(table, [Entry(0, at, value) for at, value in enumerate(values)], 1).by_month.values():
        database.insert_msgpack(table.name, table.columns, block.data)


def spoken(sql: str) -> str:
    """With Grafana's macros and variables as its plugin for ClickHouse writes them."""
    sql = re.sub(r"\$__timeFilter\(([\w.]+)\)", r"\1 >= now() - INTERVAL 10 DAY AND \1 <= now()", sql)
    sql = re.sub(
        r"\$__timeInterval\(([\w.]+)\)", r"toStartOfInterval(toDateTime(\1), INTERVAL 3600 second)", sql
    )
    sql = sql.replace("$__fromTime", "(now() - INTERVAL 10 DAY)").replace("$__toTime", "now()")
    sql = sql.replace("${site:csv}", "1,2")
    assert "$" not in sql, sql
    return sql


def ask(database: Database, sql: str) -> list[dict[str, Any]]:
    client = database.connect(database.views)
    try:
        result = client.query(spoken(sql))
        return [dict(zip(result.column_names, row, strict=True)) for row in result.result_rows]
    finally:
        client.close()


@pytest.mark.parametrize("title", PANELS)
def test_a_panel_shows_rows(title: str, database: Database) -> None:
    rows = ask(database, PANELS[title])
    assert rows, PANELS[title]
    if "$__timeInterval" in PANELS[title]:
        assert [row["time"] for row in rows] == sorted(row["time"] for row in rows)


def test_the_panels_count_right(database: Database) -> None:
    assert sum(row["visits"] for row in ask(database, PANELS["Visits and visitors"])) == 8 * 20 + 7 * 20
    kinds = ask(database, PANELS["Page views and other actions"])
    assert [sum(row[name] for row in kinds) for name in ("pages", "events", "searches", "clicks")] == [
        10, 10, 10, 20,
    ]  # fmt: skip
    money = ask(database, PANELS["Conversions and revenue"])
    assert [sum(row[n] for row in money) for n in ("goals", "orders", "revenue")] == [1, 1, 20.0]
    assert ask(database, PANELS["Products sold"])[0]["revenue"] == 10.0
    assert ask(database, PANELS["What became of the hits"]) == [
        {"outcome": "stored", "reason": "", "hits": 9}
    ]


def test_the_variable_lists_the_sites(database: Database) -> None:
    (variable,) = PRODUCT["templating"]["list"]
    assert [row["site_id"] for row in ask(database, variable["query"])] == [1, 2, 3]


def test_the_alert_on_sites_without_visits_finds_the_one_that_used_to_have_some(database: Database) -> None:
    rules = yaml.safe_load((GRAFANA / "provisioning" / "alerting" / "rules.yaml").read_text())
    (sql,) = [
        query["model"]["rawSql"]
        for rule in rules["groups"][0]["rules"]
        for query in rule["data"]
        if "rawSql" in query["model"]
    ]
    found = {row["site"]: row["visits"] for row in ask(database, sql)}
    assert found == {"1": 20, "2": 0}, "site 3 has too few visits to tell"
