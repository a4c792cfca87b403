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


@pytest.mark.parametrize(
    ("method", "asked", "kind"),
    [
        ("Transitions.getTransitionsForPageUrl", {"pageUrl": "http://example.org/a"}, "url"),
        ("Transitions.getTransitionsForPageTitle", {"pageTitle": "A"}, "title"),
    ],
)
def test_searches_links_and_reloads_around_a_page(
    database: Database, method: str, asked: dict[str, str], kind: str
) -> None:
    """Search, /a, /a again, an outlink, a download, a search, /b; a search that opens a visit counts before a
    title only."""
    page, search = ActionKind.PAGE, ActionKind.SEARCH
    seen = [
        (search, "", "", "shoes"), (page, "example.org/a", "A", ""), (page, "example.org/a", "A", ""),
        (ActionKind.OUTLINK, "other.example/", "", ""), (ActionKind.DOWNLOAD, "example.org/f.pdf", "", ""),
        (search, "", "", "hats"), (page, "example.org/b", "B", ""),
    ]  # fmt: skip
    before: list[tuple[int, str, str, str]] = [(0, "", "", "")] * 2
    before += [seen[0], seen[1], *[seen[2]] * 3, seen[5]]
    rows = [
        an_action(
            place, at=NOON + place, kind=what, url=url, url_prefix=2, title=title, search_keyword=keyword,
            position=place, previous_kind=before[place][0], previous_url=before[place][1],
            previous_title=before[place][2], previous_keyword=before[place][3],
        )
        for place, (what, url, title, keyword) in enumerate(seen, 1)
    ]  # fmt: skip
    store(database, [a_visit(1, actions=7, exit_url="example.org/b", exit_title="B"), *rows])
    answer = plain(Reports(database, {"methods": METHODS}).ask(method, **asked))

    def counted(part: str) -> list[tuple[str, int]]:
        return [(row["label"], row["referrals"]) for row in answer[part]]

    assert (answer["pageMetrics"]["loops"], answer["pageMetrics"]["pageviews"]) == (1, 2)
    assert counted("previousPages") == counted("followingPages") == []
    assert counted("previousSiteSearches") == ([("shoes", 1)] if kind == "title" else [])
    assert counted("followingSiteSearches") == [("hats", 1)]
    assert counted("outlinks") == [("https://other.example/", 1)]
    assert counted("downloads") == [("https://example.org/f.pdf", 1)]
