"""Goals: which conversions a site counts."""

from collections.abc import Sequence
from typing import Any
from urllib.parse import unquote_plus

import msgspec
import re2

from reporting.errors import ApiError
from reporting.method import Access, ApiRequest, Method
from reporting.parameters import Parameters
from reporting.table import Result, Value
from schemas.config import Config, ConfigEvent, Goal

MATCH_ATTRIBUTES = (
    "url", "title", "file", "external_website", "event_category", "event_action", "event_name",
    "visit_duration", "visit_nb_pageviews", "manually",
)  # fmt: skip
_AMOUNTS = ("visit_duration", "visit_nb_pageviews")
_EVENTS = ("event_category", "event_action", "event_name")


def goal_columns(goal: Goal) -> dict[str, Value]:
    """A goal as the API shows it; a goal that is triggered by hand has no pattern."""
    columns: dict[str, Value] = {
        "idsite": goal.site_id,
        "idgoal": goal.goal_id,
        "name": goal.name,
        "description": goal.description,
        "match_attribute": goal.match_attribute,
    }
    if goal.match_attribute != "manually":
        columns["pattern"] = goal.pattern
        columns["pattern_type"] = goal.pattern_type
        columns["case_sensitive"] = int(goal.case_sensitive)
    columns["allow_multiple"] = int(goal.allow_multiple)
    columns["revenue"] = int(goal.revenue) if goal.revenue == int(goal.revenue) else goal.revenue
    columns["deleted"] = int(goal.deleted)
    columns["event_value_as_revenue"] = int(goal.event_value_as_revenue)
    return columns


def _checked_pattern(attribute: str, kind: str, pattern: str) -> None:
    """Raises ApiError that says what is wrong with the pattern."""
    if attribute in _AMOUNTS:
        if kind != "greater_than":
            raise ApiError(f"patternType is '{kind}': expected greater_than for {attribute}.")
        try:
            float(pattern)
        except ValueError:
            raise ApiError(f"pattern is '{pattern}': expected a number for {attribute}.") from None
        return
    if kind not in ("contains", "exact", "regex"):
        raise ApiError(f"patternType is '{kind}': expected contains, exact or regex.")
    if pattern == "":
        raise ApiError("The pattern of a goal must not be empty.")
    if kind == "exact" and attribute in ("url", "external_website") and "://" not in pattern:
        raise ApiError(
            "If you choose 'exact match', the matching string must be a URL starting with http:// or https://."
        )
    if kind == "regex":
        options = re2.Options()
        options.log_errors = False
        try:
            re2.compile(pattern, options)
        except re2.error as error:
            raise ApiError(f"The regular expression '{pattern}' is not valid: {error}") from None


def changed_goal(goal: Goal, parameters: Parameters) -> Goal:
    """The goal with what the parameters say. Raises ApiError."""
    changes: dict[str, Any] = {}
    if "name" in parameters:
        name = parameters.text("name").strip()
        if not name:
            raise ApiError("The name of a goal must not be empty.")
        changes["name"] = name[:50]
    if "description" in parameters:
        changes["description"] = parameters.text("description")[:255]
    if parameters.text("matchAttribute"):
        attribute = parameters.text("matchAttribute")
        if attribute not in MATCH_ATTRIBUTES:
            raise ApiError(f"matchAttribute is '{attribute}': expected one of {', '.join(MATCH_ATTRIBUTES)}.")
        changes["match_attribute"] = attribute
    if "pattern" in parameters:
        # Clients encode the pattern once more than HTTP asks for: `+` is a space here, as in Matomo.
        changes["pattern"] = unquote_plus(parameters.text("pattern"))
    if parameters.text("patternType"):
        changes["pattern_type"] = parameters.text("patternType")
    for name, key in (
        ("caseSensitive", "case_sensitive"),
        ("allowMultipleConversionsPerVisit", "allow_multiple"),
        ("useEventValueAsRevenue", "event_value_as_revenue"),
    ):
        if name in parameters:
            changes[key] = parameters.flag(name)
    if parameters.text("revenue"):
        revenue = parameters.number("revenue")
        if revenue is None or revenue != revenue or abs(revenue) == float("inf"):
            raise ApiError(f"revenue is '{parameters.text('revenue')}': expected a number.")
        changes["revenue"] = revenue
    changed = msgspec.structs.replace(goal, **changes)
    if changed.match_attribute != "manually":
        _checked_pattern(changed.match_attribute, changed.pattern_type, changed.pattern)
    if changed.event_value_as_revenue and changed.match_attribute not in _EVENTS:
        raise ApiError(
            "useEventValueAsRevenue only makes sense for goals that match an event category, action or name."
        )
    return changed


def _at(request: ApiRequest) -> int:
    return int(request.now.timestamp() * 1000)


def known_goals(config: Config, site_id: int) -> list[Goal]:
    """Goals of a site that are not deleted, by id."""
    return [goal for _, goal in sorted(config.goals.get(site_id, {}).items()) if not goal.deleted]


def _wanted_goal(request: ApiRequest) -> Goal | None:
    goal_id = request.parameters.integer("idGoal", -1)
    goal = request.config.goals.get(request.site_id, {}).get(goal_id)
    return None if goal is None or goal.deleted else goal


async def _add(request: ApiRequest) -> Result:
    def change(config: Config) -> Sequence[ConfigEvent]:
        goal_id = max(config.goals.get(request.site_id, {}), default=0) + 1
        draft = Goal(site_id=request.site_id, goal_id=goal_id, name="")
        return [ConfigEvent(at=_at(request), goal=changed_goal(draft, request.parameters))]

    config = await request.change(change)
    return max(config.goals[request.site_id])


async def _update(request: ApiRequest) -> Result:
    goal = _wanted_goal(request)
    if goal is None:
        raise ApiError(
            f"Goal {request.parameters.text('idGoal')} of website {request.site_id} does not exist."
        )

    def change(config: Config) -> Sequence[ConfigEvent]:
        newest = config.goals[request.site_id][goal.goal_id]
        return [ConfigEvent(at=_at(request), goal=changed_goal(newest, request.parameters))]

    await request.change(change)
    return None


async def _delete(request: ApiRequest) -> Result:
    goal = _wanted_goal(request)
    if goal is None:
        return None

    def change(_: Config) -> Sequence[ConfigEvent]:
        return [ConfigEvent(at=_at(request), goal=msgspec.structs.replace(goal, deleted=True))]

    await request.change(change)
    return None


def _get(request: ApiRequest) -> Result:
    goal = _wanted_goal(request)
    return None if goal is None else goal_columns(goal)


def _get_all(request: ApiRequest) -> Result:
    """Keyed by id for one site; a list when ordered by name or for several sites."""
    goals = [goal for site_id in request.sites for goal in known_goals(request.config, site_id)]
    if request.several_sites or request.parameters.flag("orderByName"):
        goals.sort(key=lambda goal: goal.name.lower())
        return [goal_columns(goal) for goal in goals]
    return {str(goal.goal_id): goal_columns(goal) for goal in goals}


METHODS: dict[str, Method] = {
    "Goals.addGoal": Method(
        answer=_add, access=Access.WRITE, takes_sites=True, several_sites=False,
        required=("name", "matchAttribute"),
    ),
    "Goals.updateGoal": Method(
        answer=_update, access=Access.WRITE, takes_sites=True, several_sites=False, required=("idGoal",)
    ),
    "Goals.deleteGoal": Method(
        answer=_delete, access=Access.WRITE, takes_sites=True, several_sites=False, required=("idGoal",)
    ),
    "Goals.getGoal": Method(answer=_get, takes_sites=True, several_sites=False, required=("idGoal",)),
    "Goals.getGoals": Method(answer=_get_all, takes_sites=True),
}  # fmt: skip
