"""Operator endpoints about the past: replay."""

import time
from collections.abc import Mapping
from typing import Any

from hitstream.engine import Engine
from hitstream.operations import Operations, RefusedError, in_thread
from hitstream.replay import ReplayError, plan_replays
from hitstream.replay_preview import Preview, preview
from processors.agent_cache import AgentCache
from processors.service import locale_of
from rules.prepare import Lookups
from stream.config import ConfigFollower

ASKING_SECONDS = 3600.0


def site_numbers(text: str) -> list[int]:
    """`1,2` as numbers; empty text is none. Raises RefusedError."""
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if not all(part.isdecimal() and len(part) < 10 for part in parts):
        raise RefusedError(400, f"site={text!r}: expected numbers of sites such as 1,2")
    return [int(part) for part in parts]


async def replay(operations: Operations, parameters: Mapping[str, str]) -> Mapping[str, Any]:
    """Say what would change (dry_run=1), or record the replay and ask all owners to follow."""
    engine = operations.engine()
    config = engine.current_config()
    sites = site_numbers(parameters.get("site", ""))
    try:
        replays = plan_replays(
            config, sites, parameters.get("from", ""), parameters.get("to", ""), parameters.get("login", "")
        )
    except ReplayError as error:
        raise RefusedError(400, str(error)) from None
    if parameters.get("dry_run") == "1":
        found = await in_thread(operations, lambda: _preview(operations, engine, replays))
        return preview_answer(found)
    began = time.monotonic()
    asked = await in_thread(operations, lambda: engine.replayer.start(replays, ASKING_SECONDS))
    return {"owners": sum(one.owners for one in asked), "seconds": round(time.monotonic() - began, 3)}


def _preview(operations: Operations, engine: Engine, replays: Any) -> Preview:
    agents = AgentCache(operations.data_dir / "agents.sqlite")
    follower = ConfigFollower(engine.log)
    try:
        lookups = Lookups(agent=agents.get, locale=locale_of)
        return preview(engine.database, follower.current, follower.at, replays, lookups)
    finally:
        follower.close()
        agents.close()


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
