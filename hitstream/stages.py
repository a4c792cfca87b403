"""Runs one stage as a process: `hitstream ingest`, `processor`, `sink` ..., alone or under the supervisor."""

import asyncio
import contextlib
import logging
import signal
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from hitstream.child import end_with_supervisor
from hitstream.data_directory import stored_token
from schemas.settings import SettingsError, load_settings
from stream.protocol import LogError, LogMismatchError, LogResetError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from hitstream.sink_process import Share
    from sink.database import Place
    from sink.encoding import SiteDay
    from stream.opening import LogSettings
    from stream.protocol import Log

EXIT_SETTINGS = 78


def run_stage(command: str, partitions: str) -> int:
    """Returns the exit status; 78 when a restart would not help."""
    end_with_supervisor()
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    try:
        match command:
            case "ingest":
                return _run_ingest()
            case "processor":
                return _run_processor(partitions)
            case "sink":
                return _run_sink(partitions)
            case "rollups":
                return _run_rollups()
            case "reporting":
                return _run_database(stores=False)
            case _:
                return _run_database(stores=True)
    except LogMismatchError as error:
        print(f"hitstream: {error}", file=sys.stderr)
        return EXIT_SETTINGS
    except LogError as error:
        print(f"hitstream: {error}", file=sys.stderr)
        return 1


def parse_partitions(text: str, partitions: int) -> list[int]:
    """`0-3,7` as numbers; all when empty. Raises SettingsError."""
    if not text.strip():
        return list(range(partitions))
    found: set[int] = set()
    for part in text.split(","):
        first, _, last = part.strip().partition("-")
        if not first.isdigit() or (last and not last.isdigit()):
            raise SettingsError(f"--partitions {text}: expected numbers and ranges such as 0-3,7")
        found |= set(range(int(first), int(last or first) + 1))
    beyond = sorted(number for number in found if number >= partitions)
    if beyond:
        raise SettingsError(
            f"--partitions {text}: the log has partitions 0 to {partitions - 1}, not {beyond[0]}"
        )
    return sorted(found)


def _run_ingest() -> int:
    from ingest.server import run
    from ingest.settings import IngestSettings

    return run(load_settings(IngestSettings))


def _run_processor(partitions: str) -> int:
    from hitstream.exposition import StageServer
    from hitstream.processor_metrics import ProcessorMetrics
    from processors.service import ProcessorService
    from processors.settings import ProcessorSettings
    from stream.opening import open_log

    settings = load_settings(ProcessorSettings)
    numbers: list[int] | None = None
    if not settings.kafka:
        numbers = parse_partitions(partitions, settings.partitions)
    elif partitions.strip():
        raise SettingsError(
            f"--partitions {partitions}: on a broker the processors share the partitions out among"
            " themselves; leave it out"
        )
    stop = _stop_on_signals()
    metrics = ProcessorMetrics()
    server = StageServer(
        settings.metrics_host, settings.processor_metrics_port, metrics.text, metrics.problem
    )
    while not stop.is_set():
        # The service returns when the instance was emptied: then the log is opened anew.
        log = open_log(settings)
        try:
            service = metrics.service = ProcessorService(settings, numbers, log, metrics.counts)
            service.run(stop)
        except LogResetError:
            continue
        finally:
            metrics.service = None
            log.close()
    server.close()
    return 0


def _stop_on_signals() -> threading.Event:
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    return stop


def _server_of(command: str, data_dir: Path) -> "Place":
    """Raises SettingsError when no server is named."""
    from hitstream.engine import database_place
    from sink.settings import ClickHouseSettings

    clickhouse = load_settings(ClickHouseSettings)
    if not clickhouse.clickhouse:
        raise SettingsError(
            f"hitstream {command} needs a ClickHouse server: set HITSTREAM_CLICKHOUSE, or run"
            " `hitstream database`, which holds chDB and does the work of sink, rollups and reporting"
        )
    return database_place(data_dir, clickhouse)


def _run_sink(partitions: str) -> int:
    from hitstream.settings import StageSettings
    from hitstream.sink_process import SinkProcess
    from sink.settings import SinkSettings
    from stream.opening import open_log

    settings = load_settings(StageSettings)
    place = _server_of("sink", settings.data_dir)
    with _marks(settings) as changed:
        SinkProcess(
            settings,
            load_settings(SinkSettings),
            place,
            lambda: open_log(settings),
            lambda log: _share(log, partitions),
            changed,
        ).run(_stop_on_signals())
    return 0


def _share(log: "Log", partitions: str) -> "Share":
    """The partitions that are named, else all of an embedded log; on a broker what the sinks agree on."""
    from hitstream.sink_process import NamedShare
    from stream.embedded import EmbeddedLog

    if partitions.strip() or isinstance(log, EmbeddedLog):
        return NamedShare(parse_partitions(partitions, log.partitions))
    from stream.kafka import KafkaLog
    from stream.kafka_share import PartitionShare

    assert isinstance(log, KafkaLog)
    return PartitionShare(log, "sinks")


@contextlib.contextmanager
def _marks(settings: "LogSettings") -> "Iterator[Callable[[int, set[SiteDay]], None]]":
    """What tells rollup workers of changed days: the topic of marks on a broker, else only their sweep."""
    from stream.opening import kafka_connection, open_log

    if not settings.kafka:
        yield lambda _epoch, _days: None
        return
    from stream.kafka_marks import MarkSender

    log = open_log(settings)
    partitions = log.partitions
    log.close()
    sender = MarkSender(kafka_connection(settings), settings.kafka_prefix, partitions)
    try:
        yield sender.changed
    finally:
        sender.close()


def _run_rollups() -> int:
    from hitstream.rollup_process import RollupProcess
    from hitstream.settings import StageSettings
    from sink.settings import RollupSettings
    from stream.opening import kafka_connection, open_log

    settings, rollups = load_settings(StageSettings), load_settings(RollupSettings)
    place = _server_of("rollups", settings.data_dir)
    if settings.kafka:
        options = kafka_connection(settings).options
        try:
            from hitstream.rollup_worker import run_worker
        except ImportError as error:
            raise SettingsError(
                f"rollups on a broker need a package that is missing ({error}):"
                " pip install 'hitstream[cluster]'"
            ) from None
        run_worker(settings, place, options)
        return 0
    RollupProcess(settings, rollups, place, lambda: open_log(settings)).run(_stop_on_signals())
    return 0


def _run_database(*, stores: bool) -> int:
    import dataclasses

    from hitstream.database_process import serve
    from hitstream.settings import DatabaseSettings
    from reporting.sql_endpoint import SqlSettings
    from sink.settings import ClickHouseSettings, RollupSettings, SinkSettings

    settings = load_settings(DatabaseSettings)
    if not stores:
        _server_of("reporting", settings.data_dir)
    token = settings.admin_token or stored_token(settings.data_dir)
    settings = dataclasses.replace(settings, admin_token=token)
    with contextlib.nullcontext(None) if stores else _marks(settings) as changed:
        told = {"on_site_days": changed} if changed else {}
        asyncio.run(
            serve(
                settings,
                load_settings(SinkSettings),
                load_settings(SqlSettings),
                load_settings(ClickHouseSettings),
                load_settings(RollupSettings),
                stores=stores,
                **told,
            )
        )
    return 0
