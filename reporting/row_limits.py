"""How many rows a strict instance shows of a report: the rest is added up in Others, as in Matomo's archives.

A limit counts Others: of a table with more rows than that the largest stay, one less than the limit. Rows
below the first level have a limit of their own. Full compatibility cuts nothing, and archives are never cut.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from reporting.generic_filters import OTHERS, sum_rows
from reporting.rows import UNIQUE, cell_number
from reporting.table import Row, Table


@dataclass(frozen=True)
class RowLimit:
    rows: int
    below: int


RowLimits = Mapping[str, RowLimit]

DEFAULTS: RowLimits = {
    "actions": RowLimit(500, 100),
    "site_search": RowLimit(500, 500),
    "referrers": RowLimit(1000, 50),
    "events": RowLimit(500, 500),
    "contents": RowLimit(500, 500),
    "custom_dimensions": RowLimit(1000, 1000),
    "users": RowLimit(50_000, 50_000),
    "standard": RowLimit(500, 500),
}
"""By group of reports, as Matomo has them."""

_LIMIT = re.compile(r"([a-z_]+)=(\d{1,9})(?:/(\d{1,9}))?")


def parse_limits(texts: Sequence[str]) -> RowLimits:
    """DEFAULTS with what `texts` (`actions=500/100`) say instead. Raises ValueError."""
    limits = dict(DEFAULTS)
    for text in texts:
        match = _LIMIT.fullmatch(text)
        if match is None or match[1] not in limits:
            raise ValueError(
                f"{text!r} is no limit of rows: expected actions=500/100, of one of {', '.join(limits)}"
            )
        limits[match[1]] = RowLimit(int(match[2]), int(match[3] or match[2]))
    return limits


_NOT_ADDED = {"actions": frozenset((*UNIQUE, *UNIQUE.values()))}
"""A visitor of two pages would count twice, so the page reports leave uniques of Others out."""


def limited(table: Table, group: str, limits: RowLimits, column: str, *, below: bool = False) -> Table:
    """The table with its largest rows by `column` (of equal ones those that come first) and Others.
    `below`: the table is a sub table itself."""
    if table.simple:
        return table
    most = limits[group].below if below else limits[group].rows
    kept, others = list(table.rows), table.summary
    if 0 < most < len(kept):
        ordered = sorted(kept, key=lambda row: -cell_number(row, column))
        kept = ordered[: most - 1]
        others = Row({"label": OTHERS, **sum_rows(ordered[most - 1 :], _NOT_ADDED.get(group, ()))})
    rows = [
        row
        if row.subtable is None
        else row.with_subtable(limited(row.subtable, group, limits, column, below=True))
        for row in kept
    ]
    return table.with_rows(rows, others)
