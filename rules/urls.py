"""Page URLs: the form in which they are stored and compared.

Scheme and `www.` are no part of a page's identity; the host is lower-cased; fragments, session and campaign
parameters are removed as the site says; matrix parameters become a query (tracking semantics section 5).
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from rules.patterns import compile_delimited, matches
from rules.query import cut_bytes, decode
from schemas.config import Site, Tracking

NO_PREFIX = 4
PREFIXES = ("http://", "http://www.", "https://", "https://www.")
"""By stored number; 4 stands for none of them."""

IGNORE_REFERRER_PARAMETERS = ("ignore_referrer", "ignore_referer")
LONGEST_CACHED_URL = 512

_PARTS = re.compile(r"([a-z][a-z0-9+.-]*)://([^/?#]*)(.*)", re.IGNORECASE | re.DOTALL | re.ASCII)
_FRAGMENT_END = re.compile(r"[\s#&]+$")
_CONTROLS = {ord(c): None for c in "\r\n\0"}


@dataclass(frozen=True, eq=False)
class UrlRules:
    """How a site's page URLs are cleaned. Compared by identity: it is part of a cache's key."""

    excluded_names: frozenset[str]
    excluded_patterns: tuple[Any, ...]
    keep_fragments: bool
    max_bytes: int

    def excludes(self, parameter: str) -> bool:
        name = decode(parameter).partition("[")[0].strip().lower()
        return name in self.excluded_names or any(matches(p, name) for p in self.excluded_patterns)


@dataclass(frozen=True, slots=True)
class PageUrl:
    """A cleaned URL: for display, and as stored (identity and number of its prefix)."""

    full: str
    url: str
    prefix: int


NO_URL = PageUrl("", "", NO_PREFIX)
UNTITLED_CLICK = PageUrl("", "", 5)
"""A click on what is no URL: a view without URL that, unlike other views, is not counted by title."""


def url_rules(site: Site, tracking: Tracking) -> UrlRules:
    """The site's rules; an excluded parameter written /like this/ is a regular expression."""
    names: set[str] = set()
    patterns: list[Any] = []
    for entry in _excluded_parameters(site, tracking):
        pattern = compile_delimited(entry)
        if pattern is not None:
            patterns.append(pattern)
        elif entry.strip():
            names.add(entry.strip().lower())
    keep = tracking.keep_url_fragments if site.keep_url_fragments == 0 else site.keep_url_fragments == 1
    return UrlRules(frozenset(names), tuple(patterns), keep, tracking.page_maximum_length)


def _excluded_parameters(site: Site, tracking: Tracking) -> Iterable[str]:
    yield from tracking.excluded_url_parameters
    yield from tracking.excluded_parameters
    yield from site.excluded_parameters
    yield from tracking.campaign_names
    yield from tracking.campaign_keywords
    yield from IGNORE_REFERRER_PARAMETERS


def clean_url(rules: UrlRules, raw: str) -> PageUrl:
    """The URL as it is kept; NO_URL for text that is none, such as `http://` alone or a path."""
    if len(raw) > LONGEST_CACHED_URL:
        return _clean(rules, raw)
    return _clean_cached(rules, raw)


def clean_text(text: str) -> str:
    """Text without line breaks, null bytes and surrounding blanks."""
    if text.isprintable() and not (text[:1] == " " or text[-1:] == " "):
        return text
    return text.translate(_CONTROLS).strip()


def clean_click_url(raw: str, max_bytes: int) -> PageUrl:
    """The URL of a download or an outlink: whole, since its parameters and fragment are no visitor's state of
    this site."""
    origin, rest = _split_origin(clean_text(raw))
    return _page_url(origin + rest, max_bytes) if origin is not None else NO_URL


def _clean(rules: UrlRules, raw: str) -> PageUrl:
    origin, rest = _split_origin(clean_text(raw))
    if origin is None:
        return NO_URL
    rest, _, fragment = rest.partition("#")
    path, _, query = matrix_to_query(rest).partition("?")
    full = origin + path
    if query:
        query = _without_excluded(rules, query)
        full = f"{full}?{query}" if query else full
    if rules.keep_fragments and fragment:
        fragment = _without_excluded(rules, fragment) if "=" in fragment else fragment
        # A `#` or `&` too many at the end is what some scripts append.
        fragment = _FRAGMENT_END.sub("", fragment)
        full = f"{full}#{fragment}" if fragment else full
    return _page_url(full, rules.max_bytes)


def _split_origin(text: str) -> tuple[str | None, str]:
    """Scheme and authority in lower case, and the rest; None for text that is no URL."""
    parts = _PARTS.fullmatch(text)
    if parts is None or not parts[2].strip():
        return None, ""
    return f"{parts[1].lower()}://{_lower_host(parts[2])}", parts[3]


def _page_url(full: str, max_bytes: int) -> PageUrl:
    full = cut_bytes(full.rstrip(), max_bytes).rstrip()
    url, prefix = split_prefix(full)
    return PageUrl(full, url, prefix) if url else NO_URL


# Measured: 0.15 us from the cache, 4-8 us to clean; a site's pages repeat thousands of times.
_clean_cached = lru_cache(maxsize=32_768)(_clean)


def split_prefix(full: str) -> tuple[str, int]:
    """A URL without scheme and `www.`, and the number that stands for what was removed."""
    if full.startswith("http://"):
        return (full[11:], 1) if full.startswith("www.", 7) else (full[7:], 0)
    if full.startswith("https://"):
        return (full[12:], 3) if full.startswith("www.", 8) else (full[8:], 2)
    return full, NO_PREFIX


def prefixed(url: str, prefix: int) -> str:
    """The URL for display: the opposite of split_prefix."""
    return PREFIXES[prefix] + url if url and prefix < NO_PREFIX else url


def matrix_to_query(rest: str) -> str:
    """`/a;v=1;w=2?x=3` becomes `/a?v=1&w=2&x=3`: from the first `;` of the path on it is a query."""
    path, question, query = rest.partition("?")
    if ";" not in path:
        return rest
    path, _, matrix = path.partition(";")
    matrix = matrix.replace(";", "&")
    return f"{path}?{matrix}&{query}" if question and query else f"{path}?{matrix}"


def _lower_host(authority: str) -> str:
    credentials, at, host = authority.rpartition("@")
    return credentials + at + host.lower()


def _without_excluded(rules: UrlRules, query: str) -> str:
    pairs = [pair for pair in query.split("&") if pair and not pair.isspace()]
    return "&".join(pair for pair in pairs if not rules.excludes(pair.partition("=")[0])).rstrip()


@lru_cache(maxsize=16_384)
def host_and_path(url: str) -> tuple[str, str]:
    """Lower-cased host without port, credentials and `www.`, and the path; ("", "") when it is no URL."""
    parts = _PARTS.fullmatch(url.strip())
    if parts is None:
        return "", ""
    host = parts[2].rpartition("@")[2].lower()
    if not host.startswith("["):
        host = host.partition(":")[0]
    path = parts[3].partition("#")[0].partition("?")[0]
    return host.removeprefix("www."), path
