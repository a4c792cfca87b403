"""`hitstream rollups`: computes archives on a ClickHouse server, beside those that store and report."""

import logging
import threading
import time
from collections.abc import Callable
from datetime import timedelta

from hitstream.archives import SharedConfig, StoredSegments
from hitstream.engine_metrics import rollup_families
from hitstream.exposition import StageServer, exposition, one
from hitstream.settings import StageSettings
from hitstream.sink_process import open_database
from sink.database import Place
from sink.rollups import RollupCounts, Rollups, open_rollups
from sink.settings import RollupSettings
from stream.protocol import Log, LogError, LogResetError

logger = logging.getLogger("hitstream.rollups")

EPOCH_SECONDS = 5.0
LEFTOVERS_AFTER = timedelta(days=1)
"""An unfinished computation this old is nobody's: another worker may be at a younger one."""


class RollupProcess:
    """Runs the timers of the embedded database process. One is enough; several share the sites when each is
    told which of the workers it is, else they would compute the same."""

    def __init__(
        self,
        settings: StageSettings,
        rollup_settings: RollupSettings,
        place: Place,
        open_log: Callable[[], Log],
    ) -> None:
        self._settings, self._rollup_settings = settings, rollup_settings
        self._place, self._open_log = place, open_log
        self._counts = RollupCounts()
        self._rollups: Rollups | None = None

    def run(self, stop: threading.Event) -> None:
        """Until `stop`. Raises OSError when the port is taken, sink.migrations.NewerDatabaseError."""
        server = StageServer(
            self._settings.metrics_host, self._settings.rollups_metrics_port, self.metrics, self.problem
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
        try:
            database = open_database(self._place, log.epoch, stop)
            if database is None:
                return
            config = SharedConfig(log)
            rollups = self._rollups = open_rollups(
                database,
                self._rollup_settings,
                segments=StoredSegments(config),
                leftovers_after=LEFTOVERS_AFTER,
                counts=self._counts,
            )
            lanes = [threading.Thread(target=work, name=name) for name, work in rollups.lanes()]
            for lane in lanes:
                lane.start()
            logger.info("computing archives (epoch %d)", log.epoch)
            try:
                while not stop.wait(EPOCH_SECONDS) and all(lane.is_alive() for lane in lanes):
                    if has_ended(log):
                        raise LogResetError(f"epoch {log.epoch} has ended")
            finally:
                self._rollups = None
                rollups.stop()
                for lane in lanes:
                    lane.join()
                config.close()
                database.close()
        finally:
            log.close()

    def problem(self) -> str:
        """Why no archives are computed now."""
        return "" if self._rollups else "log or database do not answer yet"

    def metrics(self) -> str:
        rollups = self._rollups
        works = one("hitstream_rollups_work", "gauge", "1 when archives are computed, else 0.", bool(rollups))
        return exposition([works, *(rollup_families(rollups.status(), time.time()) if rollups else [])])


def has_ended(log: Log) -> bool:
    """Whether the log was emptied since it was opened; False while that can't be asked."""
    try:
        return log.current_epoch() != log.epoch
    except LogResetError:
        return True
    except LogError as error:
        logger.warning("the log can't be asked for its epoch: %s", error)
        return False
