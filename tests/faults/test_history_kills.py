"""The database process dies in the middle of a replay or a deletion: its successor finishes both."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.instance import RunningInstance, running_instance
from tests.integration.traffic import hit, send

FINISH_SECONDS = 90.0


def eventually(ask: Callable[[], Any], wanted: Any) -> None:
    """Until the answer is the wanted one; while the process is away there is none."""
    deadline = time.monotonic() + FINISH_SECONDS
    found: Any = None
    while time.monotonic() < deadline:
        try:
            found = ask()
        except Exception as error:
            found = error
        if found == wanted:
            return
        time.sleep(0.3)
    raise AssertionError(f"{found!r}, expected {wanted!r}")


def drain_when_it_is_back(instance: RunningInstance) -> None:
    """Which also waits for what the process before had begun."""
    eventually(lambda: instance.command("drain").returncode, 0)


def goal(instance: RunningInstance) -> Any:
    return instance.api("Goals.get", idSite="1", period="day", date="2026-09-10")["nb_conversions"]


def visits(instance: RunningInstance) -> Any:
    return instance.api("VisitsSummary.get", idSite="1", period="day", date="2026-09-10")["nb_visits"]


def crashing(tmp_path: Path, point: str) -> dict[str, str]:
    once = tmp_path / "once"
    once.mkdir()
    return {"HITSTREAM_CRASH_AT": point, "HITSTREAM_CRASH_ONCE": str(once)}


@pytest.mark.slow
@pytest.mark.parametrize("point", ["replay.recorded", "replay.announced", "replay.asked"])
def test_a_replay_is_finished_by_the_next_process(tmp_path: Path, point: str) -> None:
    with running_instance(tmp_path / "data", crashing(tmp_path, point)) as instance:
        instance.api("SitesManager.addSite", siteName="One", **{"urls[0]": "http://one.example"})
        send(instance, [hit(number, number, "thanks") for number in range(1, 21)])
        instance.drain()
        instance.api(
            "Goals.addGoal", idSite="1", name="Bought", matchAttribute="url", pattern="thanks",
            patternType="contains",
        )  # fmt: skip
        assert instance.command("replay").returncode == 1
        assert (tmp_path / "once" / point).exists()
        drain_when_it_is_back(instance)
        assert goal(instance) == 20
        assert instance.client().json("GET", "/hitstream/status")["balance"]["adds_up"] is True


@pytest.mark.slow
@pytest.mark.parametrize("point", ["erasure.recorded", "erasure.removed.visits", "erasure.removed.hits"])
def test_a_deletion_is_finished_by_the_next_process(tmp_path: Path, point: str) -> None:
    with running_instance(tmp_path / "data", crashing(tmp_path, point)) as instance:
        instance.api("SitesManager.addSite", siteName="One", **{"urls[0]": "http://one.example"})
        send(instance, [hit(number, number, "thanks", uid=f"user{number}") for number in range(1, 11)])
        instance.drain()
        found = instance.api("PrivacyManager.findDataSubjects", idSite="1", segment="userId==user3")
        names = json.dumps([{"idsite": one["idSite"], "idvisit": one["idVisit"]} for one in found])
        with pytest.raises(AssertionError):
            instance.api("PrivacyManager.deleteDataSubjects", visits=names)
        assert (tmp_path / "once" / point).exists()
        drain_when_it_is_back(instance)
        assert visits(instance) == 9
        left = instance.api("PrivacyManager.exportDataSubjects", visits=names)
        assert not any(left.values())
        assert instance.command("replay").returncode == 0
        assert visits(instance) == 9
        log = instance.log()
        assert "finished 1 deletions that were begun before" in log


@pytest.mark.slow
def test_an_anonymisation_is_finished_by_the_next_process(tmp_path: Path) -> None:
    with running_instance(tmp_path / "data", crashing(tmp_path, "rewrite.recorded")) as instance:
        instance.api("SitesManager.addSite", siteName="One", **{"urls[0]": "http://one.example"})
        send(instance, [hit(number, number, "thanks", uid=f"user{number}") for number in range(1, 11)])
        instance.drain()
        wish = {"idSites": "1", "date": "2026-09-10", "anonymizeUserId": "1"}
        with pytest.raises(AssertionError):
            instance.api("PrivacyManager.anonymizeSomeRawData", **wish)
        assert (tmp_path / "once" / "rewrite.recorded").exists()

        def named() -> int:
            query = "SELECT count() FROM visits WHERE startsWith(user_id, 'user')"
            return int(instance.command("sql", query, "--format", "TSV").stdout)

        drain_when_it_is_back(instance)
        assert named() == 0
        assert visits(instance) == 10
