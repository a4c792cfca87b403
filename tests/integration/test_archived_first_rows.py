"""The first rows that archives keep are those of the whole table."""

import itertools
from collections.abc import Sequence
from datetime import date, timedelta
from typing import Any

import pytest

import reporting.first_rows
import schemas.page_levels
import sink.archives
import sink.report_keys
from hitstream.archives import EngineArchives
from reporting.methods import METHODS
from reporting.pages import path_of_title, path_of_url
from schemas.page_levels import PREFIXES, row_key, title_key
from sink.archives import archive_day
from sink.database import Database
from sink.merged_archives import merge_span
from tests.integration.reports import DAY, Reports, store
from tests.integration.test_archives import age
from tests.integration.test_first_rows import REPORTS, WHOLE, about, label_of, shown, some_traffic

MOST = 3
DAYS = [DAY - timedelta(days=1), DAY]
RANGE = {"period": "range", "date": f"{DAYS[0]},{DAYS[-1]}"}


def ask(database: Database) -> Reports:
    return Reports(
        database, {"archives": EngineArchives(database), "compatibility": "full", "methods": METHODS}
    )


def archived(database: Database, visits: int, days: Sequence[date] = DAYS) -> None:
    store(database, some_traffic(1, visits))
    age(database, 3600)
    for day in days:
        archive_day(database, 1, day)


def answers(database: Database, cases: list[dict[str, str]]) -> dict[str, list[Any]]:
    reports = ask(database)
    return {f"{method} {case}": shown(reports, method, case) for method in REPORTS for case in cases}


def assert_alike(found: dict[str, list[Any]], expected: dict[str, list[Any]]) -> None:
    for case, rows in expected.items():
        assert [(label_of(row), row[1:]) for row in found[case]] == [
            (label_of(row), row[1:]) for row in rows
        ], case
        for mine, its in zip(found[case], rows, strict=True):
            assert mine[0] == about(its[0]), (case, label_of(mine))


def expected_of(database: Database, cases: list[dict[str, str]]) -> dict[str, list[Any]]:
    reports = ask(database)
    return {f"{name} {case}": shown(reports, name, {**case, **WHOLE}) for name in REPORTS for case in cases}


def forget_whole(database: Database, *prefixes: str) -> None:
    """Leave of pages (and titles) only what is kept of their first rows."""
    for prefix in prefixes:
        database.command(
            f"ALTER TABLE archives DELETE WHERE startsWith(report, '{prefix}') SETTINGS mutations_sync = 2"
        )


@pytest.fixture
def few_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first three rows of every order."""
    for module in (schemas.page_levels, reporting.first_rows):
        monkeypatch.setattr(module, "MOST_FIRST", MOST)
    monkeypatch.setattr(sink.archives, "FEW_ACTIONS", 10)


def test_pages_that_share_a_row_have_one_key(database: Database) -> None:
    """As the tree in memory has them."""
    pieces = ("a", "/", "//", "?", "#", " ", "\u00a0", "ä", ":", "index", "x=1", "b/")
    paths = ["".join(some) for length in range(4) for some in itertools.product(pieces, repeat=length)]
    urls = [*paths, *("example.org/" + path for path in paths)]
    rows = database.rows(
        f"SELECT url, {row_key('url')} FROM (SELECT arrayJoin({{urls:Array(String)}}) AS url)", {"urls": urls}
    )
    assert len(rows) == len(urls)
    for url, key in rows:
        first, *below = path_of_url(url)
        assert key == (f"/{first}/" if below else first), url


def test_titles_that_share_a_row_have_one_key(database: Database) -> None:
    pieces = ("a", " ", "\u00a0", "ä", "%20", "日", "\t", "\n", "\u3000", "~")
    titles = ["".join(some) for length in range(4) for some in itertools.product(pieces, repeat=length)]
    rows = database.rows(
        f"SELECT title, {title_key('title')} FROM (SELECT arrayJoin({{titles:Array(String)}}) AS title)",
        {"titles": titles},
    )
    assert {title: [" " + key] for title, key in rows} == {title: path_of_title(title) for title in titles}


def test_a_day_is_answered_from_its_first_rows_alone(database: Database, few_kept: None) -> None:
    archived(database, 150)
    cases = [
        {"filter_limit": "3"},
        {"filter_limit": "1", "filter_offset": "2"},
        {"filter_limit": "2", "showColumns": "label,nb_visits"},
    ]
    expected = expected_of(database, cases)
    forget_whole(database, *PREFIXES)
    assert_alike(answers(database, cases), expected)


def test_more_rows_and_more_days_than_are_kept_are_read_from_all_pages(
    database: Database, few_kept: None
) -> None:
    archived(database, 150)
    cases = [{"filter_limit": "4"}, {"filter_limit": "-1"}, {"filter_limit": "3", **RANGE}]
    assert_alike(answers(database, cases), expected_of(database, cases))


def test_a_merged_month_has_first_rows_of_its_own(database: Database, few_kept: None) -> None:
    month = DAY.replace(day=1)
    archived(database, 150, [month + timedelta(days=at) for at in range(DAY.day)])
    assert merge_span(database, 1, "month", month, before=DAY + timedelta(days=1)) is not None
    cases = [{"filter_limit": "3", "period": "range", "date": f"{month},{DAY}"}]
    expected = expected_of(database, cases)
    forget_whole(database, *PREFIXES)
    assert_alike(answers(database, cases), expected)


def test_days_are_added_up_where_nothing_was_left_out(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sink.archives, "FEW_ACTIONS", 10)
    archived(database, 150)
    cases = [{"filter_limit": "5", **RANGE}, {"filter_limit": "-1", **RANGE}]
    expected = expected_of(database, cases)
    forget_whole(database, "pages")
    assert_alike(answers(database, cases), expected)


def test_of_few_actions_all_pages_are_read(database: Database) -> None:
    archived(database, 60)
    kept = database.rows(
        "SELECT DISTINCT splitByChar(':', report)[1] FROM archives WHERE report LIKE 'first%'"
    )
    assert {name for (name,) in kept} == {"first_pages_rest", "first_titles_rest"}
    cases = [{"filter_limit": "3"}, {"filter_limit": "-1"}, {"filter_limit": "3", **RANGE}]
    assert_alike(answers(database, cases), expected_of(database, cases))


def test_archives_without_first_rows_are_read_as_before(
    database: Database, few_kept: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as older:
        for module in (sink.archives, sink.report_keys):
            older.setattr(module, "has_first_rows", lambda _: False)
        archived(database, 150)
    cases = [{"filter_limit": "3"}, {"filter_limit": "-1"}, {"filter_limit": "3", **RANGE}]
    assert_alike(answers(database, cases), expected_of(database, cases))
    archive_day(database, 1, DAY)
    assert database.rows("SELECT count() FROM archives WHERE startsWith(report, 'page_folders')")[0][0]


def test_folders_of_entry_and_exit_pages_add_up_all_pages_below_them(database: Database) -> None:
    archived(database, 150)
    reports = ask(database)
    for flags in ({}, {"expanded": "1"}):
        case = {"filter_limit": "-1", **flags}
        of_all = {label_of(row): row[0] for row in shown(reports, "Actions.getPageUrls", case)}
        for method in ("Actions.getEntryPageUrls", "Actions.getExitPageUrls"):
            folders = [row[0] for row in shown(reports, method, case) if row[2]]
            assert folders
            for columns in folders:
                assert columns == about(of_all[str(columns["label"])])
