"""Answers of the tracker (tracking semantics section 12), as status, headers and body."""

from typing import NamedTuple

import msgspec

TRANSPARENT_GIF = bytes.fromhex(
    "4749463839610100010080000000000000000021f90401000000002c00000000010001000002024401003b"
)
"""The smallest transparent image: 1 x 1, header, empty colour table, graphic control, one pixel."""

ENDPOINT_TEXT = (
    b"This is the tracking endpoint of Hitstream, which speaks Matomo's Tracking HTTP API.<br>\n"
    b"Reports and their API are at <a href='index.php'>index.php</a>.\n"
)

_NO_STORE = ("Cache-Control", "no-store")
_GIF = ("Content-Type", "image/gif")
_HTML = ("Content-Type", "text/html; charset=utf-8")
_JSON = ("Content-Type", "application/json")
_TEXT = ("Content-Type", "text/plain; charset=utf-8")


class Answer(NamedTuple):
    status: int
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = ()


TRACKED = Answer(200, TRANSPARENT_GIF, (_GIF, _NO_STORE))
TRACKED_WITHOUT_IMAGE = Answer(204, b"", (_NO_STORE,))
REFUSED = Answer(400, TRANSPARENT_GIF + ENDPOINT_TEXT, (_GIF, _NO_STORE))
"""Browsers show the image and ignore what follows its end; a person with curl reads the text."""
REFUSED_WITHOUT_IMAGE = Answer(400, ENDPOINT_TEXT, (_HTML, _NO_STORE))
EMPTY_GET = Answer(200, ENDPOINT_TEXT, (_HTML, _NO_STORE))
EMPTY_OTHER = Answer(400, ENDPOINT_TEXT, (_HTML, _NO_STORE))
RECORDING_OFF = Answer(503, TRANSPARENT_GIF, (_GIF, _NO_STORE))
LOG_UNAVAILABLE = Answer(
    503, b"The hit could not be stored, send it again later.\n", (_TEXT, ("Retry-After", "5"))
)
OVERLOADED = Answer(503, b"Too many hits are waiting, send it again later.\n", (_TEXT, ("Retry-After", "1")))
NOT_READY = Answer(503, b"Starting: not ready for hits yet.\n", (_TEXT, ("Retry-After", "1")))
BODY_TOO_LARGE = Answer(413, b"The body is larger than this server takes.\n", (_TEXT,))
URL_TOO_LONG = Answer(414, b"The address is longer than this server takes.\n", (_TEXT,))
TOO_SLOW = Answer(408, b"The request did not arrive in time.\n", (_TEXT,))
METHOD_NOT_ALLOWED = Answer(405, b"GET, POST, HEAD and OPTIONS are answered here.\n", (_TEXT,))
ROBOTS = Answer(200, b"User-agent: *\nDisallow: /\n", (_TEXT,))


class _BulkResult(msgspec.Struct, omit_defaults=True):
    status: str
    tracked: int
    invalid: int
    invalid_indices: list[int] | msgspec.UnsetType = msgspec.UNSET


def bulk_answer(tracked: int, invalid: list[int], *, with_indices: bool) -> Answer:
    """Counts of a bulk request; the indices of what was refused only for a superuser."""
    result = _BulkResult("success", tracked, len(invalid), invalid if with_indices else msgspec.UNSET)
    return Answer(200, msgspec.json.encode(result), (_JSON, _NO_STORE))


def debug_answer(status: int, facts: dict[str, object]) -> Answer:
    """What was decided about a hit, for authorised clients that asked with `debug=1`."""
    return Answer(status, msgspec.json.format(msgspec.json.encode(facts), indent=1), (_JSON, _NO_STORE))


def cross_origin_headers(method: str, origin: str) -> tuple[tuple[str, str], ...]:
    """CORS headers of an answer: any page may send hits, with its cookies. A GET needs none."""
    if method == "GET" and not origin:
        return ()
    return (("Access-Control-Allow-Origin", origin or "*"), ("Access-Control-Allow-Credentials", "true"))


def preflight_answer(origin: str, asked_headers: str) -> Answer:
    return Answer(
        204,
        b"",
        (
            ("Access-Control-Allow-Origin", origin or "*"),
            ("Access-Control-Allow-Methods", "GET, POST, OPTIONS"),
            ("Access-Control-Allow-Headers", asked_headers or "*"),
            ("Access-Control-Allow-Credentials", "true"),
            ("Access-Control-Max-Age", "86400"),
        ),
    )
