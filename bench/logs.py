"""The log on a broker next to the embedded one, in one run: appending, processing, restoring state.

python -m bench.logs [--hits 40000] [--owners 1000000] [--kafka host:port]

Without --kafka the tests' broker is started (Java and Maven are needed). CPU seconds are of this process: the
broker's are not in them. The wall clock includes whatever else the machine does; look at the ratios.
"""

import argparse
import os
import random
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from bench.measure import Result
from bench.stages import PARTITIONS, site_events
from bench.traffic import MORE_HITS, traffic
from processors.agent_cache import AgentCache
from processors.owners import OWNERS_TABLE, owner_key
from processors.processor import INPUTS, Processor
from processors.service import GROUP, locale_of
from rules.prepare import Lookups
from schemas.config import encode_config_event
from schemas.hit import Hit, encode_hit
from schemas.topics import partition_of
from stream.config import ConfigFollower
from stream.embedded import EmbeddedLog
from stream.protocol import Log
from tests.kafka.broker import running_broker

Entries = Sequence[tuple[int, bytes, bytes]]
GROUP_SIZE = 500
UNIT = 2_000


def entries_of(
    count: int, config_offset: int, sites: int = 1, more_hits: float = MORE_HITS
) -> list[tuple[int, bytes, bytes]]:
    """Hits of the benchmarks' traffic as ingest puts them on the log; a visitor keeps to one of the sites."""
    now = int(time.time())
    found = []
    for number, sent in enumerate(traffic(count, seed=5, more_hits=more_hits)):
        owner = int(sent.query.partition("&_id=")[2][:16], 16)
        hit = Hit(
            hit_id=(number + 1) << 4,
            site_id=1 + (owner >> 20) % sites,
            time=now,
            received_at=now * 1000,
            owner=owner,
            visitor_id=owner,
            config_id=owner,
            query=sent.query,
            user_agent=sent.agent,
            ip="198.51.100.0",
            config_offset=config_offset,
        )
        found.append((partition_of(owner, PARTITIONS), owner.to_bytes(8, "big"), encode_hit(hit)))
    return found


class Clock:
    """Wall and CPU time of this process since it was made."""

    def __init__(self) -> None:
        self._began, self._used = time.perf_counter(), time.process_time()

    def per(self, count: int) -> tuple[float, float]:
        """Things per second, and CPU microseconds for each."""
        wall, cpu = time.perf_counter() - self._began, time.process_time() - self._used
        return count / wall, cpu / count * 1e6


def bench_log(name: str, log: Log, data_dir: Path, entries: Entries) -> Result:
    results: Result = {}
    config = log.appender("config")
    config.append([(0, b"", encode_config_event(event)) for event in site_events(int(time.time() * 1000))])
    config.close()
    appender = log.appender("hits")
    clock = Clock()
    for start in range(0, len(entries), GROUP_SIZE):
        appender.append(entries[start : start + GROUP_SIZE])
    results[f"{name}_append_hits_s"], results[f"{name}_append_us_cpu"] = clock.per(len(entries))
    clock = Clock()
    for start in range(200):
        appender.append(entries[start : start + 1])
    results[f"{name}_append_one_ms"] = 1000 / clock.per(200)[0]
    appender.close()

    worker = log.worker(GROUP, INPUTS, range(PARTITIONS))
    agents = AgentCache(data_dir / "agents.sqlite")
    lookups = Lookups(agent=agents.get, locale=locale_of)
    processor = Processor(worker, ConfigFollower(log).at, lookups, time.time)
    warm = len(entries) // 4
    hits, clock, measured = 0, Clock(), 0
    while batches := worker.poll(UNIT, 1.0):
        for batch in batches:
            processor.process(batch)
        worker.commit(batches)
        hits += sum(len(batch.messages) for batch in batches if batch.topic == "hits")
        if hits >= warm and not measured:
            # Agents are cached and state is there from now on.
            clock, measured = Clock(), hits
        if hits >= len(entries) + 200:
            break
    results[f"{name}_process_hits_s"], results[f"{name}_process_us_cpu"] = clock.per(hits - measured)
    worker.close()
    return results


def bench_restore(log: Log, elsewhere: Log, owners: int) -> Result:
    """Owners like those of real hits in the changelog of another group, restored by another machine."""
    worker = log.worker(GROUP, INPUTS, range(PARTITIONS))
    samples = [value for _, value in worker.state(0).scan(OWNERS_TABLE, b"", b"\xff" * 13, limit=2_000)]
    worker.close()
    rng = random.Random(3)
    worker = log.worker("restore", ["hits"], range(PARTITIONS))
    for start in range(0, owners, 50_000):
        heads: dict[int, list[tuple[bytes, bytes]]] = {partition: [] for partition in range(PARTITIONS)}
        for number in range(start, min(owners, start + 50_000)):
            owner = rng.getrandbits(64)
            heads[partition_of(owner, PARTITIONS)].append(
                (owner_key(1, owner), samples[number % len(samples)])
            )
        for partition, of_partition in heads.items():
            worker.state(partition).put_many(OWNERS_TABLE, of_partition)
        worker.commit([])
    worker.close()
    began, used = time.perf_counter(), time.process_time()
    elsewhere.worker("restore", ["hits"], range(PARTITIONS)).close()
    seconds, cpu = time.perf_counter() - began, time.process_time() - used
    return {
        "restore_owners": owners,
        "restore_s": seconds,
        "restore_us_cpu": cpu / owners * 1e6,
        "restore_bytes_per_owner": sum(map(len, samples)) / len(samples),
    }


@contextmanager
def kafka_logs(servers: str, folder: Path) -> Iterator[tuple[Log, Log]]:
    """A new log, opened from two directories."""
    from stream.kafka import KafkaLog, make_log
    from stream.kafka_client import Connection
    from stream.kafka_topics import TopicPlan

    connection, prefix = Connection(servers), f"bench{uuid.uuid4().hex[:12]}"
    make_log(connection, prefix, TopicPlan(partitions=PARTITIONS))
    logs = [KafkaLog(connection, folder / name, prefix=prefix) for name in ("one", "other")]
    yield logs[0], logs[1]
    for log in logs:
        log.close()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hits", type=int, default=40_000)
    parser.add_argument("--owners", type=int, default=1_000_000)
    parser.add_argument("--kafka", default="")
    options = parser.parse_args()
    if options.kafka:
        os.environ["HITSTREAM_TEST_KAFKA"] = options.kafka
    results: Result = {}
    entries = entries_of(options.hits, len(site_events(0)))
    with tempfile.TemporaryDirectory(prefix="hitstream-bench-") as name, running_broker() as servers:
        folder = Path(name)
        for place in ("embedded", "kafka"):
            (folder / place).mkdir()
        embedded = EmbeddedLog(folder / "embedded" / "log", PARTITIONS)
        results |= bench_log("embedded", embedded, folder / "embedded", entries)
        embedded.close()
        with kafka_logs(servers, folder / "kafka") as (log, elsewhere):
            results |= bench_log("kafka", log, folder / "kafka", entries)
            results |= bench_restore(log, elsewhere, options.owners)
    for key, value in results.items():
        print(f"{key:28} {value:14,.1f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
