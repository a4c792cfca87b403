"""Gathers what `hitstream status` and the balance check need from log and tables."""

import time
from collections import defaultdict
from typing import Any

from hitstream.drain import behind, places
from hitstream.engine import Engine
from hitstream.tallies import balance
from processors.service import GROUP
from schemas.topics import HITS, TALLIES
from sink.database import Database
from sink.encoding import TABLES
from sink.rollups import RollupStatus
from stream.protocol import Reader


def gather_status(engine: Engine) -> dict[str, Any]:
    """A JSON object; blocking. Raises LogError and the database's errors.

    Order matters for the balance: tables first, then the log, so that what moves meanwhile shows as under way
    and never as lost."""
    outcomes: dict[str, int] = defaultdict(int)
    excluded: dict[str, int] = defaultdict(int)
    dead: dict[str, int] = defaultdict(int)
    counted: dict[int, int] = defaultdict(int)
    visible = engine.sink.visible_positions()
    for topic, partition, outcome, reason, count in engine.database.rows(
        "SELECT topic, partition, outcome, reason, sum(hits) FROM counted_hits"
        " GROUP BY topic, partition, outcome, reason"
    ):
        if topic == HITS.name:
            counted[int(partition)] += int(count)
        outcomes[str(outcome)] += int(count)
        if outcome == "excluded":
            excluded[str(reason)] += int(count)
        elif outcome == "dead":
            dead[str(reason)] += int(count)
    reader = engine.log.reader()
    try:
        committed = engine.log.committed(GROUP)
        tally_ends = reader.end_offsets(TALLIES.name)
        accepted = reader.end_offsets(HITS.name)
        lag = _lags(engine, reader)
    finally:
        reader.close()
    found = balance(
        committed,
        counted,
        tally_ends,
        {place.partition: end for place, end in visible.items() if place.topic == TALLIES.name},
    )
    return {
        "epoch": engine.log.epoch,
        "partitions": engine.log.partitions,
        "accepted": sum(accepted.values()),
        "outcomes": {outcome: count for outcome, count in outcomes.items() if count},
        "excluded": {reason: count for reason, count in excluded.items() if count},
        "dead": dict(dead),
        "lag": lag,
        "freshness": freshness(engine),
        "balance": {"consumed": found.consumed, "counted": found.counted, "adds_up": found.adds_up},
        "rollups": rollup_summary(engine.rollups.status()) if engine.rollups else {},
        "bytes": dict(engine.log.sizes()),
        "parts_to_remove": parts_to_remove(engine.database),
        "problems": [text for text in (engine.failed, engine.sink.error) if text],
    }


def parts_to_remove(database: Database) -> int:
    """Parts that merges and deletions replaced and that are still on disk, for less than a minute."""
    return int(
        database.rows(
            "SELECT count() FROM system.parts WHERE database = currentDatabase() AND NOT active AND table IN"
            " (SELECT name FROM system.tables WHERE database = currentDatabase()"
            " AND create_table_query LIKE '%old_parts_lifetime%')"
        )[0][0]
    )


def rollup_summary(status: RollupStatus) -> dict[str, Any]:
    """A JSON object."""
    return {
        "waiting": status.waiting,
        "running": status.running,
        "computed": status.computed,
        "failed": status.failed,
        "seconds": round(status.seconds, 3),
        "last_error": status.last_error,
    }


def _lags(engine: Engine, reader: Reader) -> dict[str, int]:
    """Messages not yet processed, by input topic, and rows not yet in the tables."""
    lags: dict[str, int] = {HITS.name: 0}
    for place, count in engine.log.lag(GROUP).items():
        lags[place.topic] = lags.get(place.topic, 0) + count
    visible = engine.sink.visible_positions()
    for table in TABLES:
        lags[f"sink {table.name}"] = behind(places(table.name, reader.end_offsets(table.name)), visible)
    return lags


def freshness(engine: Engine) -> dict[str, Any]:
    """Up to which moment of receipt everything is in reports."""
    at = engine.freshness.complete_up_to
    if not at:
        return {"complete_up_to": "", "seconds_behind": None}
    return {
        "complete_up_to": time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(at)),
        "seconds_behind": round(max(0.0, time.time() - at), 3),
    }
