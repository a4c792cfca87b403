"""What is left out, and the order of the reasons."""

from typing import Any

import pytest

from rules.exclusions import ORDER, exclusion, exclusion_rules, parse_request_rules
from rules.prepared import Agent
from rules.query import parse_query
from schemas.config import Site, Tracking
from schemas.hit import Hit
from schemas.outcomes import Exclusion

EX = "http://example.org"
BOT = Agent(is_bot=True)
BROWSER = Agent()


def reason(
    query: str = "",
    *,
    agent: Agent = BROWSER,
    url: str = f"{EX}/a",
    user_agent: str = "",
    decided: str = "",
    tracking: Tracking | None = None,
    **site: Any,
) -> Exclusion | None:
    rules = exclusion_rules(Site(site_id=1, name="s", **site), tracking or Tracking())
    hit = Hit(
        hit_id=1, site_id=1, time=0, received_at=0, owner=1, visitor_id=1, config_id=1,
        user_agent=user_agent, exclusion=decided,
    )  # fmt: skip
    return exclusion(hit, parse_query(query or "rec=1"), url, agent, rules)


def test_an_ordinary_hit_is_not_excluded() -> None:
    assert reason() is None


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("rec=1", None),
        ("rec=2", None),
        ("rec=-1", None),
        ("rec=0", Exclusion.NOT_RECORDED),
        ("rec=true", Exclusion.NOT_RECORDED),
        ("rec=", Exclusion.NOT_RECORDED),
        ("idsite=1", Exclusion.NOT_RECORDED),
    ],
)
def test_rec_is_any_integer_but_zero(query: str, expected: Exclusion | None) -> None:
    assert reason(query) is expected


def test_a_bot_is_excluded_unless_bots_are_asked_for() -> None:
    assert reason(agent=BOT) is Exclusion.BOT
    assert reason("rec=1&bots=1", agent=BOT) is None
    assert reason("rec=1&bots=0", agent=BOT) is Exclusion.BOT


@pytest.mark.parametrize(
    ("user_agent", "expected"),
    [
        ("Firefox MyMonitor/1", Exclusion.EXCLUDED_USER_AGENT),
        ("Firefox mymonitor", Exclusion.EXCLUDED_USER_AGENT),
        ("Firefox Foo77", Exclusion.EXCLUDED_USER_AGENT),
        ("Firefox foo77", None),
        ("Firefox FooX", None),
        ("", None),
    ],
)
def test_user_agents_are_excluded_by_a_part_or_a_regular_expression(
    user_agent: str, expected: Exclusion | None
) -> None:
    assert reason(user_agent=user_agent, excluded_user_agents=("MyMonitor", "/Foo[0-9]+/", " ")) is expected


def test_user_agents_are_excluded_for_the_whole_instance_too() -> None:
    tracking = Tracking(excluded_user_agents=("/Monitor/i",))
    assert reason(user_agent="x monitor", tracking=tracking) is Exclusion.EXCLUDED_USER_AGENT


@pytest.mark.parametrize(
    "referrer", ["http://0n-line.tv/", "http://sub.0n-line.tv/x", "http://ok.example.net/0n-line.tv"]
)
def test_referrer_spam_matches_anywhere_in_the_referrer(referrer: str) -> None:
    assert reason(f"rec=1&urlref={referrer}") is Exclusion.REFERRER_SPAM
    assert reason(f"rec=1&urlref={referrer}", tracking=Tracking(exclude_referrer_spam=False)) is None


@pytest.mark.parametrize(
    ("url", "known"),
    [
        (f"{EX}/a", True),
        (EX, True),
        ("https://www.example.org/c", True),
        (f"{EX}:8080/g", True),
        ("http://EXAMPLE.org/x", True),
        ("http://alias.example.com/sub/e", True),
        ("http://alias.example.com/sub", True),
        ("http://alias.example.com/sub?x", True),
        ("http://alias.example.com/subway", False),
        ("http://alias.example.com/other/f", False),
        ("http://other.net/b", False),
        ("http://sub.example.org/d", False),
        ("", False),
        ("nonsense", False),
    ],
)
def test_unknown_urls_are_excluded_when_the_site_says_so(url: str, known: bool) -> None:
    site = {"urls": (EX, "http://alias.example.com/sub")}
    expected = None if known else Exclusion.UNKNOWN_URL
    assert reason(url=url, exclude_unknown_urls=True, **site) is expected
    assert reason(url=url, **site) is None


@pytest.mark.parametrize(
    ("rule", "query", "excluded"),
    [
        ("e_c==Media", "e_c=Media", True),
        ("e_c==Media", "e_c=Medial", False),
        ("e_c==Media", "", False),
        ("e_c!=Media", "e_c=Other", True),
        ("e_c!=Media", "", False),
        ("e_c=@edi", "e_c=MEDIA", True),
        ("e_c!@edi", "e_c=Media", False),
        ("e_c!@edi", "e_c=x", True),
        ("e_c=^Me", "e_c=media", True),
        ("e_c=$ia", "e_c=media", True),
        ("e_c=$me", "e_c=media", False),
        ("e_v>5", "e_v=5", False),
        ("e_v>5", "e_v=6", True),
        ("e_v<5", "e_v=4", True),
        ("e_v>=5", "e_v=5", True),
        ("e_v<=5", "e_v=6", False),
        ("a==1,b==2", "b=2", True),
        ("a==1, b==2", "b=3", False),
        ("nonsense", "nonsense=1", False),
        ("==1", "x=1", False),
        ("", "x=1", False),
    ],
)
def test_exclude_requests_rules(rule: str, query: str, excluded: bool) -> None:
    expected = Exclusion.EXCLUDED_REQUEST if excluded else None
    assert reason(f"rec=1&{query}", tracking=Tracking(exclude_requests=rule)) is expected


def test_a_condition_is_split_at_its_first_operator() -> None:
    (rule,) = parse_request_rules("url=@a==b")
    assert (rule.parameter, rule.operator, rule.value) == ("url", "=@", "a==b")


def test_what_ingest_decided_stays() -> None:
    for decided in ("bot_ip", "do_not_track", "ignore_cookie", "excluded_ip", "prefetch", "opt_out"):
        assert reason(decided=decided) == decided


def test_an_unknown_reason_is_a_broken_invariant() -> None:
    with pytest.raises(ValueError, match="nonsense"):
        reason(decided="nonsense")


SIGNS: dict[Exclusion, dict[str, Any]] = {
    Exclusion.BOT: {"agent": BOT},
    Exclusion.BOT_IP: {"decided": "bot_ip"},
    Exclusion.NOT_RECORDED: {"query": "rec=0"},
    Exclusion.DO_NOT_TRACK: {"decided": "do_not_track"},
    Exclusion.EXCLUDED_REQUEST: {"query": "rec=1&x=1"},
    Exclusion.IGNORE_COOKIE: {"decided": "ignore_cookie"},
    Exclusion.NO_CONSENT: {"decided": "no_consent"},
    Exclusion.OPT_OUT: {"decided": "opt_out"},
    Exclusion.EXCLUDED_IP: {"decided": "excluded_ip"},
    Exclusion.EXCLUDED_USER_AGENT: {"user_agent": "Monitor"},
    Exclusion.REFERRER_SPAM: {"query": "rec=1&urlref=http://0n-line.tv/"},
    Exclusion.UNKNOWN_URL: {"url": "http://other.net/"},
    Exclusion.PREFETCH: {"decided": "prefetch"},
}


@pytest.mark.parametrize("first", ORDER)
@pytest.mark.parametrize("second", ORDER)
def test_of_two_reasons_the_first_of_the_order_counts(first: Exclusion, second: Exclusion) -> None:
    one, other = SIGNS[first], SIGNS[second]
    both = one | other
    if "decided" in one and "decided" in other:
        both["decided"] = min(first, second, key=ORDER.index)  # ingest gives the first it knows
    if "query" in one and "query" in other:
        both["query"] = (
            f"{one['query']}&{other['query']}"
            if first is Exclusion.NOT_RECORDED
            else (f"{other['query']}&{one['query']}")
        )
        if Exclusion.NOT_RECORDED in (first, second):
            both["query"] += "&rec=0"
    found = reason(
        tracking=Tracking(exclude_requests="x==1"),
        exclude_unknown_urls=True,
        urls=(EX,),
        excluded_user_agents=("monitor",),
        **both,
    )
    assert found is min(first, second, key=ORDER.index)
