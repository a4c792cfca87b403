"""kill -9 at named points between any two steps: all tables equal an undisturbed run of the same hits."""

import shutil
from pathlib import Path

import pytest

from tests.builders import config_events
from tests.faults.instance import Instance, fill_log, tables_of, tallied
from tests.faults.traffic import GOALS, SITE, some_hits

HITS = some_hits(3000, seed=11)
ROWS = ("visits", "actions", "conversions", "conversion_items", "hits", "dead")

POINTS = (
    ("processor", "processor.polled:2"),
    ("processor", "processor.processed:3"),
    ("processor", "log.committing:3"),
    ("processor", "log.committed:5"),
    ("processor", "processor.committed:2"),
    ("database", "sink.read:3"),
    ("database", "sink.inserted.visits:1"),
    ("database", "sink.inserted.actions:1"),
    ("database", "sink.before_ledger:2"),
    ("database", "sink.after_ledger:2"),
    ("database", "sink.released:1"),
)


def run(data_dir: Path, crash_at: dict[str, str]) -> tuple[dict[str, list[str]], Instance]:
    fill_log(data_dir, config_events(goals=GOALS, **SITE), HITS)
    instance = Instance(data_dir, crash_at)
    instance.start()
    try:
        instance.drain()
    finally:
        instance.stop()
    return tables_of(data_dir), instance


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    tables, instance = run(tmp_path_factory.mktemp("undisturbed"), {})
    assert instance.deaths == 0
    assert tallied(tables) == len(HITS)
    assert len(tables["conversions"]) > 100
    return tables


@pytest.mark.parametrize(("process", "point"), POINTS, ids=[point for _, point in POINTS])
def test_a_kill_at_any_point_changes_no_table(
    process: str, point: str, undisturbed: dict[str, list[str]], tmp_path: Path
) -> None:
    tables, instance = run(tmp_path, {process: point})
    assert instance.deaths == 1
    if process == "processor":
        assert instance.lag_at_death[0] > 0
    for table in ROWS:
        assert tables[table] == undisturbed[table], table
    assert tallied(tables) == len(HITS)
    shutil.rmtree(tmp_path)
