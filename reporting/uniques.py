"""Exact unique visitors and users of any period: days don't add up, so their exact states are merged."""

# ruff: noqa: S608 - texts of queries are declarations of this repository, values are bound parameters

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date

from reporting.archives import Archives, StoredDay, where_stored
from reporting.method import ApiRequest, Cell
from reporting.queries import OF_MONTHS, as_date, compiled_segment, days_without, read_rows
from reporting.segments import Compiled, archived_segments
from schemas.report_queries import PERIOD_START

Counted = tuple[int, int]
"""Unique visitors, and unique users among them."""


@dataclass(frozen=True)
class Visitors:
    """Whose visits count."""

    prefix: str
    """Begins the names of the columns that hold the states of a day."""
    visit: str
    """A condition on rows of visits."""


EVERYBODY = Visitors("", "1")
NEW, RETURNING = Visitors("new_", "returning = 0"), Visitors("returning_", "returning != 0")


async def read_uniques(request: ApiRequest, of: Sequence[Visitors]) -> list[dict[Cell, Counted]]:
    """For each of `of`, what is counted in each cell."""
    result: list[dict[Cell, Counted]] = [dict.fromkeys(request.cells, (0, 0)) for _ in of]
    periods = {period.start: period for period in request.periods}
    for site_id in request.sites:
        sql, bound, archives_only = await _statement(request, site_id, of)
        for start, *counts in await read_rows(request, sql, bound, archives_only=archives_only):
            cell = Cell(site_id, periods[as_date(start)])
            for at, counted in enumerate(result):
                counted[cell] = int(counts[2 * at]), int(counts[2 * at + 1])
    return result


async def _statement(
    request: ApiRequest, site_id: int, of: Sequence[Visitors]
) -> tuple[str, dict[str, object], bool]:
    """Columns: the first day of a period, then visitors and users of each of `of`. With what is bound, and
    whether it reads archives alone."""
    segment, kind = compiled_segment(request, site_id), request.period.kind
    first, last = (
        min(period.start for period in request.periods), max(period.end for period in request.periods),
    )  # fmt: skip
    bound: dict[str, object] = {"site": site_id, "first": first, "last": last, **segment.parameters}
    period, visit = f"{PERIOD_START[kind]} AS period", segment.visit or "1"
    states = await _archived(request, site_id, first, last, segment, typed=any(one.prefix for one in of))
    if not states:
        counts = ", ".join(
            f"uniqExactIf(visitor_id, {one.visit}), uniqExactIf(lowerUTF8(user_id), {_is_user(one)})"
            for one in of
        )
        sql = (
            f"SELECT {period}, {counts} FROM visits FINAL WHERE site_id = {{site:UInt32}}"
            f" AND date BETWEEN {{first:Date}} AND {{last:Date}} AND ({visit}) GROUP BY period"
        )
        return sql, bound, False
    columns = [column for one in of for column in (f"{one.prefix}visitors", f"{one.prefix}users")]
    parts = [
        f"SELECT {period}, {', '.join(columns)} FROM uniques WHERE site_id = {{site:UInt32}}"
        " AND segment IN {segments:Array(String)} AND date IN {days:Array(Date)}"
        " AND (date, generation) IN arrayZip({days:Array(Date)}, {generations:Array(UInt64)})"
    ]
    without = days_without(request, first, last, states)
    bound |= {**where_stored(states), "row_days": without}
    if without:
        of_rows = ", ".join(
            f"{_state('visitor_id', 'UInt64', one.visit)} AS {one.prefix}visitors,"
            f" {_state('lowerUTF8(user_id)', 'String', _is_user(one))} AS {one.prefix}users"
            for one in of
        )
        parts.append(
            f"SELECT {period}, {of_rows} FROM visits FINAL WHERE site_id = {{site:UInt32}}"
            f" AND date IN {{row_days:Array(Date)}} AND ({visit}) GROUP BY period"
        )
    merged = ", ".join(f"uniqExactMerge({column})" for column in columns)
    sql = f"SELECT period, {merged} FROM ({' UNION ALL '.join(parts)}) GROUP BY period"
    return sql, bound, not without


def _is_user(of: Visitors) -> str:
    return f"user_id != '' AND {of.visit}"


def _state(value: str, kind: str, where: str) -> str:
    """As the table has it: the state of a function with a condition has a type of its own."""
    return f"CAST(uniqExactStateIf({value}, {where}), 'AggregateFunction(uniqExact, {kind})')"


async def _archived(
    request: ApiRequest, site_id: int, first: date, last: date, segment: Compiled, *, typed: bool
) -> Mapping[date, StoredDay]:
    archives: Archives | None = request.state.get("archives")
    if archives is None or not (segment.is_all or archived_segments(request.config, site_id)):
        return {}
    return await asyncio.to_thread(
        archives.unique_days,
        site_id,
        first,
        last,
        segment.key,
        typed=typed,
        by_month=request.period.kind in OF_MONTHS,
    )
