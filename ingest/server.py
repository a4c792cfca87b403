"""Listening: connection limit, slow clients, graceful end."""

import asyncio
import contextlib
import gc
import logging
import re
import signal
import sys
import time
from collections.abc import Callable
from typing import cast

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.web_protocol import RequestHandler

from ingest.app import PROCESS, TRACKER, create_app, tracker_paths
from ingest.compiled import stale_modules
from ingest.endpoint import peer_of
from ingest.geolocation import Geolocator
from ingest.metrics import Metrics
from ingest.plain_requests import PlainRequest, read_plain_request
from ingest.settings import IngestSettings
from schemas.hit import INGEST_NUMBERS, Location
from schemas.settings import SettingsError
from stream.opening import open_log
from stream.protocol import LogError, LogInUseError, LogMismatchError

logger = logging.getLogger(__name__)

_BUSY = (
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/plain\r\nContent-Length: 22\r\n"
    b"Retry-After: 1\r\nConnection: close\r\n\r\nToo many connections.\n"
)
_REQUEST_LINE = re.compile(rb"(?:GET|POST|HEAD|OPTIONS) /[^\r\n]*").match
_LONGEST_PLAIN_TARGET = 8000
_LONGEST_PLAIN = 1 << 20
_LONGEST_LINE = 1 << 20
"""Longer request lines are refused before they are read to the end; shorter ones get a clear 414."""


def with_ascii_target(data: bytes) -> bytes:
    """The first bytes of a request with its target percent-encoded.

    Some trackers send raw UTF-8, which aiohttp's parser refuses."""
    head = _REQUEST_LINE(data)
    if head is None:
        return data
    line = "".join([chr(byte) if byte < 0x80 else f"%{byte:02X}" for byte in head.group()])
    return line.encode() + data[head.end() :]


class MalformedRequests(logging.Filter):
    """Keeps what clients send wrong out of the log of errors: they are answered, nobody here can mend it."""

    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        return not isinstance(error, HttpProcessingError | web.RequestPayloadError | ConnectionError)


class Guard(asyncio.Protocol):
    """A connection: it answers plain tracking requests itself and goes to aiohttp's handler when another kind
    of request comes, with all that follow; notes when a request began to arrive."""

    __slots__ = (
        "answering",
        "handler",
        "held",
        "idle_since",
        "limits",
        "partial_since",
        "peer",
        "seen_requests",
        "transport",
    )

    def __init__(self, limits: "ConnectionLimits") -> None:
        self.limits = limits
        self.handler: RequestHandler | None = None
        """None as long as only plain requests came."""
        self.transport: asyncio.Transport | None = None
        self.peer = ""
        self.answering = False
        """A plain request waits for its answer."""
        self.held: list[bytes] = []
        """What came meanwhile."""
        self.idle_since: float | None = None
        self.partial_since: float | None = None
        self.seen_requests = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are none of asyncio's classes.
        self.transport = transport = cast(asyncio.Transport, transport)
        if not self.limits.admit(self):
            transport.write(_BUSY)
            transport.close()
            return
        self.peer = peer_of(transport)
        # A connection over which nothing comes is as slow as one over which a request never ends.
        self.partial_since = time.monotonic()

    def data_received(self, data: bytes) -> None:
        if self.handler is not None:
            if self.partial_since is None:
                self.partial_since = time.monotonic()
            if not data.isascii() and self.handler._current_request is None:
                data = with_ascii_target(data)
            self.handler.data_received(data)
        elif self.answering:
            assert self.transport is not None
            self.held.append(data)
            self.transport.pause_reading()
        elif self in self.limits.open:
            self._take(data)

    def _take(self, data: bytes) -> None:
        request = self.limits.read_plain(data)
        if request is None:
            self._hand_over(data)
            return
        self.answering = True
        self.limits.take_plain(request, self.peer, self._answer)

    def _answer(self, answer: bytes) -> None:
        transport = self.transport
        assert transport is not None
        self.answering = False
        self.partial_since = None
        self.idle_since = time.monotonic()
        if transport.is_closing():
            return
        transport.write(answer)
        if self.limits.is_closing:
            transport.close()
        elif self.held:
            data = b"".join(self.held)
            self.held.clear()
            transport.resume_reading()
            self._take(data)

    def _hand_over(self, data: bytes) -> None:
        assert self.transport is not None
        self.partial_since = time.monotonic()
        self.handler = self.limits.new_handler()
        self.handler.connection_made(self.transport)
        self.data_received(data)

    def eof_received(self) -> None:
        if self.handler is not None:
            self.handler.eof_received()

    def connection_lost(self, exc: BaseException | None) -> None:
        if self.limits.forget(self) and self.handler is not None:
            self.handler.connection_lost(exc)

    def pause_writing(self) -> None:
        if self.handler is not None:
            self.handler.pause_writing()
        elif self.transport is not None:
            self.transport.pause_reading()

    def resume_writing(self) -> None:
        if self.handler is not None:
            self.handler.resume_writing()
        elif self.transport is not None:
            self.transport.resume_reading()

    def is_stuck(self, now: float, timeout_s: float) -> bool:
        """Whether a head has been arriving for longer than a client has."""
        if self.handler is not None:
            # Private, but there is no public way to see that no request is being handled.
            requests = self.handler._request_count
            if requests != self.seen_requests or self.handler._current_request is not None:
                self.seen_requests = requests
                self.partial_since = None
                return False
        elif self.answering:
            return False
        return self.partial_since is not None and now - self.partial_since > timeout_s

    def is_idle(self, now: float, timeout_s: float) -> bool:
        """Whether nothing came since the last plain request for so long; aiohttp sees to its own."""
        is_waiting = self.handler is None and not self.answering and self.idle_since is not None
        return is_waiting and self.idle_since is not None and now - self.idle_since > timeout_s


class ConnectionLimits:
    """The open connections, and what they share."""

    def __init__(
        self,
        settings: IngestSettings,
        metrics: Metrics,
        new_handler: Callable[[], RequestHandler],
        take_plain: Callable[[PlainRequest, str, Callable[[bytes], None]], None],
    ) -> None:
        self.open: set[Guard] = set()
        self.is_closing = False
        self.new_handler = new_handler
        self.take_plain = take_plain
        self._paths = frozenset(tracker_paths(settings))
        self._longest_target = min(settings.max_url_bytes, _LONGEST_PLAIN_TARGET)
        self._longest_plain = min(settings.max_body_bytes, _LONGEST_PLAIN)
        self._max = settings.max_connections
        self._timeout_s = settings.client_timeout_s
        self._keepalive_s = settings.keepalive_timeout_s
        self._metrics = metrics

    def read_plain(self, data: bytes) -> PlainRequest | None:
        if len(data) > self._longest_plain:
            return None
        return read_plain_request(data, self._paths, self._longest_target)

    def admit(self, guard: Guard) -> bool:
        if len(self.open) >= self._max:
            self._metrics.cut_connections += 1
            return False
        self.open.add(guard)
        return True

    def forget(self, guard: Guard) -> bool:
        """Whether it had been admitted."""
        if guard in self.open:
            self.open.discard(guard)
            return True
        return False

    async def watch(self) -> None:
        """Cuts slow clients and closes connections that are not used, for ever."""
        while True:
            await asyncio.sleep(min(1.0, self._timeout_s / 2))
            now = time.monotonic()
            for guard in list(self.open):
                assert guard.transport is not None
                if guard.is_stuck(now, self._timeout_s):
                    self._metrics.cut_connections += 1
                    guard.transport.abort()
                elif guard.is_idle(now, self._keepalive_s):
                    guard.transport.close()

    async def end_plain(self, timeout_s: float) -> None:
        """Answers plain requests that are under way, then closes their connections."""
        self.is_closing = True
        deadline = time.monotonic() + timeout_s
        for guard in list(self.open):
            if guard.handler is None and not guard.answering and guard.transport is not None:
                guard.transport.close()
        # Once in the life of a process: not worth an event that every answer would have to set.
        while any(guard.answering for guard in self.open) and time.monotonic() < deadline:  # noqa: ASYNC110
            await asyncio.sleep(0.005)


class Listener:
    """A started application that listens on a socket."""

    def __init__(self, app: web.Application, settings: IngestSettings) -> None:
        self._app = app
        self._settings = settings
        self._runner = web.AppRunner(
            app,
            access_log=None,
            handle_signals=False,
            keepalive_timeout=settings.keepalive_timeout_s,
            max_line_size=_LONGEST_LINE,
            shutdown_timeout=settings.shutdown_timeout_s,
        )
        self._server: asyncio.Server | None = None
        self.limits: ConnectionLimits | None = None
        self._watching: asyncio.Task[None] | None = None
        self.port = 0

    async def start(self) -> None:
        """Opens the log, then listens. Raises LogError, OSError."""
        server_logger = logging.getLogger("aiohttp.server")
        if not any(isinstance(each, MalformedRequests) for each in server_logger.filters):
            server_logger.addFilter(MalformedRequests())
        await self._runner.setup()
        server = self._runner.server
        assert server is not None
        self.limits = limits = ConnectionLimits(
            self._settings, self._app[PROCESS].metrics, server, self._app[TRACKER].take_plain
        )
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            lambda: Guard(limits),
            self._settings.host,
            self._settings.port,
            backlog=1024,
            reuse_address=True,
        )
        self.port = self._server.sockets[0].getsockname()[1]
        self._watching = asyncio.create_task(limits.watch())

    async def stop(self) -> None:
        """Stops accepting, answers what is in flight, writes what is queued."""
        if self._server is not None:
            self._server.close()
        if self._watching is not None:
            self._watching.cancel()
        if self.limits is not None:
            await self.limits.end_plain(self._settings.shutdown_timeout_s)
        await self._runner.cleanup()


def open_locator(settings: IngestSettings) -> Callable[[str], Location] | None:
    """The lookup of places, None without a database."""
    if settings.geoip_database is None:
        return None
    return Geolocator(settings.geoip_database).locate


def run(settings: IngestSettings) -> int:
    """Runs the ingest process until SIGTERM or SIGINT; returns its exit status.

    Raises SettingsError, LogMismatchError, LogInUseError."""
    if settings.ingest_number >= INGEST_NUMBERS:
        raise SettingsError(
            f"HITSTREAM_INGEST_NUMBER={settings.ingest_number}: expected 0 to {INGEST_NUMBERS - 1}"
        )
    if stale := stale_modules():
        raise SettingsError(
            f"ingest was compiled before {', '.join(stale)} changed: make compile, or make uncompile"
        )
    # An append gives the interpreter lock away at every statement and gets it back only when the event
    # loop's turn is over. Measured beside a busy loop: a group of 64 takes 20 ms with turns of 5 ms (the
    # default), 3.5 ms with these, and the loop does no less.
    sys.setswitchinterval(0.0001)
    try:
        import uvloop

        new_loop: Callable[[], asyncio.AbstractEventLoop] | None = uvloop.new_event_loop
    except ImportError:  # Windows
        new_loop = None
    with asyncio.Runner(loop_factory=new_loop) as runner:
        return runner.run(_serve(settings))


async def _serve(settings: IngestSettings) -> int:
    loop = asyncio.get_running_loop()
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    try:
        log = open_log(settings)
        listener = Listener(create_app(settings, log, locate=open_locator(settings)), settings)
        await listener.start()
    except (LogMismatchError, LogInUseError):
        raise  # the caller knows the way out of these
    except (LogError, OSError) as error:
        print(f"hitstream ingest: {error}", file=sys.stderr)
        return 1
    # What is remembered of visitors lives long and holds no cycles: collecting it again and again would stop
    # all requests for 0.2 s per million entries.
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 50, 1000)
    logger.info("taking hits on %s:%d", settings.host, listener.port)
    with contextlib.suppress(asyncio.CancelledError):
        await stopped.wait()
    await listener.stop()
    return 0
