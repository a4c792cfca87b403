"""A processor and a database process on a data directory: started, killed, drained, compared.

The log is filled beforehand, so an undisturbed and a disturbed run see the same hits. Both processes are real
(`python -m hitstream ...`); whoever dies is started again, as the supervisor does."""

import http.client
import json
import os
import signal
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from hitstream.ports import free_port
from schemas.config import ConfigEvent, encode_config_event
from schemas.hit import Hit, decode_hit, encode_hit
from schemas.settings import load_settings
from schemas.topics import HITS, partition_of
from stream.embedded import EmbeddedLog
from stream.opening import LogSettings, open_log
from stream.protocol import Log, Message, Reader, TopicPartition

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


def copy_log(old: Log, target: Path) -> int:
    """Config and hits, byte for byte, onto a new embedded log; returns how many hits."""
    new = EmbeddedLog(target / "log", PARTITIONS)
    reader = old.reader()
    hits = 0
    for topic in ("config", "hits"):
        appender = new.appender(topic)
        for partition, end in reader.end_offsets(topic).items():
            entries = [(partition, one.key, one.value) for one in messages(reader, topic, partition, end)]
            for start in range(0, len(entries), 1000):
                appender.append(entries[start : start + 1000])
            hits += len(entries) if topic == "hits" else 0
        appender.close()
    reader.close()
    new.close()
    return hits


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
    found = hits_on(log)
    log.close()
    return found


def hits_on(log: Log) -> list[Hit]:
    """All hits on a log that were not erased."""
    reader = log.reader()
    found = [
        decode_hit(message.value)
        for partition, end in reader.end_offsets("hits").items()
        for message in messages(reader, "hits", partition, end)
        if message.value
    ]
    reader.close()
    return found


def _of_hits(counts: Mapping[TopicPartition, int]) -> int:
    """The sum over the partitions of `hits`."""
    return sum(count for at, count in counts.items() if at.topic == HITS.name)


class Instance:
    """Processes of one data directory. `crash_at` maps a process to the points that kill it, each once."""

    def __init__(
        self,
        data_dir: Path,
        crash_at: Mapping[str, str] | None = None,
        environment: Mapping[str, str] | None = None,
        modules: Mapping[str, str] | None = None,
    ) -> None:
        """`modules` names the module to run a kind of process by, where it is not `hitstream`."""
        self.data_dir = data_dir
        self.deaths = 0
        self.crashed: list[str] = []
        """Names of the points that killed a process, once it has stopped."""
        self.lag_at_death: list[int] = []
        self.restarts_failed = False
        """Whether a process that ended with an error is started again too, as the supervisor does."""
        self.failed = 0
        """How many did."""
        self.crash_at = dict(crash_at or {})
        """What kills a process that is started from now on."""
        self.arguments: dict[str, Sequence[str]] = {}
        """Of the commands, by process."""
        self._modules = modules or {}
        self._port = free_port()
        self.environment = dict(environment or {})
        """Of the processes that are started from now on."""
        self.own_environment: dict[str, Mapping[str, str]] = {}
        """What is another for one of them."""
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
            "PYTHONFAULTHANDLER": "1",
            # Small units and small flushes: a test has several of each, whatever the machine's pace.
            "HITSTREAM_PROCESS_BATCH": "200",
            "HITSTREAM_SINK_FLUSH_ROWS": "300",
            "HITSTREAM_CRASH_ONCE": str(self.data_dir / "crashed"),
            "HITSTREAM_CRASH_AT": self.crash_at.get(name, ""),
            **self.environment,
            **self.own_environment.get(name, {}),
        }
        kind = name.rstrip("0123456789")
        self._processes[name] = subprocess.Popen(
            [sys.executable, "-m", self._modules.get(kind, "hitstream"), kind, *self.arguments.get(name, ())],
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
            if not self.note_end(name):
                self.deaths += 1
                self.lag_at_death.append(self.lag())
            self.add(name)

    def note_end(self, name: str) -> bool:
        """Of a process that ended: False when it was killed, True when it failed, which is counted. Raises
        AssertionError when that shouldn't be."""
        status = self._processes[name].poll()
        if status == -signal.SIGKILL:
            return False
        if status in (1, -signal.SIGSEGV) and self.restarts_failed:
            self.failed += 1
            return True
        raise AssertionError(f"{name} ended with status {status}:\n{self.output()[-3000:]}")

    def remove(self, name: str) -> None:
        """Stops it, as an operator does; it isn't started again."""
        process = self._processes.pop(name)
        process.send_signal(signal.SIGTERM)
        process.wait(60)

    def kill(self, name: str) -> None:
        self._processes[name].kill()
        self._processes[name].wait()

    def status(self, name: str) -> int | None:
        """As of subprocess.Popen.poll: None while it runs."""
        return self._processes[name].poll()

    def lag(self) -> int:
        """Hits that the processors have not consumed."""
        with closing(log_of(self.data_dir, self.environment)) as log:
            return _of_hits(log.lag("processors"))

    def processed(self) -> int:
        """Hits that the processors have consumed."""
        with closing(log_of(self.data_dir, self.environment)) as log:
            return _of_hits(log.committed("processors"))

    def drain(self, timeout: float = 120.0) -> None:
        """Restart who dies until everything on the log is visible."""
        deadline = time.monotonic() + timeout
        while True:
            self.restart_the_dead()
            try:
                self.ask("/hitstream/drain", {"timeout": "5"})
                break
            except (OSError, http.client.HTTPException):
                pass
            if time.monotonic() > deadline:
                raise AssertionError(f"not drained in {timeout:.0f} s:\n{self.output()[-3000:]}")
            time.sleep(0.05)
        self.restart_the_dead()

    def ask(self, path: str, fields: Mapping[str, str]) -> Any:
        body = urllib.parse.urlencode(fields).encode()
        request = urllib.request.Request(
            f"http://127.0.0.1:{self._port}{path}", data=body, headers={"Authorization": f"Bearer {TOKEN}"}
        )
        with urllib.request.urlopen(request, timeout=120) as answer:
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
import sys
import clickhouse_connect
client = clickhouse_connect.get_client(dsn=sys.argv[1], database=sys.argv[2], query_limit=0)
for table in sys.argv[3:]:
    # Where and when a message was found dead is no matter of the hits.
    also = ", offset, time" if table == "dead" else ""
    sql = f"SELECT * EXCEPT (version, inserted_at{also}) FROM {table} FINAL FORMAT JSONCompactEachRow"
    sys.stdout.buffer.write(client.raw_query(sql) + b"\\0")
"""
TABLES = ("visits", "actions", "conversions", "conversion_items", "hits", "tallies", "dead")


def tables_of(data_dir: Path, epoch: int = 1, dsn: str = "") -> dict[str, list[str]]:
    """All rows of a stopped instance, or of a server, without version and time of insertion."""
    place = dsn or f"chdb://{data_dir / 'clickhouse'}"
    dumped = subprocess.run(
        [sys.executable, "-c", _DUMP, place, f"hitstream_{epoch}", *TABLES],
        check=True,
        capture_output=True,
        cwd=REPOSITORY,
    )
    texts = dumped.stdout.decode(errors="backslashreplace").split("\0")
    return {table: sorted(text.splitlines()) for table, text in zip(TABLES, texts, strict=False)}


ROWS = ("visits", "actions", "conversions", "conversion_items", "hits", "dead")


def differences(
    tables: Mapping[str, Sequence[str]], expected: Mapping[str, Sequence[str]], surplus: int = 0
) -> list[str]:
    """What is not as in an undisturbed run of the same hits, one line per table; tallies by their sum, since
    they are cut into other units of work. `surplus` hits were put on the log once more."""
    found = []
    for table in ROWS:
        missing = Counter(expected[table]) - Counter(tables[table])
        too_many = Counter(tables[table]) - Counter(expected[table])
        if missing or too_many:
            example = next(iter(missing or too_many))
            found.append(
                f"{table}: {len(missing)} rows missing, {len(too_many)} too many, as {example[:500]}"
            )
    if tallied(tables) != tallied(expected) + surplus:
        found.append(f"tallies: {tallied(tables)} hits instead of {tallied(expected) + surplus}")
    return found


def tallied(tables: Mapping[str, Sequence[str]]) -> int:
    """Sum of the counts of all tallies of `hits`."""
    rows = [json.loads(row) for row in tables["tallies"]]
    return sum(int(row[8]) for row in rows if row[0] == "hits")
