"""Everything that is no hit goes to the process that answers reports."""

import logging
from collections.abc import Awaitable, Callable

import aiohttp
from aiohttp import hdrs, web
from multidict import CIMultiDict
from yarl import URL

from ingest.addresses import AddressRanges, client_address
from schemas.config import CONFIG_HEADER

logger = logging.getLogger(__name__)

_HOP_BY_HOP = frozenset(
    name.lower()
    for name in (
        hdrs.CONNECTION,
        hdrs.KEEP_ALIVE,
        hdrs.PROXY_AUTHENTICATE,
        hdrs.PROXY_AUTHORIZATION,
        hdrs.TE,
        hdrs.TRAILER,
        hdrs.TRANSFER_ENCODING,
        hdrs.UPGRADE,
    )
)
_CHUNK_BYTES = 64 * 1024


class ReportingProxy:
    """A thin reverse proxy with kept connections. `after_write` runs, with the CONFIG_HEADER of the answer or
    nothing, before the answer to a request that may have changed something is passed on, so that a hit sent
    after that answer meets the change."""

    def __init__(
        self, target: str, after_write: Callable[[str], Awaitable[None]], trusted_proxies: AddressRanges
    ) -> None:
        self._target = URL(target).origin() if target else None
        self._trusted_proxies = trusted_proxies
        self._after_write = after_write
        self._session: aiohttp.ClientSession | None = None

    async def start(self) -> None:
        self._session = aiohttp.ClientSession(
            auto_decompress=False,
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=5, sock_read=600),
            connector=aiohttp.TCPConnector(limit=256),
        )

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Relays the request and streams the answer."""
        if self._target is None or self._session is None:
            return web.Response(status=404, text="Nothing is here: this process only takes hits.\n")
        # Put together as text: joined as addresses, a path such as //host/x would name another host.
        path = request.raw_path if request.raw_path.startswith("/") else "/"
        url = URL(f"{self._target}{path}", encoded=True)
        headers = CIMultiDict(
            (name, value) for name, value in request.headers.items() if name.lower() not in _HOP_BY_HOP
        )
        # What the client says of its own address counts only behind a trusted proxy: wrong tokens are
        # counted by address.
        headers["X-Forwarded-For"] = client_address(
            request.remote or "", request.headers.get("X-Forwarded-For", ""), self._trusted_proxies
        )
        headers.setdefault("X-Forwarded-Proto", request.scheme)
        headers.setdefault("X-Forwarded-Host", request.host)
        try:
            upstream = await self._session.request(
                request.method,
                url,
                headers=headers,
                data=request.content if request.body_exists else None,
                allow_redirects=False,
            )
        except (aiohttp.ClientError, TimeoutError, ConnectionError) as error:
            logger.warning(
                "%s %s: the reporting process does not answer: %s", request.method, request.path, error
            )
            return web.Response(
                status=502,
                headers={"Retry-After": "1"},
                text="The process that answers reports is not reachable; hits are still taken.\n",
            )
        async with upstream:
            if request.method == "POST" or request.path.endswith("/index.php"):
                await self._after_write(upstream.headers.get(CONFIG_HEADER, ""))
            relayed = web.StreamResponse(status=upstream.status, reason=upstream.reason)
            for name, value in upstream.headers.items():
                if name.lower() not in _HOP_BY_HOP and name.lower() != CONFIG_HEADER.lower():
                    relayed.headers.add(name, value)
            await relayed.prepare(request)
            try:
                async for chunk in upstream.content.iter_chunked(_CHUNK_BYTES):
                    await relayed.write(chunk)
            except (aiohttp.ClientError, TimeoutError) as error:
                # The status is already sent: only a broken connection tells the client that this is not all.
                logger.warning("%s %s: the answer broke off: %s", request.method, request.path, error)
                if request.transport is not None:
                    request.transport.abort()
                raise
            await relayed.write_eof()
            return relayed
