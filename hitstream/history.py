"""The whole past of some owners, for processors that refold them from the raw hits."""

import time
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from processors.history import HistoryQuestion, OwnerHistory
from rules.fold_state import RowKey
from schemas.hit import Hit, Location, encode_hit
from schemas.rows import Visit, encode_row, offset_of_version
from schemas.topics import ACTIONS, CONVERSION_ITEMS, CONVERSIONS, HITS, VISITS
from sink.database import Database
from sink.ledger import Stored
from stream.protocol import Log, LogError, TopicPartition

_ROW_TABLES: Mapping[str, tuple[str, str]] = {
    VISITS.name: ("visit_id", "0"),
    ACTIONS.name: ("hit_id", "0"),
    CONVERSIONS.name: ("hit_id", "goal_id"),
    CONVERSION_ITEMS.name: ("hit_id", "sku"),
}
"""Table -> the third and fourth part of a row's key."""
CAUGHT_UP_SECONDS = 30.0
DAYS_AROUND = 2
"""An action may be on another day than its visit."""


def owner_histories(
    log: Log, database: Database, sink: Stored, question: HistoryQuestion, is_stopping: Callable[[], bool]
) -> list[OwnerHistory]:
    """Hits and row keys of the owners, once all that their partition has emitted is stored.

    Blocking, for a worker thread. Raises LogError when the sink does not catch up in time."""
    wait_for_sink(log, sink, question.partition, is_stopping)
    by_site: dict[int, list[int]] = defaultdict(list)
    for request in question.owners:
        by_site[request.site_id].append(request.owner)
    return [
        history
        for site_id, owners in by_site.items()
        for history in read_histories(database, site_id, owners, frozenset(question.erased))
    ]


def wait_for_sink(log: Log, sink: Stored, partition: int, is_stopping: Callable[[], bool]) -> None:
    """Until what the partition has on the log now is in the tables. Raises LogError, also when this process,
    and with it the sink, stops."""
    reader = log.reader()
    try:
        wanted = {
            TopicPartition(topic, partition): reader.end_offsets(topic)[partition]
            for topic in (HITS.name, *_ROW_TABLES)
        }
    finally:
        reader.close()
    deadline = time.monotonic() + CAUGHT_UP_SECONDS
    while True:
        stored = sink.visible_positions()
        if all(stored.get(place, 0) >= offset for place, offset in wanted.items()):
            return
        if time.monotonic() > deadline:
            raise LogError(
                f"partition {partition} is not stored up to its end after {CAUGHT_UP_SECONDS:.0f} s"
            )
        if is_stopping():
            raise LogError("this process stops")
        sink.flush_soon()
        time.sleep(0.02)


_HIT_COLUMNS: Mapping[str, str] = {name: name for name in Hit.__struct_fields__} | {
    "time": "toUInt32(time)",
    "received_at": "toUnixTimestamp64Milli(received_at)",
    "location": "(location.country, location.region, location.city, location.latitude, location.longitude)",
}
"""Field of Hit -> what to select, in the types of the field."""


_OF_OWNERS = "site_id = {site:UInt32} AND owner IN {owners:Array(UInt64)}"


def read_histories(
    database: Database, site_id: int, owners: Sequence[int], erased: Collection[int] = ()
) -> list[OwnerHistory]:
    """What the tables know of some owners of a site: one query per table for all of them. `erased`: as in a
    HistoryQuestion."""
    bound = {"site": site_id, "owners": list(owners)}
    hits = _hits(database, bound)
    visits = _visits(database, bound)
    gone = {
        owner: _last_without_hits([one for one in visits[owner] if one.visit_id not in erased], hits[owner])
        for owner in owners
    }
    keys = _row_keys(database, bound, visits, gone)
    return [
        OwnerHistory(
            site_id,
            owner,
            [
                (one.offset, encode_hit(one.hit))
                for one in hits[owner]
                if (last := gone[owner]) is None or one.hit.time > last.last_time
            ],
            keys[owner],
            [(one.visit_id, one.visitor_id) for one in visits[owner] if one.visitor_id != owner],
            _visit_row(database, site_id, gone[owner]),
        )
        for owner in owners
    ]


@dataclass(frozen=True)
class StoredHit:
    """A hit with its place on the log."""

    offset: int
    hit: Hit


@dataclass(frozen=True)
class _KnownVisit:
    visit_id: int
    visitor_id: int
    date: int
    first_time: int
    last_time: int


def read_hits(database: Database, where: str, bound: Mapping[str, Any]) -> list[StoredHit]:
    """Raw hits that fulfil a condition (a constant text with bound parameters)."""
    columns = ", ".join(_HIT_COLUMNS.values())
    query = f"SELECT version, {columns} FROM hits FINAL WHERE {where}"  # noqa: S608
    return [StoredHit(offset_of_version(row[0]), _hit(row[1:])) for row in database.rows(query, bound)]


def _hits(database: Database, bound: Mapping[str, Any]) -> dict[int, list[StoredHit]]:
    found: dict[int, list[StoredHit]] = defaultdict(list)
    for one in read_hits(database, _OF_OWNERS, bound):
        found[one.hit.owner].append(one)
    return found


def _visits(database: Database, bound: Mapping[str, Any]) -> dict[int, list[_KnownVisit]]:
    query = (
        "SELECT owner, visit_id, visitor_id, toInt32(date), toUnixTimestamp(first_time),"  # noqa: S608
        f" toUnixTimestamp(last_time) FROM visits FINAL WHERE {_OF_OWNERS} ORDER BY first_time, visit_id"
    )
    found: dict[int, list[_KnownVisit]] = defaultdict(list)
    for owner, *fields in database.rows(query, bound):
        found[owner].append(_KnownVisit(*fields))
    return found


def _last_without_hits(visits: Sequence[_KnownVisit], hits: Sequence[StoredHit]) -> _KnownVisit | None:
    """The last visit whose first hit is no longer kept: it and those before can't be folded again."""
    kept = {one.hit.hit_id for one in hits}
    return next((visit for visit in reversed(visits) if visit.visit_id not in kept), None)


def _row_keys(
    database: Database,
    bound: Mapping[str, Any],
    visits: Mapping[int, Sequence[_KnownVisit]],
    gone: Mapping[int, _KnownVisit | None],
) -> dict[int, list[RowKey]]:
    """Of the rows of visits that can be folded again."""
    owner_of: dict[int, int] = {}
    for owner, known in visits.items():
        last = gone[owner]
        for visit in known:
            if last is None or (visit.first_time, visit.visit_id) > (last.first_time, last.visit_id):
                owner_of[visit.visit_id] = owner
    keys: dict[int, list[RowKey]] = defaultdict(list)
    if not owner_of:
        return keys
    days = [visit.date for known in visits.values() for visit in known]
    ids = {
        "site": bound["site"], "visits": list(owner_of), "first": min(days) - DAYS_AROUND,
        "last": max(days) + DAYS_AROUND,
    }  # fmt: skip
    for table, (third, fourth) in _ROW_TABLES.items():
        query = (
            f"SELECT visit_id, site_id, toInt32(date), {third}, {fourth} FROM {table} FINAL"  # noqa: S608
            " WHERE site_id = {site:UInt32} AND toInt32(date) BETWEEN {first:Int32} AND {last:Int32}"
            " AND visit_id IN {visits:Array(UInt64)}"
        )
        for row in database.rows(query, ids):
            keys[owner_of[row[0]]].append((table, row[1], row[2], row[3], row[4]))
    return keys


_VISIT_COLUMNS: Mapping[str, str] = {name: name for name in Visit.__struct_fields__} | {
    "date": "toInt32(date)",
    "first_time": "toUnixTimestamp(first_time)",
    "last_time": "toUnixTimestamp(last_time)",
}


def _visit_row(database: Database, site_id: int, visit: _KnownVisit | None) -> bytes:
    """The whole row as on topic `visits`, without its flag; empty for none."""
    if visit is None:
        return b""
    query = (
        f"SELECT {', '.join(_VISIT_COLUMNS.values())} FROM visits FINAL"  # noqa: S608
        " WHERE site_id = {site:UInt32} AND toInt32(date) = {date:Int32} AND visit_id = {visit:UInt64}"
    )
    row = database.rows(query, {"site": site_id, "date": visit.date, "visit": visit.visit_id})[0]
    return encode_row(Visit(**dict(zip(_VISIT_COLUMNS, row, strict=True))))


def _hit(row: Sequence[Any]) -> Hit:
    fields = dict(zip(_HIT_COLUMNS, row, strict=True))
    fields["location"] = Location(*fields["location"])
    return Hit(**fields)
