"""A site whose archives really take a minute delays no other one: rows by the million, no sleeping.

python -m pytest -s -m slow tests/integration/test_rollup_isolation.py
"""

import os
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from hitstream.archives import StoredSegments
from schemas.config import StoredSegment
from sink.database import Database
from sink.encoding import SiteDay
from sink.rollups import Rollups
from tests.integration.reports import CONFIG
from tests.integration.test_archives import FIRST_DAY, age, fill
from tests.integration.test_rollup_lanes import archived_sites, running
from tests.waiting import wait_until

BASE_ACTIONS = 3000
TIMES = int(os.environ.get("ISOLATION_TIMES", "600"))
"""How often the rows are stored: 1,800,000 actions. Less where others use the machine."""
LONG_SECONDS = float(os.environ.get("ISOLATION_SECONDS", "60"))
MOST_DELAY_SECONDS = 5.0
DEFINITIONS = (
    "actions>1", "visitDuration>10", "pageUrl=@/", "countryCode!=xx", "browserCode!=IE", "visitorType==new",
    "actions>2;pageUrl=@/", "deviceType!=tv",
)  # fmt: skip
_IDS = {
    "visits": ("visit_id", "visitor_id"),
    "actions": ("hit_id", "visit_id", "visitor_id"),
    "conversions": ("hit_id", "visit_id", "visitor_id"),
}


def multiply(database: Database, times: int) -> None:
    """Copies of all rows of site 1 under ids of their own."""
    for table, ids in _IDS.items():
        other = ", ".join(f"t.{name} + n.number * 1000000007 AS {name}" for name in ids)
        database.command(
            f"INSERT INTO {table} SELECT t.* REPLACE({other}) FROM {table} AS t"
            f" CROSS JOIN numbers(1, {times - 1}) AS n WHERE t.site_id = 1"
        )


def copy_site(database: Database, site_id: int, long_ago: datetime) -> None:
    """The rows of site 2, stored as another site's some minutes ago."""
    for table in _IDS:
        database.command(
            f"INSERT INTO {table} SELECT t.* REPLACE(toUInt32({site_id}) AS site_id,"
            " {stored:DateTime64(3)} AS inserted_at)"
            f" FROM {table} AS t WHERE t.site_id = 2",
            {"stored": long_ago},
        )


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_site_that_takes_a_minute_delays_no_other_by_five_seconds(database: Database) -> None:
    fill(database, BASE_ACTIONS)
    multiply(database, TIMES)
    fill(database, BASE_ACTIONS, site_id=2)
    age(database, 300)
    segments = {
        at: StoredSegment(segment_id=at, name=str(at), definition=text, auto_archive=True, site_id=1)
        for at, text in enumerate(DEFINITIONS, 1)
    }
    config = replace(CONFIG, segments=segments)
    rollups = Rollups(database, segments=StoredSegments(lambda: config))
    began = time.monotonic()
    delays: list[float] = []
    with running(rollups):
        wait_until(lambda: 2 in archived_sites(database))
        while rollups.status().running or rollups.status().waiting:
            site = 10 + len(delays)
            copy_site(database, site, datetime.now(UTC) - timedelta(seconds=200))
            told = time.monotonic()
            rollups.changed([SiteDay(site, FIRST_DAY)], at=time.time() - 200)
            wait_until(lambda site=site: site in archived_sites(database))  # type: ignore[misc]
            delays.append(time.monotonic() - told)
            if len(archived_of_the_large(database)) == len(DEFINITIONS) + 1:
                break
        took = time.monotonic() - began
    counted = database.rows("SELECT count() FROM actions WHERE site_id = 1")[0][0]
    print(
        f"\n{counted:,} actions under {len(DEFINITIONS)} segments took {took:.0f} s; {len(delays)} sites"
        f" beside waited {sorted(delays)[len(delays) // 2]:.2f} s in the middle, {max(delays):.2f} s at most"
    )
    assert rollups.status().failed == 0
    assert took > LONG_SECONDS, "the large site was not large enough to show anything"
    assert len(delays) > 10
    assert max(delays) < MOST_DELAY_SECONDS


def archived_of_the_large(database: Database) -> set[str]:
    found = database.rows("SELECT DISTINCT segment FROM archive_days FINAL WHERE site_id = 1")
    return {str(row[0]) for row in found}
