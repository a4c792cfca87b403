"""Reports over rows in a real ClickHouse engine: sums, uniques, periods, segments, archives, visits log."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from hitstream.archives import EngineArchives, StoredSegments
from reporting.methods import METHODS
from reporting.render.objects import serialize_result
from reporting.table import TableMap
from schemas.config import Dimension, StoredSegment
from schemas.rows import ActionKind, encode_output
from sink.archives import archive_day, forget_days
from sink.database import Database
from sink.encoding import ROW_TABLES, Entry, split
from sink.rollups import Rollups
from tests.builders import NOON
from tests.integration.reports import CONFIG, DAY, SECONDS_OF_DAY, Reports, store
from tests.rows import A_DAY, a_conversion, a_visit, an_action, an_item


@pytest.fixture
def reports(database: Database) -> Reports:
    return Reports(database, {"compatibility": "full", "methods": METHODS})


def test_a_visitor_of_two_days_is_one_visitor_of_the_month(database: Database, reports: Reports) -> None:
    store(
        database,
        [a_visit(1, actions=3, duration=60), a_visit(2, at=NOON + SECONDS_OF_DAY, duration=30)],
    )
    row = reports.row("VisitsSummary.get", period="month")
    assert (row["nb_visits"], row["nb_uniq_visitors"], row["nb_actions"]) == (2, 1, 4)
    assert (row["bounce_rate"], row["avg_time_on_site"]) == ("50%", 45)


def test_strict_leaves_the_unique_visitors_of_a_year_out(database: Database) -> None:
    store(database, [a_visit(1)])
    assert "nb_uniq_visitors" not in Reports(database, {"compatibility": "strict"}).row(
        "VisitsSummary.get", period="year"
    )
    assert Reports(database, {}).row("VisitsSummary.get", period="year")["nb_uniq_visitors"] == 1


def test_a_date_map_has_the_days_without_visits(database: Database, reports: Reports) -> None:
    store(database, [a_visit(1)])
    result: Any = reports.ask("VisitsSummary.getVisits", date=f"{DAY},{DAY + timedelta(days=1)}")
    assert [item.rows[0].columns["nb_visits"] for item in result.items.values()] == [1, 0]


def test_a_deleted_row_is_not_counted(database: Database, reports: Reports) -> None:
    store(database, [a_visit(1), a_visit(2)])
    table = ROW_TABLES[0]
    gone = encode_output(a_visit(2), is_deleted=True)
    for block in split(table, [Entry(0, 99, gone)], 1).by_month.values():
        database.insert_msgpack(table.name, table.columns, block.data)
    assert reports.row("VisitsSummary.get")["nb_visits"] == 1


def test_pages_know_their_entries_exits_and_the_time_spent(database: Database, reports: Reports) -> None:
    store(
        database,
        [
            a_visit(1, actions=2, entry_url="example.org/shop/a", exit_url="example.org/b", duration=61),
            an_action(11, url="example.org/shop/a"),
            an_action(
                12, at=NOON + 60, url="example.org/b", previous_url="example.org/shop/a",
                previous_kind=int(ActionKind.PAGE), time_spent_previous=60,
            ),
        ],
    )  # fmt: skip
    flat = {row.label: row.columns for row in reports.table("Actions.getPageUrls", flat="1").rows}
    assert flat["/shop/a"]["entry_nb_visits"] == "1"
    assert flat["/shop/a"]["avg_time_on_page"] == 60
    assert flat["/b"]["exit_rate"] == "100%"
    folder = reports.table("Actions.getPageUrls", label="shop").rows[0]
    assert folder.columns["nb_hits"] == 1


def test_goals_count_orders_but_not_carts(database: Database, reports: Reports) -> None:
    store(
        database,
        [
            a_visit(1, converted=True, goals=[1, 0, -1]),
            a_visit(2, visitor_id=0xB2),
            a_conversion(21, goal_id=1, revenue=5.0),
            a_conversion(22, goal_id=0, revenue=20.0, items=2),
            a_conversion(23, goal_id=-1, revenue=99.0),
        ],
    )
    row = reports.row("Goals.get")
    assert (row["nb_conversions"], row["revenue"], row["conversion_rate"]) == (2, 25, "50%")
    cart = reports.row("Goals.get", idGoal="ecommerceAbandonedCart")
    assert (cart["nb_conversions"], cart["revenue"]) == (1, 99)


def test_products_are_sold_and_viewed(database: Database, reports: Reports) -> None:
    store(
        database,
        [
            a_visit(1),
            an_action(11, product_sku="A", product_name="Shoe", product_price=10.0, has_product_price=True),
            a_conversion(22, goal_id=0, revenue=20.0),
            an_item(22, sku="A", name="Shoe", price=10.0, quantity=2),
        ],
    )
    row = reports.row("Goals.getItemsSku")
    assert (row["label"], row["revenue"], row["quantity"], row["avg_price"]) == ("A", 20, 2, 10)
    assert row["conversion_rate"] == "100%"


@pytest.mark.parametrize(
    ("segment", "visits"),
    [
        ("countryCode==FR", 1),
        ("countryCode!=fr", 1),
        ("countryName==France", 1),
        ("continentCode==eur", 2),
        ("pageUrl=@special", 1),
        ("pageUrl!@special", 1),
        ("eventCategory==Movie;eventAction==play", 1),
        ("eventCategory==Movie;eventAction==stop", 0),
        ("countryCode==de,pageUrl=@special", 2),
        ("visitConvertedGoalId==1", 1),
        ("actions>1", 1),
        ("visitorType==new", 2),
        ("browserName==Firefox", 1),
        ("city==", 2),
    ],
)
def test_a_segment_selects_visits(database: Database, reports: Reports, segment: str, visits: int) -> None:
    store(
        database,
        [
            a_visit(1, country="fr", actions=3, browser="FF", goals=[1]),
            an_action(11, url="example.org/special"),
            an_action(12, kind=int(ActionKind.EVENT), event_category="Movie", event_action="play"),
            an_action(13, kind=int(ActionKind.EVENT), event_category="Music", event_action="stop"),
            a_visit(2, country="de", browser="CH", visitor_id=0xB2),
            an_action(21, visit_id=2),
        ],
    )
    assert reports.row("VisitsSummary.get", segment=segment)["nb_visits"] == visits


def test_referrers_are_attributed_to_the_conversion(database: Database, reports: Reports) -> None:
    store(
        database,
        [
            a_visit(1, referrer_type=3, referrer_name="news.example", referrer_url="https://news.example/a"),
            a_conversion(5, goal_id=1, revenue=2.0, referrer_type=6, referrer_name="spring"),
        ],
    )
    rows = {row.label: row for row in reports.table("Referrers.getReferrerType").rows}
    assert rows["Websites"].columns["nb_visits"] == 1
    assert rows["Campaigns"].columns["nb_conversions"] == 1
    page = reports.table("Referrers.getWebsites", flat="1").rows[0]
    assert page.label == "news.example/a"


def test_enhanced_sites_show_conversions_and_what_shops_sold(database: Database, reports: Reports) -> None:
    store(
        database,
        [
            a_visit(1, goals=[0], converted=True),
            a_conversion(11, goal_id=0, revenue=20.0),
        ],
    )
    row = reports.table("MultiSites.getAll", enhanced="1").rows[0]
    assert (row.columns["nb_conversions"], row.columns["orders"], row.columns["ecommerce_revenue"]) == (
        1,
        1,
        20,
    )
    assert row.columns["orders_evolution"] == "100%"
    assert "orders" not in reports.table("MultiSites.getAll").rows[0].columns


@pytest.mark.parametrize(
    ("period", "day", "before"),
    [("month", "2026-03-31", "2026-02-28"), ("year", "2024-02-29", "2023-02-28"),
     ("week", "2026-09-10", "2026-08-31"), ("day", "2026-09-10", "2026-09-09")],
)  # fmt: skip
def test_groups_of_sites_name_the_day_a_period_before(
    reports: Reports, period: str, day: str, before: str
) -> None:
    answer: Any = reports.ask("MultiSites.getAllWithGroups", period=period, date=day)
    assert answer["lastDate"] == before


def test_strict_shows_one_date_of_each_site_for_a_single_page(database: Database) -> None:
    store(database, [a_visit(1, at=NOON + SECONDS_OF_DAY), an_action(11, at=NOON + SECONDS_OF_DAY)])
    asked = {
        "idSite": "all", "date": f"{DAY},{DAY + timedelta(days=2)}", "pageUrl": "http://example.org/page",
    }  # fmt: skip
    strict: Any = Reports(database, {"compatibility": "strict"}).ask("Actions.getPageUrl", **asked)
    assert [row.label for row in strict.items["1"].rows] == ["/page"]
    full: Any = Reports(database, {}).ask("Actions.getPageUrl", **asked)
    assert [len(table.rows) for table in full.items["1"].items.values()] == [0, 1, 0]


def test_an_archived_day_says_what_its_rows_say(database: Database) -> None:
    store(
        database,
        [
            a_visit(1, actions=3, country="fr", user_id="Anna"),
            a_visit(2, visitor_id=0xB2, user_id="bob", returning=1),
            # of a day without archive: the same visitor, the same user otherwise written
            a_visit(3, at=NOON + SECONDS_OF_DAY, user_id="anna"),
            an_action(11), an_action(12),
        ],
    )  # fmt: skip
    from_rows = Reports(database, {})
    methods = (
        "VisitsSummary.get", "UserCountry.getCountry", "Actions.getPageUrls", "Goals.get",
        "VisitFrequency.get",
    )  # fmt: skip
    expected = [from_rows.ask(method, period="month") for method in methods]
    row = from_rows.row("VisitsSummary.get", period="month")
    assert (row["nb_visits"], row["nb_uniq_visitors"], row["nb_users"]) == (3, 2, 2)
    for table in ("visits", "actions", "conversions", "conversion_items"):
        database.command(
            f"ALTER TABLE {table} UPDATE inserted_at = inserted_at - toIntervalHour(1) WHERE 1"
            " SETTINGS mutations_sync = 2"
        )
    archive_day(database, 1, DAY)
    archives = EngineArchives(database)
    from_archives = Reports(database, {"archives": archives})
    assert [from_archives.ask(method, period="month") for method in methods] == expected
    database.command("TRUNCATE TABLE archives")
    from_archives = Reports(database, {"archives": EngineArchives(database)})
    assert from_archives.ask("UserCountry.getCountry", period="month") != expected[1], (
        "archives were not read"
    )
    assert from_archives.row("VisitFrequency.get", period="month")["nb_uniq_visitors_returning"] == 1
    database.command("TRUNCATE TABLE uniques")
    from_archives = Reports(database, {"archives": EngineArchives(database)})
    assert from_archives.row("VisitsSummary.get", period="month")["nb_uniq_visitors"] == 1, "nor states"
    assert from_archives.row("VisitFrequency.get", period="month")["nb_uniq_visitors_returning"] == 0


def test_what_is_kept_of_archives_is_never_out_of_date(database: Database) -> None:
    """Asked again and again while a day is archived, gets rows, is archived anew and loses its archive."""
    methods = ("UserCountry.getCountry", "Actions.getPageUrls", "Referrers.get", "Goals.get", "API.get")
    archives = EngineArchives(database)
    kept, rows_only = Reports(database, {"archives": archives}), Reports(database, {})

    def check() -> None:
        for _ in range(2):
            assert [kept.ask(one) for one in methods] == [rows_only.ask(one) for one in methods]

    for number in range(1, 4):
        url = f"example.org/{number}"
        store(database, [
            a_visit(number, visitor_id=number, country=("fr", "de", "it")[number - 1], entry_url=url),
            an_action(10 * number, visit_id=number, url=url),
            a_conversion(10 * number + 1, visit_id=number),
        ])  # fmt: skip
        check()
        make_quiet(database)
        archive_day(database, 1, DAY)
        check()
    if archives.kept is not None:
        expected = [rows_only.ask(one) for one in methods[:4]]
        database.command("TRUNCATE TABLE archives")
        assert [kept.ask(one) for one in methods[:4]] == expected, "nothing was kept"
    forget_days(database, 1, [DAY])
    store(database, [a_visit(9, visitor_id=9, country="es")])
    check()


def test_what_rows_answer_is_kept_until_any_are_stored(database: Database) -> None:
    archives = EngineArchives(database)
    reports = Reports(database, {"archives": archives})
    store(database, [a_visit(1, country="fr"), an_action(10, visit_id=1)])
    first = [reports.ask("UserCountry.getCountry"), reports.ask("Actions.getPageUrls")]
    asked = reports.statements
    assert [reports.ask("UserCountry.getCountry"), reports.ask("Actions.getPageUrls")] == first
    assert (reports.statements > asked) == (archives.kept is None)
    store(database, [a_visit(2, visitor_id=2, country="de")])
    countries = reports.table("UserCountry.getCountry").rows
    assert {row.metadata["code"] for row in countries} == {"fr", "de"}


def make_quiet(database: Database) -> None:
    """As if all rows had been stored an hour ago."""
    for table in ("visits", "actions", "conversions", "conversion_items"):
        database.command(
            f"ALTER TABLE {table} UPDATE inserted_at = inserted_at - toIntervalHour(1) WHERE 1"
            " SETTINGS mutations_sync = 2"
        )


def test_a_segment_that_is_stored_later_is_archived_for_the_days_before(database: Database) -> None:
    """Only the segment is computed of them; a day without archive is left alone."""
    visits = [a_visit(1, country="fr"), a_visit(2, at=NOON + SECONDS_OF_DAY, country="de")]
    store(database, [*visits, a_visit(3, at=NOON + 3 * SECONDS_OF_DAY)])
    make_quiet(database)
    for day in (DAY, DAY + timedelta(days=1)):
        archive_day(database, 1, day)
    stored = StoredSegment(segment_id=1, name="A", definition="countryCode==fr", auto_archive=True)
    rollups = Rollups(database, segments=StoredSegments(lambda: replace(CONFIG, segments={1: stored})))
    lacking = [stale.date for stale in rollups.sweep() if stale.changed_at.year == 1970]
    assert lacking == [DAY + timedelta(days=1), DAY]
    rollups = Rollups(
        database, segments=StoredSegments(lambda: replace(CONFIG, segments={1: stored})), minimum_rows=1
    )
    while rollups.step():
        pass
    days = database.rows(
        "SELECT date, groupArray(segment != '') FROM archive_days FINAL GROUP BY date ORDER BY 1"
    )
    assert [sorted(kinds) for _, kinds in days] == [[False, True]] * 3
    # one segment for each of two days, and all of the third, which had no archive yet
    assert rollups.status().computed == 4


def test_a_stored_segment_is_archived_and_read_from_its_archive(database: Database) -> None:
    """One of actions, too; under the site's own compiled condition."""
    store(database, [
        a_visit(1, actions=2, country="fr"),
        a_visit(2, visitor_id=0xB2, country="de"),
        an_action(11, visit_id=1, url="example.org/a"),
        an_action(12, visit_id=1, url="example.org/b"),
        an_action(13, visit_id=2, url="example.org/b"),
    ])  # fmt: skip
    definition = "pageUrl=@/a;countryCode==fr"
    stored = StoredSegment(segment_id=1, name="A", definition=definition, auto_archive=True)
    config = replace(CONFIG, segments={1: stored})
    methods = ("VisitsSummary.get", "UserCountry.getCountry", "Actions.getPageUrls")
    expected = [Reports(database, {}).ask(method, period="month", segment=definition) for method in methods]
    make_quiet(database)
    rollups = Rollups(database, segments=StoredSegments(lambda: config), minimum_rows=0)
    while rollups.step():
        pass
    assert rollups.status().failed == 0
    reports = Reports(database, {"archives": EngineArchives(database)}, config)
    assert [reports.ask(method, period="month", segment=definition) for method in methods] == expected
    database.command("TRUNCATE TABLE archives")
    reports = Reports(database, {"archives": EngineArchives(database)}, config)
    assert reports.ask("UserCountry.getCountry", period="month", segment=definition) != expected[1], (
        "archives were not read"
    )


def test_every_report_answers_without_any_row(reports: Reports) -> None:
    special = ("idDimension", "idSubtable", "idGoal", "pageUrl", "pageName", "downloadUrl", "outlinkUrl")
    for name, method in METHODS.items():
        if method.cells is None or set(method.required) & set(special):
            continue
        reports.ask(name)


def test_countries_and_languages_are_named_in_the_language_asked_for(
    database: Database, reports: Reports
) -> None:
    store(database, [a_visit(visit_id=1, country="de", language="fr-be")])
    for method, language, label in (
        ("UserCountry.getCountry", "en", "Germany"),
        ("UserCountry.getCountry", "de", "Deutschland"),
        ("UserCountry.getCountry", "../etc", "Germany"),
        ("UserLanguage.getLanguage", "de", "Französisch"),
        ("UserLanguage.getLanguageCode", "de", "Französisch - Belgien (fr-be)"),
    ):
        assert [row.label for row in reports.table(method, language=language)] == [label]


def test_insights_tell_what_changed_since_the_period_before(database: Database, reports: Reports) -> None:
    yesterday = A_DAY - 1
    store(database, [
        *(a_visit(visit_id=at, date=yesterday, country="fr") for at in range(1, 6)),
        *(a_visit(visit_id=at, country="fr") for at in range(11, 13)),
        *(a_visit(visit_id=at, country="de") for at in range(21, 25)),
    ])  # fmt: skip
    table = reports.table("Insights.getInsights", reportUniqueId="UserCountry_getCountry")
    assert [
        (row.label, row.columns["value_old"], row.columns["value_new"], row.columns["isNew"]) for row in table
    ] == [("Germany", 0, 4, True), ("France", 5, 2, False)]
    overview = reports.ask("Insights.getInsightsOverview")
    assert isinstance(overview, TableMap)
    assert "Country" in overview.items
    assert reports.ask("Insights.canGenerateInsights") is True


def test_a_user_id_in_two_spellings_is_one_user(database: Database, reports: Reports) -> None:
    store(database, [a_visit(1, user_id="Bob"), a_visit(2, user_id="BOB"), a_visit(3)])
    assert reports.row("VisitsSummary.get")["nb_users"] == 1
    users = reports.table("UserId.getUsers").rows
    assert [row.columns["nb_visits"] for row in users] == [2]


def test_pages_of_flat_reports_begin_at_the_root_and_are_decoded(
    database: Database, reports: Reports
) -> None:
    store(
        database, [a_visit(1), an_action(11, url="example.org/"), an_action(12, url="example.org/a?b=%C3%A9")]
    )
    assert {row.label for row in reports.table("Actions.getPageUrls", flat="1").rows} == {"/", "/a?b=é"}


def test_goals_and_continents_are_suggested_without_a_visit(reports: Reports) -> None:
    suggested = "API.getSuggestedValuesForSegment"
    assert reports.ask(suggested, segmentName="visitConvertedGoalName") == ["thanks"]
    continents: Any = reports.ask(suggested, segmentName="continentCode")
    assert "eur" in continents


def test_pages_and_widgets_are_the_reports_of_a_site(reports: Reports) -> None:
    pages: Any = reports.ask("API.getReportPagesMetadata")
    widgets: Any = reports.ask("API.getWidgetMetadata")
    shown = [widget for page in pages for widget in page["widgets"]]
    assert {one["uniqueId"] for one in shown} == {one["uniqueId"] for one in widgets}
    by_id = {page["uniqueId"]: page for page in pages}
    devices = by_id["General_Visitors.DevicesDetection_Devices"]
    assert (devices["category"]["name"], devices["subcategory"]["name"]) == ("Visitors", "Devices")
    assert "DevicesDetection.getType" in {f"{one['module']}.{one['action']}" for one in devices["widgets"]}
    orders = [page["category"]["order"] for page in by_id.values()]
    assert orders == sorted(orders)
    for one in shown:
        assert f"{one['module']}.{one['action']}" in METHODS


def test_totals_are_told_with_tables_that_have_metadata(database: Database, reports: Reports) -> None:
    """Over all rows, also those that a limit leaves out; totals=0 leaves them away."""
    store(database, [a_visit(1, country="fr"), a_visit(2, country="de"), a_visit(3, country="de")])
    asked = {"format": "original", "filter_limit": "1"}
    told = reports.table("UserCountry.getCountry", **asked)
    assert len(told) == 1
    totals = told.metadata["totals"]
    assert isinstance(totals, Mapping)
    assert totals["nb_visits"] == 3
    assert told.totals is None
    assert reports.table("UserCountry.getCountry", totals="0", **asked).metadata == {}
    kept = reports.table("UserCountry.getCountry", keep_totals_row="1", keep_totals_row_label="All", **asked)
    assert kept.totals is not None
    assert (kept.totals["label"], kept.totals["nb_visits"]) == ("All", 3)
    assert "totalsRow" in serialize_result(kept)


def test_the_last_action_lasts_until_the_last_ping(database: Database) -> None:
    """A ping makes no action: the visit's length tells of it. A goal's second is no time."""
    store(
        database,
        [
            a_visit(1, duration=121, hits=3), an_action(1, dimensions={1: "a"}),
            a_visit(2, duration=2, hits=2), an_action(2, visit_id=2, dimensions={1: "a"}),
        ],
    )  # fmt: skip
    dimension = Dimension(site_id=1, dimension_id=1, index=1, scope="action", name="D")
    config = replace(CONFIG, dimensions={1: {1: dimension}})
    row = Reports(database, {"compatibility": "full", "methods": METHODS}, config).row(
        "CustomDimensions.getCustomDimension", idDimension="1"
    )
    assert (row["sum_time_spent"], row["avg_time_on_dimension"]) == (120, 60)


def test_a_segments_conversions_per_entry_are_of_its_own_visits(database: Database, reports: Reports) -> None:
    """Two visits of the segment entered on the page, of which one converts; a third is not in it. Visits of
    two days are counted apart."""
    later = NOON + SECONDS_OF_DAY
    of_two_days = [
        (1, NOON, "fr"), (2, NOON, "fr"), (3, NOON, "de"), (4, later, "fr")
    ]  # fmt: skip
    store(
        database,
        [
            *(a_visit(one, at=at, country=country) for one, at, country in of_two_days),
            *(an_action(10 + one, at=at, visit_id=one) for one, at, _ in of_two_days),
            a_conversion(11, visit_id=1, revenue=3.0),
            a_conversion(13, visit_id=3, revenue=5.0),
            a_conversion(14, visit_id=4, at=later, revenue=7.0),
        ],
    )
    row: Any = reports.row("Actions.getEntryPageUrls", period="month", segment="countryCode==fr")
    goal = row["goals"]["idgoal=1"]
    assert (goal["nb_conversions_entry"], goal["revenue_entry"]) == (2, 10)
    # 1 of 2 and 1 of 1
    assert (goal["nb_conversions_entry_rate"], goal["revenue_per_entry"]) == (1.5, 8.5)
