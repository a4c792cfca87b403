"""`hitstream rollups` on a broker: a Faust app whose workers share the sites (DESIGN section 3).

Sinks put marks of changed days on a topic that is partitioned by site; the worker that owns the partition
computes the archives with the same function as the embedded timer. The leader sweeps and marks what no mark
told: all stale days when workers came or went and every hour, else those that changed since. A mark that was
read and not computed is lost with its worker, so a crash delays archives until that sweep and does no more.
No tables, no exactly-once: a computation repeated gives the same archive.
"""

import asyncio
import logging
import ssl
import sys
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

import faust
from clickhouse_connect.driver.exceptions import ClickHouseError

from hitstream.archives import SharedConfig, StoredSegments
from hitstream.engine_metrics import rollup_families
from hitstream.exposition import StageServer, exposition, one
from hitstream.rollup_process import LEFTOVERS_AFTER, has_ended
from hitstream.settings import StageSettings
from hitstream.sink_process import open_database
from schemas.marks import ChangedDay, decode_mark, encode_mark
from schemas.settings import SettingsError
from schemas.topics import partition_of
from sink.archives import StaleDay
from sink.database import Database, Place
from sink.encoding import SiteDay
from sink.rollups import LANES, SWEEP_SECONDS, Lane, RollupCounts, Rollups
from stream.kafka import KafkaLog
from stream.kafka_marks import marks_topic
from stream.opening import open_log
from stream.protocol import LogError

logger = logging.getLogger("hitstream.rollups")

TICK_SECONDS = 2.0
FULL_SWEEP_SECONDS = 3600.0
_LEADER_SUFFIX = "-__assignor-__leader"
"""Of the topic by whose only partition Faust chooses the leader."""
SESSION_SECONDS = 10.0
"""A worker that says nothing for so long is taken for dead, and its sites go to the others."""


@dataclass(frozen=True)
class _Epoch:
    """What belongs to one epoch of the log."""

    log: KafkaLog
    database: Database
    config: SharedConfig
    rollups: Rollups

    def close(self) -> None:
        self.rollups.stop()
        self.config.close()
        self.database.close()
        self.log.close()


class MarksByEpoch:
    """Tells rollups of the days of their epoch. Marks that come before it is opened here wait for that: the
    next sweep that looks at their days may be an hour away. From any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._early: dict[tuple[int, SiteDay], float] = {}
        self._epoch = -1
        self._changed: Callable[[set[SiteDay], float], object] | None = None

    def take(self, mark: ChangedDay) -> None:
        with self._lock:
            day = SiteDay(mark.site_id, mark.day)
            if self._changed is not None and mark.epoch == self._epoch:
                self._changed({day}, mark.changed_at)
            elif mark.epoch > self._epoch or self._changed is None:
                self._early[mark.epoch, day] = mark.changed_at

    def opened(self, epoch: int, changed: Callable[[set[SiteDay], float], object]) -> None:
        """`changed` gets the days of this epoch from now on, and when they changed (unix seconds)."""
        with self._lock:
            self._epoch, self._changed = epoch, changed
            for (of, day), changed_at in self._early.items():
                if of == epoch:
                    changed({day}, changed_at)
            self._early = {key: at for key, at in self._early.items() if key[0] > epoch}

    def ended(self) -> None:
        """What comes now is of the next one."""
        with self._lock:
            self._changed = None


class RollupWorker:
    """One worker. `app` is the Faust app; `run` blocks until a signal."""

    def __init__(self, settings: StageSettings, place: Place, options: Mapping[str, str]) -> None:
        """Raises SettingsError when Faust can't use the options of the broker, LogError."""
        self._settings, self._place = settings, place
        self._executor = ThreadPoolExecutor(4, thread_name_prefix="rollups")
        self._stop = threading.Event()
        self._counts = RollupCounts()
        self._epoch: _Epoch | None = None
        self._ended: list[_Epoch] = []
        """Another lane may still be at one; closed at the end."""
        self._opening = threading.Lock()
        self._days = MarksByEpoch()
        self._owned: frozenset[tuple[str, int]] = frozenset()
        """Topic and partition, as the group last said."""
        self._full_sweep_at = self._sweep_at = 0.0
        log = self._open_log()
        self._partitions, replication = log.partitions, log.plan.replication
        log.close()
        self.app = faust.App(
            f"{settings.kafka_prefix}.rollups",
            broker=[f"kafka://{server.strip()}" for server in settings.kafka.split(",")],
            broker_credentials=credentials(options),
            broker_session_timeout=SESSION_SECONDS,
            broker_heartbeat_interval=SESSION_SECONDS / 5,
            # With "latest", what the leader marks while another takes a partition over would be skipped.
            consumer_auto_offset_reset="earliest",
            topic_partitions=self._partitions,
            topic_replication_factor=replication,
            topic_disable_leader=False,
            stream_wait_empty=False,
            web_enabled=False,
            autodiscover=False,
            datadir=str(settings.data_dir / "faust"),
        )
        self._topic = marks_topic(settings.kafka_prefix)
        self._marks = self.app.topic(
            self._topic,
            key_type=bytes,
            value_type=bytes,
            key_serializer="raw",
            value_serializer="raw",
            partitions=self._partitions,
        )
        self._wire()

    def _open_log(self) -> KafkaLog:
        log = open_log(self._settings)
        assert isinstance(log, KafkaLog)
        return log

    def _wire(self) -> None:
        app = self.app

        @app.agent(self._marks, name="marks")
        async def marks(stream: Any) -> None:
            async for value in stream:
                self._days.take(decode_mark(value))

        def keep_computing(lane: Lane) -> None:
            async def compute() -> None:
                while not app.should_stop:
                    if not await self._in_thread(lambda: self._compute(lane)):
                        await app.sleep(TICK_SECONDS)

            app.task(compute)

        for lane in LANES:
            keep_computing(lane)

        @app.timer(TICK_SECONDS, on_leader=True)  # type: ignore[untyped-decorator,unused-ignore]
        async def sweep() -> None:
            for stale in await self._in_thread(self._sweep_when_due):
                await self._mark(stale)

        @app.on_partitions_assigned.connect(weak=False)
        async def assigned(_app: Any, places: Any, **_named: Any) -> None:
            # Somebody came or went: what a dead worker had read of the topic is nowhere now.
            self._owned = frozenset((place.topic, place.partition) for place in places)
            self._full_sweep_at = 0.0

        @app.on_partitions_revoked.connect(weak=False)
        async def revoked(_app: Any, _places: Any, **_named: Any) -> None:
            self._owned = frozenset()

    async def _in_thread(self, work: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._executor, work)

    def _compute(self, lane: Lane) -> bool:
        """Whether there was anything to compute."""
        try:
            epoch = self._current_epoch()
        except LogError as error:
            logger.warning("the log can't be opened, next attempt in %.0f s: %s", TICK_SECONDS, error)
            return False
        return epoch is not None and epoch.rollups.step(None, lane)

    def _current_epoch(self) -> _Epoch | None:
        """The current one, opened if need be; None when told to stop meanwhile."""
        with self._opening:
            epoch = self._epoch
            if epoch is not None and has_ended(epoch.log):
                logger.info("the log was emptied")
                self._epoch = None
                self._days.ended()
                epoch.rollups.stop()
                self._ended.append(epoch)
                epoch = None
            if epoch is None:
                epoch = self._epoch = self._open()
                self._full_sweep_at = 0.0
                if epoch is not None:
                    self._days.opened(epoch.log.epoch, epoch.rollups.changed)
            return epoch

    def _open(self) -> _Epoch | None:
        log = self._open_log()
        database = open_database(self._place, log.epoch, self._stop)
        if database is None:
            log.close()
            return None
        logger.info("computing archives (epoch %d)", log.epoch)
        config = SharedConfig(log)
        rollups = Rollups(
            database,
            segments=StoredSegments(config),
            leftovers_after=LEFTOVERS_AFTER,
            sweeps=False,
            counts=self._counts,
        )
        return _Epoch(log, database, config, rollups)

    def _sweep_when_due(self) -> list[StaleDay]:
        """The leader's: stale days of all sites."""
        epoch, now = self._epoch, time.monotonic()
        if epoch is None or now < min(self._full_sweep_at, self._sweep_at):
            return []
        full = now >= self._full_sweep_at
        try:
            found = epoch.rollups.sweep(full=full)
        except (ClickHouseError, OSError) as error:
            logger.warning("the sweep for stale archives failed: %s", error)
            self._sweep_at = now + TICK_SECONDS * 5
            return []
        self._sweep_at = now + SWEEP_SECONDS
        if full:
            self._full_sweep_at = now + FULL_SWEEP_SECONDS
        return found

    async def _mark(self, stale: StaleDay) -> None:
        epoch = self._epoch
        if epoch is None:
            return
        day = (stale.date - date(1970, 1, 1)) // timedelta(days=1)
        mark = ChangedDay(
            epoch=epoch.log.epoch,
            site_id=stale.site_id,
            day=day,
            changed_at=stale.changed_at.timestamp(),
        )
        await self._marks.send(
            key=stale.site_id.to_bytes(4, "big"),
            value=encode_mark(mark),
            partition=partition_of(stale.site_id, self._partitions),
        )

    def run(self) -> None:
        """Until SIGTERM or SIGINT. Raises OSError when the port is taken."""
        server = StageServer(
            self._settings.metrics_host, self._settings.rollups_metrics_port, self.metrics, self.problem
        )
        worker = faust.Worker(
            self.app, quiet=True, loglevel="WARNING", redirect_stdouts=False, override_logging=False
        )
        try:
            worker.execute_from_commandline()
        except SystemExit as ended:
            # Faust ends the process itself; 0 after a signal.
            if ended.code:
                raise
        finally:
            self._stop.set()
            if self._epoch is not None:
                self._epoch.rollups.stop()
            self._executor.shutdown()
            for epoch in (*self._ended, *([self._epoch] if self._epoch else [])):
                epoch.close()
            server.close()

    def problem(self) -> str:
        """Why no archives are computed now."""
        return "" if self._epoch else "log or database do not answer yet"

    def metrics(self) -> str:
        epoch, owned = self._epoch, self._owned
        sites = [place for place in owned if place[0] == self._topic]
        leads = any(topic.endswith(_LEADER_SUFFIX) for topic, _ in owned)
        families = [
            one("hitstream_rollups_work", "gauge", "1 when archives are computed, else 0.", bool(epoch)),
            one("hitstream_rollups_leader", "gauge", "1 at the worker that sweeps.", leads),
            one("hitstream_rollups_partitions", "gauge", "Partitions of sites owned.", len(sites)),
        ]
        if epoch is not None:
            families += rollup_families(epoch.rollups.status(), time.time())
        return exposition(families)


_FOR_FAUST = frozenset(
    {
        "security.protocol",
        "sasl.mechanism",
        "sasl.mechanisms",
        "sasl.username",
        "sasl.password",
        "ssl.ca.location",
        "ssl.certificate.location",
        "ssl.key.location",
        "ssl.key.password",
        "ssl.endpoint.identification.algorithm",
    }
)


def credentials(options: Mapping[str, str]) -> Any:
    """librdkafka's options of TLS and SASL as Faust takes them; None when there are none.

    Raises SettingsError."""
    secret = {
        name: value for name, value in options.items() if name.startswith(("sasl.", "ssl.", "security."))
    }
    unknown = sorted(secret.keys() - _FOR_FAUST)
    if unknown:
        raise SettingsError(
            f"HITSTREAM_KAFKA_OPTIONS: `hitstream rollups` can't use {unknown[0]}; it knows"
            f" {', '.join(sorted(_FOR_FAUST))}"
        )
    protocol = options.get("security.protocol", "plaintext").upper()
    if protocol == "PLAINTEXT":
        return None
    context = _tls(options) if protocol in ("SSL", "SASL_SSL") else None
    if protocol == "SSL":
        return faust.SSLCredentials(context)
    mechanism = options.get("sasl.mechanism", options.get("sasl.mechanisms", "PLAIN")).upper()
    if protocol not in ("SASL_SSL", "SASL_PLAINTEXT") or mechanism not in (
        "PLAIN",
        "SCRAM-SHA-256",
        "SCRAM-SHA-512",
    ):
        raise SettingsError(
            f"HITSTREAM_KAFKA_OPTIONS: `hitstream rollups` can't log in with {protocol} and {mechanism};"
            " it knows SSL, SASL_SSL and SASL_PLAINTEXT with PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512"
        )
    return faust.SASLCredentials(
        username=options.get("sasl.username", ""),
        password=options.get("sasl.password", ""),
        ssl_context=context,
        mechanism=mechanism,
    )


def _tls(options: Mapping[str, str]) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=options.get("ssl.ca.location") or None)
        if certificate := options.get("ssl.certificate.location"):
            context.load_cert_chain(
                certificate, options.get("ssl.key.location"), options.get("ssl.key.password")
            )
    except OSError as error:
        raise SettingsError(f"HITSTREAM_KAFKA_OPTIONS: certificates can't be read: {error}") from None
    if options.get("ssl.endpoint.identification.algorithm", "https").lower() == "none":
        context.check_hostname = False
    return context


def run_worker(settings: StageSettings, place: Place, options: Mapping[str, str]) -> None:
    """Until SIGTERM or SIGINT."""
    logging.getLogger("faust").setLevel(logging.WARNING)
    logging.getLogger("aiokafka").setLevel(logging.ERROR)
    sys.argv = sys.argv[:1]
    RollupWorker(settings, place, options).run()
