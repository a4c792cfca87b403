"""Several ingest processes of one instance append to one log in the data directory."""

import json
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from hitstream.client import InstanceClient, InstanceError
from tests.instance import TOKEN, RunningInstance, running_instance
from tests.waiting import PATIENCE_SECONDS, wait_until

pytestmark = pytest.mark.skipif(
    not Path("/proc/self/environ").exists(), reason="processes are found in /proc"
)


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[RunningInstance]:
    with running_instance(tmp_path / "data", {"HITSTREAM_INGEST_PROCESSES": "2"}) as running:
        yield running


def process_on(port: int) -> int:
    """The number of the ingest process that listens there."""
    wanted = {f"HITSTREAM_PORT={port}".encode(), b"HITSTREAM_SUPERVISED=1"}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                words = (entry / "cmdline").read_bytes().split(b"\0")
                environment = set((entry / "environ").read_bytes().split(b"\0"))
            except OSError:
                continue
            if b"ingest" in words and wanted <= environment:
                return int(entry.name)
    raise AssertionError(f"no ingest process on {port}")


def visits(first: int, count: int, title: str) -> list[str]:
    """Two hits each of `count` visitors, an hour ago."""
    at = int(time.time()) - 3600
    return [
        f"?idsite=1&rec=1&url=http://one.example/{title}&action_name={title}"
        f"&_id={visitor:016x}&cip=10.1.{visitor >> 8 & 255}.{visitor & 255}&cdt={at + step}"
        for visitor in range(first, first + count)
        for step in (0, 60)
    ]


def send(port: int, requests: list[str]) -> None:
    """In bulk. Raises InstanceError when it was not accepted."""
    client = InstanceClient(f"http://127.0.0.1:{port}", TOKEN, timeout=PATIENCE_SECONDS)
    body = json.dumps({"requests": requests, "token_auth": TOKEN}).encode()
    status, answer = client.request("POST", "/matomo.php", body)
    client.close()
    if status != 200:
        raise InstanceError(f"{status}: {answer!r}")


def titles(instance: RunningInstance) -> dict[str, int]:
    """Views of yesterday and today by title: an hour ago may have been yesterday."""
    rows = instance.api("Actions.getPageTitles", idSite="1", period="range", date="last2")
    return {row["label"].strip(): row["nb_hits"] for row in rows}


def is_accepted(port: int) -> bool:
    try:
        send(port, visits(0xFFFF0000 + port, 1, "probe"))
    except InstanceError:
        return False
    return True


def wait_until_taken(instance: RunningInstance) -> None:
    """Each process knows the site: it looks at the configuration every few milliseconds."""
    for port in instance.ports:
        wait_until(lambda port=port: is_accepted(port))  # type: ignore[misc]


def test_hits_through_all_ports_are_counted_once_also_when_a_process_is_killed(
    instance: RunningInstance,
) -> None:
    instance.api("SitesManager.addSite", siteName="One", **{"urls[0]": "http://one.example"})
    killed = threading.Event()
    accepted: Counter[str] = Counter()

    def sending(port: int, title: str) -> None:
        """Goes on for a while after the kill; what was not answered is sent no more."""
        for number in range(1_000_000):
            name = f"{title}{number % 10}"
            try:
                send(port, visits(number * 100 + port, 10, name))
                accepted[name] += 20
            except InstanceError:
                time.sleep(0.05)
            if killed.is_set() and number % 10 == 9:
                return

    senders = [
        threading.Thread(target=sending, args=(port, title))
        for port, title in zip(instance.ports, ("first", "second"), strict=True)
    ]
    wait_until_taken(instance)
    for sender in senders:
        sender.start()
    wait_until(lambda: min(accepted["first9"], accepted["second9"]) > 0)
    victim = process_on(instance.ports[1])
    os.kill(victim, signal.SIGKILL)
    sent = accepted["first9"]
    wait_until(lambda: accepted["first9"] > sent)
    wait_until(lambda: is_accepted(instance.ports[1]))
    killed.set()
    for sender in senders:
        sender.join(PATIENCE_SECONDS)
    assert process_on(instance.ports[1]) != victim

    assert instance.command("drain").returncode == 0
    found = titles(instance)
    for name in ("first", "second"):
        counts = {title: count for title, count in found.items() if title.startswith(name)}
        # What the killed process had stored and not yet answered is counted, too.
        extra = {title: count - accepted[title] for title, count in counts.items()}
        assert set(extra.values()) <= ({0} if name == "first" else {0, 20}), extra
    status = instance.client().json("GET", "/hitstream/status")
    assert status["balance"]["adds_up"]
    assert status["outcomes"] == {"stored": status["accepted"]}


def test_erased_hits_of_all_processes_leave_the_log(instance: RunningInstance) -> None:
    instance.api("SitesManager.addSite", siteName="One", **{"urls[0]": "http://one.example"})
    wait_until_taken(instance)
    for port in instance.ports:
        send(port, [f"{query}&uid=canary@example.org" for query in visits(0xC0, 1, "canary")])
    assert instance.command("drain").returncode == 0

    def files_with_canary() -> list[Path]:
        hits = [path for path in instance.data_dir.glob("log/*/topics/hits/*") if path.is_file()]
        return [path for path in hits if b"canary" in path.read_bytes()]

    assert files_with_canary()
    found = instance.api("PrivacyManager.findDataSubjects", idSite="1", segment="userId==canary@example.org")
    names = json.dumps([{"idsite": one["idSite"], "idvisit": one["idVisit"]} for one in found])
    assert instance.api("PrivacyManager.deleteDataSubjects", visits=names)["hits"] == 4
    wait_until(lambda: not files_with_canary())
    send(instance.ports[1], visits(0xD0, 1, "later"))
    assert instance.command("drain").returncode == 0
    assert set(titles(instance)) == {"probe", "later"}


def test_all_processes_follow_an_emptied_log(instance: RunningInstance) -> None:
    for round_number in range(2):
        instance.api("SitesManager.addSite", siteName="One", **{"urls[0]": "http://one.example"})
        wait_until_taken(instance)
        assert instance.command("drain").returncode == 0
        views = titles(instance)["probe"]
        assert views >= 4, round_number
        assert instance.client().json("POST", "/hitstream/reset?yes=1")
