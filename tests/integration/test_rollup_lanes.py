"""No site waits long for another one's archives, and tiny sites cost next to nothing."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from schemas.reports import AGGREGATES, Aggregate
from schemas.settings import SettingsError
from sink.archives import ArchivedSegment, current_days
from sink.database import Database
from sink.encoding import SiteDay
from sink.rollups import LANES, Rollups, RollupWorker, open_rollups, parse_workers
from sink.settings import RollupSettings
from tests.integration.test_archives import DAY, FIRST_DAY, age, fill
from tests.waiting import wait_until

SLOW = ArchivedSegment(key="slow", visit="sleepEachRow(0.02) = 0")
"""A computation that takes long without taking a processor from the tests beside it."""


def few_reports(_: int) -> tuple[Aggregate, ...]:
    return tuple(AGGREGATES[name] for name in ("summary", "visitor_types", "visits_per_page"))


@contextmanager
def running(rollups: Rollups) -> Iterator[None]:
    threads = [
        threading.Thread(target=rollups.run, args=(worker, lane))
        for worker in rollups.workers
        for lane in LANES
    ]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        rollups.stop()
        for thread in threads:
            thread.join()


def archived_sites(database: Database, segment: str = "") -> set[int]:
    found = database.rows(
        "SELECT DISTINCT site_id FROM archive_days FINAL WHERE segment = {key:String}", {"key": segment}
    )
    return {int(row[0]) for row in found}


def test_sites_do_not_wait_for_one_that_takes_long(database: Database) -> None:
    """Whichever lane has it first: the quick one gives it up, the long one keeps it beside the others."""
    fill(database, 120)
    for site in range(2, 7):
        fill(database, 60, site_id=site)
    age(database, 120)
    rollups = Rollups(
        database,
        segments=lambda site: [SLOW] if site == 1 else [],
        aggregates=few_reports,
        minimum_rows=0,
        give_up_seconds=1.0,
    )
    with running(rollups):
        wait_until(lambda: archived_sites(database) >= {2, 3, 4, 5, 6})
        assert 1 not in archived_sites(database, "slow"), "the others waited for the long one"
        wait_until(lambda: 1 in archived_sites(database, "slow"))
    status = rollups.status()
    assert (status.failed, status.running, status.waiting) == (0, 0, 0)
    assert list(current_days(database, 1, DAY, DAY, segment="slow", reports=[])) == [DAY]


def test_what_took_long_once_is_not_tried_in_the_quick_lane_again(database: Database) -> None:
    fill(database, 120)
    age(database, 120)
    now = [time.time()]
    rollups = Rollups(
        database,
        segments=lambda _: [SLOW],
        aggregates=few_reports,
        minimum_rows=0,
        give_up_seconds=0.5,
        clock=lambda: now[0],
    )
    rollups.changed({SiteDay(1, FIRST_DAY)})
    worker = rollups.workers[0]
    now[0] += 120  # the day is quiet by now
    assert rollups.step(worker, "long"), "all visits, however long they take"
    assert rollups.step(worker, "quick"), "the slow segment, given up"
    assert archived_sites(database) == {1}
    assert archived_sites(database, "slow") == set()
    for _ in range(2):
        assert rollups.status().waiting == 1
        assert not rollups.step(worker, "quick")
        while rollups.step(worker, "long"):
            pass
        assert archived_sites(database, "slow") == {1}
        assert rollups.status().waiting == 0
        rollups.changed({SiteDay(1, FIRST_DAY)}, at=now[0])
        now[0] += 120


def test_the_segments_of_a_site_are_no_reason_for_others_to_wait(database: Database) -> None:
    """Small days of several sites take turns in the quick lane, one segment each."""
    for site in (1, 2):
        fill(database, 60, site_id=site)
    age(database, 120)
    three = [ArchivedSegment(key=str(at), visit=f"actions > {at}") for at in range(3)]
    rollups = Rollups(
        database,
        segments=lambda site: three if site == 1 else [],
        aggregates=few_reports,
        minimum_rows=0,
    )
    worker = rollups.workers[0]
    rollups.changed({SiteDay(1, FIRST_DAY)}, at=time.time() - 110)
    rollups.changed({SiteDay(2, FIRST_DAY)}, at=time.time() - 100)
    for _ in range(2):
        assert rollups.step(worker, "quick")
    assert archived_sites(database) == {1, 2}
    assert archived_sites(database, "2") == set()
    while rollups.step(worker, "quick"):
        pass
    assert archived_sites(database, "2") == {1}
    assert rollups.status().waiting == 0


def test_a_worker_computes_its_own_sites_only(database: Database) -> None:
    for site in (1, 2, 3):
        fill(database, 60, site_id=site)
    age(database, 120)
    workers = parse_workers(["shops=1 3"])
    rollups = Rollups(database, aggregates=few_reports, minimum_rows=0, workers=workers)
    shops, rest = rollups.workers
    while rollups.step(shops):
        pass
    assert archived_sites(database) == {1, 3}
    while rollups.step(rest):
        pass
    assert archived_sites(database) == {1, 2, 3}


def test_a_process_of_one_worker_does_not_wait_for_the_sites_of_others(database: Database) -> None:
    for site in (1, 2):
        fill(database, 60, site_id=site)
    age(database, 120)
    settings = RollupSettings(rollup_workers=("shops=1",), rollup_worker="shops")
    rollups = open_rollups(database, settings)
    assert [name for name, _ in rollups.lanes()] == ["rollups-shops-quick", "rollups-shops-long"]
    rollups.changed({SiteDay(2, FIRST_DAY)})
    rollups.step()
    assert rollups.status().waiting == 0
    with pytest.raises(SettingsError, match="there is no rollup worker 'blog'"):
        open_rollups(database, RollupSettings(rollup_worker="blog"))


@pytest.mark.parametrize(
    "wrong", ["shops", "shops=", "=1", "shops=one", "shops=1 x", "rest=1", "a=1,a=2", "a=1,b=1"]
)
def test_workers_need_a_name_and_sites_of_their_own(wrong: str) -> None:
    with pytest.raises(ValueError, match=r"is no worker|for the second time"):
        parse_workers(wrong.split(","))


def test_workers_are_told_by_name_and_one_takes_what_is_left() -> None:
    assert parse_workers([]) == (RollupWorker(),)
    assert parse_workers(["shops=1 2", "blog = 7"]) == (
        RollupWorker("shops", frozenset({1, 2})),
        RollupWorker("blog", frozenset({7})),
        RollupWorker(),
    )


def test_thousands_of_tiny_sites_cost_a_few_queries(database: Database) -> None:
    """Every one of 5,000 sites had a visit; none is worth an archive, which some queries find out."""
    database.command(
        "INSERT INTO visits (site_id, date, visit_id, visitor_id)"
        " SELECT number + 1, {day:Date}, number, number FROM numbers(5000)",
        {"day": DAY},
    )
    age(database, 120)
    rollups = Rollups(database)
    asked = "SELECT value FROM system.events WHERE event = 'Query'"
    before = int(database.rows(asked)[0][0])
    assert not rollups.step(), "nothing is worth computing"
    assert rollups.status().waiting <= 4000
    while rollups.status().waiting:
        assert not rollups.step()
    queries = int(database.rows(asked)[0][0]) - before
    assert queries < 100
    assert archived_sites(database) == set()
