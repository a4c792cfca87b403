"""A data subject is forgotten: in reports, in state and log, on disk, and in whatever is folded later."""

import json
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from schemas.history import Erasure
from schemas.rows import Action, Visit
from schemas.topics import partition_of
from tests.builders import NOON, a_hit, config_events
from tests.instance import RunningInstance, running_instance
from tests.pipeline import Pipeline

CANARY = "hummingbird"
AGENT = "Mozilla/5.0 (X11; Linux x86_64; rv:133.0) Gecko/20100101 Firefox/133.0"
GONE_SECONDS = 120.0


def test_an_owner_is_folded_as_if_the_erased_hits_had_never_been(tmp_path: Path) -> None:
    hits = [a_hit(NOON), a_hit(NOON + 60), a_hit(NOON + 9000), a_hit(NOON + 9060), a_hit(NOON + 20_000)]
    pipeline = Pipeline(tmp_path / "log", config_events())
    pipeline.send(*hits)
    pipeline.process()
    place = partition_of(0xA1, pipeline.log.partitions)
    stored = pipeline.stored_hits(0xA1)
    gone = [hits[2].hit_id, hits[3].hit_id]
    pipeline.tell(place, Erasure(1, 0xA1, gone, [stored[2][0], stored[3][0]], 1))
    assert pipeline.process_with_history() == 1
    without = Pipeline(tmp_path / "without", config_events())
    without.send(hits[0], hits[1], hits[4])
    without.process()
    assert pipeline.tables() == without.tables()
    # Also what refolds the owner later.
    late = a_hit(NOON - 60)
    for one in (pipeline, without):
        one.send(late)
        one.process_with_history()
    assert pipeline.tables() == without.tables()
    assert len(pipeline.rows(Visit)) == 2
    assert {action.hit_id for action in pipeline.rows(Action)}.isdisjoint(gone)
    without.close()
    pipeline.close()


@pytest.fixture(scope="module")
def instance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningInstance]:
    with running_instance(tmp_path_factory.mktemp("erasure") / "data") as running:
        yield running


def send(instance: RunningInstance, *queries: dict[str, str]) -> None:
    texts = ["?" + urlencode({"idsite": "1", "rec": "1", "ua": AGENT, **query}) for query in queries]
    body = json.dumps({"requests": texts, "token_auth": instance.token}).encode()
    client = instance.client()
    status, answer = client.request("POST", "/matomo.php", body)
    client.close()
    assert (status, json.loads(answer)["invalid"]) == (200, 0), answer


def visit_of(name: str, visitor: int, day: int = 10) -> list[dict[str, str]]:
    """A visit with a search, an event, an order and a ping, whose every text holds `name`."""
    common = {"cid": f"{visitor:016x}", "uid": f"{name}@example.org", "ua": f"{AGENT} {name}"}
    at = f"2026-09-{day} 12:00:0"
    return [
        {"url": f"http://one.example/{name}", "action_name": name, "urlref": f"http://{name}.example/",
         "cdt": at + "1", **common},
        {"url": f"http://one.example/{name}", "search": name, "cdt": at + "2", **common},
        {"url": f"http://one.example/{name}", "e_c": name, "e_a": "b", "cdt": at + "3", **common},
        {"url": f"http://one.example/{name}", "idgoal": "0", "revenue": "5", "ec_id": f"order-{name}-{day}",
         "ec_items": json.dumps([[f"sku-{name}", name, name, 5, 1]]), "cdt": at + "4", **common},
        {"url": f"http://one.example/{name}", "ping": "1", "cdt": at + "5", **common},
        {"url": f"http://one.example/{name}", "rec": "0", "cdt": at + "6", **common},
    ]  # fmt: skip


def files_with(directory: Path, text: bytes) -> list[str]:
    return [
        str(path.relative_to(directory))
        for path in directory.rglob("*")
        if path.is_file() and text in path.read_bytes()
    ]


def frames_with(directory: Path, text: bytes) -> list[str]:
    """SQLite values that hold the text, told by table."""
    found = []
    for path in directory.rglob("*.sqlite"):
        connection = sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)
        for (table,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'").fetchall():
            rows = connection.execute(f"SELECT * FROM {table}")
            if any(text in (v if isinstance(v, bytes) else str(v).encode()) for row in rows for v in row):
                found.append(f"{path.name} {table}")
        connection.close()
    return found


def parts_on_disk(data_dir: Path) -> set[str]:
    """Directories of parts, which have columns.txt; compressed, so a search for text does not see inside."""
    return {str(path.parent) for path in (data_dir / "clickhouse").rglob("columns.txt")}


def database_has(data_dir: Path, text: str) -> list[str]:
    """Tables of a stopped instance with the text in any version of any row, and no part is on disk that the
    search did not see."""
    directory = (data_dir / "clickhouse").resolve()
    done = subprocess.run(
        [sys.executable, "-m", "tests.database_texts", str(directory), text],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    ignored = {str(Path(path).resolve()) for path in found["numbers_only"]}
    seen = {str(Path(part).resolve()) for part in found["parts"]}
    unseen = parts_on_disk(data_dir.resolve()) - seen
    assert {part for part in unseen if str(Path(part).parent) not in ignored} == set()
    return list(found["tables"])


def report(instance: RunningInstance, name: str, day: str = "2026-09-10") -> Any:
    return instance.api(name, idSite="1", period="day", date=day)


def left_on_disk(instance: RunningInstance) -> list[str]:
    parts = instance.client().json("GET", "/hitstream/status")["parts_to_remove"]
    return [*files_with(instance.data_dir, CANARY.encode()), *["replaced parts"][:parts]]


def test_a_deleted_subject_is_gone_from_reports_and_disk_also_after_restart_and_replay(
    instance: RunningInstance,
) -> None:
    assert instance.command("reset", "--yes").returncode == 0
    instance.api("SitesManager.addSite", siteName="One", ecommerce="1", **{"urls[0]": "http://one.example"})
    send(instance, *visit_of(CANARY, 0xA1), *visit_of(CANARY, 0xA1, 11), *visit_of("sparrow", 0xB2))
    instance.command("drain")
    assert report(instance, "VisitsSummary.get")["nb_visits"] == 2
    found = instance.api(
        "PrivacyManager.findDataSubjects", idSite="1", segment=f"userId=={CANARY}@example.org"
    )
    assert [one["serverDate"] for one in found] == ["2026-09-10", "2026-09-11"]
    assert files_with(instance.data_dir, CANARY.encode())
    names = json.dumps([{"idsite": one["idSite"], "idvisit": one["idVisit"]} for one in found])

    export = instance.api("PrivacyManager.exportDataSubjects", visits=names)
    kinds = ("visits", "conversions", "conversion_items", "hits")
    assert [len(export[kind]) for kind in kinds] == [2, 2, 2, 12]
    assert "sparrow" not in json.dumps(export)
    deleted = instance.api("PrivacyManager.deleteDataSubjects", visits=names)
    assert (deleted["visits"], deleted["hits"], deleted["conversions"]) == (2, 12, 2)

    assert report(instance, "VisitsSummary.get")["nb_visits"] == 1
    assert report(instance, "VisitsSummary.get", "2026-09-11")["nb_visits"] == 0
    deadline = time.monotonic() + GONE_SECONDS
    while left_on_disk(instance) and time.monotonic() < deadline:
        time.sleep(0.5)
    assert left_on_disk(instance) == []

    instance.stop()
    assert frames_with(instance.data_dir, CANARY.encode()) == []
    assert database_has(instance.data_dir, CANARY) == []
    assert "hits" in database_has(instance.data_dir, "sparrow")
    instance.start()
    instance.wait_until_ready()
    instance.api(
        "Goals.addGoal", idSite="1", name="Any", matchAttribute="url", pattern="one", patternType="contains"
    )
    assert instance.command("replay").returncode == 0
    assert report(instance, "VisitsSummary.get")["nb_visits"] == 1
    assert report(instance, "VisitsSummary.get", "2026-09-11")["nb_visits"] == 0
    assert report(instance, "Goals.get")["nb_conversions"] == 2  # an order and the new goal
    assert instance.client().json("GET", "/hitstream/status")["balance"]["adds_up"] is True
    assert CANARY not in instance.log()
    assert files_with(instance.data_dir, CANARY.encode()) == []
