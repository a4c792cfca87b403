"""When a visit begins, how long it lasts, what a conversion is: the boundaries of rules.fold."""

from typing import Any

import pytest

from rules.fold import fold_hit
from rules.fold_state import Facts, FoldState, Rows
from rules.prepared import (
    CAMPAIGN,
    DIRECT,
    SEARCH_ENGINE,
    WEBSITE,
    ActionDraft,
    Ecommerce,
    GoalMatch,
    Item,
    PreparedHit,
    Referrer,
    ThresholdGoal,
)
from rules.urls import UNTITLED_CLICK
from schemas.outcomes import Exclusion
from schemas.rows import Action, ActionKind, Conversion, ConversionItem, Visit
from tests.builders import NOON, a_prepared_hit, visit_rules


def fold(*hits: PreparedHit, timezone: str = "UTC", lost: tuple[int, ...] = (), **tracking: Any) -> Rows:
    state, rows = FoldState(), Rows()
    for hit in hits:
        fold_hit(state, hit, visit_rules(timezone, **tracking), rows, Facts(frozenset(lost)))
    return rows


def of_type(rows: Rows, kind: type) -> list[Any]:
    return [row for row in rows.rows.values() if isinstance(row, kind)]


def visits_of(*hits: PreparedHit, **options: Any) -> list[Visit]:
    return of_type(fold(*hits, **options), Visit)


def campaign(name: str, keyword: str = "") -> Referrer:
    return Referrer(CAMPAIGN, name, keyword)


@pytest.mark.parametrize(("gap", "visits"), [(0, 1), (1799, 1), (1800, 2), (1801, 2)])
def test_a_gap_of_exactly_30_minutes_starts_a_new_visit(gap: int, visits: int) -> None:
    assert len(visits_of(a_prepared_hit(NOON), a_prepared_hit(NOON + gap))) == visits


def test_another_visit_length_is_another_boundary() -> None:
    hits = (a_prepared_hit(NOON), a_prepared_hit(NOON + 600))
    assert len(visits_of(*hits, visit_standard_length=600)) == 2
    assert len(visits_of(*hits, visit_standard_length=601)) == 1


@pytest.mark.parametrize(
    ("timezone", "midnight"),
    [("UTC", 1_789_084_800), ("Asia/Tokyo", 1_789_052_400), ("America/New_York", 1_789_099_200)],
)
def test_midnight_in_the_timezone_of_the_site_starts_a_new_visit(timezone: str, midnight: int) -> None:
    hits = (a_prepared_hit(midnight - 1), a_prepared_hit(midnight))
    split = visits_of(*hits, timezone=timezone)
    assert [visit.date for visit in split] == [split[0].date, split[0].date + 1]
    whole = visits_of(*hits, timezone=timezone, create_new_visit_after_midnight=False)
    assert len(whole) == 1
    assert whole[0].date == split[1].date


def test_a_visit_that_moves_to_the_next_day_leaves_its_old_key() -> None:
    midnight = 1_789_084_800
    rows = fold(a_prepared_hit(midnight - 1), a_prepared_hit(midnight), create_new_visit_after_midnight=False)
    assert [row.date for row in rows.deleted.values()] == [midnight // 86400 - 1]


def test_new_visit_is_forced_by_the_parameter() -> None:
    assert len(visits_of(a_prepared_hit(NOON), a_prepared_hit(NOON + 5, new_visit=True))) == 2


def test_the_action_limit_starts_a_new_visit() -> None:
    hits = [a_prepared_hit(NOON + second) for second in range(4)]
    assert [v.actions for v in visits_of(*hits, create_new_visit_after_x_actions=3)] == [3, 1]


@pytest.mark.parametrize(
    ("first", "second", "visits"),
    [
        (campaign("spring"), campaign("spring"), 1),
        (campaign("spring"), campaign("SPRING"), 1),
        (campaign("spring"), campaign("summer"), 2),
        (campaign("spring", "shoes"), campaign("spring", "hats"), 2),
        (campaign("spring", "shoes"), campaign("spring"), 1),
        (Referrer(), campaign("spring"), 1),
        (Referrer(WEBSITE, "a.example"), campaign("spring"), 2),
        (Referrer(WEBSITE, "a.example"), Referrer(WEBSITE, "b.example"), 1),
        (campaign("spring"), Referrer(WEBSITE, "b.example"), 1),
    ],
)
def test_another_campaign_starts_a_new_visit(first: Referrer, second: Referrer, visits: int) -> None:
    hits = (a_prepared_hit(NOON, referrer=first), a_prepared_hit(NOON + 9, referrer=second))
    assert len(visits_of(*hits)) == visits


def test_a_website_change_starts_a_new_visit_when_set() -> None:
    hits = (
        a_prepared_hit(NOON, referrer=Referrer(WEBSITE, "a.example")),
        a_prepared_hit(NOON + 9, referrer=Referrer(WEBSITE, "b.example")),
    )
    assert len(visits_of(*hits, create_new_visit_when_website_referrer_changes=True)) == 2


def test_a_direct_visit_takes_the_first_other_referrer() -> None:
    search = Referrer(SEARCH_ENGINE, "Bing", "shoes")
    (visit,) = visits_of(
        a_prepared_hit(NOON),
        a_prepared_hit(NOON + 1, referrer=search),
        a_prepared_hit(NOON + 2, referrer=Referrer(WEBSITE, "b.example")),
    )
    assert (visit.referrer_type, visit.referrer_name, visit.referrer_keyword) == (
        SEARCH_ENGINE,
        "Bing",
        "shoes",
    )


def test_a_ping_lengthens_the_visit_but_not_the_thirty_minutes() -> None:
    ping = a_prepared_hit(NOON + 1700, kind=None, is_ping=True)
    rows = fold(a_prepared_hit(NOON), ping, a_prepared_hit(NOON + 1800))
    first, second = of_type(rows, Visit)
    assert (first.duration, first.last_time, first.actions) == (1701, NOON, 1)
    assert second.visit_count == 2


def test_a_ping_that_would_open_a_visit_is_excluded() -> None:
    state, rows = FoldState(), Rows()
    ping = a_prepared_hit(NOON, kind=None, is_ping=True)
    assert fold_hit(state, ping, visit_rules(), rows) is Exclusion.PING_WITHOUT_VISIT
    assert not rows.rows


def test_duration_is_one_second_more_than_the_span_after_the_first_hit() -> None:
    assert visits_of(a_prepared_hit(NOON))[0].duration == 0
    assert visits_of(a_prepared_hit(NOON), a_prepared_hit(NOON))[0].duration == 1
    assert visits_of(a_prepared_hit(NOON), a_prepared_hit(NOON + 60))[0].duration == 61


def test_time_on_the_previous_page_comes_with_the_next_action() -> None:
    rows = fold(
        a_prepared_hit(NOON, url="example.org/a", title="A"),
        a_prepared_hit(NOON + 10, kind=ActionKind.EVENT, url="example.org/a"),
        a_prepared_hit(NOON + 25, url="example.org/b", title="B"),
    )
    seen = [(a.previous_url, a.previous_title, a.time_spent_previous) for a in of_type(rows, Action)]
    assert seen == [("", "", 0), ("example.org/a", "A", 10), ("example.org/a", "A", 15)]


def test_entry_and_exit_are_the_first_and_last_page() -> None:
    (visit,) = visits_of(
        a_prepared_hit(NOON, kind=ActionKind.EVENT, url="example.org/e"),
        a_prepared_hit(NOON + 1, url="example.org/a"),
        a_prepared_hit(NOON + 2, url="example.org/b"),
        a_prepared_hit(NOON + 3, kind=ActionKind.OUTLINK, url="other.example/"),
    )
    assert (visit.entry_url, visit.exit_url) == ("example.org/a", "example.org/b")


def test_a_search_is_neither_entry_nor_exit_page() -> None:
    search = {"kind": ActionKind.SEARCH, "url": "", "title": ""}
    (visit,) = visits_of(a_prepared_hit(NOON, **search), a_prepared_hit(NOON + 1, url="example.org/a"))
    assert (visit.entry_url, visit.exit_url) == ("", "example.org/a")
    (visit,) = visits_of(a_prepared_hit(NOON, url="example.org/a"), a_prepared_hit(NOON + 1, **search))
    assert (visit.entry_url, visit.exit_url) == ("example.org/a", "")


def test_a_click_on_what_is_no_url_leaves_the_title_of_the_page_before_it() -> None:
    click = ActionDraft(ActionKind.PAGE, url=UNTITLED_CLICK.url, url_prefix=UNTITLED_CLICK.prefix)
    rows = fold(
        a_prepared_hit(NOON, title="A"),
        a_prepared_hit(NOON + 10, action=click),
        a_prepared_hit(NOON + 25, title="B"),
        a_prepared_hit(NOON + 30, action=click),
    )
    assert [action.previous_title for action in of_type(rows, Action)] == ["", "A", "A", "B"]
    (visit,) = of_type(rows, Visit)
    assert visit.exit_title == "B"


def test_a_page_without_url_is_the_entry_and_none_comes_later() -> None:
    (visit,) = visits_of(
        a_prepared_hit(NOON, url="", title=""),
        a_prepared_hit(NOON + 1, url="example.org/a", title="A"),
        a_prepared_hit(NOON + 2, url="", title=""),
    )
    assert (visit.entry_url, visit.entry_title) == ("", "")
    assert (visit.exit_url, visit.exit_title) == ("example.org/a", "A")


def test_a_page_without_title_leaves_the_keyword_of_the_search_before_it() -> None:
    search = ActionDraft(ActionKind.SEARCH, search_keyword="shoes")
    rows = fold(
        a_prepared_hit(NOON, action=search),
        a_prepared_hit(NOON + 10, title=""),
        a_prepared_hit(NOON + 25, title="B"),
        a_prepared_hit(NOON + 45),
    )
    actions = of_type(rows, Action)
    assert [action.previous_keyword for action in actions] == ["", "shoes", "shoes", ""]
    assert [action.time_spent_previous for action in actions] == [0, 10, 15, 20]


def test_the_first_resolution_that_is_known_is_the_visits() -> None:
    (visit,) = visits_of(
        a_prepared_hit(NOON),
        a_prepared_hit(NOON + 1, resolution="800x600"),
        a_prepared_hit(NOON + 2, resolution="1024x768"),
    )
    assert visit.resolution == "800x600"


def test_an_order_sent_again_that_opens_a_visit_makes_it_one_of_a_customer_without_a_conversion() -> None:
    again = a_prepared_hit(NOON + 7000, kind=None, ecommerce=Ecommerce(order_id="o-1"))
    rows = fold(a_prepared_hit(NOON), again, lost=(again.hit_id,))
    first, second = of_type(rows, Visit)
    assert (first.returning, second.returning) == (0, 2)
    assert (second.converted, second.buyer, second.seconds_since_order) == (True, 1, 0)
    assert of_type(rows, Conversion) == []


def test_a_ping_that_asks_for_a_new_visit_changes_nothing() -> None:
    ping = a_prepared_hit(NOON + 300, kind=None, is_ping=True, new_visit=True)
    (visit,) = visits_of(a_prepared_hit(NOON), ping)
    assert visit.duration == 0


def test_a_duration_goal_is_reached_after_its_minutes() -> None:
    goal = (ThresholdGoal(4, "visit_duration", 300.0),)
    hits = [a_prepared_hit(NOON + at, threshold_goals=goal) for at in (0, 300, 301)]
    rows = fold(*hits)
    assert [c.hit_id for c in of_type(rows, Conversion)] == [hits[2].hit_id]


def test_a_page_count_goal_is_reached_by_the_page_after_the_threshold() -> None:
    goal = (ThresholdGoal(4, "visit_nb_pageviews", 2.0),)
    hits = [a_prepared_hit(NOON + at, threshold_goals=goal) for at in range(4)]
    assert [c.hit_id for c in of_type(fold(*hits), Conversion)] == [hits[2].hit_id]


def test_a_conversion_that_opens_the_visit_of_a_known_visitor_adds_its_second() -> None:
    first, second = visits_of(goal_hit(NOON, GoalMatch(1)), goal_hit(NOON + 3600, GoalMatch(1)))
    assert (first.duration, second.duration) == (0, 1)


def test_counts_follow_the_kinds_of_actions() -> None:
    kinds = (
        ActionKind.PAGE,
        ActionKind.EVENT,
        ActionKind.SEARCH,
        ActionKind.DOWNLOAD,
        ActionKind.OUTLINK,
        ActionKind.CONTENT,
    )
    (visit,) = visits_of(*(a_prepared_hit(NOON + i, kind=kind) for i, kind in enumerate(kinds)))
    assert (visit.actions, visit.interactions, visit.searches, visit.events) == (5, 2, 1, 1)


def test_the_newest_id_overwrites_the_visitor_of_the_visit_and_the_user_id_stays() -> None:
    (visit,) = visits_of(
        a_prepared_hit(NOON, visitor_id=1),
        a_prepared_hit(NOON + 1, visitor_id=2, user_id="alice"),
        a_prepared_hit(NOON + 2, visitor_id=1),
    )
    assert (visit.visitor_id, visit.user_id) == (1, "alice")


def goal_hit(at: int, *goals: GoalMatch, **fields: Any) -> PreparedHit:
    return a_prepared_hit(at, goals=goals, **fields)


def test_a_goal_converts_once_per_visit_unless_it_allows_more() -> None:
    once, often = GoalMatch(1, 5.0), GoalMatch(2, 3.0, allow_multiple=True)
    rows = fold(goal_hit(NOON, once, often), goal_hit(NOON + 1, once, often))
    assert sorted((c.goal_id, c.revenue) for c in of_type(rows, Conversion)) == [(1, 5.0), (2, 3.0), (2, 3.0)]


@pytest.mark.parametrize(
    ("match", "duration"),
    [(GoalMatch(1), 12), (GoalMatch(1, manual=True), 14), (GoalMatch(2, manual=True), 15)],
)
def test_a_conversion_on_a_known_visit_adds_its_seconds(match: GoalMatch, duration: int) -> None:
    kind = None if match.manual else ActionKind.PAGE
    (visit,) = visits_of(a_prepared_hit(NOON), goal_hit(NOON + 10, match, kind=kind))
    assert visit.duration == duration


def test_a_match_of_a_goal_converted_before_adds_its_second_too() -> None:
    (visit,) = visits_of(goal_hit(NOON, GoalMatch(1)), goal_hit(NOON + 10, GoalMatch(1)))
    assert visit.duration == 12


SHOES = Item("sku1", "Shoe", ("Shoes",), 20.5, 2)


def order(at: int, order_id: str = "o-1", **fields: Any) -> PreparedHit:
    return a_prepared_hit(at, kind=None, ecommerce=Ecommerce(order_id, 51.0, items=(SHOES,)), **fields)


def cart(at: int, *items: Item) -> PreparedHit:
    return a_prepared_hit(at, kind=None, ecommerce=Ecommerce("", 41.0, items=items))


def test_an_order_on_a_known_visit_adds_two_seconds_and_converts() -> None:
    rows = fold(a_prepared_hit(NOON), order(NOON + 300))
    (visit,) = of_type(rows, Visit)
    assert (visit.duration, visit.converted, visit.buyer, visit.actions, visit.returning) == (
        303,
        True,
        1,
        1,
        0,
    )
    (conversion,) = of_type(rows, Conversion)
    assert (conversion.order_id, conversion.items, conversion.revenue) == ("o-1", 2, 51.0)


def test_the_next_cart_replaces_the_cart_and_an_order_ends_it() -> None:
    hat = Item("sku2", "Hat", ("Hats",), 10.0, 1)
    rows = fold(a_prepared_hit(NOON), cart(NOON + 1, SHOES, hat), cart(NOON + 2, SHOES))
    assert [c.items for c in of_type(rows, Conversion)] == [2]
    assert [i.sku for i in of_type(rows, ConversionItem)] == ["sku1"]
    rows = fold(a_prepared_hit(NOON), cart(NOON + 1, SHOES), order(NOON + 2), cart(NOON + 3, hat))
    assert [(c.goal_id, c.items) for c in of_type(rows, Conversion)] == [(0, 2), (-1, 1)]
    assert of_type(rows, Visit)[0].buyer == 3


def test_a_returning_customer_is_known_two_visits_after_the_order() -> None:
    visits = visits_of(order(NOON), *(a_prepared_hit(NOON + 3600 * i) for i in (1, 2, 3)))
    assert [visit.returning for visit in visits] == [2, 1, 2, 2]
    assert [visit.seconds_since_order for visit in visits] == [0, 3600, 7200, 10800]
    assert [visit.visit_count for visit in visits] == [1, 2, 3, 4]


def test_a_lost_order_that_opens_a_visit_leaves_it_without_actions_and_converted() -> None:
    lost = order(NOON)
    rows = fold(lost, lost=(lost.hit_id,))
    (visit,) = of_type(rows, Visit)
    assert (visit.actions, visit.converted) == (0, True)
    assert not of_type(rows, Conversion)


def test_a_visit_that_a_lost_order_opens_begins_as_one_that_orders() -> None:
    lost = order(NOON + 7200)
    rows = fold(order(NOON), lost, a_prepared_hit(NOON + 14400), lost=(lost.hit_id,))
    _, opened, later = of_type(rows, Visit)
    ordered = 1
    assert (opened.buyer, opened.seconds_since_order) == (ordered, 0)
    assert (later.buyer, later.seconds_since_order) == (0, 7200)


def test_the_campaign_of_the_visit_wins_over_the_referrer_cookie() -> None:
    cookie = Referrer(SEARCH_ENGINE, "Bing", "shoes")
    match = GoalMatch(1)
    for own, expected in ((campaign("spring"), "spring"), (Referrer(DIRECT), "Bing")):
        rows = fold(goal_hit(NOON, match, referrer=own, attribution_referrer=cookie))
        assert of_type(rows, Conversion)[0].referrer_name == expected
    rows = fold(goal_hit(NOON, match, referrer=campaign("spring"), attribution=campaign("cookie")))
    assert of_type(rows, Conversion)[0].referrer_name == "cookie"


def test_timings_of_a_ping_fill_the_page_view_of_the_same_id() -> None:
    rows = fold(
        a_prepared_hit(NOON, pageview_id="abc123"),
        a_prepared_hit(
            NOON + 1, kind=None, is_ping=True, pageview_id="abc123", timings=(5, -1, -1, -1, -1, 9)
        ),
        a_prepared_hit(
            NOON + 2, kind=None, is_ping=True, pageview_id="zzz999", timings=(7, -1, -1, -1, -1, 7)
        ),
    )
    (page,) = of_type(rows, Action)
    assert (page.time_network, page.time_server, page.time_on_load) == (5, -1, 9)
