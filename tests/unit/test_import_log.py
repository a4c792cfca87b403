"""Access log lines: formats, what counts, and the hit that is sent."""

import json
from datetime import UTC, datetime
from urllib.parse import parse_qs

import pytest

from hitstream.import_log import (
    Choice,
    LogRequest,
    detect_format,
    hit_query,
    page_url,
    parse_line,
    parse_time,
    reason_to_skip,
)

COMBINED = (
    '83.149.9.216 - - [17/May/2015:10:05:03 +0200] "GET /a%20b?x=1 HTTP/1.1" 200 203023 '
    '"http://example.org/from" "Mozilla/5.0 (X11; Linux x86_64)"'
)


def a_request(**changes: object) -> LogRequest:
    fields: dict[str, object] = {
        "ip": "192.0.2.1",
        "time": datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
        "method": "GET",
        "path": "/page",
        "status": 200,
    }
    return LogRequest(**{**fields, **changes})  # type: ignore[arg-type]


def sent(request: LogRequest, **changes: object) -> dict[str, str]:
    choice = Choice(**changes)  # type: ignore[arg-type]
    query = hit_query(request, site=3, base="https://example.org/", choice=choice, line_id="f.0.7")
    return {
        name: values[0] for name, values in parse_qs(query.removeprefix("?"), keep_blank_values=True).items()
    }


def test_a_combined_line_is_read_whole() -> None:
    assert parse_line(COMBINED, "combined") == LogRequest(
        ip="83.149.9.216",
        time=datetime(2015, 5, 17, 8, 5, 3, tzinfo=UTC),
        method="GET",
        path="/a%20b?x=1",
        status=200,
        referer="http://example.org/from",
        agent="Mozilla/5.0 (X11; Linux x86_64)",
        size=203023,
    )


def test_a_common_line_has_no_referrer_and_agent() -> None:
    request = parse_line('::1 - bob [01/Jan/2026:00:00:00 +0000] "POST / HTTP/2.0" 302 -', "combined")
    assert request is not None
    assert (request.user, request.referer, request.agent, request.size) == ("bob", "", "", -1)


def test_a_virtual_host_stands_in_front_with_or_without_port() -> None:
    for host in ("www.example.org", "www.example.org:443"):
        request = parse_line(f"{host} {COMBINED}", "vhost")
        assert request is not None
        assert request.host == "www.example.org"


def test_quotes_and_bytes_escaped_by_apache_are_restored() -> None:
    line = '1.2.3.4 - - [01/Jan/2026:00:00:00 +0000] "GET /\\xc3\\xa9 HTTP/1.1" 200 1 "-" "a \\"b\\" \\\\ c"'
    request = parse_line(line, "combined")
    assert request is not None
    assert (request.path, request.agent, request.referer) == ("/é", 'a "b" \\ c', "")


@pytest.mark.parametrize(
    "request_text", ["-", "", "\\x16\\x03\\x01", "GET", "quit", "GET / ICY/1.0", "get / HTTP/1.1"]
)
def test_what_is_no_http_request_is_unreadable(request_text: str) -> None:
    line = f'1.2.3.4 - - [01/Jan/2026:00:00:00 +0000] "{request_text}" 400 0 "-" "-"'
    assert parse_line(line, "combined") is None


def test_json_lines_are_read_with_the_names_of_nginx() -> None:
    row = {
        "time_iso8601": "2026-01-02T03:04:05+01:00",
        "remote_addr": "192.0.2.9",
        "request": "GET /x?y=1 HTTP/1.1",
        "status": 200,
        "body_bytes_sent": 12,
        "http_referer": "-",
        "http_user_agent": "agent",
        "host": "example.org:8080",
        "request_time": "0.250",
    }
    request = parse_line(json.dumps(row), "json")
    assert request is not None
    assert request.time == datetime(2026, 1, 2, 2, 4, 5, tzinfo=UTC)
    assert (request.path, request.host, request.milliseconds, request.referer) == (
        "/x?y=1",
        "example.org",
        250,
        "",
    )


def test_json_fields_can_be_named() -> None:
    row = {"when": "1767323045", "who": "192.0.2.9", "uri": "/x", "status": "204"}
    request = parse_line(json.dumps(row), "json", {"time": "when", "ip": "who"})
    assert request is not None
    assert (request.ip, request.time.timestamp(), request.method) == ("192.0.2.9", 1767323045, "GET")


@pytest.mark.parametrize("text", ["32/Jan/2026:00:00:00 +0000", "01/Foo/2026:00:00:00 +0000", "soon", ""])
def test_an_impossible_time_is_none(text: str) -> None:
    assert parse_time(text) is None


def test_the_format_is_found_by_what_reads_most_lines() -> None:
    assert detect_format([COMBINED, "garbage", COMBINED]) == "combined"
    assert detect_format([f"example.org {COMBINED}"]) == "vhost"
    assert detect_format(['{"time":"2026-01-01T00:00:00Z","ip":"::1","path":"/","status":"200"}']) == "json"
    assert detect_format(["garbage", "more", COMBINED]) is None
    assert detect_format([]) is None


@pytest.mark.parametrize(
    ("changes", "choice", "reason"),
    [
        ({}, Choice(), ""),
        ({"method": "POST"}, Choice(), ""),
        ({"method": "HEAD"}, Choice(), "method"),
        ({"status": 399}, Choice(), "redirect"),
        ({"status": 400}, Choice(), "error"),
        ({"status": 404}, Choice(errors=True), ""),
        ({"status": 301}, Choice(), "redirect"),
        ({"status": 301}, Choice(redirects=True), ""),
        ({"status": 304}, Choice(), ""),
        ({"path": "/a/b.PNG?x=y.html"}, Choice(), "static"),
        ({"path": "/a/b.png"}, Choice(static=True), ""),
        ({"path": "/page?file=b.png"}, Choice(), ""),
        ({"path": "/robots.txt"}, Choice(), "static"),
        ({"path": "/file.pdf"}, Choice(), ""),
    ],
)
def test_what_counts(changes: dict[str, object], choice: Choice, reason: str) -> None:
    assert reason_to_skip(a_request(**changes), choice) == reason


def test_the_url_takes_the_logged_host_before_the_address_of_the_site() -> None:
    assert page_url(a_request(), "https://example.org/") == "https://example.org/page"
    assert (
        page_url(a_request(host="shop.example.org"), "https://example.org") == "https://shop.example.org/page"
    )
    assert page_url(a_request(path="http://other/x"), "https://example.org") == "http://other/x"


def test_a_hit_carries_time_address_agent_and_its_line() -> None:
    fields = sent(a_request(agent="Agent/1.0", referer="http://from/", size=10, user="ann"))
    assert fields == {
        "idsite": "3",
        "rec": "1",
        "apiv": "1",
        "url": "https://example.org/page",
        "cip": "192.0.2.1",
        "cdt": "1767323045",
        "ua": "Agent/1.0",
        "hs_line": "f.0.7",
        "urlref": "http://from/",
        "uid": "ann",
        "bw_bytes": "10",
    }


def test_a_file_to_keep_is_a_download_and_an_error_has_a_title_that_says_so() -> None:
    assert sent(a_request(path="/a.pdf"))["download"] == "https://example.org/a.pdf"
    assert (
        sent(a_request(status=404, referer="http://f/"))["action_name"]
        == "404/URL = https://example.org/page/From = http://f/"
    )
    assert sent(a_request(), bots=True)["bots"] == "1"


def test_half_a_character_in_a_json_line_is_replaced() -> None:
    assert sent(a_request(agent="a\ud800b"))["ua"] == "a?b"
