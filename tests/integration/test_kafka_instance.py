"""A whole instance on a broker: topics made by the command, hits over HTTP, answers of the API, a reset."""

import json
import urllib.parse
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.instance import RunningInstance

BROWSER = {"User-Agent": "Mozilla/5.0 (X11; Linux x86_64; rv:133.0) Gecko/20100101 Firefox/133.0"}


@pytest.fixture
def instance(kafka: str, tmp_path: Path) -> Iterator[RunningInstance]:
    """Not started yet."""
    settings = {
        "HITSTREAM_KAFKA": kafka,
        "HITSTREAM_KAFKA_PREFIX": f"i{uuid.uuid4().hex[:16]}",
        "HITSTREAM_PARTITIONS": "2",
        "HITSTREAM_PROCESSORS": "2",
    }
    instance = RunningInstance(tmp_path / "data", settings)
    yield instance
    instance.stop()


def send(instance: RunningInstance, visitor: int, page: int) -> int:
    client = instance.client()
    query = urllib.parse.urlencode(
        {
            "idsite": 1,
            "rec": 1,
            "uid": f"visitor {visitor}",
            "url": f"http://localhost/page{page}",
            "action_name": f"Page {page}",
            "send_image": 0,
            "cdt": "2026-09-10 12:00:00",
            "token_auth": instance.token,
        }
    )
    status, _ = client.request("GET", f"/matomo.php?{query}", b"", BROWSER)
    client.close()
    return status


def drain(instance: RunningInstance) -> None:
    instance.drain()


def page_hits(instance: RunningInstance) -> dict[str, int]:
    rows: list[dict[str, Any]] = instance.api(
        "Actions.getPageUrls", idSite="1", period="day", date="2026-09-10", flat="1"
    )
    return {row["label"]: row["nb_hits"] for row in rows}


def test_hits_over_http_come_back_in_reports_until_a_reset(instance: RunningInstance) -> None:
    made = instance.command("topics")
    assert made.returncode == 0, made.stderr
    assert "2 partitions" in made.stdout
    instance.start()
    instance.wait_until_ready()
    instance.api("SitesManager.addSite", siteName="Test", urls="http://localhost")
    for visitor in range(1, 21):
        for page in range(visitor % 3 + 1):
            assert send(instance, visitor, page) == 204
    drain(instance)
    assert page_hits(instance) == {"/page0": 20, "/page1": 14, "/page2": 7}
    visits = instance.api("VisitsSummary.get", idSite="1", period="day", date="2026-09-10")
    assert (visits["nb_visits"], visits["nb_actions"]) == (20, 41)
    status = json.loads(instance.command("status", "--json").stdout)
    assert status["accepted"] == status["balance"]["consumed"] == status["balance"]["counted"] == 41
    reset = instance.command("reset", "--yes")
    assert reset.returncode == 0, reset.stdout + reset.stderr + instance.log()[-3000:]
    drain(instance)
    assert json.loads(instance.command("status", "--json").stdout)["accepted"] == 0
    assert instance.stop() == 0


def test_settings_changed_on_the_broker_are_told_and_restored_when_asked(instance: RunningInstance) -> None:
    from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource

    made = instance.command("topics")
    assert made.returncode == 0, made.stderr
    assert "made anew" not in made.stdout
    name = f"{instance.environment['HITSTREAM_KAFKA_PREFIX']}.1.hits"
    topic = ConfigResource(
        ConfigResource.Type.TOPIC,
        name,
        incremental_configs=[
            ConfigEntry("retention.ms", "3600000", incremental_operation=AlterConfigOpType.SET)
        ],
    )
    admin = AdminClient({"bootstrap.servers": instance.environment["HITSTREAM_KAFKA"]})
    for altered in admin.incremental_alter_configs([topic]).values():
        altered.result()
    told = f"{name}: retention.ms is 3600000, made anew it would be 604800000"
    assert told in instance.command("topics").stdout
    assert told in instance.command("topics").stdout
    restored = instance.command("topics", "--restore-settings")
    assert (restored.returncode, restored.stderr) == (0, "")
    assert f"{name}: retention.ms was 3600000, is 604800000 now" in restored.stdout
    assert "retention.ms" not in instance.command("topics").stdout


def test_topics_and_stages_say_what_is_missing_or_wrong(instance: RunningInstance) -> None:
    early = instance.command("processor")
    assert (early.returncode, "hitstream topics" in early.stderr) == (1, True)
    assert instance.command("topics").returncode == 0
    again = instance.command("topics")
    assert "0 topics made" in again.stdout
    changed = instance.command("topics", HITSTREAM_PARTITIONS="3")
    assert changed.returncode == 1
    assert "can't be changed to 3" in changed.stderr
    shared = instance.command("processor", "--partitions", "0")
    assert (shared.returncode, "share the partitions" in shared.stderr) == (78, True)
    nowhere = instance.command("topics", HITSTREAM_KAFKA="")
    assert (nowhere.returncode, "HITSTREAM_KAFKA" in nowhere.stderr) == (78, True)
    secret = instance.data_dir.with_name("options")
    secret.write_text("sasl.password=geheim\nacks=1\n")
    refused = instance.command("topics", HITSTREAM_KAFKA_OPTIONS=str(secret))
    assert refused.returncode == 78
    assert "line 2" in refused.stderr
    assert "geheim" not in refused.stderr
