"""What is computed of many rows is kept in tables, which reports share until rows are stored."""

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest
from clickhouse_connect.driver.exceptions import ClickHouseError

from hitstream.archives import EngineArchives
from reporting.archives import KeptAnswers
from reporting.database import ThreadedDatabase
from reporting.kept_groups import Computation, KeptGroups
from schemas.rows import ActionKind
from sink.archives import archive_day
from sink.database import Database, kept_of
from tests.builders import NOON
from tests.integration.reports import DAY, Reports, store
from tests.integration.test_reports import make_quiet
from tests.rows import a_conversion, a_visit, an_action

PAGES = [f"example.org/shop/{number}" for number in range(4)] + ["example.org/", "example.org/about"]
METHODS = (
    "Actions.getPageUrls", "Actions.getEntryPageUrls", "Actions.getExitPageUrls", "Actions.getPageTitles",
    "Actions.getPageUrlsFollowingSiteSearch", "Actions.get", "UserCountry.getCountry", "Goals.get",
)  # fmt: skip


@pytest.fixture
def archives(database: Database) -> EngineArchives:
    """Those that keep tables of any number of rows."""
    if not database.place.is_embedded:
        pytest.skip("only an embedded database tells when its rows change")
    found = EngineArchives(database)
    found.groups = KeptGroups(kept_of(database.name), many_rows=0)
    return found


def fill(database: Database, first: int, visits: int, day: int = 0) -> None:
    """Visits of three pages each, from some countries; some measured, some converted."""
    rows = []
    for visit in range(first, first + visits):
        urls = [PAGES[(visit + place * visit) % len(PAGES)] for place in range(3)]
        at = NOON + 86400 * day + visit
        rows.append(
            a_visit(
                visit, visitor_id=visit % 5, at=at, actions=3, entry_url=urls[0], exit_url=urls[-1],
                country=("fr", "de", "it")[visit % 3],
            )
        )  # fmt: skip
        rows += [
            an_action(
                10 * visit + place, visit_id=visit, visitor_id=visit % 5, at=at + place, url=url,
                title=f"Title of {url}", kind=ActionKind.PAGE, time_server=place * 100 - 100,
                previous_url=urls[place - 1] if place else "", previous_kind=int(place > 0),
            )
            for place, url in enumerate(urls)
        ]  # fmt: skip
        if visit % 4 == 0:
            rows.append(a_conversion(10 * visit + 5, visit_id=visit, at=at + 5))
    store(database, rows)


def tables(database: Database) -> Sequence[str]:
    found = database.rows(
        "SELECT name FROM system.tables WHERE database = {kept:String} ORDER BY name",
        {"kept": kept_of(database.name)},
    )
    return [str(name) for (name,) in found]


@pytest.mark.parametrize("segment", ["", "countryCode==fr", "pageUrl=@about,countryCode==it"])
@pytest.mark.parametrize("period", ["day", "month"])
def test_reports_are_the_same_from_tables(
    database: Database, archives: EngineArchives, segment: str, period: str
) -> None:
    """Of days that are read from rows and of those that are archived, of all visits and of some."""
    fill(database, 1, 30)
    make_quiet(database)
    archive_day(database, 1, DAY)
    fill(database, 101, 20, day=1)
    kept, rows_only = Reports(database, {"archives": archives}), Reports(database, {})
    for method in METHODS:
        asked = {"period": period, "segment": segment, "date": f"{DAY.replace(day=DAY.day + 1)}"}
        assert kept.ask(method, **asked) == rows_only.ask(method, **asked), method
    assert tables(database)


def test_a_report_reads_what_another_one_computed(database: Database, archives: EngineArchives) -> None:
    fill(database, 1, 20)
    reports = Reports(database, {"archives": archives})
    reports.ask("Actions.getPageUrls")
    known = tables(database)
    expected = Reports(database, {}).ask("Actions.getExitPageUrls")
    reports.ask("Actions.getExitPageUrls")
    assert tables(database) == known
    database.command(f"TRUNCATE TABLE {kept_of(database.name)}.{known[0]}")
    archives.kept = KeptAnswers()
    assert reports.ask("Actions.getExitPageUrls") != expected, "the table was not read"


def test_tables_go_when_rows_are_stored(database: Database, archives: EngineArchives) -> None:
    fill(database, 1, 20)
    kept, rows_only = Reports(database, {"archives": archives}), Reports(database, {})
    kept.ask("Actions.getPageUrls")
    before = tables(database)
    fill(database, 21, 5)
    assert kept.ask("Actions.getPageUrls") == rows_only.ask("Actions.getPageUrls")
    assert not set(before) & set(tables(database))


def test_tables_have_bounds(database: Database, archives: EngineArchives) -> None:
    archives.groups = KeptGroups(kept_of(database.name), max_bytes=0, many_rows=0)
    fill(database, 1, 20)
    kept, rows_only = Reports(database, {"archives": archives}), Reports(database, {})
    assert kept.ask("Actions.getPageUrls") == rows_only.ask("Actions.getPageUrls")
    assert tables(database) == []


def test_few_rows_are_read_without_tables(database: Database, archives: EngineArchives) -> None:
    archives.groups = KeptGroups(kept_of(database.name), many_rows=1000)
    fill(database, 1, 20)
    Reports(database, {"archives": archives}).ask("Actions.getPageUrls")
    assert tables(database) == []


NUMBERS = Computation(
    columns={"n": "UInt64"},
    sql=lambda names: f"SELECT {', '.join(names)} FROM (SELECT number AS n FROM numbers({{rows:UInt64}}))",
    parameters={"rows": 5},
)


def test_who_asks_at_the_same_time_waits_for_one_statement(
    database: Database, archives: EngineArchives
) -> None:
    groups = archives.groups
    assert groups is not None
    with ThreadPoolExecutor(2) as executor:
        asked = ThreadedDatabase(lambda: database.client, executor)

        async def read() -> tuple[str, int]:
            async with groups.table(asked, "numbers", NUMBERS, 1) as name:
                return name, (await asked.rows(f"SELECT count() FROM {name}"))[0][0]

        async def all_at_once() -> list[tuple[str, int]]:
            return await asyncio.gather(*(read() for _ in range(5)))

        found = asyncio.run(all_at_once())
    assert len(set(found)) == 1
    assert found[0][1] == 5


def test_what_fails_is_tried_again(database: Database, archives: EngineArchives) -> None:
    groups = archives.groups
    assert groups is not None
    wrong = Computation(columns={"n": "UInt64"}, sql=lambda _: "SELECT throwIf(1)", parameters={"rows": 5})
    with ThreadPoolExecutor(2) as executor:
        asked = ThreadedDatabase(lambda: database.client, executor)

        async def read(what: Computation) -> int:
            async with groups.table(asked, "numbers", what, 1) as name:
                return int((await asked.rows(f"SELECT count() FROM {name}"))[0][0])

        with pytest.raises(ClickHouseError):
            asyncio.run(read(wrong))
        assert asyncio.run(read(NUMBERS)) == 5
