"""`make soak`: a steady load for half an hour; memory must stay flat, lag bounded, reports fresh.

    python -m bench.soak [--minutes 30] [--rate 3000] [--backend kafka|embedded]

Prints a line a minute. Exit status 1 when a limit is missed: the memory of a process in the last third may
be a fifth more than in the second, the lag a quarter of a minute's hits, freshness p95 5 s.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path
from statistics import fmean

from bench.backends import backend_settings
from bench.measure import memory_mib
from bench.whole import LOADS, FreshnessProbe, instance_under_load, percentile, send_load

MEMORY_GROWTH, LAG_SHARE, FRESHNESS_S = 1.2, 0.25, 5.0


def growth(values: list[float]) -> float:
    """The mean of the last third of the values by that of the second."""
    third = max(1, len(values) // 3)
    return fmean(values[-third:]) / fmean(values[third : 2 * third] or values)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=int, default=30)
    parser.add_argument("--rate", type=float, default=3_000.0, help="hits per second")
    parser.add_argument("--backend", choices=("embedded", "kafka"), default="kafka")
    options = parser.parse_args()
    memory: dict[str, list[float]] = {}
    lags: list[int] = []
    with (
        tempfile.TemporaryDirectory(prefix="hitstream-soak-") as name,
        backend_settings(options.backend) as settings,
        instance_under_load(Path(name), settings) as instance,
        FreshnessProbe(instance, 2) as probe,
    ):
        client = instance.client()
        for minute in range(options.minutes):
            ends = time.monotonic() + 60
            finished = send_load(instance, Path(name), options.rate, 52, 10 * minute, LOADS["mixed"])
            finished()
            lag = client.json("GET", "/hitstream/status")["lag"]["hits"]
            lags.append(lag)
            for process, pid in instance.children().items():
                memory.setdefault(process, []).append(memory_mib(pid))
            held = ", ".join(f"{process} {values[-1]:.0f}" for process, values in sorted(memory.items()))
            fresh = percentile(probe.seconds, 0.95) if probe.seconds else 0.0
            print(f"minute {minute + 1}: lag {lag}, freshness p95 {fresh:.2f} s, MiB: {held}", flush=True)
            time.sleep(max(0.0, ends - time.monotonic()))
        client.json("POST", "/hitstream/drain")
        status = client.json("GET", "/hitstream/status")
        client.close()
    grown = {process: growth(values) for process, values in memory.items()}
    p95 = percentile(probe.seconds, 0.95)
    missed = [f"{process} grew by {by - 1:.0%}" for process, by in grown.items() if by > MEMORY_GROWTH]
    if max(lags) > LAG_SHARE * 60 * options.rate:
        missed.append(f"{max(lags)} hits waited")
    if p95 > FRESHNESS_S:
        missed.append(f"freshness p95 {p95:.2f} s")
    if not status["balance"]["adds_up"]:
        missed.append("the tallies do not add up")
    print(
        f"{status['accepted']} hits in {options.minutes} minutes: " + ("; ".join(missed) or "all limits held")
    )
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
