"""Processed reports: what is typed, in which order, what is added up and what is told of rows."""

from datetime import timedelta
from typing import Any

import pytest

from reporting.methods import METHODS
from reporting.render.php import plain
from schemas.rows import ActionKind
from sink.database import Database
from tests.builders import NOON
from tests.integration.reports import DAY, Reports, processed, store
from tests.rows import a_conversion, a_visit, an_action


@pytest.fixture
def reports(database: Database) -> Reports:
    return Reports(database, {"methods": METHODS})


def told(reports: Reports, report: str, **parameters: str) -> list[dict[str, Any]]:
    """reportMetadata, a row for each row of reportData."""
    found = processed(reports, report, **parameters)["reportMetadata"]
    assert isinstance(found, list)
    return found


@pytest.mark.parametrize(
    ("method", "types"),
    [
        ("Actions.getExitPageUrls", "exit_nb_visits nb_visits avg_time_on_page bounce_rate exit_rate"),
        (
            "Actions.getSiteSearchKeywords",
            "nb_visits nb_pages_per_search avg_time_on_page bounce_rate exit_rate",
        ),
        ("Actions.getSiteSearchCategories", "nb_visits nb_pages_per_search exit_rate"),
        ("Actions.getOutlinks", "nb_visits nb_hits"),
    ],
)
def test_reports_of_pages_tell_the_types_of_what_is_known_of_every_page(
    reports: Reports, method: str, types: str
) -> None:
    """Shown or not, as recorded from Matomo; other reports tell those of their own metrics."""
    module, action = method.split(".")
    found = plain(reports.ask("API.getMetadata", apiModule=module, apiAction=action))
    assert isinstance(found, list)
    names = [name for name in found[0]["metricTypes"] if name != "avg_time_generation"]
    assert names == types.split()


def test_rates_of_visits_follow_their_numbers_also_in_a_single_row(
    database: Database, reports: Reports
) -> None:
    """The order of all reports of visits, whatever the plain report's own."""
    store(database, [a_visit(1, actions=2, duration=60)])
    row = processed(reports, "VisitsSummary.get")["reportData"]
    assert list(row)[-3:] == ["nb_actions_per_visit", "avg_time_on_site", "bounce_rate"]


def test_pages_per_search_are_added_up_like_what_is_stored(database: Database, reports: Reports) -> None:
    """1 page for one keyword and 2 for the other; exits are no part of the sum."""
    searches = [
        an_action(hit_id, visit_id=1, kind=ActionKind.SEARCH, search_keyword=word, search_category="all")
        for hit_id, word in ((11, "a"), (12, "b"), (13, "b"))
    ]
    store(database, [a_visit(1, actions=3), *searches])
    total = processed(reports, "Actions.getSiteSearchKeywords")["reportTotal"]
    assert (total["nb_visits"], total["nb_hits"], total["nb_pages_per_search"]) == (2, 3, 3)
    assert "exit_rate" not in total
    total = processed(reports, "Actions.getSiteSearchCategories")["reportTotal"]
    assert (total["nb_uniq_visitors"], total["nb_pages_per_search"]) == (1, 3)
    assert "nb_uniq_visitors" not in reports.row("Actions.getSiteSearchCategories")


def test_ids_of_sub_tables_are_told_unless_they_are_hidden_and_at_hand(
    database: Database, reports: Reports
) -> None:
    store(database, [a_visit(1, referrer_type=3, referrer_name="a.org", referrer_url="http://a.org/x")])
    for parameters, there in (
        ({}, True),
        ({"hideIdSubDatable": "1"}, True),
        ({"expanded": "1"}, True),
        ({"hideIdSubDatable": "1", "expanded": "1"}, False),
    ):
        rows = told(reports, "Referrers.getReferrerType", **parameters)
        assert [("idsubdatatable" in row, row["referrer_type"]) for row in rows] == [(there, 3)], parameters


def test_rows_of_flat_events_have_no_segment(database: Database, reports: Reports) -> None:
    """Neither those with a name below them nor those without one."""
    events = [
        an_action(hit_id, visit_id=1, kind=ActionKind.EVENT, event_category="c", event_action=action,
                  event_name=name)
        for hit_id, action, name in ((11, "play", "film"), (12, "buy", ""))
    ]  # fmt: skip
    store(database, [a_visit(1, actions=2), *events])
    flat = told(reports, "Events.getAction", flat="1")
    assert sorted(map(sorted, flat)) == [["Events_EventAction"], ["Events_EventAction", "Events_EventName"]]
    assert {row["segment"] for row in told(reports, "Events.getAction")} == {
        "eventAction==play", "eventAction==buy",
    }  # fmt: skip


def test_types_of_referrers_are_named_in_the_language_asked_for(database: Database, reports: Reports) -> None:
    store(database, [a_visit(1, referrer_type=2, referrer_name="Google", referrer_keyword="x")])
    for language, label in (("en", "Search Engines"), ("de", "Suchmaschinen"), ("xx", "Search Engines")):
        table = reports.table("Referrers.getReferrerType", language=language)
        assert [(row.label, row.metadata["segment"]) for row in table] == [(label, "referrerType==search")]


def test_pivots_are_in_the_order_of_labels(database: Database, reports: Reports) -> None:
    """The columns that reports are sorted by are gone; also of reports that keep their stored order."""
    searched = [
        a_visit(hit_id, visitor_id=hit_id, referrer_type=2, referrer_name="Google", referrer_keyword=word)
        for hit_id, word in ((1, "z"), (2, "z"), (3, "a"))
    ]
    store(database, searched)
    assert [row.label for row in reports.table("Referrers.getKeywords")] == ["z", "a"]
    pivot = reports.table("Referrers.getKeywords", pivotBy="Referrers.SearchEngine")
    assert [row.columns for row in pivot] == [
        {"label": "a", "1.\u00a0Google": 1},
        {"label": "z", "1.\u00a0Google": 2},
    ]


def test_contents_are_pivoted_by_their_pieces(database: Database, reports: Reports) -> None:
    shown = [
        an_action(hit_id, visit_id=1, kind=ActionKind.CONTENT, content_name="ad", content_piece=piece)
        for hit_id, piece in ((11, "a.png"), (12, "b.png"), (13, "b.png"))
    ]  # fmt: skip
    store(database, [a_visit(1), *shown])
    pivot = reports.table(
        "Contents.getContentNames", pivotBy="Contents.ContentPiece", pivotByColumn="nb_impressions"
    )
    assert [row.columns for row in pivot] == [{"label": "ad", "1.\u00a0b.png": 2, "2.\u00a0a.png": 1}]


def test_columns_of_goals_are_shown_when_they_are_asked_for(database: Database, reports: Reports) -> None:
    """Behind the rates of visits, which a conversion rate leads; other reports have none."""
    store(database, [
        a_visit(1, visitor_id=1, country="fr"),
        a_visit(2, visitor_id=2, country="fr", converted=True, goals=[1]),
        a_conversion(21, visit_id=2, goal_id=1, revenue=5.0),
    ])  # fmt: skip
    asked = {"filter_update_columns_when_show_all_goals": "1", "filter_show_goal_columns_process_goals": "1"}
    answer = processed(reports, "UserCountry.getCountry", **asked)
    assert list(answer["metadata"]["metricsGoal"]) == ["nb_conversions", "conversion_rate", "revenue"]
    assert list(answer["columns"])[-2:] == ["conversion_rate", "revenue"]
    row = answer["reportData"][0]
    assert list(row)[-8:] == [
        "conversion_rate", "nb_actions_per_visit", "avg_time_on_site", "bounce_rate",
        "goal_1_conversion_rate", "goal_1_nb_conversions", "goal_1_revenue_per_visit", "goal_1_revenue",
    ]  # fmt: skip
    assert (row["goal_1_conversion_rate"], row["goal_1_revenue_per_visit"]) == ("50%", "$2.50")
    for plain_answer in (
        processed(reports, "UserCountry.getCountry"),
        processed(reports, "DevicePlugins.getPlugin", **asked),
    ):
        assert "conversion_rate" not in plain_answer["columns"]
        assert not any(name.startswith("goal_") for row in plain_answer["reportData"] for name in row)


def test_a_processed_report_shows_values_as_people_read_them(database: Database, reports: Reports) -> None:
    """Columns without a value are zero, totals are of all rows, whatever the limit."""
    store(database, [
        a_visit(visit_id=1, country="fr", actions=1, duration=0),
        a_visit(visit_id=2, country="fr", actions=3, duration=754),
        a_visit(visit_id=3, country="de", actions=2, duration=10),
        a_conversion(visit_id=3, goal_id=1, revenue=2.5),
    ])  # fmt: skip
    answer = processed(reports, "UserCountry.getCountry", filter_limit="1")
    assert list(answer["columns"])[:2] == ["label", "nb_visits"]
    row = answer["reportData"][0]
    assert (row["label"], row["avg_time_on_site"], row["bounce_rate"]) == ("France", "00:06:17", "50%")
    assert row["revenue"] == "$0"
    assert answer["reportMetadata"][0]["segment"] == "countryCode==fr"
    assert (answer["reportTotal"]["nb_visits"], answer["reportTotal"]["nb_actions_per_visit"]) == (3, 2)
    assert "token_auth" not in str(answer["metadata"])
    raw = processed(reports, "UserCountry.getCountry", filter_limit="1", format_metrics="0")
    assert (raw["reportData"][0]["avg_time_on_site"], raw["reportData"][0]["bounce_rate"]) == (377, 0.5)


def test_a_processed_report_of_several_days_names_them(database: Database, reports: Reports) -> None:
    store(database, [a_visit(visit_id=1)])
    dates = f"{DAY - timedelta(days=1)},{DAY}"
    answer = processed(reports, "VisitsSummary.get", date=dates, showColumns="nb_visits")
    assert list(answer["metadata"]["metrics"]) == ["nb_visits"]
    assert list(answer["reportData"].values()) == [[], 1]
    assert str(DAY.year) in next(iter(answer["reportData"]))


def test_a_compared_processed_report_has_rates_and_changes_of_every_series(
    database: Database, reports: Reports
) -> None:
    """As recorded: all columns of the report with their changes, zero where a series has none."""
    store(database, [a_visit(1, actions=1), a_visit(2, actions=3, duration=60), a_visit(3, at=NOON - 86400)])
    asked = {"compare": "1", "comparePeriods": "day", "compareDates": str(DAY - timedelta(days=1))}
    answer = processed(reports, "UserCountry.getCountry", **asked)
    now, before = answer["reportData"][0]["comparisons"]
    assert (now["bounce_rate"], now["nb_visits"]) == ("50%", 2)
    assert (now["bounce_rate_change"], now["nb_visits_change"], now["label"]) == ("+0%", "+0%", 0)
    assert (before["bounce_rate"], before["bounce_rate_change"]) == ("100%", "+100%")
    assert (before["avg_time_on_site"], before["avg_time_on_site_change"]) == ("00:00:00", "-100%")
    assert before["nb_visits_change"] == "-50%"
    assert not any(name.endswith("_change_from") for name in before)
