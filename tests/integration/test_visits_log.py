"""Live: what of the visits log is told to whom, and what generic parameters do to it."""

import asyncio
from typing import Any

import pytest

from reporting.api import ask
from reporting.methods import METHODS
from reporting.parameters import Parameters
from reporting.render.php import plain
from schemas.access import Grant
from schemas.rows import ActionKind
from sink.database import Database
from tests.builders import NOON
from tests.integration.reports import DAY, SECONDS_OF_DAY, Reports, store
from tests.rows import a_conversion, a_visit, an_action


@pytest.fixture
def reports(database: Database) -> Reports:
    return Reports(database, {"methods": METHODS})


def test_the_visits_log_is_compared_with_nothing(database: Database, reports: Reports) -> None:
    """It may be asked without a period; comparisons are of periods."""
    store(database, [a_visit(1)])
    log = plain(reports.ask("Live.getLastVisitsDetails"))
    compared = {"compare": "1", "comparePeriods[0]": "day", "compareDates[0]": "2026-01-01"}
    assert plain(reports.ask("Live.getLastVisitsDetails", **compared)) == log != []


def test_the_visits_log_for_everybody_tells_nobodys_address_or_id(
    database: Database, reports: Reports
) -> None:
    """As recorded: no address, an id of false and no user id, also in a profile."""
    store(database, [a_visit(1, visitor_id=0xA1, ip="10.1.2.3", user_id="ann")])
    log = reports.row("Live.getLastVisitsDetails")
    assert (log["visitIp"], log["visitorId"], log["userId"]) == ("10.1.2.3", "00000000000000a1", "ann")
    everybody = Grant(login="anonymous", roles={1: "view"})

    def shown(method: str) -> str:
        where = {"idSite": "1", "period": "day", "date": DAY.isoformat(), "method": method}
        result = asyncio.run(ask(reports._instance, everybody, Parameters(where))).result
        return str(plain(result))

    for method in ("Live.getLastVisitsDetails", "Live.getVisitorProfile"):
        answer = shown(method)
        assert "'visitorId': False" in answer
        assert "'visitIp': None" in answer
        for secret in ("10.1.2.3", "ann", "00000000000000a1"):
            assert secret not in answer, (method, secret)


def test_the_visits_log_tells_what_a_visit_did(database: Database, reports: Reports) -> None:
    store(
        database,
        [
            a_visit(1, country="fr", goals=[1], converted=True),
            an_action(11, title="Home"),
            a_conversion(11, goal_id=1, revenue=7.5),
        ],
    )
    row = reports.row("Live.getLastVisitsDetails")
    assert [action["type"] for action in row["actionDetails"]] == ["action", "goal"]
    assert row["actionDetails"][1]["subtitle"] == "thanks ($7.50 revenue)"
    assert (row["country"], row["visitorId"], row["goalConversions"]) == ("France", "00000000000000a1", 1)


def test_the_visits_log_can_be_asked_for_so_many_visits(database: Database, reports: Reports) -> None:
    store(database, [a_visit(at, visitor_id=at) for at in (1, 2, 3)])
    method = "Live.getLastVisitsDetails"
    assert len(reports.table(method)) == 3
    assert len(reports.table(method, countVisitorsToFetch="2")) == 2
    assert len(reports.table(method, countVisitorsToFetch="2", filter_limit="1")) == 1
    assert len(reports.table(method, countVisitorsToFetch="0")) == 3


def test_strict_counts_visits_actions_and_urls_of_the_whole_instance_in_order_of_acceptance(
    database: Database,
) -> None:
    store(
        database,
        [
            a_visit(700, site_id=2),
            an_action(700, site_id=2, visit_id=700, url="example.org/other"),
            a_visit(900, at=NOON, actions=2),
            an_action(900, visit_id=900, url="example.org/page"),
            an_action(950, at=NOON + 60, visit_id=900, url="example.org/other"),
            an_action(960, at=NOON + 61, visit_id=900, kind=int(ActionKind.DOWNLOAD), url="example.org/page"),
        ],
    )
    row = Reports(database, {"compatibility": "strict"}).row("Live.getLastVisitsDetails")
    shown = [(action["pageId"], action["pageIdAction"]) for action in row["actionDetails"]]
    # 1 is the title of all pages, 2 the URL that the other site has too
    assert (row["idVisit"], shown) == (2, [(2, 3), (3, 2), (4, 4)])
    plain = Reports(database, {}).row("Live.getLastVisitsDetails")
    assert (plain["idVisit"], plain["actionDetails"][0]["pageIdAction"]) == (900, 900)


def test_time_on_a_page_lasts_until_the_next_page_without_the_time_before_an_order(
    database: Database, reports: Reports
) -> None:
    store(
        database,
        [
            a_visit(1, actions=4, duration=901),
            an_action(11),
            an_action(12, at=NOON + 100, kind=int(ActionKind.SEARCH), url="", time_spent_previous=100),
            a_conversion(13, goal_id=0, at=NOON + 200),
            an_action(14, at=NOON + 500, time_spent_previous=300),
            an_action(15, at=NOON + 600, kind=int(ActionKind.SEARCH), url="", time_spent_previous=100),
        ],
    )
    row = reports.row("Live.getLastVisitsDetails")
    spent = [one["timeSpent"] for one in row["actionDetails"] if one["type"] == "action"]
    assert spent == [400, 401]


def test_the_visits_log_is_as_long_as_asked(database: Database, reports: Reports) -> None:
    store(database, [a_visit(at + 1, at=NOON + at) for at in range(3)])
    for asked, expected in (({"filter_limit": "2"}, [3, 2]), ({"countVisitorsToFetch": "1"}, [3])):
        rows = reports.table("Live.getLastVisitsDetails", **asked).rows
        assert [row.columns["idVisit"] for row in rows] == expected


def test_a_click_on_a_google_result_tells_its_place_without_its_session(
    database: Database, reports: Reports
) -> None:
    url = "http://www.google.com/url?sa=t&rct=j&cd=3&ved=0CC&url=http%3A%2F%2Fe.org%2F&ei=8v&usg=AF&bvm=b"
    store(database, [a_visit(1, referrer_type=2, referrer_name="Google", referrer_url=url)])
    row = reports.row("Live.getLastVisitsDetails")
    assert row["referrerKeywordPosition"] == "3"
    assert row["referrerUrl"] == "http://www.google.com/url?rct=j&cd=3&url=http%3A%2F%2Fe.org%2F"


def test_a_profile_sums_up_the_visits_of_one_visitor(database: Database, reports: Reports) -> None:
    store(
        database,
        [
            a_visit(1, actions=2, duration=61, country="fr", device_type=1),
            an_action(11, visit_id=1),
            an_action(12, visit_id=1, kind=int(ActionKind.SEARCH), url="", search_keyword="shoes"),
            a_visit(2, at=NOON + SECONDS_OF_DAY, duration=30, referrer_type=3, referrer_name="a.org",
                    country="de", user_id="ann", goals=[1]),
            an_action(21, at=NOON + SECONDS_OF_DAY, visit_id=2),
            a_conversion(21, at=NOON + SECONDS_OF_DAY, visit_id=2, goal_id=1),
            a_visit(3, at=NOON + 50, visitor_id=0xB2),
        ],
    )  # fmt: skip
    profile: Any = reports.ask("Live.getVisitorProfile", visitorId="00000000000000a1")
    assert (profile["totalVisits"], profile["totalVisitDuration"], profile["userId"]) == (2, 91, "ann")
    assert (profile["totalPageViews"], profile["totalUniquePageViews"]) == (2, 1)
    assert (profile["totalRevisitedPages"], profile["totalConversionsByGoal"]) == (1, {"idgoal=1": 1})
    assert profile["searches"] == [{"keyword": "shoes", "searches": 1}]
    assert profile["visitedPages"] == [{"url": "http://example.org/page", "count": 2}]
    assert [one["country"] for one in profile["countries"]] == ["fr", "de"]
    assert profile["firstVisit"]["referralSummary"] == "Direct Entry"
    assert profile["lastVisit"]["referralSummary"] == "Websites: a.org"
    assert (profile["nextVisitorId"], profile["previousVisitorId"]) == ("00000000000000b2", False)
    assert profile["hasMoreVisits"] is False
    newest: Any = reports.ask("Live.getVisitorProfile", limitVisits="1")
    assert (newest["hasMoreVisits"], newest["visitsAggregated"]) == (True, 1)
    assert reports.ask("Live.getVisitorProfile", visitorId="00000000000000ff") == []
    first = reports.row("Live.getFirstVisitForVisitorId", visitorId="00000000000000a1")
    assert first["idVisit"] == 1
