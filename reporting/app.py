"""The HTTP side of the Reporting API: /index.php in the process that holds the database."""

import asyncio
import json
import logging
import re
import threading
from collections.abc import Awaitable, Callable, Iterable, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from email.parser import BytesParser
from email.policy import HTTP
from typing import Any, Protocol
from urllib.parse import quote_plus

from aiohttp import hdrs, web

from reporting.api import Answer, Instance, ask
from reporting.archives import Archives
from reporting.errors import ApiError
from reporting.login import AttemptLimit, GivenToken, authenticate, token_of
from reporting.method import ConfigChange, Database, Method
from reporting.methods import METHODS
from reporting.parameters import Parameters, parse_query
from reporting.past import Past
from reporting.render import Response, Scene, parse_format, render, render_error
from reporting.root_page import show_root
from reporting.row_limits import RowLimits, parse_limits
from schemas.config import Config, ConfigEvent
from schemas.hit import Location
from stream.protocol import LogError
from stream.secrets import TokenStore
from stream.users import UserStore

logger = logging.getLogger("hitstream.reporting")

MAX_BODY_BYTES = 8 << 20
_INERT = {
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; sandbox",
}
"""Answers hold what visitors and requests said, some of it as HTML: a browser runs none of it."""


class Writer(Protocol):
    """stream.config.ConfigWriter"""

    @property
    def current(self) -> Config: ...

    def write(self, event: ConfigEvent) -> Config: ...


@dataclass(frozen=True, kw_only=True)
class Resources:
    """What belongs to one epoch of the log; a reset replaces all of it."""

    config: Callable[[], Config]
    database: Database
    writer: Writer
    writing: threading.Lock
    """Held while the configuration is changed: what is written depends on what is read."""
    tokens: TokenStore
    users: UserStore
    attempts: AttemptLimit = field(default_factory=AttemptLimit)
    archives: Archives | None = None
    past: Past | None = None
    locate: Callable[[str], Location] | None = None
    """Where an address is, from the instance's own database of addresses; None: there is none."""


@dataclass(frozen=True, kw_only=True)
class ReportingSetup:
    """What does not change while the process runs."""

    resources: Callable[[], Resources]
    executor: Executor
    compatibility: str = "full"
    row_limits: RowLimits = field(default_factory=lambda: parse_limits(()))
    cors_origins: frozenset[str] = frozenset({"*"})
    """Of the pages that may read answers; `*` is any."""
    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    methods: Mapping[str, Method] = field(default_factory=lambda: METHODS)


def create_app(setup: ReportingSetup) -> web.Application:
    """An application of its own, for tests and for a cluster's reporting process."""
    app = web.Application(client_max_size=MAX_BODY_BYTES)
    app.add_routes(reporting_routes(setup))
    return app


def reporting_routes(setup: ReportingSetup) -> list[web.RouteDef]:
    """The endpoints, to be added to the application of the database process."""

    async def answer(request: web.Request) -> web.Response:
        return await _answer(setup, request)

    async def preflight(request: web.Request) -> web.Response:
        return web.Response(status=204, headers=cors_headers(setup, request.headers.get(hdrs.ORIGIN, "")))

    return [
        web.get("/", show_root),
        web.get("/index.php", answer),
        web.post("/index.php", answer),
        web.options("/index.php", preflight),
    ]


def _changer(resources: Resources, executor: Executor) -> Callable[[ConfigChange], Awaitable[Config]]:
    def write(change: ConfigChange) -> Config:
        with resources.writing:
            config = resources.writer.current
            for event in change(config):
                config = resources.writer.write(event)
            return config

    async def run(change: ConfigChange) -> Config:
        return await asyncio.get_running_loop().run_in_executor(executor, write, change)

    return run


async def _read_body(request: web.Request) -> Mapping[str, Any]:
    """Form or JSON parameters; anything else is none. Raises HTTPRequestEntityTooLarge."""
    if request.method != hdrs.METH_POST:
        return {}
    content = await request.read()
    if request.content_type == "application/json":
        try:
            values = json.loads(content)
            return _texts(values) if isinstance(values, dict) else {}
        except (ValueError, RecursionError):
            return {}
    if request.content_type == "multipart/form-data":
        return parse_query("&".join(_multipart(content, request.headers.get(hdrs.CONTENT_TYPE, ""))))
    return parse_query(content.decode("utf-8", "replace"))


def _texts(values: Mapping[str, Any]) -> dict[str, Any]:
    """JSON values as the texts a form would have."""
    texts: dict[str, Any] = {}
    for raw_name, value in values.items():
        name = _encodable(raw_name)
        if isinstance(value, dict):
            texts[name] = _texts(value)
        elif isinstance(value, list):
            texts[name] = _texts({str(place): item for place, item in enumerate(value)})
        elif isinstance(value, bool):
            texts[name] = "1" if value else "0"
        elif value is not None:
            texts[name] = _encodable(str(value))
    return texts


def _encodable(text: str) -> str:
    """JSON can name halves of surrogate pairs, which no answer can hold."""
    return text.encode("utf-8", "replace").decode()


def _multipart(content: bytes, content_type: str) -> list[str]:
    """`name=value` pairs, encoded, of a multipart form's text fields."""
    message = BytesParser(policy=HTTP).parsebytes(
        b"Content-Type: " + content_type.encode() + b"\r\n\r\n" + content
    )
    pairs = []
    for part in message.iter_parts() if message.is_multipart() else ():
        name = part.get_param("name", header="content-disposition")
        payload = part.get_payload(decode=True)
        if isinstance(name, str) and isinstance(payload, bytes):
            pairs.append(f"{quote_plus(name)}={quote_plus(payload.decode('utf-8', 'replace'))}")
    return pairs


def _client(request: web.Request) -> str:
    """The address that ingest saw, which is the last one forwarded."""
    forwarded = request.headers.get("X-Forwarded-For", "")
    return forwarded.rpartition(",")[2].strip() or (request.remote or "")


async def _answer(setup: ReportingSetup, request: web.Request) -> web.Response:
    url = Parameters(parse_query(request.raw_path.partition("?")[2]))
    body = Parameters(await _read_body(request))
    parameters = Parameters({**body.values, **url.values})
    token = token_of(url, body, request.headers)
    response = await answer_parameters(
        setup, parameters, token, client=_client(request), base_url=_base_url(request)
    )
    headers = {**response.headers, **_INERT, **cors_headers(setup, request.headers.get(hdrs.ORIGIN, ""))}
    return web.Response(
        status=response.status,
        body=response.body,
        headers={**headers, hdrs.CONTENT_TYPE: response.content_type},
    )


def parse_origins(given: Iterable[str]) -> frozenset[str]:
    """`https://a.example` and the like, `*` for any, or none. Raises ValueError."""
    origins = frozenset(one.rstrip("/") for one in given)
    for origin in origins:
        if origin != "*" and not re.fullmatch(r"https?://[A-Za-z0-9.\-\[\]:]+", origin):
            raise ValueError(f"{origin!r} is no origin, as https://stats.example is")
    return origins


def cors_headers(setup: ReportingSetup, origin: str) -> dict[str, str]:
    """What lets a page of `origin` read an answer. No cookie ever grants anything: it must know a token."""
    if not origin or not setup.cors_origins:
        return {}
    anyone = "*" in setup.cors_origins
    if not anyone and origin not in setup.cors_origins:
        return {"Vary": "Origin"}
    return {
        "Access-Control-Allow-Origin": "*" if anyone else origin,
        "Access-Control-Allow-Methods": "GET, POST, OPTIONS",
        "Access-Control-Allow-Headers": "Authorization, Content-Type",
        **({} if anyone else {"Vary": "Origin"}),
    }


def _base_url(request: web.Request) -> str:
    """Where this instance is, as the client wrote it: the directory of index.php."""
    scheme = request.headers.get("X-Forwarded-Proto", request.scheme)
    host = request.headers.get("X-Forwarded-Host") or request.host
    return f"{scheme}://{host}/"


async def answer_parameters(
    setup: ReportingSetup, parameters: Parameters, token: GivenToken, *, client: str, base_url: str
) -> Response:
    """One API request, from parameters to bytes. Never raises for what a client sends."""
    format_name = parameters.text("format").lower() or "xml"
    try:
        format_name = parse_format(parameters)
        resources = setup.resources()
        grant = authenticate(token, resources.tokens, resources.users, resources.attempts, client)
        module = parameters.text("module")
        if module != "API":
            raise ApiError(f"The module '{module}' is not available here: only module=API is answered.", 404)
        instance = Instance(
            methods=setup.methods,
            config=resources.config,
            database=resources.database,
            change=_changer(resources, setup.executor),
            now=setup.now,
            state={
                "tokens": resources.tokens,
                "users": resources.users,
                "compatibility": setup.compatibility,
                "row_limits": setup.row_limits,
                "archives": resources.archives and resources.archives.for_request(),
                "past": resources.past,
                "locate": resources.locate,
                "base_url": base_url,
                "client": client,
                "methods": setup.methods,
            },
        )
        answer = await ask(instance, grant, parameters)
        scene = _scene(instance, answer, parameters, base_url)
        response = render(answer.result, format_name, parameters, scene)
        frozen = await asyncio.to_thread(_rows_from, resources, answer)
        if frozen is not None:
            response = replace(response, headers={**response.headers, "X-Hitstream-Rows-From": str(frozen)})
        return response
    except ApiError as error:
        return render_error(error, format_name, parameters)
    except LogError as error:
        logger.warning("the log refused a change: %s", error)
        return render_error(
            ApiError("The change could not be stored; try again later.", 503), format_name, parameters
        )
    except Exception:
        # A public endpoint shows no trace; the method is in the log, the token never is.
        logger.exception("method %s failed", parameters.text("method")[:200])
        return render_error(ApiError("An internal error occurred.", 500), format_name, parameters)


def _rows_from(resources: Resources, answer: Answer) -> date | None:
    """The first day with rows, for an answer about days before it: what is not archived per day (segments,
    unique visitors of a label over several days) counts only from there and is approximate."""
    if not answer.periods or resources.archives is None:
        return None
    frozen = resources.archives.frozen_before()
    return frozen if frozen is not None and min(one.start for one in answer.periods) < frozen else None


def _scene(instance: Instance, answer: Answer, parameters: Parameters, base_url: str) -> Scene:
    site_id = answer.sites[0] if answer.sites else 0
    site = instance.config().site(site_id)
    return Scene(
        method=answer.method,
        report_name=answer.shape_name,
        periods=answer.periods,
        site_id=site_id,
        site_name="" if site is None else site.name,
        base_url=base_url,
        now=instance.now(),
        dates=parameters.text("date"),
    )
