"""A merged month or year says what its days say, while just these are current."""

from datetime import UTC, date, datetime, timedelta
from typing import Any

from bench.sizes import questions
from hitstream.archives import EngineArchives
from reporting.archives import StoredDay
from reporting.methods import METHODS
from schemas.reports import AGGREGATES
from sink.archives import (
    ALL_VISITS,
    DEFAULT_LIMITS,
    ArchivedDay,
    archive_day,
    forget,
    forget_days,
    superseded,
)
from sink.database import Database
from sink.encoding import SiteDay
from sink.merged_archives import MergeTurns, Span, merge_span, merged_spans, spans_to_merge
from sink.rollups import Rollups
from tests.integration.test_archives import DAY, FIRST_DAY, age, fill
from tests.integration.test_reports import Reports

MONTH = DAY.replace(day=1)
OCTOBER = date(2026, 10, 1)
DAYS = 4
MERGED_MONTH = "months of "
SPAN: Span = (1, "month", MONTH)


def archive_days(database: Database, days: int = DAYS) -> list[int]:
    """Their generations. One more day stays unarchived."""
    fill(database, 600, days=days + 1)
    age(database, 3600)
    return [archive_day(database, 1, DAY + timedelta(days=at)).generation for at in range(days)]


def merge(database: Database, before: date = OCTOBER) -> ArchivedDay | None:
    return merge_span(database, 1, "month", MONTH, before=before)


def test_a_year_is_made_of_its_months_that_ended(database: Database) -> None:
    """September (merged) and a day of October; November goes on."""
    archive_days(database)
    october, november = DAY + timedelta(days=30), DAY + timedelta(days=60)
    for table, times in (("visits", ("first_time", "last_time")), ("actions", ("time",))):
        for later in (30, 60):
            moved = ", ".join(f"{one} + toIntervalDay({later}) AS {one}" for one in times)
            ids = f"visit_id + {later} AS visit_id"
            ids += f", hit_id + {later} AS hit_id" if table == "actions" else ""
            database.command(
                f"INSERT INTO {table} SELECT * REPLACE (date + {later} AS date, {moved}, {ids}) FROM {table}"
                f" FINAL WHERE date = '{DAY}'"
            )
    age(database, 3600)
    for day in (october, november):
        archive_day(database, 1, day)
    merge(database)
    reports = Reports(database, {"archives": EngineArchives(database), "methods": METHODS})
    methods = (
        "VisitsSummary.get", "VisitFrequency.get", "Actions.getPageUrls", "Referrers.getAll",
        "UserCountry.getCountry",
    )  # fmt: skip
    expected = [reports.ask(one, period="year") for one in methods]
    before = date(2026, 11, 20)
    assert spans_to_merge(database, before) == {(1, "year", date(2026, 1, 1))}
    merged = merge_span(database, 1, "year", date(2026, 1, 1), before=before)
    assert merged is not None
    assert spans_to_merge(database, before) == set()
    found = EngineArchives(database).current_days(
        1, date(2026, 1, 1), date(2026, 12, 31), "", [AGGREGATES["pages"]], by_month=True
    )
    assert {day: one.segment for day, one in found.items()} == {
        **{DAY + timedelta(days=at): "years of " for at in range(DAYS)},
        october: "years of ",
        november: "",
    }
    for table in ("archives", "uniques"):
        where = f"date < '{november}' AND segment != 'years of '"
        database.command(f"ALTER TABLE {table} DELETE WHERE {where} SETTINGS mutations_sync = 2")
    reports = Reports(database, {"archives": EngineArchives(database), "methods": METHODS})
    assert [reports.ask(one, period="year") for one in methods] == expected


def generations(archives: EngineArchives, *, by_month: bool = True) -> list[StoredDay]:
    pages = [AGGREGATES["pages"]]
    found = archives.current_days(1, MONTH, date(2026, 9, 30), "", pages, by_month=by_month)
    return list(found.values())


def test_a_merged_month_answers_as_its_days_do(database: Database) -> None:
    """Every report, from nothing but the merged rows and those of the day that is not archived."""
    archive_days(database)

    def answers() -> dict[str, Any]:
        reports = Reports(
            database, {"archives": EngineArchives(database), "compatibility": "full", "methods": METHODS}
        )
        periods = (
            {"period": "month"},
            {"period": "range", "date": "2026-08-20,2026-10-03"},
        )

        return {
            f"{name} {period}": reports.ask(name, **{**parameters, **period})
            for name, parameters in questions([])
            if not name.startswith(("Live.", "Insights."))
            for period in periods
            if METHODS[name].cells is not None
        }

    expected = answers()
    assert merge(database) is not None
    for table in ("archives", "uniques"):
        database.command(f"ALTER TABLE {table} DELETE WHERE segment = '' SETTINGS mutations_sync = 2")
    found = answers()
    assert [name for name in expected if found[name] != expected[name]] == []


def test_archives_without_states_of_new_and_returning_visitors_leave_them_to_rows(database: Database) -> None:
    """As an older release made them: one day alone, then with the month that it was merged into."""
    archive_days(database)
    expected = Reports(database, {"methods": METHODS}).ask("VisitFrequency.get", period="month")
    older = (
        "SELECT * EXCEPT reports, arrayFilter(one -> one != 'uniques:types', reports) FROM archive_days FINAL"
    )
    database.command(f"INSERT INTO archive_days {older} WHERE date = '{DAY}'")
    database.command(
        "ALTER TABLE uniques UPDATE new_visitors = arrayReduce('uniqExactState', emptyArrayUInt64()),"
        f" returning_visitors = new_visitors WHERE date = '{DAY}' SETTINGS mutations_sync = 2"
    )

    def answer() -> Any:
        state = {"archives": EngineArchives(database), "methods": METHODS}
        return Reports(database, state).ask("VisitFrequency.get", period="month")

    assert answer() == expected
    assert merge(database) is not None
    assert answer() == expected
    age(database, 3600)
    archive_day(database, 1, DAY)
    assert merge(database) is not None
    database.command("ALTER TABLE uniques DELETE WHERE segment = '' SETTINGS mutations_sync = 2")
    assert answer() == expected, "the month archived anew has them"


def test_days_are_read_alone_where_they_are_asked_for_alone(database: Database) -> None:
    made = archive_days(database)
    archives = EngineArchives(database)
    alone = [StoredDay("", generation) for generation in made]
    assert generations(archives) == alone
    merged = merge(database)
    assert merged is not None
    assert generations(archives, by_month=False) == alone
    assert generations(archives) == [StoredDay(MERGED_MONTH, merged.generation)] * DAYS
    pages = [AGGREGATES["pages"]]
    for first, last in ((MONTH, date(2026, 9, 29)), (MONTH + timedelta(days=1), date(2026, 9, 30))):
        part = archives.current_days(1, first, last, "", pages, by_month=True)
        assert list(part.values()) == alone, "the month doesn't lie within"


def test_a_month_that_goes_on_is_read_where_its_merged_days_lie_within(database: Database) -> None:
    made, pages = archive_days(database), [AGGREGATES["pages"]]
    archives, end = EngineArchives(database), DAY + timedelta(days=2)
    merged = merge(database, end)
    assert merged is not None
    of_month = StoredDay(MERGED_MONTH, merged.generation)
    alone = [StoredDay("", generation) for generation in made]
    for last, expected in (
        (DAY + timedelta(days=1), [of_month, of_month]),
        (date(2026, 9, 30), [of_month, of_month, *alone[2:]]),
        (DAY, alone[:1]),
    ):
        found = archives.current_days(1, MONTH, last, "", pages, by_month=True)
        assert list(found.values()) == expected


def test_a_month_is_not_read_after_one_of_its_days_changed(database: Database) -> None:
    archive_days(database)
    assert merge(database) is not None
    assert merge(database) is None, "it is as it was"
    archives = EngineArchives(database)
    fill(database, 10, seed=2)
    assert {one.segment for one in generations(archives)} == {""}
    age(database, 3600)
    archive_day(database, 1, DAY)
    assert {one.segment for one in generations(archives)} == {""}
    assert spans_to_merge(database, OCTOBER) == {(1, "month", MONTH)}
    again = merge(database)
    assert again is not None
    assert {one.generation for one in generations(archives)} == {again.generation}
    assert spans_to_merge(database, OCTOBER) == set()


def test_the_rows_of_replaced_months_and_of_forgotten_days_go(database: Database) -> None:
    archive_days(database)
    first = merge(database)
    assert first is not None
    assert superseded(database) == []
    archive_day(database, 1, DAY)
    assert merge(database) is not None
    left = superseded(database)
    assert first.generation in {generation for _, _, generation in left}
    forget(database, left)
    assert superseded(database) == []
    forget_days(database, 1, [DAY])
    for table in ("archives", "uniques", "archive_days"):
        found = database.rows(f"SELECT DISTINCT segment FROM {table}")
        assert found == [("",)], table
    assert merged_spans(database, 1, "") == []


def test_a_month_that_goes_on_is_merged_once_a_day_without_yesterday(database: Database) -> None:
    archive_days(database)
    now = [datetime(2026, 9, 7, 12, tzinfo=UTC).timestamp()]
    turns = MergeTurns(
        database,
        segments=lambda _: [],
        aggregates=lambda _: tuple(AGGREGATES.values()),
        limits=DEFAULT_LIMITS,
        clock=lambda: now[0],
    )
    assert turns.before == date(2026, 9, 6) == DAY + timedelta(days=2)
    turns.archived(1, DAY)
    assert turns.take(lambda *_: True) is None, "more of its days may be about to be archived"
    now[0] += 61
    assert turns.take(lambda *_: False) is None
    assert turns.take(lambda *_: True) == SPAN
    assert turns.merge(SPAN) == []
    archives = EngineArchives(database)
    assert [one.segment != "" for one in generations(archives)] == [True, True, False, False]
    assert turns.take(lambda *_: True) is None
    now[0] += 86400
    assert turns.take(lambda *_: True) == SPAN
    before = merged_spans(database, 1, "")[0].generation
    assert turns.merge(SPAN) == [(1, MONTH + timedelta(days=at), before) for at in range(30)]
    assert [one.segment != "" for one in generations(archives)] == [True, True, True, False]


def test_rollups_merge_what_they_archived(database: Database) -> None:
    fill(database, 600, days=2)
    age(database, 3600)
    now = [datetime(2026, 11, 1, tzinfo=UTC).timestamp()]
    rollups = Rollups(database, minimum_rows=0, clock=lambda: now[0])
    rollups.changed({SiteDay(1, FIRST_DAY), SiteDay(1, FIRST_DAY + 1)}, now[0] - 1000)
    while rollups.step():
        pass
    assert merged_spans(database, 1, "") == []
    now[0] += 61
    rollups.changed({SiteDay(1, FIRST_DAY)})
    assert not rollups.step()
    assert merged_spans(database, 1, "") == [], "a day of it waits"
    now[0] += 3600
    while rollups.step():
        pass
    assert [one.start for one in merged_spans(database, 1, ALL_VISITS.key)] == [MONTH]
    assert rollups.status().failed == 0
