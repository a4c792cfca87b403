"""Runs one process: `hitstream ingest`, `processor` or `database`, alone or under the supervisor."""

import asyncio
import logging
import signal
import sys
import threading

from hitstream.child import end_with_supervisor
from hitstream.data_directory import stored_token
from schemas.settings import SettingsError, load_settings
from stream.protocol import LogError, LogMismatchError, LogResetError

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
            case _:
                return _run_database()
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
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    while not stop.is_set():
        # The service returns when the instance was emptied: then the log is opened anew.
        log = open_log(settings)
        try:
            ProcessorService(settings, numbers, log).run(stop)
        except LogResetError:
            continue
        finally:
            log.close()
    return 0


def _run_database() -> int:
    import dataclasses

    from hitstream.database_process import serve
    from hitstream.settings import DatabaseSettings
    from reporting.sql_endpoint import SqlSettings
    from sink.settings import SinkSettings

    settings = load_settings(DatabaseSettings)
    token = settings.admin_token or stored_token(settings.data_dir)
    settings = dataclasses.replace(settings, admin_token=token)
    asyncio.run(serve(settings, load_settings(SinkSettings), load_settings(SqlSettings)))
    return 0
