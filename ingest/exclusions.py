"""Exclusions that ingest can tell: from the request's headers, its whole address and its parameters.

Bots by user agent, exclude_requests, excluded user agents, referrer spam and unknown URLs are told later, by
the processors (rules.exclusions)."""

from collections.abc import Iterable

from ingest.addresses import AddressRanges
from ingest.query import Params, integer
from schemas.outcomes import Exclusion

OPT_OUT_COOKIES = frozenset({"mtm_consent_removed"})


def cookie_names(cookies: str) -> frozenset[str]:
    """Names in a Cookie header."""
    return frozenset(pair.partition("=")[0].strip() for pair in cookies.split(";"))


def header_exclusion(
    *,
    purpose: str,
    moz: str,
    cookies: str,
    ignore_cookies: Iterable[str],
    do_not_track: bool,
    honour_do_not_track: bool,
    global_privacy_control: bool,
    honour_global_privacy_control: bool,
) -> str:
    """Reason told by the headers alone, empty when none. Only the two prefetch headers that trackers' servers
    know count, with their exact values."""
    if (honour_do_not_track and do_not_track) or (honour_global_privacy_control and global_privacy_control):
        return Exclusion.DO_NOT_TRACK
    if cookies:
        names = cookie_names(cookies)
        if not names.isdisjoint(ignore_cookies):
            return Exclusion.IGNORE_COOKIE
        if names & OPT_OUT_COOKIES:
            return Exclusion.OPT_OUT
    if purpose in ("preview", "instant") or moz == "prefetch":
        return Exclusion.PREFETCH
    return ""


def request_exclusion(
    params: Params,
    address: str,
    *,
    header_reason: str,
    crawlers: AddressRanges,
    excluded: AddressRanges,
    require_consent: bool = False,
) -> str:
    """Reason why the hit does not count, empty when ingest knows none; the order is that of the semantics."""
    recorded = params.get("rec")
    if recorded != "1" and integer(recorded, 0) == 0:
        return Exclusion.NOT_RECORDED
    if address in crawlers and integer(params.get("bots"), 0) == 0:
        return Exclusion.BOT_IP
    if header_reason and header_reason != Exclusion.PREFETCH:
        return header_reason
    if require_consent and integer(params.get("consent"), 0) != 1:
        return Exclusion.NO_CONSENT
    if excluded and address in excluded:
        return Exclusion.EXCLUDED_IP
    return header_reason
