"""Asks API methods over rows in a real ClickHouse engine."""

import asyncio
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from typing import Any

from reporting.api import Instance, ask
from reporting.database import ThreadedDatabase
from reporting.methods import METHODS
from reporting.parameters import Parameters
from reporting.render.php import plain
from reporting.table import Result, Table
from schemas.access import Grant
from schemas.config import Config, Goal, Site
from schemas.rows import Row, encode_output
from sink.database import Database
from sink.encoding import ROW_TABLES, Entry, split
from tests.builders import NOON
from tests.rows import A_DAY

DAY = date(1970, 1, 1) + timedelta(days=A_DAY)
CONFIG = Config(
    sites={1: Site(site_id=1, name="Shop", urls=("http://example.org",), ecommerce=True)},
    goals={1: {1: Goal(site_id=1, goal_id=1, name="thanks")}},
)
SECONDS_OF_DAY = 86400


def store(database: Database, rows: list[Row]) -> None:
    for number, kind in enumerate(("Visit", "Action", "Conversion", "ConversionItem")):
        values = [encode_output(row) for row in rows if type(row).__name__ == kind]
        if values:
            table = ROW_TABLES[number]
            for block in split(table, [Entry(0, at, v) for at, v in enumerate(values)], 1).by_month.values():
                database.insert_msgpack(table.name, table.columns, block.data)


class Reports:
    """Asks API methods over a database."""

    def __init__(self, database: Database, state: Mapping[str, Any], config: Config = CONFIG) -> None:
        self.statements = 0
        """That reports asked of the database."""

        def client() -> Any:
            self.statements += 1
            return database.client

        self._executor = ThreadPoolExecutor(1)
        self._instance = Instance(
            methods=METHODS,
            config=lambda: config,
            database=ThreadedDatabase(client, self._executor),
            change=self._refuse,
            now=lambda: datetime.fromtimestamp(NOON, UTC) + timedelta(days=20),
            state=state,
        )

    @staticmethod
    async def _refuse(_: Any) -> Config:
        raise AssertionError("reports change nothing")

    def ask(self, method: str, **parameters: str) -> Result:
        values = {
            "method": method, "idSite": "1", "period": "day", "date": DAY.isoformat(), **parameters,
        }  # fmt: skip
        grant = Grant(login="admin", superuser=True)
        return asyncio.run(ask(self._instance, grant, Parameters(values))).result

    def table(self, method: str, **parameters: str) -> Table:
        result = self.ask(method, **parameters)
        assert isinstance(result, Table)
        return result

    def row(self, method: str, **parameters: str) -> dict[str, Any]:
        return dict(self.table(method, **parameters).rows[0].columns)


def processed(reports: Reports, report: str, **parameters: str) -> dict[str, Any]:
    module, action = report.split(".")
    answer = plain(reports.ask("API.getProcessedReport", apiModule=module, apiAction=action, **parameters))
    assert isinstance(answer, dict)
    return answer
