"""What the process that answers reports tells Prometheus: freshness, lag, outcomes, archives."""

import threading
import time
from collections import defaultdict
from collections.abc import Callable

from clickhouse_connect.driver.exceptions import ClickHouseError

from hitstream.drain import behind, places
from hitstream.engine import Engine
from hitstream.exposition import Family, by, exposition, one
from processors.service import GROUP
from schemas.topics import HITS
from sink.encoding import TABLES
from sink.rollups import RollupStatus
from stream.protocol import Log, LogError, LogResetError

KEEP_SECONDS = 10.0


class EngineMetrics:
    """The text of /metrics; gathered at most every ten seconds, since it asks log and tables."""

    def __init__(self, engine: Callable[[], Engine], clock: Callable[[], float] = time.monotonic) -> None:
        self._engine, self._clock = engine, clock
        self._lock = threading.Lock()
        self._text, self._until = "", 0.0

    def text(self) -> str:
        """Blocking. What can't be asked now is left out, and counted as not up."""
        with self._lock:
            if self._clock() >= self._until:
                self._text = self._gather(self._engine())
                self._until = self._clock() + KEEP_SECONDS
            return self._text

    def _gather(self, engine: Engine) -> str:
        families = [
            one("hitstream_epoch", "gauge", "Epoch of the log.", engine.log.epoch),
            one(
                "hitstream_complete_up_to_timestamp_seconds",
                "gauge",
                "What was received before is in reports; 0 while it is not known.",
                engine.freshness.complete_up_to,
            ),
        ]
        if (retention := retention_seconds(engine.log)) is not None:
            families.append(
                one(
                    "hitstream_log_retention_seconds",
                    "gauge",
                    "After this time the broker deletes what nobody read.",
                    retention,
                )
            )
        works = {"log": 1.0, "database": 1.0}
        try:
            families += lag_families(engine)
        except LogResetError:
            pass
        except LogError:
            works["log"] = 0.0
        try:
            families += outcome_families(engine)
        except (ClickHouseError, OSError):
            works["database"] = 0.0
        if engine.sink.error:
            works["database"] = 0.0
        families.append(by("part", "hitstream_works", "gauge", "1 when it answers, else 0.", works))
        if engine.rollups:
            families += rollup_families(engine.rollups.status(), time.time())
        text = exposition(families)
        return text + (engine.sink_metrics.prometheus() if engine.sink_metrics else "")


def retention_seconds(log: Log) -> float | None:
    """The shortest of hits and outputs; None where nothing unread is ever deleted (the embedded log)."""
    plan = getattr(log, "plan", None)
    return None if plan is None else min(plan.hits_hours, plan.outputs_hours) * 3600.0


def lag_families(engine: Engine) -> list[Family]:
    """Raises LogError."""
    waiting: dict[str, float] = defaultdict(float, {HITS.name: 0.0})
    for place, count in engine.log.lag(GROUP).items():
        waiting[place.topic] += count
    visible = engine.sink.visible_positions()
    reader = engine.log.reader()
    try:
        accepted = sum(reader.end_offsets(HITS.name).values())
        unstored = {
            table.name: float(behind(places(table.name, reader.end_offsets(table.name)), visible))
            for table in TABLES
        }
    finally:
        reader.close()
    return [
        one("hitstream_accepted_hits", "gauge", "Hits on the log since it was emptied.", accepted),
        by("topic", "hitstream_processor_lag_messages", "gauge", "Messages not processed yet.", waiting),
        by("table", "hitstream_stored_lag_messages", "gauge", "Messages not in the database yet.", unstored),
    ]


def outcome_families(engine: Engine) -> list[Family]:
    """Raises the database's errors."""
    outcomes = {
        str(outcome): float(hits)
        for outcome, hits in engine.database.rows("SELECT outcome, sum(hits) FROM counted_hits GROUP BY 1")
    }
    letters = {
        str(topic): float(count)
        for topic, count in engine.database.rows("SELECT topic, count() FROM dead FINAL GROUP BY 1")
    }
    return [
        by("outcome", "hitstream_outcome_hits", "gauge", "What became of the hits.", outcomes),
        by("topic", "hitstream_dead_letters", "gauge", "Messages that could not be processed.", letters),
    ]


def rollup_families(status: RollupStatus, now: float) -> list[Family]:
    """Of the rollups of one process."""
    oldest = status.oldest_change
    return [
        one("hitstream_rollups_waiting_days", "gauge", "Days whose archive is out of date.", status.waiting),
        one(
            "hitstream_rollups_oldest_change_seconds",
            "gauge",
            "How long the day that waits longest has waited for its archive.",
            max(0.0, now - oldest.timestamp()) if oldest else 0.0,
        ),
        one("hitstream_rollups_running", "gauge", "Sites being computed.", status.running),
        one("hitstream_rollups_computed_total", "counter", "Archives computed.", status.computed),
        one("hitstream_rollups_failed_total", "counter", "Computations that failed.", status.failed),
        one("hitstream_rollups_seconds_total", "counter", "Time spent computing.", status.seconds),
    ]
