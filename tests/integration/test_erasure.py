"""A data subject is forgotten: in reports, in state and log, on disk, and in whatever is folded later."""

import json
import re
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from schemas.history import Erasure
from schemas.rows import Action, Visit
from schemas.topics import partition_of
from tests.builders import NOON, a_hit, config_events
from tests.instance import RunningInstance
from tests.integration.conftest import settings_of_log
from tests.integration.on_disk import (
    BrokerFiles,
    database_has,
    files_with,
    frames_with,
    remove_raw_hits,
    states_with,
)
from tests.integration.traffic import AGENT, hit, send
from tests.pipeline import Pipeline
from tests.waiting import PATIENCE_SECONDS

CANARY = "hummingbird"


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


@pytest.fixture(scope="module", params=["embedded", pytest.param("kafka", marks=pytest.mark.slow)])
def log_settings(request: pytest.FixtureRequest) -> Mapping[str, str]:
    """Files on a broker go when later messages come: that takes a while to see."""
    return settings_of_log(request)


def an_order(name: str, day: int = 12) -> dict[str, str]:
    items = json.dumps([[f"sku-{name}", name, name, 5, 1]])
    return {
        "idgoal": "0", "revenue": "5", "ec_id": f"order-{name}-{day}", "ec_items": items,
        "cdt": f"2026-09-{day} 12:00:00",
    }  # fmt: skip


def visit_of(name: str, visitor: int, day: int = 10, user: str = "") -> list[str]:
    """A visit with a search, an event, an order and a ping, whose every text holds `name`; but the user's
    where another is named."""
    fields: list[dict[str, str]] = [
        {"action_name": name, "urlref": f"http://{name}.example/"}, {"search": name},
        {"e_c": name, "e_a": "b"}, an_order(name, day), {"ping": "1"}, {"rec": "0"},
    ]  # fmt: skip
    common = {"uid": f"{user or name}@example.org", "ua": f"{AGENT} {name}"}
    return [
        hit(visitor, 0, name, **{**common, **more, "cdt": f"2026-09-{day} 12:00:0{second}"})
        for second, more in enumerate(fields, 1)
    ]


def report(instance: RunningInstance, name: str, day: str = "2026-09-10") -> Any:
    return instance.api(name, idSite="1", period="day", date=day)


def eventually_gone(left: Callable[[], list[str]]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while found := left():
        assert time.monotonic() < deadline, found
        time.sleep(0.5)


def gone_from_directory(instance: RunningInstance, *texts: bytes) -> None:
    def left() -> list[str]:
        parts = instance.client().json("GET", "/hitstream/status")["parts_to_remove"]
        found = [name for text in texts for name in files_with(instance.data_dir, text)]
        return [*found, *["replaced parts"][:parts]]

    eventually_gone(left)


def leave_files_soon(instance: RunningInstance, broker: BrokerFiles | None) -> None:
    """Let a broker lose within seconds what nobody needs. Ingest, when it starts, reads the hits of a visit's
    length again: they leave the topic after that."""
    if broker is not None:
        broker.write_plainly()
        instance.client().json("POST", "/hitstream/configure", tracking='{"visit_standard_length": 8}')


def gone_at_broker(instance: RunningInstance, broker: BrokerFiles, *texts: bytes) -> None:
    """Files go by whole segments, which a later message ends: hits keep coming."""
    numbers = iter(range(1000, 1_000_000))

    def left() -> list[str]:
        later = [next(numbers) for _ in range(6)]
        send(instance, [hit(number, 0, "b", **an_order(f"later{number}")) for number in later])
        return [name for text in texts for name in broker.with_text(text)]

    eventually_gone(left)
    instance.drain()


def test_a_deleted_subject_is_gone_from_reports_and_disk_also_after_restart_and_replay(
    empty: RunningInstance, broker: BrokerFiles | None
) -> None:
    instance = empty
    leave_files_soon(instance, broker)
    send(instance, [*visit_of(CANARY, 0xA1), *visit_of(CANARY, 0xA1, 11), *visit_of("sparrow", 0xB2)])
    instance.drain()
    assert report(instance, "VisitsSummary.get")["nb_visits"] == 2
    found = instance.api(
        "PrivacyManager.findDataSubjects", idSite="1", segment=f"userId=={CANARY}@example.org"
    )
    assert [one["serverDate"] for one in found] == ["2026-09-10", "2026-09-11"]
    assert files_with(instance.data_dir, CANARY.encode())
    names = json.dumps([{"idsite": one["idSite"], "idvisit": one["idVisit"]} for one in found])
    if broker is not None:
        topics = {name.split(".")[2].rpartition("-")[0] for name in broker.with_text(CANARY.encode())}
        assert topics >= {"hits", "visits", "actions", "conversions", "orders", "processors-changelog"}

    export = instance.api("PrivacyManager.exportDataSubjects", visits=names)
    kinds = ("visits", "conversions", "conversion_items", "hits")
    assert [len(export[kind]) for kind in kinds] == [2, 2, 2, 12]
    assert all("owner" in visit for visit in export["visits"])
    assert "sparrow" not in json.dumps(export)
    deleted = instance.api("PrivacyManager.deleteDataSubjects", visits=names)
    assert (deleted["visits"], deleted["hits"], deleted["conversions"]) == (2, 12, 2)

    assert report(instance, "VisitsSummary.get")["nb_visits"] == 1
    assert report(instance, "VisitsSummary.get", "2026-09-11")["nb_visits"] == 0

    gone_from_directory(instance, CANARY.encode())
    if broker is not None:
        gone_at_broker(instance, broker, CANARY.encode())

    instance.stop()
    assert frames_with(instance.data_dir, CANARY.encode()) == []
    assert states_with(instance.data_dir, CANARY.encode()) == []
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
    if broker is not None:
        assert broker.with_text(CANARY.encode()) == []


@pytest.mark.slow
def test_visits_whose_raw_hits_are_gone_are_deleted_too(
    empty: RunningInstance, broker: BrokerFiles | None
) -> None:
    """Also from the log and the state, which on a quiet site keep hits for longer than the table of them."""
    instance = empty
    leave_files_soon(instance, broker)
    days = {10: "sparrow", 11: CANARY, 12: CANARY, 13: "sparrow"}
    send(instance, [one for day, name in days.items() for one in visit_of(name, 0xA1, day, user="sparrow")])
    instance.drain()
    instance.stop()
    remove_raw_hits(instance.data_dir, before="2026-09-12")
    instance.start()
    instance.wait_until_ready()

    find = {"idSite": "1", "segment": f"entryPageTitle=={CANARY}"}
    first, second = instance.api("PrivacyManager.findDataSubjects", **find)
    assert (first["serverDate"], second["serverDate"]) == ("2026-09-11", "2026-09-12")
    counts: list[int] = []
    for one in (first, second):
        names = json.dumps([{"idsite": 1, "idvisit": one["idVisit"]}])
        deleted = instance.api("PrivacyManager.deleteDataSubjects", visits=names)
        assert (deleted["visits"], deleted["hits"], deleted["conversions"]) == (1, 6, 1)
        (last,) = instance.api("Live.getLastVisitsDetails", idSite="1", period="day", date="2026-09-13")
        counts.append(int(last["visitCount"]))
    assert counts == [3, 2]
    assert instance.api("PrivacyManager.findDataSubjects", **find) == []
    assert report(instance, "VisitsSummary.get", "2026-09-10")["nb_visits"] == 1

    if broker is not None:
        gone_at_broker(instance, broker, CANARY.encode())
    assert instance.command("replay").returncode == 0
    send(instance, [hit(0xA1, 30, "late", cdt="2026-09-10 12:00:30")])
    instance.drain()
    assert instance.api("PrivacyManager.findDataSubjects", **find) == []
    assert report(instance, "VisitsSummary.get", "2026-09-11")["nb_visits"] == 0
    gone_from_directory(instance, CANARY.encode())
    assert instance.client().json("GET", "/hitstream/status")["balance"]["adds_up"] is True
    instance.stop()
    assert frames_with(instance.data_dir, CANARY.encode()) == []
    assert states_with(instance.data_dir, CANARY.encode()) == []
    assert database_has(instance.data_dir, CANARY) == []
    instance.start()
    instance.wait_until_ready()


def test_hits_of_the_past_are_anonymised_in_reports_tables_state_and_log(
    empty: RunningInstance, broker: BrokerFiles | None
) -> None:
    instance = empty
    instance.client().json("POST", "/hitstream/configure", privacy='{"ip_mask_bytes": 1}')
    leave_files_soon(instance, broker)
    person = "hummingbird@example.org"
    mine = {"uid": person, "cip": "198.51.100.7", "city": "Quimper", "action_name": "hummingbird title"}
    send(instance, [hit(7, second, "shop", **mine) for second in (0, 5)])
    send(instance, [hit(8, 0, "shop", uid="another", cdt="2026-09-12 12:00:00")])
    instance.drain()

    def visits(day: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = instance.api(
            "Live.getLastVisitsDetails", idSite="1", period="day", date=day
        )
        return found

    (before,) = visits("2026-09-10")
    assert (before["userId"], before["visitIp"]) == (person, "198.51.100.0")
    names = instance.api("PrivacyManager.getAvailableLinkVisitActionColumnsToAnonymize")
    assert {"column_name": "idaction_name", "default_value": None} in names
    wish = {"idSites": "1", "date": "2026-09-10,2026-09-11", "anonymizeIp": "1", "anonymizeLocation": "1"}
    wish |= {"anonymizeUserId": "1", "unsetLinkVisitActionColumns[0]": "idaction_name"}
    for _ in range(2):
        done = instance.api("PrivacyManager.anonymizeSomeRawData", **wish)
        assert done == {"result": "success", "message": "ok"}
        (after,) = visits("2026-09-10")
        assert (after["idVisit"], after["actions"]) == (before["idVisit"], 2)
        assert (after["visitIp"], after["city"]) == ("198.51.0.0", None)
        assert re.fullmatch(r"[0-9a-f]{40}", after["userId"])
    assert visits("2026-09-12")[0]["userId"] == "another"
    refused = instance.api("PrivacyManager.anonymizeSomeRawData", idSites="1", date="today")
    assert "Nothing is to be anonymised" in refused["message"]
    # A replay and a late hit bring nothing back.
    assert instance.command("replay").returncode == 0
    send(instance, [hit(7, 3, "late", uid="third")])
    instance.drain()
    assert {one["visitIp"] for one in visits("2026-09-10")} <= {"198.51.0.0", "127.0.0.0"}

    texts = (person.encode(), b"hummingbird", b"Quimper", b"198.51.100.")
    if broker is not None:
        gone_at_broker(instance, broker, *texts)
    gone_from_directory(instance, *texts)
    assert instance.client().json("GET", "/hitstream/status")["balance"]["adds_up"] is True
    instance.stop()
    for text in texts:
        assert frames_with(instance.data_dir, text) == []
        assert states_with(instance.data_dir, text) == []
        assert database_has(instance.data_dir, text.decode()) == []
    instance.start()
    instance.wait_until_ready()
    assert visits("2026-09-10")
