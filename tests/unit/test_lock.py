"""The lock files hold what pyproject.toml asks for."""

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def plain(name: str) -> str:
    """A distribution's name as lock files write it."""
    return re.sub(r"[-_.]+", "-", re.split(r"[\s;<>=!\[~]", name, maxsplit=1)[0]).lower()


def locked(name: str) -> set[str]:
    return {
        plain(found) for found in re.findall(r"^([A-Za-z0-9_.-]+)==", (ROOT / name).read_text(), re.MULTILINE)
    }


@pytest.mark.parametrize(
    ("lock", "wanted"),
    [
        ("requirements.lock", PROJECT["project"]["dependencies"] + PROJECT["build-system"]["requires"]),
        ("requirements-dev.lock", PROJECT["project"]["dependencies"] + PROJECT["dependency-groups"]["dev"]),
        (
            "requirements-cluster.lock",
            PROJECT["project"]["dependencies"] + PROJECT["project"]["optional-dependencies"]["cluster"],
        ),
    ],
)
def test_every_dependency_is_locked(lock: str, wanted: list[str]) -> None:
    missing = {plain(name) for name in wanted} - locked(lock)
    assert missing == set(), "run `make lock`"


@pytest.mark.parametrize("lock", ["requirements.lock", "requirements-dev.lock", "requirements-cluster.lock"])
def test_every_locked_package_has_a_hash_and_no_address(lock: str) -> None:
    text = (ROOT / lock).read_text()
    assert len(re.findall(r"^\S+==", text, re.MULTILINE)) <= text.count("--hash=sha256:")
    assert "://" not in text
    assert "index-url" not in text
