"""From a tracking request to a hit: named steps, each a decision; the first refusal ends it.

The order is that of Matomo: site, authority, time, exclusion, faults of the action, identity. Everything that
may change from outside (configuration, clock, salts, tokens, the maps of identity) comes in through
`Acceptance`; nothing in here waits or writes.
"""

import json
import random
from collections.abc import Callable
from typing import NamedTuple, Protocol

from ingest.addresses import masked_address
from ingest.event_time import event_time
from ingest.exclusions import header_exclusion, request_exclusion
from ingest.fingerprint import SaltedHash, fingerprint, salted
from ingest.identity import Claim, Identity, visitor_id_from_hex, visitor_id_of_user
from ingest.privacy import only_counted, pseudonym, shortened_referrers, spelled_as_lists
from ingest.query import (
    PLACE_NAMES,
    Params,
    SplitQuery,
    cached_decode,
    decode,
    with_value,
    with_values,
)
from ingest.site_rules import CRAWLERS, QUARTER, Rules, SiteRules, local_day
from ingest.validation import fault
from rules.spam import is_referrer_spam
from schemas.config import Config, Site
from schemas.hit import INGEST_NUMBERS, Hit, Location, first_hit_id_of
from schemas.outcomes import COUNTED_ONLY, Exclusion

_GUARDED_TEXTS = frozenset(("token_auth", "cip", "uid", "_id", "ec_id", "urlref", "_ref"))
"""What privacy settings may change; in any other spelling it goes."""
_NOWHERE = Location()
_NO_CLAIM, _COOKIE = Claim.NONE, Claim.COOKIE

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
    global_privacy_control: bool = False
    third_party_id: str = ""
    origin: str = "web"


class Request:
    """One HTTP request: who sends it, and what is found out once for all hits in it."""

    __slots__ = (
        "agent",
        "client_hints",
        "first_hit_id",
        "has_signs",
        "language",
        "now",
        "origin",
        "received_at",
        "referer",
        "rules",
        "sender",
        "sites",
    )

    def __init__(self, sender: Sender, rules: Rules) -> None:
        self.sender = sender
        # Attributes of a named tuple take ten times as long as these.
        self.received_at = sender.received_at
        self.referer = sender.referer
        self.origin = sender.origin
        self.now = sender.received_at // 1000
        self.first_hit_id = first_hit_id_of(sender.received_at)
        self.agent = sender.user_agent[:LONGEST_USER_AGENT]
        self.language = sender.language[:LONGEST_LANGUAGE].lower()
        self.has_signs = bool(
            sender.purpose
            or sender.moz
            or sender.cookies
            or sender.do_not_track
            or sender.global_privacy_control
        )
        """Headers that may exclude its hits."""
        self.follow(rules)

    def follow(self, rules: Rules) -> None:
        """Decide by these rules, and ask about authority again."""
        self.rules = rules
        self.client_hints = (
            self.sender.client_hints[:LONGEST_CLIENT_HINTS] if rules.tracking.client_hint_headers else ""
        )
        self.sites: dict[str, tuple[SiteRules, bool]] = {}
        """By undecoded `idsite`; whether the sender's token may write there."""


class SaltSource(Protocol):
    def salt(self, site_id: int, day: int) -> bytes:
        """The random salt of a site's local day (days since 1970-01-01), the same in all ingest processes."""
        ...


Authority = Callable[[str, int], bool]
"""Whether a token may write to a site."""


class HitIds:
    """Ids that only grow, also when the clock was put back."""

    def __init__(self, ingest_number: int, last: int) -> None:
        if not 0 <= ingest_number < INGEST_NUMBERS:
            raise ValueError(
                f"the number of an ingest process is 0 to {INGEST_NUMBERS - 1}, not {ingest_number}"
            )
        self._number = ingest_number
        self._last = (last >> 4 << 4) + ingest_number

    def next(self, first: int) -> int:
        """`first`: the first id of now, perhaps that of many hits: then their ids count up from there."""
        hit_id = first + self._number
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
    ) -> None:
        self.identity = identity
        self._hit_ids = hit_ids
        self._authority = authority
        self._salts = salts
        self._locate = locate
        self._secret = secret
        self._rules = Rules(Config())
        self._salted_cache: dict[tuple[int, str, int], SaltedHash] = {}
        """By site, timezone and quarter of an hour."""

    def rules(self, config: Config) -> Rules:
        """The rules of this configuration, read once per version."""
        if self._rules.config is not config:
            self._rules = Rules(config)
            self.identity.window = self._rules.window
            self.identity.visit_length = config.tracking.visit_standard_length
        return self._rules

    def accept(self, query: str, params: SplitQuery, request: Request) -> Hit | Refusal:
        """The hit of one tracking request, or why there is none. `query` is clean text (ingest.query)."""
        shape = params.shape
        (
            raw_site, recorded, raw_id, raw_address, raw_agent, raw_language, raw_hints, raw_token, ping, _,
            plugins, timings_are_digits,
        ) = params.usual  # fmt: skip
        rules, sender = request.rules, request.sender
        known = request.sites.get(raw_site) or self._know_site(request, raw_site)
        if known is None:
            return Refusal("unknown_site", f"idsite={raw_site or ''!r}: no such site")
        site, may_write = known
        site_id = site.site_id
        if raw_token:
            token = decode(raw_token)
            may_write = bool(token) and self._authority(token, site_id)

        now = time = request.now
        location = None
        if shape.is_guarded:
            if shape.has_times:
                time = event_time(params, now)
            if not may_write:
                limit = (
                    rules.tracking.tracking_requests_require_authentication_when_custom_timestamp_newer_than
                )
                refusal = _lacks_authority(params, age=now - time, oldest_without_token=limit)
                if refusal is not None:
                    return refusal
        address, masked, is_crawler = rules.address(raw_address or sender.address)
        if shape.has_places and any(map(params.get, PLACE_NAMES)):
            location = self._overridden(params, address, rules)

        user_id = ""
        claim, visitor_id = _NO_CLAIM, 0
        if shape.has_ids or not rules.takes_plain_ids:
            visitor_id, claim, user_id, refusal = _claimed_id(params, sender, rules, self._secret)
            if refusal is not None:
                return refusal
        elif raw_id:
            visitor_id, claim = _plain_id(raw_id, rules)

        exclusion = ""
        if (
            recorded != "1"
            or is_crawler
            or request.has_signs
            or site.excludes_addresses
            or rules.requires_consent
        ):
            exclusion = _exclusion(params, address, sender, rules, site)
            if exclusion in COUNTED_ONLY:
                return only_counted(
                    self._hit_ids.next(request.first_hit_id), site_id, request.received_at, exclusion,
                    rules.offset, request.origin,
                )  # fmt: skip
        if rules.shortens_referrers and exclusion in ("", Exclusion.PREFETCH):
            # The processors tell spam by the whole referrer, which they will not see.
            spam = rules.tracking.exclude_referrer_spam and is_referrer_spam(decode(params.get("urlref", "")))
            exclusion = Exclusion.REFERRER_SPAM if spam else exclusion
        if not exclusion and (shape.is_checked or (shape.is_timed and not timings_are_digits)):
            found = fault(params, site.site, rules.config)
            if found:
                return Refusal("bad_parameter", found)

        user_agent = cached_decode(raw_agent, LONGEST_USER_AGENT) if raw_agent else request.agent
        language = cached_decode(raw_language, LONGEST_LANGUAGE).lower() if raw_language else request.language
        config_id = fingerprint(
            self._salted("UTC", 0, time)
            if rules.knows_across_sites
            else self._salted(site.timezone, site_id, time),
            address,
            user_agent,
            language,
            plugins,
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
                is_ping=ping is not None and ping != "0",
                ids_only=rules.trusts_ids,
            )
        if location is None:
            location = _NOWHERE if self._locate is None else self._located(address, rules)
        if shape.has_lists or rules.changes_query:
            query = self._cleaned(query, params, masked, rules, site.site, sender.referer)
        else:
            if raw_address is not None:
                query = with_value(query, params, "cip", raw_address, masked)
            if raw_token is not None:
                query = with_value(query, params, "token_auth", raw_token, None)
        client_hints = cached_decode(raw_hints, LONGEST_CLIENT_HINTS) if raw_hints else request.client_hints
        # In the order of its fields: 0.15 us, by keyword 0.75 us.
        return Hit(
            self._hit_ids.next(request.first_hit_id),
            site_id,
            time,
            request.received_at,
            owner,
            visitor_id,
            config_id,
            user_id[:STORED_USER_ID],
            query,
            user_agent,
            client_hints,
            language,
            request.referer,
            masked,
            location,
            may_write,
            exclusion,
            rules.offset,
            request.origin,
        )

    def _know_site(self, request: Request, raw: str | None) -> tuple[SiteRules, bool] | None:
        """A site that the request did not name before; whether the sender's token may write there."""
        site = request.rules.site_of(raw)
        if site is None or raw is None:
            return None
        token = request.sender.token
        known = request.sites[raw] = (site, bool(token) and self._authority(token, site.site_id))
        return known

    def _salted(self, timezone: str, site_id: int, time: int) -> SaltedHash:
        """The hash under the salt of a site's day; site 0 is all sites."""
        key = (site_id, timezone, time // QUARTER)
        under = self._salted_cache.get(key)
        if under is None:
            if len(self._salted_cache) > 10_000:
                self._salted_cache.clear()
            salt = self._salts.salt(site_id, local_day(timezone, time))
            under = self._salted_cache[key] = salted(salt, site_id)
        return under

    def forget_salts(self) -> None:
        """Ask the source again: salts of past days are erased there."""
        self._salted_cache.clear()

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
        self, query: str, params: SplitQuery, masked: str, rules: Rules, site: Site, referer: str
    ) -> str:
        """The query without token, with the masked address for `cip`, ids and referrer as privacy says."""
        privacy = rules.privacy
        if params.shape.has_lists:
            stray = spelled_as_lists(params, _GUARDED_TEXTS)
            if stray:
                query = with_values(query, dict.fromkeys(stray))
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
    for name in PLACE_NAMES:
        if params.get(name) not in (None, "", "0"):
            return Refusal("no_authority", f"{name}: needs a token with write access to the site")
    if age >= oldest_without_token:
        return Refusal(
            "no_authority",
            f"cdt or cdo: a time {age} s ago needs a token with write access to the site,"
            f" without one it must be less than {oldest_without_token} s",
        )
    return None


def _exclusion(params: Params, address: str, sender: Sender, rules: Rules, site: SiteRules) -> str:
    return request_exclusion(
        params,
        address,
        header_reason=header_exclusion(
            purpose=sender.purpose,
            moz=sender.moz,
            cookies=sender.cookies,
            ignore_cookies=rules.tracking.ignore_visits_cookie_names,
            do_not_track=sender.do_not_track,
            honour_do_not_track=rules.privacy.honour_do_not_track,
            global_privacy_control=sender.global_privacy_control,
            honour_global_privacy_control=rules.privacy.honour_global_privacy_control,
        ),
        crawlers=CRAWLERS,
        excluded=site.excluded,
        require_consent=rules.privacy.require_consent,
    )


def _plain_id(cookie_id: str, rules: Rules) -> tuple[int, Claim]:
    """The visitor id of an undecoded `_id`."""
    if "%" in cookie_id or "+" in cookie_id:
        cookie_id = decode(cookie_id)
    if len(cookie_id) >= 16:
        visitor_id = visitor_id_from_hex(cookie_id)
        if visitor_id not in rules.anonymous_ids:
            return visitor_id, _COOKIE
    return 0, _NO_CLAIM


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
        visitor_id, claim = _plain_id(cookie_id or params.get("_id", ""), rules)
        return visitor_id, claim, user_id, None
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
