"""Ingest and processors as processes on a broker, and what is on the log after them."""

import os
import signal
import subprocess
import sys
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from hitstream.ports import free_port
from schemas.config import encode_config_event
from schemas.hit import decode_hit
from schemas.rows import Action, Tally
from schemas.topics import HITS
from stream.protocol import Log, Message
from tests.builders import config_events
from tests.waiting import PATIENCE_SECONDS

REPOSITORY = Path(__file__).parents[2]
PARTITIONS = 2


class Stage:
    """One `hitstream` command; `servers` are those of the broker."""

    def __init__(self, command: str, servers: str, data_dir: Path) -> None:
        self._command = command
        self._output = data_dir.with_suffix(".log")
        self.environment = {**os.environ, "HITSTREAM_KAFKA": servers, "HITSTREAM_DATA_DIR": str(data_dir)}
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, crash_at: str = "") -> None:
        with self._output.open("ab") as out:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "hitstream", self._command],
                env={**self.environment, "HITSTREAM_CRASH_AT": crash_at},
                cwd=REPOSITORY,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
            )

    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def died(self) -> bool:
        assert self._process is not None
        return self._process.poll() == -signal.SIGKILL

    def stop(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()

    def output(self) -> str:
        return self._output.read_text(errors="replace")


class Ingest(Stage):
    def __init__(self, servers: str, data_dir: Path) -> None:
        super().__init__("ingest", servers, data_dir)
        self.port = free_port()
        self.environment |= {"HITSTREAM_PORT": str(self.port), "HITSTREAM_SPOOL_AFTER_S": "1"}

    def is_ready(self) -> bool:
        assert self.is_running(), self.output()
        try:
            return bool(self.ask("/health/ready"))
        except OSError:
            return False

    def ask(self, path: str) -> bytes:
        with urllib.request.urlopen(
            f"http://127.0.0.1:{self.port}{path}", timeout=PATIENCE_SECONDS
        ) as answer:
            return answer.read()

    def send(self, number: int) -> None:
        """Raises HTTPError when it is not accepted."""
        self.ask(f"/matomo.php?idsite=1&rec=1&send_image=0&url=http://example.org/{number}")

    def metric(self, name: str) -> float:
        lines = self.ask("/metrics").decode().splitlines()
        return float(next(line for line in lines if line.startswith(name + " ")).split()[1])

    def spooled(self) -> int:
        return int(self.metric("hitstream_ingest_spool_hits"))

    def status(self) -> str:
        """What the command prints; there is no database process to tell more."""
        return subprocess.run(
            [sys.executable, "-m", "hitstream", "status", "--url", f"http://127.0.0.1:{self.port}"],
            env={**self.environment, "HITSTREAM_ADMIN_TOKEN": "none"},
            cwd=REPOSITORY,
            capture_output=True,
            text=True,
            check=False,
        ).stdout


@contextmanager
def opened_log(servers: str, directory: Path) -> Iterator[Log]:
    from stream.kafka import KafkaLog
    from stream.kafka_client import Connection

    log = KafkaLog(Connection(servers), directory)
    yield log
    log.close()


def make_site(servers: str, directory: Path) -> None:
    """The log and site 1; with as many copies as `hitstream topics` would make."""
    from stream.kafka import count_brokers, default_plan, make_log
    from stream.kafka_client import Connection

    connection = Connection(servers)
    make_log(connection, "hitstream", default_plan(count_brokers(connection), PARTITIONS))
    with opened_log(servers, directory) as log:
        appender = log.appender("config")
        appender.append([(0, b"", encode_config_event(event)) for event in config_events()])
        appender.close()


def messages_of(log: Log, topic: str) -> Iterator[Message]:
    reader = log.reader()
    for partition in range(PARTITIONS):
        offset = 0
        while (batch := reader.read(topic, partition, offset, 1000)) is not None:
            yield from batch.messages
            offset = batch.next_offset
    reader.close()


def hits_on(servers: str, directory: Path) -> dict[int, str]:
    """hit_id -> query of all hits on the broker."""
    with opened_log(servers, directory) as log:
        hits = [decode_hit(message.value) for message in messages_of(log, HITS.name)]
    return {hit.hit_id: hit.query for hit in hits}


def outcomes_on(log: Log) -> Counter[str]:
    """Hits by what became of them, as processors counted them."""
    counts: Counter[str] = Counter()
    for message in messages_of(log, "tallies"):
        tally = msgspec.msgpack.decode(message.value, type=Tally)
        if tally.topic == HITS.name:
            counts[tally.outcome] += tally.count
    return counts


def pages_on(log: Log) -> Counter[str]:
    """How often each URL was seen, from the newest version of each action."""
    urls: dict[int, str] = {}
    for message in messages_of(log, "actions"):
        action = msgspec.msgpack.decode(message.value[1:], type=Action)
        urls.pop(action.hit_id, None)
        if not message.value[0]:
            urls[action.hit_id] = action.url
    return Counter(urls.values())
