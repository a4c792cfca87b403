"""Regular expressions that come from configuration.

They run in RE2, whose time is linear in the text: one site's pattern cannot stop the others. What RE2 does
not know (look-around, back references) is refused.
"""

from functools import lru_cache
from typing import Any

import re2


def compile_linear(pattern: str, *, case_sensitive: bool) -> Any | None:
    """The compiled pattern, or None when it is invalid or would need backtracking."""
    options = re2.Options()
    options.case_sensitive = case_sensitive
    options.log_errors = False
    try:
        return re2.compile(pattern, options)
    except (re2.error, UnicodeError, ValueError):
        return None


def compile_delimited(text: str) -> Any | None:
    """A pattern written /like this/ (flag `i` allowed), compiled; None when it is none or invalid."""
    text = text.strip()
    if len(text) < 3 or not text.startswith("/"):
        return None
    body, slash, flags = text[1:].rpartition("/")
    if not slash or not body or not set(flags) <= set("imsxuU"):
        return None
    return compile_linear(body, case_sensitive="i" not in flags)


# A search takes 2-4 us, the cache 0.1 us; URLs, titles and agents repeat. One cache for all patterns, so that
# memory does not grow with the number of sites and goals.
@lru_cache(maxsize=32_768)
def matches(pattern: Any, text: str) -> bool:
    """Whether the pattern is found anywhere in the text."""
    return pattern.search(text.encode("utf-8", "replace")) is not None


@lru_cache(maxsize=32_768)
def first_group(pattern: Any, text: str) -> str:
    """What the pattern's first group holds where it is first found; empty when it is not."""
    found = pattern.search(text) if text else None
    return (found.group(1) or "") if found else ""
