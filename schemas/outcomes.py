"""What became of an accepted hit. The sum of all tallies is the offsets consumed."""

from enum import StrEnum


class Outcome(StrEnum):
    STORED = "stored"
    EXCLUDED = "excluded"
    DUPLICATE = "duplicate"
    DEAD = "dead"


class Exclusion(StrEnum):
    """Reasons of section 9 of the tracking semantics, and those of rules that drop a hit without error."""

    NOT_RECORDED = "rec_missing"
    BOT = "bot"
    BOT_IP = "bot_ip"
    DO_NOT_TRACK = "do_not_track"
    EXCLUDED_REQUEST = "excluded_request"
    IGNORE_COOKIE = "ignore_cookie"
    EXCLUDED_IP = "excluded_ip"
    EXCLUDED_USER_AGENT = "excluded_user_agent"
    REFERRER_SPAM = "referrer_spam"
    UNKNOWN_URL = "unknown_url"
    PREFETCH = "prefetch"
    PING_WITHOUT_VISIT = "ping_without_visit"
    REPEATED_ORDER = "repeated_order"
    OPT_OUT = "opt_out"
    NO_CONSENT = "no_consent"
    """The instance asks for consent and the hit doesn't tell of any."""
    ERASED = "erased"
    """A data subject's hit, removed from the log before it was processed."""


COUNTED_ONLY = frozenset(
    (Exclusion.DO_NOT_TRACK, Exclusion.IGNORE_COOKIE, Exclusion.OPT_OUT, Exclusion.NO_CONSENT)
)
"""The visitor does not want to be tracked: of such a hit nothing is written but that there was one."""
