"""Three brokers, three copies, two of which must have a message: one is lost, two are lost, all are back."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from schemas.topics import HITS
from tests.kafka.broker import Cluster, NoBrokerError
from tests.kafka.stages import (
    Ingest,
    Stage,
    hits_on,
    make_site,
    messages_of,
    opened_log,
    outcomes_on,
    pages_on,
)
from tests.waiting import wait_until

pytestmark = pytest.mark.slow


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    pytest.importorskip("confluent_kafka")
    try:
        cluster = Cluster(tmp_path / "cluster")
    except NoBrokerError as error:
        pytest.skip(f"no brokers that can be killed: {error}")
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop()


def settings_on(admin: Any, topic: str) -> dict[str, str]:
    from confluent_kafka.admin import ConfigResource

    resource = ConfigResource(ConfigResource.Type.TOPIC, topic)
    found = admin.describe_configs([resource])[resource].result()
    return {name: entry.value for name, entry in found.items()}


def test_one_broker_lost_stops_nothing_and_two_lost_lose_nothing(cluster: Cluster, tmp_path: Path) -> None:
    servers, site = cluster.address, tmp_path / "site"
    make_site(servers, site)
    ingest = Ingest(servers, tmp_path / "ingest")
    processor = Stage("processor", servers, tmp_path / "processor")
    with opened_log(servers, site) as log:

        def wait_until_stored(count: int) -> None:
            def is_stored() -> bool:
                if not processor.is_running():  # as a supervisor does
                    processor.start()
                return outcomes_on(log)["stored"] >= count

            wait_until(is_stored, lambda: f"{outcomes_on(log)}\n{ingest.output()}\n{processor.output()}")

        def wait_until_forwarded() -> None:
            wait_until(lambda: ingest.spooled() == 0, ingest.output)

        try:
            topic = log.name(HITS.name)
            assert settings_on(log.admin, topic)["min.insync.replicas"] == "2"
            partitions = log.admin.list_topics(topic, 10).topics[topic].partitions
            assert {len(at.replicas) for at in partitions.values()} == {3}
            ingest.start()
            wait_until(ingest.is_ready)
            for number in range(30):
                ingest.send(number)
            wait_until_stored(30)

            # The one that leads a partition of `hits`.
            lost = {partitions[0].leader}
            cluster.nodes[partitions[0].leader - 1].kill()
            for number in range(30, 60):
                ingest.send(number)
            wait_until_forwarded()
            for number in range(60, 90):
                ingest.send(number)
            wait_until_forwarded()  # two brokers are enough
            wait_until_stored(90)

            lost.add(min({1, 2, 3} - lost))
            cluster.nodes[max(lost - {partitions[0].leader}) - 1].kill()
            for number in range(90, 120):
                ingest.send(number)
            assert ingest.spooled() >= 30
            for node in lost:
                cluster.nodes[node - 1].launch()
            wait_until_forwarded()
            for number in range(120, 130):
                ingest.send(number)
            wait_until_stored(130)
            on_the_log = len(list(messages_of(log, HITS.name)))
            assert len(hits_on(servers, site)) == 130
            wait_until(lambda: outcomes_on(log).total() >= on_the_log)
            assert outcomes_on(log) == {"stored": 130, "duplicate": on_the_log - 130}
            assert pages_on(log) == {f"example.org/{number}": 1 for number in range(130)}
        finally:
            processor.stop()
            ingest.stop()
