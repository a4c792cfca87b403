"""Tracking requests that arrived whole and plainly: read here, without aiohttp's request, handler and answer.

Nearly all of a tracker's requests come in one piece, with nothing in them but a target, a few headers and
perhaps a body of known length. To take one costs 8 us here and 60 us in aiohttp. Whatever is unusual in the
least, and every path but the tracker's, is left to aiohttp: `read_plain_request` then gives None.
"""

import re
import time
from email.utils import formatdate
from functools import lru_cache
from http import HTTPStatus
from typing import NamedTuple

from aiohttp.http import SERVER_SOFTWARE

from ingest.answers import Answer

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9-]*").fullmatch
_VALUE = re.compile(r"[ -~]*").fullmatch
_TARGET = re.compile(r"/[!-\"$-~]*").fullmatch
_LENGTH = re.compile(r"[0-9]{1,9}").fullmatch
_LONGEST_HEADER = 4096
_MOST_HEADERS = 50
_MOST_REMEMBERED, _LONGEST_REMEMBERED = 20_000, 512

_UNUSUAL = frozenset(
    (
        "content-encoding",
        "expect",
        "http2-settings",
        "keep-alive",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    )
)
"""Headers that change how a request is to be read or answered."""


class PlainRequest(NamedTuple):
    """A whole request."""

    method: str
    """GET or POST."""
    path: str
    query: str
    """As sent: printable ASCII."""
    headers: dict[str, str]
    """By lower-case name, each there once."""
    body: bytes


_headers: dict[str, tuple[str, str] | None] = {}
"""Lines seen before: clients repeat nearly all of theirs."""


def _read_header(line: str) -> tuple[str, str] | None:
    """Lower-case name and value; None for what aiohttp shall look at."""
    name, colon, value = line.partition(":")
    name, value = name.lower(), value.strip(" ")
    is_plain = colon and len(line) <= _LONGEST_HEADER and _NAME(name) and _VALUE(value)
    if not is_plain or name in _UNUSUAL:
        return None
    if (name == "connection" and value.lower() != "keep-alive") or (
        name == "content-type" and value.lower().startswith("multipart/")
    ):
        return None
    return name, value


def _header(line: str) -> tuple[str, str] | None:
    if line in _headers:
        return _headers[line]
    header = _read_header(line)
    if len(line) <= _LONGEST_REMEMBERED:
        if len(_headers) >= _MOST_REMEMBERED:
            _headers.clear()
        _headers[line] = header
    return header


def read_plain_request(data: bytes, paths: frozenset[str], longest_target: int) -> PlainRequest | None:
    """The request that `data` is, whole and alone; None when there is any doubt."""
    end = data.find(b"\r\n\r\n")
    if end < 0:
        return None
    if data.startswith(b"GET /"):
        method, start = "GET", 4
    elif data.startswith(b"POST /"):
        method, start = "POST", 5
    else:
        return None
    try:
        first, *lines = data[start:end].decode("ascii").split("\r\n")
    except UnicodeDecodeError:
        return None
    target, _, version = first.partition(" ")
    if version != "HTTP/1.1" or len(target) > longest_target or not _TARGET(target):
        return None
    path, _, query = target.partition("?")
    if path not in paths or len(lines) > _MOST_HEADERS:
        return None
    headers = {}
    for line in lines:
        header = _header(line)
        if header is None:
            return None
        headers[header[0]] = header[1]
    if len(headers) < len(lines) or "host" not in headers:
        return None
    length = headers.get("content-length")
    if method == "GET":
        if length is not None or end + 4 != len(data):
            return None
    elif length is None or not _LENGTH(length) or end + 4 + int(length) != len(data):
        return None
    return PlainRequest(method, path, query, headers, data[end + 4 :])


@lru_cache(maxsize=256)
def _head(status: int, headers: tuple[tuple[str, str], ...], length: int, second: int) -> bytes:
    lines = [
        f"HTTP/1.1 {status} {HTTPStatus(status).phrase}",
        *(f"{name}: {value}" for name, value in headers),
    ]
    if status != HTTPStatus.NO_CONTENT:
        lines.append(f"Content-Length: {length}")
    lines += [f"Date: {formatdate(second, usegmt=True)}", f"Server: {SERVER_SOFTWARE}"]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def answer_bytes(answer: Answer, extra_headers: tuple[tuple[str, str], ...]) -> bytes:
    """The answer as it is sent, as aiohttp would write it."""
    head = _head(answer.status, answer.headers + extra_headers, len(answer.body), int(time.time()))
    return head + answer.body
