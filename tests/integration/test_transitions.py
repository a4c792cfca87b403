"""Transitions: what came before a page and after it."""

from typing import Any

import pytest

from reporting.methods import METHODS
from reporting.render.php import plain
from schemas.rows import ActionKind
from sink.database import Database
from tests.builders import NOON
from tests.integration.reports import Reports, store
from tests.rows import a_visit, an_action

PAGES = ("example.org/a", "example.org/b", "example.org/c")


@pytest.fixture
def reports(database: Database) -> Reports:
    """Two visits, the first from /a over /b to /c, the second to /b alone."""
    walk = [
        an_action(
            place,
            at=NOON + place,
            kind=ActionKind.PAGE,
            url=page,
            position=place,
            previous_kind=ActionKind.PAGE if place > 1 else 0,
            previous_url=PAGES[place - 2] if place > 1 else "",
        )
        for place, page in enumerate(PAGES, 1)
    ]
    alone = an_action(9, at=NOON + 50, visit_id=2, url=PAGES[1], position=1)
    visits = [
        a_visit(1, actions=3, entry_url=PAGES[0], exit_url=PAGES[2]),
        a_visit(2, at=NOON + 50, entry_url=PAGES[1], exit_url=PAGES[1], referrer_type=1),
    ]
    store(database, [*visits, *walk, alone])
    return Reports(database, {"methods": METHODS})


def test_the_pages_before_and_after_a_page(reports: Reports) -> None:
    asked = {"pageUrl": "http://example.org/b"}
    answer = plain(reports.ask("Transitions.getTransitionsForPageUrl", **asked))
    assert answer["pageMetrics"] == {"loops": 0, "pageviews": 2, "entries": 1, "exits": 1}
    before, after = answer["previousPages"], answer["followingPages"]
    assert [(row["label"], row["referrals"]) for row in before] == [("example.org/a", 1)]
    assert [(row["label"], row["referrals"]) for row in after] == [("example.org/c", 1)]


def test_periods_of_any_length_have_transitions(reports: Reports) -> None:
    assert reports.ask("Transitions.isPeriodAllowed") is True


def test_what_follows_a_page_is_one_table_for_its_overlay(reports: Reports) -> None:
    """The address as a browser shows it: what the site leaves out of addresses is left out."""
    table = reports.table("Overlay.getFollowingPages", url="http://www.example.org/b?utm_campaign=x#top")
    assert [dict(row.columns) for row in table.rows] == [{"label": "example.org/c", "referrals": 1}]
    assert not reports.table("Overlay.getFollowingPages", url="http://example.org/unknown").rows
    assert not reports.table("Overlay.getFollowingPages", url="no address").rows


def test_clients_find_their_words(reports: Reports) -> None:
    words: Any = reports.ask("Transitions.getTranslations")
    assert {"pageviewsInline", "directEntries", "exitsInline", "bouncesInline"} <= set(words)
    assert all("%s" in text for name, text in words.items() if name.endswith("Inline"))
    overlay: Any = reports.ask("Overlay.getTranslations")
    assert set(overlay) == {"oneClick", "clicks", "clicksFromXLinks", "link"}


def test_an_overlay_leaves_out_what_the_site_leaves_out(reports: Reports) -> None:
    asked = "Overlay.getExcludedQueryParameters", "SitesManager.getExcludedQueryParameters"
    overlay, site = (reports.ask(method) for method in asked)
    assert overlay == site


def test_pages_without_comparisons_are_named(reports: Reports) -> None:
    assert "General_Visitors.Live_VisitorLog" in plain(reports.ask("API.getPagesComparisonsDisabledFor"))
