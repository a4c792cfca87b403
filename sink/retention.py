"""Lifetimes of rows and archives. Days whose rows are gone are frozen: their archives are final.

Rows go by whole months, since a month is a partition and dropping one costs nothing. Before that every day
of the month gets its last archive; after that nothing computes one of them again (sink.archives)."""

import logging
import threading
import time
from collections.abc import Callable, Iterable
from datetime import date, timedelta

from clickhouse_connect.driver.exceptions import ClickHouseError

from schemas.config import Privacy
from schemas.reports import AGGREGATES
from sink.archives import (
    ALL_VISITS,
    FROZEN_KNOWN_SECONDS,
    ArchivedSegment,
    archive_day,
    frozen_before,
    stale_days,
)
from sink.database import Database
from sink.report_keys import report_key
from sink.settings import SinkSettings
from stream.faults import crash_point

logger = logging.getLogger(__name__)

CHECK_SECONDS = 3600.0
ROW_TABLES = ("visits", "actions", "conversions", "conversion_items")


def first_of_month(today: date, days: int) -> date:
    """The first day of the oldest month that has a day of the last `days`."""
    return (today - timedelta(days=days)).replace(day=1)


def months_before(database: Database, table: str, before: date) -> list[int]:
    """Months of a table, as 202609, that end before a day, which is the first of a month."""
    found = database.rows(
        f"SELECT DISTINCT toYYYYMM(date) AS month FROM {table}"  # noqa: S608 - our own names
        " WHERE date < {before:Date} ORDER BY month",
        {"before": before},
    )
    return [int(month) for (month,) in found]


SegmentsOfSite = Callable[[int], Iterable[ArchivedSegment]]


def no_segments(_site_id: int) -> Iterable[ArchivedSegment]:
    return ()


def archive_before(database: Database, before: date, segments: SegmentsOfSite = no_segments) -> None:
    """Every day before `before` gets its last archive, of all visits and of the site's stored segments."""
    reports = [report_key(one) for one in AGGREGATES.values()]
    sites = database.rows(
        "SELECT DISTINCT site_id FROM visits WHERE date < {before:Date}", {"before": before}
    )
    wanted: dict[str, dict[int, ArchivedSegment]] = {"": {int(site): ALL_VISITS for (site,) in sites}}
    for (site_id,) in sites:
        for segment in segments(site_id):
            wanted.setdefault(segment.key, {})[int(site_id)] = segment
    for key, of_sites in wanted.items():
        for stale in stale_days(database, segment=key, reports=reports):
            if stale.date < before and stale.site_id in of_sites:
                archive_day(database, stale.site_id, stale.date, segment=of_sites[stale.site_id])


def drop_rows(
    database: Database,
    before: date,
    wait: Callable[[float], object] = time.sleep,
    segments: SegmentsOfSite = no_segments,
) -> int:
    """Archive what is stale before a day, freeze those days, `wait` until readers know it, then drop their
    rows. `before` is the first of a month. May be repeated and killed anywhere. Returns how many partitions
    went."""
    frozen = frozen_before(database)
    if frozen is None or before > frozen:
        archive_before(database, before, segments)
        crash_point("retention.archived")
        database.execute("INSERT INTO frozen (before) SELECT {before:Date}", {"before": before})
        crash_point("retention.frozen")
        wait(FROZEN_KNOWN_SECONDS)
    return _drop(database, ROW_TABLES, before)


def drop_archives(database: Database, before: date) -> int:
    """Drop the archives before a day, which is the first of a month: reports of those days are empty then."""
    database.execute("DELETE FROM archive_days WHERE date < {before:Date}", {"before": before})
    return _drop(database, ("archives", "uniques"), before)


def _drop(database: Database, tables: tuple[str, ...], before: date) -> int:
    dropped = 0
    for table in tables:
        for month in months_before(database, table, before):
            database.command(f"ALTER TABLE {table} DROP PARTITION {month}")
            dropped += 1
    return dropped


class Retention:
    """Drops what is past its lifetime, at the start and once an hour. `run` in a thread.

    The configuration's lifetimes (`privacy`) come before those of the settings."""

    def __init__(
        self,
        database: Database,
        settings: SinkSettings,
        privacy: Callable[[], Privacy] = Privacy,
        today: Callable[[], date] = date.today,
        segments: SegmentsOfSite = no_segments,
    ) -> None:
        self._database, self._settings, self._privacy, self._today = database, settings, privacy, today
        self._segments = segments
        self._stop = threading.Event()
        self._working = threading.Lock()

    def run(self) -> None:
        wait = 0.0
        while not self._stop.wait(wait):
            wait = CHECK_SECONDS
            try:
                self.step()
            except (ClickHouseError, OSError) as error:
                logger.warning("rows past their lifetime can't be dropped now: %s", error)

    def step(self) -> None:
        """Drop what is due now. Raises the database's errors."""
        with self._working:
            self._drop_due()

    def _drop_due(self) -> None:
        privacy, today = self._privacy(), self._today()
        if days := privacy.keep_rows_days or self._settings.keep_rows_days:
            before = first_of_month(today, days)
            if count := drop_rows(self._database, before, self._stop.wait, self._segments):
                logger.info("rows before %s are gone (%d partitions); their days are frozen", before, count)
        if days := privacy.keep_archives_days or self._settings.keep_archives_days:
            before = first_of_month(today, days)
            if count := drop_archives(self._database, before):
                logger.info("archives before %s are gone (%d partitions)", before, count)

    def stop(self) -> None:
        self._stop.set()
