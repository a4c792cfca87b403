"""What the database process holds of one epoch: log, tables, sink, rollups, configuration, tokens.

A reset begins a new epoch: a new engine is opened beside the old one, which is then closed and dropped.
"""

import logging
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from hitstream.archives import StoredSegments
from hitstream.erased_hits import ErasedHits
from hitstream.erasure import Eraser
from hitstream.freshness import Freshness
from hitstream.known_facts import HistoryTrimmer
from hitstream.latest_config import LatestConfig
from hitstream.replay import Replayer
from hitstream.settings import DatabaseSettings
from schemas.access import Grant
from schemas.config import STRICT_TRACKING, Config, ConfigEvent
from schemas.settings import SettingsError
from schemas.topics import HISTORY
from sink.database import Database, Place, database_name, server_place
from sink.encoding import SiteDay
from sink.ledger import Ledger, Stored
from sink.loop import Sink
from sink.metrics import SinkMetrics
from sink.retention import Retention
from sink.rollups import RollupCounts, open_rollups
from sink.settings import ClickHouseSettings, RollupSettings, SinkSettings
from stream.config import ConfigWriter
from stream.opening import open_log
from stream.protocol import LogResetError
from stream.secrets import TokenStore
from stream.users import UserStore

logger = logging.getLogger("hitstream.database")


def clickhouse_dsn(data_dir: Path) -> str:
    """chDB with its files in the data directory."""
    return f"chdb://{(data_dir / 'clickhouse').resolve()}"


def database_place(data_dir: Path, clickhouse: ClickHouseSettings) -> Place:
    """Where the tables are: the server that is named, else chDB. Raises SettingsError."""
    if clickhouse.clickhouse:
        return server_place(clickhouse.clickhouse, clickhouse.clickhouse_cluster)
    if clickhouse.clickhouse_cluster or clickhouse.clickhouse_reader:
        raise SettingsError(
            "HITSTREAM_CLICKHOUSE is empty: HITSTREAM_CLICKHOUSE_CLUSTER and HITSTREAM_CLICKHOUSE_READER"
            " are for a ClickHouse server"
        )
    return Place(clickhouse_dsn(data_dir))


def reader_place(writer: Place, clickhouse: ClickHouseSettings) -> Place:
    """Where queries go: the reader's DSN, else the writer's. Raises SettingsError."""
    if not clickhouse.clickhouse_reader:
        return writer
    variable = "HITSTREAM_CLICKHOUSE_READER"
    place = server_place(
        clickhouse.clickhouse_reader, clickhouse.clickhouse_cluster, variable=variable, reads_only=True
    )
    if place.views != writer.views:
        raise SettingsError(
            f"{variable} names the database {place.views!r}, HITSTREAM_CLICKHOUSE {writer.views!r}:"
            " expected the same"
        )
    return place


class Engine:
    """Opened for the log's current epoch; its threads run from `start` to `close`.

    `stores`: sink and rollups run here; otherwise processes of their own do that work, and `on_site_days` is
    told of which epoch which days must be archived anew. `sink_metrics` and `rollup_counts` are those of the
    process, in which one engine follows another."""

    def __init__(
        self,
        settings: DatabaseSettings,
        sink_settings: SinkSettings,
        clickhouse: ClickHouseSettings | None = None,
        rollups: RollupSettings | None = None,
        *,
        stores: bool = True,
        on_site_days: Callable[[int, set[SiteDay]], None] = lambda _epoch, _days: None,
        sink_metrics: SinkMetrics | None = None,
        rollup_counts: RollupCounts | None = None,
    ) -> None:
        clickhouse = clickhouse or ClickHouseSettings()
        place = database_place(settings.data_dir, clickhouse)
        reader = reader_place(place, clickhouse)
        self.log = open_log(settings)
        self.database = Database(place, database_name(self.log.epoch, place.views))
        self.database.open()
        self.reader = self.database if reader is place else Database(reader, self.database.name)
        """For queries of reports and SQL."""
        self.sink_settings = sink_settings
        self.database.keep_hits(sink_settings.keep_hits_days)
        self.writer = ConfigWriter(self.log)
        if settings.compatibility == "strict" and self.writer.current.offset == 0:
            self.writer.write(ConfigEvent(at=time.time_ns() // 1_000_000, tracking=STRICT_TRACKING))
        self.tokens = TokenStore(self.log)
        if settings.admin_token:
            self.tokens.add(settings.admin_token, Grant(login="admin", superuser=True))
        self.writing = threading.Lock()
        """Held while the configuration is changed: what is written depends on what is read."""
        self.current_config = LatestConfig(self.log, self.writer)
        self.users = UserStore(self.log)
        segments = StoredSegments(self.current_config)
        self.rollups = (
            open_rollups(self.database, rollups or RollupSettings(), segments=segments, counts=rollup_counts)
            if stores
            else None
        )
        changed = self.rollups.changed if self.rollups else partial(on_site_days, self.log.epoch)
        erased = ErasedHits(self.log)
        self._sink = (
            Sink(
                self.log,
                self.database,
                sink_settings,
                on_site_days=changed,
                is_erased=erased,
                metrics=sink_metrics,
            )
            if stores
            else None
        )
        self.sink: Stored = self._sink or Ledger(self.database)
        self.facts = self.log.appender(HISTORY.name)
        """Decisions about the past: topic `history`."""
        self.replayer = Replayer(
            self.log, self.database, self.sink, self.facts, self.current_config, self._write_alone
        )
        self.eraser = Eraser(self.log, self.database, self.sink, changed, self.facts, erased, self._window)
        self.retention = Retention(
            self.database, sink_settings, lambda: self.current_config().privacy, segments=segments
        )
        self.freshness = Freshness(self.log, self.sink.visible_positions)
        trimmer = HistoryTrimmer(self.log, self.facts)
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=self._guard, args=("replays", self.replayer.run), name="replays"),
            threading.Thread(target=self._guard, args=("retention", self.retention.run), name="retention"),
            threading.Thread(
                target=self._guard,
                args=("configuration", lambda: self.current_config.run(self._stop)),
                name="configuration",
            ),
            threading.Thread(target=self._guard, args=("erasures", self.eraser.run), name="erasures"),
            threading.Thread(
                target=self._guard, args=("history", lambda: trimmer.run(self._stop)), name="history"
            ),
            threading.Thread(
                target=self._guard,
                args=("freshness", lambda: self.freshness.run(self._stop)),
                name="freshness",
            ),
        ]
        if self._sink and self.rollups:
            self._threads += [
                threading.Thread(target=self._guard, args=("sink", self._sink.run), name="sink"),
                *(
                    threading.Thread(target=self._guard, args=(name, work), name=name)
                    for name, work in self.rollups.lanes()
                ),
            ]
        self.failed: str = ""
        """What ended a thread that should run for ever; the process then ends, to be started again."""

    @property
    def sink_metrics(self) -> SinkMetrics | None:
        """Of the sink, when it runs here."""
        return self._sink.metrics if self._sink else None

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def _window(self) -> int:
        """Seconds for which ingest remembers a visitor."""
        tracking = self.current_config().tracking
        return max(tracking.visit_standard_length, tracking.window_look_back_for_visitor)

    def _write_alone(self, event: ConfigEvent) -> Config:
        with self.writing:
            return self.writer.write(event)

    def _guard(self, name: str, work: Callable[[], None]) -> None:
        try:
            work()
        except LogResetError:
            logger.info("the %s ends with epoch %d", name, self.log.epoch)
        except Exception as error:
            if not self._stop.is_set():
                logger.exception("the %s stopped", name)
                self.failed = f"{name}: {error}"

    def unfinished(self) -> str:
        """What replays and deletions have still to do before processors know of it all; empty for nothing."""
        replays, deletions = self.replayer.waiting, self.eraser.waiting
        if not replays and not deletions:
            return ""
        return f"{replays} replays and {deletions} steps of deletions that were begun go on"

    def is_stopping(self) -> bool:
        return self._stop.is_set()

    def stop_waiting(self) -> None:
        """Whoever waits for processors or sink gives up, replays and deletions too: the next start goes on
        with them. Processors may be waiting for this process, and not get on until it is there again."""
        self._stop.set()
        self.replayer.stop()
        self.eraser.stop()

    def close(self) -> None:
        """Let the threads finish what they are at, then release log and database."""
        began = time.monotonic()
        self.stop_waiting()
        if self._sink and self.rollups:
            self._sink.stop()
            self.rollups.stop()
        self.retention.stop()
        for thread in self._threads:
            thread.join()
        self.current_config.close()
        self.facts.close()
        self.writer.close()
        self.tokens.close()
        self.users.close()
        self.log.close()
        self.database.close()
        if self.reader is not self.database:
            self.reader.close()
        logger.info("epoch %d closed in %.1f s", self.log.epoch, time.monotonic() - began)
