"""kill -9 of children of `hitstream up` while hits arrive over HTTP: nothing acknowledged is lost, and the
tables equal those that an undisturbed instance makes of the same log."""

import http.client
import json
import os
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import parse_qs, urlencode

import pytest

from tests.faults.instance import (
    PARTITIONS,
    Instance,
    copy_log,
    differences,
    hits_of,
    log_of,
    tables_of,
    tallied,
)
from tests.instance import RunningInstance

CLIENTS = 6
RESEND_SECONDS = 60.0
INGEST_POINTS = ("ingest.grouped", "ingest.durable", "log.appending", "log.appended")
AGENT = "Mozilla/5.0 (X11; Linux x86_64; rv:133.0) Gecko/20100101 Firefox/133.0"


def requests_of(client: int, count: int) -> list[list[str]]:
    """Queries of `count` requests, each hit with a title of its own: single hits and bulks of five."""
    rng = random.Random(client)
    found = []
    for number in range(count):
        size = 5 if number % 4 == 3 else 1
        found.append([query_of(rng, client, f"c{client}-{number}-{place}") for place in range(size)])
    return found


def query_of(rng: random.Random, client: int, title: str) -> str:
    kind = rng.choice(
        (
            {},
            {},
            {"url": f"http://example.org/?utm_campaign=c{rng.randint(1, 3)}"},
            {"url": "http://example.org/thanks"},
            {"e_c": "video", "e_a": "play", "e_v": "2"},
            {
                "idgoal": "0",
                "ec_id": f"o-{rng.randint(1, 40)}",
                "revenue": "7.5",
                "ec_items": '[["a","A","x",1,1]]',
            },
            {"cdt": str(int(time.time()) - rng.choice((600, 4000, 40_000)))},
            {"uid": f"user{rng.randint(1, 5)}"},
        )
    )
    fields = {
        "idsite": "1",
        "rec": "1",
        "url": f"http://example.org/page{rng.randint(1, 20)}",
        "_id": f"{client * 16 + rng.randint(1, 8):016x}",
        "action_name": title,
        **kind,
    }
    return urlencode(fields)


class ResendingClient(threading.Thread):
    """Sends one request after the other, each again and again until it is acknowledged."""

    def __init__(self, port: int, requests: Sequence[Sequence[str]]) -> None:
        super().__init__()
        self.acknowledged: list[str] = []
        self.resent = 0
        self.given_up = False
        self._port, self._requests = port, requests
        self._connection: http.client.HTTPConnection | None = None

    def run(self) -> None:
        for queries in self._requests:
            deadline = time.monotonic() + RESEND_SECONDS
            while not self._send(queries):
                self.resent += 1
                if time.monotonic() > deadline:
                    self.given_up = True
                    return
                time.sleep(0.02)
            self.acknowledged.extend(queries)

    def _send(self, queries: Sequence[str]) -> bool:
        if self._connection is None:
            self._connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=20)
        try:
            if len(queries) == 1:
                self._connection.request("GET", f"/matomo.php?{queries[0]}", headers={"User-Agent": AGENT})
                answer = self._connection.getresponse()
                answer.read()
                # The repeat of an order id is answered with 400, and stored.
                return answer.status == 200 or (answer.status == 400 and "ec_id" in queries[0])
            body = json.dumps({"requests": [f"?{query}" for query in queries]})
            self._connection.request("POST", "/matomo.php", body, headers={"User-Agent": AGENT})
            answer = self._connection.getresponse()
            found = answer.read()
            if answer.status != 200:
                return False
            counts = json.loads(found)
            return bool(counts["tracked"] + counts["invalid"] == len(queries))
        except (OSError, http.client.HTTPException):
            self._connection.close()
            self._connection = None
            return False


@contextmanager
def started(instance: RunningInstance) -> Iterator[RunningInstance]:
    instance.start()
    try:
        instance.wait_until_ready()
        yield instance
    finally:
        instance.stop()


def title_of(query: str) -> str:
    return parse_qs(query)["action_name"][0]


def disturbed(
    data_dir: Path, per_client: int, crash_at: str, disturb: Callable[[RunningInstance], None] | None = None
) -> tuple[dict[str, list[str]], RunningInstance]:
    """Sends, kills and drains; returns the tables after checking them against log and acknowledgements."""
    crashed = data_dir.with_name("crashed")
    crashed.mkdir()
    settings = {
        "HITSTREAM_PARTITIONS": str(PARTITIONS),
        "HITSTREAM_SINK_FLUSH_ROWS": "300",
        "HITSTREAM_CRASH_ONCE": str(crashed),
        "HITSTREAM_CRASH_AT": crash_at,
    }
    with started(RunningInstance(data_dir, settings)) as instance:
        instance.api(
            "SitesManager.addSite", siteName="One", ecommerce="1", **{"urls[0]": "http://example.org"}
        )
        instance.api(
            "Goals.addGoal",
            idSite="1",
            name="Thanks",
            matchAttribute="url",
            pattern="thanks",
            patternType="contains",
        )
        clients = [
            ResendingClient(instance.port, requests_of(number, per_client)) for number in range(CLIENTS)
        ]
        for client in clients:
            client.start()
        if disturb is not None:
            disturb(instance)
        for client in clients:
            client.join()
        assert not any(client.given_up for client in clients), instance.log()[-3000:]
        instance.wait_until_ready()
        instance.client().json("POST", "/hitstream/drain")
        status = instance.client().json("GET", "/hitstream/status")
    wanted = {point.partition(":")[0] for point in crash_at.split(",") if point}
    assert {path.name for path in crashed.iterdir()} == wanted
    hits = hits_of(data_dir)
    acknowledged = [query for client in clients for query in client.acknowledged]
    assert {title_of(query) for query in acknowledged} == {title_of(hit.query) for hit in hits}
    assert status["accepted"] == len(hits)
    assert status["balance"] == {"consumed": len(hits), "counted": len(hits), "adds_up": True}
    # Only what was under way when ingest died is there twice: it was stored but never acknowledged.
    resent = sum(client.resent for client in clients)
    assert len(acknowledged) <= len(hits) <= len(acknowledged) + 5 * resent
    tables = tables_of(data_dir)
    assert tallied(tables) == len(tables["hits"]) == len(hits)
    return tables, instance


def replayed(data_dir: Path, target: Path) -> dict[str, list[str]]:
    """The tables of an instance that nobody kills, from the same log."""
    log = log_of(data_dir)
    copy_log(log, target)
    log.close()
    instance = Instance(target)
    instance.start()
    try:
        instance.drain()
    finally:
        instance.stop()
    assert instance.deaths == 0
    return tables_of(target)


def kill_the_database_process(instance: RunningInstance, times: int, pause: float) -> None:
    """Each time another process, while hits arrive."""
    killed: set[int] = set()
    deadline = time.monotonic() + RESEND_SECONDS
    while len(killed) < times:
        assert time.monotonic() < deadline, "the database process does not come back"
        pid = instance.children().get("database")
        if pid is not None and pid not in killed:
            time.sleep(pause)
            os.kill(pid, signal.SIGKILL)
            killed.add(pid)
        time.sleep(0.05)


def test_kills_of_ingest_and_database_lose_no_acknowledged_hit(tmp_path: Path) -> None:
    data = tmp_path / "data"
    points = ",".join(f"{point}:{20 + 10 * place}" for place, point in enumerate(INGEST_POINTS))
    tables, instance = disturbed(
        data, 150, points, lambda running: kill_the_database_process(running, 1, pause=0.3)
    )
    for child in ("ingest", "database"):
        assert f"up         {child} (pid" in instance.log()
    assert differences(tables, replayed(data, tmp_path / "replayed")) == []


@pytest.mark.slow
@pytest.mark.parametrize("point", INGEST_POINTS)
def test_a_kill_of_ingest_at_any_point_loses_no_acknowledged_hit(point: str, tmp_path: Path) -> None:
    data = tmp_path / "data"
    tables, _ = disturbed(data, 300, f"{point}:50")
    assert differences(tables, replayed(data, tmp_path / "replayed")) == []


@pytest.mark.slow
def test_kills_of_the_database_process_drop_no_accepted_hit(tmp_path: Path) -> None:
    data = tmp_path / "data"
    tables, _ = disturbed(data, 1500, "", lambda running: kill_the_database_process(running, 4, pause=1.0))
    assert differences(tables, replayed(data, tmp_path / "replayed")) == []
