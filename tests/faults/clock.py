"""A time of day for processes that tests start, put forward and back while they run (`clock.c`)."""

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path


class ProcessClock:
    """Raises FileNotFoundError where there is no C compiler (`cc`)."""

    def __init__(self, directory: Path) -> None:
        library = directory / "clock.so"
        source = Path(__file__).with_name("clock.c")
        subprocess.run(["cc", "-O2", "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True)
        self._shift = directory / "clock"
        self._shift.write_bytes(bytes(8))
        self.environment: Mapping[str, str] = {
            "LD_PRELOAD": str(library),
            "HITSTREAM_TEST_CLOCK": str(self._shift),
        }
        """Of the processes that go by this clock."""

    def put(self, seconds: int) -> None:
        """Ahead of the system's time of day; negative: behind it."""
        with self._shift.open("r+b") as shift:
            shift.write(seconds.to_bytes(8, sys.byteorder, signed=True))
