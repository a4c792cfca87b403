"""Reads web server access logs: a line becomes a request, a request a hit or a reason to leave it out.

Formats: combined and common (Apache, nginx), the same with the virtual host in front, JSON lines.
"""

import json
import re
import urllib.parse
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from typing import Literal

import msgspec

LogFormat = Literal["combined", "vhost", "json"]

_QUOTED = r'"([^"\\]*(?:\\.[^"\\]*)*)"'
_COMBINED = (
    rf"(\S+) \S+ (.*?) \[([^\]]+)\] {_QUOTED} (\d{{3}}) (\d+|-)(?: {_QUOTED} {_QUOTED})?"
    # ip, user, time, request, status, size, referer, agent
)
COMBINED = re.compile(_COMBINED)
# A client is never "-", which is what follows the client's address when no host stands in front.
VHOST = re.compile(r"([^\s:]+)(?::\d+)? (?!- )" + _COMBINED)

_MONTHS = {
    "Jan": 1, "Feb": 2, "Mar": 3, "Apr": 4, "May": 5, "Jun": 6,
    "Jul": 7, "Aug": 8, "Sep": 9, "Oct": 10, "Nov": 11, "Dec": 12,
}  # fmt: skip
_TIME = re.compile(r"(\d{1,2})/(\w{3})/(\d{4}):(\d{2}):(\d{2}):(\d{2})(?:\.\d+)?(?: ([+-])(\d{2})(\d{2}))?")

JSON_FIELDS: Mapping[str, tuple[str, ...]] = {
    "ip": ("ip", "remote_addr", "client_ip", "clientip"),
    "time": ("date", "time", "time_iso8601", "timestamp", "@timestamp", "time_local"),
    "method": ("method", "request_method"),
    "path": ("path", "request_uri", "uri", "url"),
    "request": ("request",),
    "status": ("status", "response"),
    "referer": ("referrer", "referer", "http_referer"),
    "agent": ("user_agent", "http_user_agent", "agent"),
    "host": ("host", "http_host", "server_name", "vhost"),
    "size": ("length", "size", "bytes_sent", "body_bytes_sent", "bytes"),
    "user": ("userid", "remote_user", "user"),
    "seconds": ("generation_time_secs", "request_time"),
}
"""Names that servers give to what we read, first match wins."""

STATIC = frozenset(
    {
        "3gp", "aif", "aiff", "avif", "bmp", "css", "cur", "eot", "flac", "gif", "heic", "ico", "jpeg",
        "jpg", "js", "json", "jxl", "less", "m4a", "m4v", "map", "mid", "mjs", "mov", "mp3", "mp4",
        "mpeg", "mpg", "oga", "ogg", "ogv", "otf", "png", "scss", "svg", "svgz", "swf", "tif", "tiff",
        "ttf", "wav", "webm", "webmanifest", "webp", "wmv", "woff", "woff2",
    }
)  # fmt: skip
DOWNLOADS = frozenset(
    {
        "7z", "aac", "apk", "arc", "arj", "asc", "asf", "asx", "avi", "azw3", "bin", "csv", "deb",
        "dmg", "doc", "docx", "epub", "exe", "flv", "gz", "gzip", "hqx", "img", "ipa", "iso", "jar",
        "mobi", "msi", "msp", "odb", "odf", "odg", "odp", "ods", "odt", "pdf", "pkg", "ppt", "pptx",
        "qt", "qtm", "ra", "ram", "rar", "rpm", "rtf", "sea", "sit", "tar", "tbz", "tbz2", "tgz",
        "torrent", "txt", "vcard", "wma", "xls", "xlsx", "xml", "xsd", "z", "zip", "zst",
    }
)  # fmt: skip


class LogRequest(msgspec.Struct, frozen=True, kw_only=True):
    """One request that a web server logged. `time` is aware; texts are empty where the log has none."""

    ip: str
    time: datetime
    method: str
    path: str
    status: int
    referer: str = ""
    agent: str = ""
    host: str = ""
    user: str = ""
    size: int = -1
    milliseconds: int = -1
    """How long the server took; -1 when not logged."""


@dataclass(frozen=True)
class Choice:
    """What counts: the flags of the command."""

    static: bool = False
    bots: bool = False
    errors: bool = False
    redirects: bool = False
    json_fields: Mapping[str, str] = field(default_factory=dict)


@lru_cache(maxsize=4096)
def parse_time(text: str) -> datetime | None:
    """Apache's `17/May/2015:10:05:03 +0000`, ISO 8601 or unix seconds; without an offset it is UTC."""
    if found := _TIME.fullmatch(text):
        day, month, year, hour, minute, second, sign, hours, minutes = found.groups()
        offset = f"{sign}{hours}:{minutes}" if sign else "+00:00"
        month_number = _MONTHS.get(month)
        if month_number is None:
            return None
        text = f"{year}-{month_number:02d}-{int(day):02d}T{hour}:{minute}:{second}{offset}"
    try:
        if re.fullmatch(r"\d{9,11}(\.\d+)?", text):
            return datetime.fromtimestamp(float(text), UTC)
        at = datetime.fromisoformat(text)
    except (ValueError, OverflowError):
        return None
    return at if at.tzinfo else at.replace(tzinfo=UTC)


def _unescape(text: str) -> str:
    """Apache writes quotes, backslashes and bytes outside ASCII as \\" \\\\ \\xhh."""
    if "\\" not in text:
        return "" if text == "-" else text
    raw = re.sub(
        rb"\\(?:x([0-9A-Fa-f]{2})|(.))",
        lambda match: bytes.fromhex(match[1].decode()) if match[1] else match[2],
        text.encode("utf-8", "surrogateescape"),
    )
    return raw.decode("utf-8", "replace")


def _split_request(request: str) -> tuple[str, str] | None:
    """Method and path of `GET /path HTTP/1.1`; None for what is no HTTP request (port scans, TLS)."""
    method, _, rest = request.partition(" ")
    path, _, protocol = rest.rpartition(" ")
    if not path:
        path, protocol = rest, "HTTP/0.9"
    if not method.isalpha() or not method.isupper() or not path or not protocol.startswith("HTTP/"):
        return None
    return method, path


def parse_line(line: str, kind: LogFormat, json_fields: Mapping[str, str] | None = None) -> LogRequest | None:
    """None when the line is not of this format."""
    if kind == "json":
        return _parse_json(line, json_fields or {})
    host = ""
    if kind == "vhost":
        found = VHOST.match(line)
        if found is None:
            return None
        host, ip, user, time, asked, status, size, referer, agent = found.groups()
    else:
        found = COMBINED.match(line)
        if found is None:
            return None
        ip, user, time, asked, status, size, referer, agent = found.groups()
    at = parse_time(time)
    request = _split_request(_unescape(asked))
    if at is None or request is None:
        return None
    return LogRequest(
        ip=ip,
        time=at,
        method=request[0],
        path=request[1],
        status=int(status),
        referer=_unescape(referer or ""),
        agent=_unescape(agent or ""),
        host=host,
        user=_unescape(user),
        size=int(size) if size.isdigit() else -1,
    )


def _parse_json(line: str, json_fields: Mapping[str, str]) -> LogRequest | None:
    try:
        row = json.loads(line)
    except ValueError:
        return None
    if not isinstance(row, dict):
        return None

    def value(name: str) -> str:
        names = (json_fields[name],) if name in json_fields else JSON_FIELDS[name]
        for key in names:
            if row.get(key) not in (None, "", "-"):
                return str(row[key])
        return ""

    method, path = value("method") or "GET", value("path")
    if not path:
        split = _split_request(value("request"))
        if split is None:
            return None
        method, path = split
    at = parse_time(value("time"))
    status, size, seconds = value("status") or "200", value("size"), value("seconds")
    if at is None or not status.isdigit() or not value("ip"):
        return None
    return LogRequest(
        ip=value("ip"),
        time=at,
        method=method.upper(),
        path=path,
        status=int(status),
        referer=value("referer"),
        agent=value("agent"),
        host=value("host").partition(":")[0],
        user=value("user"),
        size=int(size) if size.isdigit() else -1,
        milliseconds=round(float(seconds) * 1000) if re.fullmatch(r"\d+(\.\d+)?", seconds) else -1,
    )


def detect_format(lines: list[str]) -> LogFormat | None:
    """The format that reads most of these first lines; None when none reads half of them."""
    # A line with a host in front also reads as combined, with the address as a user: the stricter one first.
    formats: tuple[LogFormat, ...] = ("vhost", "combined", "json")
    counts = {kind: sum(parse_line(line, kind) is not None for line in lines) for kind in formats}
    best = max(counts, key=lambda kind: counts[kind])
    return best if lines and counts[best] * 2 >= len(lines) else None


def _extension(path: str) -> str:
    name = path.partition("?")[0].rpartition("/")[2]
    return name.rpartition(".")[2].lower() if "." in name else ""


def reason_to_skip(request: LogRequest, choice: Choice) -> str:
    """Why the request is no hit, or empty. Bots are left to the instance, which counts them by reason."""
    if request.method not in ("GET", "POST"):
        return "method"
    if request.status >= 400 and not choice.errors:
        return "error"
    # 304 is an answer from the browser's cache: the visitor saw the page.
    if 300 <= request.status < 400 and request.status != 304 and not choice.redirects:
        return "redirect"
    if not choice.static and (
        _extension(request.path) in STATIC
        or urllib.parse.urlsplit(request.path).path in ("/robots.txt", "/favicon.ico")
    ):
        return "static"
    return ""


def page_url(request: LogRequest, base: str) -> str:
    """The whole URL; `base` is the site's address, used where the log has no host."""
    if request.path.startswith(("http://", "https://")):
        return request.path
    if request.host:
        scheme = base.partition("://")[0] if "://" in base else "http"
        return f"{scheme}://{request.host}{request.path}"
    return base.rstrip("/") + request.path


def hit_query(request: LogRequest, *, site: int, base: str, choice: Choice, line_id: str) -> str:
    """The tracking request, percent-encoded, that stands for a logged request.

    `line_id` names file and line: it comes back in the raw hits, so that an interrupted import knows what
    had arrived."""
    url = page_url(request, base)
    query = (
        f"?idsite={site}&rec=1&apiv=1&url={_quoted(url)}&cip={_quoted(request.ip)}"
        f"&cdt={int(request.time.timestamp())}&ua={_quoted(request.agent)}&hs_line={line_id}"
    )
    if request.referer:
        query += f"&urlref={_quoted(request.referer)}"
    if request.user:
        query += f"&uid={_quoted(request.user)}"
    if request.size >= 0:
        query += f"&bw_bytes={request.size}"
    if request.milliseconds >= 0:
        query += f"&pf_srv={request.milliseconds}"
    if choice.bots:
        query += "&bots=1"
    if request.status >= 400:
        name = f"{request.status}/URL = {url}" + (f"/From = {request.referer}" if request.referer else "")
        query += f"&action_name={_quoted(name)}"
    elif _extension(request.path) in DOWNLOADS:
        query += f"&download={_quoted(url)}"
    return query


def _quote(text: str) -> str:
    return urllib.parse.quote_plus(text, errors="replace")


def _quoted(text: str) -> str:
    return _quoted_cached(text) if len(text) <= _LONGEST_CACHED else _quote(text)


_LONGEST_CACHED = 1024
_quoted_cached = lru_cache(maxsize=32768)(_quote)
"""Pages, agents and addresses come again and again: 0.1 us against 6 us for a URL."""
