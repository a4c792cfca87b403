"""The modules that decide about hits, compiled: they pass the tests of their sources."""

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from ingest.compiled import stale_modules

ROOT = Path(__file__).parents[2]
NEEDED = (
    "ingest", "rules", "schemas", "stream", "hitstream", "tests", "processors", "sink", "reporting",
    "pyproject.toml", "setup.py", "README.md", "LICENSE",
)  # fmt: skip
COMPILES_SECONDS = 900
ABOUT_DECISIONS = ("acceptance", "identity", "parameters", "requests")


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the program with compiled modules."""
    compiler = (sysconfig.get_config_var("CC") or "cc").split()[0]
    if shutil.which(compiler) is None:
        pytest.skip(f"nothing can be compiled: no {compiler}")
    place = tmp_path_factory.mktemp("compiled")
    for name in NEEDED:
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy2
        copy(ROOT / name, place / name)
    for library in place.glob("ingest/*.so"):
        library.unlink()
    _run(place, sys.executable, "setup.py", "--quiet", "build_ext", "--inplace", COMPILE_INGEST="1")
    return place


def _run(place: Path, *command: str, **environment: str) -> str:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    done = subprocess.run(
        command,
        cwd=place,
        env={**inherited, "PYTHONPATH": str(place), **environment},
        capture_output=True,
        text=True,
        timeout=COMPILES_SECONDS,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


def test_compiled_decisions_pass_the_tests_of_their_sources(compiled: Path) -> None:
    origin = "import ingest.acceptance as a, ingest.identity as i; print(a.__file__, i.__file__)"
    for file in _run(compiled, sys.executable, "-c", origin).split():
        assert file.endswith(sysconfig.get_config_var("EXT_SUFFIX"))
    tests = [f"tests/unit/test_ingest_{name}.py" for name in ABOUT_DECISIONS]
    _run(compiled, sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *tests)


def test_a_source_that_changed_since_is_told(compiled: Path) -> None:
    package = compiled / "ingest"
    assert stale_modules(package) == []
    library = next(package.glob("identity.*.so"))
    later = library.stat().st_mtime + 1
    os.utime(package / "identity.py", (later, later))
    assert stale_modules(package) == ["identity"]
