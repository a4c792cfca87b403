"""An archive says what a recount of the rows says, and is never taken for newer than it is."""

from datetime import date, datetime, timedelta
from pathlib import Path

import pytest

from bench.lifelike_rows import lifelike_rows
from hitstream.archives import EngineArchives
from reporting.archives import StoredDay
from schemas.report_queries import day_sql
from schemas.reports import AGGREGATES
from schemas.rows import encode_output
from sink.archives import (
    ALL_VISITS,
    ArchivedSegment,
    ArchiveLimits,
    archive_day,
    archive_sql,
    current_days,
    forget,
    stale_days,
    superseded,
)
from sink.database import Database
from sink.encoding import ROW_TABLES, Entry, SiteDay, split
from sink.report_keys import report_key
from sink.rollups import Rollups, next_start

FIRST_DAY = 20_700
DAY = date(1970, 1, 1) + timedelta(days=FIRST_DAY)


def store(database: Database, table_number: int, values: list[bytes], *, first_offset: int = 0) -> None:
    table = ROW_TABLES[table_number]
    entries = [Entry(0, first_offset + at, value) for at, value in enumerate(values)]
    for block in split(table, entries, 1).by_month.values():
        database.insert_msgpack(table.name, table.columns, block.data)


def fill(database: Database, actions: int = 3000, *, site_id: int = 1, days: int = 1, seed: int = 1) -> None:
    rows = list(lifelike_rows(actions, site_id=site_id, first_day=FIRST_DAY, days=days, seed=seed))
    # A visit goes out with each action: its last state wins
    latest = {visit.visit_id: visit for visit, _, _ in rows}
    store(database, 0, [encode_output(visit) for visit in latest.values()])
    store(database, 1, [encode_output(action) for _, action, _ in rows])
    store(database, 2, [encode_output(conversion) for _, _, conversion in rows if conversion])


def age(database: Database, seconds: int) -> None:
    """As if all rows had been stored earlier."""
    for table in ("visits", "actions", "conversions", "conversion_items"):
        database.command(
            f"ALTER TABLE {table} UPDATE inserted_at = inserted_at - toIntervalSecond({seconds}) WHERE 1"
            " SETTINGS mutations_sync = 2"
        )


def keys() -> list[str]:
    return [report_key(one) for one in AGGREGATES.values()]


def recount(database: Database, name: str, segment: ArchivedSegment = ALL_VISITS) -> list[tuple[object, ...]]:
    sql = day_sql(AGGREGATES[name], visit=segment.visit, ids=segment.ids)
    found = database.rows(sql, {"site": 1, "first": DAY, "last": DAY, **segment.parameters})
    return sorted(map(tuple, found))


def archived(
    database: Database, name: str, generation: int, segment: ArchivedSegment = ALL_VISITS
) -> list[tuple[object, ...]]:
    found = database.rows(
        archive_sql(AGGREGATES[name]),
        {
            "site": 1,
            "segments": [segment.key],
            "report": report_key(AGGREGATES[name]),
            "days": [DAY],
            "generations": [generation],
        },
    )
    return sorted(map(tuple, found))


@pytest.mark.parametrize(
    "limits",
    [ArchiveLimits(), ArchiveLimits(small_day_rows=0), ArchiveLimits(small_day_rows=0, shared_day_rows=0)],
    ids=["all together", "by source", "one by one"],
)
def test_every_archive_equals_a_recount_of_the_rows(database: Database, limits: ArchiveLimits) -> None:
    fill(database)
    fill(database, 500, site_id=2, seed=2)
    done = archive_day(database, 1, DAY, limits=limits)
    filled = 0
    for name in AGGREGATES:
        expected = recount(database, name)
        assert archived(database, name, done.generation) == expected, name
        filled += bool(expected)
    assert filled > 40
    uniques = database.rows(
        "SELECT uniqExactMerge(visitors), uniqExactMerge(users) FROM uniques"
        " WHERE site_id = 1 AND generation = {g:UInt64}",
        {"g": done.generation},
    )
    assert uniques == database.rows("SELECT uniqExact(visitor_id), 0 FROM visits FINAL WHERE site_id = 1")


def test_an_archive_of_a_segment_holds_only_its_visits(database: Database) -> None:
    fill(database)
    segment = ArchivedSegment(
        key="mobile",
        visit="device_type = {device:UInt8}",
        ids="visit_id IN (SELECT visit_id FROM visits FINAL WHERE site_id = {site:UInt32}"
        " AND date BETWEEN {first:Date} AND {last:Date} AND device_type = {device:UInt8})",
        parameters={"device": 1},
    )
    done = archive_day(database, 1, DAY, segment=segment)
    for name in ("summary", "pages", "goals", "browsers"):
        assert archived(database, name, done.generation, segment) == recount(database, name, segment), name
        assert recount(database, name, segment) != recount(database, name)


def test_computing_again_replaces_the_archive_and_the_old_one_can_be_forgotten(database: Database) -> None:
    fill(database, 300)
    first = archive_day(database, 1, DAY)
    age(database, 3600)
    second = archive_day(database, 1, DAY)
    assert current_days(database, 1, DAY, DAY, reports=keys()) == {DAY: second.generation}
    assert superseded(database) == [(1, DAY, first.generation)]
    forget(database, superseded(database))
    assert superseded(database) == []
    assert archived(database, "pages", first.generation) == []
    assert archived(database, "pages", second.generation) == recount(database, "pages")


def test_a_day_whose_rows_are_younger_than_its_archive_is_not_current(database: Database) -> None:
    fill(database, 200)
    archive_day(database, 1, DAY)
    # The rows are not yet older than the slack: one that was on its way may have been missed
    assert current_days(database, 1, DAY, DAY, reports=keys()) == {}
    assert [(one.site_id, one.date) for one in stale_days(database)] == [(1, DAY)]
    age(database, 120)
    assert list(current_days(database, 1, DAY, DAY, reports=keys())) == [DAY]
    assert stale_days(database) == []
    later = list(lifelike_rows(210, first_day=FIRST_DAY))[-1][1]
    store(database, 1, [encode_output(later)], first_offset=1000)
    assert current_days(database, 1, DAY, DAY, reports=keys()) == {}
    assert [(one.site_id, one.date) for one in stale_days(database)] == [(1, DAY)]


def test_a_deleted_row_makes_its_day_stale(database: Database) -> None:
    fill(database, 50)
    age(database, 120)
    archive_day(database, 1, DAY)
    assert stale_days(database) == []
    gone = next(lifelike_rows(50, first_day=FIRST_DAY))[1]
    store(database, 1, [encode_output(gone, is_deleted=True)], first_offset=1000)
    assert [(one.site_id, one.date) for one in stale_days(database)] == [(1, DAY)]


def test_an_archive_without_a_report_of_today_is_not_current_for_it(database: Database) -> None:
    fill(database, 50)
    age(database, 120)
    archive_day(database, 1, DAY, aggregates=[AGGREGATES["summary"]])
    summary, pages = report_key(AGGREGATES["summary"]), report_key(AGGREGATES["pages"])
    assert list(current_days(database, 1, DAY, DAY, reports=[summary])) == [DAY]
    assert current_days(database, 1, DAY, DAY, reports=[summary, pages]) == {}
    assert stale_days(database, reports=[summary]) == []
    assert [one.date for one in stale_days(database, reports=[pages])] == [DAY]


def test_a_sweep_finds_what_no_hint_told_and_only_that(database: Database) -> None:
    fill(database, 400, days=3)
    age(database, 120)
    rollups = Rollups(database, minimum_rows=0)
    assert rollups.step()
    assert rollups.step()
    assert rollups.step()
    assert not rollups.step()
    assert rollups.status().computed == 3
    assert rollups.status().waiting == 0
    days = [DAY + timedelta(days=n) for n in range(3)]
    assert sorted(current_days(database, 1, DAY, days[-1], reports=keys())) == days


def test_a_tiny_day_is_left_to_be_answered_from_rows(database: Database) -> None:
    fill(database, 50)
    fill(database, 1500, site_id=2)
    age(database, 120)
    rollups = Rollups(database)
    while rollups.step():
        pass
    assert rollups.status().waiting == 0
    assert database.rows("SELECT DISTINCT site_id FROM archive_days") == [(2,)]


def test_a_day_is_computed_after_it_was_quiet_and_not_too_often(database: Database) -> None:
    fill(database, 100)
    now = [datetime.now().timestamp()]
    rollups = Rollups(database, minimum_rows=0, clock=lambda: now[0])
    rollups.changed({SiteDay(1, FIRST_DAY)})
    assert not rollups.step()
    assert rollups.status().waiting == 1
    now[0] += 62
    assert rollups.step()
    assert not rollups.step()
    rollups.changed({SiteDay(1, FIRST_DAY)})
    now[0] += 62 + 20 * rollups.status().seconds
    assert rollups.step()


@pytest.mark.parametrize(
    ("changed_at", "last_end", "last_seconds", "expected"),
    [
        (1000.0, None, 0.0, 1061.0),
        (1000.0, 1000.0, 0.1, 1061.0),
        (1000.0, 1010.0, 1.0, 1070.0),
        (1000.0, 1010.0, 10.0, 1210.0),
    ],
)
def test_the_interval_is_the_larger_of_60_seconds_and_20_durations(
    changed_at: float, last_end: float | None, last_seconds: float, expected: float
) -> None:
    assert next_start(changed_at, last_end, last_seconds) == expected


def test_a_failing_site_is_reported_and_tried_again_later(database: Database) -> None:
    fill(database, 50)
    fill(database, 50, site_id=2)
    now = [datetime.now().timestamp() + 120]
    broken = ArchivedSegment(key="broken", visit="no_such_column = 1")
    rollups = Rollups(
        database,
        segments=lambda site: [broken] if site == 1 else [],
        minimum_rows=0,
        clock=lambda: now[0],
    )
    while rollups.step():
        pass
    status = rollups.status()
    assert status.failed == 1
    assert "no_such_column" in status.last_error
    assert status.waiting == 1
    assert list(current_days(database, 2, DAY, DAY, reports=[])) == []
    now[0] += 62 + 20 * status.seconds
    assert rollups.step()


def test_the_memory_of_a_computation_is_bounded(database: Database, tmp_path: Path) -> None:
    from clickhouse_connect.driver.exceptions import DatabaseError

    fill(database, 3000)
    # too little for rows shared by all aggregates of actions, enough for one after the other
    archived_once = archive_day(database, 1, DAY)
    expected = archived(database, "pages", archived_once.generation)
    little = archive_day(database, 1, DAY, limits=ArchiveLimits(max_memory_bytes=10 << 20))
    assert archived(database, "pages", little.generation) == expected
    with pytest.raises(DatabaseError, match=r"MEMORY_LIMIT|memory limit"):
        archive_day(database, 1, DAY, limits=ArchiveLimits(max_memory_bytes=200_000))
    assert current_days(database, 1, DAY, DAY, reports=[]) == {}


def test_a_reader_knows_of_a_row_at_once(database: Database) -> None:
    """What is current is kept only while nothing is stored."""
    fill(database, 60)
    age(database, 120)
    archives, summary = EngineArchives(database), [AGGREGATES["summary"]]
    assert archives.current_days(1, DAY, DAY, "", summary) == {}
    archived = archive_day(database, 1, DAY, aggregates=summary)
    for _ in range(2):
        assert archives.current_days(1, DAY, DAY, "", summary) == {DAY: StoredDay("", archived.generation)}
    fill(database, 10, seed=2)
    assert archives.current_days(1, DAY, DAY, "", summary) == {}
