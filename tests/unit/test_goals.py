"""Which goals a hit converts."""

import pytest

from rules.goals import (
    PatternGoal,
    compile_goal,
    goal_problem,
    goal_rules,
    manual_goal,
    manual_goal_id,
    pattern_goals,
    threshold_goals,
)
from rules.prepared import ActionDraft, GoalMatch, ThresholdGoal
from schemas.config import Goal
from schemas.rows import ActionKind

EX = "http://example.org"


def a_goal(goal_id: int = 1, **fields: object) -> Goal:
    return Goal(site_id=1, goal_id=goal_id, name="g", **fields)  # type: ignore[arg-type]


def a_page(title: str = "") -> ActionDraft:
    return ActionDraft(ActionKind.PAGE, title=title)


def an_event(**fields: object) -> ActionDraft:
    given = {"event_category": "Video", "event_action": "Play", "event_name": "Trailer"} | fields
    return ActionDraft(ActionKind.EVENT, **given)  # type: ignore[arg-type]


def converted(goal: Goal, action: ActionDraft, url: str = "", **params: str) -> bool:
    return bool(pattern_goals(params, action, url, goal_rules([goal])))


@pytest.mark.parametrize(
    ("pattern", "case_sensitive", "url", "expected"),
    [
        (f"{EX}/thanks", False, f"{EX}/thanks", True),
        (f"{EX}/thanks", False, f"{EX}/THANKS", True),
        (f"{EX}/thanks", True, f"{EX}/THANKS", False),
        (f"{EX}/thanks", False, "http://www.example.org/thanks", False),
        (f"{EX}/thanks", False, "https://example.org/thanks", False),
        (f"{EX}/thanks", False, f"{EX}/thanks?x=1", False),
        (f"{EX}/Thanks#frag", True, f"{EX}/Thanks#frag", True),
    ],
)
def test_an_exact_url_is_compared_as_it_was_sent(
    pattern: str, case_sensitive: bool, url: str, expected: bool
) -> None:
    goal = a_goal(pattern=pattern, pattern_type="exact", case_sensitive=case_sensitive)
    assert converted(goal, a_page(), url) is expected


@pytest.mark.parametrize(
    ("pattern", "case_sensitive", "url", "expected"),
    [
        ("thanks", False, f"{EX}/x/Thanks?y", True),
        ("thanks", True, f"{EX}/x/Thanks?y", False),
        ("a%20b", False, f"{EX}/a b", True),
        ("a%20b", False, f"{EX}/a%20b", True),
        ("a+b", False, f"{EX}/a b", True),
        ("", False, EX, True),
    ],
)
def test_contains_also_tries_the_url_decoded_pattern(
    pattern: str, case_sensitive: bool, url: str, expected: bool
) -> None:
    assert converted(a_goal(pattern=pattern, case_sensitive=case_sensitive), a_page(), url) is expected


@pytest.mark.parametrize(
    ("pattern", "case_sensitive", "url", "expected"),
    [
        ("product/[0-9]+/buy", False, f"{EX}/product/12/buy", True),
        ("product/[a-z]+/buy", True, f"{EX}/PRODUCT/ab/buy", False),
        ("product/[a-z]+/buy", False, f"{EX}/PRODUCT/ab/buy", True),
        ("product/[0-9]%2B/buy", False, f"{EX}/product/12/buy", True),
        ("^http://example.org/item-.$", False, f"{EX}/item-x", True),
        ("^item", False, f"{EX}/item", False),
        (r"\/item", False, f"{EX}/item", True),
        ("é.$", False, f"{EX}/ÉX", True),
    ],
)
def test_a_regular_expression_is_searched(
    pattern: str, case_sensitive: bool, url: str, expected: bool
) -> None:
    goal = a_goal(pattern=pattern, pattern_type="regex", case_sensitive=case_sensitive)
    assert converted(goal, a_page(), url) is expected


def test_a_pattern_that_would_backtrack_for_ever_ends_at_once() -> None:
    goal = a_goal(pattern="(a+)+$", pattern_type="regex")
    assert not converted(goal, a_page(), "a" * 50_000 + "b")


@pytest.mark.parametrize(
    ("attribute", "kind"),
    [
        ("url", ActionKind.PAGE),
        ("title", ActionKind.PAGE),
        ("file", ActionKind.DOWNLOAD),
        ("external_website", ActionKind.OUTLINK),
        ("event_category", ActionKind.EVENT),
        ("event_action", ActionKind.EVENT),
        ("event_name", ActionKind.EVENT),
    ],
)
def test_a_goal_looks_only_at_actions_of_its_kind(attribute: str, kind: int) -> None:
    kinds = (
        ActionKind.PAGE, ActionKind.OUTLINK, ActionKind.DOWNLOAD,
        ActionKind.SEARCH, ActionKind.EVENT, ActionKind.CONTENT,
    )  # fmt: skip
    goal = a_goal(match_attribute=attribute, pattern="thanks")
    for other in kinds:
        action = ActionDraft(
            other, title="thanks", event_category="thanks", event_action="thanks", event_name="thanks"
        )
        matched = converted(goal, action, f"{EX}/thanks", link="http://thanks", download="http://thanks")
        assert matched is (other == kind)


def test_title_goals_read_the_title() -> None:
    goal = a_goal(match_attribute="title", pattern="thank you")
    assert converted(goal, a_page("Thank You Page"))
    assert not converted(goal, a_page("x"), "thank you")


def test_downloads_and_outlinks_are_matched_as_they_were_sent() -> None:
    file = a_goal(match_attribute="file", pattern="HTTP://WWW.e.org/f.zip", case_sensitive=True)
    assert converted(file, ActionDraft(ActionKind.DOWNLOAD), "", download="HTTP://WWW.e.org/f.zip")
    site = a_goal(match_attribute="external_website", pattern="http://p.net")
    assert converted(site, ActionDraft(ActionKind.OUTLINK), "", link="http://p.net/x")


def test_each_part_of_an_event_can_be_a_goal() -> None:
    assert converted(a_goal(match_attribute="event_category", pattern="video"), an_event())
    assert converted(a_goal(match_attribute="event_action", pattern="Play", pattern_type="exact"), an_event())
    assert converted(a_goal(match_attribute="event_name", pattern="^Tra", pattern_type="regex"), an_event())
    assert not converted(a_goal(match_attribute="event_name", pattern="video"), an_event())


@pytest.mark.parametrize(
    ("event", "params", "expected"),
    [
        ({}, {}, 3.0),
        ({"event_value": 0.0, "has_event_value": True}, {}, 0.0),
        ({"event_value": -4.0, "has_event_value": True}, {}, -4.0),
        ({"event_value": 7.5, "has_event_value": True}, {}, 7.5),
        ({}, {"revenue": "8"}, 8.0),
    ],
)
def test_the_events_value_is_the_revenue_when_the_goal_says_so(
    event: dict[str, object], params: dict[str, str], expected: float
) -> None:
    goal = a_goal(match_attribute="event_category", pattern="Video", revenue=3.0, event_value_as_revenue=True)
    assert pattern_goals(params, an_event(**event), "", goal_rules([goal])) == (GoalMatch(1, expected),)


def test_revenue_overrides_the_default_of_the_goal() -> None:
    rules = goal_rules([a_goal(pattern="x", revenue=2.0, allow_multiple=True)])
    assert pattern_goals({}, a_page(), "x", rules) == (GoalMatch(1, 2.0, True),)
    assert pattern_goals({"revenue": "0"}, a_page(), "x", rules) == (GoalMatch(1, 0.0, True),)
    assert pattern_goals({"revenue": "abc"}, a_page(), "x", rules) == (GoalMatch(1, 2.0, True),)


def test_several_goals_match_in_the_order_of_their_numbers() -> None:
    rules = goal_rules([a_goal(7, pattern="x"), a_goal(2, pattern="x"), a_goal(3, pattern="y")])
    assert [match.goal_id for match in pattern_goals({}, a_page(), "x", rules)] == [2, 7]


def test_a_deleted_goal_never_matches() -> None:
    rules = goal_rules([a_goal(pattern="x", deleted=True)])
    assert pattern_goals({}, a_page(), "x", rules) == ()
    assert manual_goal({}, 1, rules) == ()


@pytest.mark.parametrize(
    ("params", "expected"),
    [({"idgoal": "2"}, 2), ({"idgoal": "0"}, 0), ({"idgoal": "-1"}, 0), ({"idgoal": "abc"}, 0), ({}, 0)],
)
def test_a_manual_goal_has_a_positive_number(params: dict[str, str], expected: int) -> None:
    assert manual_goal_id(params) == expected


@pytest.mark.parametrize(
    ("params", "revenue"),
    [({}, 5.0), ({"revenue": "12.345"}, 12.35), ({"revenue": "0"}, 0.0), ({"revenue": ""}, 5.0)],
)
def test_what_a_manual_goal_is_worth(params: dict[str, str], revenue: float) -> None:
    rules = goal_rules([a_goal(match_attribute="manually", revenue=5.0)])
    (match,) = manual_goal(params, 1, rules)
    assert match.revenue == pytest.approx(revenue, abs=0.0051)
    assert match.manual


def test_any_goal_can_be_converted_by_number() -> None:
    assert manual_goal({}, 1, goal_rules([a_goal(pattern="thanks")])) == (GoalMatch(1, manual=True),)
    assert manual_goal({}, 99, goal_rules([a_goal()])) == ()


def test_durations_are_given_in_minutes_and_kept_in_seconds() -> None:
    rules = goal_rules(
        [
            a_goal(
                1, match_attribute="visit_duration", pattern="5", pattern_type="greater_than", revenue=2.0
            ),
            a_goal(2, match_attribute="visit_nb_pageviews", pattern="3", allow_multiple=True),
            a_goal(3, match_attribute="visit_duration", pattern="long"),
        ]
    )
    expected = (
        ThresholdGoal(1, "visit_duration", 300.0, 2.0),
        ThresholdGoal(2, "visit_nb_pageviews", 3.0, 0.0, True),
    )
    assert threshold_goals({}, rules) == expected
    assert [goal.revenue for goal in threshold_goals({"revenue": "9"}, rules)] == [9.0, 9.0]


@pytest.mark.parametrize(
    ("goal", "word"),
    [
        (a_goal(pattern="(?=x)", pattern_type="regex"), "RE2"),
        (a_goal(pattern="[", pattern_type="regex"), "RE2"),
        (a_goal(match_attribute="visit_duration", pattern="long"), "number"),
        (a_goal(match_attribute="colour"), "colour"),
        (a_goal(pattern_type="sounds like"), "sounds like"),
    ],
)
def test_a_goal_that_can_never_convert_is_explained_and_never_matches(goal: Goal, word: str) -> None:
    assert word in (goal_problem(goal) or "")
    assert compile_goal(goal) is None
    assert not converted(goal, a_page("x"), "x")


def test_a_goal_that_can_convert_has_no_problem() -> None:
    assert goal_problem(a_goal(pattern="x")) is None
    assert goal_problem(a_goal(match_attribute="manually")) is None
    assert goal_problem(a_goal(match_attribute="visit_duration", pattern="5")) is None
    assert isinstance(compile_goal(a_goal(pattern="x")), PatternGoal)
