"""Raw export: visits, actions and conversions of a site and day, in bounded parts.

The columns are those of the public views (docs/sql.md). A part is asked for by the key after which it begins
and says where the next one does, so neither side holds more than a part and an export can be resumed."""

# ruff: noqa: S608 - texts of queries are constants, values are bound parameters

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Literal

from sink.database import Database

Kind = Literal["visits", "actions", "conversions", "conversion_items"]
KINDS: Mapping[str, str] = {
    "visits": "visit_id", "actions": "action_id", "conversions": "conversion_id",
    "conversion_items": "conversion_id",
}  # fmt: skip
"""View -> its column that parts are cut by; rows with equal keys stay together."""
FORMATS: Mapping[str, str] = {"csv": "CSVWithNames", "parquet": "Parquet"}
MOST_ROWS = 200_000


@dataclass(frozen=True)
class Part:
    """`following` is the key to ask for the next part with; 0 after the last one."""

    body: bytes
    following: int
    rows: int


def days_with_rows(database: Database, kind: str, site_id: int, first: date, last: date) -> list[date]:
    """In order."""
    rows = database.rows(
        f"SELECT DISTINCT date FROM `{database.views}`.{kind} WHERE site_id = {{site:UInt32}}"
        " AND date BETWEEN {first:Date} AND {last:Date} ORDER BY date",
        {"site": site_id, "first": first, "last": last},
    )
    return [row[0] for row in rows]


def export_part(
    database: Database, kind: str, site_id: int, day: date, fmt: str, after: int, most: int = MOST_ROWS
) -> Part:
    """Blocking. `kind` and `fmt` are keys of KINDS and FORMATS."""
    key, view = KINDS[kind], f"`{database.views}`.{kind}"
    bound = {"site": site_id, "day": day, "after": after, "most": most}
    within = f"site_id = {{site:UInt32}} AND date = {{day:Date}} AND {key} > {{after:UInt64}}"
    # WITH TIES: a hit may convert several goals.
    count, until = database.rows(
        f"SELECT count(), max({key}) FROM (SELECT {key} FROM {view} WHERE {within}"
        f" ORDER BY {key} LIMIT {{most:UInt64}} WITH TIES)",
        bound,
    )[0]
    if not count:
        return Part(b"", 0, 0)
    body = database.client.raw_query(
        f"SELECT * FROM {view} WHERE {within} AND {key} <= {{until:UInt64}} ORDER BY {key}",
        parameters={**bound, "until": until},
        fmt=FORMATS[fmt],
    )
    return Part(bytes(body), int(until) if int(count) >= most else 0, int(count))
