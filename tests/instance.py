"""A whole Hitstream of its own for a test or a benchmark: started on free ports, stopped at the end."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import urllib.parse
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from hitstream.client import InstanceClient, InstanceError
from hitstream.ports import free_port, free_ports
from tests.waiting import PATIENCE_SECONDS

TOKEN = "0123456789abcdef0123456789abcdef"


class RunningInstance:
    """`hitstream up` in a process group of its own."""

    def __init__(self, data_dir: Path, settings: Mapping[str, str] | None = None) -> None:
        self.data_dir = data_dir
        self.ports = free_ports(int((settings or {}).get("HITSTREAM_INGEST_PROCESSES", "1")))
        """Of the ingest processes."""
        self.port = self.ports[0]
        self.sql_port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.token = TOKEN
        self.log_file = data_dir.with_name(data_dir.name + ".log")
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("HITSTREAM_")},
            "HITSTREAM_DATA_DIR": str(data_dir),
            "HITSTREAM_PORT": str(self.port),
            "HITSTREAM_SQL_PORT": str(self.sql_port),
            "HITSTREAM_ADMIN_TOKEN": TOKEN,
            "HITSTREAM_FIRST_SITE": "0",
            **(settings or {}),
        }
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self.log_file.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "hitstream", "up"],
                stdout=log,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                env=self.environment,
                cwd=Path(__file__).parent.parent,
            )

    def wait_until_ready(self) -> None:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            assert self.process is not None
            if self.process.poll() is not None:
                raise RuntimeError(
                    f"hitstream up ended with {self.process.returncode}:\n{self.log()[-4000:]}"
                )
            client = InstanceClient(self.url, self.token, timeout=60)
            try:
                client.json("GET", "/hitstream/sites")
                client.close()
                return
            except InstanceError as error:
                if time.monotonic() > deadline:
                    raise RuntimeError(f"not ready: {error}\n{self.log()[-4000:]}") from None
            time.sleep(0.1)

    def log(self) -> str:
        return self.log_file.read_text(errors="replace") if self.log_file.exists() else ""

    def client(self) -> InstanceClient:
        return InstanceClient(self.url, self.token)

    def api(self, method: str, **parameters: str) -> Any:
        """The JSON answer of a method of the Reporting API."""
        fields = {"module": "API", "method": method, "format": "json", "token_auth": self.token, **parameters}
        client = self.client()
        status, body = client.request(
            "POST",
            "/index.php",
            urllib.parse.urlencode(fields).encode(),
            {"Content-Type": "application/x-www-form-urlencoded"},
        )
        client.close()
        assert status == 200, (status, body)
        return json.loads(body)

    def command(self, *arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
        """Runs a `hitstream` command against this instance."""
        return subprocess.run(
            [sys.executable, "-m", "hitstream", *arguments],
            capture_output=True,
            text=True,
            env={**self.environment, **settings},
            cwd=Path(__file__).parent.parent,
            timeout=300,
            check=False,
        )

    def drain(self) -> None:
        """All that was sent is in reports on return."""
        client = self.client()
        try:
            client.json("POST", "/hitstream/drain")
        except InstanceError as error:
            raise AssertionError(f"{error}\n{self.log()[-4000:]}") from None
        client.close()

    def children(self) -> dict[str, int]:
        """Process numbers by the command they run: ingest, processor, database."""
        assert self.process is not None
        found = {}
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit():
                continue
            with contextlib.suppress(OSError, IndexError, ValueError):
                fields = (entry / "stat").read_text().rsplit(")", 1)[1].split()
                if int(fields[1]) == self.process.pid:
                    words = (entry / "cmdline").read_bytes().split(b"\0")
                    found[words[words.index(b"hitstream") + 1].decode()] = int(entry.name)
        return found

    def stop(self, timeout: float = 60.0) -> int:
        """SIGTERM and wait; returns the exit status."""
        if self.process is None:
            return 0
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(timeout)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
                raise
        return self.process.returncode


@contextlib.contextmanager
def running_instance(data_dir: Path, settings: Mapping[str, str] | None = None) -> Iterator[RunningInstance]:
    if settings and "HITSTREAM_KAFKA" in settings:
        # Before the ports are chosen, which others may take meanwhile.
        made = RunningInstance(data_dir, settings).command("topics")
        assert made.returncode == 0, made.stderr
    instance = RunningInstance(data_dir, settings)
    instance.start()
    try:
        instance.wait_until_ready()
        yield instance
    finally:
        instance.stop()
