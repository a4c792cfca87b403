"""Tests wait for a state, never for a time: a loaded machine is ten times as slow as a quiet one."""

import time
from collections.abc import Callable

PATIENCE_SECONDS = 180.0
"""Nothing takes so long that comes at all, and it is less than what pytest gives a test."""


def wait_until(holds: Callable[[], object], said: Callable[[], object] = str) -> None:
    """Raises AssertionError with what is `said` then, when it does not come true."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not holds():
        assert time.monotonic() < deadline, said()
        time.sleep(0.02)
