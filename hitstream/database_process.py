"""`hitstream database`: the one process that holds the database: sink, rollups, API, SQL endpoint."""

import asyncio
import contextlib
import gc
import logging
import signal
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from aiohttp import web

from hitstream.admin import admin_routes
from hitstream.archives import EngineArchives
from hitstream.data_subjects import EnginePast
from hitstream.engine import Engine
from hitstream.engine_metrics import EngineMetrics
from hitstream.exposition import CONTENT_TYPE
from hitstream.import_journal import forget_old_epochs
from hitstream.operations import Operations
from hitstream.settings import DatabaseSettings
from ingest.geolocation import Geolocator
from processors.service import GROUP
from reporting.app import ReportingSetup, Resources, parse_origins, reporting_routes
from reporting.database import ThreadedDatabase
from reporting.errors import ApiError
from reporting.login import GivenToken, authenticate
from reporting.row_limits import RowLimits, parse_limits
from reporting.sql_endpoint import SqlEndpoint, SqlRunner, SqlSettings
from schemas.access import Grant
from schemas.config import CONFIG_HEADER
from schemas.settings import SettingsError
from sink.encoding import SiteDay
from sink.metrics import SinkMetrics
from sink.rollups import RollupCounts
from sink.settings import ClickHouseSettings, RollupSettings, SinkSettings
from stream.protocol import LogError, LogResetError

logger = logging.getLogger("hitstream.database")

RESET_SECONDS = 30.0
POLL_SECONDS = 0.005


def _origins(given: tuple[str, ...]) -> frozenset[str]:
    """Raises SettingsError."""
    try:
        return parse_origins(given)
    except ValueError as error:
        raise SettingsError(f"HITSTREAM_CORS_ORIGINS: {error}") from None


def _row_limits(texts: tuple[str, ...]) -> RowLimits:
    """Raises SettingsError."""
    try:
        return parse_limits(texts)
    except ValueError as error:
        raise SettingsError(f"HITSTREAM_ROW_LIMITS: {error}") from None


class ResetTimeoutError(LogError):
    """The instance is empty, but not all processes run on the new epoch yet."""


class DatabaseProcess:
    """Holds the engine of the current epoch and replaces it when the instance is emptied."""

    def __init__(
        self,
        settings: DatabaseSettings,
        sink_settings: SinkSettings,
        clickhouse: ClickHouseSettings,
        rollups: RollupSettings,
        *,
        stores: bool = True,
        on_site_days: Callable[[int, set[SiteDay]], None] = lambda _epoch, _days: None,
    ) -> None:
        """`stores`: sink and rollups run here too; else `on_site_days` is told what rollups are to do."""
        self._settings = settings
        sink_metrics, rollup_counts = SinkMetrics(), RollupCounts()

        def open_engine() -> Engine:
            return Engine(
                settings,
                sink_settings,
                clickhouse,
                rollups,
                stores=stores,
                on_site_days=on_site_days,
                sink_metrics=sink_metrics,
                rollup_counts=rollup_counts,
            )

        self._open_engine = open_engine
        self._engine = open_engine()
        self._resetting = asyncio.Lock()
        self._cleaning: set[asyncio.Task[None]] = set()
        self._executor = ThreadPoolExecutor(8, thread_name_prefix="work")
        self.operations = Operations(
            engine=lambda: self._engine,
            reset=self.reset,
            data_dir=settings.data_dir,
            executor=self._executor,
        )
        self._locator = Geolocator(settings.geoip_database)
        self._resources = self._lend(self._engine)
        self.reporting = ReportingSetup(
            resources=lambda: self._resources,
            executor=self._executor,
            compatibility=settings.compatibility,
            row_limits=_row_limits(settings.row_limits),
            cors_origins=_origins(settings.cors_origins),
        )

    def _lend(self, engine: Engine) -> Resources:
        """What the Reporting API needs of an engine."""
        return Resources(
            config=engine.current_config,
            database=ThreadedDatabase(lambda: engine.reader.client, self._executor),
            writer=engine.writer,
            writing=engine.writing,
            tokens=engine.tokens,
            users=engine.users,
            archives=EngineArchives(engine.reader),
            past=EnginePast(engine, self._settings.data_dir),
            locate=self._locator.locate,
        )

    @property
    def engine(self) -> Engine:
        return self._engine

    def health_routes(self) -> list[web.RouteDef]:
        """/metrics and /health of this process, for those who reach its inner port."""
        metrics = EngineMetrics(lambda: self._engine)

        async def show_metrics(_request: web.Request) -> web.Response:
            text = await asyncio.get_running_loop().run_in_executor(self._executor, metrics.text)
            return web.Response(body=text.encode(), headers={"Content-Type": CONTENT_TYPE})

        async def show_metrics_to_superuser(request: web.Request) -> web.Response:
            token = request.headers.get("Authorization", "").removeprefix("Bearer ").strip()
            grant = self.grant_of(token, request.headers.get("X-Forwarded-For", ""))
            if grant is None or not grant.superuser:
                return web.json_response({"error": "a token with superuser access is needed"}, status=401)
            return await show_metrics(request)

        async def live(_request: web.Request) -> web.Response:
            return web.json_response({"live": True})

        async def ready(_request: web.Request) -> web.Response:
            problem = self._engine.failed or self._engine.sink.error
            return web.json_response(
                {"ready": not problem, "problem": problem}, status=503 if problem else 200
            )

        return [
            web.get("/metrics", show_metrics),
            web.get("/hitstream/metrics", show_metrics_to_superuser),
            web.get("/health/live", live),
            web.get("/health/ready", ready),
        ]

    async def tell_freshness(self, request: web.Request, response: web.StreamResponse) -> None:
        """Every report says up to which moment of receipt it is complete; to ingest, its configuration."""
        if request.path == "/index.php":
            # While the instance is emptied there is no configuration to wait for.
            with contextlib.suppress(LogResetError):
                config = self._engine.current_config()
                response.headers[CONFIG_HEADER] = f"{self._engine.log.epoch}:{config.offset}"
        at = self._engine.freshness.complete_up_to
        if at and request.path == "/index.php":
            moment = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at))
            response.headers["X-Hitstream-Complete-Up-To"] = moment

    def grant_of(self, token: str, client: str) -> Grant | None:
        """What a token of the SQL endpoint grants, under the same limit on wrong ones as the API's."""
        resources = self._resources
        if not token:
            return None
        try:
            given = GivenToken(token, in_url=False)
            return authenticate(given, resources.tokens, resources.users, resources.attempts, client)
        except ApiError:
            return None

    def sql_endpoint(self, settings: SqlSettings) -> SqlEndpoint:
        """Asks whatever engine is current: its views have the same names after a reset."""
        runner = SqlRunner(
            lambda: self._engine.reader.connect(self._engine.reader.views),
            lambda: self._engine.reader.name,
            views=self._engine.reader.views,
            settings=settings,
        )
        return SqlEndpoint(runner, self.grant_of)

    async def reset(self) -> Engine:
        """Begin a new epoch; returns when ingest, processors and this process run on it.

        Raises LogError, ResetTimeoutError."""
        loop = asyncio.get_running_loop()
        async with self._resetting:
            old = self._engine

            def begin() -> Engine:
                old.log.reset()
                return self._open_engine()

            self._engine = engine = await loop.run_in_executor(self._executor, begin)
            self._resources = self._lend(engine)
            engine.start()
            try:
                await self._wait_until_followed(engine)
            finally:
                # Also when that took too long, or when who asked has gone: the old epoch is over.
                task = asyncio.create_task(self._clean_up(old, engine))
                self._cleaning.add(task)
                task.add_done_callback(self._cleaning.discard)
            return engine

    async def _wait_until_followed(self, engine: Engine) -> None:
        """Raises ResetTimeoutError."""
        loop = asyncio.get_running_loop()
        deadline = time.monotonic() + RESET_SECONDS
        while not await loop.run_in_executor(self._executor, lambda: followed(engine)):
            if time.monotonic() > deadline:
                raise ResetTimeoutError(
                    f"the instance is empty, but not all processes took up epoch {engine.log.epoch} "
                    f"within {RESET_SECONDS:.0f} s"
                )
            await asyncio.sleep(POLL_SECONDS)

    async def _clean_up(self, old: Engine, engine: Engine) -> None:
        """Close and drop what was before; it may take longer than a reset should."""

        def clean() -> None:
            old.close()
            engine.database.drop_earlier()
            engine.log.remove_old_epochs()
            forget_old_epochs(self._settings.data_dir / "imports", engine.log.epoch)

        try:
            await asyncio.get_running_loop().run_in_executor(self._executor, clean)
        except Exception:
            logger.exception("cleaning up after a reset failed; the next start tries again")

    async def close(self) -> None:
        """Store what was read, close everything."""
        if self._cleaning:
            await asyncio.wait(self._cleaning)
        await asyncio.get_running_loop().run_in_executor(self._executor, self._engine.close)
        self._executor.shutdown()
        self._locator.close()


def followed(engine: Engine) -> bool:
    """Whether the processors have opened the engine's epoch. Ingest has, when it forwards the answer."""
    partitions = {place.partition for place in engine.log.committed(GROUP) if place.topic == "hits"}
    return len(partitions) == engine.log.partitions


async def serve(
    settings: DatabaseSettings,
    sink_settings: SinkSettings,
    sql_settings: SqlSettings,
    clickhouse: ClickHouseSettings,
    rollups: RollupSettings,
    *,
    stores: bool = True,
    on_site_days: Callable[[int, set[SiteDay]], None] = lambda _epoch, _days: None,
) -> None:
    """Runs until SIGTERM or SIGINT, or until a thread of the engine fails. Without `stores`: `reporting`."""
    process = DatabaseProcess(
        settings, sink_settings, clickhouse, rollups, stores=stores, on_site_days=on_site_days
    )
    process.engine.start()
    app = web.Application(client_max_size=64 << 20)
    app.add_routes(process.health_routes())
    app.add_routes(admin_routes(process.operations))
    app.add_routes(reporting_routes(process.reporting))
    app.on_response_prepare.append(process.tell_freshness)
    # Ingest, which forwards to here, is the one that limits request lines.
    runner = web.AppRunner(app, access_log=None, handler_cancellation=True, max_line_size=1 << 20)
    await runner.setup()
    await web.TCPSite(runner, settings.reporting_host, settings.reporting_port, backlog=512).start()
    sql_runner: web.AppRunner | None = None
    if settings.sql_port:
        sql_runner = web.AppRunner(process.sql_endpoint(sql_settings).app(), access_log=None)
        await sql_runner.setup()
        await web.TCPSite(sql_runner, settings.sql_host, settings.sql_port, backlog=128).start()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    # Reports are made of tens of thousands of rows without cycles: looking for those took a quarter of the
    # time of the largest.
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)
    logger.info("ready (epoch %d)", process.engine.log.epoch)
    while not stop.is_set() and not process.engine.failed:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), 1.0)
    process.engine.stop_waiting()
    await runner.cleanup()
    if sql_runner is not None:
        await sql_runner.cleanup()
    failed = process.engine.failed
    await process.close()
    if failed:
        raise RuntimeError(failed)
