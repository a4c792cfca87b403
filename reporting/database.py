"""The reporting side of the database: queries with bound parameters, off the event loop."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from typing import Any

from clickhouse_connect.driver.client import Client


class ThreadedDatabase:
    """Runs queries in an executor; `client` gives the client of the calling thread."""

    def __init__(self, client: Callable[[], Client], executor: Executor) -> None:
        self._client = client
        self._executor = executor

    def _rows(self, sql: str, parameters: Mapping[str, object]) -> Sequence[Sequence[Any]]:
        return self._client().query(sql, parameters=dict(parameters)).result_rows

    def _query(self, sql: str, parameters: Mapping[str, object]) -> Sequence[Mapping[str, Any]]:
        result = self._client().query(sql, parameters=dict(parameters))
        names = result.column_names
        return [dict(zip(names, row, strict=True)) for row in result.result_rows]

    def _command(self, sql: str, parameters: Mapping[str, object]) -> None:
        self._client().command(sql, parameters=dict(parameters) or None)

    async def select(
        self, sql: str, parameters: Mapping[str, object] | None = None
    ) -> Sequence[Mapping[str, Any]]:
        """The rows of a query with bound parameters ({name:Type} in the text), keyed by column."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._executor, self._query, sql, parameters or {})

    async def rows(self, sql: str, parameters: Mapping[str, object] | None = None) -> Sequence[Sequence[Any]]:
        """The same, each row in the order of the query's columns."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._executor, self._rows, sql, parameters or {})

    async def command(self, sql: str, parameters: Mapping[str, object] | None = None) -> None:
        """Runs a statement for its effect."""
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(self._executor, self._command, sql, parameters or {})
