"""The configuration for requests and jobs of the process that answers the API."""

import logging
import threading

from schemas.config import Config
from stream.config import ConfigFollower, ConfigWriter
from stream.protocol import Log, LogError, LogResetError

logger = logging.getLogger("hitstream.database")

LOOK_SECONDS = 0.2


class LatestConfig:
    """An embedded log is asked each time. A broker is asked beside, by `run` in a thread: while it is away,
    reports go on under what was known last. What this process wrote is known at once. For any thread."""

    def __init__(self, log: Log, writer: ConfigWriter) -> None:
        self._is_remote = log.is_remote
        self._writer = writer
        self._follower = ConfigFollower(log)
        self._mutex = threading.Lock()

    def __call__(self) -> Config:
        """Microseconds when nothing changed."""
        if self._is_remote:
            return max(self._follower.current, self._writer.known, key=lambda config: config.offset)
        with self._mutex:
            return self._follower.refresh()

    def run(self, stop: threading.Event) -> None:
        """Follows a log that is remote, until `stop`. Raises LogResetError."""
        is_away = False
        while self._is_remote and not stop.wait(LOOK_SECONDS):
            try:
                self._follower.refresh()
                is_away = False
            except LogResetError:
                raise
            except LogError as error:
                if not is_away:
                    logger.warning("reports go on under the last known configuration: %s", error)
                is_away = True

    def close(self) -> None:
        """When nobody asks any more."""
        self._follower.close()
