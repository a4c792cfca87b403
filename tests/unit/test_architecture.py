"""Who may import whom: the rule of DESIGN section 1, read from the source."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
STAGES = ("ingest", "processors", "sink", "reporting")
PACKAGES = (*STAGES, "schemas", "rules", "stream", "hitstream")
ALLOWED = {
    "schemas": {"schemas"},
    "rules": {"rules", "schemas"},
    "stream": {"stream", "schemas"},
    **{stage: {stage, "schemas", "rules", "stream"} for stage in STAGES},
}


def imported_packages(file: Path) -> Iterator[tuple[str, int]]:
    """Our packages that a module imports, at its top or inside a function, with the line."""
    for node in ast.walk(ast.parse(file.read_text())):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            names = [node.module or ""]
        for name in names:
            package = name.partition(".")[0]
            if package in PACKAGES:
                yield package, node.lineno


@pytest.mark.parametrize("package", ALLOWED)
def test_a_package_imports_only_what_it_may(package: str) -> None:
    files = sorted((ROOT / package).rglob("*.py"))
    assert files
    wrong = [
        f"{file.relative_to(ROOT)}:{line} imports {found}"
        for file in files
        for found, line in imported_packages(file)
        if found not in ALLOWED[package]
    ]
    assert wrong == []


def test_pure_rules_read_no_clock_environment_or_network() -> None:
    forbidden = {"os", "socket", "random", "secrets", "requests", "urllib.request", "http.client", "aiohttp"}
    wrong = []
    for file in sorted((ROOT / "rules").rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text())):
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                called = f"{node.value.id}.{node.attr}"
                if called in ("time.time", "time.monotonic", "datetime.now", "date.today"):
                    wrong.append(f"{file.name}:{node.lineno} {called}")
            wrong += [f"{file.name}:{node.lineno} {name}" for name in names if name in forbidden]  # type: ignore[attr-defined]
    assert wrong == []
