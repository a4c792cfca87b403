"""Which goals a hit converts on its own, and what they are worth (tracking semantics section 7).

A goal whose pattern cannot be used never matches; `goal_problem` says why.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from urllib.parse import unquote_plus

from rules.ecommerce import read_money
from rules.patterns import compile_linear, matches
from rules.prepared import ActionDraft, GoalMatch, ThresholdGoal
from rules.query import read_integer, read_number
from schemas.config import Goal
from schemas.rows import ActionKind

Params = Mapping[str, str]
Matcher = Callable[[str], bool]

KIND_OF_ATTRIBUTE = {
    "url": ActionKind.PAGE,
    "title": ActionKind.PAGE,
    "file": ActionKind.DOWNLOAD,
    "external_website": ActionKind.OUTLINK,
    "event_category": ActionKind.EVENT,
    "event_action": ActionKind.EVENT,
    "event_name": ActionKind.EVENT,
}
"""A pattern goal looks only at actions of its attribute's kind."""

SECONDS_OF_THRESHOLD = {"visit_duration": 60, "visit_nb_pageviews": 1}
"""Threshold attributes, and by what the pattern's number is multiplied: durations are given in minutes."""


@dataclass(frozen=True, slots=True)
class PatternGoal:
    goal: Goal
    attribute: str
    matches: Matcher


@dataclass(frozen=True, eq=False)
class GoalRules:
    """The goals of one site, ready to be matched."""

    by_id: Mapping[int, Goal]
    by_kind: Mapping[int, tuple[PatternGoal, ...]]
    thresholds: tuple[ThresholdGoal, ...]


def goal_rules(goals: Iterable[Goal]) -> GoalRules:
    current = sorted((goal for goal in goals if not goal.deleted), key=lambda goal: goal.goal_id)
    by_kind: dict[int, list[PatternGoal]] = {}
    thresholds: list[ThresholdGoal] = []
    for goal in current:
        match compile_goal(goal):
            case PatternGoal() as pattern:
                by_kind.setdefault(KIND_OF_ATTRIBUTE[goal.match_attribute], []).append(pattern)
            case ThresholdGoal() as threshold:
                thresholds.append(threshold)
            case None:
                pass
    return GoalRules(
        by_id={goal.goal_id: goal for goal in current},
        by_kind={kind: tuple(patterns) for kind, patterns in by_kind.items()},
        thresholds=tuple(thresholds),
    )


def compile_goal(goal: Goal) -> PatternGoal | ThresholdGoal | None:
    """What matches the goal; None for manual goals and for those that can never match."""
    attribute = goal.match_attribute
    if attribute in SECONDS_OF_THRESHOLD:
        threshold = read_number(goal.pattern, -1.0)
        if threshold < 0:
            return None
        return ThresholdGoal(
            goal_id=goal.goal_id,
            attribute=attribute,
            threshold=threshold * SECONDS_OF_THRESHOLD[attribute],
            revenue=goal.revenue,
            allow_multiple=goal.allow_multiple,
        )
    if attribute not in KIND_OF_ATTRIBUTE:
        return None
    matches = compile_pattern(goal.pattern, goal.pattern_type, case_sensitive=goal.case_sensitive)
    return None if matches is None else PatternGoal(goal, attribute, matches)


def compile_pattern(pattern: str, pattern_type: str, *, case_sensitive: bool) -> Matcher | None:
    """Matches when the pattern or its URL-decoded form does; None when neither ever can."""
    decoded = unquote_plus(pattern) if "%" in pattern or "+" in pattern else pattern
    forms = [pattern] if decoded == pattern else [pattern, decoded]
    matchers = [_compile_form(form, pattern_type, case_sensitive) for form in forms]
    usable = [matcher for matcher in matchers if matcher is not None]
    if not usable:
        return None
    if len(usable) == 1:
        return usable[0]
    first, second = usable
    return lambda text: first(text) or second(text)


def _compile_form(pattern: str, pattern_type: str, case_sensitive: bool) -> Matcher | None:
    wanted = pattern if case_sensitive else pattern.lower()
    match pattern_type:
        case "contains" if case_sensitive:
            return lambda text: wanted in text
        case "contains":
            return lambda text: wanted in text.lower()
        case "exact" if case_sensitive:
            return lambda text: text == wanted
        case "exact":
            return lambda text: text.lower() == wanted
        case "regex":
            compiled = compile_linear(pattern, case_sensitive=case_sensitive)
            if compiled is None:
                return None
            return partial(matches, compiled)
        case _:
            return None


def goal_problem(goal: Goal) -> str | None:
    """Why a goal can never convert, in words for whoever configures it; None when it can."""
    attribute = goal.match_attribute
    if attribute == "manually" or compile_goal(goal) is not None:
        return None
    if attribute in SECONDS_OF_THRESHOLD:
        return f"the pattern of a {attribute} goal is a number, found {goal.pattern!r}"
    if attribute not in KIND_OF_ATTRIBUTE:
        return f"{attribute!r} is not an attribute that goals match on"
    if goal.pattern_type not in ("contains", "exact", "regex"):
        return f"{goal.pattern_type!r} is not a pattern type of {attribute} goals"
    return f"{goal.pattern!r} is no regular expression that runs in linear time (RE2 syntax)"


def manual_goal_id(params: Params) -> int:
    """The number in `idgoal` when it is positive, else 0: text and negative numbers make a page view."""
    text = params.get("idgoal")
    return 0 if text is None else max(0, read_integer(text, 0))


def manual_goal(params: Params, goal_id: int, rules: GoalRules) -> tuple[GoalMatch, ...]:
    """The conversion of a manual goal; () when the site has no such goal."""
    goal = rules.by_id.get(goal_id)
    if goal is None:
        return ()
    revenue = read_money(params.get("revenue"), goal.revenue)
    return (GoalMatch(goal_id, revenue, goal.allow_multiple, manual=True),)


def pattern_goals(
    params: Params, action: ActionDraft, raw_url: str, rules: GoalRules
) -> tuple[GoalMatch, ...]:
    """The goals whose pattern the action matches, by number; URLs are matched as they were sent."""
    candidates = rules.by_kind.get(action.kind)
    if candidates is None:
        return ()
    found: tuple[GoalMatch, ...] = ()
    for candidate in candidates:
        if candidate.matches(_matched_text(candidate.attribute, params, action, raw_url)):
            goal = candidate.goal
            found += (GoalMatch(goal.goal_id, _revenue(params, action, goal), goal.allow_multiple),)
    return found


def _matched_text(attribute: str, params: Params, action: ActionDraft, raw_url: str) -> str:
    match attribute:
        case "url":
            return raw_url
        case "title":
            return action.title
        case "file":
            return params.get("download", "")
        case "external_website":
            return params.get("link", "")
        case "event_category":
            return action.event_category
        case "event_action":
            return action.event_action
        case _:
            return action.event_name


def _revenue(params: Params, action: ActionDraft, goal: Goal) -> float:
    if goal.event_value_as_revenue and action.has_event_value:
        return round(action.event_value, 2)
    return read_money(params.get("revenue"), goal.revenue)


def threshold_goals(params: Params, rules: GoalRules) -> tuple[ThresholdGoal, ...]:
    """The goals that the visit decides, worth what the request says or else the goal."""
    if not rules.thresholds or not params.get("revenue"):
        return rules.thresholds
    return tuple(
        ThresholdGoal(
            g.goal_id, g.attribute, g.threshold, read_money(params["revenue"], g.revenue), g.allow_multiple
        )
        for g in rules.thresholds
    )
