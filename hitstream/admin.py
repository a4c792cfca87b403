"""Operator endpoints of an instance, under /hitstream/: a token with superuser access is needed.

GET  /hitstream/status            what was accepted and what became of it
POST /hitstream/drain             returns when all sent before is visible (timeout=seconds)
POST /hitstream/reset             yes=1; empties the instance; tracking=, privacy= JSON: what to begin with
POST /hitstream/configure         tracking=, privacy= JSON: changes of instance-wide settings
GET  /hitstream/sites             ids, names and addresses
GET  /hitstream/explain           visit=ID
POST /hitstream/replay            site=1,2 (else all), from=, to= (days), dry_run=1 says what changes; whole=1
GET  /hitstream/export            kind=visits, site=, day=, format=csv or parquet, after=: a part of the rows
GET  /hitstream/export/days       kind=, site=, from=, to=: the days that have rows
GET  /hitstream/diagnosis         facts for `hitstream doctor`
POST /hitstream/optimize          table=, month= (empty: all): merge parts
POST /hitstream/history           msgpack of processors.history: the past of owners, for their refold
GET  /hitstream/imports           file_id=, scope=: what was imported of a log file
POST /hitstream/imports           an import record
POST /hitstream/imports/seen      marker=: lines of an import found in the raw hits
"""

import json
import re
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import fields
from typing import Any

import msgspec
from aiohttp import web

from hitstream.drain import DrainTimeoutError, drain
from hitstream.engine import Engine
from hitstream.history import owner_histories
from hitstream.import_journal import ImportJournal, ImportRecord, journal_directory
from hitstream.import_lines import arrived_lines
from hitstream.maintenance import diagnosis, export, export_days, optimize_tables
from hitstream.operations import Handler, Operations, RefusedError, in_thread
from hitstream.past import explain, replay
from hitstream.status import gather_status
from processors.history import decode_question, encode_histories
from schemas.config import ConfigEvent, Privacy, Tracking
from stream.protocol import LogError

DRAIN_SECONDS = 600.0
_MARKER = re.compile(r"[0-9a-f]{16}\.[0-9]+\.")


def admin_routes(operations: Operations) -> list[web.RouteDef]:
    """The endpoints, to be added to the application of the database process."""
    return [
        web.get("/hitstream/status", _endpoint(operations, _status)),
        web.post("/hitstream/drain", _endpoint(operations, _drain)),
        web.post("/hitstream/reset", _endpoint(operations, _reset)),
        web.post("/hitstream/configure", _endpoint(operations, _configure)),
        web.get("/hitstream/sites", _endpoint(operations, _sites)),
        web.get("/hitstream/explain", _endpoint(operations, explain)),
        web.post("/hitstream/replay", _endpoint(operations, replay)),
        web.get("/hitstream/export", _endpoint(operations, export)),
        web.get("/hitstream/export/days", _endpoint(operations, export_days)),
        web.get("/hitstream/diagnosis", _endpoint(operations, diagnosis)),
        web.post("/hitstream/optimize", _endpoint(operations, optimize_tables)),
        web.post("/hitstream/history", _histories(operations)),
        web.get("/hitstream/imports", _endpoint(operations, _imports)),
        web.post("/hitstream/imports", _endpoint(operations, _save_import)),
        web.post("/hitstream/imports/seen", _endpoint(operations, _seen_lines)),
    ]


def _endpoint(operations: Operations, handler: Handler) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def answer(request: web.Request) -> web.Response:
        parameters = {name: str(value) for name, value in request.query.items()}
        if request.method == "POST":
            parameters |= {name: str(value) for name, value in (await request.post()).items()}
        token = request.headers.get("Authorization", "").removeprefix("Bearer ").strip()
        token = token or parameters.pop("token_auth", "")
        grant = operations.engine().tokens.find(token) if token else None
        if grant is None or not grant.superuser:
            return web.json_response({"error": "a token with superuser access is needed"}, status=401)
        try:
            answered = await handler(operations, parameters)
            return answered if isinstance(answered, web.Response) else web.json_response(answered)
        except RefusedError as refusal:
            return web.json_response({"error": str(refusal)}, status=refusal.status)
        except DrainTimeoutError as error:
            return web.json_response({"error": f"not drained in time: {error}"}, status=504)
        except LogError as error:
            return web.json_response({"error": str(error)}, status=503)

    return answer


def _histories(operations: Operations) -> Callable[[web.Request], Awaitable[web.Response]]:
    """Asked by processors, with the superuser token that the processes of an instance share."""

    async def answer(request: web.Request) -> web.Response:
        engine = operations.engine()
        token = request.headers.get("Authorization", "").removeprefix("Bearer ").strip()
        grant = engine.tokens.find(token) if token else None
        if grant is None or not grant.superuser:
            return web.json_response({"message": "a token with superuser access is needed"}, status=401)
        question = decode_question(await request.read())
        try:
            histories = await in_thread(
                operations,
                lambda: owner_histories(
                    engine.log, engine.database, engine.sink, question, engine.is_stopping
                ),
            )
        except LogError as error:
            return web.json_response({"message": str(error)}, status=503)
        return web.Response(body=encode_histories(histories), content_type="application/msgpack")

    return answer


async def _status(operations: Operations, _parameters: Mapping[str, str]) -> Mapping[str, Any]:
    engine = operations.engine()
    found: Mapping[str, Any] = await in_thread(operations, lambda: gather_status(engine))
    return found


async def _drain(operations: Operations, parameters: Mapping[str, str]) -> Mapping[str, Any]:
    try:
        timeout = float(parameters.get("timeout", DRAIN_SECONDS))
    except ValueError:
        raise RefusedError(400, f"timeout={parameters['timeout']}: expected seconds") from None
    engine = operations.engine()
    seconds = await in_thread(operations, lambda: drain(engine.log, engine.sink, timeout, engine.unfinished))
    return {"drained": True, "seconds": round(seconds, 4)}


async def _reset(operations: Operations, parameters: Mapping[str, str]) -> Mapping[str, Any]:
    if parameters.get("yes") != "1":
        raise RefusedError(
            400, "reset deletes all hits, reports and sites: say yes=1 (hitstream reset --yes)"
        )
    # Read before anything is deleted, so that a typing error deletes nothing.
    changes = _changes(parameters)
    began = time.monotonic()
    engine = await operations.reset()
    await in_thread(operations, lambda: _write_changes(engine, changes))
    return {"epoch": engine.log.epoch, "seconds": round(time.monotonic() - began, 4)}


async def _configure(operations: Operations, parameters: Mapping[str, str]) -> Mapping[str, Any]:
    changes = _changes(parameters)
    if not changes:
        raise RefusedError(400, "nothing to change: expected tracking= or privacy= with a JSON object")
    engine = operations.engine()
    await in_thread(operations, lambda: _write_changes(engine, changes))
    config = engine.writer.current
    return {"tracking": msgspec.to_builtins(config.tracking), "privacy": msgspec.to_builtins(config.privacy)}


def _changes(parameters: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """The checked JSON objects of `tracking` and `privacy`; raises RefusedError."""
    found: dict[str, dict[str, Any]] = {}
    kinds: Mapping[str, type[Tracking | Privacy]] = {"tracking": Tracking, "privacy": Privacy}
    for name, kind in kinds.items():
        text = parameters.get(name, "")
        if not text:
            continue
        try:
            values = json.loads(text)
            if not isinstance(values, dict):
                raise ValueError("expected a JSON object")
            unknown = set(values) - {field.name for field in msgspec.structs.fields(kind)}
            if unknown:
                raise ValueError(f"unknown settings {', '.join(sorted(unknown))}")
            msgspec.convert(values, kind, strict=False)
        except (ValueError, msgspec.ValidationError) as error:
            raise RefusedError(400, f"{name}: {error}") from None
        found[name] = values
    return found


def _write_changes(engine: Engine, changes: Mapping[str, dict[str, Any]]) -> None:
    now = int(time.time() * 1000)
    with engine.writing:
        if "tracking" in changes:
            current = msgspec.to_builtins(engine.writer.current.tracking)
            tracking = msgspec.convert({**current, **changes["tracking"]}, Tracking, strict=False)
            engine.writer.write(ConfigEvent(at=now, tracking=tracking))
        if "privacy" in changes:
            current = msgspec.to_builtins(engine.writer.current.privacy)
            privacy = msgspec.convert({**current, **changes["privacy"]}, Privacy, strict=False)
            engine.writer.write(ConfigEvent(at=now, privacy=privacy))


async def _sites(operations: Operations, _parameters: Mapping[str, str]) -> Mapping[str, Any]:
    config = operations.engine().current_config()
    return {
        "sites": [
            {"id": site.site_id, "name": site.name, "urls": list(site.urls)}
            for site in config.sites.values()
            if not site.deleted
        ]
    }


def _journal(operations: Operations) -> ImportJournal:
    return ImportJournal(journal_directory(operations.data_dir, operations.engine().log.epoch))


async def _imports(operations: Operations, parameters: Mapping[str, str]) -> Mapping[str, Any]:
    file_id, scope = parameters.get("file_id", ""), parameters.get("scope", "")
    _check_record(file_id, scope)
    records = _journal(operations).find(file_id, scope)
    return {"records": [msgspec.to_builtins(record) for record in records]}


async def _save_import(operations: Operations, parameters: Mapping[str, str]) -> Mapping[str, Any]:
    known = {
        name: value for name, value in parameters.items() if name in {f.name for f in fields(ImportRecord)}
    }
    try:
        record = msgspec.convert(known, ImportRecord, strict=False)
    except msgspec.ValidationError as error:
        raise RefusedError(400, f"import record: {error}") from None
    _check_record(record.file_id, record.scope)
    await in_thread(operations, lambda: _journal(operations).save(record, time.time()))
    return {"saved": True}


def _check_record(file_id: str, scope: str) -> None:
    """Both become part of a file name."""
    if not re.fullmatch(r"[0-9a-f]{16}", file_id) or not re.fullmatch(r"[0-9]+|hosts", scope):
        raise RefusedError(400, "expected file_id of 16 hex digits and scope as a site id or `hosts`")


async def _seen_lines(operations: Operations, parameters: Mapping[str, str]) -> Mapping[str, Any]:
    marker = parameters.get("marker", "")
    if not _MARKER.fullmatch(marker):
        raise RefusedError(400, f"marker={marker!r}: expected file.generation.")
    try:
        since = float(parameters.get("since", "0"))
    except ValueError:
        raise RefusedError(400, "since: expected unix seconds") from None
    engine = operations.engine()
    lines = await in_thread(operations, lambda: arrived_lines(engine, marker, since))
    return {"lines": lines}
