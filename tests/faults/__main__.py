"""`python -m tests.faults`: every named crash point x stage x backend, and what else may go wrong.

Prints a line per fault and the table at the end; exits with 1 when there is a difference, or when a fault did
not happen as often as it should."""

import argparse
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.faults.broken_faults import break_orders
from tests.faults.ingest_faults import fill_disks, kill_ingest, shift_clocks
from tests.faults.points import Backend
from tests.faults.report import Report
from tests.faults.retention_faults import kill_retention
from tests.faults.stream_faults import StreamFaults, server_plan, whole_plan
from tests.kafka.broker import JavaBroker


@contextmanager
def own_broker(directory: Path) -> Iterator[JavaBroker]:
    """One that may be killed. Raises NoBrokerError."""
    broker = JavaBroker(directory)
    broker.start()
    try:
        yield broker
    finally:
        broker.stop()


MEMORY = Path("/dev/shm")
Part = Callable[[Report, Path, int, int], None]
"""Report, directory, rounds, seed."""


def stream_on_embedded(report: Report, directory: Path, rounds: int, seed: int) -> None:
    StreamFaults(whole_plan("embedded", rounds), report, directory, seed).run()


def stream_on_kafka(report: Report, directory: Path, rounds: int, seed: int) -> None:
    with own_broker(directory / "broker") as broker:
        StreamFaults(whole_plan("kafka", rounds), report, directory, seed, broker).run()


def server_on_embedded(report: Report, directory: Path, rounds: int, seed: int) -> None:
    StreamFaults(server_plan("embedded", rounds), report, directory, seed).run()


OnBackend = Callable[[Backend, Report, Path, int, int, JavaBroker | None], None]


def on_embedded(part: OnBackend) -> Part:
    return lambda report, directory, rounds, seed: part("embedded", report, directory, rounds, seed, None)


def on_kafka(part: OnBackend) -> Part:
    def run(report: Report, directory: Path, rounds: int, seed: int) -> None:
        with own_broker(directory / "broker") as broker:
            part("kafka", report, directory, rounds, seed, broker)

    return run


PARTS: dict[str, Part] = {
    "embedded-stream": stream_on_embedded,
    "embedded-server": server_on_embedded,
    "embedded-ingest": on_embedded(kill_ingest),
    "embedded-disk": on_embedded(fill_disks),
    "embedded-clock": on_embedded(shift_clocks),
    "embedded-retention": on_embedded(kill_retention),
    "embedded-broken": on_embedded(break_orders),
    "kafka-stream": stream_on_kafka,
    "kafka-ingest": on_kafka(kill_ingest),
    "kafka-disk": on_kafka(fill_disks),
    "kafka-clock": on_kafka(shift_clocks),
    "kafka-retention": on_kafka(kill_retention),
    "kafka-broken": on_kafka(break_orders),
}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--backend", choices=("embedded", "kafka", "both"), default="both")
    parser.add_argument("--only", default="", help=f"parts, separated by commas: {', '.join(PARTS)}")
    parser.add_argument("--rounds", type=int, default=5, help="how often each fault happens")
    parser.add_argument("--seed", type=int, default=0, help="of hits and choices; 0: the time")
    parser.add_argument("--json", type=Path, default=Path("faults.json"), help="where the table goes as JSON")
    parser.add_argument("--directory", type=Path, default=None, help="where the instances live")
    parser.add_argument("--keep", action="store_true", help="keep the directories of the instances")
    given = parser.parse_args()
    # The instances are closed then too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    seed = given.seed or int(time.time())
    wanted = set(filter(None, given.only.split(","))) or set(PARTS)
    if unknown := wanted - set(PARTS):
        parser.error(f"there is no part {', '.join(sorted(unknown))}")
    report = Report(seed)
    # A kill takes nothing that was written to a file: in memory the syncs cost nothing.
    place = given.directory or (MEMORY if MEMORY.is_dir() else None)
    directory = Path(tempfile.mkdtemp(prefix="hitstream-faults-", dir=place))
    report.say(f"seed {seed}, {given.rounds} rounds, in {directory}")
    try:
        for name, part in PARTS.items():
            if name not in wanted or given.backend not in ("both", name.partition("-")[0]):
                continue
            report.say(f"-- {name}")
            (directory / name).mkdir()
            try:
                part(report, directory / name, given.rounds, seed)
            except SystemExit:
                # Ended from outside: the table shows what was done until then.
                report.fail(f"{name}: ended by a signal")
                break
            except Exception:
                traceback.print_exc()
                report.fail(f"{name}: {traceback.format_exc().splitlines()[-1]}")
    finally:
        if not given.keep:
            shutil.rmtree(directory, ignore_errors=True)
    print(f"\n{report.table()}\n\n{report.summary()}")
    for problem in report.problems:
        print(f"PROBLEM {problem}")
    report.save(given.json)
    return 1 if report.problems else 0


if __name__ == "__main__":
    sys.exit(main())
