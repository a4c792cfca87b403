"""The targets of the fuzzer take their seeds; what once broke them stays here."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.fuzz.targets import SEEDS, TARGETS


@pytest.mark.parametrize(("name", "seed"), [(name, seed) for name in TARGETS for seed in SEEDS[name]])
def test_targets_take_their_seeds(name: str, seed: bytes) -> None:
    TARGETS[name](seed)


@pytest.mark.slow
@pytest.mark.parametrize("name", list(TARGETS))
def test_nothing_breaks_the_parsers(name: str, tmp_path: Path) -> None:
    pytest.importorskip("atheris", reason="atheris is not installed: it has no wheels for some systems")
    command = [sys.executable, "-m", "tests.fuzz", name, "--seconds", "20", "--place", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
