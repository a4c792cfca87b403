"""Our processor next to a Faust agent and a bare confluent-kafka consumer, on one topic with the same hits.

    python -m bench.consumers [--hits 100000] [--repeat 3] [--kafka host:port] [--json FILE]

Each reads the whole topic alone, in a process of its own; the first fifth warms up and is not counted. A
broker is started as for tests (Java and Maven are needed) unless one is named; its CPU is not counted.

    bare            consumes in batches, looks at nothing, commits offsets every two seconds
    faust           an agent, one event at a time, looks at nothing, commits as Faust does by itself
    faust_take      the same with take(1000)
    worker          our unit of work without work: polls, commits offsets in transactions
    processor       everything: visits, actions, state, tallies, changelog, in transactions
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from confluent_kafka import Consumer

from bench.logs import GROUP_SIZE, UNIT, entries_of
from bench.measure import Result, machine, peak_mib, repeated
from bench.stages import PARTITIONS, ROOT, site_events
from schemas.config import encode_config_event
from stream.kafka import KafkaLog, make_log
from stream.kafka_client import Connection
from stream.kafka_topics import TopicPlan
from tests.kafka.broker import running_broker

WARM_SHARE = 0.2
TAKEN = 1_000


class Gauge:
    """Counts messages; clocks start when the warm-up is over."""

    def __init__(self, total: int) -> None:
        self._total, self._warm = total, int(total * WARM_SHARE)
        self._count = self._begin = 0
        self._wall = self._cpu = 0.0

    def add(self, count: int) -> bool:
        """Whether all messages have come."""
        self._count += count
        if not self._begin and self._count >= self._warm:
            self._begin, self._wall, self._cpu = self._count, time.perf_counter(), time.process_time()
        return self._count >= self._total

    def figures(self) -> Result:
        wall, cpu = time.perf_counter() - self._wall, time.process_time() - self._cpu
        counted = self._count - self._begin
        return {
            "messages_s": counted / wall,
            # Threads of a client may use more than one core: then the core's share is what counts.
            "messages_s_core": counted / max(wall, cpu),
            "us_cpu": 1e6 * cpu / counted,
            "peak_mib": peak_mib(os.getpid()),
        }


def read_bare(log: KafkaLog, gauge: Gauge, group: str) -> None:
    consumer = Consumer(
        {
            "bootstrap.servers": log.connection.servers,
            "group.id": log.name(group),
            "auto.offset.reset": "earliest",
            "auto.commit.interval.ms": 2000,
            # Else the warm-up fetches all that is to be measured.
            "queued.min.messages": 2_000,
            "fetch.queue.backoff.ms": 10,
        }
    )
    consumer.subscribe([log.name("hits")])
    while not gauge.add(len(consumer.consume(UNIT, 0.1))):
        pass


def read_with_faust(log: KafkaLog, gauge: Gauge, group: str, *, take: bool = False) -> None:
    """Does not return: ends the process after printing, since Faust's own end takes seconds."""
    import faust

    app = faust.App(
        log.name(group),
        broker=f"kafka://{log.connection.servers}",
        consumer_auto_offset_reset="earliest",
        topic_partitions=PARTITIONS,
        topic_disable_leader=True,
        web_enabled=False,
        autodiscover=False,
        datadir=str(log.directory / "faust"),
    )
    topic = app.topic(
        log.name("hits"), key_type=bytes, value_type=bytes, key_serializer="raw", value_serializer="raw",
        partitions=PARTITIONS,
    )  # fmt: skip

    def finish() -> None:
        print(json.dumps(gauge.figures()), flush=True)
        os._exit(0)

    @app.agent(topic)
    async def read(stream: Any) -> None:
        if take:
            async for values in stream.take(TAKEN, within=1.0):
                if gauge.add(len(values)):
                    finish()
        else:
            async for _ in stream:
                if gauge.add(1):
                    finish()

    faust.Worker(app, loglevel="warning", redirect_stdouts=False).execute_from_commandline()


def read_with_worker(log: KafkaLog, gauge: Gauge, group: str) -> None:
    worker = log.worker(group, ["hits"], range(PARTITIONS))
    is_complete = False
    while not is_complete:
        batches = worker.poll(UNIT, 1.0)
        worker.commit(batches)
        is_complete = gauge.add(sum(len(batch.messages) for batch in batches))


def read_with_processor(log: KafkaLog, gauge: Gauge, group: str) -> None:
    from processors.agent_cache import AgentCache
    from processors.processor import INPUTS, Processor
    from processors.service import locale_of
    from rules.prepare import Lookups
    from stream.config import ConfigFollower

    worker = log.worker(group, INPUTS, range(PARTITIONS))
    lookups = Lookups(agent=AgentCache(log.directory / "agents.sqlite").get, locale=locale_of)
    processor = Processor(worker, ConfigFollower(log).at, lookups, time.time)
    is_complete = False
    while not is_complete:
        batches = worker.poll(UNIT, 1.0)
        for batch in batches:
            processor.process(batch)
        worker.commit(batches)
        is_complete = gauge.add(sum(len(batch.messages) for batch in batches if batch.topic == "hits"))


READERS: Mapping[str, Callable[[KafkaLog, Gauge, str], None]] = {
    "bare": read_bare,
    "faust": read_with_faust,
    "faust_take": lambda log, gauge, group: read_with_faust(log, gauge, group, take=True),
    "worker": read_with_worker,
    "processor": read_with_processor,
}


def run_reader(name: str, servers: str, prefix: str, directory: Path, total: int) -> Result:
    """In a process of its own, by `main` with `--reader`."""
    arguments = ["--reader", name, "--kafka", servers, "--prefix", prefix, "--hits", str(total)]
    found = subprocess.run(
        [sys.executable, "-m", "bench.consumers", *arguments, "--directory", str(directory)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    figures: Result = json.loads(found.stdout.splitlines()[-1])
    return {f"{name}_{figure}": value for figure, value in figures.items()}


def fill(servers: str, prefix: str, directory: Path, total: int) -> None:
    # Faust's client reads neither lz4 nor zstd without another library.
    connection = Connection(servers, {"compression.type": "none"})
    make_log(connection, prefix, TopicPlan(partitions=PARTITIONS))
    log = KafkaLog(connection, directory, prefix=prefix)
    config = log.appender("config")
    events = site_events(int(time.time() * 1000))
    config.append([(0, b"", encode_config_event(event)) for event in events])
    config.close()
    appender = log.appender("hits")
    entries = entries_of(total, len(events))
    for start in range(0, total, GROUP_SIZE):
        appender.append(entries[start : start + GROUP_SIZE])
    appender.close()
    log.close()


def compare(servers: str, total: int, repeat: int) -> tuple[Result, Result]:
    """Medians and spreads; each repetition runs all readers one after the other."""
    prefix = f"bench{uuid.uuid4().hex[:12]}"
    with tempfile.TemporaryDirectory(prefix="hitstream-bench-") as folder:
        fill(servers, prefix, Path(folder) / "filled", total)

        def run_all() -> Result:
            results: Result = {}
            for name in READERS:
                with tempfile.TemporaryDirectory(dir=folder) as directory:
                    results |= run_reader(name, servers, prefix, Path(directory), total)
            return results

        return repeated(run_all, repeat)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--hits", type=int, default=100_000)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--kafka", default="", help="a broker that runs already, as host:port")
    parser.add_argument("--json", type=Path)
    # Of a reader's own process.
    parser.add_argument("--reader", choices=tuple(READERS), help=argparse.SUPPRESS)
    parser.add_argument("--prefix", help=argparse.SUPPRESS)
    parser.add_argument("--directory", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.reader:
        log = KafkaLog(Connection(options.kafka), options.directory, prefix=options.prefix)
        gauge = Gauge(options.hits)
        READERS[options.reader](log, gauge, f"bench-{uuid.uuid4().hex[:8]}")
        print(json.dumps(gauge.figures()))
        return 0
    if options.kafka:
        os.environ["HITSTREAM_TEST_KAFKA"] = options.kafka
    before = machine()
    with running_broker() as servers:
        medians, spreads = compare(servers, options.hits, options.repeat)
    print(f"{'':<12} {'messages/s':>12} {'per core':>12} {'us CPU':>10} {'MiB':>8}  spread of messages/s")
    for name in READERS:
        rate, core, cpu, mib = (
            medians[f"{name}_{figure}"] for figure in ("messages_s", "messages_s_core", "us_cpu", "peak_mib")
        )
        apart = spreads[f"{name}_messages_s"]
        print(f"{name:<12} {rate:>12,.0f} {core:>12,.0f} {cpu:>10.1f} {mib:>8.0f}  ±{apart / 2:.0%}")
    if options.json:
        figures = {name: round(value, 3) for name, value in medians.items()}
        content = {**figures, "spread": spreads, "repetitions": options.repeat, "machine": before}
        options.json.write_text(json.dumps(content, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
