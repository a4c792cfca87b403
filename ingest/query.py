"""Tracking queries: split once, decode only what ingest needs.

A raw query is percent-encoded text. Values are kept undecoded, the last of a repeated name wins (as PHP
does), and `decode` is called for the few values that ingest looks into. What names alone tell is found out
once for all queries with the same names in the same order (`Shape`): few clients send anything new there.
Of such a query only the values that every hit is asked for are made, until another one is asked for.
"""

import re
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from operator import itemgetter
from typing import Any
from urllib.parse import quote, quote_plus, unquote_plus

import msgspec

try:
    from rules._query import split_known as _split_known
    from rules._query import split_pairs as _split_pairs
except ImportError:  # installed where there was no compiler: the same, 2.3 us slower for each hit
    _split_known = _split_pairs = None  # type: ignore[assignment]

Params = Mapping[str, str]

_URL_SAFE = "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~"
_CLEAN = re.compile(r"[!-~]*", re.ASCII).fullmatch
_INTEGER = re.compile(r"\s*[+-]?[0-9]{1,18}\s*").fullmatch


def clean_text(raw: str) -> str:
    """The same query as printable ASCII: blanks, control characters and non-ASCII become percent-encoded."""
    if _CLEAN(raw):
        return raw
    return quote(raw.encode("utf-8", "surrogateescape"), safe=_URL_SAFE)


PLUGIN_FLAGS = ("fla", "java", "qt", "realp", "pdf", "wma", "ag", "cookie")
"""Parameters that say which plugins a browser has."""
PLACE_NAMES = ("country", "region", "city", "lat", "long")
TIMINGS = ("pf_net", "pf_srv", "pf_tfr", "pf_dm1", "pf_dm2", "pf_onl")

_USUAL = ("idsite", "rec", "_id", "cip", "ua", "lang", "uadata", "token_auth", "ping", "send_image")
_SEND_IMAGE = _USUAL.index("send_image")
_TIMES = frozenset(("cdt", "cdo"))
_GUARDED = frozenset(("cip", *_TIMES, *PLACE_NAMES))
_TIMED = frozenset(("pf_net", "pf_srv", "pf_dm1", "pf_onl"))
_CHECKED = frozenset(("idgoal", "ping", "e_c", "ca"))
_IDS = frozenset(("uid", "cid"))


class Shape:
    """What the names of a query's parameters tell. `places` has the place of each name's last value."""

    __slots__ = (
        "_flags",
        "_texts",
        "_timings",
        "has_ids",
        "has_lists",
        "has_order",
        "has_places",
        "has_repeats",
        "has_times",
        "is_checked",
        "is_guarded",
        "is_timed",
        "places",
    )

    def __init__(self, raw_names: Sequence[str]) -> None:
        text = "".join(raw_names)
        names = [unquote_plus(name) for name in raw_names] if "%" in text or "+" in text else raw_names
        self.places = {name: place for place, name in enumerate(names) if raw_names[place]}
        given = self.places.keys()
        self.has_repeats = len(given) < len(raw_names) or names is not raw_names
        """Or an empty or encoded name: then a value can't be replaced in place."""
        self.has_lists = any("[" in name for name in given)
        self.has_ids = not _IDS.isdisjoint(given)
        self.has_order = "ec_id" in given
        self.is_guarded = not _GUARDED.isdisjoint(given)
        self.has_times = not _TIMES.isdisjoint(given)
        self.has_places = not frozenset(PLACE_NAMES).isdisjoint(given)
        self.is_checked = not _CHECKED.isdisjoint(given)
        """Whether parameters are there that may be refused, besides timings."""
        self.is_timed = not _TIMED.isdisjoint(given)
        self._texts = itemgetter(*self.places_of(_USUAL))
        self._flags = itemgetter(*self.places_of(PLUGIN_FLAGS))
        self._timings = itemgetter(*self.places_of(TIMINGS))

    def places_of(self, names: Iterable[str]) -> list[int]:
        """A query's values end with a None, the value of what is not there."""
        return [self.places.get(name, -1) for name in names]

    def usual(self, raw: Sequence[Any]) -> tuple[Any, ...]:
        """Of a query's values those that every hit is asked for, in the order of `_USUAL`; one digit for each
        of PLUGIN_FLAGS, 1 when it is 1; whether TIMINGS are digits, or empty."""
        flags = "".join(["1" if value == "1" else "0" for value in self._flags(raw)])
        timings = "".join(filter(None, self._timings(raw)))
        return (*self._texts(raw), flags, not timings or timings.isdigit())


Plan = tuple[Shape, bytes, bytes, bytes]
"""A shape, and the places of what its `usual` reads as `rules/_query.c` takes them."""


def plan_of(shape: Shape) -> Plan:
    """Kept for the next query with the same names."""
    texts, flags, timings = (
        # -1 becomes a place that no query has: names longer than `_LONGEST_SHAPE` are not planned for.
        array("H", [place & 0xFFFF for place in shape.places_of(names)]).tobytes()
        for names in (_USUAL, PLUGIN_FLAGS, TIMINGS)
    )
    return shape, texts, flags, timings


_MOST_SHAPES, _LONGEST_SHAPE = 4096, 2048
_plans: dict[str, Plan] = {}


class SplitQuery(Mapping[str, str]):
    """Undecoded values by decoded name; `usual` has what `Shape.usual` says."""

    __slots__ = ("_query", "_raw", "shape", "usual")

    def __init__(
        self, shape: Shape, usual: tuple[Any, ...], query: str, raw: list[Any] | None = None
    ) -> None:
        self.shape = shape
        self.usual = usual
        self._query = query
        self._raw = raw

    @property
    def raw(self) -> list[Any]:
        """All values in order, then a None."""
        if self._raw is None:
            self._raw = _split(self._query)[1]
        return self._raw

    @property
    def with_image(self) -> bool:
        """Whether an answer may be an image."""
        return bool(self.usual[_SEND_IMAGE] != "0")

    def __getitem__(self, name: str) -> str:
        value: str = self.raw[self.shape.places[name]]
        return value

    def get(self, name: str, default: Any = None) -> Any:
        place = self.shape.places.get(name)
        return default if place is None else self.raw[place]

    def __contains__(self, name: object) -> bool:
        return name in self.shape.places

    def __iter__(self) -> Iterator[str]:
        return iter(self.shape.places)

    def __len__(self) -> int:
        return len(self.shape.places)

    def __repr__(self) -> str:
        return f"SplitQuery({dict(self)!r})"


_NO_DELIMITERS = bytes(byte for byte in range(256) if byte not in b"&=")
_ONE_VALUE_EACH = frozenset(b"=" + b"&=" * others for others in range(200))
"""The delimiters of queries in which every name has one value, and no value has an `=`."""


def split_any_pairs(query: str) -> tuple[str, list[Any]]:
    """The undecoded names of a query joined by `&`, and its values, then a None."""
    if query.encode("utf-8", "replace").translate(None, _NO_DELIMITERS) in _ONE_VALUE_EACH:
        parts: list[Any] = query.replace("&", "=").split("=")
        names, raw = parts[::2], parts[1::2]
    else:
        names, raw = [], []
        for part in query.split("&") if query else ():
            name, _, value = part.partition("=")
            names.append(name)
            raw.append(value)
    raw.append(None)
    return "&".join(names), raw


def _split(query: str) -> tuple[str, list[Any]]:
    pairs = None if _split_pairs is None else _split_pairs(query)
    return split_any_pairs(query) if pairs is None else pairs


def split_query(query: str) -> SplitQuery:
    """The parameters of a query."""
    if _split_known is not None:
        known = _split_known(query, _plans)
        if known is not None:
            shape, usual = known
            return SplitQuery(shape, usual, query)
    key, raw = _split(query)
    plan = _plans.get(key)
    if plan is not None:
        shape = plan[0]
    else:
        shape = Shape(key.split("&") if query else ())
        if len(key) <= _LONGEST_SHAPE:
            if len(_plans) >= _MOST_SHAPES:
                _plans.clear()
            _plans[key] = plan_of(shape)
    return SplitQuery(shape, shape.usual(raw), query, raw)


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
    decoded = _decode_cached(value)
    return decoded if len(decoded) <= longest else decoded[:longest]


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


def with_value(query: str, params: SplitQuery, name: str, raw: str, value: str | None) -> str:
    """The query with another decoded value for a parameter, which is `raw` there; None removes it.

    Where all are there once and plainly it is replaced in place: 0.5 us against 4 us for 18 parameters."""
    if not params.shape.has_repeats:
        # No value holds a `&`, so this is found where the parameter begins.
        before, found, after = query.partition(f"&{name}={raw}")
        if found:
            return before + after if value is None else f"{before}&{name}={_quote_cached(value)}{after}"
    return with_values(query, {name: value})


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
    # JSON allows no control character in a text but by an escape: a body without escapes and
    # fragments is clean but for blanks. 0.3 us for each text instead of 0.8 us.
    is_clean = body.isascii() and b"\\" not in body and b"\x7f" not in body and b"#" not in body
    queries = tuple(
        [
            (entry[1:] if is_clean and entry[:1] == "?" and " " not in entry else query_of_text(entry))
            if type(entry) is str
            else query_of_object(entry)
            if isinstance(entry, dict)
            else None
            for entry in entries
        ]
    )
    token = raw.token_auth if isinstance(raw.token_auth, str) else ""
    return Bulk(queries=queries, token=token, send_image=str(raw.send_image) not in ("0", "False"))
