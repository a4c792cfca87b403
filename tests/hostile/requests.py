"""Requests as no honest client sends them, seeded: raw bytes for a socket."""

import json
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from urllib.parse import quote_plus

from reporting.methods import METHODS
from schemas.parameters import PARAMETERS

NAMES = [parameter.name for parameter in PARAMETERS]
NUMBERS = (
    "0", "-0", "-1", "1e309", "-1e309", "NaN", "inf", "-Infinity", "0x10", "1_000", "१२३", "1,5", "1.5.5",
    " 7 ",
    "9" * 18, "9" * 19, "9" * 400, "-" + "9" * 30, "2147483648", "4294967296", "9223372036854775807",
    "18446744073709551616", "1e-400", "1e308", "4.9e-324", "٣", "½", "+5", "--5", "5e",
    "00000000000000000001",
)  # fmt: skip
DATES = (
    "0001-01-01", "9999-12-31 23:59:59", "2026-02-30", "2026-13-01", "1969-12-31", "0000-00-00 00:00:00",
    "2026-11-22T10:00:00+99:00", "2026-11-22T10:00:00-14:00", "-62135596800", "253402300800", "1e10", "now",
    "yesterday", "2026-W01-1", "20261122", "1700000000", "1700000000.5", "10:00", "2026-11-22 25:61:61",
)  # fmt: skip
TEXTS = (
    "", " ", "\0", "\x01\x02\x1f\x7f", "\ud800", "\udfff\ud800", "\ufffe\uffff", "\U0010ffff", "é" * 300,
    "a" * 5000,
    "%", "%%", "%zz", "%u0041", "%c3%28", "%ff%fe", "+", "&", "=", "#", "?", "\r\nX: y", "../../etc/passwd",
    "<script>alert(1)</script>", "' OR 1=1 --", "{{7*7}}", "${jndi:ldap://x}", "\u202e\u2066abc",
    "👩‍👩‍👧‍👦" * 50,
    "̀" * 500, "ﷺ" * 100, "ı", "ß", "Ŀ", "null", "undefined", "[object Object]", "true", "false", "Array",
)  # fmt: skip
URLS = (
    "http://", "http://[", "http://[::1", "http://[::1]:99999/", "http://a:b@c:d/", "//", "://",
    "javascript:alert(1)",
    "data:text/html,x", "http://example.org:99999999999/", "http://example.org/%ff%fe",
    "http://exa mple.org/",
    "http://example.org/" + "a/" * 3000, "http://example.org/?" + "a=b&" * 2000, "http://ex\u0301ample.org/",
    "http://xn--/", "http://xn--a" + "b" * 80 + "/", "http://" + "a." * 200 + "org/",
    "http://example.org#" + "#" * 50,
    "http://example.org/?q=%00", "HTTP://EXAMPLE.ORG/%2e%2e/%2f", "mailto:x@y", "http://1.2.3.4.5.6/",
    "http://０.com/",
    "http://example.org/\n", "http:\\\\example.org\\x", "http://example.org;a=b;c/?utm_campaign=\ud800",
)  # fmt: skip
ADDRESSES = (
    "::",
    "1.2.3",
    "999.1.1.1",
    "::ffff:1.2.3.4",
    "fe80::1%eth0",
    "1.2.3.4/33",
    "0x7f.1",
    "1.2.3.4,5.6.7.8",
    "",
)
METHODS_HTTP = (
    "GET",
    "POST",
    "HEAD",
    "PUT",
    "DELETE",
    "PATCH",
    "OPTIONS",
    "TRACE",
    "PROPFIND",
    "get",
    "G\x01T",
)
AGENTS = (
    "", "a" * 4000, "Mozilla/5.0 " + "(" * 500, "\xff\xfe",
    "Mozilla/5.0 (X11; Linux x86_64; rv:133.0) Firefox/133.0",
    "Mozilla/" + "9" * 200, "%00", "é" * 200, "[" * 100, "Mozilla/5.0 (Linux; Android " + "1." * 400 + ")",
)  # fmt: skip


@dataclass(frozen=True)
class Hostile:
    kind: str
    data: bytes
    ends_early: bool = False
    """The client goes away after sending it."""

    @property
    def is_question(self) -> bool:
        """To the Reporting API."""
        return "." in self.kind


class Generator:
    """`token` lets half of the hits through to where only authorised ones come."""

    def __init__(self, seed: int, token: str, site: str = "1") -> None:
        self._rng = random.Random(seed)
        self._token, self._site = token, site

    def tracking(self, count: int) -> Iterator[Hostile]:
        kinds = (
            (self._get, 30), (self._form, 14), (self._bulk, 14), (self._odd_json, 8),
            (self._many_parameters, 2),
            (self._multipart, 4), (self._raw_query, 8), (self._headers, 6), (self._framing, 6),
            (self._noise, 4),
            (self._odd_method, 4),
        )  # fmt: skip
        makers = [maker for maker, _ in kinds]
        weights = [weight for _, weight in kinds]
        for _ in range(count):
            yield self._rng.choices(makers, weights)[0]()

    # -- values ----------------------------------------------------------------------------------------

    def _random_text(self) -> str:
        rng = self._rng
        size = rng.choice((1, 3, 17, 16, 40, 300))
        top = rng.choice((0x7F, 0xFF, 0xFFFF, 0x10FFFF))
        return "".join(chr(rng.randint(0, top)) for _ in range(size))

    def value(self) -> str:
        rng = self._rng
        pool = rng.choice((NUMBERS, DATES, TEXTS, URLS, ADDRESSES, ("",), ("1",)))
        return self._random_text() if rng.random() < 0.15 else rng.choice(pool)

    def _json_value(self, depth: int = 0) -> object:
        rng = self._rng
        match rng.randint(0, 9 if depth < 4 else 5):
            case 0:
                return rng.choice((None, True, False))
            case 1:
                return rng.choice((0, -1, 1 << 70, -(1 << 63), 1.5, 1e308, float("inf"), float("nan")))
            case 2 | 3 | 4 | 5:
                return self.value()
            case 6 | 7:
                return [self._json_value(depth + 1) for _ in range(rng.randint(0, 5))]
            case _:
                return {self.value(): self._json_value(depth + 1) for _ in range(rng.randint(0, 5))}

    def fields(self) -> dict[str, str]:
        """Mostly a hit that can be accepted, with some values that nobody would send."""
        rng = self._rng
        found = {
            "idsite": self._site,
            "rec": "1",
            "url": "http://example.org/page",
            "_id": f"{rng.getrandbits(64):016x}",
        }
        for _ in range(rng.choice((1, 1, 2, 3, 8))):
            found[rng.choice(NAMES)] = self.value()
        if rng.random() < 0.1:
            found[self._random_text()] = self.value()
        if rng.random() < 0.2:
            found[f"dimension{rng.choice((1, 2, 3, 999, 10**30))}"] = self.value()
        if rng.random() < 0.2:
            for name in ("ec_items", "cvar", "_cvar", "e_cvar", "uadata"):
                if rng.random() < 0.4:
                    found[name] = self._json_text(self._json_value())
            found["ec_id"], found["idgoal"] = self.value(), "0"
        if rng.random() < 0.5:
            found["token_auth"] = self._token
        if rng.random() < 0.85:
            found["idsite"], found["rec"] = self._site, "1"
        return found

    @staticmethod
    def _json_text(value: object) -> str:
        return json.dumps(value, default=str)

    def _encoded(self, text: str) -> str:
        if self._rng.random() < 0.05:
            return text.encode("utf-8", "surrogatepass").decode("latin-1").replace(" ", "%20")
        return quote_plus(text.encode("utf-8", "surrogatepass"))

    def _query(self) -> str:
        return "&".join(
            f"{self._encoded(name)}={self._encoded(value)}" for name, value in self.fields().items()
        )

    # -- requests --------------------------------------------------------------------------------------

    def _get(self) -> Hostile:
        return Hostile("get", request("GET", f"/matomo.php?{self._query()}", self._agent()))

    def _form(self) -> Hostile:
        headers = {**self._agent(), "Content-Type": "application/x-www-form-urlencoded"}
        return Hostile("form", request("POST", "/matomo.php", headers, latin(self._query())))

    def _bulk(self) -> Hostile:
        rng = self._rng
        entries: list[object] = []
        for _ in range(rng.choice((0, 1, 5, 20))):
            form = rng.random()
            if form < 0.5:
                entries.append(f"?{self._query()}")
            elif form < 0.8:
                fields: dict[str, object] = dict(self.fields())
                fields[rng.choice(NAMES)] = self._json_value()
                entries.append(fields)
            else:
                entries.append(self._json_value())
        body: dict[str, object] = {"requests": entries}
        if rng.random() < 0.8:
            body["token_auth"] = self._token if rng.random() < 0.7 else self._json_value()
        if rng.random() < 0.2:
            body["send_image"] = self._json_value()
        return Hostile("bulk", request("POST", "/matomo.php", self._agent(), ascii_json(body)))

    def _odd_json(self) -> Hostile:
        rng = self._rng
        depth = rng.choice((10, 1000, 100_000))
        body = rng.choice(
            (
                b'{"requests":' + b"[" * depth + b"]" * depth + b"}",
                b'{"requests":' + b'{"a":' * depth + b"1" + b"}" * depth + b"}",
                b'{"requests":[' + b'"?idsite=1&rec=1",' * 50,
                b'{"requests":["?idsite=1&rec=1","\\ud800"]}',
                b'{"requests":["?idsite=1&rec=1&url=\xff\xfe"]}',
                b'{"requests":["?idsite=1&rec=1"],"requests":null}',
                b'{"requests":' + ascii_json(self._json_value()) + b"}",
                b'[{"requests":[]}]',
                b'\xef\xbb\xbf{"requests":["?idsite=1&rec=1"]}',
                b'{"requests":[' + b",".join([b"null"] * 3000) + b"]}",
                b'{"requests":[' + b"9" * 5000 + b"]}",
                '{"requests":["?idsite=1&rec=1"]}'.encode("utf-16"),
            )
        )
        return Hostile("odd json", request("POST", "/matomo.php", self._agent(), body))

    def _many_parameters(self) -> Hostile:
        rng = self._rng
        query = "&".join(f"p{number}={number}" for number in range(rng.choice((500, 2000, 5000))))
        wanted = f"idsite={self._site}&rec=1&url=http://example.org/?{quote_plus(query)}&{query}"
        if rng.random() < 0.5:
            return Hostile("many parameters", request("POST", "/matomo.php", self._agent(), wanted.encode()))
        return Hostile("many parameters", request("GET", f"/matomo.php?{wanted}", self._agent()))

    def _multipart(self) -> Hostile:
        rng = self._rng
        boundary = rng.choice(("x", "", 'a"b', "-" * 80))
        parts = b"".join(
            b'--%s\r\nContent-Disposition: form-data; name="%s"\r\n\r\n%s\r\n'
            % (boundary.encode(), latin(name)[:50], latin(value))
            for name, value in self.fields().items()
        )
        ending = rng.choice((f"--{boundary}--\r\n".encode(), b"", b"--"))
        headers = {**self._agent(), "Content-Type": f"multipart/form-data; boundary={boundary}"}
        return Hostile("multipart", request("POST", "/matomo.php", headers, parts + ending))

    def _raw_query(self) -> Hostile:
        """Bytes as they are, without encoding; blanks and line ends would end the request line."""
        raw = bytes(self._rng.randint(33, 255) for _ in range(self._rng.choice((1, 20, 300))))
        target = (
            b"/matomo.php?idsite=%s&rec=1&%s=" % (self._site.encode(), self._rng.choice(NAMES).encode()) + raw
        )
        return Hostile("raw query", b"GET " + target + b" HTTP/1.1\r\nHost: x\r\n\r\n")

    def _headers(self) -> Hostile:
        rng = self._rng
        headers = self._agent()
        for name in ("X-Forwarded-For", "Cookie", "Referer", "Accept-Language", "Origin", "Authorization",
        "DNT",
                     "X-Purpose", "Sec-CH-UA", "Sec-CH-UA-Platform", "X-Forwarded-Proto",
                     "Content-Type"):  # fmt: skip
            if rng.random() < 0.4:
                headers[name] = one_line(self.value())
        if rng.random() < 0.05:
            headers["X-Long"] = "x" * rng.choice((8000, 9000, 70_000))
        query = f"idsite={self._site}&rec=1&url=http://example.org/headers"
        return Hostile("headers", request("GET", f"/matomo.php?{query}", headers))

    def _framing(self) -> Hostile:
        rng = self._rng
        post = b"POST /matomo.php HTTP/1.1\r\nHost: x\r\n"
        query = f"idsite={self._site}&rec=1".encode()
        data, ends_early = rng.choice(
            (
                (post + b"Content-Length: 1000\r\n\r\n" + query, True),
                (post + b"Content-Length: -5\r\n\r\n" + query, False),
                (post + b"Content-Length: abc\r\n\r\n" + query, False),
                (post + b"Content-Length: 99999999999\r\n\r\n" + query, True),
                (post + b"Transfer-Encoding: chunked\r\n\r\nZZ\r\n" + query, False),
                (post + b"Transfer-Encoding: chunked\r\n\r\n5\r\nab", True),
                (post + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n", False),
                (post + b"Content-Encoding: gzip\r\nContent-Length: 4\r\n\r\n\x1f\x8b\x00\x00", False),
                (post + b"Content-Encoding: br\r\nContent-Length: 4\r\n\r\nabcd", False),
                (b"GET /matomo.php?" + query + b" HTTP/9.9\r\n\r\n", False),
                (b"GET /matomo.php?" + query + b"\r\n\r\n", False),
                (b"GET /matomo.php?" + query, True),
                (b"GET http://[/matomo.php?" + query + b" HTTP/1.1\r\nHost: x\r\n\r\n", False),
                (b"GET //[/matomo.php?" + query + b" HTTP/1.1\r\nHost: x\r\n\r\n", False),
                (b"GET * HTTP/1.1\r\nHost: x\r\n\r\n", False),
                (b"CONNECT example.org:443 HTTP/1.1\r\nHost: x\r\n\r\n", False),
            )
        )
        return Hostile("framing", data, ends_early)

    def _noise(self) -> Hostile:
        noise = self._rng.randbytes(self._rng.choice((1, 10, 200, 5000)))
        # Line ends alone are no request that anybody would answer.
        return Hostile("noise", noise + b"\r\n\r\n", ends_early=not noise.strip())

    def _odd_method(self) -> Hostile:
        rng = self._rng
        body = rng.choice((b"", latin(self._query())))
        path = rng.choice(
            ("/matomo.php", "/piwik.php", "/matomo.php/", "/MATOMO.PHP", "/robots.txt", "/health/ready")
        )
        return Hostile(
            "odd method", request(rng.choice(METHODS_HTTP), f"{path}?{self._query()}", self._agent(), body)
        )

    def _agent(self) -> dict[str, str]:
        return {"User-Agent": self._rng.choice(AGENTS)}

    # -- questions to the Reporting API ----------------------------------------------------------------

    def questions(self, count: int) -> Iterator[Hostile]:
        """Reading methods with parameters nobody would send."""
        names = sorted(name for name in METHODS if name.partition(".")[2].startswith(("get", "is")))
        for _ in range(count):
            yield self._question(self._rng.choice(names), self._site, ())

    def changes(self, count: int, site: str) -> Iterator[Hostile]:
        """Methods that write, on a site of their own."""
        names = sorted(
            name
            for name in METHODS
            if name.partition(".")[2].startswith(("add", "update", "configure", "set", "create"))
        )
        for _ in range(count):
            yield self._question(self._rng.choice(names), site, WRITE_NAMES)

    def _question(self, method: str, site: str, own_names: Sequence[str]) -> Hostile:
        rng = self._rng
        fields = {
            "module": "API",
            "method": method,
            "idSite": site,
            "period": rng.choice(("day", "week", "month", "year", "range")),
            "date": rng.choice(("today", "yesterday", "last3", "previous2", "2026-11-01,2026-11-22")),
            "format": rng.choice(("json", "xml", "csv", "tsv", "html", "rss", "original")),
            "token_auth": self._token,
        }
        for name in [
            *(name for name in QUESTION_NAMES if rng.random() < 0.08),
            *(name for name in own_names if rng.random() < 0.6),
        ]:
            fields[name] = self._question_value(name)
        for name in ("period", "date", "format", "idSite"):
            if rng.random() < 0.08 and (name != "idSite" or site == self._site):
                fields[name] = self.value()
        if rng.random() < 0.1:
            fields[self._random_text()] = self.value()
        if rng.random() < 0.1:
            body = ascii_json({**fields, rng.choice(QUESTION_NAMES): self._json_value()})
            headers = {"Content-Type": "application/json"}
            return Hostile(method, request("POST", "/index.php", headers, body))
        query = "&".join(f"{self._encoded(name)}={self._encoded(value)}" for name, value in fields.items())
        if rng.random() < 0.5:
            return Hostile(method, request("GET", f"/index.php?{query}", {}))
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        return Hostile(method, request("POST", "/index.php", headers, latin(query)))

    def _question_value(self, name: str) -> str:
        rng = self._rng
        if name == "segment" and rng.random() < 0.8:
            left = rng.choice(
                ("pageUrl", "visitCount", "browserCode", "countryCode", "dimension1", "nosuch", "", "actions")
            )
            sign = rng.choice(("==", "!=", "=@", "!@", ">", "<", ">=", "=^", "=$", "=", "~"))
            joined = rng.choice((";", ",", ";;", ",;"))
            return joined.join(f"{left}{sign}{self.value()}" for _ in range(rng.choice((1, 2, 30))))
        if rng.random() < 0.3:
            return rng.choice(
                ("1", "2", "url", "title", "visit", "contains", "regex", "[(", "(a+)+$", "a{1,99999}", "UTC")
            )
        return self.value()


QUESTION_NAMES = (
    "segment", "filter_limit", "filter_offset", "filter_sort_column", "filter_sort_order", "filter_pattern",
    "filter_column", "filter_truncate", "filter_excludelowpop", "filter_excludelowpop_value", "flat",
    "expanded",
    "idSubtable", "label", "labelSeries", "showColumns", "hideColumns", "columns", "language",
    "translateColumnNames",
    "idGoal", "idGoals", "idDimension", "pageUrl", "pageName", "actionName", "actionType",
    "limitBeforeGrouping",
    "lastMinutes", "minTimestamp", "visitorId", "doNotFetchActions", "secondaryDimension", "flattenedLabels",
    "filter_pattern_recursive", "filter_column_recursive", "urls", "apiModule", "apiAction", "format_metrics",
    "serialize", "convertToUnicode", "compareDates", "comparePeriods", "compareSegments", "keep_totals_row",
    "pivotBy", "pivotByColumn", "disable_generic_filters", "disable_queued_filters", "include_aggregate_rows",
    "filter_update_columns_when_show_all_goals", "filter_show_goal_columns_process_goals", "idSites",
    "countVisitorsToFetch",
)  # fmt: skip
WRITE_NAMES = (
    "siteName", "urls", "ecommerce", "siteSearch", "searchKeywordParameters", "searchCategoryParameters",
    "excludedIps", "excludedQueryParameters", "timezone", "currency", "group", "startDate",
    "excludedUserAgents",
    "keepURLFragments", "type", "settingValues", "excludeUnknownUrls", "excludedReferrers", "name",
    "matchAttribute", "pattern", "patternType", "caseSensitive", "revenue",
    "allowMultipleConversionsPerVisit",
    "description", "useEventValueAsRevenue", "scope", "active", "extractions", "definition", "autoArchive",
    "enabledAllUsers", "userLogin", "password", "email", "access", "hasSuperUserAccess", "note", "starred",
    "ip",
    "userAgents", "dimension1", "oldGroupName", "newGroupName", "idSegment", "idNote",
)  # fmt: skip


def request(method: str, target: str, headers: dict[str, str], body: bytes = b"") -> bytes:
    lines = [f"{method} {target} HTTP/1.1", "Host: 127.0.0.1"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    if body:
        lines.append(f"Content-Length: {len(body)}")
    return latin("\r\n".join(lines)) + b"\r\n\r\n" + body


def latin(text: str) -> bytes:
    return text.encode("latin-1", "replace")


def one_line(text: str) -> str:
    return (
        text.encode("utf-8", "surrogatepass")
        .decode("latin-1")
        .replace("\r", " ")
        .replace("\n", " ")
        .replace("\0", " ")
    )


def ascii_json(value: object) -> bytes:
    return json.dumps(value, default=str).encode()
