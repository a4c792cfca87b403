"""What ingest acknowledged is in the log: after kill -9 under load, over a full disk, at SIGTERM."""

import asyncio
import json
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from hitstream.ports import free_port
from schemas.config import ConfigEvent, Site
from schemas.hit import Hit
from stream.config import ConfigWriter
from stream.embedded import EmbeddedLog
from tests.integration.ingest_endpoint import hits_of
from tests.waiting import PATIENCE_SECONDS, wait_until

PROGRAM = """
import sys
from ingest.server import run
from ingest.settings import IngestSettings
from schemas.settings import load_settings
sys.exit(run(load_settings(IngestSettings)))
"""


class Ingest:
    """An ingest process of its own, on a log with one site."""

    def __init__(self, data_dir: Path) -> None:
        self.data_dir = data_dir
        self.port = free_port()
        log = EmbeddedLog(data_dir / "log", 2)
        config = ConfigWriter(log)
        config.write(ConfigEvent(at=0, site=Site(site_id=1, name="one")))
        config.close()
        self.process: subprocess.Popen[bytes] | None = None

    def environment(self, port: int) -> dict[str, str]:
        return {
            **os.environ,
            "HITSTREAM_DATA_DIR": str(self.data_dir),
            "HITSTREAM_PORT": str(port),
            "HITSTREAM_PARTITIONS": "2",
        }

    def start(self) -> int:
        """Returns the process number once it answers."""
        self.process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM],
            env=self.environment(self.port),
            cwd=Path(__file__).parents[2],
        )
        process = self.process

        def is_ready() -> bool:
            assert process.poll() is None, "ingest ended while starting"
            return asyncio.run(status_of(self.port, "/health/ready")) == 200

        wait_until(is_ready)
        return process.pid

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def terminate(self) -> int:
        assert self.process is not None
        self.process.terminate()
        return self.process.wait(PATIENCE_SECONDS)

    def hits(self) -> list[Hit]:
        return hits_of(EmbeddedLog(self.data_dir / "log"))

    def names(self) -> list[str]:
        """The action_name of every hit."""
        return [hit.query.rpartition("action_name=")[2] for hit in self.hits()]


@contextmanager
def an_ingest(data_dir: Path) -> Iterator[Ingest]:
    ingest = Ingest(data_dir)
    try:
        yield ingest
    finally:
        if ingest.process is not None and ingest.process.poll() is None:
            ingest.process.kill()
            ingest.process.wait()


async def exchange(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, target: str, body: bytes = b""
) -> tuple[int, bytes]:
    """One request over a kept connection; raises when it breaks."""
    method = "POST" if body else "GET"
    writer.write(
        f"{method} {target} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body
    )
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    length = head.partition(b"content-length: ")[2].partition(b"\r")[0]
    return int(head[9:12]), await reader.readexactly(int(length)) if length else b""


async def status_of(port: int, target: str) -> int:
    """0 when nobody answers."""
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return 0
    try:
        status, _ = await exchange(reader, writer, target)
    except (OSError, EOFError):
        return 0
    finally:
        writer.close()
    return status


def pixel(name: str) -> str:
    return f"/matomo.php?idsite=1&rec=1&action_name={name}"


async def load(port: int, client: int, acknowledged: list[str], round_name: str) -> None:
    """Sends until the connection breaks; every third request is a bulk of 20."""
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for number in range(1_000_000):
            name = f"{round_name}-{client}-{number}"
            if number % 3:
                status, _ = await exchange(reader, writer, pixel(name))
                if status == 200:
                    acknowledged.append(name)
            else:
                names = [f"{name}-{index}" for index in range(20)]
                body = json.dumps({"requests": [pixel(each) for each in names]}).encode()
                status, answer = await exchange(reader, writer, "/matomo.php", body)
                if status == 200:
                    assert json.loads(answer)["tracked"] == 20
                    acknowledged += names
    except (OSError, EOFError):
        return


async def load_until_killed(ingest: Ingest, round_name: str, stop_after: int, number: int) -> list[str]:
    acknowledged: list[str] = []
    clients = [
        asyncio.create_task(load(ingest.port, client, acknowledged, round_name)) for client in range(16)
    ]
    async with asyncio.timeout(PATIENCE_SECONDS):
        while len(acknowledged) < stop_after:  # noqa: ASYNC110 - the moment of the kill is a number of answers
            await asyncio.sleep(0.001)
    assert ingest.process is not None
    os.kill(ingest.process.pid, number)
    await asyncio.gather(*clients)
    return acknowledged


def test_every_acknowledged_hit_survives_kill_9_under_load(tmp_path: Path) -> None:
    with an_ingest(tmp_path) as ingest:
        acknowledged: list[str] = []
        for number, stop_after in enumerate((300, 1, 900)):
            ingest.start()
            acknowledged += asyncio.run(
                load_until_killed(ingest, f"round{number}", stop_after, signal.SIGKILL)
            )
            ingest.kill()
        found = ingest.names()
        assert set(acknowledged) <= set(found)
        assert len(set(found)) == len(found), "a hit was written twice"
        hit_ids = [hit.hit_id for hit in ingest.hits()]
        assert len(set(hit_ids)) == len(hit_ids)


def test_a_kill_between_two_ids_of_one_fingerprint_keeps_the_owner(tmp_path: Path) -> None:
    with an_ingest(tmp_path) as ingest:
        ingest.start()
        assert asyncio.run(status_of(ingest.port, pixel("before&_id=aaaaaaaaaaaaaaa1"))) == 200
        ingest.kill()
        ingest.start()
        assert asyncio.run(status_of(ingest.port, pixel("after&_id=bbbbbbbbbbbbbbb2"))) == 200
        first, second = ingest.hits()
        assert first.owner == second.owner == 0xAAAAAAAAAAAAAAA1
        assert second.visitor_id == 0xBBBBBBBBBBBBBBB2


def test_a_second_ingest_with_the_same_number_is_refused_and_the_first_goes_on(tmp_path: Path) -> None:
    with an_ingest(tmp_path) as ingest:
        ingest.start()
        second = subprocess.run(
            [sys.executable, "-m", "hitstream", "ingest"],
            env=ingest.environment(free_port()),
            cwd=Path(__file__).parents[2],
            capture_output=True,
            text=True,
            timeout=PATIENCE_SECONDS,
            check=False,
        )
        assert second.returncode != 0
        assert ingest.process is not None
        assert f"in use by process {ingest.process.pid}" in second.stderr
        assert "Traceback" not in second.stderr
        assert asyncio.run(status_of(ingest.port, pixel("after"))) == 200
        assert ingest.names() == ["after"]


def test_sigterm_answers_what_is_in_flight_and_ends_with_0(tmp_path: Path) -> None:
    with an_ingest(tmp_path) as ingest:
        ingest.start()
        acknowledged = asyncio.run(load_until_killed(ingest, "term", 300, signal.SIGTERM))
        assert ingest.process is not None
        assert ingest.process.wait(PATIENCE_SECONDS) == 0
        assert sorted(acknowledged) == sorted(ingest.names())


@pytest.mark.skipif(not hasattr(resource, "prlimit"), reason="needs prlimit (Linux)")
def test_a_full_disk_is_answered_with_503_and_loses_nothing_acknowledged(tmp_path: Path) -> None:
    """The limit of file sizes stands in for the disk: a write past it fails as on a full one."""
    with an_ingest(tmp_path) as ingest:
        pid = ingest.start()
        before, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
        acknowledged = asyncio.run(fill(ingest.port, "before", 50, [200]))
        wal_bytes = max(path.stat().st_size for path in (tmp_path / "log").rglob("hits/*-wal"))
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (wal_bytes + 16_384, hard))
        while_full = asyncio.run(fill(ingest.port, "full", 60, [200, 503]))
        assert len(while_full) < 60, "the limit was not reached"
        assert asyncio.run(status_of(ingest.port, "/health/live")) == 200
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (before, hard))
        after = asyncio.run(fill(ingest.port, "after", 20, [200]))
        assert len(after) == 20
        assert ingest.terminate() == 0
        assert sorted(acknowledged + while_full + after) == sorted(ingest.names())


async def fill(port: int, name: str, count: int, expected: list[int]) -> list[str]:
    """Sends `count` hits of 1 kB one after the other; returns the acknowledged ones."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    acknowledged = []
    for number in range(count):
        each = f"{name}-{number}-{'x' * 1000}"
        status, _ = await exchange(reader, writer, pixel(each))
        assert status in expected
        if status == 200:
            acknowledged.append(each)
    writer.close()
    return acknowledged
