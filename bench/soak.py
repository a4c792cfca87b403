"""`make soak`: a steady load for half an hour; memory must stay flat, lag bounded, reports fresh.

    python -m bench.soak [--minutes 30] [--rate 3000] [--backend kafka|embedded] [--json bench/soak.json]

Prints a line a minute, writes the series and the verdicts. Exit status 1 when a limit is missed: the median
memory of a process in the last third may be 15 % more than in the second, ten seconds' hits may wait, and
freshness p95 through the API may be 5 s. The rate is half of what a broker on the same two cores takes.
"""

import argparse
import json
import os
import signal
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from pathlib import Path
from statistics import median

from bench.__main__ import end_cleanly
from bench.backends import backend_settings, broker_process
from bench.background import Background
from bench.measure import cpu_seconds, machine, memory_mib
from bench.whole import LOADS, FreshnessProbe, PackedLoad, instance_under_load, pack_load, percentile
from tests.instance import RunningInstance

MEMORY_GROWTH, LAG_SECONDS, FRESHNESS_S = 1.15, 10.0, 5.0
SAMPLE_SECONDS = 5.0
VISIT_SECONDS = 60
"""Instead of half an hour, for as long as which ingest remembers a visitor, and as long again: what it
remembers is as much as it will be within the warm-up."""
MINUTE, LONGEST_MINUTE_S = 60.0, 66.0


class Watch(Background):
    """Reads lag and memory every few seconds."""

    def __init__(self, instance: RunningInstance) -> None:
        super().__init__()
        self.memory: dict[str, list[float]] = {}
        """MiB by process."""
        self.lags: list[int] = []
        """Hits that are accepted and not yet processed."""
        self._instance = instance

    def processes(self) -> dict[str, int]:
        """Their numbers by name."""
        return {**self._instance.children(), **broker_process()}

    def work(self) -> None:
        client = self._instance.client()
        while not self.stop.wait(SAMPLE_SECONDS):
            self.lags.append(client.json("GET", "/hitstream/status")["lag"]["hits"])
            for process, pid in self.processes().items():
                self.memory.setdefault(process, []).append(memory_mib(pid))
        client.close()


def growth(values: Sequence[float]) -> float:
    """The median of the last third of the values by that of the second: the first is the warm-up."""
    third = len(values) // 3
    if not third:
        return 1.0
    return median(values[-third:]) / median(values[third : 2 * third])


def missed_limits(
    memory: dict[str, list[float]], lags: Sequence[int], freshness: Sequence[float], rate: float
) -> list[str]:
    missed = [
        f"the memory of {process} grew by {growth(values) - 1:.0%}"
        for process, values in memory.items()
        if growth(values) > MEMORY_GROWTH
    ]
    if not lags or not freshness:
        missed.append("nothing was measured")
    elif max(lags) > LAG_SECONDS * rate:
        missed.append(f"{max(lags)} hits waited")
    if freshness and percentile(list(freshness), 0.95) > FRESHNESS_S:
        missed.append(f"freshness p95 was {percentile(list(freshness), 0.95):.2f} s")
    return missed


class Soak:
    """A run; its series are there also when it ends early."""

    def __init__(self, rate: float) -> None:
        self.memory: dict[str, list[float]] = {}
        self.lags: list[int] = []
        self.freshness: list[float] = []
        self.minutes: list[dict[str, object]] = []
        self.missed: list[str] = []
        self.accepted = 0
        self._rate = rate

    def run(self, instance: RunningInstance, folder: Path, minutes: int) -> None:
        with (
            # The next minute's requests are made while this one's are sent.
            ProcessPoolExecutor(1, initializer=os.nice, initargs=(5,)) as maker,
            FreshnessProbe(instance, 2) as probe,
            Watch(instance) as watch,
        ):
            self.memory, self.lags, self.freshness = watch.memory, watch.lags, probe.seconds

            def made(minute: int, at: float) -> Future[PackedLoad]:
                arguments = (folder, self._rate, MINUTE, 10 * minute, LOADS["mixed"], int(at))
                return maker.submit(pack_load, *arguments)

            following = made(0, time.time())
            for minute in range(minutes):
                packed = following.result()
                following = made(minute + 1, time.time() + MINUTE)
                self._send_a_minute(instance, packed, watch.processes())
                probe.check()
                watch.check()
            following.cancel()
        # After the last probe: hits under way are not counted yet.
        client = instance.client()
        client.json("POST", "/hitstream/drain")
        status = client.json("GET", "/hitstream/status")
        client.close()
        self.accepted = status["accepted"]
        if not status["balance"]["adds_up"]:
            self.missed.append("the tallies do not add up")
        if self.accepted < self._rate * MINUTE * minutes:
            self.missed.append(f"only {self.accepted} hits were accepted")

    def _send_a_minute(
        self, instance: RunningInstance, packed: PackedLoad, processes: Mapping[str, int]
    ) -> None:
        lags, probes, began = len(self.lags), len(self.freshness), time.monotonic()
        used = {process: cpu_seconds(pid) for process, pid in processes.items()}
        measured = packed.start(instance.port)()
        took = time.monotonic() - began
        for file, _, _ in packed.files:
            file.unlink()
        line = {
            "seconds": round(took, 1),
            "single_p99_ms": round(measured[0]["p99_ms"], 1),
            "most_lag_hits": max(self.lags[lags:], default=0),
            "freshness_p95_s": round(percentile(self.freshness[probes:] or [0.0], 0.95), 2),
            "cores": {
                process: round((cpu_seconds(pid) - used[process]) / took, 2)
                for process, pid in sorted(processes.items())
            },
            "mib": {process: round(values[-1]) for process, values in sorted(self.memory.items())},
        }
        self.minutes.append(line)
        said = ", ".join(f"{name} {value}" for name, value in line.items())
        print(f"minute {len(self.minutes)}: {said}", flush=True)
        if took > LONGEST_MINUTE_S:
            self.missed.append(f"minute {len(self.minutes)} took {took:.0f} s: the load was not kept up")


def main() -> int:
    signal.signal(signal.SIGTERM, end_cleanly)
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=int, default=30)
    parser.add_argument("--rate", type=float, default=3_000.0, help="hits per second")
    parser.add_argument("--backend", choices=("embedded", "kafka"), default="kafka")
    parser.add_argument("--json", type=Path, help="where the series go; by default bench/soak.json")
    options = parser.parse_args()
    before = machine()
    soak = Soak(options.rate)
    try:
        with (
            tempfile.TemporaryDirectory(prefix="hitstream-soak-") as name,
            backend_settings(options.backend) as settings,
            instance_under_load(Path(name), settings) as instance,
        ):
            tracking = json.dumps({"visit_standard_length": VISIT_SECONDS})
            instance.client().json("POST", "/hitstream/configure", tracking=tracking)
            soak.run(instance, Path(name), options.minutes)
    except Exception as error:  # the series up to here tell why
        soak.missed.append(f"it ended in minute {len(soak.minutes) + 1}: {type(error).__name__}: {error}")
    missed = soak.missed + missed_limits(soak.memory, soak.lags, soak.freshness, options.rate)
    result = {
        "accepted": soak.accepted,
        "backend": options.backend,
        "rate": options.rate,
        **{
            f"freshness_p{share}_s": round(percentile(soak.freshness or [0.0], share / 100), 2)
            for share in (50, 95)
        },
        "most_lag_hits": max(soak.lags, default=0),
        "memory_growth": {process: round(growth(values), 3) for process, values in soak.memory.items()},
        "missed": missed,
        "minutes": soak.minutes,
        "machine": before,
    }
    for figure in ("freshness_p50_s", "freshness_p95_s", "most_lag_hits", "memory_growth"):
        print(f"{figure}: {result[figure]}")
    verdict = "; ".join(missed) or "all limits held"
    print(f"{soak.accepted} hits in {len(soak.minutes)} minutes: {verdict}")
    if options.json or options.minutes >= 30:
        file = options.json or Path(__file__).parent / "soak.json"
        file.write_text(json.dumps(result, indent=2) + "\n")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
