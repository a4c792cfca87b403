"""Which requests are read without aiohttp: only those about which there is no doubt."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.answers import TRACKED, TRACKED_WITHOUT_IMAGE, TRANSPARENT_GIF
from ingest.plain_requests import PlainRequest, answer_bytes, read_plain_request

PATHS = frozenset(("/matomo.php",))
GET = b"GET /matomo.php?idsite=1&rec=1 HTTP/1.1\r\nHost: a\r\nDNT: 1\r\n\r\n"
POST = b"POST /matomo.php HTTP/1.1\r\nHost: a\r\nContent-Length: 8\r\n\r\nidsite=1"


def read(data: bytes) -> PlainRequest | None:
    return read_plain_request(data, PATHS, 100)


def test_a_whole_request_is_read() -> None:
    assert read(GET) == ("GET", "/matomo.php", "idsite=1&rec=1", {"host": "a", "dnt": "1"}, b"")
    assert read(POST) == ("POST", "/matomo.php", "", {"host": "a", "content-length": "8"}, b"idsite=1")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"GET", b"HEAD"),
        (b"GET", b"get"),
        (b"/matomo.php", b"/index.php"),
        (b"/matomo.php", b"http://a/matomo.php"),
        (b"?idsite", b"?" + b"x" * 100 + b"idsite"),
        (b"rec=1", b"rec=1#a"),
        (b"rec=1", b"rec= 1"),
        (b"rec=1", "rec=\u00e9".encode()),
        (b"HTTP/1.1", b"HTTP/1.0"),
        (b"HTTP/1.1\r\n", b"HTTP/1.1\n"),
        (b"Host: a\r\n", b""),
        (b"Host: a\r\n", b"Host: a\r\nHost: b\r\n"),
        (b"DNT: 1", b"DNT : 1"),
        (b"DNT: 1", b" DNT: 1"),
        (b"DNT: 1", b"DNT"),
        (b"DNT: 1", b"DNT: 1\r\n folded"),
        (b"DNT: 1", b"DNT: 1\x00"),
        (b"DNT: 1", b"DNT: 1\nX: 2"),
        (b"DNT: 1", b"DNT: 1\rX: 2"),
        (b"DNT: 1", b"Connection: close"),
        (b"DNT: 1", b"Connection: Upgrade"),
        (b"DNT: 1", b"Transfer-Encoding: chunked"),
        (b"DNT: 1", b"Expect: 100-continue"),
        (b"DNT: 1", b"Content-Length: 0"),
        (b"DNT: 1", b"Content-Type: multipart/form-data; boundary=x"),
        (b"DNT: 1", b"X: " + b"x" * 5000),
        (b"DNT: 1", b"\r\n".join(b"X%d: 1" % number for number in range(60))),
        (b"\r\n\r\n", b"\r\n"),
        (b"\r\n\r\n", b"\r\n\r\nG"),
    ],
)
def test_what_is_unusual_is_left_to_aiohttp(old: bytes, new: bytes) -> None:
    assert old in GET
    assert read(GET.replace(old, new, 1)) is None


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"Length: 8", b"Length: 7"),
        (b"Length: 8", b"Length: 9"),
        (b"Length: 8", b"Length: +8"),
        (b"Length: 8", b"Length: 8, 8"),
        (b"Length: 8", b"Length: 8\r\nContent-Length: 8"),
        (b"Length: 8", b"Length: 8\r\nTransfer-Encoding: chunked"),
        (b"Content-Length: 8\r\n", b""),
        (b"Length: 8", b"Length: 8\r\nContent-Encoding: gzip"),
    ],
)
def test_a_body_is_read_when_all_of_it_is_there_and_nothing_else(old: bytes, new: bytes) -> None:
    assert read(POST.replace(old, new, 1)) is None


@given(st.binary(max_size=20), st.integers(0, len(GET)))
def test_whatever_comes_is_read_or_left(piece: bytes, place: int) -> None:
    found = read(GET[:place] + piece + GET[place:])
    assert found is None or (found.path in PATHS and found.query.isprintable())


def test_answers_are_written_whole() -> None:
    head, _, body = answer_bytes(TRACKED, (("Set-Cookie", "a=b"),)).partition(b"\r\n\r\n")
    lines = head.split(b"\r\n")
    assert lines[:5] == [
        b"HTTP/1.1 200 OK",
        b"Content-Type: image/gif",
        b"Cache-Control: no-store",
        b"Set-Cookie: a=b",
        b"Content-Length: %d" % len(TRANSPARENT_GIF),
    ]
    assert [line.partition(b":")[0] for line in lines[5:]] == [b"Date", b"Server"]
    assert body == TRANSPARENT_GIF
    assert b"Content-Length" not in answer_bytes(TRACKED_WITHOUT_IMAGE, ())
