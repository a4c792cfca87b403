"""The rows of a report's first level by number: which one a sub table belongs to, asked of the database.

Sub tables are numbered in the order in which their rows were first seen. To know which one a number means,
the labels of the first level and when they were seen are enough; then only what is below one of them is read.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from reporting.method import ApiRequest, Cell
from reporting.periods import Period
from reporting.queries import as_date, read_days
from schemas.metrics import FIRST
from schemas.report_queries import count_sql
from schemas.reports import AGGREGATES


@dataclass(frozen=True)
class FirstLevel:
    """The first level of a report in one aggregate. In its texts d.l0.. are the labels."""

    aggregate: str
    label: str
    where: str
    has_parts: str = "1"
    """Whether a row of the aggregate has something below its label."""


def in_order(first_seen: Mapping[str, float]) -> list[str]:
    """Labels as stored tables have them: in order of appearance."""
    return sorted(first_seen, key=lambda label: (first_seen[label], label.lower()))


async def labels_with_parts(request: ApiRequest, levels: Sequence[FirstLevel]) -> dict[Cell, list[str]]:
    """Those of each cell that have a sub table, its number being their place. What a later level adds comes
    after the labels of the earlier ones."""
    result: dict[Cell, list[str]] = {cell: [] for cell in request.cells}
    for site_id in request.sites:
        found = await asyncio.gather(*(_read(request, site_id, level) for level in levels))
        for period in request.periods:
            first_seen = [
                {label: first for label, (first, _) in one.get(period, {}).items()} for one in found
            ]
            parts = {label for one in found for label, (_, has) in one.get(period, {}).items() if has}
            labels = dict.fromkeys(label for one in first_seen for label in in_order(one))
            result[Cell(site_id, period)] = [label for label in labels if label in parts]
    return result


async def _read(
    request: ApiRequest, site_id: int, level: FirstLevel
) -> Mapping[Period, Mapping[str, tuple[float, bool]]]:
    """When each label was first seen, and whether it has parts."""
    aggregate = AGGREGATES[level.aggregate]
    days = await read_days(request, site_id, request.periods, [aggregate])
    sql, parameters = days.sql(aggregate, metrics=[FIRST])
    counts = {"first": f"min(d.{FIRST})", "has_parts": f"max({level.has_parts})"}
    rows = await days.ask(
        count_sql(request.period.kind, sql, counts, label=level.label, where=level.where), parameters
    )
    periods = {period.start: period for period in request.periods}
    result: dict[Period, dict[str, tuple[float, bool]]] = {}
    for start, label, first, has_parts in rows:
        result.setdefault(periods[as_date(start)], {})[str(label)] = (float(first), bool(has_parts))
    return result
