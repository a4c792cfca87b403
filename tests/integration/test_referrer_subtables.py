"""A referrer's row names a sub table by number, and that number gives what is below the row."""

from datetime import timedelta

import pytest

from reporting.methods import METHODS
from reporting.table import Table, TableMap
from sink.database import Database
from tests.builders import NOON
from tests.integration.reports import DAY, SECONDS_OF_DAY, Reports, store
from tests.rows import a_conversion, a_visit

SEARCH, WEBSITE, CAMPAIGN, SOCIAL = 2, 3, 6, 7


def _fill(database: Database) -> None:
    """Two days. On the first keywords of one second, whose engines are in another order than they are;
    campaigns with and without keywords, and one that only a conversion is attributed to; elsewhere what only
    conversions are attributed to has nothing below it."""
    came = [
        (SEARCH, "Google", "b", ""), (SEARCH, "Bing", "c", ""), (SEARCH, "Yahoo!", "a", ""),
        (SEARCH, "Bing", "a", ""), (SEARCH, "Google", "", ""),
        (CAMPAIGN, "bare", "", ""), (CAMPAIGN, "mixed", "", ""), (CAMPAIGN, "mixed", "k", ""),
        (CAMPAIGN, "late", "k", ""), (CAMPAIGN, "late", "l", ""),
        (WEBSITE, "b.example", "", "http://b.example/x"), (WEBSITE, "a.example", "", "http://a.example/y"),
        (WEBSITE, "a.example", "", "http://a.example/z"), (SOCIAL, "Reddit", "", "http://reddit.com/r"),
    ]  # fmt: skip
    names = ("referrer_type", "referrer_name", "referrer_keyword", "referrer_url")
    visits = [
        a_visit(16 * number, visitor_id=number, at=NOON, **dict(zip(names, one, strict=True)))
        for number, one in enumerate(came, 1)
    ]
    visits += [
        a_visit(
            16 * number + 1, visitor_id=number, at=NOON + SECONDS_OF_DAY, **dict(zip(names, one, strict=True))
        )
        for number, one in enumerate((came[1], came[6], came[8], came[10]), 1)
    ]
    converted = [
        (CAMPAIGN, "sold", "k"), (CAMPAIGN, "mixed", "m"), (SEARCH, "Ecosia", "q"), (WEBSITE, "c.example", "")
    ]  # fmt: skip
    conversions = [
        a_conversion(900 + at, visit_id=16, **dict(zip(names[:3], one, strict=True)))
        for at, one in enumerate(converted)
    ]
    store(database, [*visits, *conversions])


@pytest.mark.parametrize("compatibility", ["full", "strict"])
@pytest.mark.parametrize(
    ("report", "part", "rows_with_parts"),
    [
        ("Keywords", "SearchEnginesFromKeywordId", 4),
        ("SearchEngines", "KeywordsFromSearchEngineId", 3),
        ("Campaigns", "KeywordsFromCampaignId", 3),
        ("Websites", "UrlsFromWebsiteId", 2),
        ("Socials", "UrlsForSocial", 1),
    ],
)
def test_a_number_gives_what_is_below_its_row(
    database: Database, compatibility: str, report: str, part: str, rows_with_parts: int
) -> None:
    _fill(database)
    reports = Reports(database, {"compatibility": compatibility, "methods": METHODS})
    for period in ("day", "month"):
        shown = {row.label: row for row in reports.table(f"Referrers.get{report}", period=period).rows}
        whole = reports.table(f"Referrers.get{report}", period=period, expanded="1").rows
        assert {row.label: row.subtable_id for row in whole} == {
            label: row.subtable_id for label, row in shown.items()
        }
        below = {row.subtable_id: row.subtable for row in whole if row.subtable is not None}
        assert sorted(below) == list(range(1, rows_with_parts + 1))
        for number, expected in below.items():
            for method in (f"Referrers.get{report}", f"Referrers.get{part}"):
                found = reports.table(method, period=period, idSubtable=str(number))
                assert expected is not None
                assert sorted(map(_numbers, found.rows)) == sorted(map(_numbers, expected.rows))
        assert not reports.table(f"Referrers.get{part}", period=period, idSubtable="9").rows


def _numbers(row: object) -> list[tuple[str, str]]:
    """What a row counts: labels of expanded rows are as they are stored."""
    columns = getattr(row, "columns", {})
    return [(name, str(value)) for name, value in columns.items() if name != "label"]


def test_each_date_has_numbers_of_its_own(database: Database) -> None:
    """b.example is the second website of the first day and the first one of the second, as only."""
    _fill(database)
    reports = Reports(database, {"methods": METHODS})
    dates = f"{DAY},{DAY + timedelta(days=1)}"
    found = reports.ask("Referrers.getUrlsFromWebsiteId", date=dates, idSubtable="1")
    assert isinstance(found, TableMap)
    tables = [table for table in found.items.values() if isinstance(table, Table)]
    assert [[row.label for row in table.rows] for table in tables] == [["y", "z"], ["x"]]
