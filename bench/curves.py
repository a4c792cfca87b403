"""`make curves`: how throughput changes with what grows; writes bench/curves.json and SVGs.

    python -m bench.curves [--only owners,sites,batch,visit,processors,bulk,ingest,insert]
                           [--hits 30000] [--repeat 3] [--json FILE] [--plots bench/curves]

Each point is the median of the repetitions, each of which is a new process on a new embedded log. One thing
grows, the others stay.
A processor (owners, sites, batch, visit, processors): no owners but those of the hits, 1 site, units of 2,000
hits, a median of 4 hits per visit, 1 processor; the first quarter of the hits warms up and is not counted.
Five million owners take minutes and some 5 GB of disk.
Ingest (bulk, ingest): 200 hits in a request, 1 process, ten times as many hits.
The sink (insert): the rows of as many actions, and at most 50,000 of a table at once.
Without matplotlib nothing is plotted. With --only bench/curves.json is left as it is.
"""

import argparse
import gc
import json
import multiprocessing
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from bench.logs import GROUP_SIZE, entries_of
from bench.measure import Result, machine, peak_mib, repeated
from bench.stages import PARTITIONS, accept_in_bulk, put_owners, put_rows, site_events
from bench.traffic import MORE_HITS
from hitstream.engine import clickhouse_dsn
from processors.agent_cache import AgentCache
from processors.processor import INPUTS, Processor
from processors.service import GROUP, locale_of
from rules.prepare import Lookups
from schemas.config import encode_config_event
from sink.database import Database, database_name
from sink.loop import Sink
from sink.settings import SinkSettings
from stream.config import ConfigFollower
from stream.embedded import EmbeddedLog
from stream.protocol import TopicPartition

HERE = Path(__file__).parent
WARM_SHARE = 0.25


@dataclass(frozen=True, kw_only=True)
class Case:
    """What a point is measured with."""

    hits: int = 30_000
    owners: int = 0
    """In the state, beside those of the hits."""
    sites: int = 1
    unit: int = 2_000
    more_hits: float = MORE_HITS
    processors: int = 1
    bulk: int = 200
    """Hits in a request."""
    ingests: int = 1
    insert: int = 50_000
    """Most rows of a table in an insert."""


def work_off(directory: Path, unit: int, partitions: Sequence[int]) -> tuple[int, float, float, float, float]:
    """In a process of its own: hits after the warm-up, when the first and the last of them were done, CPU
    seconds for them, most memory in MiB."""
    log = EmbeddedLog(directory / "log", PARTITIONS)
    reader = log.reader()
    done_before = log.committed(GROUP)
    total = sum(
        end - done_before.get(TopicPartition("hits", partition), 0)
        for partition, end in reader.end_offsets("hits").items()
        if partition in partitions
    )
    reader.close()
    worker = log.worker(GROUP, INPUTS, partitions)
    agents = AgentCache(directory / f"agents{partitions[0]}.sqlite")
    processor = Processor(
        worker, ConfigFollower(log).at, Lookups(agent=agents.get, locale=locale_of), time.time
    )
    # As the service does.
    gc.freeze()
    gc.set_threshold(200_000, 20, 50)
    done = warm = 0
    began = used = 0.0
    while done < total:
        batches = worker.poll(unit, 1.0)
        for batch in batches:
            processor.process(batch)
        worker.commit(batches)
        done += sum(len(batch.messages) for batch in batches if batch.topic == "hits")
        if not warm and done >= total * WARM_SHARE:
            warm, began, used = done, time.time(), time.process_time()
    ended, cpu = time.time(), time.process_time() - used
    worker.close()
    log.close()
    return done - warm, began, ended, cpu, peak_mib(multiprocessing.current_process().pid or 0)


def fill(directory: Path, case: Case) -> None:
    log = EmbeddedLog(directory / "log", PARTITIONS)
    config = log.appender("config")
    events = site_events(int(time.time() * 1000), case.sites)
    config.append([(0, b"", encode_config_event(event)) for event in events])
    config.close()
    appender = log.appender("hits")
    entries = entries_of(case.hits, len(events), case.sites, case.more_hits)
    if case.owners:
        # Records of some real owners are copied.
        appender.append(entries[:GROUP_SIZE])
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
            pool.submit(work_off, directory, case.unit, range(PARTITIONS)).result()
        put_owners(log, case.owners)
        entries = entries[GROUP_SIZE:]
    for start in range(0, len(entries), GROUP_SIZE):
        appender.append(entries[start : start + GROUP_SIZE])
    appender.close()
    log.close()


def measure_processors(folder: Path, case: Case) -> Result:
    with tempfile.TemporaryDirectory(dir=folder) as name:
        directory = Path(name)
        fill(directory, case)
        shares = [range(PARTITIONS)[share :: case.processors] for share in range(case.processors)]
        with ProcessPoolExecutor(case.processors, multiprocessing.get_context("spawn")) as pool:
            found = list(pool.map(partial(work_off, directory, case.unit), shares))
    hits = sum(one[0] for one in found)
    wall = max(one[2] for one in found) - min(one[1] for one in found)
    return {
        "per_s": hits / wall,
        "us_cpu": 1e6 * sum(one[3] for one in found) / hits,
        "peak_mib": max(one[4] for one in found),
    }


def measure_ingest(folder: Path, case: Case) -> Result:
    with tempfile.TemporaryDirectory(dir=folder) as name:
        found = accept_in_bulk(Path(name), 10 * case.hits, processes=case.ingests, size=case.bulk)
    return {"per_s": found["hits_s"], "us_cpu": found["us_cpu"], "peak_mib": found["peak_mib"]}


def store(directory: Path, case: Case) -> Result:
    """In a process of its own: chDB is opened once in a process."""
    log = EmbeddedLog(directory / "log", PARTITIONS)
    rows = put_rows(log, case.hits, int(time.time()) // 86400 - 10)
    database = Database(clickhouse_dsn(directory), database_name(log.epoch))
    database.open()
    began, used = time.perf_counter(), time.process_time()
    Sink(log, database, SinkSettings(sink_flush_rows=case.insert)).run_to_end()
    wall, cpu = time.perf_counter() - began, time.process_time() - used
    database.close()
    log.close()
    return {
        "per_s": rows / wall,
        "us_cpu": 1e6 * cpu / rows,
        "peak_mib": peak_mib(multiprocessing.current_process().pid or 0),
    }


def measure_sink(folder: Path, case: Case) -> Result:
    with (
        tempfile.TemporaryDirectory(dir=folder) as name,
        ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool,
    ):
        return pool.submit(store, Path(name), case).result()


@dataclass(frozen=True)
class Curve:
    label: str
    points: tuple[float, ...]
    of: Callable[[Case, float], Case]
    measure: Callable[[Path, Case], Result] = measure_processors
    counted: str = "hits"


CURVES: Mapping[str, Curve] = {
    "owners": Curve(
        "owners in state",
        (10_000, 100_000, 1_000_000, 5_000_000),
        lambda case, n: replace(case, owners=int(n)),
    ),
    "sites": Curve("sites", (1, 10, 100, 1_000, 5_000), lambda case, n: replace(case, sites=int(n))),
    "batch": Curve(
        "most hits in a unit of work",
        (50, 200, 1_000, 2_000, 10_000),
        lambda case, n: replace(case, unit=int(n)),
    ),
    "visit": Curve(
        "mean hits per visit", (1, 2, 5.4, 20, 100), lambda case, n: replace(case, more_hits=n - 1)
    ),
    "processors": Curve("processors", (1, 2), lambda case, n: replace(case, processors=int(n))),
    "bulk": Curve(
        "hits in a bulk request",
        (2, 10, 50, 200, 1_000),
        lambda case, n: replace(case, bulk=int(n)),
        measure_ingest,
    ),
    "ingest": Curve(
        "ingest processes", (1, 2), lambda case, n: replace(case, ingests=int(n)), measure_ingest
    ),
    "insert": Curve(
        "most rows of a table in an insert",
        (1_000, 5_000, 20_000, 50_000, 200_000),
        lambda case, n: replace(case, insert=int(n), hits=10 * case.hits),
        measure_sink,
        "rows",
    ),
}


def plot(name: str, curve: Curve, points: Sequence[Mapping[str, float]], folder: Path) -> bool:
    try:
        import matplotlib
    except ImportError:
        return False
    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "hitstream"
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(5, 3.2))
    at = [point["at"] for point in points]
    rates = [point["per_s"] for point in points]
    apart = [point["per_s"] * point["per_s_spread"] / 2 for point in points]
    axes.errorbar(at, rates, yerr=apart, marker="o", capsize=3, color="C0")
    axes.set(xlabel=curve.label, ylabel=f"{curve.counted}/s", ylim=(0, None))
    if len(at) > 2:
        axes.set_xscale("log")
    axes.set_xticks(at, [f"{value:,.7g}" for value in at])
    axes.minorticks_off()
    cpu = axes.twinx()
    cpu.plot(at, [point["us_cpu"] for point in points], marker="x", linestyle=":", color="C1")
    cpu.set(ylabel=f"µs of CPU per {curve.counted[:-1]} (dotted)", ylim=(0, None))
    figure.tight_layout()
    folder.mkdir(exist_ok=True)
    figure.savefig(folder / f"{name}.svg", metadata={"Date": None})
    pyplot.close(figure)
    return True


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", default=",".join(CURVES))
    parser.add_argument("--hits", type=int, default=30_000)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--json", type=Path, help="where the figures go; by default bench/curves.json")
    parser.add_argument("--plots", type=Path, default=HERE / "curves")
    options = parser.parse_args()
    curves = {name: CURVES[name] for name in options.only.split(",")}
    results: dict[str, object] = {}
    with tempfile.TemporaryDirectory(prefix="hitstream-curves-") as folder:
        for name, curve in curves.items():
            print(f"{curve.label:>34} {curve.counted + '/s':>10} {'spread':>7} {'us CPU':>8} {'MiB':>6}")
            found = []
            for at in curve.points:
                case = curve.of(Case(hits=options.hits), at)
                medians, spreads = repeated(partial(curve.measure, Path(folder), case), options.repeat)
                found.append({"at": at, **medians, "per_s_spread": spreads["per_s"]})
                print(
                    f"{at:>34,g} {medians['per_s']:>10,.0f} {'±' + format(spreads['per_s'] / 2, '.0%'):>7}"
                    f" {medians['us_cpu']:>8.1f} {medians['peak_mib']:>6.0f}",
                    flush=True,
                )
            results[name] = found
            if not plot(name, curve, found, options.plots):
                print("matplotlib is not installed: nothing is plotted", file=sys.stderr)
    file = options.json or (HERE / "curves.json" if curves.keys() == CURVES.keys() else None)
    if file is None:
        print("some curves only: bench/curves.json is left as it is", file=sys.stderr)
    else:
        content = {**results, "hits": options.hits, "repetitions": options.repeat, "machine": machine()}
        file.write_text(json.dumps(content, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
