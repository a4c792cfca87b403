"""Whatever a client sends, preparing it never raises, and what comes out can be stored."""

from urllib.parse import quote

import msgspec
from hypothesis import example, given, settings
from hypothesis import strategies as st

from rules.prepare import Lookups, prepare, site_rules
from rules.prepared import Agent, PreparedHit
from rules.query import parse_query, query_parameters
from rules.urls import clean_url, url_rules
from schemas.config import Config, Dimension, Extraction, Goal, Site, Tracking
from schemas.hit import Hit
from schemas.outcomes import Exclusion

ATTRIBUTES = (
    "url", "title", "file", "external_website", "event_category", "event_action", "event_name",
    "visit_duration", "manually",
)  # fmt: skip
CONFIG = Config(
    sites={
        1: Site(
            site_id=1,
            name="s",
            urls=("http://example.org",),
            excluded_user_agents=("Monitor", "/Foo[0-9]+/"),
            excluded_parameters=("/^x.*/",),
            keep_url_fragments=1,
        )
    },
    goals={
        1: {
            number: Goal(
                site_id=1,
                goal_id=number,
                name="g",
                match_attribute=attribute,
                pattern="[a-z]+",
                pattern_type="regex",
            )
            for number, attribute in enumerate(ATTRIBUTES, 1)
        }
    },
    dimensions={
        1: {
            1: Dimension(site_id=1, dimension_id=1, index=1, scope="visit", name="v"),
            2: Dimension(
                site_id=1,
                dimension_id=2,
                index=1,
                scope="action",
                name="a",
                extractions=(
                    Extraction("url", "/(.*)"),
                    Extraction("urlparam", "p"),
                    Extraction("action_name", "(.)"),
                ),
            ),
        }
    },
    tracking=Tracking(exclude_requests="e_c=@secret"),
)
RULES = site_rules(CONFIG, 1)
LOOKUPS = Lookups(agent=lambda _agent, _hints: Agent(), locale=lambda text: (text[:2], text[3:5]))
NAMES = (
    "url", "urlref", "action_name", "search", "search_cat", "search_count", "e_c", "e_a", "e_n", "e_v",
    "c_n", "c_p", "c_t", "c_i", "link", "download", "idgoal", "revenue", "ec_id", "ec_items", "ec_st",
    "_pks", "_pkn", "_pkc", "_pkp", "cvar", "_cvar", "dimension1", "dimension2", "ping", "ca", "h", "m", "s",
    "res", "pdf", "cookie", "pf_net", "pf_onl", "pv_id", "bw_bytes", "cs", "new_visit", "bots", "country",
    "_rcn", "_rck", "_ref", "ma_id", "cra", "rec", "",
)  # fmt: skip
NUMBERS = st.one_of(st.integers().map(str), st.floats().map(str))
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=6) | st.dictionaries(st.text(max_size=3), inner, max_size=4),
    max_leaves=20,
).map(lambda value: msgspec.json.encode(value).decode())
ADDRESSES = st.builds(
    lambda scheme, host, rest: f"{scheme}{host}{rest}",
    st.sampled_from(["http://", "https://www.", "HTTP://", "//", "", "ftp://"]),
    st.text(max_size=12),
    st.text(alphabet="/?#&=;%[]q s+.é\0\r\n", max_size=30),
)
VALUES = st.one_of(st.text(max_size=40), NUMBERS, JSON, ADDRESSES)
PARAMETERS = st.lists(st.tuples(st.sampled_from(NAMES), VALUES), max_size=25)


def a_hit(query: str, user_agent: str = "", referer: str = "") -> Hit:
    return Hit(
        hit_id=1, site_id=1, time=1_700_000_000, received_at=0, owner=1, visitor_id=1, config_id=1,
        query=query, user_agent=user_agent, referer=referer,
    )  # fmt: skip


def check(hit: Hit) -> None:
    result = prepare(hit, RULES, LOOKUPS)
    if isinstance(result, PreparedHit):
        assert msgspec.msgpack.decode(msgspec.msgpack.encode(result), type=PreparedHit) == result
        assert prepare(hit, RULES, LOOKUPS) == result
        assert len(result.page_url.encode()) <= CONFIG.tracking.page_maximum_length
    else:
        assert isinstance(result, Exclusion)


@given(st.text(), st.text(max_size=20), st.text(max_size=20))
@settings(deadline=None)
@example("rec=1&url=%", "", "")
@example("rec=1&ec_items=[[1e308,1,1,-1e308,1e308]]&idgoal=0", "", "")
def test_any_query_text_can_be_prepared(query: str, user_agent: str, referer: str) -> None:
    check(a_hit(query, user_agent, referer))
    check(a_hit(f"rec=1&{query}", user_agent, referer))


@given(PARAMETERS)
@settings(max_examples=400, deadline=None)
def test_any_values_of_the_known_parameters_can_be_prepared(parameters: list[tuple[str, str]]) -> None:
    query = "&".join(f"{name}={quote(value, safe='')}" for name, value in parameters)
    check(a_hit(f"rec=1&{query}"))


@given(st.dictionaries(st.text(min_size=1), st.text(), max_size=12))
@settings(deadline=None)
def test_parsing_gives_back_what_was_encoded(params: dict[str, str]) -> None:
    query = "&".join(f"{quote(name, safe='')}={quote(value, safe='')}" for name, value in params.items())
    assert parse_query(query) == params


@given(st.text())
@settings(deadline=None)
def test_parameters_of_any_url_can_be_read_in_any_encoding(text: str) -> None:
    for encoding in ("utf-8", "windows-1251", "no-such", text[:10]):
        query_parameters(text, encoding)


@given(ADDRESSES, st.integers(min_value=0, max_value=2))
@example("// ;", 0)
@example("ftp:// #", 0)
@example("http://0###", 1)
@example("http://0#x#&sid=1", 1)
@settings(max_examples=1000, deadline=None)
def test_cleaning_a_cleaned_url_changes_nothing(address: str, keep: int) -> None:
    rules = url_rules(Site(site_id=1, name="", keep_url_fragments=keep), Tracking())
    once = clean_url(rules, address)
    assert clean_url(rules, once.full) == once
