"""What the database process holds of one epoch: log, tables, sink, rollups, configuration, tokens.

A reset begins a new epoch: a new engine is opened beside the old one, which is then closed and dropped.
"""

import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path

from hitstream.erasure import ErasedHits, Eraser
from hitstream.freshness import Freshness
from hitstream.replay import Replayer
from hitstream.settings import DatabaseSettings
from schemas.access import Grant
from schemas.config import Config, ConfigEvent, Tracking
from schemas.topics import HISTORY
from sink.database import Database, database_name
from sink.loop import Sink
from sink.rollups import Rollups
from sink.settings import SinkSettings
from stream.config import ConfigFollower, ConfigWriter
from stream.opening import open_log
from stream.protocol import LogResetError
from stream.secrets import TokenStore
from stream.users import UserStore

logger = logging.getLogger("hitstream.database")


def clickhouse_dsn(data_dir: Path) -> str:
    """chDB with its files in the data directory."""
    return f"chdb://{(data_dir / 'clickhouse').resolve()}"


class Engine:
    """Opened for the log's current epoch; its threads run from `start` to `close`."""

    def __init__(
        self,
        settings: DatabaseSettings,
        sink_settings: SinkSettings,
    ) -> None:
        self.log = open_log(settings)
        self.database = Database(clickhouse_dsn(settings.data_dir), database_name(self.log.epoch))
        self.database.open()
        self.database.keep_hits(sink_settings.keep_hits_days)
        self.writer = ConfigWriter(self.log)
        if settings.compatibility == "strict" and self.writer.current.offset == 0:
            # The Matomo that strict is compared with knows no AI assistants.
            self.writer.write(
                ConfigEvent(at=time.time_ns() // 1_000_000, tracking=Tracking(ai_assistants=False))
            )
        self.tokens = TokenStore(self.log)
        if settings.admin_token:
            self.tokens.add(settings.admin_token, Grant(login="admin", superuser=True))
        self.writing = threading.Lock()
        """Held while the configuration is changed: what is written depends on what is read."""
        self._follower = ConfigFollower(self.log)
        self._following = threading.Lock()
        self.users = UserStore(self.log)
        self.rollups = Rollups(self.database)
        erased = ErasedHits(self.log)
        self.sink = Sink(
            self.log, self.database, sink_settings, on_site_days=self.rollups.changed, is_erased=erased
        )
        self.facts = self.log.appender(HISTORY.name)
        """Decisions about the past: topic `history`."""
        self.replayer = Replayer(
            self.log, self.database, self.sink, self.facts, self.current_config, self._write_alone
        )
        self.eraser = Eraser(self.log, self.database, self.sink, self.rollups, self.facts, erased)
        self.freshness = Freshness(self.log, self.sink.visible_positions)
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=self._guard, args=("sink", self.sink.run), name="sink"),
            threading.Thread(target=self._guard, args=("rollups", self.rollups.run), name="rollups"),
            threading.Thread(target=self._guard, args=("replays", self.replayer.run), name="replays"),
            threading.Thread(target=self._guard, args=("erasures", self.eraser.run), name="erasures"),
            threading.Thread(
                target=self._guard,
                args=("freshness", lambda: self.freshness.run(self._stop)),
                name="freshness",
            ),
        ]
        self.failed: str = ""
        """What ended a thread that should run for ever; the process then ends, to be started again."""

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def current_config(self) -> Config:
        """The configuration now; microseconds when nothing changed."""
        with self._following:
            return self._follower.refresh()

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

    def close(self) -> None:
        """Let the threads finish what they are at, then release log and database."""
        began = time.monotonic()
        self._stop.set()
        self.sink.stop()
        self.rollups.stop()
        self.replayer.stop()
        self.eraser.stop()
        for thread in self._threads:
            thread.join()
        self._follower.close()
        self.facts.close()
        self.writer.close()
        self.tokens.close()
        self.users.close()
        self.log.close()
        self.database.close()
        logger.info("epoch %d closed in %.1f s", self.log.epoch, time.monotonic() - began)
