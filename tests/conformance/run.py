"""`make conformance`: replays recorded Matomo requests against fresh instances and scores the answers.

The recordings lie outside the project (../shared/conformance, or HITSTREAM_CONFORMANCE); they are GPL test
data and no part of it.

    python -m tests.conformance.run [--part 0.34] [--fixture NAME ...] [--instances 2] [--jobs 2] [--floor]
"""

import argparse
import json
import os
import random
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from tests.instance import RunningInstance

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
FLOOR_FILE = HERE / "floor.json"
SEED = 20260101
NOT_SCORED = frozenset({"trivial", "oracle-fail"})


def recordings() -> Path:
    """Where the recordings are; ends the program when there are none."""
    place = Path(os.environ.get("HITSTREAM_CONFORMANCE", ROOT.parent / "shared" / "conformance"))
    if not (place / "replay.py").exists():
        sys.exit(f"no recordings in {place}: set HITSTREAM_CONFORMANCE to their directory")
    return place


def weights(place: Path) -> dict[str, int]:
    """Fixture -> how much work it is: cases weigh more than requests, a reset costs something too."""
    found: Counter[str] = Counter()
    for line in (place / "data" / "cases.jsonl").read_text().splitlines():
        found[json.loads(line)["fixture"]] += 3
    for name in found:
        fixture = json.loads((place / "data" / "fixtures" / f"{name}.json").read_text())
        found[name] += len(fixture["requests"]) + 2 * len(fixture["setup"]) + 60
    return dict(found)


def choose(names: Sequence[str], part: float) -> list[str]:
    """The same fixtures for the same part, whatever the machine."""
    ordered = sorted(names)
    random.Random(SEED).shuffle(ordered)
    return sorted(ordered[: max(1, round(len(ordered) * part))])


def divide(names: Sequence[str], weight: dict[str, int], instances: int) -> list[list[str]]:
    """Fixtures per instance, the heaviest first to whom has least."""
    shares: list[list[str]] = [[] for _ in range(instances)]
    loads = [0] * instances
    for name in sorted(names, key=lambda name: -weight[name]):
        lightest = loads.index(min(loads))
        shares[lightest].append(name)
        loads[lightest] += weight[name]
    return [share for share in shares if share]


def start_replay(
    place: Path, instance: RunningInstance, share: Sequence[str], report: Path, options: argparse.Namespace
) -> subprocess.Popen[bytes]:
    """The replayer on one instance; tracker cases when the share is empty."""
    ask = shlex.join(
        [sys.executable, "-I", "-S", str(HERE / "ask.py"), "127.0.0.1", str(instance.port), instance.token]
    )
    command = [
        sys.executable,
        str(HERE / "replay.py"),
        str(place / "replay.py"),
        instance.url,
        *("--token", instance.token, "--jobs", str(options.jobs), "--split", "open", "--inject-geo"),
        *("--reset", f"{ask} /hitstream/reset", "--drain", f"{ask} /hitstream/drain"),
        *("--report", str(report)),
    ]
    command += ["--fixture", *share] if share else ["--tracker-only"]
    for module in options.module:
        command += ["--module", module]
    return subprocess.Popen(command, stdout=(report.with_suffix(".txt")).open("wb"), stderr=subprocess.STDOUT)


def merge(reports: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """One report of several instances' reports."""
    return {
        "cases": [case for report in reports for case in report["cases"]],
        "fixtures": {name: info for report in reports for name, info in report["fixtures"].items()},
        "tracker": [case for report in reports for case in report["tracker"]],
    }


def scores(cases: Sequence[dict[str, Any]]) -> dict[str, tuple[int, int]]:
    """Module -> (passed, cases with content)."""
    found: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    for case in cases:
        if not NOT_SCORED & set(case["tags"]):
            found[case["module"]][0] += case["ok"]
            found[case["module"]][1] += 1
    return {module: (passed, total) for module, (passed, total) in sorted(found.items())}


def print_report(merged: dict[str, Any], seconds: float) -> tuple[int, int]:
    """The table by module and the SCORE line; returns (passed, total)."""
    by_module = scores(merged["cases"])
    print(f"{'module':<28} {'passed':>7} {'of':>6}")
    for module, (passed, total) in by_module.items():
        print(f"{module:<28} {passed:>7} {total:>6} {passed / total:>7.0%}")
    for name, info in merged["fixtures"].items():
        for problem in (info.get("error"), *(info.get("setupErrors") or [])):
            if problem:
                print(f"! {name}: {str(problem)[:300]}")
        for problem in info.get("trackerMismatch") or []:
            print(f"! {name}: {problem}")
    for case in merged["tracker"]:
        if not case["ok"]:
            print(f"! tracker case {case['id']}: {str(case['errors'][:2])[:300]}")
    passed = sum(score[0] for score in by_module.values())
    total = sum(score[1] for score in by_module.values())
    tracked = sum(case["ok"] for case in merged["tracker"])
    share = passed / total if total else 0.0
    print(f"tracker cases {tracked}/{len(merged['tracker'])}")
    print(f"SCORE {passed}/{total} cases with content pass ({share:.1%}) in {seconds:.0f} s")
    return passed, total


def end_cleanly(*_: object) -> None:
    """A termination unwinds the stack, so that no instance stays behind."""
    sys.exit(143)


def main() -> int:
    signal.signal(signal.SIGTERM, end_cleanly)
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--part", type=float, default=1.0, help="share of the fixtures, chosen by a fixed seed"
    )
    parser.add_argument("--fixture", nargs="+", default=[], help="these fixtures only")
    parser.add_argument("--module", action="append", default=[], help="this API module only")
    parser.add_argument("--instances", type=int, default=2)
    parser.add_argument("--jobs", type=int, default=2, help="requests at the same time per instance")
    parser.add_argument("--floor", action="store_true", help="fail below the committed floor")
    parser.add_argument("--no-tracker-cases", action="store_true")
    parser.add_argument("--report", type=Path, default=ROOT / "conf-report.json")
    options = parser.parse_args()
    place = recordings()
    weight = weights(place)
    unknown = set(options.fixture) - set(weight)
    if unknown:
        sys.exit(f"unknown fixtures: {', '.join(sorted(unknown))}")
    names = options.fixture or choose(list(weight), options.part)
    shares = divide(names, weight, max(1, options.instances))
    began = time.monotonic()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="hitstream-conformance-")))
        instances = []
        for number in range(len(shares)):
            settings = {"HITSTREAM_COMPATIBILITY": "strict", "HITSTREAM_PARTITIONS": "2"}
            instance = RunningInstance(folder / f"data{number}", settings)
            instance.start()
            stack.callback(instance.stop)
            instances.append(instance)
        for instance in instances:
            instance.wait_until_ready()
        ready = time.monotonic()
        runs = []
        for number, (instance, share) in enumerate(zip(instances, shares, strict=True)):
            report = folder / f"report{number}.json"
            run = start_replay(place, instance, share, report, options)
            stack.callback(run.kill)
            runs.append((run, report))
        for run, _ in runs:
            run.wait()
        if not (options.fixture or options.module or options.no_tracker_cases):
            report = folder / "tracker.json"
            run = start_replay(place, instances[0], [], report, options)
            stack.callback(run.kill)
            run.wait()
            runs.append((run, report))
        reports = []
        for _, report in runs:
            if not report.exists():
                print(report.with_suffix(".txt").read_text(errors="replace")[-3000:])
                for instance in instances:
                    print(instance.log()[-3000:])
                return 1
            reports.append(json.loads(report.read_text()))
        for instance in instances:
            noisy = [
                line for line in instance.log().splitlines() if "ERROR" in line or "starting it again" in line
            ]
            for line, count in Counter(text.partition(" ")[2] for text in noisy).most_common(10):
                print(f"! {count} x {line[:200]}")
    merged = merge(reports)
    options.report.write_text(json.dumps(merged, ensure_ascii=False, indent=1))
    print(
        f"{len(names)} of {len(weight)} fixtures, instances ready after {ready - began:.1f} s;"
        f" report: {options.report}"
    )
    passed, total = print_report(merged, time.monotonic() - began)
    if options.floor:
        return check_floor(options.part, passed, total)
    return 0


def check_floor(part: float, passed: int, total: int) -> int:
    """Exit status 1 below the committed share of passed cases for this part."""
    floors = json.loads(FLOOR_FILE.read_text())
    floor = floors.get(f"{part:g}")
    if floor is None:
        sys.exit(f"{FLOOR_FILE.name} has no floor for part {part:g}")
    reached = 100 * passed / total if total else 0.0
    if reached < floor:
        print(f"conformance is at {reached:.1f} %, below the floor of {floor} %", file=sys.stderr)
        return 1
    print(f"conformance is at {reached:.1f} %, floor {floor} %")
    return 0


if __name__ == "__main__":
    sys.exit(main())
