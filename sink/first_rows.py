"""The first rows of page reports, computed from the archive that they belong to (schemas.page_levels)."""

# ruff: noqa: S608 - the texts are declarations of ours; values are bound

from collections.abc import Callable, Mapping
from datetime import date
from typing import Any

from schemas.page_levels import (
    FIRST_OF,
    FOLDERS,
    PREFIXES,
    REST_OF,
    first_rows_sql,
    folders_sql,
    names_of,
)
from schemas.reports import AGGREGATES
from sink.report_keys import report_key

Execute = Callable[[str, Mapping[str, Any]], None]
"""Runs a statement with what is bound to it."""

_INTO = "INSERT INTO archives (site_id, segment, report, date, generation, labels, metrics)"
_COLUMNS = "site_id, segment, report, date, generation, labels, metrics"


def first_rows(
    site_id: int, segment: str, generation: int, *, first: date, last: date
) -> list[tuple[str, Mapping[str, Any]]]:
    """The statements that store those of one generation, whose rows have dates of [first, last], and what is
    bound to them: in any order. `segment` is the name under which it is stored."""
    bound = {"site": site_id, "segment": segment, "generation": generation, "first": first, "last": last}
    statements = []
    for prefix in PREFIXES:
        names = names_of(prefix)
        of_prefix = {
            "reports": [report_key(AGGREGATES[name]) for name in names],
            "targets": [report_key(FIRST_OF[name]) for name in names],
            "rest": report_key(REST_OF[prefix]),
        }
        statements.append(
            (f"{_INTO} SELECT {_COLUMNS} FROM ({first_rows_sql(prefix)})", {**bound, **of_prefix})
        )
    read = [report_key(AGGREGATES[name]) for name in ("pages", "pages_entry", "pages_exit")]
    folders = {"reports": read, "folders": report_key(FOLDERS)}
    return [*statements, (f"{_INTO} SELECT {_COLUMNS} FROM ({folders_sql()})", {**bound, **folders})]


def no_first_rows(
    execute: Execute, site_id: int, segment: str, generation: int, day: date, *, actions: int
) -> None:
    """Say of a day that has few actions that its pages are all to be read."""
    execute(
        f"{_INTO} SELECT {{site:UInt32}}, {{segment:String}}, arrayJoin({{rest:Array(String)}}),"
        " {day:Date}, {generation:UInt64}, emptyArrayString(), [{actions:Float64}]",
        {
            "site": site_id,
            "segment": segment,
            "generation": generation,
            "day": day,
            "actions": float(actions),
            "rest": [report_key(one) for one in REST_OF.values()],
        },
    )
