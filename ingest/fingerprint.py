"""The fingerprint of a visitor without a known id, under a salt that is random for each site and day."""

from hashlib import blake2b

from ingest.query import Params

PLUGIN_FLAGS = ("fla", "java", "qt", "realp", "pdf", "wma", "ag", "cookie")
"""Parameters that say which plugins a browser has; the screen resolution is not part of a fingerprint."""

LANGUAGE_LENGTH = 20


_FLAGS: dict[tuple[str | None, ...], str] = {}
_MOST_FLAGS = 1024


def plugin_flags(params: Params) -> str:
    """One digit per plugin, 1 when the parameter is 1."""
    values = tuple(map(params.get, PLUGIN_FLAGS))
    flags = _FLAGS.get(values)
    if flags is None:
        flags = "".join(["1" if value == "1" else "0" for value in values])
        if len(_FLAGS) < _MOST_FLAGS:
            _FLAGS[values] = flags
    return flags


def fingerprint(
    *, salt: bytes, site_id: int, address: str, user_agent: str, language: str, plugins: str
) -> int:
    """An unsigned 64-bit keyed hash, never 0. `address` is the whole one: masking comes after.

    Client hints are left out: trackers send them with some hits of a page view and not with others. `site_id`
    is 0 where fingerprints hold across sites."""
    text = f"{site_id}\0{address}\0{plugins}\0{language[:LANGUAGE_LENGTH]}\0{user_agent}"
    digest = blake2b(text.encode("utf-8", "surrogateescape"), digest_size=8, key=salt).digest()
    return int.from_bytes(digest, "big") or 1
