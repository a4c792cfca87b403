"""Tables of what statements computed of many rows, for all reports that are asked until the rows change.

The widgets of a dashboard ask for the same aggregates at the same second: each is computed once, whoever asks
first, and read by all. Only in the embedded database, whose rows tell their version
(reporting.archives.Archives.rows_version)."""

# ruff: noqa: S608 - texts of queries are declarations of this repository, values are bound parameters

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from reporting.archives import KeptAnswers
from reporting.method import Database

MANY_ROWS = 200_000
"""Fewer are aggregated as quickly as tables are made: 100 ms of CPU for a page report."""

Key = tuple[object, ...]


@dataclass(frozen=True, kw_only=True)
class Computation:
    """What a table is made of."""

    columns: Mapping[str, str]
    """Names and types; those of the first table that has all that are asked for are enough."""
    sql: Callable[[Sequence[str]], str]
    """The SELECT of such columns."""
    parameters: Mapping[str, object]
    engine: str = "Memory"


@dataclass(eq=False)
class _Table:
    name: str
    columns: frozenset[str]
    version: int
    made: "asyncio.Future[int]" = field(init=False)
    """Its bytes."""
    readers: int = 0


class KeptGroups:
    """Of one event loop at a time."""

    def __init__(self, database: str, max_bytes: int = 64 << 20, *, many_rows: int = MANY_ROWS) -> None:
        """`database` is one of engine Memory."""
        self._database, self._max_bytes = database, max_bytes
        self.many_rows = many_rows
        """What is computed of fewer is not worth a table."""
        self._tables: dict[Key, list[_Table]] = {}
        """Those that were asked for last are the last."""
        self._counts: tuple[int, dict[Key, int]] = (0, {})
        self._numbers = itertools.count(1)

    async def actions(
        self, database: Database, where: str, parameters: Mapping[str, object], version: int
    ) -> int:
        """How many are read; superseded ones count, too."""
        if self._counts[0] != version:
            self._counts = (version, {})
        counts, key = self._counts[1], KeptAnswers.key(where, parameters)
        if key not in counts:
            rows = await database.rows(f"SELECT count() FROM actions WHERE {where}", parameters)
            counts[key] = int(rows[0][0])
        return counts[key]

    @asynccontextmanager
    async def table(
        self, database: Database, key: str, asked: Computation, version: int
    ) -> AsyncIterator[str]:
        """The name of a table with the columns that are asked for, for as long as it is read. `key` and what
        is bound tell what is computed, whichever columns. Raises the database's errors."""
        known = KeptAnswers.key(key, asked.parameters, version)
        tables = self._tables.pop(known, [])
        self._tables[known] = tables
        found = next((one for one in tables if asked.columns.keys() <= one.columns), None)
        if found is None:
            found = _Table(
                f"{self._database}.groups_{next(self._numbers)}", frozenset(asked.columns), version
            )
            found.made = asyncio.ensure_future(self._make(database, found, asked))
            tables.append(found)
        found.readers += 1
        try:
            # another request may wait for it, too, when this one is given up
            await asyncio.shield(found.made)
            yield found.name
        finally:
            found.readers -= 1
            await self._make_room(database, version)

    async def _make(self, database: Database, table: _Table, asked: Computation) -> int:
        columns = ", ".join(f"{name} {kind}" for name, kind in asked.columns.items())
        await database.command(f"CREATE TABLE {table.name} ({columns}) ENGINE = {asked.engine}")
        selected = asked.sql(list(asked.columns))
        await database.command(f"INSERT INTO {table.name} {selected}", asked.parameters)
        return int(
            (
                await database.rows(
                    "SELECT total_bytes FROM system.tables WHERE concat(database, '.', name) = {name:String}",
                    {"name": table.name},
                )
            )[0][0]
        )

    async def _make_room(self, database: Database, version: int) -> None:
        """Drop what failed, what is of other rows than now, then what was not asked for longest."""
        for key, tables in list(self._tables.items()):
            for one in list(tables):
                if one not in tables or one.readers or not one.made.done():
                    continue
                if one.version != version or _bytes(one) is None or self._bytes() > self._max_bytes:
                    tables.remove(one)
                    await database.command(f"DROP TABLE IF EXISTS {one.name}")
            if not tables:
                self._tables.pop(key, None)

    def _bytes(self) -> int:
        return sum(_bytes(one) or 0 for tables in self._tables.values() for one in tables)


def _bytes(table: _Table) -> int | None:
    """None: there are none yet, or it could not be made."""
    if not table.made.done() or table.made.cancelled() or table.made.exception() is not None:
        return None
    return table.made.result()
