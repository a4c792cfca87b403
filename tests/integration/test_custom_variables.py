"""Reports of custom variables over rows in a real ClickHouse engine."""

from typing import Any

import pytest

from reporting.errors import ApiError
from reporting.table import Table
from sink.database import Database
from tests.integration.reports import Reports, store
from tests.rows import a_conversion, a_visit, an_action

FREE = {1: ("plan", "free")}
NOBODY = {3: ("author", ""), 4: ("plan", "x")}


@pytest.fixture
def reports(database: Database) -> Reports:
    store(
        database,
        [
            a_visit(11, visitor_id=0xA1, actions=3, custom_variables=FREE),
            a_visit(
                12, visitor_id=0xA1, actions=1, custom_variables={1: ("plan", "free"), 2: ("lang", "de")}
            ),
            a_visit(13, visitor_id=0xB1, actions=2, custom_variables={1: ("plan", "paid")}),
            an_action(21, visit_id=11, visitor_id=0xA1, custom_variables={3: ("author", "Ann")}),
            an_action(22, visit_id=11, visitor_id=0xA1, custom_variables={3: ("author", "Ann")}),
            an_action(
                23, visit_id=13, visitor_id=0xB1, custom_variables={3: ("author", ""), 4: ("plan", "x")}
            ),
            a_conversion(23, visit_id=13, goal_id=1, revenue=5.0),
        ],
    )
    return Reports(database, {"compatibility": "full"})


def by_label(table: Table | None, *columns: str) -> dict[str, tuple[Any, ...]]:
    assert table is not None
    return {str(row.label): tuple(row.columns.get(name) for name in columns) for row in table.rows}


def test_names_count_visits_or_actions_and_values_both(reports: Reports) -> None:
    table = reports.table("CustomVariables.getCustomVariables", expanded="1")
    assert by_label(table, "nb_visits", "nb_uniq_visitors", "nb_actions", "nb_conversions") == {
        "plan": (3, 2, 7, 1),
        "author": (None, None, 3, None),
        "lang": (1, 1, 1, None),
    }
    plan, author = (next(row for row in table.rows if row.label == name) for name in ("plan", "author"))
    assert by_label(plan.subtable, "nb_visits", "nb_actions") == {
        "free": (2, 4), "paid": (1, 2), "x": (1, 1),
    }  # fmt: skip
    assert by_label(author.subtable, "nb_visits", "nb_uniq_visitors", "nb_actions") == {
        "Ann": (1, 1, 2), "Value not defined": (1, 1, 1),
    }  # fmt: skip
    assert plan.metadata["slots"] == [{"scope": "visit", "index": 1}, {"scope": "page", "index": 4}]
    assert plan.metadata["segment"] == "customVariableName==plan"


def test_values_of_a_name_are_asked_for_by_its_number(reports: Reports) -> None:
    table = reports.table("CustomVariables.getCustomVariables")
    number = next(row.subtable_id for row in table.rows if row.label == "plan")
    values = reports.table("CustomVariables.getCustomVariablesValuesFromNameId", idSubtable=str(number))
    assert set(by_label(values)) == {"free", "paid", "x"}
    with pytest.raises(ApiError, match="Please specify a value for 'idSubtable'"):
        reports.table("CustomVariables.getCustomVariablesValuesFromNameId")


def test_slots_tell_which_names_use_them(reports: Reports) -> None:
    slots = reports.ask("CustomVariables.getUsagesOfSlots")
    assert isinstance(slots, list)
    assert [(one["scope"], one["index"]) for one in slots] == [
        (scope, index) for scope in ("visit", "page") for index in range(1, 6)
    ]
    assert slots[0]["usages"] == [{"name": "plan", "nb_visits": 3, "nb_actions": 6}]
    assert slots[7]["usages"] == [{"name": "author", "nb_visits": 0, "nb_actions": 3}]
    assert slots[4]["usages"] == []
