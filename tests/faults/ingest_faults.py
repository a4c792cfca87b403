"""Ingest dies, the disk is full, the clock jumps, the broker goes, while clients send hits over HTTP.

What was answered with 2xx is in the tables exactly once, and the tables equal those that an undisturbed
instance makes of the same log."""

import contextlib
import http.client
import json
import random
import subprocess
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode

from hitstream.ports import free_port
from tests.faults import points
from tests.faults.clock import ProcessClock
from tests.faults.fed_instance import DIES_SECONDS
from tests.faults.instance import (
    TOKEN,
    Instance,
    copy_log,
    differences,
    fill_log,
    hits_on,
    log_of,
    tables_of,
    tallied,
)
from tests.faults.report import Report
from tests.faults.stream_faults import first_events
from tests.faults.test_kafka_faults import new_log
from tests.kafka.broker import JavaBroker

CLIENTS = 6
PAUSE_SECONDS = 0.03
WAIT_SECONDS = 120.0
DISK_MB = 1024
AGENT = "Mozilla/5.0 (X11; Linux x86_64; rv:133.0) Gecko/20100101 Firefox/133.0"
_QUERY_COLUMN = 8
DISK_FULL = "full, then room again"
CLOCK_JUMPS = (
    ("an hour ahead", 3_600),
    ("two hours back", -3_600),
    ("three days ahead", 3 * 86_400),
    ("back to the right time", 0),
)
CLOCK_KILLED = "kills after the clock went back"


class SteadyClient(threading.Thread):
    """Sends requests until told to stop, each again and again until it is answered with 2xx."""

    def __init__(self, number: int, port: int, seed: int) -> None:
        super().__init__(daemon=True)
        self.sends: Counter[str] = Counter()
        """How often each title was sent; all of them are acknowledged when the thread has ended."""
        self.acknowledged = 0
        self.refused = 0
        self.is_waiting = False
        """Whether a request is not answered yet."""
        self._number, self._port = number, port
        self._rng = random.Random(seed * 100 + number)
        self._ended = threading.Event()
        self._connection: http.client.HTTPConnection | None = None

    def end(self) -> None:
        """After the request that is under way is acknowledged."""
        self._ended.set()

    def run(self) -> None:
        number = 0
        while not self._ended.is_set():
            number += 1
            size = 5 if number % 4 == 0 else 1
            queries = [self._query(f"c{self._number}-{number}-{place}") for place in range(size)]
            self.is_waiting = True
            while not self._is_acknowledged(queries):
                self.refused += 1
                time.sleep(PAUSE_SECONDS)
            self.is_waiting = False
            self.acknowledged += len(queries)
            time.sleep(PAUSE_SECONDS)

    def _query(self, title: str) -> str:
        rng = self._rng
        kind = rng.choice(
            (
                {},
                {"url": f"http://example.org/?utm_campaign=c{rng.randint(1, 3)}"},
                {"url": "http://example.org/thanks"},
                {"e_c": "video", "e_a": "play", "e_v": "2"},
                {
                    "idgoal": "0", "revenue": "7.5", "ec_items": '[["a","A","x",1,1]]',
                    "ec_id": f"o-{rng.randint(1, 400)}",
                },
                {"cdo": str(rng.choice((600, 4000, 40_000)))},
                {"uid": f"user{rng.randint(1, 5)}"},
            )
        )  # fmt: skip
        fields = {
            "idsite": "1",
            "rec": "1",
            "url": f"http://example.org/page{rng.randint(1, 20)}",
            "_id": f"{self._number * 16 + rng.randint(1, 8):016x}",
            "action_name": title,
            **kind,
        }
        return urlencode(fields)

    def _is_acknowledged(self, queries: Sequence[str]) -> bool:
        self.sends.update(title_of(query) for query in queries)
        if self._connection is None:
            self._connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=20)
        try:
            body = json.dumps({"requests": [f"?{query}" for query in queries]})
            self._connection.request("POST", "/matomo.php", body, headers={"User-Agent": AGENT})
            answer = self._connection.getresponse()
            found = answer.read()
            if answer.status != 200:
                return False
            counts = json.loads(found)
            # The repeat of an order id counts as invalid, and is stored.
            return bool(counts["tracked"] + counts["invalid"] == len(queries))
        except (OSError, http.client.HTTPException):
            self._connection.close()
            self._connection = None
            return False


def title_of(query: str) -> str:
    return parse_qs(query)["action_name"][0]


class SendingRun:
    """An instance with ingest, and clients that send to it."""

    def __init__(
        self,
        backend: points.Backend,
        report: Report,
        directory: Path,
        seed: int,
        *,
        broker: JavaBroker | None = None,
        data_dir: Path | None = None,
        environment: Mapping[str, str] | None = None,
        has_neighbour: bool = False,
    ) -> None:
        """`has_neighbour`: half of the clients send to a second ingest process on the same log."""
        self.backend, self.report, self.broker = backend, report, broker
        self._directory = directory
        self.data_dir = data_dir or directory / "data"
        self.port = free_port()
        self._settings = {
            "HITSTREAM_DATA_DIR": str(self.data_dir),
            "HITSTREAM_PORT": str(self.port),
            "HITSTREAM_SPOOL_AFTER_S": "1",
            "HITSTREAM_CRASH_ONCE": "",
            "HITSTREAM_KEEP_LOG_DAYS": "100",
            **(environment or {}),
        }
        if broker is not None:
            self._settings |= new_log(broker.address, directory / "data", session_ms=6000)
        fill_log(self.data_dir, first_events(), [], environment=self._settings)
        # What the processes print goes beside the data, which may be on a full disk.
        self.instance = Instance(directory / "processes", environment=self._settings)
        self.instance.restarts_failed = broker is not None
        ports = [self.port]
        self.neighbours = ["ingest1"] if has_neighbour else []
        for number, name in enumerate(self.neighbours, 1):
            ports.append(free_port())
            self.instance.own_environment[name] = {
                "HITSTREAM_PORT": str(ports[-1]),
                "HITSTREAM_INGEST_NUMBER": str(number),
            }
        self.clients = [
            SteadyClient(number, ports[number % len(ports)], seed) for number in range(1, CLIENTS + 1)
        ]

    @contextmanager
    def running(self) -> Iterator[None]:
        try:
            for name in ("database", "processor", "ingest", *self.neighbours):
                self.start(name)
            self.wait_until_ready()
            for client in self.clients:
                client.start()
            yield
        finally:
            for client in self.clients:
                client.end()
            self.instance.stop()

    def start(self, name: str, point: str = "") -> None:
        self.instance.crash_at[name] = point
        self.instance.add(name)

    def wait_until_ready(self) -> None:
        self.until(self._is_ready, "ingest is not ready")

    def _is_ready(self) -> bool:
        # Started again when the broker was not there yet.
        if self.instance.status("ingest") is not None:
            self.start("ingest")
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            connection.request("GET", "/health/ready")
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def until(self, holds: Callable[[], bool], otherwise: str, seconds: float = WAIT_SECONDS) -> None:
        deadline = time.monotonic() + seconds
        while not holds():
            if time.monotonic() > deadline:
                raise AssertionError(f"{otherwise} after {seconds:.0f} s:\n{self.instance.output()[-4000:]}")
            time.sleep(0.02)

    @property
    def acknowledged(self) -> int:
        return sum(client.acknowledged for client in self.clients)

    @property
    def refused(self) -> int:
        return sum(client.refused for client in self.clients)

    def waiting(self) -> int:
        """Requests that are not answered yet."""
        return sum(client.is_waiting for client in self.clients)

    def wait_for_hits(self, count: int) -> None:
        """Until so many more are acknowledged."""
        wanted = self.acknowledged + count
        self.until(lambda: self.acknowledged >= wanted, f"{count} hits were not acknowledged")

    def go_on(self, count: int) -> None:
        """Until so many more are acknowledged and so many of later ones processed; whoever ends meanwhile is
        started again."""
        acknowledged = self.acknowledged + count
        processed = self.instance.processed() + self.instance.lag() + count

        def goes_on() -> bool:
            self.restart_the_dead()
            return self.acknowledged >= acknowledged and self.instance.processed() >= processed

        self.until(goes_on, "hits are not taken and processed again")

    def wait_for_death(self, name: str) -> int:
        """Returns how many requests were waiting then."""
        self.until(lambda: self.instance.status(name) is not None, f"{name} did not die", DIES_SECONDS)
        waiting = self.waiting()
        if self.instance.note_end(name):
            self.instance.add(name)
            return self.wait_for_death(name)
        return waiting

    def restart_the_dead(self) -> int:
        """Whatever they died of, as the supervisor does; how many there were."""
        dead = [
            name for name in ("database", "processor", "ingest") if self.instance.status(name) is not None
        ]
        for name in dead:
            self.start(name)
        return len(dead)

    def compare(self, stages: Sequence[str], what: str) -> None:
        """Ends the clients, drains, and compares with an undisturbed instance on a copy of the log."""
        for client in self.clients:
            client.end()
        self.until(lambda: not any(client.is_alive() for client in self.clients), "requests stay unanswered")
        self._wait_for_erasures()
        self.instance.drain(240)
        self.instance.stop()
        tables = tables_of(self.data_dir)
        log = log_of(self.data_dir, self._settings)
        total = copy_log(log, self._directory / "undisturbed")
        log.close()
        other = Instance(self._directory / "undisturbed")
        other.start()
        try:
            other.drain(240)
        finally:
            other.stop()
        wrong = differences(tables, tables_of(self._directory / "undisturbed"))
        if tallied(tables) != total:
            wrong.append(f"tallies: {tallied(tables)} hits are counted, {total} are on the log")
        self.report.compared(self.backend, stages, what, wrong + self._acknowledged_wrongly(tables))
        self.report.say(f"{self.backend:<9} {self.acknowledged} hits were acknowledged")

    def _wait_for_erasures(self) -> None:
        """Until no deleted hit is on the embedded log any more."""
        if self.broker is None:
            log = log_of(self.data_dir, self._settings)
            try:
                self.until(
                    lambda: not any(title_of(hit.query).startswith(DOOMED) for hit in hits_on(log)),
                    "deleted hits are still on the log",
                )
            finally:
                log.close()

    def _acknowledged_wrongly(self, tables: Mapping[str, Sequence[str]]) -> list[str]:
        """Every acknowledged hit is there; once, unless its request was sent again."""
        stored = Counter(title_of(json.loads(row)[_QUERY_COLUMN]) for row in tables["hits"])
        sends: Counter[str] = Counter()
        for client in self.clients:
            sends.update(client.sends)
        lost = [title for title in sends if not stored[title]]
        doubled = [title for title, count in stored.items() if count > sends[title]]
        return [
            *([f"hits: {len(lost)} acknowledged ones are not there, as {lost[0]}"] if lost else []),
            *([f"hits: {len(doubled)} are there too often, as {doubled[0]}"] if doubled else []),
        ]


def kill_ingest(
    backend: points.Backend,
    report: Report,
    directory: Path,
    rounds: int,
    seed: int,
    broker: JavaBroker | None = None,
) -> None:
    """Every point of ingest, on the embedded log beside a second process; on a broker also those of the
    spool, which needs the broker away."""
    report.expect(backend, "ingest", points.of_ingest(backend), rounds)
    if broker is not None:
        report.expect(backend, "broker, ingest", ["killed and started"], rounds)
    rng = random.Random(seed)
    run = SendingRun(backend, report, directory, seed, broker=broker, has_neighbour=broker is None)
    with run.running():
        for number in range(rounds):
            run.instance.remove("ingest")
            for point in points.INGEST:
                began = time.monotonic()
                run.start("ingest", f"{point}:{rng.randint(5, 30)}")
                waiting = run.wait_for_death("ingest")
                report.fault(backend, "ingest", point, waiting, time.monotonic() - began)
            if broker is not None:
                _kill_amid_spooling(run, broker)
            else:
                # Each takes erased hits out of the log: this is about one that does it alone.
                for neighbour in run.neighbours:
                    run.instance.remove(neighbour)
                _kill_amid_erasing(run, number)
                for neighbour in run.neighbours:
                    run.start(neighbour)
            run.start("ingest")
            run.wait_until_ready()
            run.wait_for_hits(50)
        run.compare(("ingest", "broker, ingest"), "ingest")


def _kill_amid_spooling(run: SendingRun, broker: JavaBroker) -> None:
    began = time.monotonic()
    run.start("ingest", "spool.spooled:4")
    run.wait_until_ready()
    run.wait_for_hits(20)
    lag = run.waiting() + run.instance.lag()
    broker.kill()
    waiting = run.wait_for_death("ingest")
    run.report.fault(run.backend, "ingest", "spool.spooled", waiting, time.monotonic() - began)
    broker.start()
    run.report.fault(run.backend, "broker, ingest", "killed and started", lag, time.monotonic() - began)
    for point in ("spool.forwarded", "spool.marked"):
        began = time.monotonic()
        # What is in the spool is forwarded at the start.
        run.start("ingest", point)
        waiting = run.wait_for_death("ingest")
        run.report.fault(run.backend, "ingest", point, waiting, time.monotonic() - began)


def _kill_amid_erasing(run: SendingRun, number: int) -> None:
    """Ingest takes the hits of deleted visits out of its segments."""
    for place, point in enumerate(points.INGEST_ON_EMBEDDED):
        began = time.monotonic()
        run.start("ingest")
        run.wait_until_ready()
        visits = _visits_of_a_doomed(run, f"{DOOMED}{2 * number + place}")
        run.instance.kill("ingest")
        run.start("ingest", point)
        run.wait_until_ready()
        run.instance.ask("/index.php", api("PrivacyManager.deleteDataSubjects", visits=visits))
        waiting = run.wait_for_death("ingest")
        run.report.fault(run.backend, "ingest", point, waiting, time.monotonic() - began)


def _visits_of_a_doomed(run: SendingRun, visitor: str) -> str:
    """Sends hits of a visitor and waits until the reports have them."""
    for page in range(3):
        fields = {"idsite": "1", "rec": "1", "url": f"http://example.org/{page}", "uid": visitor,
                  "action_name": f"{DOOMED}-{visitor}-{page}", "send_image": "0"}  # fmt: skip
        url = f"http://127.0.0.1:{run.port}/matomo.php?{urlencode(fields)}"
        # An agent of its own: nobody else has the same fingerprint.
        request = urllib.request.Request(url, headers={"User-Agent": f"{AGENT} {visitor}"})
        urllib.request.urlopen(request, timeout=20).close()
    found: list[dict[str, Any]] = []

    def is_found() -> bool:
        given = api("PrivacyManager.findDataSubjects", segment=f"userId=={visitor}")
        found[:] = run.instance.ask("/index.php", given)
        return any(int(one["actions"]) == 3 for one in found)

    run.until(is_found, "the visit does not come")
    return json.dumps([{"idsite": one["idSite"], "idvisit": one["idVisit"]} for one in found])


DOOMED = "doomed"


def api(method: str, **fields: str) -> dict[str, str]:
    given = {"module": "API", "format": "json", "method": method, "token_auth": TOKEN, "idSite": "1"}
    return {**given, **fields}


def fill_disks(
    backend: points.Backend,
    report: Report,
    directory: Path,
    rounds: int,
    seed: int,
    broker: JavaBroker | None = None,
) -> None:
    """The disk of all processes is full for a while, again and again. Needs a superuser, who may mount."""
    mount = directory / "disk"
    mount.mkdir()
    size = ["-o", f"size={DISK_MB}m"]
    if subprocess.run(["mount", "-t", "tmpfs", *size, "tmpfs", str(mount)], check=False).returncode:
        report.say("no disk can be mounted here: none is filled")
        return
    report.expect(backend, "disk", [DISK_FULL], rounds)
    try:
        run = SendingRun(backend, report, directory, seed, broker=broker, data_dir=mount / "data")
        run.instance.restarts_failed = True
        with run.running():
            # A disk that fills up while the first tables are created is not what this is about.
            run.instance.drain(WAIT_SECONDS)
            for _ in range(rounds):
                run.wait_for_hits(200)
                _fill_disk(run, mount / "filler")
            run.compare(("disk",), "disk")
    finally:
        subprocess.run(["umount", "-l", str(mount)], check=False)


def _fill_disk(run: SendingRun, filler: Path) -> None:
    began = time.monotonic()
    said = len(run.instance.output())
    refused = run.refused
    with filler.open("wb", buffering=0) as file:
        for size in (1 << 20, 1 << 12):
            try:
                while True:
                    file.write(bytes(size))
            except OSError:
                pass
        # What a process frees is taken again, until a client or a log has told of it.
        deadline = time.monotonic() + WAIT_SECONDS
        # On a broker ingest does not need the disk, as long as the broker takes hits.
        wanted = refused if run.broker is not None else refused + CLIENTS
        while not (run.refused >= wanted and _tells_of_disk(run.instance.output()[said:].lower())):
            with contextlib.suppress(OSError):
                file.write(bytes(1 << 12))
            run.restart_the_dead()
            if time.monotonic() > deadline:
                raise AssertionError(
                    f"{run.refused - refused} clients were refused: {run.instance.output()[said:][-3000:]}"
                )
            time.sleep(0.02)
        lag = run.waiting() + run.instance.lag()
    filler.unlink()
    run.go_on(100)
    run.report.fault(run.backend, "disk", DISK_FULL, lag, time.monotonic() - began)


def _tells_of_disk(output: str) -> bool:
    """In the words of the system or of SQLite."""
    return "space" in output or "disk is full" in output


def shift_clocks(
    backend: points.Backend,
    report: Report,
    directory: Path,
    rounds: int,
    seed: int,
    broker: JavaBroker | None = None,
) -> None:
    """The clock of all processes is put forward and back while they work."""
    try:
        clock = ProcessClock(directory)
    except FileNotFoundError:
        report.say("there is no C compiler (cc): no clock jumps")
        return
    report.expect(backend, "clock", [*(name for name, _ in CLOCK_JUMPS), CLOCK_KILLED], rounds)
    shifted = {**clock.environment, "HITSTREAM_ALLOWED_LATENESS_DAYS": "1"}
    run = SendingRun(backend, report, directory, seed, broker=broker, environment=shifted)
    with run.running():
        for _ in range(rounds):
            for name, ahead in CLOCK_JUMPS:
                began = time.monotonic()
                run.go_on(30)
                lag = _in_flight(run)
                clock.put(ahead)
                run.go_on(60)
                report.fault(backend, "clock", name, lag, time.monotonic() - began)
            began = time.monotonic()
            lag = _in_flight(run)
            # On a broker some may have ended by themselves.
            for name in ("database", "processor", "ingest"):
                if run.instance.status(name) is None:
                    run.instance.kill(name)
            run.restart_the_dead()
            run.wait_until_ready()
            report.fault(backend, "clock", CLOCK_KILLED, lag, time.monotonic() - began)
        run.compare(("clock",), "clock")


def _in_flight(run: SendingRun) -> int:
    """Looks until something is."""
    found: list[int] = []

    def is_any() -> bool:
        found[:] = [run.waiting() + run.instance.lag()]
        return found[0] > 0

    run.until(is_any, "nothing is in flight")
    return found[0]
