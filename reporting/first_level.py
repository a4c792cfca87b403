"""The rows of a report's first level by number: which one a sub table belongs to, asked of the database.

Sub tables are numbered in the order in which their rows were first seen. To know which one a number means,
the labels of the first level and when they were seen are enough; then only what is below one of them is read.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from reporting.method import ApiRequest, Cell
from reporting.queries import count_by_label
from schemas.metrics import FIRST


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
    found = await asyncio.gather(*(_read(request, level) for level in levels))
    result: dict[Cell, list[str]] = {}
    for cell in request.cells:
        of_cell = [one[cell] for one in found]
        parts = {label for one in of_cell for label, counted in one.items() if counted["has_parts"]}
        labels = dict.fromkeys(
            label
            for one in of_cell
            for label in in_order({name: counted["first"] for name, counted in one.items()})
        )
        result[cell] = [label for label in labels if label in parts]
    return result


async def _read(request: ApiRequest, level: FirstLevel) -> dict[Cell, dict[str, dict[str, float]]]:
    """When each label was first seen, and whether it has parts."""
    counts = {"first": f"min(d.{FIRST})", "has_parts": f"max({level.has_parts})"}
    return await count_by_label(
        request, level.aggregate, level.label, counts, where=level.where, metrics=[FIRST]
    )
