"""Whatever arrives: no 5xx, no crash, no stalled partition, bounded memory, every accepted hit is counted.

HITSTREAM_HOSTILE_REQUESTS=100000 python -m pytest -m slow tests/hostile     (make hostile)
"""

import asyncio
import json
import os
import re
import socket
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hitstream.client import InstanceClient
from tests.hostile.requests import Generator, Hostile, ascii_json, request
from tests.instance import RunningInstance, running_instance

CONNECTIONS = 16
ANSWER_SECONDS = 30.0
ALL = int(os.environ.get("HITSTREAM_HOSTILE_REQUESTS", "100000"))
CI_PART = 3_000
GROWTH_BYTES = {"ingest": 300 << 20, "processor": 400 << 20, "database": 1500 << 20}
"""Of the resident memory, over what a process used when it had answered its first requests."""


@pytest.fixture(scope="module")
def instance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningInstance]:
    with running_instance(tmp_path_factory.mktemp("hostile") / "data") as running:
        for name in ("One", "Two"):
            running.api(
                "SitesManager.addSite", siteName=name, ecommerce="1", **{"urls[0]": "http://example.org"}
            )
        for attribute in ("url", "title", "event_name", "external_website"):
            running.api(
                "Goals.addGoal",
                idSite="1",
                name=attribute,
                matchAttribute=attribute,
                pattern="[a-z]+(1|2)*",
                patternType="regex",
            )
        for scope in ("visit", "action"):
            running.api(
                "CustomDimensions.configureNewCustomDimension",
                idSite="1",
                name=scope,
                scope=scope,
                active="1",
            )
        yield running


@dataclass
class Answers:
    statuses: Counter[tuple[str, int]] = field(default_factory=Counter)
    """By kind of request; 0 for a connection that was closed without an answer."""
    failures: list[str] = field(default_factory=list)
    """5xx, answers with a traceback, requests without an end."""

    def text(self) -> str:
        return f"{len(self.failures)} failures, the first ones:\n" + "\n".join(self.failures[:10])


class Connection:
    def __init__(self, port: int) -> None:
        self._port = port
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def send(self, hostile: Hostile) -> tuple[int, bytes]:
        """Status and body of the answer; 0 when there is none."""
        if self._streams is None:
            self._streams = await asyncio.open_connection("127.0.0.1", self._port, limit=1 << 24)
        reader, writer = self._streams
        try:
            writer.write(hostile.data)
            await writer.drain()
            if hostile.ends_early:
                self.close()
                return 0, b""
            return await self._answer(reader, is_head=hostile.data.startswith(b"HEAD "))
        except (OSError, asyncio.IncompleteReadError):
            self.close()
            return 0, b""

    async def _answer(self, reader: asyncio.StreamReader, *, is_head: bool) -> tuple[int, bytes]:
        head = await reader.readuntil(b"\r\n\r\n")
        lower = head.lower()
        status = int(head[9:12])
        length = re.search(rb"content-length: *(\d+)", lower)
        body = b""
        if b"transfer-encoding: chunked" in lower:
            while size := int((await reader.readuntil(b"\r\n")).partition(b";")[0], 16):
                body += await reader.readexactly(size)
                await reader.readexactly(2)
            await reader.readuntil(b"\r\n")
        elif length and not is_head and status not in (204, 304):
            body = await reader.readexactly(int(length[1]))
        if (
            b"connection: close" in lower
            or head.startswith(b"HTTP/1.0")
            or b"keep-alive" in lower
            or status == 400
        ):
            self.close()
        return status, body

    def close(self) -> None:
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None


def is_failure(hostile: Hostile, status: int, body: bytes) -> bool:
    if b"Traceback" in body or b"internal error" in body:
        return True
    # Matomo refuses with 500 where the format has no shape for errors.
    deliberate = hostile.is_question and status == 500 and b"Server got itself in trouble" not in body
    return status >= 500 and status != 503 and not deliberate


async def send_all(port: int, requests: Iterator[Hostile]) -> Answers:
    answers = Answers()

    async def work() -> None:
        connection = Connection(port)
        for hostile in requests:
            try:
                async with asyncio.timeout(ANSWER_SECONDS):
                    status, body = await connection.send(hostile)
            except TimeoutError:
                answers.failures.append(
                    f"no answer in {ANSWER_SECONDS:g} s: {hostile.kind} {hostile.data[:600]!r}"
                )
                connection.close()
                continue
            answers.statuses[(hostile.kind, status)] += 1
            if is_failure(hostile, status, body):
                answers.failures.append(f"{status} {body[:100]!r}: {hostile.kind} {hostile.data[:1500]!r}")
        connection.close()

    await asyncio.gather(*(work() for _ in range(CONNECTIONS)))
    return answers


def resident_bytes(pid: int) -> int:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True)
class Health:
    children: dict[str, int]
    resident: dict[str, int]

    @classmethod
    def of(cls, instance: RunningInstance) -> "Health":
        children = instance.children()
        return cls(children, {name: resident_bytes(pid) for name, pid in children.items()})


def accepted_by_ingest(instance: RunningInstance) -> int:
    client = instance.client()
    _, text = client.request("GET", "/metrics")
    client.close()
    found = re.search(rb"^hitstream_ingest_accepted_hits_total (\d+)", text, re.MULTILINE)
    assert found, text[:2000]
    return int(found[1])


def check(instance: RunningInstance, before: Health, answers: Answers) -> None:
    """The instance lives on, has counted everything and is no bigger than before."""
    assert answers.failures == [], answers.text()
    assert instance.children() == before.children, instance.log()[-3000:]
    client = InstanceClient(instance.url, instance.token, timeout=120)
    client.json("POST", "/hitstream/drain", timeout="100")
    status = client.json("GET", "/hitstream/status")
    client.close()
    assert status["balance"]["adds_up"] is True
    assert status["accepted"] == accepted_by_ingest(instance) == status["balance"]["counted"]
    # What ingest wrote can be decoded and folded, whatever came in.
    assert status["dead"] == {}
    assert status["problems"] == []
    _, found, trace = instance.log().partition("Traceback")
    assert not found, trace[:4000]
    for name, resident in Health.of(instance).resident.items():
        grown = resident - before.resident[name]
        assert grown < GROWTH_BYTES[name], f"{name} grew by {grown >> 20} MiB to {resident >> 20} MiB"


def attack(instance: RunningInstance, requests: Iterator[Hostile]) -> Answers:
    before = Health.of(instance)
    answers = asyncio.run(send_all(instance.port, requests))
    check(instance, before, answers)
    return answers


def test_hostile_hits_do_no_harm(instance: RunningInstance) -> None:
    answers = attack(instance, Generator(1, instance.token).tracking(CI_PART))
    accepted = sum(count for (_, status), count in answers.statuses.items() if status in (200, 204))
    refused = sum(count for (_, status), count in answers.statuses.items() if 400 <= status < 500)
    assert accepted > CI_PART / 4, answers.statuses
    assert refused > CI_PART / 20, answers.statuses


def test_hostile_questions_do_no_harm(instance: RunningInstance) -> None:
    attack(instance, Generator(2, instance.token).questions(CI_PART // 5))


def test_large_values_do_not_stay_in_memory(instance: RunningInstance) -> None:
    """400 user agents of 250 kB each: 200 MB and more if they were remembered."""
    before = Health.of(instance)
    large = (
        Hostile("large", request("POST", "/matomo.php", {}, body.encode()))
        for number in range(400)
        for body in [
            f"idsite=1&rec=1&{('ua', 'uadata')[number % 2]}=%41{number}{'x' * 125_000}"
            f"&lang={number}{'y' * 125_000}"
        ]
    )
    answers = asyncio.run(send_all(instance.port, large))
    assert answers.statuses == {("large", 200): 400}
    check(instance, before, answers)
    assert Health.of(instance).resident["ingest"] - before.resident["ingest"] < 100 << 20


def test_a_hit_longer_than_the_limit_is_refused_alone(instance: RunningInstance) -> None:
    client = instance.client()
    before = accepted_by_ingest(instance)
    long = "idsite=1&rec=1&url=http://example.org/" + "x" * 300_000
    assert client.request("POST", "/matomo.php", long.encode())[0] == 400
    status, answer = client.request(
        "POST", "/matomo.php", ascii_json({"requests": [long, "?idsite=1&rec=1"]})
    )
    assert (status, json.loads(answer)["tracked"], json.loads(answer)["invalid"]) == (200, 1, 1)
    assert accepted_by_ingest(instance) == before + 1
    client.close()


def test_a_path_that_looks_like_a_host_is_not_forwarded_to_it(instance: RunningInstance) -> None:
    with socket.socket() as elsewhere:
        elsewhere.bind(("127.0.0.1", 0))
        elsewhere.listen()
        elsewhere.settimeout(0.2)
        host = f"127.0.0.1:{elsewhere.getsockname()[1]}"
        for target in (f"//{host}/x", f"//a@{host}/x", f"http://{host}/x", f"/\\{host}/x", f"/..//{host}/x"):
            sent = asyncio.run(send_all(instance.port, iter([Hostile("path", request("GET", target, {}))])))
            assert sent.failures == []
            with pytest.raises(TimeoutError):
                elsewhere.accept()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


def test_a_bulk_of_any_shape_is_answered(instance: RunningInstance) -> None:
    client = instance.client()

    @settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
    @given(JSON, JSON, st.dictionaries(st.sampled_from(["idsite", "rec", "url", "cdt", "_id"]), JSON))
    def attempt(requests: object, token: object, fields: object) -> None:
        body = ascii_json({"requests": [requests, fields, "?idsite=1&rec=1"], "token_auth": token})
        status, answer = client.request("POST", "/matomo.php", body)
        assert status == 200, answer

    attempt()
    client.close()


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_many_hostile_requests_do_no_harm(instance: RunningInstance) -> None:
    """Nine of ten are hits, the others questions and changes of another site."""
    token = instance.token
    attack(instance, Generator(3, token).tracking(ALL // 2))
    attack(instance, Generator(4, token).questions(ALL // 20))
    attack(instance, Generator(5, token).tracking(ALL * 4 // 10))


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_hostile_changes_of_the_configuration_do_no_harm(instance: RunningInstance) -> None:
    """Last, since they change what is excluded: hits and questions under whatever was written."""
    token = instance.token
    attack(instance, Generator(6, token).changes(ALL // 50, site="2"))
    attack(instance, Generator(7, token, site="2").tracking(ALL // 50))
    attack(instance, Generator(8, token, site="2").questions(ALL // 100))


def test_requests_are_the_same_for_a_seed() -> None:
    assert list(Generator(1, "t").tracking(50)) == list(Generator(1, "t").tracking(50))
    assert request("GET", "/x", {"A": "b"}) == b"GET /x HTTP/1.1\r\nHost: 127.0.0.1\r\nA: b\r\n\r\n"
