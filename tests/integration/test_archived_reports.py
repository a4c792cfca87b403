"""Reports of archived days tell what those of rows tell, and follow what is stored."""

from datetime import date, timedelta
from typing import Any

from hitstream.archives import EngineArchives
from reporting.methods import METHODS
from schemas.reports import AGGREGATES
from sink.archives import archive_day
from sink.database import Database
from tests.builders import NOON
from tests.integration.reports import DAY, SECONDS_OF_DAY, Reports, store
from tests.integration.test_archives import age
from tests.integration.test_changed_labels import PAGES
from tests.rows import a_visit, an_action

NEXT_DAY = DAY + timedelta(days=1)
DURATIONS = {
    "0–10s": (0, 10), "11–30s": (11, 30), "31–60s": (31, 60), "1-2 min": (61, 120), "2-4 min": (121, 240),
    "4-7 min": (241, 420), "7-10 min": (421, 600), "10-15 min": (601, 900), "15-30 min": (901, 1800),
    "30+ min": (1801, 90_000),
}  # fmt: skip
"""The least and the most seconds of each range."""


def ask(database: Database, **state: Any) -> Reports:
    return Reports(database, {"compatibility": "full", "methods": METHODS, **state})


def test_a_visit_counts_in_the_first_range_that_holds_it(database: Database) -> None:
    ends = [seconds for bounds in DURATIONS.values() for seconds in bounds]
    store(database, [a_visit(16 * at, duration=seconds) for at, seconds in enumerate(ends, 1)])
    age(database, 3600)
    method = "VisitorInterest.getNumberOfVisitsPerVisitDuration"
    of_rows = {row.label: row.columns["nb_visits"] for row in ask(database).table(method).rows}
    assert of_rows == dict.fromkeys(DURATIONS, "2")
    archive_day(database, 1, DAY)
    found = ask(database, archives=EngineArchives(database)).table(method)
    assert {row.label: row.columns["nb_visits"] for row in found.rows} == of_rows


def test_insights_of_archives_are_those_of_rows(database: Database) -> None:
    rows = []
    for url, title, *counts in PAGES:
        for day, count in enumerate(counts):
            for _ in range(count):
                number, at = 16 * (len(rows) + 1), NOON + day * SECONDS_OF_DAY
                rows.append(a_visit(number, visitor_id=number, at=at))
                rows.append(
                    an_action(number + 1, visit_id=number, visitor_id=number, at=at, url=url, title=title)
                )
    store(database, rows)
    age(database, 3600)
    asked = {"date": NEXT_DAY.isoformat(), "reportUniqueId": "Actions_getPageUrls"}
    of_rows = ask(database).table("Insights.getInsights", **asked)
    assert len(of_rows) > 1
    for day in (DAY, NEXT_DAY):
        archive_day(database, 1, day)
    found = ask(database, archives=EngineArchives(database)).table("Insights.getInsights", **asked)
    assert [(row.columns, row.metadata) for row in found.rows] == [
        (row.columns, row.metadata) for row in of_rows.rows
    ]


def test_rows_that_come_in_make_only_their_own_day_old(database: Database) -> None:
    days = [DAY, NEXT_DAY, DAY + timedelta(days=40)]
    store(database, [a_visit(16 * (1 + at), at=NOON + at * SECONDS_OF_DAY) for at in (0, 1, 40)])
    age(database, 3600)
    for day in days:
        archive_day(database, 1, day)
    archives = EngineArchives(database)

    def current(asked: EngineArchives) -> list[date]:
        return [*asked.current_days(1, days[0], days[-1], "", [AGGREGATES["summary"]])]

    assert current(archives) == days
    begun = archives.for_request()
    assert current(begun) == days
    store(database, [a_visit(1600, at=NOON + SECONDS_OF_DAY)])
    assert current(archives) == [days[0], days[2]]
    assert current(begun) == days, "a request has one answer"
    assert current(archives.for_request()) == [days[0], days[2]]
    age(database, 3600)
    archive_day(database, 1, NEXT_DAY)
    assert current(archives) == days
