"""The whole past of some owners, for processors that refold them from the raw hits."""

import time
from collections.abc import Mapping, Sequence
from typing import Any

from hitstream.engine import Engine
from processors.history import HistoryQuestion, OwnerHistory, RepairRequest
from rules.fold import RowKey
from schemas.hit import Hit, Location, encode_hit
from schemas.topics import ACTIONS, CONVERSION_ITEMS, CONVERSIONS, HITS, VISITS
from stream.protocol import LogError, TopicPartition

_ROW_TABLES: Mapping[str, tuple[str, str]] = {
    VISITS.name: ("visit_id", "0"),
    ACTIONS.name: ("hit_id", "0"),
    CONVERSIONS.name: ("hit_id", "goal_id"),
    CONVERSION_ITEMS.name: ("hit_id", "sku"),
}
"""Table -> the third and fourth part of a row's key."""
CAUGHT_UP_SECONDS = 30.0


def owner_histories(engine: Engine, question: HistoryQuestion) -> list[OwnerHistory]:
    """Hits and row keys of the owners, once all that their partition has emitted is stored.

    Blocking, for a worker thread. Raises LogError when the sink does not catch up in time."""
    _wait_for_sink(engine, question.partition)
    return [_history(engine, request) for request in question.owners]


def _wait_for_sink(engine: Engine, partition: int) -> None:
    reader = engine.log.reader()
    try:
        wanted = {
            TopicPartition(topic, partition): reader.end_offsets(topic)[partition]
            for topic in (HITS.name, *_ROW_TABLES)
        }
    finally:
        reader.close()
    deadline = time.monotonic() + CAUGHT_UP_SECONDS
    while True:
        stored = engine.sink.visible_positions()
        if all(stored.get(place, 0) >= offset for place, offset in wanted.items()):
            return
        if time.monotonic() > deadline:
            raise LogError(
                f"partition {partition} is not stored up to its end after {CAUGHT_UP_SECONDS:.0f} s"
            )
        engine.sink.flush_soon()
        time.sleep(0.02)


_HIT_COLUMNS: Mapping[str, str] = {name: name for name in Hit.__struct_fields__} | {
    "time": "toUInt32(time)",
    "received_at": "toUnixTimestamp64Milli(received_at)",
    "location": "(location.country, location.region, location.city, location.latitude, location.longitude)",
}
"""Field of Hit -> what to select, in the types of the field."""


_OF_OWNER = "site_id = {site:UInt32} AND owner = {owner:UInt64}"
_ITEMS_OF_OWNER = (
    "site_id = {site:UInt32} AND hit_id IN (SELECT hit_id FROM conversions FINAL"  # noqa: S608 (constants)
    " WHERE " + _OF_OWNER + ")"
)
"""Items have no owner of their own; they go with their conversions."""


def _history(engine: Engine, request: RepairRequest) -> OwnerHistory:
    bound = {"site": request.site_id, "owner": request.owner}
    keys: list[RowKey] = []
    for table, (third, fourth) in _ROW_TABLES.items():
        where = _ITEMS_OF_OWNER if table == CONVERSION_ITEMS.name else _OF_OWNER
        query = f"SELECT site_id, toInt32(date), {third}, {fourth} FROM {table} FINAL WHERE {where}"  # noqa: S608
        keys.extend((table, row[0], row[1], row[2], row[3]) for row in engine.database.rows(query, bound))
    columns = ", ".join(_HIT_COLUMNS.values())
    query = f"SELECT {columns} FROM hits FINAL WHERE {_OF_OWNER}"  # noqa: S608
    hits = [encode_hit(_hit(row)) for row in engine.database.rows(query, bound)]
    return OwnerHistory(request.site_id, request.owner, hits, keys)


def _hit(row: Sequence[Any]) -> Hit:
    fields = dict(zip(_HIT_COLUMNS, row, strict=True))
    fields["location"] = Location(*fields["location"])
    return Hit(**fields)
