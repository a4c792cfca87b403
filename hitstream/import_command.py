"""`hitstream import-log`: sends the requests of access logs as hits, each once."""

import argparse
import gzip
import hashlib
import io
import json
import shutil
import sys
import tempfile
import time
import urllib.parse
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import msgspec

from hitstream.client import InstanceClient, InstanceError, find_instance
from hitstream.import_journal import ImportRecord, begun, committed, file_id_of
from hitstream.import_log import (
    JSON_FIELDS,
    Choice,
    LogFormat,
    LogRequest,
    detect_format,
    hit_query,
    parse_line,
    reason_to_skip,
)
from hitstream.settings import ClientSettings
from schemas.settings import load_settings

BATCHES_PER_CHECKPOINT = 10
DETECT_LINES = 100
PROGRESS_SECONDS = 1.0
ATTEMPTS, PAUSE_SECONDS = 8, 0.5
"""While the instance says 503 (full, or starting) the same batch is offered again, with doubled pauses."""


class LogImportError(Exception):
    """A file or an option can't be used; the message names it."""


@dataclass(frozen=True)
class Site:
    """What the importer needs of a site."""

    site_id: int
    base: str
    hosts: frozenset[str]


@dataclass
class Tally:
    """What became of the lines so far."""

    lines: int = 0
    sent: int = 0
    invalid: int = 0
    known: int = 0
    skipped: Counter[str] = field(default_factory=Counter)


class LogFile:
    """A log that can be read several times from its start; gzip is recognised by its first bytes."""

    def __init__(self, name: str) -> None:
        self.name = "standard input" if name == "-" else name
        self._path: Path | None = None if name == "-" else Path(name)
        self._spool: IO[bytes] | None = None
        self._raw: IO[bytes] | None = None
        if self._path is None:
            # Resuming reads the start twice, which a pipe can't do.
            self._spool = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as this object
            shutil.copyfileobj(sys.stdin.buffer, self._spool)
        self.size = self._open_raw().seek(0, io.SEEK_END)

    def _open_raw(self) -> IO[bytes]:
        if self._spool is not None:
            self._spool.seek(0)
            return self._spool
        assert self._path is not None
        try:
            return self._path.open("rb")
        except OSError as error:
            raise LogImportError(f"can't read {self._path}: {error.strerror}") from None

    def position(self) -> int:
        """Bytes of the (compressed) file read so far."""
        return self._raw.tell() if self._raw is not None else 0

    def lines(self) -> Iterator[bytes]:
        """Lines with their ends, from the start."""
        raw = self._raw = self._open_raw()
        magic = raw.read(2)
        raw.seek(0)
        source: IO[bytes] = gzip.GzipFile(fileobj=raw) if magic == b"\x1f\x8b" else raw  # type: ignore[assignment]
        try:
            yield from source
        except (OSError, EOFError, gzip.BadGzipFile) as error:
            raise LogImportError(f"{self.name} is damaged: {error}") from None
        finally:
            if self._spool is None:
                raw.close()


def whole_lines(lines: Iterator[bytes]) -> Iterator[bytes]:
    """Without a last line that the server has not finished writing."""
    for line in lines:
        if line.endswith(b"\n") or line.rstrip().endswith((b'"', b"}")):
            yield line.rstrip(b"\r\n")


def first_lines(file: LogFile, count: int) -> list[bytes]:
    """At most `count` lines."""
    found = []
    for line in whole_lines(file.lines()):
        found.append(line)
        if len(found) == count:
            break
    return found


def matching_record(file: LogFile, records: Sequence[ImportRecord]) -> ImportRecord | None:
    """The record whose lines are the first lines of the file, the longest first."""
    wanted = {record.lines for record in records}
    digests = {0: hashlib.sha256().hexdigest()}
    hasher, last = hashlib.sha256(), max(wanted, default=0)
    for number, line in enumerate(whole_lines(file.lines()), start=1):
        if number > last:
            break
        hasher.update(line + b"\n")
        if number in wanted:
            digests[number] = hasher.hexdigest()
    for record in sorted(records, key=lambda record: record.lines, reverse=True):
        if record.lines == 0 or digests.get(record.lines) == record.digest:
            return record
    return None


class Importer:
    """Imports files one after the other into one instance."""

    def __init__(self, client: InstanceClient, options: argparse.Namespace) -> None:
        self._client = client
        self._batch = max(1, int(options.batch))
        self._again = bool(options.again)
        self._quiet = bool(options.quiet)
        self._kind: LogFormat | None = None if options.format == "auto" else options.format
        self._choice = Choice(
            static=options.static,
            bots=options.bots,
            errors=options.errors,
            redirects=options.redirects,
            json_fields=json_fields(options.json_field),
        )
        self._sites = self._read_sites()
        self._site = int(options.site)
        if self._site and self._site not in self._sites:
            raise LogImportError(
                f"there is no site {self._site}; known: {', '.join(map(str, self._sites)) or 'none'}"
            )

    def _read_sites(self) -> dict[int, Site]:
        found = self._client.json("GET", "/hitstream/sites")["sites"]
        sites = {}
        for row in found:
            hosts = {urllib.parse.urlsplit(url).hostname or "" for url in row["urls"]}
            base = row["urls"][0] if row["urls"] else "http://localhost"
            sites[int(row["id"])] = Site(int(row["id"]), base, frozenset(bare_host(host) for host in hosts))
        return sites

    def _site_of(self, request: LogRequest) -> Site | None:
        if self._site:
            return self._sites[self._site]
        if request.host:
            host = bare_host(request.host)
            return next((site for site in self._sites.values() if host in site.hosts), None)
        if len(self._sites) == 1:
            return next(iter(self._sites.values()))
        raise LogImportError("the log names no hosts and there are several sites: say which with --site")

    def run(self, name: str) -> Tally:
        """Import one file; returns what became of its lines. Raises LogImportError, InstanceError."""
        file = LogFile(name)
        head = first_lines(file, DETECT_LINES)
        tally = Tally()
        if not head:
            return tally
        kind = self._kind or detect_format([line.decode("utf-8", "replace") for line in head])
        if kind is None:
            raise LogImportError(
                f"{file.name}: not a format that is known (first line: {head[0][:120]!r}); "
                "expected combined, common, vhost or JSON lines: say which with --format"
            )
        record, seen = self._start(file, head[0])
        self._send_file(file, kind, record, seen, tally)
        return tally

    def _start(self, file: LogFile, first_line: bytes) -> tuple[ImportRecord, set[int]]:
        """Where to go on, and which of the lines under way had arrived."""
        file_id, scope = file_id_of(first_line), str(self._site or "hosts")
        rows = self._client.json("GET", "/hitstream/imports", file_id=file_id, scope=scope)["records"]
        records = [ImportRecord(**row) for row in rows]
        record = None if self._again else matching_record(file, records)
        if record is None:
            number = max((record.generation for record in records), default=-1) + 1
            return ImportRecord(file_id, scope, generation=number), set()
        if not record.sending_to:
            return record, set()
        found = self._client.json(
            "POST",
            "/hitstream/imports/seen",
            marker=f"{file_id}.{record.generation}.",
            since=str(record.since),
        )
        return record, set(found["lines"])

    def _send_file(
        self, file: LogFile, kind: LogFormat, record: ImportRecord, seen: set[int], tally: Tally
    ) -> None:
        hasher = hashlib.sha256()
        number = 0
        started = shown = time.monotonic()
        marker = f"{record.file_id}.{record.generation}."
        window: list[tuple[int, bytes]] = []
        sending: Future[None] | None = None

        def send_window() -> None:
            # Written down first, sent second, committed with the next window: whatever is killed in between,
            # each line's fate can be told. While one window is sent the next is read.
            nonlocal record, sending
            if not window:
                return
            last = window[-1][0]
            queries = []
            for line_number, line in window:
                query = self._query(line, kind, marker, line_number, seen, tally)
                if query:
                    queries.append(query)
            if sending is not None:
                sending.result()
            sending = thread.submit(self._save_and_send, begun(record, last), queries, tally)
            for _, line in window:
                hasher.update(line + b"\n")
            record = committed(record, last, hasher.hexdigest())
            window.clear()

        with ThreadPoolExecutor(1, thread_name_prefix="send") as thread:
            for line in whole_lines(file.lines()):
                number += 1
                tally.lines += 1
                if number <= record.lines:
                    hasher.update(line + b"\n")
                    tally.known += 1
                    continue
                window.append((number, line))
                if len(window) >= self._batch * BATCHES_PER_CHECKPOINT:
                    send_window()
                if not self._quiet and time.monotonic() - shown > PROGRESS_SECONDS:
                    shown = time.monotonic()
                    show_progress(file, tally, shown - started)
            send_window()
            if sending is not None:
                sending.result()
        self._save(record)
        if not self._quiet and sys.stderr.isatty():
            print(file=sys.stderr)

    def _save_and_send(self, record: ImportRecord, queries: Sequence[str], tally: Tally) -> None:
        self._save(record)
        for start in range(0, len(queries), self._batch):
            self._send(queries[start : start + self._batch], tally)

    def _query(
        self, line: bytes, kind: LogFormat, marker: str, number: int, seen: set[int], tally: Tally
    ) -> str:
        """The hit of a line, or empty: then the tally says why."""
        if number in seen:
            tally.known += 1
            return ""
        if not line.strip() or line.startswith(b"#"):
            tally.skipped["blank"] += 1
            return ""
        request = parse_line(line.decode("utf-8", "replace"), kind, self._choice.json_fields)
        if request is None:
            tally.skipped["unreadable"] += 1
            return ""
        reason = reason_to_skip(request, self._choice)
        if reason:
            tally.skipped[reason] += 1
            return ""
        site = self._site_of(request)
        if site is None:
            tally.skipped["unknown host"] += 1
            return ""
        return hit_query(
            request, site=site.site_id, base=site.base, choice=self._choice, line_id=f"{marker}{number}"
        )

    def _send(self, queries: Sequence[str], tally: Tally) -> None:
        body = msgspec.json.encode({"requests": queries, "token_auth": self._client.token})
        pause = PAUSE_SECONDS
        for attempt in range(ATTEMPTS):
            status, answer = self._client.request(
                "POST", "/matomo.php", body, {"Content-Type": "application/json"}
            )
            if status != 503:
                break
            if attempt + 1 < ATTEMPTS:
                time.sleep(pause)
                pause *= 2
        if status != 200:
            raise InstanceError(
                f"{self._client.url} answered {status} to {len(queries)} hits; nothing of them counted. "
                "Run the same command again to go on from here"
            )
        found = json.loads(answer)
        tally.sent += int(found.get("tracked", 0))
        tally.invalid += int(found.get("invalid", 0))

    def _save(self, record: ImportRecord) -> None:
        fields = {name: str(value) for name, value in vars(record).items()}
        self._client.json("POST", "/hitstream/imports", **fields)


def bare_host(host: str) -> str:
    """Lower case, without port and www."""
    return host.lower().partition(":")[0].removeprefix("www.")


def json_fields(given: Sequence[str]) -> Mapping[str, str]:
    """`NAME=FIELD` options as a mapping; raises LogImportError."""
    fields = {}
    for text in given:
        name, _, key = text.partition("=")
        if name not in JSON_FIELDS or not key:
            raise LogImportError(
                f"--json-field {text}: expected NAME=FIELD with a name of {', '.join(JSON_FIELDS)}"
            )
        fields[name] = key
    return fields


def show_progress(file: LogFile, tally: Tally, seconds: float) -> None:
    """One line on standard error: lines, hits, rate, what is left."""
    share = file.position() / file.size if file.size else 1.0
    left = f", {seconds / share - seconds:.0f} s left" if 0 < share < 1 else ""
    rate = tally.sent / seconds
    text = f"{file.name}: {tally.lines} lines, {tally.sent} hits, {rate:.0f} hits/s, {share:.0%}{left}"
    end = "" if sys.stderr.isatty() else "\n"
    print(("\r\x1b[K" if not end else "") + text, end=end, file=sys.stderr, flush=True)


def summary(name: str, tally: Tally, seconds: float) -> str:
    """What became of a file's lines; the numbers add up to the lines read."""
    parts = [f"{tally.sent} hits sent"]
    if tally.invalid:
        parts.append(f"{tally.invalid} refused as invalid")
    if tally.known:
        parts.append(f"{tally.known} lines imported before")
    parts += [f"{count} left out ({reason})" for reason, count in tally.skipped.most_common()]
    return f"{name}: {tally.lines} lines in {seconds:.1f} s: " + ", ".join(parts)


def run_import(options: argparse.Namespace) -> int:
    """Returns the exit status: 1 when a file or the instance could not be used."""
    try:
        client = find_instance(load_settings(ClientSettings), options.url, options.token)
        importer = Importer(client, options)
        for name in options.files:
            started = time.monotonic()
            tally = importer.run(name)
            print(summary(name, tally, time.monotonic() - started))
    except (LogImportError, InstanceError) as error:
        print(f"hitstream: {error}", file=sys.stderr)
        return 1
    return 0
