"""`make bench`: runs the benchmarks, prints a table, writes bench/results.json.

python -m bench [--quick] [--only accept,processor,tables,whole] [--rate 6500] [--seconds 60]
"""

import argparse
import json
import os
import platform
import signal
import sys
import tempfile
import time
from pathlib import Path

from bench.stages import Result, bench_accept, bench_processor, bench_tables
from bench.whole import bench_whole

RESULTS = Path(__file__).parent / "results.json"
FLOORS = {
    "accept_single_hits_s": 5_000.0,
    "accept_bulk_hits_s": 30_000.0,
    "process_hits_s_core": 8_000.0,
    "end_to_end_hits_s": 6_000.0,
}
CEILINGS = {"freshness_p95_s": 5.0, "bytes_per_action": 80.0}


def verdict(name: str, value: float) -> str:
    """Empty where nothing is promised."""
    if name in FLOORS:
        return f"floor {FLOORS[name]:,.0f}: " + ("ok" if value >= FLOORS[name] else "MISSED")
    if name in CEILINGS:
        return f"ceiling {CEILINGS[name]:g}: " + ("ok" if value <= CEILINGS[name] else "MISSED")
    return ""


def end_cleanly(*_: object) -> None:
    """A termination unwinds the stack, so that no process stays behind."""
    sys.exit(143)


def main() -> int:
    signal.signal(signal.SIGTERM, end_cleanly)
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a tenth of everything, for a first look")
    parser.add_argument("--only", default="accept,processor,tables,whole")
    parser.add_argument("--rate", type=float, default=6_500.0, help="hits per second of the whole")
    parser.add_argument("--seconds", type=float, default=60.0, help="of load on the whole")
    options = parser.parse_args()
    parts = options.only.split(",")
    scale = 10 if options.quick else 1
    results: Result = {}
    with tempfile.TemporaryDirectory(prefix="hitstream-bench-") as name:
        folder = Path(name)
        stages, tables = folder / "stages", folder / "tables"
        stages.mkdir()
        tables.mkdir()
        if "accept" in parts or "processor" in parts:
            show(results, bench_accept(stages, 100_000 // scale, 400_000 // scale))
        if "processor" in parts:
            show(results, bench_processor(stages, 1_000_000 // scale))
        if "tables" in parts:
            show(results, bench_tables(tables, 1_000_000 // scale))
        if "whole" in parts:
            show(results, bench_whole(folder, options.rate, options.seconds / scale))
    missed = [name for name, value in results.items() if verdict(name, value).endswith("MISSED")]
    if options.quick or options.only != "accept,processor,tables,whole":
        print("a part or a quick run: bench/results.json is left as it is", file=sys.stderr)
    else:
        machine = {
            "cores": os.cpu_count(),
            "python": platform.python_version(),
            "system": platform.platform(),
            "load_before": os.getloadavg()[2],
            "at": time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime()),
        }
        rounded = {name: round(value, 3) for name, value in results.items()}
        RESULTS.write_text(json.dumps({**rounded, "machine": machine}, indent=2) + "\n")
    return 1 if missed else 0


def show(results: Result, new: Result) -> None:
    """Prints lines as they come: a run takes minutes."""
    for name, value in new.items():
        results[name] = value
        print(f"{name:<28} {value:>14,.3f}  {verdict(name, value)}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
