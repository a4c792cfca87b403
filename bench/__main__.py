"""`make bench`: runs the benchmarks, prints a table, writes bench/results.json.

    python -m bench [--quick] [--only accept,two,processor,tables,whole,import,idle] [--repeat 3]
                    [--rate 6500] [--seconds 60] [--backend embedded,kafka] [--load mixed|bulk]
                    [--owners 1000000] [--json FILE]

Figures are medians of the repetitions; the spread is how far the runs lie apart, as a share of the median.
The generator of the load runs on the same machine. Exit status 1 when a floor is missed.
"""

import argparse
import json
import signal
import sys
import tempfile
from pathlib import Path

from bench.access_log import LINES, STATIC_SHARE, bench_import
from bench.backends import backend_settings
from bench.idle import bench_idle
from bench.measure import Result, machine, repeated
from bench.stages import bench_accept, bench_processor, bench_raw_hits, bench_tables, bench_two_accept
from bench.whole import LOADS, bench_whole

RESULTS = Path(__file__).parent / "results.json"
PARTS = "accept,two,processor,tables,whole,import,idle"
FLOORS = {
    "accept_single_hits_s": 12_000.0,
    "accept_bulk_hits_s": 60_000.0,
    "accept_two_bulk_hits_s": 100_000.0,
    "process_hits_s_core": 15_000.0,
    "sink_rows_s": 100_000.0,
    "end_to_end_sent_hits_s": 6_000.0,
    "bulk_end_to_end_sent_hits_s": 12_000.0,
    "bulk_kafka_end_to_end_sent_hits_s": 6_000.0,
    "import_lines_s": 20_000.0,
}
"""Two shared cores, the generator of the load included. A load counts that is sent in time and that reports
keep up with (freshness)."""
CEILINGS = {
    "bytes_per_action": 45.0,
    "bytes_per_raw_hit": 60.0,
    "start_to_first_hit_s": 2.0,
    "idle_cores": 0.02,
    "idle_mib": 700.0,
} | {f"{prefix}freshness_p95_s": 5.0 for prefix in ("", "kafka_", "bulk_", "bulk_kafka_")}


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


def run_parts(options: argparse.Namespace, folder: Path) -> tuple[Result, Result]:
    """Figures and their spreads; prints lines as they come, a run takes minutes."""
    parts = options.only.split(",")
    scale = 10 if options.quick else 1
    results: Result = {}
    spreads: Result = {}

    def of_stages() -> Result:
        with tempfile.TemporaryDirectory(dir=folder) as stages:
            found = bench_accept(Path(stages), 100_000 // scale, 400_000 // scale)
            if "processor" in parts:
                found |= bench_processor(Path(stages), options.owners // scale)
            return found | bench_raw_hits(Path(stages))

    def of_two() -> Result:
        with tempfile.TemporaryDirectory(dir=folder) as two:
            return bench_two_accept(Path(two), 600_000 // scale)

    def of_tables() -> Result:
        with tempfile.TemporaryDirectory(dir=folder) as tables:
            return bench_tables(Path(tables), 1_000_000 // scale)

    def of_whole() -> Result:
        found: Result = {}
        for backend in options.backend.split(","):
            with tempfile.TemporaryDirectory(dir=folder) as whole, backend_settings(backend) as settings:
                figures = bench_whole(
                    Path(whole), options.rate, options.seconds / scale, settings, LOADS[options.load]
                )
            prefix = {"mixed": "", "bulk": "bulk_"}[options.load] + {"embedded": "", "kafka": "kafka_"}[
                backend
            ]
            found |= {f"{prefix}{name}": value for name, value in figures.items()}
        return found

    def of_import() -> Result:
        with tempfile.TemporaryDirectory(dir=folder) as imported:
            return bench_import(Path(imported), LINES // scale, STATIC_SHARE)

    def at_rest() -> Result:
        with tempfile.TemporaryDirectory(dir=folder) as idle:
            return bench_idle(Path(idle), 60.0 / scale)

    for wanted, run in (
        ({"accept", "processor"}, of_stages),
        ({"two"}, of_two),
        ({"tables"}, of_tables),
        ({"whole"}, of_whole),
        ({"import"}, of_import),
        ({"idle"}, at_rest),
    ):
        if wanted & set(parts):
            medians, apart = repeated(run, options.repeat)
            results |= medians
            spreads |= apart
            for name, value in medians.items():
                spread = f"±{apart[name] / 2:.0%}" if options.repeat > 1 else ""
                print(f"{name:<34} {value:>14,.3f} {spread:>6}  {verdict(name, value)}", flush=True)
    return results, spreads


def main() -> int:
    signal.signal(signal.SIGTERM, end_cleanly)
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="a tenth of everything, for a first look")
    parser.add_argument("--only", default=PARTS)
    parser.add_argument("--repeat", type=int, default=1, help="runs of each part")
    parser.add_argument("--rate", type=float, default=6_500.0, help="hits per second of the whole")
    parser.add_argument("--seconds", type=float, default=60.0, help="of load on the whole")
    parser.add_argument("--owners", type=int, default=1_000_000, help="in the state of the processor")
    parser.add_argument(
        "--backend", choices=("embedded", "kafka", "embedded,kafka"), default="embedded", help="of the whole"
    )
    parser.add_argument(
        "--load", choices=tuple(LOADS), default="mixed", help="bulk: all hits in bulk of 50, none alone"
    )
    parser.add_argument("--json", type=Path, help="where the figures go; by default bench/results.json")
    options = parser.parse_args()
    before = machine()
    with tempfile.TemporaryDirectory(prefix="hitstream-bench-") as name:
        results, spreads = run_parts(options, Path(name))
    missed = [name for name, value in results.items() if verdict(name, value).endswith("MISSED")]
    is_whole = (
        not options.quick
        and options.only == PARTS
        and (options.backend, options.load) == ("embedded", "mixed")
    )
    file = options.json or (RESULTS if is_whole else None)
    if file is None:
        print("a part or a quick run: bench/results.json is left as it is", file=sys.stderr)
    else:
        figures: dict[str, object] = {name: round(value, 3) for name, value in results.items()}
        if options.repeat > 1:
            figures["spread"] = {name: round(value, 3) for name, value in spreads.items()}
        figures |= {"repetitions": options.repeat, "machine": before}
        file.write_text(json.dumps(figures, indent=2) + "\n")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
