"""Named points at which a fault test kills the process, between any two steps of a stage.

HITSTREAM_CRASH_AT=sink.inserted kills at the first passage of that point, sink.inserted:3 at the third;
several points are separated by commas. With HITSTREAM_CRASH_ONCE naming a directory a point kills one process
only, so that the supervisor can start it again with the same environment. Without HITSTREAM_CRASH_AT a point
costs one comparison."""

import os
import signal
from pathlib import Path

_WANTED: dict[str, int] = {}
for _entry in filter(None, os.environ.get("HITSTREAM_CRASH_AT", "").split(",")):
    _name, _, _nth = _entry.partition(":")
    _WANTED[_name.strip()] = int(_nth or 1)


def crash_point(name: str) -> None:
    """Die here as by kill -9, without flushing or cleaning anything, when the environment asks for it."""
    if _WANTED and name in _WANTED:
        _WANTED[name] -= 1
        if _WANTED[name] == 0 and _is_first_time(name):
            os.kill(os.getpid(), signal.SIGKILL)


def _is_first_time(name: str) -> bool:
    directory = os.environ.get("HITSTREAM_CRASH_ONCE")
    if not directory:
        return True
    try:
        (Path(directory) / name).touch(exist_ok=False)
    except FileExistsError:
        return False
    return True
