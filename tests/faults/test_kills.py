"""kill -9 at named points between any two steps: all tables equal an undisturbed run of the same hits."""

import shutil
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.builders import config_events
from tests.faults.instance import Instance, differences, fill_log, tables_of, tallied
from tests.faults.traffic import GOALS, SITE, some_hits

HITS = some_hits(3000, seed=11)

PROCESSOR_POINTS = (
    "processor.polled:2",
    "processor.processed:3",
    "log.committing:3",
    "log.committed:5",
    "processor.committed:2",
)
DATABASE_POINTS = (
    "sink.read:2",
    "sink.inserted.visits:1",
    "sink.inserted.actions:1",
    "sink.inserted.hits:2",
    "sink.before_ledger:2",
    "sink.after_ledger:2",
    "sink.released:1",
)
POINTS = [("processor", point) for point in PROCESSOR_POINTS] + [("database", p) for p in DATABASE_POINTS]

Tables = dict[str, list[str]]


def run(
    data_dir: Path, crash_at: Mapping[str, str], modules: Mapping[str, str] | None = None
) -> tuple[Tables, Instance]:
    fill_log(data_dir, config_events(goals=GOALS, **SITE), HITS)
    instance = Instance(data_dir, crash_at, modules=modules)
    instance.start()
    try:
        instance.drain()
    finally:
        instance.stop()
    tables = tables_of(data_dir)
    shutil.rmtree(data_dir)
    return tables, instance


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Tables:
    tables, instance = run(tmp_path_factory.mktemp("undisturbed"), {})
    assert instance.deaths == 0
    assert tallied(tables) == len(HITS)
    assert len(tables["conversions"]) > 100
    return tables


def test_kills_at_all_points_one_after_the_other_change_no_table(undisturbed: Tables, tmp_path: Path) -> None:
    """Each process dies at each of its points once; the short form of the tests below."""
    crash_at = {
        process: ",".join(point.partition(":")[0] for of, point in POINTS if of == process)
        for process in ("processor", "database")
    }
    tables, instance = run(tmp_path / "data", crash_at)
    assert instance.deaths == len(POINTS), instance.crashed
    assert differences(tables, undisturbed) == []


@pytest.mark.slow
@pytest.mark.parametrize(("process", "point"), POINTS, ids=[point for _, point in POINTS])
def test_a_kill_at_any_point_changes_no_table(
    process: str, point: str, undisturbed: Tables, tmp_path: Path
) -> None:
    tables, instance = run(tmp_path / "data", {process: point})
    assert instance.deaths == 1
    if process == "processor":
        assert instance.lag_at_death[0] > 0
    assert differences(tables, undisturbed) == []


def broken(process: str) -> dict[str, str]:
    return {process: "tests.faults.broken_order"}


@pytest.mark.parametrize("process", ["processor", "database"])
def test_a_kill_amid_a_wrong_order_of_commit_is_noticed(
    process: str, undisturbed: Tables, tmp_path: Path
) -> None:
    """Input offsets before outputs, the ledger before the rows: what the comparison above is good for."""
    tables, instance = run(tmp_path / "data", {process: "broken.between:3"}, broken(process))
    assert instance.deaths == 1
    assert differences(tables, undisturbed) != []


@pytest.mark.slow
@pytest.mark.parametrize("process", ["processor", "database"])
def test_a_wrong_order_of_commit_without_a_kill_shows_no_difference(
    process: str, undisturbed: Tables, tmp_path: Path
) -> None:
    """So it is the kill between the two steps that the test above notices."""
    tables, instance = run(tmp_path / "data", {}, broken(process))
    assert instance.deaths == 0
    assert differences(tables, undisturbed) == []
