"""README's first commands on a fresh clone, as a newcomer runs them. Minutes long: packages are installed."""

import json
import os
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from hitstream.ports import free_port
from tests.waiting import PATIENCE_SECONDS

ROOT = Path(__file__).parent.parent.parent
INSTALL_SECONDS = 900.0


def run_until_ready(
    clone: Path, environment: dict[str, str], seconds: float
) -> tuple["subprocess.Popen[str]", str]:
    """`make run` in a group of its own; returns the process and what it printed."""
    began = time.monotonic()
    output = (clone / "run.log").open("w+")
    process = subprocess.Popen(
        ["make", "run"],
        cwd=clone,
        env=environment,
        stdout=output,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    while "Stop with Ctrl-C" not in (clone / "run.log").read_text():
        assert process.poll() is None, (clone / "run.log").read_text()
        assert time.monotonic() - began < seconds, (clone / "run.log").read_text()
        time.sleep(0.2)
    return process, (clone / "run.log").read_text()


def stop(process: "subprocess.Popen[str]") -> None:
    os.killpg(process.pid, signal.SIGINT)
    process.wait(PATIENCE_SECONDS)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_first_commands_of_the_readme_work_on_a_fresh_clone(tmp_path: Path) -> None:
    if shutil.which("git") is None or shutil.which("curl") is None or not (ROOT / ".git").exists():
        pytest.skip("needs git, curl and a clone of its own")
    clone = tmp_path / "clone"
    subprocess.run(["git", "clone", "-q", str(ROOT), str(clone)], check=True)
    port, sql_port = free_port(), free_port()
    environment = {name: value for name, value in os.environ.items() if not name.startswith("HITSTREAM_")}
    environment.pop("VIRTUAL_ENV", None)
    environment |= {"HITSTREAM_PORT": str(port), "HITSTREAM_SQL_PORT": str(sql_port)}
    process, printed = run_until_ready(clone, environment, INSTALL_SECONDS)
    try:
        lines = re.findall(r"^  (curl (?:[^\n]*\\\n)*[^\n]*)$", printed, re.MULTILINE)
        assert len(lines) == 2, printed
        subprocess.run(lines[0], shell=True, check=True, capture_output=True, cwd=clone)
        subprocess.run([str(clone / ".venv/bin/hitstream"), "drain"], check=True, cwd=clone, env=environment)
        answer = subprocess.run(lines[1], shell=True, check=True, capture_output=True, text=True, cwd=clone)
        assert [row["label"] for row in json.loads(answer.stdout)] == ["/hello"]
    finally:
        stop(process)
    process, printed = run_until_ready(clone, environment, PATIENCE_SECONDS)
    stop(process)
    assert "Installing" not in printed
    changed = subprocess.run(
        ["git", "status", "--short"], cwd=clone, capture_output=True, text=True, check=True
    )
    assert changed.stdout.replace("?? run.log\n", "") == ""
