"""kill -9 of the sink between any two steps: the tables become those of an undisturbed run."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from stream.embedded import EmbeddedLog
from tests.integration.sink_process import fill
from tests.waiting import PATIENCE_SECONDS

POINTS = (
    "sink.read:2",
    "sink.inserted.visits",
    "sink.inserted.tallies:2",
    "sink.before_ledger:3",
    "sink.after_ledger:2",
    "sink.released:4",
)


def run(*arguments: str, crash_at: str = "") -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "HITSTREAM_CRASH_AT": crash_at}
    return subprocess.run(
        [sys.executable, "-m", "tests.integration.sink_process", *arguments],
        env=environment,
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
    )


def show(directory: Path) -> dict[str, list[str]]:
    shown = run("show", str(directory))
    assert shown.returncode == 0, shown.stderr
    return dict(json.loads(shown.stdout))


@pytest.fixture(scope="module")
def log_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("log")
    fill(EmbeddedLog(directory, partitions=3), 400)
    return directory


@pytest.fixture(scope="module")
def undisturbed(log_directory: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    directory = tmp_path_factory.mktemp("undisturbed")
    finished = run("store", str(log_directory), str(directory))
    assert finished.returncode == 0, finished.stderr
    tables = show(directory)
    assert len(tables["hits"]) == 400
    assert len(tables["actions"]) == 400
    assert len(tables["tallies"]) == 400
    return tables


@pytest.mark.parametrize("point", POINTS)
def test_after_a_kill_the_tables_equal_an_undisturbed_run(
    point: str, log_directory: Path, undisturbed: dict[str, list[str]], tmp_path: Path
) -> None:
    killed = run("store", str(log_directory), str(tmp_path), crash_at=point)
    assert killed.returncode == -9, killed.stderr
    finished = run("store", str(log_directory), str(tmp_path))
    assert finished.returncode == 0, finished.stderr
    assert show(tmp_path) == undisturbed
