"""The tracker endpoint: HTTP requests in, hits into the log, answers out."""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlencode

from aiohttp import hdrs, web
from aiohttp.http_exceptions import HttpProcessingError
from multidict import CIMultiDict

from ingest import answers
from ingest.acceptance import Refusal, Request, Sender, client_hints_of_headers
from ingest.addresses import AddressRanges, client_address
from ingest.answers import Answer
from ingest.intake import Intake
from ingest.metrics import Metrics
from ingest.plain_requests import PlainRequest, answer_bytes
from ingest.query import (
    SplitQuery,
    clean_text,
    decode,
    form_query,
    looks_like_bulk,
    merge,
    read_bulk,
    split_query,
)
from ingest.settings import IngestSettings
from schemas.hit import Hit, format_visitor_id
from stream.protocol import LogError

_CLIENT_HINTS = (
    "sec-ch-ua",
    "sec-ch-ua-mobile",
    "sec-ch-ua-platform",
    "sec-ch-ua-platform-version",
    "sec-ch-ua-model",
    "sec-ch-ua-full-version-list",
    "sec-ch-ua-full-version",
)

_THIRD_PARTY_COOKIE = "_pk_uid"
_THIRD_PARTY_COOKIE_SECONDS = 393 * 86400
"""13 months, as long as the visitor id of the JavaScript client."""

_LONGEST_HEADER = 4096
_BULK_CHUNK = 500
"""Hits of a bulk request decided at a stretch, about 10 ms; then other requests have their turn."""

logger = logging.getLogger(__name__)

CurrentIntake = Callable[[], Intake | None]


def response(answer: Answer, extra_headers: tuple[tuple[str, str], ...] = ()) -> web.Response:
    """An aiohttp response."""
    return web.Response(
        status=answer.status, body=answer.body or None, headers=CIMultiDict((*answer.headers, *extra_headers))
    )


class TrackerEndpoint:
    """Handlers of /matomo.php and its other names."""

    def __init__(self, settings: IngestSettings, metrics: Metrics, intake: CurrentIntake) -> None:
        self._settings = settings
        self._metrics = metrics
        self._intake = intake
        self._trusted_proxies = AddressRanges(settings.trusted_proxies)
        self._max_url = settings.max_url_bytes
        self._max_hit = settings.max_hit_bytes
        self._buffered_bytes = 0
        """Of bodies that are being read."""

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answers one HTTP request of a tracker."""
        origin = request.headers.get(hdrs.ORIGIN, "")
        if request.method == "OPTIONS":
            asked = request.headers.get(hdrs.ACCESS_CONTROL_REQUEST_HEADERS, "")
            if asked or hdrs.ACCESS_CONTROL_REQUEST_METHOD in request.headers:
                return response(answers.preflight_answer(origin, asked))
        try:
            answer = await self._answer(request)
        except LogError:
            answer = self._reject("log_unavailable", answers.LOG_UNAVAILABLE)
        return response(answer, answers.cross_origin_headers(request.method, origin))

    async def _answer(self, request: web.Request) -> Answer:
        path = request.raw_path
        if len(path) > self._max_url:
            return self._reject("url_too_long", answers.URL_TOO_LONG)
        intake = self._intake()
        if intake is None:
            return self._reject("not_ready", answers.NOT_READY)
        if intake.committer.is_full():
            return self._reject("overloaded", answers.OVERLOADED)
        query = clean_text(path.partition("?")[2])
        method = request.method
        if request.body_exists:
            body = b""
            buffered = min(
                request.content_length or self._settings.max_body_bytes, self._settings.max_body_bytes
            )
            if self._buffered_bytes + buffered > self._settings.max_buffered_bytes:
                return self._reject("overloaded", answers.OVERLOADED)
            self._buffered_bytes += buffered
            try:
                async with asyncio.timeout(self._settings.client_timeout_s):
                    if request.content_type == "multipart/form-data":
                        query = merge(query, await _multipart_query(request))
                    else:
                        body = await request.read()
            except web.HTTPRequestEntityTooLarge:
                return self._reject("body_too_large", answers.BODY_TOO_LARGE)
            except TimeoutError:
                return self._reject("too_slow", answers.TOO_SLOW)
            except (web.RequestPayloadError, ConnectionError):  # an encoding that is none, a client gone
                return self._reject("broken_body", answers.EMPTY_OTHER)
            finally:
                self._buffered_bytes -= buffered
            if looks_like_bulk(body):
                return await self._bulk(request.headers, _peer(request), intake, body, query)
            query = merge(query, form_query(body))
        elif method not in ("GET", "POST", "HEAD", "OPTIONS"):
            return answers.METHOD_NOT_ALLOWED
        params = split_query(query)
        if not params:
            return answers.EMPTY_GET if method == "GET" else answers.EMPTY_OTHER
        began = self._begin_single(request.headers, _peer(request), intake, query, params)
        if isinstance(began, Answer):
            return began
        hit, durable = began
        await durable
        return self._end_single(intake, params, hit)

    def take_plain(self, request: PlainRequest, peer: str, answer: Callable[[bytes], None]) -> None:
        """As `handle`, of a request by a client at `peer`; `answer` is called once, now or later."""
        extra_headers = answers.cross_origin_headers(request.method, request.headers.get("origin", ""))
        began = self._begin_plain(request, peer)
        if isinstance(began, Answer):
            answer(answer_bytes(began, extra_headers))
            return
        future, answer_to = began

        def end(done: "asyncio.Future[Any]") -> None:
            error = asyncio.CancelledError() if done.cancelled() else done.exception()
            if error is None:
                found = answer_to(done.result())
            else:
                if not isinstance(error, LogError | asyncio.CancelledError):
                    logger.error("a request could not be taken", exc_info=error)
                found = self._reject("log_unavailable", answers.LOG_UNAVAILABLE)
            answer(answer_bytes(found, extra_headers))

        future.add_done_callback(end)

    def _begin_plain(
        self, request: PlainRequest, peer: str
    ) -> "Answer | tuple[asyncio.Future[Any], Callable[[Any], Answer]]":
        """The answer, or what it waits for and how it is made from that."""
        intake = self._intake()
        if intake is None:
            return self._reject("not_ready", answers.NOT_READY)
        if intake.committer.is_full():
            return self._reject("overloaded", answers.OVERLOADED)
        method, _, query, headers, body = request
        if looks_like_bulk(body):
            return asyncio.ensure_future(self._bulk(headers, peer, intake, body, query)), _the_answer
        if body:
            query = merge(query, form_query(body))
        params = split_query(query)
        if not params:
            return answers.EMPTY_GET if method == "GET" else answers.EMPTY_OTHER
        began = self._begin_single(headers, peer, intake, query, params)
        if isinstance(began, Answer):
            return began
        hit, durable = began
        return durable, lambda _: self._end_single(intake, params, hit)

    def _begin_single(
        self, headers: Mapping[str, str], peer: str, intake: Intake, query: str, params: SplitQuery
    ) -> Answer | tuple[Hit, asyncio.Future[None]]:
        """The hit and when it is durable, or the answer to what is no hit."""
        with_image = params.with_image
        if not intake.rules.tracking.record_statistics:
            self._metrics.rejected["recording_off"] += 1
            return answers.RECORDING_OFF if with_image else answers.TRACKED_WITHOUT_IMAGE
        sender = self._sender(headers, peer, "web")
        hit = self._decide(intake, query, params, Request(sender, intake.rules))
        if isinstance(hit, Refusal):
            self._metrics.rejected[hit.reason] += 1
            if params.get("debug") == "1" and self._is_authorised(intake, params, sender):
                return answers.debug_answer(400, {"refused": hit.reason, "why": hit.detail})
            return answers.REFUSED if with_image else answers.REFUSED_WITHOUT_IMAGE
        if hit.exclusion:
            self._metrics.excluded[hit.exclusion] += 1
        return hit, intake.committer.submit_one(intake.entry(hit))

    def _end_single(self, intake: Intake, params: SplitQuery, hit: Hit) -> Answer:
        """The answer to a hit that is durable."""
        with_image = params.with_image
        if hit.authenticated and params.get("debug") == "1":
            return answers.debug_answer(200, _debug_facts(hit))
        if params.shape.has_order and not hit.exclusion and intake.orders.add(hit.site_id, params):
            return answers.REFUSED if with_image else answers.REFUSED_WITHOUT_IMAGE
        answer = answers.TRACKED if with_image else answers.TRACKED_WITHOUT_IMAGE
        if intake.rules.tracking.use_third_party_id_cookie and hit.visitor_id:
            answer = answer._replace(headers=(*answer.headers, _third_party_cookie(hit.visitor_id)))
        return answer

    async def _bulk(
        self, headers: Mapping[str, str], peer: str, intake: Intake, body: bytes, query: str
    ) -> Answer:
        self._metrics.bulk_requests += 1
        bulk = read_bulk(body)
        shared = split_query(query)
        with_image = bulk.send_image and shared.with_image
        if not intake.rules.tracking.record_statistics:
            self._metrics.rejected["recording_off"] += len(bulk.queries)
            return answers.RECORDING_OFF if with_image else answers.TRACKED_WITHOUT_IMAGE
        sender = self._sender(headers, peer, "bulk")
        token = bulk.token or decode(shared.get("token_auth", "")) or sender.token
        sender = sender._replace(token=token)
        invalid: list[int] = []
        written = []
        decide, entry, orders = self._decide, intake.entry, intake.orders
        for start in range(0, len(bulk.queries), _BULK_CHUNK):
            if start:
                await asyncio.sleep(0)
            entries = []
            request = Request(sender, intake.rules)
            for index, each in enumerate(bulk.queries[start : start + _BULK_CHUNK], start):
                text = each or ""
                params = split_query(text)
                hit = decide(intake, text, params, request)
                if isinstance(hit, Refusal):
                    self._metrics.rejected[hit.reason] += 1
                    invalid.append(index)
                    continue
                if hit.exclusion:
                    self._metrics.excluded[hit.exclusion] += 1
                elif params.shape.has_order and orders.add(hit.site_id, params):
                    invalid.append(index)  # and written all the same, as in Matomo
                entries.append(entry(hit))
            if entries:
                written.append(intake.committer.submit(entries))
        await asyncio.gather(*written)
        if not with_image:
            return answers.TRACKED_WITHOUT_IMAGE
        return answers.bulk_answer(
            len(bulk.queries) - len(invalid),
            invalid,
            with_indices=bool(bulk.queries) and intake.tokens.is_superuser(token),
        )

    def _decide(self, intake: Intake, query: str, params: SplitQuery, request: Request) -> Hit | Refusal:
        if len(query) > self._max_hit:
            # A unit of work holds thousands of hits in memory: none of them may be of any size.
            return Refusal("hit_too_large", f"{len(query)} bytes, at most {self._max_hit}")
        decision = intake.acceptance.accept(query, params, request)
        if isinstance(decision, Refusal) and decision.reason in ("unknown_site", "no_authority"):
            # The site or the token may be newer than what was read last.
            try:
                request.follow(intake.refresh())
            except LogError:
                return decision
            return intake.acceptance.accept(query, params, request)
        return decision

    def _sender(self, headers: Mapping[str, str], peer: str, origin: str) -> Sender:
        """`headers` are found by their lower-case names."""
        header = headers.get
        authorization = header("authorization", "")
        cookies = header("cookie", "")
        hints = ""
        if _CLIENT_HINTS[0] in headers:
            hints = client_hints_of_headers(
                {name: headers[name][:_LONGEST_HEADER] for name in _CLIENT_HINTS if name in headers}
            )
        return Sender(
            address=client_address(peer, header("x-forwarded-for", ""), self._trusted_proxies),
            received_at=time.time_ns() // 1_000_000,
            token=authorization[7:].strip() if authorization[:7].lower() == "bearer " else "",
            user_agent=_text(header("user-agent", "")),
            language=_text(header("accept-language", "")),
            referer=_text(header("referer", "")),
            client_hints=hints,
            purpose=header("x-purpose", ""),
            moz=header("x-moz", ""),
            cookies=cookies,
            do_not_track=header("dnt", "")[:1] == "1" or header("x-do-not-track", "")[:1] == "1",
            global_privacy_control=header("sec-gpc", "")[:1] == "1",
            third_party_id=_third_party_id(cookies) if _THIRD_PARTY_COOKIE in cookies else "",
            origin=origin,
        )

    @staticmethod
    def _is_authorised(intake: Intake, params: SplitQuery, sender: Sender) -> bool:
        token = decode(params["token_auth"]) if params.get("token_auth") else sender.token
        return intake.tokens.is_superuser(token)

    def _reject(self, reason: str, answer: Answer) -> Answer:
        self._metrics.rejected[reason] += 1
        return answer


def _peer(request: web.Request) -> str:
    return peer_of(request.transport) if request.transport is not None else ""


def peer_of(transport: asyncio.BaseTransport) -> str:
    """The address at the other end of a connection, empty where there is none."""
    peer = transport.get_extra_info("peername")
    return peer[0] if isinstance(peer, tuple) else ""


def _text(value: str) -> str:
    """A header's value that can be encoded: bytes that are not UTF-8 become U+FFFD."""
    if value.isascii():
        return value[:_LONGEST_HEADER]
    return value[:_LONGEST_HEADER].encode("utf-8", "surrogateescape").decode("utf-8", "replace")


async def _multipart_query(request: web.Request) -> str:
    """The text fields of a multipart form as a query; a broken form has none."""
    try:
        fields: Mapping[str, object] = await request.post()
    except (
        ValueError,
        RuntimeError,
        AssertionError,
        LookupError,
        HttpProcessingError,
    ):  # as aiohttp's reader fails on broken parts
        return ""
    texts = [(name, value) for name, value in fields.items() if isinstance(value, str)]
    return urlencode(texts, errors="surrogateescape")


def _the_answer(answer: Answer) -> Answer:
    return answer


def _third_party_id(cookies: str) -> str:
    found = ""
    for pair in cookies.split(";"):
        name, _, value = pair.partition("=")
        if name.strip() == _THIRD_PARTY_COOKIE:
            found = value.strip().strip('"')
    return found


def _third_party_cookie(visitor_id: int) -> tuple[str, str]:
    value = f"{_THIRD_PARTY_COOKIE}={format_visitor_id(visitor_id)}"
    return "Set-Cookie", f"{value}; Max-Age={_THIRD_PARTY_COOKIE_SECONDS}; Path=/; SameSite=None; Secure"


def _debug_facts(hit: Hit) -> dict[str, object]:
    return {
        "tracked": True,
        "hit_id": hit.hit_id,
        "site": hit.site_id,
        "time": hit.time,
        "owner": format_visitor_id(hit.owner),
        "visitor_id": format_visitor_id(hit.visitor_id),
        "user_id": hit.user_id,
        "ip": hit.ip,
        "exclusion": hit.exclusion,
        "query": hit.query,
    }
