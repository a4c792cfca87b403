"""`hitstream up`: start the processes, restart what dies, stop them in order.

The processes stop in the order in which hits flow: ingest first (it answers what it has accepted), then the
processors, then the database process, each within a limit. A child reads its standard input, which nobody
writes to: when the supervisor is gone it ends, and so does the child (hitstream.child).
"""

import asyncio
import contextlib
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

EXIT_SETTINGS = 78
"""A child that ends with it (EX_CONFIG) can't be helped by a restart."""

FIRST_PAUSE, LONGEST_PAUSE, STEADY_AFTER = 0.2, 15.0, 30.0
"""Seconds: pause before the first restart, doubled up to the longest; reset after a steady run."""


@dataclass(frozen=True)
class ProcessPlan:
    """One process to keep running. Processes of a lower `stop_rank` are stopped before higher ones."""

    name: str
    arguments: Sequence[str]
    stop_rank: int
    environment: Mapping[str, str] = field(default_factory=dict)


def partition_shares(partitions: int, processors: int) -> list[list[int]]:
    """Partitions 0..n-1 divided among the processors, none empty: at most one processor per partition."""
    count = min(partitions, processors)
    return [list(range(partitions))[index::count] for index in range(count)]


def pause_before_restart(deaths_in_a_row: int) -> float:
    """Seconds; `deaths_in_a_row` counts from 1."""
    return float(min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** (min(deaths_in_a_row, 20) - 1)))


def describe_end(code: int) -> str:
    """How a process ended, in words."""
    if code < 0:
        try:
            return f"was killed by {signal.Signals(-code).name}"
        except ValueError:
            return f"was killed by signal {-code}"
    return f"ended with status {code}"


class Supervisor:
    """Keeps the planned processes running until `stop` is called or one of them can't be helped."""

    def __init__(
        self,
        plans: Sequence[ProcessPlan],
        *,
        stop_seconds: float,
        say: Callable[[str, str], None],
    ) -> None:
        self._plans = plans
        self._stop_seconds = stop_seconds
        self._say = say
        self._running: dict[str, asyncio.subprocess.Process] = {}
        self._stopping = asyncio.Event()
        self._failure: int | None = None
        self.restarts = 0

    @property
    def stopping(self) -> bool:
        """Whether `stop` was called or a process could not be helped."""
        return self._stopping.is_set()

    def stop(self) -> None:
        """Begin to stop; `run` returns when all processes have ended."""
        self._stopping.set()

    async def run(self) -> int:
        """Run until stopped. Returns 0, or the status of the process that could not be helped."""
        keepers = [asyncio.create_task(self._keep(plan)) for plan in self._plans]
        await self._stopping.wait()
        for rank in sorted({plan.stop_rank for plan in self._plans}):
            await asyncio.gather(*(self._end(plan) for plan in self._plans if plan.stop_rank == rank))
        for keeper in keepers:
            keeper.cancel()
        await asyncio.gather(*keepers, return_exceptions=True)
        return self._failure or 0

    async def _keep(self, plan: ProcessPlan) -> None:
        deaths = 0
        while not self._stopping.is_set():
            started = time.monotonic()
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "hitstream",
                *plan.arguments,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
                env={**os.environ, **plan.environment, "HITSTREAM_SUPERVISED": "1", "PYTHONUNBUFFERED": "1"},
                # Ctrl-C reaches the whole foreground group: only the supervisor shall act on it.
                start_new_session=True,
            )
            self._running[plan.name] = process
            await self._relay(plan.name, process)
            code = await process.wait()
            self._running.pop(plan.name, None)
            if self._stopping.is_set():
                return
            if code == EXIT_SETTINGS:
                self._failure = code
                self._stopping.set()
                return
            deaths = 1 if time.monotonic() - started > STEADY_AFTER else deaths + 1
            pause = pause_before_restart(deaths)
            self.restarts += 1
            self._say(
                "up",
                f"{plan.name} (pid {process.pid}) {describe_end(code)}; starting it again in {pause:.1f} s",
            )
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), pause)

    async def _relay(self, name: str, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        while True:
            try:
                line = await process.stdout.readline()
            except ValueError:  # a line longer than the stream's buffer: its rest follows
                continue
            if not line:
                return
            self._say(name, line.decode("utf-8", "replace").rstrip())

    async def _end(self, plan: ProcessPlan) -> None:
        process = self._running.get(plan.name)
        if process is None or process.returncode is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        try:
            await asyncio.wait_for(process.wait(), self._stop_seconds)
        except TimeoutError:
            self._say("up", f"{plan.name} did not stop within {self._stop_seconds:g} s: killed")
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
