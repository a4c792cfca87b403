"""The ingest process: the HTTP application around an intake, and its life."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import replace

from aiohttp import web

from ingest import answers
from ingest.addresses import AddressRanges
from ingest.endpoint import TrackerEndpoint, response
from ingest.intake import Intake
from ingest.metrics import Metrics
from ingest.opt_out import answer_opt_out, honoured_headers, is_opt_out
from ingest.proxy import ReportingProxy
from ingest.settings import IngestSettings
from schemas.hit import Location
from stream.opening import open_log
from stream.protocol import Log, LogError

logger = logging.getLogger(__name__)

TRACKER_PATHS = ("/matomo.php", "/piwik.php")

_IDLE_PAUSES = 5
"""While no hits come the configuration is looked at less often: that is 1 % of a core."""
_LONGEST_PAUSE_S = 5.0
REMOTE_REFRESH_S = 0.1
"""How often a log that is elsewhere is asked for the configuration."""


class IngestProcess:
    """Holds the current intake; opens another one when the log is emptied."""

    def __init__(
        self,
        settings: IngestSettings,
        log: Log,
        *,
        locate: Callable[[str], Location] | None = None,
        clock_ns: Callable[[], int] = time.time_ns,
        reopen: Callable[[], Log] | None = None,
    ) -> None:
        self.metrics = Metrics()
        self._settings = settings
        self._log = log
        self._locate = locate
        self._clock_ns = clock_ns
        self._reopen = reopen or (lambda: open_log(replace(settings, partitions=log.partitions)))
        self._intake: Intake | None = None
        self._failed_refreshes = 0
        self._switching: asyncio.Task[None] | None = None
        self._looking = asyncio.Lock()

    def intake(self) -> Intake | None:
        """None while there is no log to write to."""
        return self._intake

    async def start(self) -> None:
        """Opens the log for appending and reads the last hits; raises LogError."""
        self._intake = await self._open(self._log)

    async def _open(self, log: Log) -> Intake:
        intake = await asyncio.to_thread(
            Intake, self._settings, log, self.metrics, locate=self._locate, clock_ns=self._clock_ns
        )
        intake.start()
        return intake

    def refresh(self) -> None:
        """Follow the configuration now; a log that was emptied is opened anew in the background."""
        intake = self._intake
        if intake is None:
            return
        try:
            self._take_in(intake, is_current=intake.look())
        except (LogError, OSError) as error:
            self._note_failure(error)

    def _take_in(self, intake: Intake, *, is_current: bool) -> None:
        if not is_current:
            self._begin_switch(intake)
            return
        intake.refresh()
        self._failed_refreshes = 0

    def _note_failure(self, error: Exception) -> None:
        if self._failed_refreshes == 0:
            logger.warning("the configuration can't be read now: %s", error)
        self._failed_refreshes += 1

    async def _look(self) -> None:
        """As `refresh`; a remote log is asked in a thread."""
        if self._intake is None or not self._intake.log.is_remote:
            self.refresh()
            return
        async with self._looking:
            intake = self._intake
            if intake is None:
                return
            try:
                is_current = await asyncio.to_thread(intake.look)
                if intake is self._intake:
                    self._take_in(intake, is_current=is_current)
            except (LogError, OSError) as error:
                self._note_failure(error)

    async def refreshed(self, told: str = "") -> None:
        """As `refresh`, and wait until an emptied log is open again. `told`: the CONFIG_HEADER of an answer;
        a broker, which may be away, is not asked for what is known here already."""
        intake = self._intake
        if intake is not None and intake.log.is_remote and intake.has_reached(told):
            self._take_in(intake, is_current=True)
            return
        await self._look()
        if self._switching is not None:
            await asyncio.shield(self._switching)
            await self._look()

    def _begin_switch(self, old: Intake) -> None:
        self._intake = None
        self._switching = asyncio.create_task(self._switch(old))

    async def _switch(self, old: Intake) -> None:
        pause = 0.01
        await old.close()
        while True:
            try:
                self._intake = await self._open(await asyncio.to_thread(self._reopen))
                break
            except (LogError, OSError) as error:
                logger.warning("the emptied log can't be opened yet: %s", error)
                await asyncio.sleep(pause)
                pause = min(pause * 2, _LONGEST_PAUSE_S)
        self._switching = None

    async def follow(self) -> None:
        """Looks at the configuration every few milliseconds, for ever."""
        accepted = -1
        while True:
            pause = self._settings.config_refresh_s
            if accepted == self.metrics.accepted:
                pause *= _IDLE_PAUSES
            accepted = self.metrics.accepted
            is_remote = self._intake is not None and self._intake.log.is_remote
            await asyncio.sleep(max(pause, REMOTE_REFRESH_S) if is_remote else pause)
            await self._look()
            if self._intake is not None:
                try:
                    self._intake.tidy()
                except LogError as error:
                    logger.warning("salts of past days can't be erased now: %s", error)

    async def close(self) -> None:
        """Writes what was accepted."""
        if self._switching is not None:
            self._switching.cancel()
        if self._intake is not None:
            intake, self._intake = self._intake, None
            await intake.close()

    def metrics_text(self) -> str:
        intake = self._intake
        if intake is None:
            return self.metrics.text({}, {})
        gauges = {
            "hitstream_ingest_queued_hits": ("Hits waiting for the log.", float(intake.committer.queued)),
            "hitstream_ingest_identity_keys": (
                "Ids and fingerprints of active visitors.",
                float(len(intake.acceptance.identity)),
            ),
            "hitstream_ingest_config_offset": (
                "Next offset of the configuration log.",
                float(intake.rules.offset),
            ),
            "hitstream_log_epoch": ("Grows when the log is emptied.", float(intake.log.epoch)),
        }
        if intake.spool is not None:
            state = intake.spool.state
            gauges |= {
                "hitstream_ingest_spool_hits": ("Hits that wait for the broker.", float(state.waiting)),
                "hitstream_ingest_spool_bytes": ("Size of the spool's files.", float(state.size)),
                "hitstream_ingest_spooled_hits": (
                    "Hits that went to the spool since the start.",
                    float(state.spooled),
                ),
                "hitstream_ingest_forwarded_hits": (
                    "Hits of the spool that the broker has taken since the start.",
                    float(state.forwarded),
                ),
            }
        return self.metrics.text(gauges, intake.log.sizes())


def tracker_paths(settings: IngestSettings) -> tuple[str, ...]:
    """Paths that take hits."""
    more = (path if path.startswith("/") else f"/{path}" for path in settings.tracker_paths)
    return tuple(dict.fromkeys((*TRACKER_PATHS, *more)))


TRACKER: web.AppKey[TrackerEndpoint] = web.AppKey("tracker", TrackerEndpoint)
PROCESS: web.AppKey[IngestProcess] = web.AppKey("process", IngestProcess)


def create_app(
    settings: IngestSettings,
    log: Log,
    *,
    locate: Callable[[str], Location] | None = None,
    clock_ns: Callable[[], int] = time.time_ns,
    reopen: Callable[[], Log] | None = None,
) -> web.Application:
    """The application: it takes hits into `log` once started, and closes it when cleaned up.

    `locate` gives the place of a whole or masked address; `reopen` opens the log after it was emptied."""
    process = IngestProcess(settings, log, locate=locate, clock_ns=clock_ns, reopen=reopen)
    endpoint = TrackerEndpoint(settings, process.metrics, process.intake)
    proxy = ReportingProxy(settings.reporting_url, process.refreshed, AddressRanges(settings.trusted_proxies))

    async def run_process(_app: web.Application) -> AsyncIterator[None]:
        await process.start()
        await proxy.start()
        following = asyncio.create_task(process.follow())
        yield
        following.cancel()
        await proxy.close()
        await process.close()

    async def ready(_request: web.Request) -> web.Response:
        intake = process.intake()
        if intake is None:
            return response(answers.NOT_READY)
        waiting = {} if intake.spool is None else {"spooled_hits": intake.spool.state.waiting}
        return web.json_response({"ready": True, **waiting})

    async def live(_request: web.Request) -> web.Response:
        return web.json_response({"live": True})

    async def metrics(_request: web.Request) -> web.Response:
        return web.Response(
            text=process.metrics_text(), headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"}
        )

    async def index(request: web.Request) -> web.StreamResponse:
        if not is_opt_out(request.query):
            return await proxy.handle(request)
        intake = process.intake()
        honoured = () if intake is None else honoured_headers(intake.rules.privacy)
        return await answer_opt_out(request, honoured=honoured)

    async def robots(_request: web.Request) -> web.Response:
        return response(answers.ROBOTS)

    app = web.Application(client_max_size=settings.max_body_bytes)
    app[PROCESS] = process
    app[TRACKER] = endpoint
    app.cleanup_ctx.append(run_process)
    for path in tracker_paths(settings):
        app.router.add_route("*", path, endpoint.handle)
    app.router.add_get("/robots.txt", robots)
    app.router.add_route("*", "/index.php", index)
    app.router.add_get("/health/live", live)
    app.router.add_get("/health/ready", ready)
    app.router.add_get("/metrics", metrics)
    app.router.add_route("*", "/{path:.*}", proxy.handle)
    return app
