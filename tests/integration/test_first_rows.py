"""The first rows of a report, chosen in the database, are those of the whole table."""

import random
from typing import Any

import pytest

from reporting.methods import METHODS
from reporting.table import Row
from schemas.rows import Action, ActionKind, Conversion, Visit
from sink.database import Database
from tests.builders import NOON
from tests.integration.reports import Reports, store
from tests.rows import a_conversion, a_visit, an_action

HOSTS = ("example.org", "shop.example.org", "example.org:8080")
PATHS = (
    "/", "", "/index", "/a", "/a/", "/a?x=1/2", "/a#f/g", "/#f", "/?q", "/a?", "/b c", "/ b c", "/shop/",
    "/shop/x", "/shop/x?y=/z", "/shop/deep/", "/shop/deep/er/p", "/blog/2026/p", "//a", "//shop//x",
    "/%2Fa/b", "/ / x", "/ä/ö", "/shop/x y", "/blog", "/" + "/".join("abcdefghijklm"),
)  # fmt: skip
URLS = (
    *(host + path for host in HOSTS for path in PATHS),
    "", "ftp://example.org/a/b", "mailto:/x/y", "example.org?a/b", "example.org#a",
)  # fmt: skip
TITLES = (
    "Home",
    " Home",
    "Home ",
    "",
    " ",
    "a / b",
    "Über%20uns",
    "Page Name not defined",
    "x\u00a0",
    "x",
    "1",
    "10",
    "2",
)
REPORTS = tuple(
    f"Actions.get{kind}"
    for what in ("Urls", "Titles")
    for kind in (f"Page{what}", f"EntryPage{what}", f"ExitPage{what}", f"Page{what}FollowingSiteSearch")
)
WHOLE = {"filter_sort_order": "desc"}
"""What it is anyway; but who names it gets the whole table looked at."""


def some_traffic(seed: int, visits: int) -> list[Any]:
    randomness = random.Random(seed)
    rows: list[Visit | Action | Conversion] = []
    for visit in range(1, visits + 1):
        at = NOON - 3600 * (visit % 40)
        pages = [
            (randomness.choice(URLS), randomness.choice(TITLES)) for _ in range(randomness.randint(1, 4))
        ]
        rows.append(
            a_visit(
                visit, at=at, actions=len(pages), duration=60 * len(pages), visitor_id=visit % 20,
                entry_url=pages[0][0], entry_title=pages[0][1],
                exit_url=pages[-1][0], exit_title=pages[-1][1],
            )
        )  # fmt: skip
        before: tuple[str, str] | None = None
        for place, page in enumerate(pages):
            searched = randomness.random() < 0.3
            kind = ActionKind.SEARCH if searched else ActionKind.PAGE
            rows.append(
                an_action(
                    visit * 100 + place, visit_id=visit, visitor_id=visit % 20, at=at + 60 * place,
                    url=page[0], title=page[1], time_server=randomness.choice((-1, 120, 350)),
                    previous_url=before[0] if before else "", previous_title=before[1] if before else "",
                    previous_kind=int(kind) if before else 0, time_spent_previous=60 if before else 0,
                )
            )  # fmt: skip
            before = page
        if randomness.random() < 0.3:
            rows.append(
                a_conversion(visit * 100 + 50, visit_id=visit, at=at + 600, pageviews_before=len(pages))
            )
    return rows


def about(value: Any) -> Any:
    """What a folder's pages are rounded to before they are added up does not matter."""
    if isinstance(value, dict):
        return {name: about(inner) for name, inner in value.items()}
    return pytest.approx(value, abs=0.02) if isinstance(value, float) else value


def shown(reports: Reports, method: str, parameters: dict[str, str]) -> list[Any]:
    table = reports.table(method, **parameters)
    return [(row.columns, row.metadata, row.subtable_id) for row in table.rows]


@pytest.fixture
def reports(database: Database) -> Reports:
    store(database, some_traffic(1, 150))
    return Reports(database, {"compatibility": "full", "methods": METHODS})


@pytest.mark.parametrize("method", REPORTS)
def test_the_first_rows_are_those_of_the_whole_table(reports: Reports, method: str) -> None:
    for parameters in (
        {"filter_limit": "3"},
        {"filter_limit": "4", "filter_offset": "2", "period": "month"},
        {"filter_limit": "-1"},
        {"filter_limit": "0"},
        {"segment": "visitDuration>100", "filter_limit": "5"},
    ):
        found = shown(reports, method, parameters)
        expected = shown(reports, method, {**parameters, **WHOLE})
        assert [(label_of(row), row[1:]) for row in found] == [(label_of(row), row[1:]) for row in expected]
        for mine, its in zip(found, expected, strict=True):
            assert mine[0] == about(its[0]), label_of(mine)


@pytest.mark.parametrize("method", REPORTS)
def test_chosen_columns_are_those_of_the_whole_table(reports: Reports, method: str) -> None:
    chosen = ("label", "nb_visits", "nb_hits")
    for parameters in (
        {"filter_limit": "5"},
        {"flat": "1", "filter_limit": "-1"},
        {"flat": "1", "filter_sort_column": "sum_time_spent", "period": "month"},
        {"filter_limit": "-1", "label": "shop"},
    ):
        whole = shown(reports, method, parameters)
        found = shown(reports, method, {**parameters, "showColumns": ",".join(chosen)})
        expected = [({name: row[0][name] for name in chosen if name in row[0]}, row[1:]) for row in whole]
        assert [(row[0], row[1:]) for row in found] == expected
        assert found or "Following" in method or "label" in parameters


@pytest.mark.parametrize("method", [name for name in REPORTS if "Url" in name])
def test_a_sub_table_is_the_one_of_the_whole_table(reports: Reports, method: str) -> None:
    """Those of all levels, with the numbers of the tables below them."""
    whole = reports.table(method, expanded="1", filter_limit="-1")
    asked = 0

    def compare(rows: list[Row]) -> None:
        nonlocal asked
        for row in rows:
            if row.subtable is None:
                continue
            asked += 1
            found = reports.table(method, idSubtable=str(row.subtable_id), filter_limit="-1")
            assert [summed(one) for one in found.rows] == [summed(one) for one in row.subtable.rows]
            compare(row.subtable.rows)

    compare(whole.rows)
    assert asked > 5
    assert not reports.table(method, idSubtable="1000").rows


def summed(row: Row) -> tuple[Any, ...]:
    columns = row.columns
    return label_of((columns,)), row.subtable_id, *(columns.get(name) for name in ("nb_visits", "nb_hits"))


def label_of(row: Any) -> str:
    return str(row[0]["label"])


@pytest.mark.parametrize(("method", "parameter", "names"), [
    ("Actions.getPageUrl", "pageUrl", [f"http://{url}" for url in URLS if url]),
    ("Actions.getPageTitle", "pageName", [title for title in TITLES if title.strip()]),
])  # fmt: skip
def test_a_page_is_the_row_of_the_whole_table(
    reports: Reports, method: str, parameter: str, names: list[str]
) -> None:
    """Every page that is known by its name is found, with what the table of all pages says of it."""
    table = "Actions.getPageUrls" if parameter == "pageUrl" else "Actions.getPageTitles"
    flat = {label_of(row): row[0] for row in shown(reports, table, {"flat": "1", "filter_limit": "-1"})}
    found = 0
    for name in names:
        for columns, _, _ in shown(reports, method, {parameter: name}):
            found += 1
            if parameter == "pageName":
                assert columns["nb_hits"] == flat[str(columns["label"]).strip()]["nb_hits"]
    assert found >= len(names) * 2 // 3
