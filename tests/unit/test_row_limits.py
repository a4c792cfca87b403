"""Limits of rows in strict compatibility: the largest stay, Others has the rest."""

import pytest

from reporting.row_limits import DEFAULTS, RowLimit, limited, parse_limits
from reporting.table import Row, Table


def a_table(*visits: int, below: Table | None = None) -> Table:
    return Table([Row({"label": f"r{at}", "nb_visits": one}, {}, below) for at, one in enumerate(visits)])


def cut(table: Table, rows: int, below_it: int, *, below: bool = False) -> Table:
    return limited(table, "events", {"events": RowLimit(rows, below_it)}, "nb_visits", below=below)


def shown(table: Table) -> list[tuple[object, object]]:
    return [(row.label, row.columns["nb_visits"]) for row in table]


def test_a_table_within_its_limit_stays_as_it_is() -> None:
    assert shown(cut(a_table(1, 2, 3), 3, 1)) == [
        ("r0", 1),
        ("r1", 2),
        ("r2", 3),
    ]


def test_one_row_more_than_the_limit_leaves_the_largest_and_others() -> None:
    table = cut(a_table(1, 2, 3, 4), 3, 1)
    assert shown(table) == [("r3", 4), ("r2", 3), ("Others", 3)]


def test_rows_below_have_their_own_limit_also_when_they_are_asked_alone() -> None:
    table = cut(a_table(9, below=a_table(1, 2, 3)), 9, 2)
    below = table.rows[0].subtable
    assert below is not None
    assert shown(below) == [("r2", 3), ("Others", 3)]
    assert shown(cut(a_table(1, 2, 3), 9, 2, below=True)) == shown(below)


def test_of_equal_rows_the_first_stay_and_pages_leave_uniques_of_others_out() -> None:
    rows = [Row({"label": name, "nb_visits": 1, "nb_uniq_visitors": 1}) for name in "bca"]
    for group, has_uniques in (("actions", False), ("events", True)):
        table = limited(Table(rows), group, {group: RowLimit(2, 2)}, "nb_visits")
        assert [row.label for row in table] == ["b", "Others"]
        assert table.summary is not None
        assert ("nb_uniq_visitors" in table.summary.columns) is has_uniques


def test_limits_replace_the_usual_ones() -> None:
    limits = parse_limits(["actions=4/2", "users=7"])
    assert (limits["actions"], limits["users"]) == (RowLimit(4, 2), RowLimit(7, 7))
    assert limits["events"] == DEFAULTS["events"]


@pytest.mark.parametrize(
    "text", ["actions", "actions=", "actions=x", "pages=4", "actions=-1", "actions=1/2/3"]
)
def test_what_is_no_limit_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is no limit of rows"):
        parse_limits([text])
