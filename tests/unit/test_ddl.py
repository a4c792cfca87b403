"""The tables' columns are the rows' fields: the sink gives ClickHouse the encoded rows as they are."""

import re
from typing import Any

import msgspec
import pytest

from schemas.hit import Hit
from schemas.rows import Action, Conversion, ConversionItem, DeadLetter, Tally, Visit
from sink.migrations import Migration, NewerDatabaseError, migrate, migrations, statements_of, view_statements


def columns_of(table: str) -> list[str]:
    for migration in migrations():
        for statement in statements_of(migration.sql):
            if matched := re.match(rf"CREATE TABLE IF NOT EXISTS {table} \((.*)\)\s*ENGINE", statement, re.S):
                return re.findall(r"^    (\w+) ", matched[1], re.M)
    raise AssertionError(f"no table {table}")


@pytest.mark.parametrize(
    ("table", "row"),
    [
        ("visits", Visit),
        ("actions", Action),
        ("conversions", Conversion),
        ("conversion_items", ConversionItem),
        ("hits", Hit),
        ("tallies", Tally),
        ("dead", DeadLetter),
    ],
)
def test_a_table_has_the_fields_of_its_row_in_order_then_the_three_of_the_sink(table: str, row: Any) -> None:
    fields = [field.name for field in msgspec.structs.fields(row)]
    columns = [name for name in columns_of(table) if name != "INDEX"]
    assert columns == [*fields, "version", "is_deleted", "inserted_at"]


def test_migrations_are_numbered_without_a_gap_and_can_be_repeated() -> None:
    found = migrations()
    assert [migration.version for migration in found] == list(range(1, len(found) + 1))
    for migration in found:
        for statement in statements_of(migration.sql):
            repeats = (" IF NOT EXISTS ", " IF EXISTS ", " MODIFY SETTING ", " MATERIALIZE ")
            assert any(words in statement for words in repeats), statement


def test_a_semicolon_inside_a_line_or_a_comment_does_not_end_a_statement() -> None:
    assert statements_of("-- a; b\nSELECT ';' ,\n 1;\n\nSELECT 2;") == ["SELECT ';' ,\n 1", "SELECT 2"]


def test_a_database_of_a_newer_version_is_refused() -> None:
    def command(sql: str) -> object:
        return 7 if sql.startswith("SELECT max") else ""

    with pytest.raises(NewerDatabaseError, match="version 7, this release knows versions up to 1"):
        migrate(command, known=[Migration(1, "first", "SELECT 1;")])


def test_only_pending_migrations_run_and_each_is_recorded() -> None:
    ran: list[str] = []

    def command(sql: str) -> object:
        ran.append(sql)
        return 1 if sql.startswith("SELECT max") else ""

    known = [Migration(1, "one", "CREATE 1;"), Migration(2, "two", "CREATE 2;\nCREATE 3;")]
    assert migrate(command, known=known) == known[1:]
    assert ran[2:] == [
        "CREATE 2",
        "CREATE 3",
        "INSERT INTO migrations (version, name) VALUES (2, 'two')",
    ]


def test_every_column_of_a_public_view_has_a_comment() -> None:
    statements = view_statements("tables_db", "views_db")
    assert len(statements) >= 5
    for statement in statements:
        columns = statement.split("(\n", 1)[1].split("\n)\n", 1)[0].splitlines()
        assert all(" COMMENT '" in column for column in columns), statement
        assert "FROM `tables_db`." in statement
        if "`tables_db`.counted_hits" in statement:
            statement = next(text for one in migrations() for text in statements_of(one.sql)
                             if text.startswith("CREATE VIEW IF NOT EXISTS counted_hits"))  # fmt: skip
            assert statement.count("FROM tallies FINAL") == statement.count("FROM tallies")
        assert " FINAL" in statement
