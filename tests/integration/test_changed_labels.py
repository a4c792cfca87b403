"""Insights read only labels that may have changed enough: what they tell is what whole reports tell."""

from datetime import timedelta

import pytest

from reporting.methods import METHODS
from reporting.methods.insights import Thresholds, changes_of
from sink.database import Database
from tests.builders import NOON
from tests.integration.reports import DAY, SECONDS_OF_DAY, Reports, store
from tests.rows import a_visit, an_action

NEXT_DAY = DAY + timedelta(days=1)
PAGES = (
    # URL without scheme, title, visits on the first day and on the next
    ("example.org/same", "Same", 60, 60),
    # one class of labels: nothing changed in sum
    ("example.org/p-1", "P 1", 12, 0),
    ("example.org/p1/", "p-1", 0, 12),
    # shown as one: only together they weigh enough
    ("a.example/x/y", "x%20y", 0, 1),
    ("b.example/x/y", " x%20y ", 0, 1),
    ("example.org/tiny", "Tiny", 0, 1),
    ("example.org/d/index", "d", 8, 1),
    ("example.org//d/", "d", 0, 3),
    ("example.org/caf%C3%A9", "Café", 1, 5),
    ("", "", 4, 1),
)


@pytest.fixture
def reports(database: Database) -> Reports:
    rows = []
    for url, title, *counts in PAGES:
        for day, count in enumerate(counts):
            for _ in range(count):
                number, at = 16 * (len(rows) + 1), NOON + day * SECONDS_OF_DAY
                website = {
                    "referrer_type": 3, "referrer_name": title.strip() or "none.example",
                    "referrer_url": f"http://{title.strip()}/{url.partition('/')[2]}",
                }  # fmt: skip
                rows.append(a_visit(number, visitor_id=number, at=at, **website))
                rows.append(
                    an_action(number + 1, visit_id=number, visitor_id=number, at=at, url=url, title=title)
                )
    store(database, rows)
    return Reports(database, {"compatibility": "full", "methods": METHODS})


@pytest.mark.parametrize("report", ["Actions.getPageUrls", "Actions.getPageTitles", "Referrers.getWebsites"])
@pytest.mark.parametrize("impact", [2.0, 1.0, 5.0])
def test_every_change_that_weighs_enough_is_told(reports: Reports, report: str, impact: float) -> None:
    values = []
    for day in (DAY, NEXT_DAY):
        rows = reports.table(report, date=day.isoformat(), flat="1", filter_limit="-1").rows
        values.append({str(row.label): float(str(row.columns["nb_visits"])) for row in rows})
    visits = float(reports.row("VisitsSummary.get", date=NEXT_DAY.isoformat())["nb_visits"])
    expected = {
        (one.label, one.old, one.new)
        for one in changes_of(*values)
        if one.passes(Thresholds(impact=impact), visits)
    }
    found = reports.table(
        "Insights.getInsights", date=NEXT_DAY.isoformat(), reportUniqueId=report.replace(".", "_"),
        minImpactPercent=str(impact), limitIncreaser="99", limitDecreaser="99",
    )  # fmt: skip
    told = {(row.label, row.columns["value_old"], row.columns["value_new"]) for row in found.rows}
    assert told == expected
    assert len(told) > 1


@pytest.mark.parametrize("segment", ["", "actions>=1"])
def test_labels_that_are_shown_as_one_are_one_change(reports: Reports, segment: str) -> None:
    found = reports.table(
        "Insights.getInsights",
        date=NEXT_DAY.isoformat(),
        reportUniqueId="Actions_getPageUrls",
        segment=segment,
    )
    told = {row.label: (row.columns["value_old"], row.columns["value_new"]) for row in found.rows}
    assert told.get("/x/y") == (0, 2), told
    assert told["/p-1"] == (12, 0)
    assert "/tiny" not in told
