"""The logs that a whole instance is measured on."""

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager


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
