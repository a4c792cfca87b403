"""What the fuzzer feeds: the parsers that read bytes or text of strangers. None may raise anything but its
own refusal."""

from collections.abc import Callable, Mapping
from contextlib import suppress

import msgspec

from ingest.acceptance import Acceptance, HitIds, Refusal, Request, Sender
from ingest.addresses import AddressRanges, canonical_address, client_address, masked_address, read_range
from ingest.identity import Identity
from ingest.query import clean_text, form_query, looks_like_bulk, merge, read_bulk, split_query
from reporting.errors import ApiError
from reporting.parameters import parse_query as parse_api_query
from reporting.segments import parse_segment
from rules.exclusions import parse_request_rules
from rules.patterns import compile_delimited
from rules.prepare import Lookups, prepare, site_rules
from rules.prepared import Agent, PreparedHit
from rules.referrers import classify, origin_text, read_origin
from rules.user_agents import detect
from schemas.config import Config, Privacy
from schemas.hit import decode_hit, encode_hit
from tests.property.test_prepare_any_content import CONFIG

NOW = 1_789_034_400
SITE = CONFIG.sites[1]
LOOKUPS = Lookups(agent=lambda _agent, _hints: Agent(), locale=lambda text: (text[:5], text[:2]))
PRIVATE = Config(
    offset=7,
    sites=CONFIG.sites,
    goals=CONFIG.goals,
    dimensions=CONFIG.dimensions,
    tracking=CONFIG.tracking,
    privacy=Privacy(anonymise_user_id=True, anonymise_order_id=True, anonymise_referrer="exclude_path"),
)
PROXIES = AddressRanges(["127.0.0.0/8", "10.*.*.*"])


class _Salts:
    def salt(self, site_id: int, day: int) -> bytes:
        return b"%d/%d" % (site_id, day)


def _acceptance() -> Acceptance:
    numbers = iter(range(1, 1 << 62))
    return Acceptance(
        identity=Identity(
            window=1800, visit_length=1800, max_entries=1000, random_id=lambda: next(numbers) + (1 << 60)
        ),
        hit_ids=HitIds(0, 0),
        authority=lambda token, _site: token == "t",
        salts=_Salts(),
        locate=None,
        secret=b"secret",
    )


ACCEPTANCES = tuple((_acceptance(), config, site_rules(config, 1)) for config in (CONFIG, PRIVATE))


def tracking_request(data: bytes) -> None:
    """A query or body, through acceptance, the log's encoding and preparation."""
    query = clean_text(data.decode("utf-8", "surrogateescape"))
    queries = [merge("idsite=1&rec=1&token_auth=t", query), merge(query, form_query(data))]
    if looks_like_bulk(data):
        queries += [each or "" for each in read_bulk(data).queries[:20]]
    for acceptance, config, rules in ACCEPTANCES:
        for each in queries:
            sender = Sender(address="10.1.2.3", received_at=NOW * 1000, user_agent="x", language="de")
            request = Request(sender, acceptance.rules(config))
            decision = acceptance.accept(each, split_query(each), request)
            if isinstance(decision, Refusal):
                continue
            encoded = encode_hit(decision)
            prepared = prepare(decode_hit(encoded), rules, LOOKUPS)
            if isinstance(prepared, PreparedHit):
                msgspec.msgpack.encode(prepared)


def bulk_body(data: bytes) -> None:
    """Any bytes as a bulk body."""
    tracking_request(b'{"requests":' + data)


def addresses(data: bytes) -> None:
    """Addresses, ranges, forwarded addresses."""
    text = data.decode("utf-8", "replace")
    canonical = canonical_address(text)
    assert canonical_address(canonical) == canonical
    for count in range(5):
        masked_address(canonical, count)
    read_range(text)
    assert canonical not in AddressRanges([text, "203.0.113.7"]) or read_range(text) is not None
    client_address("127.0.0.1", text, PROXIES)


def referrers(data: bytes) -> None:
    """Referrers: their types before and after they are shortened."""
    text = data.decode("utf-8", "replace").strip()
    origin = classify(text, True)
    told = read_origin(origin_text(text, "http://own.example/", SITE, CONFIG.tracking, with_host=True), text)
    assert told.type in (origin.type, 1)


def agents(data: bytes) -> None:
    """User agents and client hints, cut at the first line end."""
    agent, _, hints = data.decode("utf-8", "replace").partition("\n")
    detect(agent, hints)


def rules_of_operators(data: bytes) -> None:
    """Conditions on requests and patterns as the configuration holds them."""
    text = data.decode("utf-8", "replace")
    parse_request_rules(text)
    compile_delimited(text)


def segments(data: bytes) -> None:
    """Segments and parameters of the Reporting API."""
    text = data.decode("utf-8", "replace")
    parse_api_query(text)
    with suppress(ApiError):
        parse_segment(text)


TARGETS: Mapping[str, Callable[[bytes], None]] = {
    target.__name__: target
    for target in (tracking_request, bulk_body, addresses, referrers, agents, rules_of_operators, segments)
}
SEEDS: Mapping[str, tuple[bytes, ...]] = {
    "tracking_request": (
        b"idsite=1&rec=1&url=http%3A%2F%2Fexample.org%2F%3Fq%3Dx%23y&_id=aaaaaaaaaaaaaaa1&urlref=http://x.org/",
        b'idgoal=0&ec_id=o-1&ec_items=[["a","A",["x","y"],1.5,2]]&revenue=9&cdt=2026-09-10 10:00:00&cip=::1',
        b"e_c=a&e_a=b&e_v=1,5&dimension1=x&cvar={\"1\":[\"a\",\"b\"]}&pf_net=1&pv_id=abcdef&uid=a&cid=0123456789abcdef",
        b'{"requests":["?idsite=1&rec=1",{"idsite":1,"rec":1,"url":"http://example.org/"}],"token_auth":"t"}',
    ),
    "bulk_body": (b'["?idsite=1&rec=1"],"token_auth":"t"}', b'{"a":{"idsite":1}}}'),
    "addresses": (b"1.2.3.4", b"[::1]:80", b"10.0.*.*", b"fe80::1%eth0", b"1.1.1.1, 10.0.0.1"),
    "referrers": (b"https://www.google.com/search?q=shoes", b"http://search.yahoo.co.jp/?p=%E3%81#x", b"//x"),
    "agents": (
        b"Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:128.0) Gecko/20100101 Firefox/128.0\n",
        b'Mozilla/5.0 (Linux; Android 10; K)\n{"brands":[{"brand":"Brave","version":"126"}],"mobile":true}',
    ),
    "rules_of_operators": (b"e_c==a,url=@b,_id=^x", b"/foo[0-9]+/i"),
    "segments": (b"countryCode==de,visitCount>1;pageUrl=@x", b"method=a.b&x[0][y]=1&x[]=2"),
}  # fmt: skip
