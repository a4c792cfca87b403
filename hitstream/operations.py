"""What the operator's endpoints act on, and how they refuse."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aiohttp import web

from hitstream.engine import Engine


class RefusedError(Exception):
    """A request that can't be carried out; becomes a status and a JSON error."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True)
class Operations:
    """What the endpoints act on."""

    engine: Callable[[], Engine]
    reset: Callable[[], Awaitable[Engine]]
    """Begins a new epoch; returns when all processes run on it."""
    data_dir: Path
    executor: ThreadPoolExecutor


Handler = Callable[[Operations, Mapping[str, str]], Awaitable[Mapping[str, Any] | web.Response]]


async def in_thread(operations: Operations, work: Callable[[], Any]) -> Any:
    """Blocking work, off the event loop."""
    return await asyncio.get_running_loop().run_in_executor(operations.executor, work)
