"""Transitions: what came before a page and after it."""

import pytest

from reporting.methods import METHODS
from reporting.render.php import plain
from schemas.rows import ActionKind
from sink.database import Database
from tests.builders import NOON
from tests.integration.test_reports import Reports, store
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
