"""The logs that a whole instance is measured on."""

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def backend_settings(backend: str) -> Iterator[Mapping[str, str]]:
    """What an instance needs to run on the backend; a broker runs meanwhile for `kafka`."""
    if backend == "embedded":
        yield {}
        return
    from tests.kafka.broker import running_broker  # needs Java or Docker

    with running_broker() as address:
        settings = {"HITSTREAM_KAFKA": address}
        command = [sys.executable, "-m", "hitstream", "topics", "--replication", "1"]
        subprocess.run(command, env={**os.environ, **settings}, check=True)
        yield settings


def broker_process() -> dict[str, int]:
    """The process number of the broker that this process started; empty without one."""
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            parent = (entry / "stat").read_text().rsplit(")", 1)[1].split()[1]
            if int(parent) == os.getpid() and b"\0kafka.Kafka\0" in (entry / "cmdline").read_bytes():
                return {"broker": int(entry.name)}
    return {}
