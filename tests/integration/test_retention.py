"""Rows go by month; what their archives say stays, and nothing computes those days again."""

from collections.abc import Mapping
from datetime import date, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

import pytest

from bench.lifelike_rows import lifelike_rows
from hitstream.archives import EngineArchives, StoredSegments
from hitstream.history import read_histories
from hitstream.replay import ReplayError, plan_replays
from processors.repairs import Wanted
from reporting.table import single_value
from schemas.config import Config, Privacy, Site, StoredSegment
from schemas.history import OwnerRefold
from schemas.report_queries import day_sql
from schemas.reports import AGGREGATES
from schemas.rows import Action, Visit, encode_output
from schemas.topics import partition_of
from sink.archives import (
    FrozenDayError,
    archive_day,
    archive_sql,
    current_days,
    frozen_before,
    stale_days,
)
from sink.database import Database
from sink.encoding import HITS, Entry, split
from sink.report_keys import report_key
from sink.retention import Retention, drop_archives, drop_rows
from sink.settings import SinkSettings
from tests.builders import NOON, a_hit, config_events
from tests.instance import RunningInstance
from tests.integration.reports import Reports
from tests.integration.test_archives import store
from tests.integration.traffic import hit, send
from tests.pipeline import Pipeline
from tests.waiting import wait_until

OCTOBER = date(2026, 10, 1)
DAY = date(2026, 9, 29)
FIRST_DAY = (DAY - date(1970, 1, 1)).days
KEYS = [report_key(one) for one in AGGREGATES.values()]


def fill(database: Database, actions: int) -> None:
    """Lifelike rows of two days of September and two of October."""
    rows = list(lifelike_rows(actions, first_day=FIRST_DAY, days=4))
    latest = {visit.visit_id: visit for visit, _, _ in rows}
    store(database, 0, [encode_output(visit) for visit in latest.values()])
    store(database, 1, [encode_output(action) for _, action, _ in rows])


def pages_from_rows(database: Database) -> list[Any]:
    found = database.rows(day_sql(AGGREGATES["pages"]), {"site": 1, "first": DAY, "last": DAY})
    return sorted(map(tuple, found))


def pages_from_archive(database: Database, generation: int) -> list[Any]:
    bound = {
        "site": 1, "segments": [""], "report": report_key(AGGREGATES["pages"]), "days": [DAY],
        "generations": [generation],
    }  # fmt: skip
    return sorted(map(tuple, database.rows(archive_sql(AGGREGATES["pages"]), bound)))


def rows_of(database: Database, table: str) -> dict[int, int]:
    """Rows by month."""
    return dict(database.rows(f"SELECT toMonth(date), count() FROM {table} FINAL GROUP BY ALL"))  # type: ignore[arg-type]


def test_dropped_months_keep_their_reports_and_are_never_computed_again(database: Database) -> None:
    fill(database, 300)
    expected = pages_from_rows(database)
    assert expected
    assert set(rows_of(database, "visits")) == {9, 10}
    assert drop_rows(database, OCTOBER) >= 2
    assert set(rows_of(database, "visits")) == set(rows_of(database, "actions")) == {10}
    assert frozen_before(database) == OCTOBER
    generation = current_days(database, 1, DAY, DAY, reports=KEYS)[DAY]
    assert pages_from_archive(database, generation) == expected
    with pytest.raises(FrozenDayError, match="its archive is final"):
        archive_day(database, 1, DAY)
    # Rows that come late to a frozen day change nothing of its reports and go with the next run.
    store(database, 0, [encode_output(a_visit())], first_offset=9000)
    assert current_days(database, 1, DAY, DAY, reports=KEYS) == {DAY: generation}
    assert all(stale.date >= OCTOBER for stale in stale_days(database))
    drop_rows(database, OCTOBER)
    assert set(rows_of(database, "visits")) == {10}


def test_stored_segments_of_dropped_months_keep_their_reports(database: Database) -> None:
    fill(database, 300)
    (country,) = database.rows("SELECT country FROM visits WHERE date = {day:Date} LIMIT 1", {"day": DAY})[0]
    stored = StoredSegment(segment_id=1, name="A", definition=f"countryCode=={country}", auto_archive=True)
    config = Config(sites={1: Site(site_id=1, name="One")}, segments={1: stored})
    segments = StoredSegments(lambda: config)
    ((key,),) = [[one.key for one in segments(1)]]
    bound = {"day": DAY, "country": country}
    expected = database.rows(
        "SELECT uniqExact(visitor_id) FROM visits FINAL WHERE date = {day:Date}"
        " AND country = {country:String}",
        bound,
    )
    drop_rows(database, OCTOBER, segments=segments)
    days = current_days(database, 1, DAY, DAY, segment=key, reports=KEYS)
    assert list(days) == [DAY]
    kept = database.rows("SELECT segment, date, uniqExactMerge(visitors) FROM uniques GROUP BY ALL")
    assert expected[0][0] > 0
    assert (key, DAY, expected[0][0]) in [tuple(row) for row in kept]


def a_visit(**fields: Any) -> Visit:
    day = (DAY - date(1970, 1, 1)).days
    defaults = {"site_id": 1, "date": day, "visit_id": 77, "visitor_id": 7, "owner": 7, "config_id": 0}
    return Visit(**{**defaults, **fields})


def test_the_lifetimes_of_the_settings_count_in_whole_months(database: Database) -> None:
    fill(database, 200)
    settings = SinkSettings(keep_rows_days=20, keep_archives_days=0)
    # 20 days before the 25th of October is the 5th: October stays whole.
    Retention(database, settings, today=lambda: date(2026, 10, 25)).step()
    assert set(rows_of(database, "visits")) == {10}
    assert frozen_before(database) == OCTOBER
    assert dict(database.rows("SELECT toMonth(date), count() > 0 FROM archives GROUP BY ALL")) == {9: 1}  # type: ignore[arg-type]
    drop_archives(database, OCTOBER)
    assert database.rows("SELECT count() FROM archives") == [(0,)]
    assert current_days(database, 1, DAY, OCTOBER - timedelta(days=1), reports=KEYS) == {}


def test_the_lifetime_of_the_configuration_comes_before_the_setting(database: Database) -> None:
    fill(database, 200)
    never = Retention(database, SinkSettings(), Privacy, today=lambda: date(2026, 10, 25))
    never.step()
    assert set(rows_of(database, "visits")) == {9, 10}
    privacy = Privacy(keep_rows_days=20)
    Retention(database, SinkSettings(), lambda: privacy, today=lambda: date(2026, 10, 25)).step()
    assert set(rows_of(database, "visits")) == {10}


def test_unique_visitors_over_frozen_days_come_from_their_states(database: Database) -> None:
    fill(database, 300)
    sql = "SELECT uniqExact(visitor_id) FROM visits FINAL WHERE toMonth(date) = 9"
    (expected,) = database.rows(sql)[0]
    drop_rows(database, OCTOBER)
    reports = Reports(database, {"archives": EngineArchives(database)})
    asked = {"method": "VisitsSummary.getUniqueVisitors", "period": "month"}
    assert reports.ask(**asked, date="2026-09-30") == single_value("nb_uniq_visitors", expected)
    (expected,) = database.rows("SELECT uniqExact(visitor_id) FROM visits FINAL WHERE toMonth(date) = 10")[0]
    assert reports.ask(**asked, date="2026-10-01") == single_value("nb_uniq_visitors", expected)


def test_a_replay_leaves_frozen_days_alone() -> None:
    config = Config(sites={1: Site(site_id=1, name="One")})
    (replay,) = plan_replays(config, [], "", "2026-10-05", "", frozen=OCTOBER)
    assert datetime.fromtimestamp(replay.begin).date() == OCTOBER
    with pytest.raises(ReplayError, match="the rows before 2026-10-01 are gone"):
        plan_replays(config, [], "", "2026-09-30", "", frozen=OCTOBER)


def test_an_owner_whose_old_hits_are_gone_keeps_what_they_made(database: Database, tmp_path: Any) -> None:
    """A refold goes on after the last visit that can't be folded again, with what was known by then."""
    old, middle, new = a_hit(NOON - 90 * 86400), a_hit(NOON), a_hit(NOON + 9000)
    pipeline = Pipeline(tmp_path / "log", config_events())
    pipeline.send(old, middle, new)
    pipeline.process()
    before = pipeline.tables()
    visits, actions = pipeline.rows(Visit), pipeline.rows(Action)
    store(database, 0, [encode_output(visit) for visit in visits])
    store(database, 1, [encode_output(action) for action in actions])
    kept = [Entry(0, offset, value) for offset, value in pipeline.stored_hits(0xA1)[1:]]
    for block in split(HITS, kept, 1).by_month.values():
        database.insert_msgpack(HITS.name, HITS.columns, block.data)
    (history,) = read_histories(database, 1, [0xA1])
    assert [value for _, value in history.hits] == [value for _, value in pipeline.stored_hits(0xA1)[1:]]
    assert len(history.keys) == 4
    pipeline.tell(partition_of(0xA1, pipeline.log.partitions), OwnerRefold(1, 0xA1))
    (batch,) = pipeline.worker.poll(10, 1.0)
    pipeline.processor.repair(batch, [history], {(1, 0xA1): Wanted(always=True)})
    pipeline.worker.commit([batch])
    assert pipeline.tables() == before
    assert [visit.visit_count for visit in pipeline.rows(Visit)] == [1, 2, 3]
    pipeline.close()


def test_reports_of_months_without_rows_are_answered_and_say_so(empty: RunningInstance) -> None:
    instance = empty
    old = "2026-06-10 12:00:0"
    send(instance, [hit(number, 0, "old", cdt=f"{old}{number}") for number in range(1, 6)])
    send(instance, [hit(3, 0, "old", cdt="2026-06-11 12:00:00")])
    instance.drain()
    asked = {"idSite": "1", "period": "month", "date": "2026-06-10", "format": "json"}
    before = instance.api("VisitsSummary.get", **asked)
    pages = instance.api("Actions.getPageUrls", **asked)
    assert (before["nb_visits"], before["nb_uniq_visitors"]) == (6, 5)
    refused = instance.command("replay", "--from", "2026-06-01", "--to", "2026-06-30", "--dry-run")
    assert refused.returncode == 0
    instance.api("PrivacyManager.setDeleteLogsSettings", enableDeleteLogs="1", deleteLogsOlderThan="60")
    assert instance.api("PrivacyManager.executeDataPurge")["value"] is True
    assert instance.command("sql", "SELECT count() FROM visits", "--format", "TSV").stdout == "0\n"
    assert instance.api("VisitsSummary.get", **asked) == before
    assert instance.api("Actions.getPageUrls", **asked) == pages
    query = urlencode({"module": "API", "method": "VisitsSummary.get", **asked})

    def headers() -> Mapping[str, str]:
        status, _, answered = instance.client().answer("GET", f"/index.php?{query}")
        assert status == 200
        return answered

    wait_until(lambda: "X-Hitstream-Rows-From" in headers())
    frozen = headers()["X-Hitstream-Rows-From"]
    assert frozen[-3:] == "-01"
    recent = urlencode({"module": "API", "method": "VisitsSummary.get", **asked, "date": "today"})
    assert "X-Hitstream-Rows-From" not in instance.client().answer("GET", f"/index.php?{recent}")[2]
    refused = instance.command("replay", "--from", "2026-06-01", "--to", "2026-06-30")
    assert f"the rows before {frozen} are gone" in refused.stderr
    # A hit that comes late to a frozen day changes no report.
    send(instance, [hit(9, 0, "late", cdt="2026-06-10 13:00:00")])
    instance.drain()
    assert instance.api("Actions.getPageUrls", **asked) == pages
    assert f"rows 60 days; days before {frozen} are frozen" in instance.command("doctor").stdout
