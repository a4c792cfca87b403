"""Operator endpoints about the past: explain, replay."""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hitstream.drain import wait_until_stored
from hitstream.engine import Engine
from hitstream.explain import explain_visit
from hitstream.operations import Operations, RefusedError, in_thread
from hitstream.replay import ReplayError, plan_replays
from hitstream.replay_preview import Folder, Preview, preview
from processors.agent_cache import AgentCache
from processors.service import locale_of
from rules.prepare import Lookups
from schemas.config import Replay
from schemas.topics import HITS
from sink.archives import frozen_before
from stream.config import ConfigFollower

ASKING_SECONDS, STORED_SECONDS = 3600.0, 60.0


def site_numbers(text: str) -> list[int]:
    """`1,2` as numbers; empty text is none. Raises RefusedError."""
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if not all(part.isdecimal() and len(part) < 10 for part in parts):
        raise RefusedError(400, f"site={text!r}: expected numbers of sites such as 1,2")
    return [int(part) for part in parts]


async def explain(operations: Operations, parameters: Mapping[str, str]) -> Mapping[str, Any]:
    """The story of visit=ID."""
    visit = parameters.get("visit", "")
    if not visit.isdecimal() or len(visit) > 20:
        raise RefusedError(400, f"visit={visit!r}: expected the number of a visit (idVisit)")
    engine = operations.engine()
    found: Mapping[str, Any] | None = await in_thread(
        operations, lambda: story_of(engine, operations.data_dir, int(visit))
    )
    if found is None:
        raise RefusedError(404, f"there is no visit {visit}")
    return found


def story_of(engine: Engine, data_dir: Path, visit_id: int) -> Mapping[str, Any] | None:
    """Blocking; None for an unknown visit. Raises DrainTimeoutError."""
    with folding(engine, data_dir) as (follower, lookups):
        folder = Folder(follower.at, lookups)
        return explain_visit(engine.database, follower.current, folder, visit_id)


@contextmanager
def folding(engine: Engine, data_dir: Path) -> Iterator[tuple[ConfigFollower, Lookups]]:
    """What a fold outside of the processors needs, and the raw hits that were accepted before in their table:
    they are stored in batches of seconds. Raises DrainTimeoutError."""
    reader = engine.log.reader()
    try:
        wait_until_stored(reader, engine.sink, [HITS.name], time.monotonic() + STORED_SECONDS)
    finally:
        reader.close()
    agents = AgentCache(data_dir / "agents.sqlite")
    follower = ConfigFollower(engine.log)
    try:
        yield follower, Lookups(agent=agents.get, locale=locale_of)
    finally:
        follower.close()
        agents.close()


async def replay(operations: Operations, parameters: Mapping[str, str]) -> Mapping[str, Any]:
    """Say what would change (dry_run=1), or record the replay and ask all owners to follow."""
    engine = operations.engine()
    config = engine.current_config()
    sites = site_numbers(parameters.get("site", ""))
    try:
        replays = plan_replays(
            config, sites, parameters.get("from", ""), parameters.get("to", ""),
            parameters.get("login", ""), frozen_before(engine.database),
            whole=parameters.get("whole") == "1",
        )  # fmt: skip
    except ReplayError as error:
        raise RefusedError(400, str(error)) from None
    if parameters.get("dry_run") == "1":
        found = await in_thread(operations, lambda: _preview(operations, engine, replays))
        return preview_answer(found)
    began = time.monotonic()
    asked = await in_thread(operations, lambda: engine.replayer.start(replays, ASKING_SECONDS))
    return {"owners": sum(one.owners for one in asked), "seconds": round(time.monotonic() - began, 3)}


def _preview(operations: Operations, engine: Engine, replays: Sequence[Replay]) -> Preview:
    with folding(engine, operations.data_dir) as (follower, lookups):
        return preview(engine.database, follower.current, follower.at, replays, lookups)


def preview_answer(found: Preview) -> dict[str, Any]:
    """A JSON object."""
    return {
        "owners": found.owners,
        "hits": found.hits,
        "rows_changed": found.rows_changed,
        "changes": [
            {
                "site": site,
                "report": report,
                "counts": what,
                "before": round(before, 2),
                "after": round(after, 2),
            }
            for (site, report, what), before, after in found.changes()
        ],
    }
