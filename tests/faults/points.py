"""Every named crash point (stream.faults.crash_point), by the stage that a kill there ends.

A test compares these names with those in the code (tests/unit/test_crash_points.py)."""

from typing import Literal

Backend = Literal["embedded", "kafka"]

PROCESSOR = (
    "processor.polled",
    "processor.processed",
    "log.committing",
    "log.committed",
    "processor.committed",
    "processor.repaired",
)
PROCESSOR_ON_KAFKA = ("log.sending", "log.sent", "log.applied")
SINK = (
    "sink.read",
    "sink.inserted",
    "sink.inserted.visits",
    "sink.inserted.actions",
    "sink.inserted.conversions",
    "sink.inserted.conversion_items",
    "sink.inserted.hits",
    "sink.inserted.tallies",
    "sink.inserted.dead",
    "sink.before_ledger",
    "sink.after_ledger",
    "sink.released",
)
REPLAY = ("replay.recorded", "replay.announced", "replay.asked")
ERASURE = (
    "erasure.recorded",
    "erasure.removed.visits",
    "erasure.removed.actions",
    "erasure.removed.conversions",
    "erasure.removed.conversion_items",
    "erasure.removed.hits",
)
REWRITE = ("rewrite.recorded",)
"""Killed by tests/faults/test_history_kills.py."""
RETENTION = (
    "archive.report",
    "archive.before_current",
    "archive.current",
    "retention.archived",
    "retention.frozen",
)
INGEST = ("ingest.grouped", "ingest.durable", "log.appending", "log.appended")
INGEST_ON_EMBEDDED = ("log.erasing", "log.erased")
SPOOL = ("spool.spooled", "spool.forwarded", "spool.marked")

ALL = frozenset(
    (
        *PROCESSOR,
        *PROCESSOR_ON_KAFKA,
        *SINK,
        *REPLAY,
        *ERASURE,
        *REWRITE,
        *RETENTION,
        *INGEST,
        *INGEST_ON_EMBEDDED,
        *SPOOL,
    )
)


def of_processor(backend: Backend) -> tuple[str, ...]:
    return PROCESSOR if backend == "embedded" else (*PROCESSOR_ON_KAFKA, *PROCESSOR)


def of_ingest(backend: Backend) -> tuple[str, ...]:
    return (*INGEST, *(INGEST_ON_EMBEDDED if backend == "embedded" else SPOOL))
