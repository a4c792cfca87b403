"""Modules of this package that were compiled in a checkout (`make compile`) and have been changed since."""

from pathlib import Path


def stale_modules(package: Path = Path(__file__).parent) -> list[str]:
    """Names of the modules whose source is newer than what is imported in its place."""
    found = []
    for library in sorted([*package.glob("*.so"), *package.glob("*.pyd")]):
        name = library.name.partition(".")[0]
        source = package / f"{name}.py"
        if source.exists() and source.stat().st_mtime > library.stat().st_mtime:
            found.append(name)
    return found
