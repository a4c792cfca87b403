"""End to end: a paced load on a whole instance, freshness measured through the Reporting API meanwhile."""

import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.backends import broker_process
from bench.background import Background
from bench.measure import Processes, Result
from bench.sender import pack
from bench.stages import BEHIND_PROXY, TOKEN, bulk_requests, single_requests, start_sending_file
from bench.traffic import traffic
from tests.instance import RunningInstance

PROBE_SECONDS, LOST_SECONDS = 0.5, 120.0
REPORT_SECONDS = 1 / 3
"""Three reports a second are asked for meanwhile; freshness is as coarse as that."""


@dataclass(frozen=True)
class Load:
    """How hits come: some one by one, as browsers send them, the rest in bulk, as offline queues, servers and
    importers do."""

    single_share: float
    bulk_size: int


LOADS = {"mixed": Load(0.2, 20), "bulk": Load(0.0, 50)}


class FreshnessProbe(Background):
    """Sends a hit to a site of its own and asks the API until it counts, again and again."""

    def __init__(self, instance: RunningInstance, site: int) -> None:
        super().__init__()
        self.seconds: list[float] = []
        self._instance, self._site = instance, site

    def work(self) -> None:
        client = self._instance.client()
        count = 0
        while not self.stop.wait(PROBE_SECONDS):
            count += 1
            path = f"/matomo.php?idsite={self._site}&rec=1&url=http://probe/{count}&send_image=0&_id={count:016x}"
            status, _ = client.request("GET", path, headers={"User-Agent": "Mozilla/5.0 Firefox/133.0"})
            accepted = time.perf_counter()
            if status != 204:
                raise RuntimeError(f"a probe was answered with {status}")
            while self._count() < count:
                time.sleep(REPORT_SECONDS)
                if time.perf_counter() - accepted > LOST_SECONDS:
                    raise RuntimeError(f"a probe is not in reports after {LOST_SECONDS:.0f} s")
            self.seconds.append(time.perf_counter() - accepted)
        client.close()

    def _count(self) -> int:
        found: Any = self._instance.api(
            "VisitsSummary.getActions", idSite=str(self._site), period="day", date="today"
        )
        return int(found["value"])


def percentile(values: list[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


@contextmanager
def instance_under_load(folder: Path, settings: Mapping[str, str]) -> Iterator[RunningInstance]:
    """Site 1 for the load, site 2 for probes."""
    instance = RunningInstance(folder / "whole", {"HITSTREAM_ADMIN_TOKEN": TOKEN, **BEHIND_PROXY, **settings})
    instance.token = TOKEN
    instance.start()
    try:
        instance.wait_until_ready()
        for name in ("Bench", "Probe"):
            instance.api(
                "SitesManager.addSite", siteName=name, ecommerce="1", **{"urls[0]": "https://www.example.com"}
            )
        instance.api(
            "Goals.addGoal",
            idSite="1",
            name="By hand",
            matchAttribute="manually",
            pattern="",
            patternType="contains",
        )
        yield instance
    finally:
        instance.stop()


@dataclass(frozen=True)
class PackedLoad:
    """Requests in files, with the connections and the requests per second to send each with."""

    files: tuple[tuple[Path, int, float], ...]

    def start(self, port: int) -> Callable[[], list[dict[str, Any]]]:
        """Starts sending; what it returns waits for the end and gives what the generators measured, of single
        requests first. Raises RuntimeError then when a request was refused."""
        senders = [
            start_sending_file(file, port, connections=connections, rate=rate)
            for file, connections, rate in self.files
        ]

        def finished() -> list[dict[str, Any]]:
            found = [json.loads(sender.communicate()[0]) for sender in senders]
            for one in found:
                if set(one["statuses"]) - {"200", "204"}:
                    raise RuntimeError(f"not all requests were accepted: {one['statuses']}")
            return found

        return finished


def pack_load(folder: Path, rate: float, seconds: float, seed: int, load: Load, at: int) -> PackedLoad:
    """`rate` hits per second for `seconds`, to be sent at about the unix time `at`."""
    count = int(rate * seconds)
    singles = int(count * load.single_share)
    one_by_one = single_requests(list(traffic(singles, seed=seed)), at)
    in_bulk = bulk_requests(list(traffic(count - singles, seed=seed + 1)), at, load.bulk_size)
    files = []
    for name, requests, connections in (("single", one_by_one, 32), ("bulk", in_bulk, 8)):
        if requests:
            file = folder / f"{name}-{seed}"
            file.write_bytes(pack(requests))
            files.append((file, connections, len(requests) / seconds))
    return PackedLoad(tuple(files))


def bench_whole(
    folder: Path, rate: float, seconds: float, settings: Mapping[str, str], load: Load = LOADS["mixed"]
) -> Result:
    """`rate` hits per second for `seconds`; end to end: hits by the time until all are in reports."""
    count = int(rate * seconds)
    with instance_under_load(folder, settings) as instance:
        client = instance.client()
        with FreshnessProbe(instance, 2) as probe:
            time.sleep(3)
            probe.seconds.clear()
            packed = pack_load(folder, rate, seconds, 5, load, int(time.time()))
            processes = Processes({**instance.children(), **broker_process()})
            began = time.perf_counter()
            measured = packed.start(instance.port)()
            sent = time.perf_counter() - began
            client.json("POST", "/hitstream/drain")
            drained = time.perf_counter() - began
            used = {**processes.us_per(count), **processes.peaks()}
        status = client.json("GET", "/hitstream/status")
        client.close()
        if not status["balance"]["adds_up"] or status["accepted"] < count:
            raise RuntimeError(f"the numbers do not add up: {status}")
    return {
        "end_to_end_hits_s": count / drained,
        "end_to_end_sent_hits_s": count / sent,
        f"end_to_end_{'single' if load.single_share else 'bulk'}_p99_ms": measured[0]["p99_ms"],
        "freshness_p50_s": percentile(probe.seconds, 0.5),
        "freshness_p95_s": percentile(probe.seconds, 0.95),
        "freshness_probes": float(len(probe.seconds)),
        **{f"end_to_end_{name}": value for name, value in used.items()},
    }
