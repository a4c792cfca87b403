"""A database of an earlier release becomes one of this release, with the rows that it has."""

from collections.abc import Iterator

import pytest

from sink.database import Database
from sink.migrations import migrate, migrations, statements_of

RELEASED = 6
"""The version whose visits and raw hits have an owner of their own."""


@pytest.fixture
def earlier(clickhouse_dsn: str) -> Iterator[Database]:
    """A database of version RELEASED."""
    database = Database(clickhouse_dsn, "tables_earlier", views="views_earlier")
    first = database.connect("default")
    first.command("CREATE DATABASE tables_earlier")
    migrate(database.command, known=migrations()[:RELEASED])
    yield database
    database.close()
    first.command("DROP DATABASE tables_earlier SYNC")
    first.close()


@pytest.mark.parametrize(
    ("table", "day", "key"), [("visits", "date", "visit_id"), ("hits", "time", "hit_id")]
)
def test_rows_keep_their_owners_wherever_the_start_was_killed(
    earlier: Database, table: str, day: str, key: str
) -> None:
    # The visitor of 2 and 3 logged in and goes by another id since, above and below the owner's.
    largest = 2**64 - 1
    rows = [(1, 100, 100), (2, 200, 100), (3, 50, 100), (4, 0, 0), (5, largest, 0), (6, 0, largest)]
    for part in (rows[:4], rows[4:]):
        values = ", ".join(
            f"(1, '2026-09-10', {number}, {visitor}, {owner}, 1)" for number, visitor, owner in part
        )
        earlier.command(
            f"INSERT INTO {table} (site_id, {day}, {key}, visitor_id, owner, version) VALUES {values}"
        )
    for migration in migrations()[RELEASED:]:
        statements = statements_of(migration.sql)
        for done in range(1, len(statements) + 1):
            for statement in statements[:done]:
                earlier.command(statement)
        migrate(earlier.command, known=migrations()[: migration.version])
    stored = earlier.rows(f"SELECT {key}, visitor_id, owner FROM {table} FINAL ORDER BY {key}")
    assert [tuple(row) for row in stored] == rows
    assert earlier.rows(f"SELECT {key} FROM {table} FINAL WHERE owner = 100 ORDER BY {key}") == [
        (1,),
        (2,),
        (3,),
    ]
    columns = f"database = 'tables_earlier' AND table = '{table}' AND name = 'owner'"
    assert earlier.rows(f"SELECT default_kind FROM system.columns WHERE {columns}") == [("ALIAS",)]
