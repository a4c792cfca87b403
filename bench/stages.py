"""Each stage on its own: ingest, a processor, sink, archives, bytes on disk."""

import json
import os
import random
import subprocess
import sys
import time
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from bench.lifelike_rows import lifelike_rows
from bench.measure import Result, cpu_seconds, peak_mib
from bench.sender import pack
from bench.traffic import TrafficHit, traffic
from hitstream.client import InstanceClient, InstanceError
from hitstream.engine import clickhouse_dsn
from hitstream.ports import free_port
from processors.owners import OWNERS_TABLE, owner_key
from processors.processor import INPUTS
from processors.service import GROUP
from schemas.config import ConfigEvent, Goal, Site, encode_config_event
from schemas.rows import encode_output
from schemas.topics import partition_of
from sink.archives import archive_day
from sink.database import Database, database_name
from sink.loop import Sink
from stream.embedded import EmbeddedLog
from stream.opening import log_directory

TOKEN = "bench-bench-bench-bench-bench-00"
ROOT = Path(__file__).parent.parent
PARTITIONS = 8


def single_requests(hits: Sequence[TrafficHit], now: int) -> list[bytes]:
    """GET requests as browsers send them; late hits carry their time and a token."""
    return [
        (
            f"GET /matomo.php?{hit.query}{_late(hit, now)} HTTP/1.1\r\nHost: 127.0.0.1\r\n"
            f"User-Agent: {hit.agent}\r\nAccept: image/avif,image/webp,*/*\r\n"
            "Accept-Language: en-US,en;q=0.5\r\nAccept-Encoding: gzip, deflate, br\r\n"
            f"X-Forwarded-For: {_address(hit)}\r\n"
            "Referer: https://www.example.com/\r\nConnection: keep-alive\r\n\r\n"
        ).encode()
        for hit in hits
    ]


BEHIND_PROXY = {"HITSTREAM_TRUSTED_PROXIES": "127.0.0.1"}
"""Ingest takes the visitors' addresses from the generator: from one address their fingerprints would be the
same, and most of them one visitor."""


def _address(hit: TrafficHit) -> str:
    """Every visitor has one address."""
    visitor = int(hit.query.partition("&_id=")[2][:16], 16)
    return f"10.{visitor >> 16 & 255}.{visitor >> 8 & 255}.{visitor & 255}"


def _late(hit: TrafficHit, now: int) -> str:
    return f"&cdt={now - hit.seconds_late}&token_auth={TOKEN}" if hit.seconds_late else ""


def bulk_requests(hits: Sequence[TrafficHit], now: int, size: int = 200) -> list[bytes]:
    """POST requests of `size` hits, with a token, each hit with its visitor's agent and address; late hits
    carry their time, the others happen when they arrive."""
    found = []
    for start in range(0, len(hits), size):
        queries = [
            f"?{hit.query}&ua={_quoted(hit.agent)}&cip={_address(hit)}"
            + (f"&cdt={now - hit.seconds_late}" if hit.seconds_late else "")
            for hit in hits[start : start + size]
        ]
        body = json.dumps({"requests": queries, "token_auth": TOKEN}).encode()
        head = (
            "POST /matomo.php HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\nConnection: keep-alive\r\n\r\n"
        ).encode()
        found.append(head + body)
    return found


def _quoted(text: str) -> str:
    return text.replace("%", "%25").replace(" ", "+").replace("&", "%26").replace(";", "%3B")


def send(
    requests: list[bytes], port: int, folder: Path, *, connections: int, rate: float = 0.0
) -> dict[str, Any]:
    """Runs the generator in a process of its own; returns what it measured."""
    return sent(start_sending(requests, port, folder, connections=connections, rate=rate))


def sent(sender: "subprocess.Popen[str]") -> dict[str, Any]:
    """What a generator measured, once it is through. Raises RuntimeError when a request was refused."""
    output, _ = sender.communicate()
    if sender.returncode:
        raise RuntimeError(f"the generator ended with {sender.returncode}")
    found: dict[str, Any] = json.loads(output)
    wrong = {status: count for status, count in found["statuses"].items() if status not in ("200", "204")}
    if wrong:
        raise RuntimeError(f"not all requests were accepted: {found['statuses']}")
    return found


def start_sending(
    requests: list[bytes], port: int, folder: Path, *, connections: int, rate: float = 0.0
) -> "subprocess.Popen[str]":
    """The generator process; prints its JSON line at the end."""
    file = folder / f"requests-{len(requests)}-{rate:g}"
    file.write_bytes(pack(requests))
    return start_sending_file(file, port, connections=connections, rate=rate)


def start_sending_file(
    file: Path, port: int, *, connections: int, rate: float = 0.0
) -> "subprocess.Popen[str]":
    """As `start_sending`, of requests that were packed before."""
    arguments = [str(file), "127.0.0.1", str(port), str(connections), str(rate)]
    return subprocess.Popen(
        [sys.executable, "-m", "bench.sender", *arguments], stdout=subprocess.PIPE, text=True, cwd=ROOT
    )


def site_events(now_ms: int, sites: int = 1) -> list[ConfigEvent]:
    """Sites with a manual goal each, and a pattern goal that one URL in fifty matches."""
    urls = ("https://www.example.com",)
    return [
        event
        for site in range(1, sites + 1)
        for event in (
            ConfigEvent(at=now_ms, site=Site(site_id=site, name="Bench", urls=urls, ecommerce=True)),
            ConfigEvent(
                at=now_ms, goal=Goal(site_id=site, goal_id=1, name="By hand", match_attribute="manually")
            ),
            ConfigEvent(at=now_ms, goal=Goal(site_id=site, goal_id=2, name="River", pattern="/river/lamp")),
        )
    ]


def prepare_log(data_dir: Path) -> EmbeddedLog:
    log = EmbeddedLog(log_directory(data_dir), PARTITIONS)
    appender = log.appender("config")
    appender.append([(0, b"", encode_config_event(event)) for event in site_events(int(time.time() * 1000))])
    appender.close()
    return log


@contextmanager
def stage(
    command: Sequence[str], data_dir: Path, settings: Mapping[str, str]
) -> Iterator["subprocess.Popen[bytes]"]:
    """One process of Hitstream alone."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("HITSTREAM_")}
    environment |= {"HITSTREAM_DATA_DIR": str(data_dir), "HITSTREAM_ADMIN_TOKEN": TOKEN, **settings}
    output = (data_dir / f"{command[0]}.log").open("ab")
    process = subprocess.Popen(
        [sys.executable, "-m", "hitstream", *command], env=environment, cwd=ROOT, stdout=output, stderr=output
    )
    try:
        yield process
    finally:
        process.terminate()
        process.wait(60)


def wait_for_ready(port: int) -> None:
    client = InstanceClient(f"http://127.0.0.1:{port}", TOKEN, timeout=10)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            if client.request("GET", "/health/ready")[0] == 200:
                client.close()
                return
        except InstanceError:
            pass
        time.sleep(0.05)
    raise RuntimeError("ingest did not become ready")


def bench_accept(data_dir: Path, singles: int, bulks: int) -> Result:
    """Ingest alone; both rates include the generator on the same machine. The hits stay on the log."""
    log = prepare_log(data_dir)
    port = free_port()
    now = int(time.time())
    with stage(["ingest"], data_dir, {"HITSTREAM_PORT": str(port), **BEHIND_PROXY}) as ingest:
        wait_for_ready(port)
        send(single_requests(list(traffic(2_000, seed=9)), now), port, data_dir, connections=32)
        used = cpu_seconds(ingest.pid)
        single = send(single_requests(list(traffic(singles, seed=1)), now), port, data_dir, connections=64)
        single_cpu = cpu_seconds(ingest.pid) - used
        used = cpu_seconds(ingest.pid)
        requests = bulk_requests(list(traffic(bulks, seed=2)), now)
        bulk = send(requests, port, data_dir, connections=4)
        bulk_cpu = cpu_seconds(ingest.pid) - used
        peak = peak_mib(ingest.pid)
    stored = log.sizes()["hits"] / (2_000 + singles + bulks)
    log.close()
    return {
        "accept_single_hits_s": singles / single["seconds"],
        "accept_single_p50_ms": single["p50_ms"],
        "accept_single_p99_ms": single["p99_ms"],
        "accept_single_us_cpu": 1e6 * single_cpu / singles,
        "accept_bulk_hits_s": bulks / bulk["seconds"],
        "accept_bulk_us_cpu": 1e6 * bulk_cpu / bulks,
        "accept_bulk_sender_us_cpu": 1e6 * bulk["cpu_seconds"] / bulks,
        "accept_peak_mib": peak,
        "bulk_wire_bytes_per_hit": sum(map(len, requests)) / bulks,
        "log_bytes_per_hit": stored,
    }


def accept_in_bulk(data_dir: Path, hits: int, *, processes: int, size: int = 200) -> Result:
    """Ingest processes on one log, as `hitstream up` starts them with HITSTREAM_INGEST_PROCESSES; each with a
    generator of its own, which sends all the hits of its visitors, `size` in a request."""
    prepare_log(data_dir).close()
    now = int(time.time())
    shares: list[list[TrafficHit]] = [[] for _ in range(processes)]
    for hit in traffic(hits, seed=4):
        shares[zlib.crc32(_address(hit).encode()) % processes].append(hit)
    ports = [free_port() for _ in shares]
    files = [data_dir / f"share{port}" for port in ports]
    with ExitStack() as stack:
        ingests = [
            stack.enter_context(
                stage(
                    ["ingest"],
                    data_dir,
                    {"HITSTREAM_PORT": str(port), "HITSTREAM_INGEST_NUMBER": str(number), **BEHIND_PROXY},
                )
            )
            for number, port in enumerate(ports)
        ]
        for port, file, share in zip(ports, files, shares, strict=True):
            file.write_bytes(pack(bulk_requests(share, now, size)))
            wait_for_ready(port)
            send(bulk_requests(share[:2_000], now, size), port, data_dir, connections=4)
        used = sum(cpu_seconds(ingest.pid) for ingest in ingests)
        senders = [
            start_sending_file(file, port, connections=4) for file, port in zip(files, ports, strict=True)
        ]
        found = [sent(sender) for sender in senders]
        used = sum(cpu_seconds(ingest.pid) for ingest in ingests) - used
        peak = max(peak_mib(ingest.pid) for ingest in ingests)
    ended_at = max(one["began_at"] + one["seconds"] for one in found)
    return {
        "hits_s": hits / (ended_at - min(one["began_at"] for one in found)),
        "us_cpu": 1e6 * used / hits,
        "sender_us_cpu": 1e6 * sum(one["cpu_seconds"] for one in found) / hits,
        "peak_mib": peak,
    }


def bench_two_accept(data_dir: Path, hits: int) -> Result:
    """Two ingest processes on one log."""
    found = accept_in_bulk(data_dir, hits, processes=2)
    return {f"accept_two_bulk_{name}": value for name, value in found.items()}


def put_owners(log: EmbeddedLog, count: int) -> None:
    """`count` owners in the processors' state: copies of records that real hits left there."""
    worker = log.worker(GROUP, INPUTS, range(log.partitions))
    rng = random.Random(3)
    samples = [value for _, value in worker.state(0).scan(OWNERS_TABLE, b"", b"\xff" * 13, limit=2_000)]
    by_partition: list[list[tuple[bytes, bytes]]] = [[] for _ in range(log.partitions)]
    for number in range(count):
        owner = rng.getrandbits(64)
        record = samples[number % len(samples)]
        by_partition[partition_of(owner, log.partitions)].append((owner_key(1, owner), record))
    for partition, items in enumerate(by_partition):
        for start in range(0, len(items), 10_000):
            worker.state(partition).put_many(OWNERS_TABLE, items[start : start + 10_000])
            worker.commit([])
    worker.close()


def bench_processor(data_dir: Path, owners: int) -> Result:
    """One processor on the hits that `bench_accept` left, with `owners` in its state.

    Per core: divided by wall time or by CPU time of all its threads, whichever is more."""
    log = EmbeddedLog(log_directory(data_dir))
    reader = log.reader()
    total = sum(reader.end_offsets("hits").values())

    def consumed() -> int:
        return sum(offset for place, offset in log.committed(GROUP).items() if place.topic == "hits")

    def run_until(limit: int) -> tuple[int, float, float, float]:
        """Hits, wall and CPU seconds, from the first commit seen until `limit` hits are consumed; and the
        most memory in MiB."""
        begin = consumed()
        with stage(["processor"], data_dir, {}) as process:
            while (first := consumed()) == begin:
                time.sleep(0.02)
                if process.poll() is not None:
                    raise RuntimeError("the processor ended: see processor.log")
            began, used = time.perf_counter(), cpu_seconds(process.pid)
            while (now := consumed()) < limit:
                time.sleep(0.05)
            wall, cpu = time.perf_counter() - began, cpu_seconds(process.pid) - used
            return now - first, wall, cpu, peak_mib(process.pid)

    run_until(min(total, 20_000))
    put_owners(log, owners)
    hits, wall, cpu, peak = run_until(total)
    reader.close()
    log.close()
    return {
        "process_hits_s_core": hits / max(wall, cpu),
        "process_us_cpu": 1e6 * cpu / hits,
        "process_owners": owners,
        "process_peak_mib": peak,
    }


ROWS = ("visits", "actions", "conversions", "conversion_items")


def _bytes_of(database: Database, tables: Sequence[str]) -> int:
    """On disk, of the parts that are current."""
    found = database.rows(
        "SELECT sum(bytes_on_disk) FROM system.parts WHERE active AND database = {name:String}"
        " AND table IN {tables:Array(String)}",
        {"name": database.name, "tables": list(tables)},
    )
    return int(found[0][0])


def bench_raw_hits(data_dir: Path) -> Result:
    """The hits that `bench_accept` left, in the database."""
    log = EmbeddedLog(log_directory(data_dir))
    database = Database(clickhouse_dsn(data_dir), database_name(log.epoch))
    database.open()
    Sink(log, database).run_to_end()
    before_merges = _bytes_of(database, ["hits"])
    database.command("OPTIMIZE TABLE hits FINAL")
    found = {
        "bytes_per_raw_hit": _bytes_of(database, ["hits"]),
        "bytes_per_raw_hit_before_merges": before_merges,
    }
    hits = int(database.rows("SELECT count() FROM hits")[0][0])
    database.close()
    log.close()
    return {name: value / hits for name, value in found.items()}


def put_rows(log: EmbeddedLog, actions: int, first_day: int) -> int:
    """Rows as processors emit them for `actions` actions of 7 days; returns how many."""
    worker = log.worker(GROUP, ["hits"], range(PARTITIONS))
    rows = 0
    for number, (visit, action, conversion) in enumerate(lifelike_rows(actions, days=7, first_day=first_day)):
        partition = partition_of(visit.owner, PARTITIONS)
        key = visit.owner.to_bytes(8, "big")
        worker.emit(partition, "visits", [(key, encode_output(visit))])
        worker.emit(partition, "actions", [(key, encode_output(action))])
        rows += 2
        if conversion is not None:
            worker.emit(partition, "conversions", [(key, encode_output(conversion))])
            rows += 1
        if number % 5_000 == 0:
            worker.commit([])
    worker.commit([])
    worker.close()
    return rows


def bench_tables(data_dir: Path, actions: int) -> Result:
    """Sink, bytes on disk and archives, of `actions` actions of 7 days."""
    log = EmbeddedLog(log_directory(data_dir), PARTITIONS)
    first_day = int(time.time()) // 86400 - 10
    rows = put_rows(log, actions, first_day)
    database = Database(clickhouse_dsn(data_dir), database_name(log.epoch))
    database.open()
    began = time.perf_counter()
    Sink(log, database).run_to_end()
    stored = time.perf_counter() - began
    before_merges = _bytes_of(database, ROWS)
    for table in ("visits", "actions", "conversions"):
        database.command(f"OPTIMIZE TABLE {table} FINAL")
    merged = _bytes_of(database, ROWS)
    began = time.perf_counter()
    for day in range(first_day, first_day + 7):
        archive_day(database, 1, date(1970, 1, 1) + timedelta(days=day))
    archived = time.perf_counter() - began
    database.close()
    log.close()
    return {
        "sink_rows_s": rows / stored,
        "bytes_per_action": merged / actions,
        "bytes_per_action_before_merges": before_merges / actions,
        "archive_s_per_million": archived * 1e6 / actions,
    }
