"""Referrer spam: sites that send invented visits to be seen in reports."""

from functools import lru_cache

import ahocorasick_rs

from rules.lists import read_list

_SPAMMERS = ahocorasick_rs.AhoCorasick(read_list("spam.json"))


@lru_cache(maxsize=20_000)
def is_referrer_spam(referrer_url: str) -> bool:
    """Whether a spammer's domain stands anywhere in the URL (tracking semantics, section 9)."""
    return bool(_SPAMMERS.find_matches_as_indexes(referrer_url.lower()))
