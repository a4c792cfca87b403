"""From a raw hit to one that the fold can place."""

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from rules.prepare import Lookups, degrees, prepare, site_rules
from rules.prepared import CAMPAIGN, DIRECT, WEBSITE, Agent, GoalMatch, PreparedHit, ThresholdGoal
from schemas.config import Config, Dimension, Goal, Site, Tracking
from schemas.hit import Hit, Location
from schemas.outcomes import Exclusion
from schemas.rows import ActionKind

EX = "http://example.org"
AT_12_34_56 = 20_000 * 86_400 + 12 * 3600 + 34 * 60 + 56
FIREFOX = Agent(os="WIN", browser="FF")
LOCALES = {"de-de,de;q=0.9": ("de-de", "de"), "en": ("en", "")}
LOOKUPS = Lookups(agent=lambda _agent, _hints: FIREFOX, locale=lambda text: LOCALES.get(text, ("", "")))


def a_hit(query: str = "", **fields: Any) -> Hit:
    given = {
        "hit_id": 1,
        "site_id": 1,
        "time": AT_12_34_56,
        "received_at": 0,
        "owner": 5,
        "visitor_id": 6,
        "config_id": 7,
        "query": f"idsite=1&rec=1&{query}",
    }
    return Hit(**(given | fields))


def a_config(*entities: Goal | Dimension, tracking: Tracking | None = None, **site: Any) -> Config:
    given = {"site_id": 1, "name": "s", "urls": (EX,)}
    return Config(
        sites={1: Site(**(given | site))},
        goals={1: {entity.goal_id: entity for entity in entities if isinstance(entity, Goal)}},
        dimensions={1: {entity.dimension_id: entity for entity in entities if isinstance(entity, Dimension)}},
        tracking=tracking or Tracking(),
    )


def outcome(query: str = "", config: Config | None = None, **fields: Any) -> PreparedHit | Exclusion:
    return prepare(a_hit(query, **fields), site_rules(config or a_config(), 1), LOOKUPS)


def prepared(query: str = "", config: Config | None = None, **fields: Any) -> PreparedHit:
    result = outcome(query, config, **fields)
    assert isinstance(result, PreparedHit)
    return result


def test_a_page_view_is_prepared() -> None:
    hit = prepared(
        f"url={EX}/a%3Fgclid%3D1&action_name=T&pv_id=abcdef&res=1920x1080", user_id="u", ip="1.2.0.0"
    )
    assert hit.action is not None
    assert (hit.action.kind, hit.action.url, hit.action.title) == (ActionKind.PAGE, "example.org/a", "T")
    assert hit.page_url == f"{EX}/a"
    assert (hit.site_id, hit.hit_id, hit.time, hit.owner) == (1, 1, AT_12_34_56, 5)
    assert (hit.visitor_id, hit.config_id, hit.user_id, hit.ip) == (6, 7, "u", "1.2.0.0")
    assert (hit.pageview_id, hit.resolution, hit.agent) == ("abcdef", "1920x1080", FIREFOX)
    assert (hit.is_ping, hit.new_visit, hit.goals, hit.ecommerce) == (False, False, (), None)


def test_a_prepared_hit_survives_its_encoding() -> None:
    hit = prepared(f"url={EX}/a&e_c=C&e_a=A&urlref=http%3A%2F%2Fp.net%2F&_rcn=c&dimension1=x")
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(hit), type=PreparedHit) == hit


def test_without_a_url_the_referer_header_is_the_page() -> None:
    assert prepared("", referer=f"{EX}/from-header").page_url == f"{EX}/from-header"
    assert prepared(f"url={EX}/sent", referer=f"{EX}/from-header").page_url == f"{EX}/sent"


def test_a_ping_has_no_action_and_no_goal() -> None:
    config = a_config(
        Goal(site_id=1, goal_id=1, name="g", pattern="thanks"),
        Goal(site_id=1, goal_id=2, name="d", match_attribute="visit_duration", pattern="5"),
        Dimension(site_id=1, dimension_id=1, index=1, scope="visit", name="v"),
        Dimension(site_id=1, dimension_id=2, index=1, scope="action", name="a"),
    )
    hit = prepared(f"url={EX}/thanks&ping=1&idgoal=1&dimension1=v&dimension2=a&pv_id=abc&pf_net=10", config)
    assert hit.is_ping
    assert (hit.action, hit.goals, hit.threshold_goals, hit.ecommerce) == (None, (), (), None)
    assert (hit.visit_dimensions, hit.action_dimensions) == ({1: "v"}, {})
    assert (hit.pageview_id, hit.timings[0]) == ("abc", 10)


def test_a_manual_goal_records_no_action_and_runs_no_pattern_goal() -> None:
    config = a_config(
        Goal(site_id=1, goal_id=1, name="m", match_attribute="manually", revenue=5.0),
        Goal(site_id=1, goal_id=2, name="p", pattern="thanks"),
        Goal(site_id=1, goal_id=3, name="d", match_attribute="visit_duration", pattern="5"),
    )
    hit = prepared(f"url={EX}/thanks&idgoal=1", config)
    assert hit.action is None
    assert hit.goals == (GoalMatch(1, 5.0, manual=True),)
    assert hit.threshold_goals == ()
    assert hit.page_url == f"{EX}/thanks"


@pytest.mark.parametrize("goal", ["abc", "-1", "", "1.5"])
def test_an_unreadable_goal_number_is_a_page_view(goal: str) -> None:
    hit = prepared(f"url={EX}/a&idgoal={goal}")
    assert hit.action is not None
    assert hit.action.kind == ActionKind.PAGE


def test_a_goal_that_the_site_does_not_have_opens_no_visit() -> None:
    hit = prepared(f"url={EX}/a&idgoal=99")
    assert (hit.is_ping, hit.action, hit.goals) == (True, None, ())


def test_a_custom_action_of_no_known_kind_opens_no_visit() -> None:
    hit = prepared(f"url={EX}/a&ca=1")
    assert (hit.is_ping, hit.action) == (True, None)


def test_an_order_records_no_action_and_runs_no_pattern_goal() -> None:
    config = a_config(Goal(site_id=1, goal_id=1, name="p", pattern="thanks"))
    hit = prepared(f"url={EX}/thanks&idgoal=0&ec_id=o-1&revenue=10", config)
    assert hit.ecommerce is not None
    assert (hit.ecommerce.order_id, hit.ecommerce.revenue) == ("o-1", 10.0)
    assert (hit.action, hit.goals, hit.is_ping) == (None, (), False)


def test_pattern_and_threshold_goals_run_for_every_other_action() -> None:
    config = a_config(
        Goal(site_id=1, goal_id=1, name="p", pattern="thanks", revenue=2.0),
        Goal(site_id=1, goal_id=2, name="d", match_attribute="visit_duration", pattern="5"),
    )
    hit = prepared(f"url={EX}/thanks", config)
    assert hit.goals == (GoalMatch(1, 2.0),)
    assert hit.threshold_goals == (ThresholdGoal(2, "visit_duration", 300.0),)
    event = prepared(f"url={EX}/thanks&e_c=C&e_a=A", config)
    assert event.goals == ()
    assert len(event.threshold_goals) == 1


def test_a_goal_sees_the_url_before_it_is_cleaned() -> None:
    config = a_config(Goal(site_id=1, goal_id=1, name="g", pattern=f"{EX}/T#frag", pattern_type="exact"))
    hit = prepared(f"url={EX}/T%23frag", config)
    assert hit.goals == (GoalMatch(1),)
    assert hit.page_url == f"{EX}/T"


def test_the_url_of_a_click_is_what_was_clicked() -> None:
    assert prepared(f"url={EX}/a&link=https%3A%2F%2Fwww.p.net%2Fx").page_url == "https://www.p.net/x"
    assert prepared(f"url={EX}/a&download={EX}/f.zip").page_url == f"{EX}/f.zip"


def test_the_referrer_sees_campaign_parameters_that_the_page_loses() -> None:
    hit = prepared(f"url={EX}/a%3Futm_campaign%3DC%26k%3D1&urlref=http%3A%2F%2Fone.example.net%2F")
    assert (hit.referrer.type, hit.referrer.name) == (CAMPAIGN, "c")
    assert hit.page_url == f"{EX}/a?k=1"
    assert prepared(f"url={EX}/a&urlref=http%3A%2F%2Fone.example.net%2F").referrer.type == WEBSITE
    assert prepared(f"url={EX}/a").referrer.type == DIRECT


def test_attribution_comes_from_the_cookie_parameters() -> None:
    hit = prepared(f"url={EX}/a&_rcn=Camp&_rck=Word&_ref=http%3A%2F%2Fpartner.example.net%2Fx")
    assert hit.attribution is not None
    assert (hit.attribution.type, hit.attribution.name, hit.attribution.keyword) == (CAMPAIGN, "camp", "word")
    assert hit.attribution_referrer is not None
    assert hit.attribution_referrer.name == "partner.example.net"
    plain = prepared(f"url={EX}/a")
    assert (plain.attribution, plain.attribution_referrer) == (None, None)


@pytest.mark.parametrize(
    ("query", "seconds"),
    [
        ("h=1&m=2&s=3", 3723),
        ("h=01&m=02&s=03", 3723),
        ("h=0&m=0&s=0", 0),
        ("h=23&m=59&s=59", 86399),
        ("h=24&m=60&s=-1", 0),
        ("h=10", 10 * 3600 + 34 * 60 + 56),
        ("h=x&m=5&s=5", 12 * 3600 + 305),
        ("", -1),
    ],
)
def test_the_visitors_clock(query: str, seconds: int) -> None:
    assert prepared(query).visitor_seconds == seconds


def test_plugins_have_a_fixed_order() -> None:
    assert prepared("cookie=1&java=1&pdf=1&fla=0&qt=x").plugins == ("pdf", "java", "cookie")
    assert prepared("").plugins == ()


@pytest.mark.parametrize(
    ("sent", "kept"),
    [("1920x1080", "1920x1080"), ("0x0", "0x0"), ("abc", "abc"), ("", ""), ("1" * 30, "1" * 18)],
)
def test_a_resolution_is_kept_as_it_was_sent(sent: str, kept: str) -> None:
    assert prepared(f"res={sent}").resolution == kept


def test_the_country_is_guessed_from_the_language_only_without_a_location() -> None:
    language = "de-de,de;q=0.9"
    assert prepared("", language=language).country == "de"
    assert prepared("", language=language).language == "de-de"
    assert prepared("", language=language, location=Location(country="fr")).country == "fr"
    assert prepared("", language="en").country == ""


def test_without_the_guess_only_a_region_in_the_language_names_a_country() -> None:
    off = a_config(tracking=Tracking(enable_language_to_country_guess=False))
    assert prepared("", off, language="de-at").country == "at"
    assert prepared("", off, language="de").country == "xx"


def test_a_location_keeps_its_parts() -> None:
    hit = prepared("", location=Location("fr", "IDF", "Paris", 48.8566, -2.0))
    assert (hit.country, hit.region, hit.city, hit.latitude, hit.longitude) == (
        "fr", "IDF", "Paris", "48.8566", "-2",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, ""), (0.0, "0"), (-10.0, "-10"), (1.367, "1.367"), (1.23456789, "1.234568"), (float("nan"), "")],
)
def test_degrees_are_decimal_text(value: float | None, text: str) -> None:
    assert degrees(value) == text


def test_a_country_sent_with_authority_overrides_that_of_an_open_visit() -> None:
    location = Location(country="pl")
    assert prepared("country=pl", location=location, authenticated=True).country_override == "pl"
    assert prepared("country=pl", location=location).country_override == ""
    assert prepared("", location=location, authenticated=True).country_override == ""


def test_new_visit_is_asked_for_by_a_flag() -> None:
    assert prepared("new_visit=1").new_visit
    assert not prepared("new_visit=0").new_visit


def test_custom_variables_of_visit_and_action() -> None:
    hit = prepared(
        "_cvar=%7B%221%22%3A%5B%22n%22%2C%22v%22%5D%7D&cvar=%7B%222%22%3A%5B%22m%22%2C%22w%22%5D%7D"
    )
    assert hit.visit_custom_variables == {1: ("n", "v")}
    assert hit.action_custom_variables == {2: ("m", "w")}


def test_an_excluded_hit_is_its_reason() -> None:
    assert outcome("", exclusion="excluded_ip") is Exclusion.EXCLUDED_IP
    assert outcome("rec=0") is Exclusion.NOT_RECORDED


def test_agents_are_looked_up_with_their_client_hints() -> None:
    asked: list[tuple[str, str]] = []

    def agent(user_agent: str, hints: str) -> Agent:
        asked.append((user_agent, hints))
        return FIREFOX

    lookup: Callable[[str, str], Agent] = agent
    lookups = Lookups(agent=lookup, locale=LOOKUPS.locale)
    prepare(a_hit("", user_agent="UA", client_hints="{}"), site_rules(a_config(), 1), lookups)
    assert asked == [("UA", "{}")]


def test_a_site_that_the_configuration_does_not_know_has_the_defaults() -> None:
    hit = prepare(a_hit(f"url={EX}/a"), site_rules(Config(), 99), LOOKUPS)
    assert isinstance(hit, PreparedHit)
    assert hit.page_url == f"{EX}/a"
