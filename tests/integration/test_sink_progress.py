"""What `complete_until` promises: everything accepted before that moment is in the tables."""

import threading
import time
from pathlib import Path

from schemas.hit import encode_hit
from schemas.rows import encode_output
from sink.database import Database
from sink.loop import Sink
from sink.progress import Progress, Stage
from sink.settings import SinkSettings
from stream.embedded import EmbeddedLog
from tests.builders import a_hit
from tests.rows import an_action


def accept(log: EmbeddedLog, hit_id: int) -> None:
    appender = log.appender("hits")
    appender.append([(0, b"", encode_hit(a_hit(hit_id=hit_id)))])
    appender.close()


def process_one(log: EmbeddedLog, hit_id: int) -> None:
    worker = log.worker("processors", ["hits"], [0, 1])
    batches = worker.poll(10, 1.0)
    worker.emit(0, "actions", [(b"", encode_output(an_action(hit_id)))])
    worker.commit(batches)
    worker.close()


def test_a_moment_is_complete_only_when_its_hits_were_processed_and_stored(
    tmp_path: Path, database: Database
) -> None:
    log = EmbeddedLog(tmp_path / "log", partitions=2)
    sink = Sink(log, database, SinkSettings(sink_flush_seconds=0.01))
    progress = Progress(log, sink, stages=[Stage("processors", ("hits",))])
    threads = [threading.Thread(target=run) for run in (sink.run, progress.run)]
    for thread in threads:
        thread.start()
    try:
        assert progress.wait_until(time.time() - 1, 30.0)
        accept(log, 1)
        accepted = time.time()
        assert not progress.wait_until(accepted, 1.0)
        process_one(log, 1)
        assert progress.wait_until(accepted, 30.0)
        assert database.rows("SELECT hit_id FROM actions FINAL") == [(1,)]
        assert progress.complete_until >= accepted
    finally:
        progress.stop()
        sink.stop()
        for thread in threads:
            thread.join(30)
    assert not any(thread.is_alive() for thread in threads)


def test_stopping_the_sink_stores_what_it_had_read(tmp_path: Path, database: Database) -> None:
    log = EmbeddedLog(tmp_path / "log", partitions=2)
    sink = Sink(log, database, SinkSettings(sink_flush_seconds=1000, sink_hits_flush_seconds=1000))
    thread = threading.Thread(target=sink.run)
    thread.start()
    accept(log, 1)
    process_one(log, 1)
    deadline = time.monotonic() + 30
    while not any(pending.entries for pending in sink._pending.values()) and time.monotonic() < deadline:
        time.sleep(0.02)
    sink.stop()
    thread.join(30)
    assert database.rows("SELECT count() FROM hits") == [(1,)]
