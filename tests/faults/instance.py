"""A processor and a database process on a data directory: started, killed, drained, compared.

The log is filled beforehand, so an undisturbed and a disturbed run see the same hits. Both processes are real
(`python -m hitstream ...`); whoever dies is started again, as the supervisor does."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from schemas.config import ConfigEvent, encode_config_event
from schemas.hit import Hit, decode_hit, encode_hit
from schemas.settings import load_settings
from schemas.topics import partition_of
from stream.embedded import EmbeddedLog
from stream.opening import LogSettings, open_log
from stream.protocol import Log, Message, Reader

TOKEN = "fault-test-token-1234567890"
PARTITIONS = 4
REPOSITORY = Path(__file__).parents[2]
STARTS_SECONDS = 60.0


def log_of(data_dir: Path, environment: Mapping[str, str] | None = None) -> Log:
    """The embedded log of the data directory, or the one on a broker that the environment names."""
    places = {"HITSTREAM_DATA_DIR": str(data_dir), "HITSTREAM_PARTITIONS": str(PARTITIONS)}
    return open_log(load_settings(LogSettings, {**places, **(environment or {})}))


def fill_log(
    data_dir: Path,
    events: Sequence[ConfigEvent],
    hits: Sequence[Hit],
    group: int = 500,
    environment: Mapping[str, str] | None = None,
) -> None:
    """Config and hits on the log, as ingest leaves them."""
    log = log_of(data_dir, environment)
    config = log.appender("config")
    config.append([(0, b"", encode_config_event(event)) for event in events])
    config.close()
    appender = log.appender("hits")
    entries = [
        (partition_of(hit.owner, PARTITIONS), hit.owner.to_bytes(8, "big"), encode_hit(hit)) for hit in hits
    ]
    for start in range(0, len(entries), group):
        appender.append(entries[start : start + group])
    appender.close()
    log.close()


def copy_log(source: Path, target: Path) -> None:
    """Config and hits of a stopped instance, byte for byte, onto a new log."""
    old, new = EmbeddedLog(source / "log"), EmbeddedLog(target / "log", PARTITIONS)
    reader = old.reader()
    for topic in ("config", "hits"):
        appender = new.appender(topic)
        for partition, end in reader.end_offsets(topic).items():
            for message in messages(reader, topic, partition, end):
                appender.append([(partition, message.key, message.value)])
        appender.close()
    reader.close()
    old.close()
    new.close()


def messages(reader: Reader, topic: str, partition: int, end: int) -> Iterator[Message]:
    offset = 0
    while offset < end:
        batch = reader.read(topic, partition, offset, 1000)
        assert batch is not None
        yield from batch.messages
        offset = batch.next_offset


def hits_of(data_dir: Path) -> list[Hit]:
    """All hits on the log of a stopped instance."""
    log = EmbeddedLog(data_dir / "log")
    reader = log.reader()
    found = [
        decode_hit(message.value)
        for partition, end in reader.end_offsets("hits").items()
        for message in messages(reader, "hits", partition, end)
    ]
    reader.close()
    log.close()
    return found


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Instance:
    """Processes of one data directory. `crash_at` maps a process to the points that kill it, each once."""

    def __init__(
        self,
        data_dir: Path,
        crash_at: Mapping[str, str] | None = None,
        environment: Mapping[str, str] | None = None,
        modules: Mapping[str, str] | None = None,
    ) -> None:
        """`modules` names the module to run a process by, where it is not `hitstream`."""
        self.data_dir = data_dir
        self.deaths = 0
        self.crashed: list[str] = []
        """Names of the points that killed a process, once it has stopped."""
        self.lag_at_death: list[int] = []
        self._crash_at = crash_at or {}
        self._modules = modules or {}
        self._port = free_port()
        self._environment = dict(environment or {})
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        (data_dir / "crashed").mkdir(parents=True, exist_ok=True)
        self._output = (data_dir / "output.log").open("ab")

    def start(self) -> None:
        for name in ("database", "processor"):
            self.add(name)

    def add(self, name: str) -> None:
        """Starts a process; the letters of its name say of which kind, as in processor2."""
        environment = {
            **os.environ,
            "HITSTREAM_DATA_DIR": str(self.data_dir),
            "HITSTREAM_PARTITIONS": str(PARTITIONS),
            "HITSTREAM_ADMIN_TOKEN": TOKEN,
            "HITSTREAM_REPORTING_PORT": str(self._port),
            "HITSTREAM_REPORTING_URL": f"http://127.0.0.1:{self._port}",
            "HITSTREAM_SQL_PORT": "0",
            # Small units and small flushes: a test has several of each, whatever the machine's pace.
            "HITSTREAM_PROCESS_BATCH": "200",
            "HITSTREAM_SINK_FLUSH_ROWS": "300",
            "HITSTREAM_CRASH_ONCE": str(self.data_dir / "crashed"),
            "HITSTREAM_CRASH_AT": self._crash_at.get(name, ""),
            **self._environment,
        }
        self._processes[name] = subprocess.Popen(
            [sys.executable, "-m", self._modules.get(name, "hitstream"), name.rstrip("0123456789")],
            cwd=REPOSITORY,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=self._output,
            stderr=self._output,
        )

    def restart_the_dead(self) -> None:
        for name, process in self._processes.items():
            status = process.poll()
            if status is None:
                continue
            if status != -signal.SIGKILL:
                raise AssertionError(f"{name} ended with status {status}:\n{self.output()[-3000:]}")
            self.deaths += 1
            self.lag_at_death.append(self.lag())
            self.add(name)

    def remove(self, name: str) -> None:
        """Stops it, as an operator does; it isn't started again."""
        process = self._processes.pop(name)
        process.send_signal(signal.SIGTERM)
        process.wait(60)

    def kill(self, name: str) -> None:
        self._processes[name].kill()
        self._processes[name].wait()

    def lag(self) -> int:
        """Hits that the processors have not consumed."""
        log = log_of(self.data_dir, self._environment)
        try:
            return sum(lag for at, lag in log.lag("processors").items() if at.topic == "hits")
        finally:
            log.close()

    def drain(self, timeout: float = 120.0) -> None:
        """Restart who dies until everything on the log is visible."""
        deadline = time.monotonic() + timeout
        while True:
            self.restart_the_dead()
            try:
                self.ask("/hitstream/drain", {"timeout": "5"})
                break
            except (OSError, urllib.error.HTTPError):
                pass
            if time.monotonic() > deadline:
                raise AssertionError(f"not drained in {timeout:.0f} s:\n{self.output()[-3000:]}")
            time.sleep(0.05)
        self.restart_the_dead()

    def ask(self, path: str, fields: Mapping[str, str]) -> Any:
        body = "&".join(f"{name}={value}" for name, value in fields.items()).encode()
        request = urllib.request.Request(
            f"http://127.0.0.1:{self._port}{path}", data=body, headers={"Authorization": f"Bearer {TOKEN}"}
        )
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.load(answer)

    def output(self) -> str:
        return (self.data_dir / "output.log").read_text(errors="replace")

    def stop(self) -> None:
        for process in self._processes.values():
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
        for process in self._processes.values():
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self._output.close()
        self.crashed = sorted(path.name for path in (self.data_dir / "crashed").iterdir())


_DUMP = """
import json, sys
import clickhouse_connect
client = clickhouse_connect.get_client(dsn=sys.argv[1], database=sys.argv[2], query_limit=0)
tables = {}
for table in sys.argv[3:]:
    result = client.query(f"SELECT * EXCEPT (version, inserted_at) FROM {table} FINAL")
    tables[table] = sorted(json.dumps(row, default=str) for row in result.result_rows)
print(json.dumps(tables))
"""
TABLES = ("visits", "actions", "conversions", "conversion_items", "hits", "tallies", "dead")


def tables_of(data_dir: Path, epoch: int = 1) -> dict[str, list[str]]:
    """All rows of a stopped instance, without version and time of insertion."""
    dumped = subprocess.run(
        [sys.executable, "-c", _DUMP, f"chdb://{data_dir / 'clickhouse'}", f"hitstream_{epoch}", *TABLES],
        check=True,
        capture_output=True,
        cwd=REPOSITORY,
    )
    found: dict[str, list[str]] = json.loads(dumped.stdout)
    return found


ROWS = ("visits", "actions", "conversions", "conversion_items", "hits", "dead")


def differences(tables: Mapping[str, Sequence[str]], expected: Mapping[str, Sequence[str]]) -> list[str]:
    """What is not as in an undisturbed run of the same hits, one line per table; tallies by their sum, since
    they are cut into other units of work."""
    found = []
    for table in ROWS:
        missing = Counter(expected[table]) - Counter(tables[table])
        surplus = Counter(tables[table]) - Counter(expected[table])
        if missing or surplus:
            example = next(iter(missing or surplus))
            found.append(f"{table}: {len(missing)} rows missing, {len(surplus)} too many, as {example[:500]}")
    if tallied(tables) != tallied(expected):
        found.append(f"tallies: {tallied(tables)} hits instead of {tallied(expected)}")
    return found


def tallied(tables: Mapping[str, Sequence[str]]) -> int:
    """Sum of the counts of all tallies of `hits`."""
    rows = [json.loads(row) for row in tables["tallies"]]
    return sum(row[8] for row in rows if row[0] == "hits")
