"""Names that reports show for stored codes, and the codes that a segment on such names means."""

from collections.abc import Iterable
from functools import cache

from device_detector.parser.settings import AVAILABLE_BROWSERS, OPERATING_SYSTEMS

from reporting.errors import ApiError
from reporting.segments import Condition, NameResolver, fits
from rules.locations import CONTINENTS, continent_code, countries, country_name
from rules.user_agents import browser_name, os_name
from schemas.config import Config
from schemas.segments import SegmentField


@cache
def _os_names() -> tuple[tuple[str, str], ...]:
    return tuple((code, os_name(code)) for code in OPERATING_SYSTEMS)


@cache
def _browser_names() -> tuple[tuple[str, str], ...]:
    return tuple((code, browser_name(code)) for code in AVAILABLE_BROWSERS)


@cache
def _country_names() -> tuple[tuple[str, str], ...]:
    return tuple((code, country_name(code)) for code in sorted(countries()))


def _codes(names: Iterable[tuple[str, str]], condition: Condition) -> tuple[str, ...]:
    """Codes whose name fits; for an exact condition also a code given for a name."""
    found = tuple(code for code, name in names if fits(name, condition.operator, condition.value))
    if not found and condition.operator == "==":
        return tuple(code for code, _ in names if code.lower() == condition.value.lower())
    return found


def resolve_names(config: Config, site_id: int) -> NameResolver:
    """The stored values that a condition on a name means (schemas.segments)."""

    def resolve(field: SegmentField, condition: Condition) -> "tuple[str | int, ...] | None":
        match field.name:
            case "browserName":
                return _known(_codes(_browser_names(), condition), field, condition)
            case "operatingSystemName":
                return _known(_codes(_os_names(), condition), field, condition)
            case "countryName":
                return _known(_codes(_country_names(), condition), field, condition)
            case "continentCode":
                wanted = [code for code in CONTINENTS if fits(code, condition.operator, condition.value)]
                return tuple(code for code in sorted(countries()) if continent_code(code) in wanted)
            case "visitConvertedGoalName":
                goals = config.goals.get(site_id, {}).values()
                return tuple(
                    goal.goal_id for goal in goals if fits(goal.name, condition.operator, condition.value)
                )
            case _:
                return None

    return resolve


def _known(codes: tuple[str, ...], field: SegmentField, condition: Condition) -> tuple[str, ...]:
    if not codes and condition.operator == "==" and condition.value:
        raise ApiError(f"Invalid '{field.column}' segment value {condition.value}")
    return codes
