"""From a tracking request to a hit: authority, privacy, what is written down."""

from typing import Any
from urllib.parse import quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.acceptance import Acceptance, HitIds, Refusal, Request, Sender
from ingest.identity import Identity
from ingest.privacy import shortened_referrer
from ingest.query import clean_text, split_query
from rules.prepare import Lookups, prepare, site_rules
from rules.prepared import Agent, PreparedHit, Referrer
from schemas.config import Config, Goal, Privacy, Site, Tracking
from schemas.hit import Hit, Location, decode_hit, encode_hit, first_hit_id_of

NOW = 1_789_034_400
TOKEN = "t" * 32
A_LOOKUP = Lookups(agent=lambda _agent, _hints: Agent(), locale=lambda _: ("", ""))


class SaltsOfTheTest:
    def salt(self, site_id: int, day: int) -> bytes:
        return f"{site_id}/{day}".encode()


def an_acceptance(locate: Location | None = None, number: int = 0) -> Acceptance:
    numbers = iter(range(1, 1_000_000))
    return Acceptance(
        identity=Identity(
            window=1800, visit_length=1800, max_entries=1000, random_id=lambda: next(numbers) + (1 << 60)
        ),
        hit_ids=HitIds(number, 0),
        authority=lambda token, site_id: token == TOKEN and site_id == 1,
        salts=SaltsOfTheTest(),
        locate=(lambda address: Location(country=address)) if locate is None else lambda _address: locate,
        secret=b"secret",
    )


def a_config(privacy: Privacy | None = None, tracking: Tracking | None = None) -> Config:
    return Config(
        offset=7,
        sites={
            1: Site(site_id=1, name="one"),
            2: Site(site_id=2, name="two"),
            3: Site(site_id=3, name="gone", deleted=True),
        },
        goals={1: {1: Goal(site_id=1, goal_id=1, name="goal")}},
        privacy=privacy or Privacy(),
        tracking=tracking or Tracking(),
    )


def a_sender(**changes: object) -> Sender:
    return Sender(address="10.1.2.3", received_at=NOW * 1000, user_agent="Firefox")._replace(**changes)


def decide(
    query: str, config: Config | None = None, acceptance: Acceptance | None = None, **sender: object
) -> Hit | Refusal:
    acceptance = acceptance or an_acceptance()
    rules = acceptance.rules(config or a_config())
    return acceptance.accept(query, split_query(query), Request(a_sender(**sender), rules))


def accepted(
    query: str, config: Config | None = None, acceptance: Acceptance | None = None, **sender: object
) -> Hit:
    decision = decide(query, config, acceptance, **sender)
    assert isinstance(decision, Hit), decision
    return decision


def test_a_hit_says_what_the_request_said() -> None:
    hit = accepted(
        "idsite=1&rec=1&url=http%3A%2F%2Fx%2F", language="EN-gb", referer="http://x/r", client_hints="{}"
    )
    assert (hit.site_id, hit.time, hit.received_at) == (1, NOW, NOW * 1000)
    assert (hit.user_agent, hit.language, hit.referer, hit.client_hints) == (
        "Firefox",
        "en-gb",
        "http://x/r",
        "{}",
    )
    assert hit.query == "idsite=1&rec=1&url=http%3A%2F%2Fx%2F"
    assert (hit.config_offset, hit.origin, hit.exclusion, hit.authenticated) == (7, "web", "", False)


@pytest.mark.parametrize("site", ["", "0", "-1", "abc", "99", "3"])
def test_a_site_that_does_not_exist_is_refused(site: str) -> None:
    decision = decide(f"idsite={site}&rec=1")
    assert isinstance(decision, Refusal)
    assert decision.reason == "unknown_site"


@pytest.mark.parametrize(
    "parameter",
    [
        "cip=10.9.9.9",
        "country=de",
        "region=BE",
        "city=Rome",
        "lat=1.5",
        "long=2",
        f"cdt={NOW - 86_400}",
        "cdo=86400",
    ],
)
def test_what_needs_authority_is_refused_without_a_token(parameter: str) -> None:
    without = decide(f"idsite=1&rec=1&{parameter}")
    assert isinstance(without, Refusal)
    assert without.reason == "no_authority"
    wrong = decide(f"idsite=1&rec=1&{parameter}&token_auth=wrong")
    assert isinstance(wrong, Refusal)
    other_site = decide(f"idsite=2&rec=1&{parameter}&token_auth={TOKEN}")
    assert isinstance(other_site, Refusal)
    assert accepted(f"idsite=1&rec=1&{parameter}&token_auth={TOKEN}").authenticated
    assert accepted(f"idsite=1&rec=1&{parameter}", token=TOKEN).authenticated


@pytest.mark.parametrize(
    "parameter",
    ["cip=", "country=", "lat=0", f"cdt={NOW - 86_399}", "cdo=86399", "cdt=nonsense", f"cdt={NOW + 99}"],
)
def test_what_says_nothing_needs_no_authority(parameter: str) -> None:
    assert not accepted(f"idsite=1&rec=1&{parameter}").authenticated


def test_a_wrong_token_alone_refuses_nothing() -> None:
    hit = accepted("idsite=1&rec=1&token_auth=wrong")
    assert not hit.authenticated
    assert hit.query == "idsite=1&rec=1"


def test_the_limit_of_past_times_without_token_is_configuration() -> None:
    limit = Tracking(tracking_requests_require_authentication_when_custom_timestamp_newer_than=100)
    assert isinstance(decide(f"idsite=1&rec=1&cdt={NOW - 100}", a_config(tracking=limit)), Refusal)
    assert accepted(f"idsite=1&rec=1&cdt={NOW - 99}", a_config(tracking=limit)).time == NOW - 99


def test_the_stored_address_is_masked_in_the_hit_and_in_its_query() -> None:
    hit = accepted(f"idsite=1&rec=1&cip=10.1.77.88&token_auth={TOKEN}", acceptance=an_acceptance(Location()))
    assert hit.ip == "10.1.0.0"
    assert hit.query == "idsite=1&rec=1&cip=10.1.0.0"
    assert "10.1.77.88" not in encode_hit(hit).decode("latin-1")


def test_places_are_looked_up_by_the_whole_address_unless_privacy_says_the_masked_one() -> None:
    assert accepted("idsite=1&rec=1").location.country == "10.1.2.3"
    masked = a_config(privacy=Privacy(use_masked_ip_for_enrichment=True))
    assert accepted("idsite=1&rec=1", masked).location.country == "10.1.0.0"


def test_each_part_of_a_place_may_be_overridden() -> None:
    known = Location(country="fr", region="IDF", city="Paris", latitude=48.9, longitude=2.4)
    hit = accepted(
        f"idsite=1&rec=1&city=Lyon&lat=45.7&long=999&token_auth={TOKEN}", acceptance=an_acceptance(known)
    )
    assert hit.location == Location(country="fr", region="IDF", city="Lyon", latitude=45.7, longitude=2.4)


def test_a_latitude_beyond_the_pole_is_kept_as_it_was_sent() -> None:
    assert accepted(f"idsite=1&rec=1&lat=123.456&token_auth={TOKEN}").location.latitude == 123.456


@pytest.mark.parametrize("cid", ["123", "1" * 17])
def test_a_forced_id_of_another_length_is_refused(cid: str) -> None:
    assert isinstance(decide(f"idsite=1&rec=1&cid={cid}"), Refusal)


def test_ids_take_precedence_user_then_forced_then_cookie() -> None:
    everything = "idsite=1&rec=1&uid=alice&cid=1234567890ABCDEF&_id=aaaaaaaaaaaaaaa1"
    assert f"{accepted(everything).visitor_id:016x}" == "522b276a356bdf39"
    assert f"{accepted(everything.replace('uid=alice&', '')).visitor_id:016x}" == "1234567890abcdef"
    assert f"{accepted('idsite=1&rec=1&cid=&_id=aaaaaaaaaaaaaaa1ffff').visitor_id:016x}" == "aaaaaaaaaaaaaaa1"
    plain = a_config(tracking=Tracking(enable_userid_overwrites_visitorid=False))
    hit = accepted(everything, plain)
    assert (f"{hit.visitor_id:016x}", hit.user_id) == ("1234567890abcdef", "alice")


@pytest.mark.parametrize(
    "absent", ["_id=0000000000000000", "_id=zzzzzzzzzzzzzzzz", "_id=abc123", "_id=", "cid=0000000000000000"]
)
def test_anonymous_and_short_ids_count_as_absent(absent: str) -> None:
    acceptance = an_acceptance()
    first = accepted(f"idsite=1&rec=1&{absent}", acceptance=acceptance)
    assert first.owner > 1 << 60  # made up
    other = accepted(f"idsite=1&rec=1&{absent}", acceptance=acceptance, address="10.9.9.9")
    assert other.owner != first.owner


def test_forced_cookieless_ignores_the_cookies_id_and_does_not_keep_it() -> None:
    hit = accepted("idsite=1&_id=aaaaaaaaaaaaaaa1&rec=1", a_config(privacy=Privacy(force_cookieless=True)))
    assert hit.visitor_id > 1 << 60
    assert hit.query == "idsite=1&rec=1"


def test_the_third_party_cookie_counts_only_when_configured() -> None:
    cookie = {"third_party_id": "cccccccccccccccc"}
    assert accepted("idsite=1&rec=1&_id=aaaaaaaaaaaaaaa1", **cookie).visitor_id == 0xAAAAAAAAAAAAAAA1
    on = a_config(tracking=Tracking(use_third_party_id_cookie=True))
    assert accepted("idsite=1&rec=1&_id=aaaaaaaaaaaaaaa1", on, **cookie).visitor_id == 0xCCCCCCCCCCCCCCCC


def test_ids_are_replaced_by_pseudonyms_where_privacy_says_so() -> None:
    config = a_config(privacy=Privacy(anonymise_user_id=True, anonymise_order_id=True))
    hit = accepted("idsite=1&rec=1&uid=alice&idgoal=0&ec_id=O-1", config)
    assert len(hit.user_id) == 40
    assert f"uid={hit.user_id}" in hit.query
    assert "alice" not in hit.query
    assert "O-1" not in hit.query
    assert f"{hit.visitor_id:016x}" != "522b276a356bdf39"
    assert accepted("idsite=1&rec=1&uid=alice", config).user_id == hit.user_id


@pytest.mark.parametrize(
    ("how", "left"),
    [
        ("", "https://u:p@x.org:8/a/b?q=1#f"),
        ("exclude_query", "https://x.org:8/a/b"),
        ("exclude_path", "https://x.org:8/"),
        ("exclude_all", ""),
    ],
)
def test_referrers_are_shortened_as_privacy_says(how: str, left: str) -> None:
    assert shortened_referrer("https://u:p@x.org:8/a/b?q=1#f", how) == left


GOOGLE = "https://www.google.com/search?q=shoes"


@pytest.mark.parametrize(
    ("how", "referrer", "kept"),
    [
        ("", GOOGLE, Referrer(2, "Google", "shoes", GOOGLE)),
        ("exclude_query", GOOGLE, Referrer(2, "Google", "", "https://www.google.com/search")),
        ("exclude_path", GOOGLE, Referrer(2, "Google", "", "https://www.google.com/")),
        ("exclude_all", GOOGLE, Referrer(2, "Google", "", "")),
        (
            "exclude_path",
            "https://www.facebook.com/me",
            Referrer(7, "Facebook", "", "https://www.facebook.com/"),
        ),
        ("exclude_all", "https://www.facebook.com/me", Referrer(7, "Facebook", "", "")),
        ("exclude_path", "http://x.org/me?id=4", Referrer(3, "x.org", "", "http://x.org/")),
        ("exclude_all", "http://x.org/me?id=4", Referrer(3, "", "", "")),
        ("exclude_all", "http://own.org/me?id=4", Referrer()),
        ("exclude_path", "http://own.org/me?id=4", Referrer(1, "", "", "http://own.org/")),
        ("exclude_path", "http://paid.org/pay/1", Referrer(1, "", "", "http://paid.org/")),
        ("exclude_all", "no address", Referrer()),
    ],
)
def test_the_type_of_a_shortened_referrer_is_that_of_the_whole(
    how: Any, referrer: str, kept: Referrer
) -> None:
    site = Site(site_id=1, name="one", urls=("http://own.org",), excluded_referrers=("paid.org/pay",))
    config = Config(sites={1: site}, privacy=Privacy(anonymise_referrer=how))
    sent = f"idsite=1&rec=1&url=http://own.org/&urlref={quote_plus(referrer)}&_ref={quote_plus(referrer)}"
    hit = accepted(sent, config)
    if how:
        assert "shoes" not in hit.query
        assert "id%3D4" not in hit.query
    prepared = prepare(hit, site_rules(config, 1), A_LOOKUP)
    assert isinstance(prepared, PreparedHit)
    assert prepared.referrer == kept
    assert prepared.attribution_referrer == (None if kept.type == 1 else kept)


def test_a_client_cannot_say_what_its_referrer_is() -> None:
    sent = "idsite=1&rec=1&url=http://own.org/&urlref_origin=2:Google&_ref_origin=2:Google"
    for how in ("", "exclude_all"):
        config = Config(sites={1: Site(site_id=1, name="one")}, privacy=Privacy(anonymise_referrer=how))
        prepared = prepare(accepted(sent, config), site_rules(config, 1), A_LOOKUP)
        assert isinstance(prepared, PreparedHit)
        assert (prepared.referrer, prepared.attribution_referrer) == (Referrer(), None)


def test_referrer_spam_is_told_before_the_referrer_is_shortened() -> None:
    spam = "idsite=1&rec=1&urlref=http%3A%2F%2Fsemalt.com%2Fcrawler"
    private = a_config(Privacy(anonymise_referrer="exclude_all"))
    assert accepted(spam, private).exclusion == "referrer_spam"
    assert accepted(spam).exclusion == ""
    allowed = a_config(Privacy(anonymise_referrer="exclude_all"), Tracking(exclude_referrer_spam=False))
    assert accepted(spam, allowed).exclusion == ""


def test_an_excluded_hit_is_a_hit_with_a_reason_and_makes_nobody_active() -> None:
    acceptance = an_acceptance()
    excluded = accepted("idsite=1&_id=aaaaaaaaaaaaaaa1", acceptance=acceptance)
    assert excluded.exclusion == "rec_missing"
    assert accepted("idsite=1&rec=1&_id=bbbbbbbbbbbbbbb2", acceptance=acceptance).owner == 0xBBBBBBBBBBBBBBB2


def test_a_fault_of_an_excluded_hit_is_not_refused() -> None:
    assert accepted("idsite=1&rec=0&idgoal=99").exclusion == "rec_missing"
    assert isinstance(decide("idsite=1&rec=1&idgoal=99"), Refusal)


def test_agent_language_and_hints_in_the_query_win_over_the_headers() -> None:
    hit = accepted(
        "idsite=1&rec=1&ua=Opera+9&lang=IT-it&uadata=%7B%22a%22%3A1%7D",
        language="de",
        client_hints="{}",
    )
    assert (hit.user_agent, hit.language, hit.client_hints) == ("Opera 9", "it-it", '{"a":1}')
    assert accepted("idsite=1&rec=1&lang=", language="de").language == "de"


def test_an_instance_may_leave_hints_of_headers_alone() -> None:
    config = a_config(tracking=Tracking(client_hint_headers=False))
    assert accepted("idsite=1&rec=1", config, client_hints="{}").client_hints == ""
    assert accepted("idsite=1&rec=1&uadata=%7B%7D", config, client_hints="[]").client_hints == "{}"


def test_hit_ids_grow_also_when_the_clock_was_put_back() -> None:
    ids = HitIds(3, last=0)
    now, before = first_hit_id_of(NOW * 1000), first_hit_id_of(1_600_000_000_000)
    first = ids.next(now)
    assert first == now + 3
    assert ids.next(now) == first + 16
    assert ids.next(before) == first + 32
    again = HitIds(5, last=first + 32)
    assert again.next(before) > first + 32


def test_the_number_of_an_ingest_process_has_four_bits() -> None:
    with pytest.raises(ValueError, match="0 to 15"):
        HitIds(16, 0)


values = st.text(max_size=30)
names = st.sampled_from(
    ["idsite", "rec", "_id", "cid", "uid", "cdt", "cdo", "cip", "token_auth", "country", "lat", "ua", "lang",
     "uadata", "idgoal", "ec_id", "e_c", "e_a", "ca", "pf_net", "ping", "url", "urlref", "search", "bots"]
)  # fmt: skip


@given(st.dictionaries(names, values, max_size=12), st.booleans())
def test_every_request_is_a_hit_that_can_be_decoded_or_a_refusal(
    params: dict[str, str], private: bool
) -> None:
    query = clean_text(
        "&".join(["idsite=1", *(f"{name}={value}" for name, value in params.items()), f"token_auth={TOKEN}"])
    )
    privacy = Privacy(
        anonymise_user_id=private,
        anonymise_order_id=private,
        anonymise_referrer="exclude_query" if private else "",
    )
    decision = decide(query, a_config(privacy=privacy))
    if isinstance(decision, Hit):
        assert decode_hit(encode_hit(decision)) == decision
        assert TOKEN not in decision.query


def test_two_ingest_processes_decide_as_one_for_clients_that_keep_to_theirs() -> None:
    sent = [
        (client, f"idsite=1&rec=1&_id={name:016x}")
        for client, name in ((0, 0xA1), (1, 0xB1), (0, 0xA2), (1, 0xB1), (1, 0xB2), (0, 0xA2))
    ]
    one = an_acceptance()
    alone = [accepted(query, None, one, user_agent=f"browser {client}") for client, query in sent]
    two = (an_acceptance(number=0), an_acceptance(number=1))
    shared = [accepted(query, None, two[client], user_agent=f"browser {client}") for client, query in sent]
    assert [(hit.owner, hit.visitor_id) for hit in shared] == [(hit.owner, hit.visitor_id) for hit in alone]
    assert [hit.owner for hit in alone] == [0xA1, 0xB1, 0xA1, 0xB1, 0xB1, 0xA1]
    assert len({hit.hit_id for hit in shared}) == len(sent)
    assert {hit.hit_id % 16 for hit in shared} == {0, 1}


def test_every_repeated_address_is_masked_where_a_list_is_dropped() -> None:
    hit = accepted(f"idsite=1&rec=1&cip=10.8.8.8&cip=10.9.9.9&uid[]=bob&token_auth={TOKEN}")
    assert hit.query == "idsite=1&rec=1&cip=10.9.0.0&cip=10.9.0.0"
