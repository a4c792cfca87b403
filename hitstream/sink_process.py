"""`hitstream sink`: stores some partitions in a ClickHouse server; several share the partitions."""

import logging
import threading
from collections.abc import Callable, Sequence
from typing import Protocol

from clickhouse_connect.driver.exceptions import ClickHouseError

from hitstream.erased_hits import ErasedHits
from hitstream.exposition import StageServer, exposition, one
from hitstream.settings import StageSettings
from sink.database import Database, Place, database_name
from sink.encoding import SiteDay
from sink.loop import Sink
from sink.metrics import SinkMetrics
from sink.settings import SinkSettings
from stream.protocol import Log, LogResetError

logger = logging.getLogger("hitstream.sink")

RETRY_SECONDS = 2.0
SHARE_SECONDS = 0.2


class Share(Protocol):
    """Which partitions are to be stored here: those that were named, or what a group decides."""

    @property
    def partitions(self) -> tuple[int, ...]: ...

    def close(self) -> None: ...


class NamedShare:
    """The partitions that somebody named."""

    def __init__(self, partitions: Sequence[int]) -> None:
        self.partitions = tuple(partitions)

    def close(self) -> None:
        """Nobody else is told."""


def open_database(place: Place, epoch: int, stop: threading.Event) -> Database | None:
    """Opened and migrated, however long the server is away; None when stopped meanwhile.

    Raises sink.migrations.NewerDatabaseError."""
    while not stop.is_set():
        database = Database(place, database_name(epoch, place.views))
        try:
            database.open()
            return database
        except (ClickHouseError, OSError) as error:
            database.close()
            logger.warning("the database does not answer, next attempt in %.0f s: %s", RETRY_SECONDS, error)
            stop.wait(RETRY_SECONDS)
    return None


class SinkProcess:
    """Runs a sink per epoch of the log."""

    def __init__(
        self,
        settings: StageSettings,
        sink_settings: SinkSettings,
        place: Place,
        open_log: Callable[[], Log],
        share: Callable[[Log], Share],
        on_site_days: Callable[[int, set[SiteDay]], None] = lambda _epoch, _days: None,
    ) -> None:
        """`share` says which partitions of a log to store; `on_site_days` is told the epoch too."""
        self._settings, self._sink_settings, self._place = settings, sink_settings, place
        self._open_log, self._share, self._on_site_days = open_log, share, on_site_days
        self._metrics = SinkMetrics()
        """Of all sinks that run here one after the other: no counter goes back while its process lives."""
        self._sink: Sink | None = None
        self._opened = False
        """Whether it would store; it may own no partition now."""

    def run(self, stop: threading.Event) -> None:
        """Until `stop`. Raises OSError when the port is taken, sink.migrations.NewerDatabaseError."""
        server = StageServer(
            self._settings.metrics_host, self._settings.sink_metrics_port, self.metrics, self.problem
        )
        try:
            while not stop.is_set():
                try:
                    self._run_epoch(stop)
                except LogResetError:
                    logger.info("the log was emptied")
        finally:
            server.close()

    def _run_epoch(self, stop: threading.Event) -> None:
        log = self._open_log()
        database = share = None
        try:
            database = open_database(self._place, log.epoch, stop)
            if database is None:
                return
            database.keep_hits(self._sink_settings.keep_hits_days)
            share = self._share(log)
            self._opened = True
            while not stop.is_set():
                partitions = share.partitions
                if not partitions:
                    stop.wait(SHARE_SECONDS)
                    continue
                try:
                    self._store(log, database, share, partitions, stop)
                except (ClickHouseError, OSError) as error:
                    # Rows wait inside the sink; this was the ledger at its start.
                    logger.warning(
                        "the ledger can't be read, next attempt in %.0f s: %s", RETRY_SECONDS, error
                    )
                    stop.wait(RETRY_SECONDS)
        finally:
            self._opened = False
            if share is not None:
                share.close()
            if database is not None:
                database.close()
            log.close()

    def _store(
        self, log: Log, database: Database, share: Share, partitions: Sequence[int], stop: threading.Event
    ) -> None:
        """Until `stop`, or until the share is another."""
        sink = Sink(
            log,
            database,
            self._sink_settings,
            on_site_days=lambda days: self._on_site_days(log.epoch, days),
            partitions=partitions,
            is_erased=ErasedHits(log),
            metrics=self._metrics,
        )
        ended = threading.Event()

        def watch() -> None:
            while not ended.is_set():
                if stop.wait(SHARE_SECONDS) or share.partitions != partitions:
                    sink.stop()
                    return

        threading.Thread(target=watch, name="watch", daemon=True).start()
        logger.info("storing partitions %s (epoch %d)", ",".join(map(str, partitions)), log.epoch)
        self._sink = sink
        try:
            sink.run()
        finally:
            ended.set()
            self._sink = None
            self._metrics.lags({})

    def problem(self) -> str:
        """Why nothing is stored now."""
        sink = self._sink
        if sink is not None:
            return sink.error
        return "" if self._opened else "it is not storing yet: log or database do not answer"

    def metrics(self) -> str:
        works = one("hitstream_sink_works", "gauge", "1 when rows are stored, else 0.", not self.problem())
        return exposition([works]) + self._metrics.prometheus()
