"""From a tracking request to a hit: named steps, each a decision; the first refusal ends it.

The order is that of Matomo: site, authority, time, exclusion, faults of the action, identity. Everything that
may change from outside (configuration, clock, salts, tokens, the maps of identity) comes in through
`Acceptance`; nothing in here waits or writes.
"""

import json
import random
from collections.abc import Callable
from typing import NamedTuple, Protocol

from ingest.addresses import CRAWLER_RANGES, AddressRanges, canonical_address, masked_address
from ingest.event_time import event_time
from ingest.exclusions import header_exclusion, request_exclusion
from ingest.fingerprint import fingerprint, plugin_flags
from ingest.identity import Claim, Identity, visitor_id_from_hex, visitor_id_of_user
from ingest.privacy import changes_query, only_counted, pseudonym, shortened_referrers, spelled_as_lists
from ingest.query import Params, cached_decode, decode, integer, with_value, with_values
from ingest.site_rules import Rules, local_day
from ingest.validation import fault
from rules.spam import is_referrer_spam
from schemas.config import Config, Site
from schemas.hit import HIT_ID_EPOCH_US, Hit, Location
from schemas.outcomes import COUNTED_ONLY, Exclusion

_GEO = ("country", "region", "city", "lat", "long")
_GEO_NAMES = frozenset(_GEO)
_GUARDED = frozenset(("cip", "cdt", "cdo", *_GEO))
_GUARDED_TEXTS = frozenset(("token_auth", "cip", "uid", "_id", "ec_id", "urlref", "_ref"))
"""What privacy settings may change; in any other spelling it goes."""
_NOWHERE = Location()
_CRAWLERS = AddressRanges(CRAWLER_RANGES)

LONGEST_USER_AGENT = 2048
LONGEST_USER_ID = 1024
LONGEST_LANGUAGE = 256
LONGEST_CLIENT_HINTS = 8192
STORED_USER_ID = 200
"""Characters of a user id that reports show; the visitor id is made of all of it."""


class Refusal(NamedTuple):
    """A tracking request that is answered with 400 and not written."""

    reason: str
    """One word for the metrics."""
    detail: str
    """What was found and what was expected; shown to authorised clients with `debug=1`."""


class Sender(NamedTuple):
    """What the HTTP request says about all hits in it."""

    address: str
    """Canonical whole address of the client."""
    received_at: int
    """Unix milliseconds."""
    token: str = ""
    user_agent: str = ""
    language: str = ""
    referer: str = ""
    client_hints: str = ""
    purpose: str = ""
    moz: str = ""
    cookies: str = ""
    do_not_track: bool = False
    third_party_id: str = ""
    origin: str = "web"


class SaltSource(Protocol):
    def salt(self, site_id: int, day: int) -> bytes:
        """The random salt of a site's local day (days since 1970-01-01), the same in all ingest processes."""
        ...


Authority = Callable[[str, int], bool]
"""Whether a token may write to a site."""


class HitIds:
    """Ids that only grow, also when the clock was put back."""

    def __init__(self, ingest_number: int, last: int) -> None:
        if not 0 <= ingest_number < 16:
            raise ValueError(f"the number of an ingest process is 0 to 15, not {ingest_number}")
        self._number = ingest_number
        self._last = (last >> 4 << 4) + ingest_number

    def next(self, now_us: int) -> int:
        """`now_us`: unix microseconds."""
        hit_id = ((now_us - HIT_ID_EPOCH_US) << 4) + self._number
        if hit_id <= self._last:
            hit_id = self._last + 16
        self._last = hit_id
        return hit_id


class Acceptance:
    """The state of ingest between hits, and the decision about one."""

    def __init__(
        self,
        *,
        identity: Identity,
        hit_ids: HitIds,
        authority: Authority,
        salts: SaltSource,
        locate: Callable[[str], Location] | None,
        secret: bytes,
        clock_us: Callable[[], int],
    ) -> None:
        self.identity = identity
        self._hit_ids = hit_ids
        self._authority = authority
        self._salts = salts
        self._locate = locate
        self._secret = secret
        self._clock_us = clock_us
        self._rules = Rules(Config())
        self._salt_cache: dict[tuple[int, int], bytes] = {}

    def rules(self, config: Config) -> Rules:
        """The rules of this configuration, read once per version."""
        if self._rules.config is not config:
            self._rules = Rules(config)
            self.identity.window = self._rules.window
            self.identity.visit_length = config.tracking.visit_standard_length
        return self._rules

    def accept(self, query: str, params: Params, sender: Sender, rules: Rules) -> Hit | Refusal:
        """The hit of one tracking request, or why there is none. `query` is clean text (ingest.query)."""
        get = params.get
        raw_site = get("idsite")
        site_id = integer(raw_site, 0)
        site = rules.site(site_id) if site_id > 0 else None
        if site is None:
            return Refusal("unknown_site", f"idsite={raw_site or ''!r}: no such site")

        raw_token = get("token_auth")
        token = decode(raw_token) if raw_token else sender.token
        may_write = bool(token) and self._authority(token, site_id)

        now = sender.received_at // 1000
        time = now
        address = sender.address
        location = None
        if not _GUARDED.isdisjoint(params):
            time = event_time(params, now)
            limit = rules.tracking.tracking_requests_require_authentication_when_custom_timestamp_newer_than
            if not may_write:
                refusal = _lacks_authority(params, age=now - time, oldest_without_token=limit)
                if refusal is not None:
                    return refusal
            raw_address = get("cip")
            if raw_address:
                address = canonical_address(decode(raw_address))
            if not _GEO_NAMES.isdisjoint(params) and any(map(get, _GEO)):
                location = self._overridden(params, address, rules)

        visitor_id, claim, user_id, refusal = _claimed_id(params, sender, rules, self._secret)
        if refusal is not None:
            return refusal

        exclusion = request_exclusion(
            params,
            address,
            header_reason=(
                header_exclusion(
                    purpose=sender.purpose,
                    moz=sender.moz,
                    cookies=sender.cookies,
                    ignore_cookies=rules.tracking.ignore_visits_cookie_names,
                    do_not_track=sender.do_not_track,
                    honour_do_not_track=rules.privacy.honour_do_not_track,
                )
                if sender.purpose or sender.moz or sender.cookies or sender.do_not_track
                else ""
            ),
            crawlers=_CRAWLERS,
            excluded=site.excluded,
            require_consent=rules.privacy.require_consent,
        )
        if exclusion in COUNTED_ONLY:
            return only_counted(
                self._hit_ids.next(self._clock_us()), site_id, sender.received_at, exclusion,
                rules.offset, sender.origin,
            )  # fmt: skip
        if rules.privacy.anonymise_referrer and exclusion in ("", Exclusion.PREFETCH):
            # The processors tell spam by the whole referrer, which they will not see.
            spam = rules.tracking.exclude_referrer_spam and is_referrer_spam(decode(params.get("urlref", "")))
            exclusion = Exclusion.REFERRER_SPAM if spam else exclusion
        if not exclusion:
            found = fault(params, site.site, rules.config)
            if found:
                return Refusal("bad_parameter", found)

        raw_agent = get("ua")
        user_agent = (
            cached_decode(raw_agent, LONGEST_USER_AGENT)
            if raw_agent
            else sender.user_agent[:LONGEST_USER_AGENT]
        )
        raw_language = get("lang")
        language = (
            cached_decode(raw_language, LONGEST_LANGUAGE)
            if raw_language
            else sender.language[:LONGEST_LANGUAGE]
        ).lower()
        config_id = fingerprint(
            salt=(
                self._salt("UTC", 0, time)
                if rules.tracking.enable_fingerprinting_across_websites
                else self._salt(site.timezone, site_id, time)
            ),
            site_id=0 if rules.tracking.enable_fingerprinting_across_websites else site_id,
            address=address,
            user_agent=user_agent,
            language=language,
            plugins=plugin_flags(params),
        )
        if exclusion:
            # An excluded hit is written for the count but makes no visitor active.
            owner = visitor_id = visitor_id if claim else config_id
        else:
            owner, visitor_id = self.identity.decide(
                site_id,
                time,
                visitor_id,
                claim,
                config_id,
                user_id,
                is_ping=get("ping", "0") != "0",
                ids_only=rules.tracking.trust_visitors_cookies,
            )
        if location is None:
            location = self._located(address, rules)
        raw_hints = get("uadata")
        masked = masked_address(address, rules.privacy.ip_mask_bytes)
        return Hit(
            hit_id=self._hit_ids.next(self._clock_us()),
            site_id=site_id,
            time=time,
            received_at=sender.received_at,
            owner=owner,
            visitor_id=visitor_id,
            config_id=config_id,
            user_id=user_id[:STORED_USER_ID],
            query=self._cleaned(query, params, masked, rules, site.site, sender.referer),
            user_agent=user_agent,
            client_hints=(
                cached_decode(raw_hints, LONGEST_CLIENT_HINTS)
                if raw_hints
                else sender.client_hints[:LONGEST_CLIENT_HINTS]
            ),
            language=language,
            referer=sender.referer,
            ip=masked,
            location=location,
            authenticated=may_write,
            exclusion=exclusion,
            config_offset=rules.offset,
            origin=sender.origin,
        )

    def _salt(self, timezone: str, site_id: int, time: int) -> bytes:
        """The salt of a site's day; site 0 is all sites."""
        key = (site_id, local_day(timezone, time))
        salt = self._salt_cache.get(key)
        if salt is None:
            if len(self._salt_cache) > 10_000:
                self._salt_cache.clear()
            salt = self._salt_cache[key] = self._salts.salt(*key)
        return salt

    def forget_salts(self) -> None:
        """Ask the source again: salts of past days are erased there."""
        self._salt_cache.clear()

    def _located(self, address: str, rules: Rules) -> Location:
        if self._locate is None:
            return _NOWHERE
        if rules.privacy.use_masked_ip_for_enrichment:
            address = masked_address(address, rules.privacy.ip_mask_bytes)
        return self._locate(address)

    def _overridden(self, params: Params, address: str, rules: Rules) -> Location:
        known = self._located(address, rules)
        return Location(
            country=decode(params.get("country", "")).strip().lower() or known.country,
            region=decode(params.get("region", "")).strip() or known.region,
            city=decode(params.get("city", "")).strip() or known.city,
            latitude=_degrees(params.get("lat"), known.latitude),
            longitude=_degrees(params.get("long"), known.longitude),
        )

    def _cleaned(
        self, query: str, params: Params, masked: str, rules: Rules, site: Site, referer: str
    ) -> str:
        """The query without token, with the masked address for `cip`, ids and referrer as privacy says."""
        privacy = rules.privacy
        if "[" in query or "%5B" in query or "%5b" in query:
            stray = spelled_as_lists(params, _GUARDED_TEXTS)
            if stray:
                query = with_values(query, dict.fromkeys(stray))
        if not changes_query(privacy):
            if "cip" in params:
                query = with_value(query, params, "cip", masked)
            return with_value(query, params, "token_auth", None) if "token_auth" in params else query
        values: dict[str, str | None] = {}
        if "token_auth" in params:
            values["token_auth"] = None
        if "cip" in params:
            values["cip"] = masked
        if privacy.force_cookieless:
            values["_id"] = None
        if privacy.anonymise_user_id and params.get("uid"):
            values["uid"] = pseudonym(decode(params["uid"]), self._secret)
        if privacy.anonymise_order_id and params.get("ec_id"):
            values["ec_id"] = pseudonym(decode(params["ec_id"]), self._secret)
        if privacy.anonymise_referrer:
            page_url = decode(params.get("url", "")) or referer
            values |= shortened_referrers(params, page_url, site, rules.tracking, privacy.anonymise_referrer)
        return with_values(query, values) if values else query


def _lacks_authority(params: Params, *, age: int, oldest_without_token: int) -> Refusal | None:
    """Why a request without a token that may write is refused, None when it needs none."""
    if params.get("cip"):
        return Refusal("no_authority", "cip: needs a token with write access to the site")
    for name in _GEO:
        if params.get(name) not in (None, "", "0"):
            return Refusal("no_authority", f"{name}: needs a token with write access to the site")
    if age >= oldest_without_token:
        return Refusal(
            "no_authority",
            f"cdt or cdo: a time {age} s ago needs a token with write access to the site,"
            f" without one it must be less than {oldest_without_token} s",
        )
    return None


def _claimed_id(
    params: Params, sender: Sender, rules: Rules, secret: bytes
) -> tuple[int, Claim, str, Refusal | None]:
    """The visitor id that the request itself names, where it came from, and the user id."""
    user_id = ""
    raw_user = params.get("uid")
    if raw_user:
        user_id = decode(raw_user)[:LONGEST_USER_ID]
        if user_id and rules.privacy.anonymise_user_id:
            user_id = pseudonym(user_id, secret)
    raw_forced = params.get("cid")
    forced = decode(raw_forced) if raw_forced else ""
    if forced and len(forced) != 16:
        return (
            0,
            Claim.NONE,
            "",
            Refusal("bad_visitor_id", f"cid: a visitor id has 16 characters, this one {len(forced)}"),
        )
    if user_id and rules.tracking.enable_userid_overwrites_visitorid:
        return visitor_id_of_user(user_id), Claim.USER, user_id, None
    if forced:
        visitor_id = visitor_id_from_hex(forced)
        if visitor_id not in rules.anonymous_ids:
            return visitor_id, Claim.FORCED, user_id, None
    if not rules.privacy.force_cookieless:
        cookie_id = sender.third_party_id if rules.tracking.use_third_party_id_cookie else ""
        cookie_id = cookie_id or params.get("_id", "")
        if "%" in cookie_id or "+" in cookie_id:
            cookie_id = decode(cookie_id)
        if len(cookie_id) >= 16:
            visitor_id = visitor_id_from_hex(cookie_id)
            if visitor_id not in rules.anonymous_ids:
                return visitor_id, Claim.COOKIE, user_id, None
    return 0, Claim.NONE, user_id, None


def _degrees(raw: str | None, default: float | None) -> float | None:
    """Half a turn at most, also for a latitude: Matomo keeps one beyond the pole as it was sent."""
    if not raw:
        return default
    try:
        value = float(decode(raw))
    except ValueError:
        return default
    return value if -180 <= value <= 180 else default


def client_hints_of_headers(headers: dict[str, str]) -> str:
    """Sec-CH-UA headers as JSON with their lower-cased names; empty when the client sent none."""
    return json.dumps(headers, separators=(",", ":")) if headers else ""


def random_visitor_ids() -> Callable[[], int]:
    """A source of unsigned 64-bit ids, never 0, seeded by the operating system."""
    source = random.Random(random.SystemRandom().getrandbits(256))  # noqa: S311 - ids of visitors, no secrets
    return lambda: source.getrandbits(64) or 1
