"""Connections to ingest: slow and idle ones, requests in pieces and in a row, limits, the end."""

import asyncio
import re
from collections.abc import Callable
from pathlib import Path

import aiohttp
import msgspec
import pytest

from ingest.answers import TRANSPARENT_GIF
from ingest.app import PROCESS
from tests.integration.ingest_endpoint import PIXEL, TOKEN, Running, answer_of, run
from tests.waiting import PATIENCE_SECONDS


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"GET /matomo.php?idsite=1&rec=1 HTTP/1.1\r\nHost:",
        b"POST /matomo.php HTTP/1.1\r\nHost: x\r\nContent-Length: 50\r\n\r\nidsite",
    ],
)
def test_slow_clients_are_cut(tmp_path: Path, sent: bytes) -> None:
    async def story(running: Running) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", running.listener.port)
        writer.write(sent)
        try:
            answer = await answer_of(reader)
        except ConnectionResetError:
            answer = b""
        assert answer == b"" or answer.startswith(b"HTTP/1.1 408"), answer
        writer.close()
        assert (await running.get(PIXEL))[0] == 200

    run(tmp_path, story, client_timeout_s=0.3)


def test_an_idle_kept_connection_is_not_taken_for_a_slow_one(tmp_path: Path) -> None:
    async def story(running: Running) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", running.listener.port)
        for pause in (0.0, 1.0):
            await asyncio.sleep(pause)
            writer.write(b"GET /matomo.php?idsite=1&rec=1 HTTP/1.1\r\nHost: x\r\n\r\n")
            head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), PATIENCE_SECONDS)
            assert head.startswith(b"HTTP/1.1 200")
            await reader.readexactly(len(TRANSPARENT_GIF))
        writer.close()

    run(tmp_path, story, client_timeout_s=0.3)


async def refused(running: Running) -> bool:
    try:
        return await running.get(PIXEL) != (200, TRANSPARENT_GIF)
    except aiohttp.ClientError:
        return True


async def until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110 - nothing tells when
        await asyncio.sleep(0.001)


async def sent(running: Running, *pieces: bytes, answers: int = 1, apart: bool = False) -> list[bytes]:
    """The answers to requests that are sent over one connection in these pieces; `apart`: each arrives, as
    the first part of a request, before the next is sent."""
    limits = running.listener.limits
    assert limits is not None
    reader, writer = await asyncio.open_connection("127.0.0.1", running.listener.port)
    found = []
    try:
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            if apart:
                await until(lambda: any(guard.handler is not None for guard in limits.open))
        for _ in range(answers):
            head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), PATIENCE_SECONDS)
            length = re.search(rb"(?i)content-length: (\d+)", head)
            body = await reader.readexactly(int(length[1])) if length else b""
            found.append(re.sub(rb"Date: [^\r]*", b"Date", head) + body)
    finally:
        writer.close()
    return found


def a_request(target: str, method: str = "GET", body: bytes = b"", **headers: str) -> bytes:
    lines = [f"{method} {target} HTTP/1.1", "Host: tracker.test", "User-Agent: Mozilla/5.0 Firefox/133.0"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    if body:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


BULK = b'{"requests": ["?idsite=1&rec=1&url=http://x/1", "?idsite=9&rec=1", "?idsite=1&rec=1&uid=%zz"]}'


@pytest.mark.parametrize(
    "request_bytes",
    [
        a_request(PIXEL),
        a_request(
            PIXEL + "&send_image=0&url=http%3A%2F%2Fx%2F", Accept_Language="de,EN", Referer="http://x/r"
        ),
        a_request(PIXEL, Origin="http://x", DNT="1", Cookie="mtm_consent_removed=1"),
        a_request(PIXEL, Cookie="a=b; _pk_uid=0123456789abcdef", X_Forwarded_For="198.51.100.7, 10.0.0.1"),
        a_request(PIXEL, Sec_CH_UA='"Chromium";v="120"', Sec_CH_UA_Mobile="?0", X_Purpose="preview"),
        a_request(PIXEL + f"&token_auth={TOKEN}&cip=198.51.100.9&debug=x"),
        a_request(PIXEL + "&country=de", Authorization=f"Bearer {TOKEN}"),
        a_request("/piwik.php?idsite=9&rec=1&send_image=0"),
        a_request("/matomo.php?idsite=1&rec=1&cid=short"),
        a_request("/matomo.php"),
        a_request("/matomo.php?"),
        a_request("/matomo.php", "POST", b"idsite=1&rec=1&action_name=\xc3\xa9", Content_Type="text/plain"),
        a_request("/matomo.php?idsite=1", "POST", b"idsite=9&rec=1&uid=bob"),
        a_request("/matomo.php", "POST", b" "),
        a_request("/matomo.php", "POST", BULK, Content_Type="application/json", Origin="http://x"),
        a_request(f"/matomo.php?token_auth={TOKEN}", "POST", BULK),
        a_request("/matomo.php", "POST", BULK[:-1]),
        a_request(PIXEL + "#fragment"),
        a_request(PIXEL, Expect="nothing"),
        a_request(PIXEL, X_Empty=""),
        a_request(PIXEL).replace(b"Host", b"hOST"),
        a_request(PIXEL).replace(b"User-Agent", b"DNT: 1\r\nDNT: 0\r\nUser-Agent"),
        a_request("/robots.txt"),
    ],
)
def test_a_request_in_one_piece_is_taken_and_answered_as_one_in_two(
    tmp_path: Path, request_bytes: bytes
) -> None:
    async def story(running: Running) -> None:
        one = await sent(running, request_bytes)
        two = await sent(running, request_bytes[:30], request_bytes[30:], apart=True)
        assert one == two
        hits = running.hits()
        assert len(hits) % 2 == 0
        half = len(hits) // 2
        changing = {"hit_id": 0, "received_at": 0, "time": 0, "owner": 0, "visitor_id": 0}
        plain = [msgspec.structs.replace(hit, **changing) for hit in hits]
        assert plain[:half] == plain[half:]

    run(tmp_path, story, trusted_proxies=("127.0.0.1", "10.0.0.0/8"))


def test_requests_sent_before_the_answer_are_answered_in_order(tmp_path: Path) -> None:
    async def story(running: Running) -> None:
        first, second = (
            a_request(PIXEL + "&send_image=0"),
            a_request("/matomo.php?idsite=9&rec=1&send_image=0"),
        )
        for pieces in (
            (first + second + first,),
            (first, second + first),
            (first, second[:20], second[20:] + first),
        ):
            found = await sent(running, *pieces, answers=3)
            assert [answer[9:12] for answer in found] == [b"204", b"400", b"204"]
        assert len(running.hits()) == 6

    run(tmp_path, story)


def test_what_is_under_way_is_answered_when_the_process_ends(tmp_path: Path) -> None:
    async def story(running: Running) -> None:
        _, idle = await asyncio.open_connection("127.0.0.1", running.listener.port)
        requests = [
            asyncio.create_task(sent(running, a_request(f"{PIXEL}&send_image=0&r={number}")))
            for number in range(20)
        ]
        await until(lambda: running.app[PROCESS].metrics.accepted > 0)
        await running.listener.stop()
        answered = await asyncio.gather(*requests, return_exceptions=True)
        got = [each for each in answered if isinstance(each, list)]
        assert all(answer.startswith(b"HTTP/1.1 204") for (answer,) in got)
        assert len(running.hits()) == len(got) > 0
        idle.close()

    run(tmp_path, story)


def test_an_unused_connection_is_closed_after_the_keepalive_time(tmp_path: Path) -> None:
    async def story(running: Running) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", running.listener.port)
        writer.write(a_request(PIXEL + "&send_image=0"))
        await reader.readuntil(b"\r\n\r\n")
        assert await asyncio.wait_for(reader.read(), PATIENCE_SECONDS) == b""
        assert running.app[PROCESS].metrics.cut_connections == 0
        writer.close()

    run(tmp_path, story, keepalive_timeout_s=0.1, client_timeout_s=0.2)


def test_connections_have_a_limit(tmp_path: Path) -> None:
    async def story(running: Running) -> None:
        open_ones = [await asyncio.open_connection("127.0.0.1", running.listener.port) for _ in range(3)]
        # The fourth is refused: the three before it are open, if idle.
        reader, writer = await asyncio.open_connection("127.0.0.1", running.listener.port)
        assert (await answer_of(reader)).startswith(b"HTTP/1.1 503")
        writer.close()
        for _, other in open_ones:
            other.close()
        async with asyncio.timeout(PATIENCE_SECONDS):
            while await refused(running):  # noqa: ASYNC110 - asks until the server noticed
                await asyncio.sleep(0.01)

    run(tmp_path, story, max_connections=3)
