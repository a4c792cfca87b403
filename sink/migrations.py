"""Applies the numbered, forward-only migrations of schemas/ddl to a ClickHouse database."""

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from importlib import resources

_NUMBERED = re.compile(r"(\d{4})_(\w+)\.sql")

_LEDGER = """
CREATE TABLE IF NOT EXISTS migrations (version UInt32, name String, applied_at DateTime('UTC') DEFAULT now())
ENGINE = ReplacingMergeTree(applied_at) ORDER BY version
"""


class NewerDatabaseError(Exception):
    """The database was made by a newer release; the message says what to do."""


@dataclass(frozen=True)
class Migration:
    version: int
    name: str
    sql: str


def statements_of(sql: str) -> list[str]:
    """The statements of a file of ours: lines of comment removed, split where a line ends in a semicolon."""
    text = "\n".join(line for line in sql.splitlines() if not line.lstrip().startswith("--"))
    return [part.strip() for part in re.split(r";[ \t]*(?:\n|$)", text) if part.strip()]


def migrations() -> list[Migration]:
    """All migrations of this release in order; their versions are 1, 2, 3 ... without a gap."""
    found = []
    for entry in resources.files("schemas.ddl").iterdir():
        if matched := _NUMBERED.fullmatch(entry.name):
            found.append(Migration(int(matched[1]), matched[2], entry.read_text(encoding="utf-8")))
    found.sort(key=lambda migration: migration.version)
    if [migration.version for migration in found] != list(range(1, len(found) + 1)):
        raise RuntimeError(f"migrations are not numbered 1, 2, 3 ...: {[m.version for m in found]}")
    return found


def catalog_of(views: str) -> str:
    """The database whose views stand for the system tables in SQL of clients."""
    return f"{views}_catalog"


def view_statements(tables: str, views: str) -> list[str]:
    """CREATE OR REPLACE of every public view, in database `views` over the tables of database `tables`."""
    return _filled("views.sql", tables, views)


def catalog_statements(views: str) -> list[str]:
    """CREATE OR REPLACE of what clients see instead of the system tables."""
    return _filled("catalog.sql", "", views)


def definition_of(statements: list[str]) -> str:
    """A hash of statements, to know whether they were run before."""
    return hashlib.sha256("\n".join(statements).encode()).hexdigest()


def _filled(file: str, tables: str, views: str) -> list[str]:
    sql = resources.files("schemas.ddl").joinpath(file).read_text(encoding="utf-8")
    for name, database in (("tables", tables), ("views", views), ("catalog", catalog_of(views))):
        sql = sql.replace(f"'{{{name}}}'", f"'{database}'").replace(f"{{{name}}}", f"`{database}`")
    return statements_of(sql)


def migrate(command: Callable[[str], object], *, known: list[Migration] | None = None) -> list[Migration]:
    """Bring the connection's current database to this release's version; returns what was applied.

    Every statement can be repeated (IF NOT EXISTS), so a start killed between two statements is continued by
    the next one. Raises NewerDatabaseError when the database is of a newer version."""
    known = migrations() if known is None else known
    command(_LEDGER)
    current = int(str(command("SELECT max(version) FROM migrations")))
    latest = known[-1].version if known else 0
    if current > latest:
        raise NewerDatabaseError(
            f"The database is of version {current}, this release knows versions up to {latest}: "
            "install the newer release again, or restore a backup made with this one."
        )
    pending = [migration for migration in known if migration.version > current]
    for migration in pending:
        for statement in statements_of(migration.sql):
            command(statement)
        command(f"INSERT INTO migrations (version, name) VALUES ({migration.version}, '{migration.name}')")  # noqa: S608 - our own file's name
    return pending
