"""Tracking queries: split once, decode only what ingest needs.

A raw query is percent-encoded text. Parameters are kept undecoded in a dict, the last of a repeated name wins
(as PHP does), and `decode` is called for the few values that ingest looks into.
"""

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any
from urllib.parse import quote, quote_plus, unquote_plus

import msgspec

Params = dict[str, str]

_URL_SAFE = "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~"
_CLEAN = re.compile(r"[!-~]*", re.ASCII).fullmatch
_INTEGER = re.compile(r"\s*[+-]?[0-9]{1,18}\s*").fullmatch


def clean_text(raw: str) -> str:
    """The same query as printable ASCII: blanks, control characters and non-ASCII become percent-encoded."""
    if _CLEAN(raw):
        return raw
    return quote(raw.encode("utf-8", "surrogateescape"), safe=_URL_SAFE)


def split_query(query: str) -> Params:
    """Undecoded values by name. Names are decoded (rarely needed, so only then paid for)."""
    if not query:
        return {}
    params = {}
    for part in query.split("&"):
        name, _, value = part.partition("=")
        params[name] = value
    params.pop("", None)
    names = "".join(params)
    if "%" in names or "+" in names:
        return {unquote_plus(name): value for name, value in params.items()}
    return params


def decode(value: str) -> str:
    """A decoded value; bytes that are not UTF-8 become U+FFFD."""
    if "%" in value or "+" in value:
        return unquote_plus(value)
    return value


LONGEST_CACHED = 2048
_decode_cached = lru_cache(maxsize=16384)(decode)


def cached_decode(value: str, longest: int) -> str:
    """At most `longest` characters of a value that few distinct clients repeat: user agents, client hints,
    languages. What nobody would send does not stay in memory."""
    if len(value) > LONGEST_CACHED:
        # A character is at most 12 characters encoded.
        return decode(value[: 12 * longest])[:longest]
    return _decode_cached(value)[:longest]


def integer(value: str | None, default: int) -> int:
    """A decimal integer, or `default` when the raw value is anything else."""
    if value is None:
        return default
    if value.isdigit() and value.isascii() and len(value) < 19:
        return int(value)
    value = decode(value)
    return int(value) if _INTEGER(value) else default


def without(query: str, names: frozenset[str]) -> str:
    """The query without these parameters."""
    return "&".join(part for part in query.split("&") if part and decode(part.partition("=")[0]) not in names)


_quote_cached = lru_cache(maxsize=16384)(quote_plus)


def with_value(query: str, params: Params, name: str, value: str | None) -> str:
    """The query with another decoded value for a parameter that it has; None removes it.

    One that is there once and plainly is replaced in place: 0.9 us against 4 us for 18 parameters."""
    start = f"&{query}&".find(f"&{name}={params[name]}&")
    if start < 0 or query.count("&") + 1 != len(params):
        # It or another is repeated, without a value or encoded: every occurrence must go.
        return with_values(query, {name: value})
    end = start + len(name) + 1 + len(params[name])
    if value is None:
        return query[: max(0, start - 1)] + query[end if start else end + 1 :]
    return f"{query[: start + len(name) + 1]}{_quote_cached(value)}{query[end:]}"


def with_values(query: str, values: Mapping[str, str | None]) -> str:
    """The query with new decoded values, in their old places or at the end; None removes the parameter."""
    parts = []
    missing = dict(values)
    for part in query.split("&"):
        name = part.partition("=")[0]
        plain_name = decode(name)
        if plain_name in values:
            value = values[plain_name]
            missing.pop(plain_name, None)
            if value is not None:
                parts.append(f"{name}={quote_plus(value)}")
        elif part:
            parts.append(part)
    parts += (f"{name}={quote_plus(value)}" for name, value in missing.items() if value is not None)
    return "&".join(parts)


def merge(query: str, form: str) -> str:
    """Query and form fields as one query; the query's come last, since they win over the form's."""
    if not form:
        return query
    return f"{form}&{query}" if query else form


def form_query(body: bytes) -> str:
    """Form fields as a query. A body is a form whatever type it names, as beacons do; JSON is none."""
    if not body or body[:64].lstrip()[:1] in (b"{", b"["):
        return ""
    return clean_text(body.decode("utf-8", "surrogateescape").strip())


class BulkBody(msgspec.Struct, frozen=True, kw_only=True):
    """A bulk request as sent; the types of its members are checked by `read_bulk`."""

    requests: Any = None
    token_auth: Any = ""
    send_image: Any = 1


class Bulk(msgspec.Struct, frozen=True, kw_only=True):
    """Queries of one bulk body, in order; None stands for an entry that is neither text nor an object."""

    queries: tuple[str | None, ...] = ()
    token: str = ""
    send_image: bool = True


_decode_bulk = msgspec.json.Decoder(BulkBody).decode


def looks_like_bulk(body: bytes) -> bool:
    """Bulk is told by its body, not by the content type: sendBeacon and curl send text or form types."""
    return body[:64].lstrip()[:1] == b"{" and b'"requests"' in body


def query_of_text(text: str) -> str:
    """The query of an entry: `?a=b`, a whole URL or only the query; the fragment is dropped."""
    text = text.strip()
    before, mark, query = text.partition("?")
    if not mark:
        query = before if "=" in before else ""
    return clean_text(query.partition("#")[0])


def query_of_object(fields: Mapping[str, Any]) -> str:
    """The query of an entry sent as an object; nested values are dropped, true is 1 and false 0."""
    parts: list[str] = []
    for name, value in fields.items():
        match value:
            case bool():
                text = "1" if value else "0"
            case str():
                text = value
            case int() | float():
                text = str(value)
            case list():
                parts.extend(f"{quote_plus(name)}[]={quote_plus(str(item))}" for item in value)
                continue
            case _:
                continue
        parts.append(f"{quote_plus(name)}={quote_plus(text.encode('utf-8', 'replace').decode())}")
    return "&".join(parts)


def read_bulk(body: bytes) -> Bulk:
    """The requests of a bulk body; a body that is not valid JSON holds none, as in Matomo."""
    try:
        raw = _decode_bulk(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return Bulk()
    entries = raw.requests
    if isinstance(entries, dict):
        entries = list(entries.values())
    if not isinstance(entries, list):
        entries = []
    queries = tuple(
        query_of_text(entry)
        if isinstance(entry, str)
        else query_of_object(entry)
        if isinstance(entry, dict)
        else None
        for entry in entries
    )
    token = raw.token_auth if isinstance(raw.token_auth, str) else ""
    return Bulk(queries=queries, token=token, send_image=str(raw.send_image) not in ("0", "False"))
