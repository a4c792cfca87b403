"""Parsing, addresses, time, exclusions and faults of tracking requests."""

import ipaddress
import json
from datetime import datetime
from hashlib import blake2b
from typing import Any
from urllib.parse import quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.addresses import (
    CRAWLER_RANGES,
    AddressRanges,
    canonical_address,
    client_address,
    masked_address,
)
from ingest.event_time import event_time, read_time
from ingest.exclusions import header_exclusion, request_exclusion
from ingest.fingerprint import fingerprint, salted
from ingest.orders import RecentOrders
from ingest.query import (
    clean_text,
    decode,
    integer,
    looks_like_bulk,
    merge,
    query_of_object,
    query_of_text,
    read_bulk,
    split_query,
    with_value,
    with_values,
)
from ingest.validation import fault
from schemas.config import Config, Goal, Site, Tracking
from schemas.outcomes import Exclusion

NOW = 1_789_034_400
DAY = 86_400


# Queries


def test_the_last_of_a_repeated_parameter_wins() -> None:
    assert split_query("idsite=1&idsite=100") == {"idsite": "100"}


def test_a_parameter_without_value_is_empty_and_nameless_ones_are_dropped() -> None:
    assert split_query("a&b=&=c&&d=1=2") == {"a": "", "b": "", "d": "1=2"}


def test_encoded_names_are_decoded() -> None:
    assert split_query("%5Fid=1&e_c=a%20b") == {"_id": "1", "e_c": "a%20b"}


@pytest.mark.parametrize(
    ("raw", "value"),
    [
        ("5", 5),
        ("-1", -1),
        ("+7", 7),
        ("%35", 5),
        ("abc", -9),
        ("", -9),
        ("1.5", -9),
        ("1e3", -9),
        ("9" * 40, -9),
    ],
)
def test_integers_are_read_strictly(raw: str, value: int) -> None:
    assert integer(raw, -9) == value


def test_a_missing_integer_is_the_default() -> None:
    assert integer(None, 3) == 3


def test_the_querys_fields_win_over_the_forms() -> None:
    assert split_query(merge("a=query", "a=form&b=form")) == {"a": "query", "b": "form"}


def test_the_token_is_taken_out_and_the_address_replaced() -> None:
    query = "idsite=1&token_auth=secret&cip=10.1.2.3&url=x"
    assert with_values(query, {"token_auth": None, "cip": "10.1.0.0"}) == "idsite=1&cip=10.1.0.0&url=x"


def test_a_token_under_an_encoded_name_is_taken_out_too() -> None:
    assert with_values("token%5Fauth=secret&a=1", {"token_auth": None}) == "a=1"


_PARTS = st.lists(st.sampled_from(["cip=1", "cip=", "cip", "%63ip=2", "a=1", "ccip=1", "a=cip=1", "", "b"]))


@given(_PARTS, st.sampled_from([None, "10.0.0.0", "a b&c"]))
def test_one_value_is_replaced_wherever_and_however_it_stands(parts: list[str], value: str | None) -> None:
    query = "&".join(parts)
    params = split_query(query)
    if "cip" in params:
        replaced = split_query(with_value(query, params, "cip", params["cip"], value))
        assert replaced == split_query(with_values(query, {"cip": value}))
        assert replaced.get("cip") == (None if value is None else quote_plus(value))


_QUERY_TEXT = st.text(st.sampled_from("ab&=%5B[]+"), max_size=30)


@given(_QUERY_TEXT)
def test_a_query_is_split_as_its_parts_say(query: str) -> None:
    expected = {}
    for part in query.split("&"):
        name, _, value = part.partition("=")
        if name:
            expected[decode(name)] = value
    params = split_query(query)
    assert params == expected
    assert (len(params), bool(params)) == (len(expected), bool(expected))
    assert {name: params.get(name) for name in expected} == expected
    assert [name in params for name in ("a", "b", "ab")] == [name in expected for name in ("a", "b", "ab")]


@given(st.text(st.sampled_from("?# \\\x7f\u00e9\nab=&")), st.booleans())
def test_an_entry_of_a_bulk_body_is_cleaned_however_it_is_spelled(text: str, ascii_only: bool) -> None:
    body = json.dumps({"requests": [text]}, ensure_ascii=ascii_only).encode()
    assert read_bulk(body).queries == (query_of_text(text),)


@given(st.text())
def test_clean_text_is_printable_ascii_and_means_the_same(text: str) -> None:
    cleaned = clean_text(text)
    assert cleaned.isascii()
    assert all(" " < character <= "~" for character in cleaned)
    if "%" not in text and "+" not in text:
        assert decode(cleaned.replace("+", "%2B")) == text.encode("utf-8", "surrogateescape").decode(
            "utf-8", "replace"
        )


@given(st.binary(max_size=300))
def test_no_query_makes_the_parser_fail(raw: bytes) -> None:
    query = clean_text(raw.decode("utf-8", "surrogateescape"))
    for value in split_query(query).values():
        decode(value)
        integer(value, 0)


# Bulk


@pytest.mark.parametrize(
    ("text", "query"),
    [
        ("?idsite=1&rec=1", "idsite=1&rec=1"),
        ("http://localhost/matomo.php?idsite=1", "idsite=1"),
        ("idsite=1&rec=1", "idsite=1&rec=1"),
        ("?idsite=1&url=http://x/#part&rec=1", "idsite=1&url=http://x/"),
        ("?action_name=Two words", "action_name=Two%20words"),
        ("matomo.php", ""),
        ("", ""),
    ],
)
def test_a_bulk_entry_may_be_a_query_or_an_address(text: str, query: str) -> None:
    assert query_of_text(text) == query


def test_a_bulk_entry_may_be_an_object() -> None:
    query = query_of_object(
        {"idsite": 1, "rec": True, "action_name": "ä b", "x": None, "f": 1.5, "n": ["a", 2]}
    )
    assert query == "idsite=1&rec=1&action_name=%C3%A4+b&f=1.5&n[]=a&n[]=2"


def test_bulk_is_told_by_its_body() -> None:
    assert looks_like_bulk(b' {"requests":["?idsite=1"]}')
    assert looks_like_bulk(b'{"requests":["?idsite=1&rec=1"')
    assert not looks_like_bulk(b'{"foo":1}')
    assert not looks_like_bulk(b"requests=1&idsite=1")


@pytest.mark.parametrize(
    "body", [b'{"requests":["?idsite=1', b'{"requests":5}', b'{"requests":null}', b"[1]", b'{"requests":{}}']
)
def test_a_broken_bulk_body_holds_no_requests(body: bytes) -> None:
    assert read_bulk(body).queries == ()


def test_entries_that_are_neither_text_nor_object_keep_their_place() -> None:
    assert read_bulk(b'{"requests":["?a=1",5,{"b":2}]}').queries == ("a=1", None, "b=2")


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        max_leaves=20,
    )
)
def test_no_bulk_body_makes_the_parser_fail(value: object) -> None:
    import msgspec

    read_bulk(msgspec.json.encode({"requests": value, "token_auth": value, "send_image": value}))


# Addresses


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("10.1.2.3", "10.1.2.3"),
        (" 10.1.2.3 ", "10.1.2.3"),
        ("10.1.2.3:8080", "10.1.2.3"),
        ("[2001:db8::1]:80", "2001:db8::1"),
        ("2001:DB8:0:0::1", "2001:db8::1"),
        ("::ffff:10.1.2.3", "10.1.2.3"),
        ("fe80::1%eth0", "fe80::1"),
        ("nonsense", "0.0.0.0"),
        ("", "0.0.0.0"),
    ],
)
def test_addresses_have_one_text(text: str, address: str) -> None:
    assert canonical_address(text) == address


@pytest.mark.parametrize(
    ("mask_bytes", "v4", "v6"),
    [
        (0, "10.1.77.88", "2001:db8:1:2:3:4:5:6"),
        (1, "10.1.77.0", "2001:db8:1:2::"),
        (2, "10.1.0.0", "2001:db8:1::"),
        (3, "10.0.0.0", "2001:d00::"),
        (4, "0.0.0.0", "::"),
    ],
)
def test_masking_takes_the_end_of_an_address(mask_bytes: int, v4: str, v6: str) -> None:
    assert masked_address("10.1.77.88", mask_bytes) == v4
    assert masked_address("2001:db8:1:2:3:4:5:6", mask_bytes) == v6


@pytest.mark.parametrize(
    ("written", "inside", "outside"),
    [
        ("10.0.0.5", "10.0.0.5", "10.0.0.6"),
        ("10.0.*.*", "10.0.255.1", "10.1.0.1"),
        ("10.0.0.*", "10.0.0.0", "10.0.1.0"),
        ("10.0.0.0/8", "10.255.255.255", "11.0.0.0"),
        ("10.1.2.3/16", "10.1.0.0", "10.2.0.0"),
        ("2001:db8::/32", "2001:db8:ffff::1", "2001:db9::1"),
    ],
)
def test_excluded_ranges_are_wildcards_networks_or_addresses(written: str, inside: str, outside: str) -> None:
    ranges = AddressRanges([written])
    assert inside in ranges
    assert outside not in ranges


@pytest.mark.parametrize("written", ["", "x", "10.*.0.1", "*.0.0.1", "10.0.0.0/40", "1.2.3"])
def test_what_is_no_range_contains_nothing(written: str) -> None:
    assert not AddressRanges([written])
    assert "10.0.0.1" not in AddressRanges([written])


_V4, _V6 = st.integers(0, (1 << 32) - 1), st.integers(0, (1 << 128) - 1)
_NETWORKS = st.tuples(_V4, st.integers(0, 32)).map(
    lambda pair: ipaddress.ip_network(pair, strict=False)
) | st.tuples(_V6, st.integers(0, 128)).map(lambda pair: ipaddress.ip_network(pair, strict=False))


@given(
    st.lists(_NETWORKS, max_size=6), st.lists(_V4.map(ipaddress.IPv4Address) | _V6.map(ipaddress.IPv6Address))
)
def test_ranges_have_the_addresses_that_any_of_them_has(networks: list[Any], others: list[Any]) -> None:
    ranges = AddressRanges(map(str, networks))
    edges = [edge for network in networks for edge in (network[0], network[-1])]
    beyond = [
        edge + step for edge in edges for step in (-1, 1) if 0 <= int(edge) + step < 1 << edge.max_prefixlen
    ]
    for address in edges + beyond + others:
        expected = any(address in network for network in networks)
        assert (str(address) in ranges) is expected
        if address.version == 4:
            assert ranges.have_ipv4(int(address)) is expected


@pytest.mark.parametrize(
    ("address", "crawler"),
    [
        ("66.249.80.1", True),
        ("64.233.160.9", True),
        ("207.46.1.1", True),
        ("157.55.39.1", True),
        ("173.194.93.1", True),
        ("66.249.66.1", False),
        ("40.77.167.1", False),
    ],
)
def test_search_engines_fetch_from_known_blocks(address: str, crawler: bool) -> None:
    assert (address in AddressRanges(CRAWLER_RANGES)) is crawler


def test_only_a_trusted_proxy_may_name_the_client() -> None:
    trusted = AddressRanges(["127.0.0.1", "10.0.0.0/8"])
    assert client_address("127.0.0.1", "8.8.8.8, 10.0.0.7", trusted) == "8.8.8.8"
    assert client_address("127.0.0.1", "1.1.1.1, 8.8.8.8", trusted) == "8.8.8.8"
    assert client_address("9.9.9.9", "8.8.8.8", trusted) == "9.9.9.9"
    assert client_address("127.0.0.1", "", trusted) == "127.0.0.1"
    assert client_address("127.0.0.1", "8.8.8.8", AddressRanges([])) == "127.0.0.1"


# Time


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("1789034400", 1_789_034_400),
        ("2026-09-10 10:00:00", 1_789_034_400),
        ("2026-09-10T10:00:00Z", 1_789_034_400),
        ("2026-09-10T12:00:00+02:00", 1_789_034_400),
        ("2026-09-10", 1_788_998_400),
        ("not-a-date", None),
        ("-5", None),
        ("", None),
    ],
)
def test_times_are_unix_or_dates_in_utc(text: str, time: int | None) -> None:
    assert read_time(text) == time


@given(st.text() | st.datetimes().map(str) | st.datetimes(timezones=st.timezones()).map(datetime.isoformat))
def test_no_time_makes_the_reader_fail(text: str) -> None:
    assert event_time({"cdt": text}, NOW) <= NOW


def test_the_time_is_now_unless_a_past_one_can_be_read() -> None:
    assert event_time({}, NOW) == NOW
    assert event_time({"cdt": str(NOW - 60)}, NOW) == NOW - 60
    assert event_time({"cdt": str(NOW + 1)}, NOW) == NOW
    assert event_time({"cdt": "not-a-date"}, NOW) == NOW
    assert event_time({"cdt": str(NOW - 20 * 365 * DAY)}, NOW) == NOW - 20 * 365 * DAY
    assert event_time({"cdt": str(NOW - 20 * 365 * DAY - 1)}, NOW) == NOW


def test_cdo_goes_back_from_cdt_or_from_now() -> None:
    assert event_time({"cdt": str(NOW - 60), "cdo": "600"}, NOW) == NOW - 660
    assert event_time({"cdo": "600"}, NOW) == NOW - 600
    assert event_time({"cdo": "-600"}, NOW) == NOW - 600


# Exclusions


def excluded(
    params: dict[str, str], address: str = "10.1.2.3", header_reason: str = "", ranges: str = ""
) -> str:
    return request_exclusion(
        params,
        address,
        header_reason=header_reason,
        crawlers=AddressRanges(CRAWLER_RANGES),
        excluded=AddressRanges([ranges]),
    )


@pytest.mark.parametrize(
    ("rec", "reason"), [("1", ""), ("2", ""), ("0", "rec_missing"), ("true", "rec_missing")]
)
def test_any_number_but_zero_records(rec: str, reason: str) -> None:
    assert excluded({"rec": rec}) == reason


def test_a_hit_without_rec_is_excluded() -> None:
    assert excluded({}) == Exclusion.NOT_RECORDED


def test_crawlers_addresses_are_excluded_unless_bots_are_asked_for() -> None:
    assert excluded({"rec": "1"}, "66.249.80.1") == Exclusion.BOT_IP
    assert excluded({"rec": "1", "bots": "1"}, "66.249.80.1") == ""


def test_excluded_addresses() -> None:
    assert excluded({"rec": "1"}, "10.0.0.5", ranges="10.0.0.*") == Exclusion.EXCLUDED_IP
    assert excluded({"rec": "1"}, "10.0.1.5", ranges="10.0.0.*") == ""


def headers_say(**changes: object) -> str:
    values = {"purpose": "", "moz": "", "cookies": "", "do_not_track": False, "honour_do_not_track": False,
              "global_privacy_control": False, "honour_global_privacy_control": False,
              "ignore_cookies": Tracking().ignore_visits_cookie_names}  # fmt: skip
    return header_exclusion(**(values | changes))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("headers", "reason"),
    [
        ({"purpose": "preview"}, "prefetch"),
        ({"purpose": "instant"}, "prefetch"),
        ({"moz": "prefetch"}, "prefetch"),
        ({"purpose": "Preview"}, ""),
        ({"do_not_track": True}, ""),
        ({"do_not_track": True, "honour_do_not_track": True}, "do_not_track"),
        ({"global_privacy_control": True, "honour_do_not_track": True}, ""),
        ({"global_privacy_control": True, "honour_global_privacy_control": True}, "do_not_track"),
        ({"do_not_track": True, "honour_global_privacy_control": True}, ""),
        ({"cookies": "a=b; matomo_ignore=x"}, "ignore_cookie"),
        ({"cookies": "piwik_ignore=x"}, "ignore_cookie"),
        ({"cookies": "mtm_consent_removed=1"}, "opt_out"),
        ({"cookies": "a=matomo_ignore"}, ""),
        ({"cookies": "matomo_ignore=x", "ignore_cookies": ("no_thanks",)}, ""),
        ({"cookies": "no_thanks=1", "ignore_cookies": ("no_thanks",)}, "ignore_cookie"),
    ],
)
def test_headers_exclude(headers: dict[str, object], reason: str) -> None:
    assert headers_say(**headers) == reason


# Faults


SITE = Site(site_id=1, name="s")
CONFIG = Config(
    sites={1: SITE},
    goals={
        1: {1: Goal(site_id=1, goal_id=1, name="g"), 2: Goal(site_id=1, goal_id=2, name="d", deleted=True)}
    },
)


@pytest.mark.parametrize(
    ("query", "refused"),
    [
        ("", False),
        ("idgoal=1", False),
        ("idgoal=99", True),
        ("idgoal=2", True),
        ("idgoal=abc", False),
        ("idgoal=-1", False),
        ("idgoal=0&ec_id=1", False),
        ("ca=1", True),
        ("ca=1&ping=1", False),
        ("ca=1&idgoal=1", False),
        ("ca=1&e_c=C&e_a=A", False),
        ("ca=1&e_c=C", True),
        ("ca=1&c_n=N", False),
        ("ca=1&c_p=P", True),
        ("ca=1&link=http://x", False),
        ("ca=1&download=http://x", False),
        ("ca=1&search=word", False),
        ("ca=1&search=0", True),
        ("ca=1&url=http%3A%2F%2Fx%2F%3FQ%5B%5D%3Dword", False),
        ("ca=1&ma_id=abc123", False),
        ("ca=1&cra=oops", False),
        ("e_c=Cat&e_a=Act", False),
        ("e_c=&e_a=Act", False),
        ("e_c=+&e_a=x", True),
        ("e_c=x&e_a=%20", True),
        ("e_c=+&e_a=x&ping=1", False),
        ("pf_net=-5", True),
        ("pf_srv=-1", False),
        ("pf_srv=-2", True),
        ("pf_srv=abc&pf_onl=12.7", False),
    ],
)
def test_faults_are_refused(query: str, refused: bool) -> None:
    assert bool(fault(split_query(query), SITE, CONFIG)) is refused


def test_a_search_is_none_where_site_search_is_off() -> None:
    off = Site(site_id=1, name="s", site_search=False)
    assert fault({"ca": "1", "search": "word"}, off, CONFIG)


# Fingerprints and orders


def a_fingerprint(**changes: object) -> int:
    values: dict[str, object] = {
        "under": salted(b"s" * 16, 1),
        "address": "10.1.2.3",
        "user_agent": "Firefox",
        "language": "en",
        "plugins": "00000000",
    }
    return fingerprint(**(values | changes))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "change",
    [
        {"under": salted(b"t" * 16, 1)},
        {"under": salted(b"s" * 16, 2)},
        {"address": "10.1.2.4"},
        {"user_agent": "Chrome"},
        {"language": "fr"},
        {"plugins": "00001000"},
    ],
)
def test_everything_in_a_fingerprint_tells_visitors_apart(change: dict[str, object]) -> None:
    assert a_fingerprint() == a_fingerprint()
    assert a_fingerprint(**change) != a_fingerprint()


def test_a_fingerprint_is_one_keyed_hash_of_all_that() -> None:
    whole = b"1\x0010.1.2.3\x0000000000\x00en\x00Firefox"
    expected = blake2b(whole, digest_size=8, key=b"s" * 16).digest()
    assert a_fingerprint() == int.from_bytes(expected, "big")


def test_only_the_first_20_characters_of_the_language_count() -> None:
    assert a_fingerprint(language="x" * 20 + "a") == a_fingerprint(language="x" * 20 + "b")
    assert a_fingerprint(language="x" * 19 + "a") != a_fingerprint(language="x" * 19 + "b")


def test_a_repeated_order_is_known_by_site_and_number_without_case() -> None:
    orders = RecentOrders()
    order = split_query("idgoal=0&ec_id=O-1")
    assert not orders.add(1, order)
    assert orders.add(1, split_query("idgoal=0&ec_id=o-1"))
    assert not orders.add(2, order)
    assert not orders.add(1, split_query("idgoal=0&ec_id=o-2"))
    assert not orders.add(1, split_query("idgoal=0"))
    assert not orders.add(1, split_query("ec_id=o-1"))
