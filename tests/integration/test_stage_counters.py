"""Counters of a stage's process go on while it lives, whatever ends inside it: a share, an epoch."""

import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from hitstream.rollup_process import RollupProcess
from hitstream.settings import StageSettings
from hitstream.sink_process import SinkProcess
from schemas.rows import encode_output
from sink.database import Database, Place, database_name
from sink.rollups import MINIMUM_ROWS
from sink.settings import RollupSettings, SinkSettings
from stream.embedded import EmbeddedLog
from tests.integration.sink_process import emit
from tests.integration.test_archives import age, store
from tests.rows import A_DAY, a_visit
from tests.waiting import wait_until

PARTITIONS = 2
VISITS = 'hitstream_sink_rows_total{table="visits"}'


@pytest.fixture
def place(database: Database) -> Iterator[Place]:
    """Where a process opens databases of its own."""
    place = Place(database.place.dsn, f"process_{database.name}")
    yield place
    found = database.rows("SELECT name FROM system.databases")
    for name in [str(name) for (name,) in found if str(name).startswith(place.views)]:
        database.command(f"DROP DATABASE {name}")


@contextmanager
def running(run: Callable[[threading.Event], None]) -> Iterator[None]:
    stop = threading.Event()
    thread = threading.Thread(target=run, args=(stop,))
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


class Shown:
    """What a process shows, read all the time: no counter goes back."""

    def __init__(self, metrics: Callable[[], str]) -> None:
        self._metrics = metrics
        self._counters: dict[str, float] = {}

    def read(self) -> dict[str, float]:
        text = self._metrics()
        counters = set(re.findall(r"^# TYPE (\S+) counter$", text, re.MULTILINE))
        values = {name: float(value) for name, value in re.findall(r"^([^#].*) (\S+)$", text, re.MULTILINE)}
        shown = {name: value for name, value in values.items() if name.partition("{")[0] in counters}
        for name, before in self._counters.items():
            assert shown.get(name, before) >= before, name
        self._counters |= shown
        return values

    def wait(self, name: str, value: float | None) -> None:
        """Until it has the value; None: until it is gone."""
        wait_until(lambda: self.read().get(name) == value, self._metrics)


class ChangingShare:
    """As a group may decide at any time."""

    def __init__(self) -> None:
        self.partitions: tuple[int, ...] = ()

    def close(self) -> None:
        """Nobody else is told."""


def test_a_sink_counts_on_when_its_share_changes_and_lags_only_with_what_it_owns(
    tmp_path: Path, place: Place
) -> None:
    log = EmbeddedLog(tmp_path / "log", PARTITIONS)
    emit(log, "visits", [encode_output(a_visit(number)) for number in range(3)], partition=0)
    emit(log, "visits", [encode_output(a_visit(number)) for number in range(3, 5)], partition=1)
    share = ChangingShare()
    process = SinkProcess(
        StageSettings(),
        SinkSettings(sink_flush_seconds=0.01),
        place,
        lambda: EmbeddedLog(tmp_path / "log", PARTITIONS),
        lambda _log: share,
    )
    shown = Shown(process.metrics)
    lag = 'hitstream_sink_lag_messages{table="visits"}'
    with running(process.run):
        share.partitions = (0,)
        shown.wait(VISITS, 3)
        shown.wait(lag, 0)
        share.partitions = ()
        shown.wait(lag, None)
        assert shown.read()[VISITS] == 3
        share.partitions = (1,)
        shown.wait(VISITS, 5)
        shown.wait(lag, 0)


def test_a_sink_counts_on_after_a_reset(tmp_path: Path, place: Place) -> None:
    log = EmbeddedLog(tmp_path / "log", 1)
    emit(log, "visits", [encode_output(a_visit(number)) for number in range(3)])
    share = ChangingShare()
    share.partitions = (0,)
    process = SinkProcess(
        StageSettings(),
        SinkSettings(sink_flush_seconds=0.01),
        place,
        lambda: EmbeddedLog(tmp_path / "log", 1),
        lambda _log: share,
    )
    shown = Shown(process.metrics)
    with running(process.run):
        shown.wait(VISITS, 3)
        log.reset()
        emit(EmbeddedLog(tmp_path / "log", 1), "visits", [encode_output(a_visit(7))])
        shown.wait(VISITS, 4)


def test_rollups_count_on_after_a_reset(tmp_path: Path, place: Place) -> None:
    log = EmbeddedLog(tmp_path / "log", 1)
    visits = [encode_output(a_visit(number, date=A_DAY)) for number in range(MINIMUM_ROWS)]

    def store_old_day(epoch: int) -> None:
        database = Database(place, database_name(epoch, place.views))
        database.open()
        store(database, 0, visits)
        age(database, 3600)
        database.close()

    process = RollupProcess(
        StageSettings(), RollupSettings(), place, lambda: EmbeddedLog(tmp_path / "log", 1)
    )
    computed = "hitstream_rollups_computed_total"
    store_old_day(log.epoch)
    store_old_day(log.epoch + 1)
    shown = Shown(process.metrics)
    with running(process.run):
        shown.wait(computed, 1)
        log.reset()
        shown.wait(computed, 2)
