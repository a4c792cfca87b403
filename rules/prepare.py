"""From a raw hit to one that the fold can place: the steps, in order.

What a hit says never raises: what cannot be read counts as not sent.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache

import msgspec

from rules.actions import ActionRules, action_of, action_rules, page_timings, pageview_id
from rules.dimensions import (
    DimensionRules,
    action_dimensions,
    custom_variables,
    dimension_rules,
    visit_dimensions,
)
from rules.ecommerce import ecommerce_of
from rules.exclusions import ExclusionRules, exclusion, exclusion_rules
from rules.goals import (
    GoalRules,
    goal_rules,
    manual_goal,
    manual_goal_id,
    pattern_goals,
    threshold_goals,
)
from rules.locations import guess_country
from rules.prepared import ActionDraft, Agent, Ecommerce, GoalMatch, PreparedHit, Referrer, ThresholdGoal
from rules.query import is_set, parse_query, read_integer
from rules.referrers import (
    ORIGIN_PARAMETERS,
    Origin,
    attribution_from_cookie,
    attribution_from_ref,
    read_origin,
    visit_referrer,
)
from rules.urls import PageUrl, UrlRules, clean_text, clean_url, prefixed, url_rules
from schemas.config import Config, Privacy, Site, Tracking
from schemas.hit import Hit
from schemas.outcomes import Exclusion
from schemas.rows import ActionKind

Params = Mapping[str, str]

RESOLUTION_MAX_LENGTH = 18

PLUGINS = (
    ("pdf", "pdf"),
    ("fla", "flash"),
    ("java", "java"),
    ("dir", "director"),
    ("qt", "quicktime"),
    ("realp", "realplayer"),
    ("wma", "windowsmedia"),
    ("gears", "gears"),
    ("ag", "silverlight"),
    ("cookie", "cookie"),
)
"""Tracking parameter and name of each plugin, in the order of Visit.plugins."""


@dataclass(frozen=True, eq=False)
class SiteRules:
    """What one configuration says of one site, in the form that the steps need."""

    site: Site
    tracking: Tracking
    privacy: Privacy
    urls: UrlRules
    actions: ActionRules
    goals: GoalRules
    dimensions: DimensionRules
    exclusions: ExclusionRules


@dataclass(frozen=True)
class Lookups:
    """Knowledge that lives outside of the rules."""

    agent: Callable[[str, str], Agent]
    """(user agent, client hints as JSON) -> what the device detector says; fast for agents seen before."""
    locale: Callable[[str], tuple[str, str]]
    """Language as the browser sends it -> (code such as `de` or `de-at`, lower-case country that it
    stands for); rules.locations knows both."""


def site_rules(config: Config, site_id: int) -> SiteRules:
    """The rules of one site; make them once per configuration and keep them (about 1 ms each).

    A site that the configuration does not know, such as a deleted one, has the instance's defaults.
    """
    site = config.sites.get(site_id) or Site(site_id=site_id, name="")
    return SiteRules(
        site=site,
        tracking=config.tracking,
        privacy=config.privacy,
        urls=url_rules(site, config.tracking),
        actions=action_rules(site, config.tracking),
        goals=goal_rules(config.goals.get(site_id, {}).values()),
        dimensions=dimension_rules(config.dimensions.get(site_id, {}).values()),
        exclusions=exclusion_rules(site, config.tracking),
    )


def prepare(hit: Hit, rules: SiteRules, lookups: Lookups) -> PreparedHit | Exclusion:
    """The hit ready for the fold, or the reason why it is left out."""
    params = parse_query(hit.query)
    raw_url = params.get("url") or hit.referer
    agent = lookups.agent(hit.user_agent, hit.client_hints)
    excluded = exclusion(hit, params, raw_url, agent, rules.exclusions)
    if excluded is not None:
        return excluded

    page = clean_url(rules.urls, raw_url)
    content = read_content(params, raw_url, page, rules)
    location = hit.location
    language, country = lookups.locale(hit.language)
    if not rules.tracking.enable_language_to_country_guess:
        country = guess_country(hit.language, guess_by_language=False)
    decided = _decided_origin(params, "urlref") if rules.privacy.anonymise_referrer else None
    # The other fields are set one by one and only where the hit says something: half of the time of a call
    # that names all 36, which msgspec looks for one after the other.
    ready = PreparedHit(
        site_id=hit.site_id,
        hit_id=hit.hit_id,
        time=hit.time,
        owner=hit.owner,
        visitor_id=hit.visitor_id,
        config_id=hit.config_id,
        user_id=hit.user_id,
        is_ping=content.is_ping,
        new_visit=is_set(params, "new_visit"),
        action=content.action,
        page_url=content.url,
        goals=content.goals,
        threshold_goals=content.thresholds,
        ecommerce=content.ecommerce,
        referrer=visit_referrer(
            params, raw_url, params.get("urlref", ""), rules.site, rules.tracking, decided
        ),
    )
    if "_rcn" in params:
        ready.attribution = attribution_from_cookie(params)
    if "_ref" in params:
        ready.attribution_referrer = _attribution_referrer(params, rules)
    ready.agent = agent
    ready.resolution = clean_text(params.get("res", ""))[:RESOLUTION_MAX_LENGTH]
    ready.plugins = plugins(params)
    ready.language = language
    ready.country = location.country or country
    ready.region = location.region
    ready.city = location.city
    ready.latitude = degrees(location.latitude)
    ready.longitude = degrees(location.longitude)
    ready.ip = hit.ip
    ready.visitor_seconds = visitor_seconds(params, hit.time)
    if rules.dimensions.visit:
        ready.visit_dimensions = visit_dimensions(params, rules.dimensions)
    if "_cvar" in params:
        ready.visit_custom_variables = custom_variables(params["_cvar"])
    if content.action is not None:
        if rules.dimensions.action:
            ready.action_dimensions = action_dimensions(params, raw_url, rules.dimensions)
        if "cvar" in params:
            ready.action_custom_variables = custom_variables(params["cvar"])
    ready.pageview_id = pageview_id(params)
    ready.timings = page_timings(params)
    if hit.authenticated and params.get("country"):
        ready.country_override = location.country
    return ready


def _decided_origin(params: Params, name: str) -> Origin | None:
    """What ingest read from a referrer before it shortened it; None when it saw none. Only to be asked for
    where the site's privacy settings shorten referrers: else the parameter is the client's."""
    text = params.get(ORIGIN_PARAMETERS[name])
    return read_origin(text, params.get(name, "")) if text else None


def _attribution_referrer(params: Params, rules: SiteRules) -> Referrer | None:
    decided = _decided_origin(params, "_ref") if rules.privacy.anonymise_referrer else None
    return attribution_from_ref(params, rules.site, rules.tracking, decided)


class Content(msgspec.Struct, frozen=True):
    """What a hit is about: an action with the goals it matches, or a manual goal, or an order or cart, or
    nothing but a sign of life (a ping)."""

    url: str
    """Of the page, or of what was clicked: Conversion.url."""
    action: ActionDraft | None = None
    goals: tuple[GoalMatch, ...] = ()
    thresholds: tuple[ThresholdGoal, ...] = ()
    ecommerce: Ecommerce | None = None
    is_ping: bool = False


def read_content(params: Params, raw_url: str, page: PageUrl, rules: SiteRules) -> Content:
    """Pings come before goals and orders, these before actions.

    What ingest refuses (an unknown goal number, `ca=1` of no known kind) counts as a ping when it gets here
    all the same, since the configuration may have changed: it opens no visit and adds nothing.
    """
    if is_set(params, "ping"):
        return Content(page.full, is_ping=True)
    if "idgoal" in params:
        ecommerce = ecommerce_of(params)
        if ecommerce is not None:
            return Content(page.full, ecommerce=ecommerce)
        goal_id = manual_goal_id(params)
        if goal_id:
            goals = manual_goal(params, goal_id, rules.goals)
            return Content(page.full, goals=goals, is_ping=not goals)
    action = action_of(params, raw_url, page, rules.actions)
    if action is None:
        return Content(page.full, is_ping=True)
    url = page.full
    if action.kind == ActionKind.DOWNLOAD or action.kind == ActionKind.OUTLINK:
        url = prefixed(action.url, action.url_prefix)
    return Content(
        url,
        action=action,
        goals=pattern_goals(params, action, raw_url, rules.goals),
        thresholds=threshold_goals(params, rules.goals),
    )


_PLUGIN_PARAMETERS = tuple(parameter for parameter, _ in PLUGINS)


@lru_cache(maxsize=1024)
def _plugins_of(flags: tuple[str | None, ...]) -> tuple[str, ...]:
    return tuple(name for flag, (_, name) in zip(flags, PLUGINS, strict=True) if flag == "1")


def plugins(params: Params) -> tuple[str, ...]:
    """Names of the plugins that the browser says it has (`1`), in fixed order."""
    return _plugins_of(tuple(map(params.get, _PLUGIN_PARAMETERS)))


def degrees(value: float | None) -> str:
    """Decimal text with at most six decimals; empty when unknown."""
    if value is None or not math.isfinite(value):
        return ""
    return f"{value:.6f}".rstrip("0").rstrip(".")


def visitor_seconds(params: Params, time: int) -> int:
    """Seconds since midnight on the visitor's clock, -1 when none of h, m, s was sent.

    A part that was not sent is that of the event's time in UTC; one out of range is 0.
    """
    hour, minute, second = params.get("h"), params.get("m"), params.get("s")
    if hour is None and minute is None and second is None:
        return -1
    part_of = _CLOCK_PARTS.get
    hours, minutes, seconds = part_of(hour), part_of(minute), part_of(second)
    if hours is None or hours >= 24:
        hours = _clock_part(hour, time // 3600 % 24, 24)
    if minutes is None:
        minutes = _clock_part(minute, time // 60 % 60, 60)
    if seconds is None:
        seconds = _clock_part(second, time % 60, 60)
    return hours * 3600 + minutes * 60 + seconds


# What trackers send; to read it takes 0.25 us, to look it up 0.05 us.
_CLOCK_PARTS: dict[str | None, int] = {str(number): number for number in range(60)}
_CLOCK_PARTS |= {f"{number:02}": number for number in range(10)}


def _clock_part(text: str | None, default: int, limit: int) -> int:
    if text is None:
        return default
    value = read_integer(text, default)
    return value if 0 <= value < limit else 0
