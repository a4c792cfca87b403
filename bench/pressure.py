"""`make pressure`: what one stopped consumer and one hot owner cost the others.

    python -m bench.pressure [--only wal,hot] [--seconds 60] [--backlog 600000] [--minutes 1]
                             [--minutes-alone 1]

`wal`: the database process is stopped (SIGSTOP) while a processor works off a backlog at full rate and single
hits keep arriving: the largest -wal file and the p99 of ingest. `hot`: the same 500 visitors without and with
one owner beside them that sends 1,000 hits a second: what the visitors lose. Exit status 1 when a limit is
missed.
"""

import argparse
import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

from bench.measure import Result, cpu_seconds
from bench.stages import TOKEN, bulk_requests, send, single_requests, start_sending
from bench.traffic import TrafficHit, traffic
from bench.whole import FreshnessProbe, percentile
from processors.service import GROUP
from stream.embedded import EmbeddedLog
from stream.opening import log_directory
from tests.instance import RunningInstance

WAL_LIMIT_MIB, P99_LIMIT_MS, LOSS_LIMIT = 256.0, 50.0, 0.1
SINGLE_RATE = 500.0
NEIGHBOURS, NEIGHBOUR_RATE, HOT_RATE = 500, 500.0, 1_000.0
AGENT = "Mozilla/5.0 (X11; Linux x86_64; rv:133.0) Gecko/20100101 Firefox/133.0"


@contextmanager
def instance_with_sites(data_dir: Path) -> Iterator[RunningInstance]:
    """Site 1 for the load, site 2 for probes."""
    instance = RunningInstance(data_dir, {"HITSTREAM_ADMIN_TOKEN": TOKEN})
    instance.token = TOKEN
    instance.start()
    try:
        instance.wait_until_ready()
        for name in ("Load", "Probe"):
            instance.api("SitesManager.addSite", siteName=name, **{"urls[0]": "https://www.example.com"})
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


def wal_sizes(data_dir: Path) -> dict[str, int]:
    """Bytes by file; one file per writer."""
    sizes = {}
    for path in data_dir.rglob("*-wal"):
        with contextlib.suppress(FileNotFoundError):
            sizes[str(path.relative_to(data_dir))] = path.stat().st_size
    return sizes


def consumed(log: EmbeddedLog) -> int:
    return sum(offset for place, offset in log.committed(GROUP).items() if place.topic == "hits")


def finished(sender: "subprocess.Popen[str]") -> dict[str, Any]:
    output, _ = sender.communicate()
    found: dict[str, Any] = json.loads(output)
    refused = {status: count for status, count in found["statuses"].items() if status not in ("200", "204")}
    if refused:
        raise RuntimeError(f"not all requests were accepted: {found['statuses']}")
    return found


def stopped_consumer(folder: Path, seconds: float, backlog: int) -> Result:
    """The largest -wal file, the latency of single hits, and how fast the processor was meanwhile."""
    data_dir = folder / "wal"
    with instance_with_sites(data_dir) as instance:
        children = instance.children()
        now = int(time.time())
        os.kill(children["processor"], signal.SIGSTOP)
        send(bulk_requests(list(traffic(backlog, seed=2)), now), instance.port, folder, connections=4)
        singles = single_requests(list(traffic(int(SINGLE_RATE * seconds), seed=5)), now)
        log = EmbeddedLog(log_directory(data_dir))
        os.kill(children["processor"], signal.SIGCONT)
        # The consumer is stopped in the middle of its work.
        time.sleep(2)
        os.kill(children["database"], signal.SIGSTOP)
        sender = start_sending(singles, instance.port, folder, connections=16, rate=SINGLE_RATE)
        before, began, largest = consumed(log), time.perf_counter(), Counter[str]()
        ends_at = began
        while sender.poll() is None:
            largest |= Counter(wal_sizes(data_dir))
            if consumed(log) < backlog:
                ends_at = time.perf_counter()
            time.sleep(0.2)
        processed = consumed(log) - before
        measured = finished(sender)
        log.close()
        os.kill(children["database"], signal.SIGCONT)
        client = instance.client()
        client.json("POST", "/hitstream/drain")
        status = client.json("GET", "/hitstream/status")
        client.close()
        if not status["balance"]["adds_up"] or status["accepted"] != backlog + len(singles):
            raise RuntimeError(f"the numbers do not add up: {status}")
    for file, size in largest.most_common(3):
        print(f"{file}: at most {size / (1 << 20):.1f} MiB", flush=True)
    return {
        "wal_largest_mib": max(largest.values()) / (1 << 20),
        "wal_ingest_p50_ms": measured["p50_ms"],
        "wal_ingest_p99_ms": measured["p99_ms"],
        "wal_processed_hits_s": processed / seconds,
        "wal_backlog_lasted_s": ends_at - began,
    }


def visitors_hits(count: int, visitors: int, name: str) -> list[TrafficHit]:
    """Page views of `visitors` visitors in turn. The language makes a fingerprint of their own."""
    page = quote(f"https://www.example.com/{name}/", "")
    return [
        TrafficHit(
            f"idsite=1&rec=1&send_image=0&_id={number % visitors + 1:08x}{name.encode().hex():0>8.8}"
            f"&lang={name}{number % visitors}&url={page}{number % 997}&action_name={name}+{number % 997}",
            AGENT,
        )
        for number in range(count)
    ]


def neighbours(folder: Path, seconds: float, *, hot: bool) -> Result:
    """What the neighbours see: throughput until all of it is in reports, freshness, latency."""
    data_dir = folder / ("hot" if hot else "alone")
    with instance_with_sites(data_dir) as instance:
        now = int(time.time())
        loads = [(visitors_hits(int(NEIGHBOUR_RATE * seconds), NEIGHBOURS, "n"), NEIGHBOUR_RATE)]
        if hot:
            loads.append((visitors_hits(int(HOT_RATE * seconds), 1, "hot"), HOT_RATE))
        log = EmbeddedLog(log_directory(data_dir))
        processor = instance.children()["processor"]
        parts: list[tuple[int, float]] = []
        with FreshnessProbe(instance, 2) as probe:
            time.sleep(3)
            probe.seconds.clear()
            began = time.perf_counter()
            senders = [
                start_sending(single_requests(hits, now), instance.port, folder, connections=16, rate=rate)
                for hits, rate in loads
            ]
            while any(sender.poll() is None for sender in senders):
                parts.append((consumed(log), cpu_seconds(processor)))
                time.sleep(0.5)
            measured = [finished(sender) for sender in senders]
            client = instance.client()
            client.json("POST", "/hitstream/drain")
            drained = time.perf_counter() - began
        log.close()
        status = client.json("GET", "/hitstream/status")
        client.close()
        sent = sum(len(hits) for hits, _ in loads)
        if not status["balance"]["adds_up"] or status["accepted"] < sent:
            raise RuntimeError(f"the numbers do not add up: {status}")
    third = len(parts) // 3
    return {
        "hits_s": len(loads[0][0]) / drained,
        "freshness_p50_s": percentile(probe.seconds, 0.5),
        "freshness_p95_s": percentile(probe.seconds, 0.95),
        "ingest_p50_ms": measured[0]["p50_ms"],
        "ingest_p99_ms": measured[0]["p99_ms"],
        # They differ when the cost of a hit grows with the owner's past.
        "us_cpu_first_third": cpu_per_hit(parts[1], parts[third]),
        "us_cpu_last_third": cpu_per_hit(parts[-third], parts[-1]),
    }


def cpu_per_hit(before: tuple[int, float], after: tuple[int, float]) -> float:
    """Microseconds."""
    return 1e6 * (after[1] - before[1]) / max(1, after[0] - before[0])


def hot_owner(folder: Path, seconds: float, seconds_alone: float) -> Result:
    alone = neighbours(folder, seconds_alone, hot=False)
    beside = neighbours(folder, seconds, hot=True)
    return {
        **{f"alone_{name}": value for name, value in alone.items()},
        **{f"hot_{name}": value for name, value in beside.items()},
        "hot_throughput_loss": 1 - beside["hits_s"] / alone["hits_s"],
        "hot_freshness_loss": beside["freshness_p50_s"] / alone["freshness_p50_s"] - 1,
    }


LIMITS = {
    "wal_largest_mib": WAL_LIMIT_MIB,
    "wal_ingest_p99_ms": P99_LIMIT_MS,
    "hot_throughput_loss": LOSS_LIMIT,
    "hot_freshness_loss": LOSS_LIMIT,
}


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", default="wal,hot")
    parser.add_argument("--seconds", type=float, default=60.0, help="for which the consumer is stopped")
    parser.add_argument("--minutes", type=float, default=1.0, help="of the run of `hot` with the hot owner")
    parser.add_argument("--minutes-alone", type=float, default=1.0, help="of the run without it")
    parser.add_argument("--backlog", type=int, default=600_000, help="hits to process while it is stopped")
    options = parser.parse_args()
    parts = options.only.split(",")
    missed = False
    with tempfile.TemporaryDirectory(prefix="hitstream-pressure-") as name:
        results: Result = {}
        if "wal" in parts:
            results |= stopped_consumer(Path(name), options.seconds, options.backlog)
        if "hot" in parts:
            results |= hot_owner(Path(name), 60 * options.minutes, 60 * options.minutes_alone)
    for name, value in results.items():
        verdict = ""
        if name in LIMITS:
            is_met = value < LIMITS[name]
            missed = missed or not is_met
            verdict = f"limit {LIMITS[name]:g}: " + ("ok" if is_met else "MISSED")
        print(f"{name:<28} {value:>14,.3f}  {verdict}")
    print(f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
