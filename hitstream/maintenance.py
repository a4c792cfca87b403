"""Operator endpoints: raw export, diagnosis, optimize."""

import re
from collections.abc import Mapping
from datetime import date
from functools import partial
from typing import Any

from aiohttp import web

from hitstream.diagnosis import gather_diagnosis, optimize
from hitstream.export import FORMATS, KINDS, days_with_rows, export_part
from hitstream.operations import Operations, RefusedError, in_thread

TABLES = (
    "visits", "actions", "conversions", "conversion_items", "hits", "tallies", "dead", "archives", "uniques",
    "archive_days",
)  # fmt: skip
_TYPES = {"csv": "text/csv; charset=utf-8", "parquet": "application/vnd.apache.parquet"}


def _one_of(parameters: Mapping[str, str], name: str, known: Mapping[str, Any], default: str = "") -> str:
    value = parameters.get(name, default)
    if value not in known:
        raise RefusedError(400, f"{name}={value!r}: expected one of {', '.join(known)}")
    return value


def _number(parameters: Mapping[str, str], name: str, default: str = "") -> int:
    value = parameters.get(name, default)
    if not value.isdecimal() or len(value) > 20:
        raise RefusedError(400, f"{name}={value!r}: expected a number")
    return int(value)


def _day(parameters: Mapping[str, str], name: str) -> date:
    value = parameters.get(name, "")
    try:
        return date.fromisoformat(value)
    except ValueError:
        raise RefusedError(400, f"{name}={value!r}: expected a day such as 2026-09-10") from None


def _site(operations: Operations, parameters: Mapping[str, str]) -> int:
    site_id = _number(parameters, "site")
    if operations.engine().current_config().site(site_id) is None:
        raise RefusedError(404, f"site {site_id} does not exist")
    return site_id


async def export(operations: Operations, parameters: Mapping[str, str]) -> web.Response:
    """One part of a day; the header X-Hitstream-Next holds `after` of the next one, 0 after the last."""
    kind = _one_of(parameters, "kind", KINDS)
    fmt = _one_of(parameters, "format", FORMATS, "csv")
    site_id, day = _site(operations, parameters), _day(parameters, "day")
    after = _number(parameters, "after", "0")
    database = operations.engine().database
    part = await in_thread(operations, lambda: export_part(database, kind, site_id, day, fmt, after))
    return web.Response(
        body=part.body,
        headers={
            "Content-Type": _TYPES[fmt],
            "X-Hitstream-Next": str(part.following),
            "X-Hitstream-Rows": str(part.rows),
        },
    )


async def export_days(operations: Operations, parameters: Mapping[str, str]) -> Mapping[str, Any]:
    kind = _one_of(parameters, "kind", KINDS)
    site_id = _site(operations, parameters)
    first, last = _day(parameters, "from"), _day(parameters, "to")
    database = operations.engine().database
    days = await in_thread(operations, lambda: days_with_rows(database, kind, site_id, first, last))
    return {"days": [day.isoformat() for day in days]}


async def diagnosis(operations: Operations, _parameters: Mapping[str, str]) -> Mapping[str, Any]:
    engine = operations.engine()
    found: Mapping[str, Any] = await in_thread(
        operations, lambda: gather_diagnosis(engine, operations.data_dir, engine.sink_settings)
    )
    return found


async def optimize_tables(operations: Operations, parameters: Mapping[str, str]) -> Mapping[str, Any]:
    table, month = parameters.get("table", ""), parameters.get("month", "")
    if table and table not in TABLES:
        raise RefusedError(400, f"table={table!r}: expected one of {', '.join(TABLES)}")
    if month and not re.fullmatch(r"[0-9]{6}", month):
        raise RefusedError(400, f"month={month!r}: expected a month such as 202609")
    engine = operations.engine()
    done: list[Any] = []
    for name in (table,) if table else TABLES:
        found = await in_thread(operations, partial(optimize, engine, name, month))
        done += found["partitions"]
    return {"partitions": done}
