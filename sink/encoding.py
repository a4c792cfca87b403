"""From the values of messages to blocks of rows for ClickHouse, without decoding where the shapes agree."""

import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date
from functools import lru_cache
from typing import Any, Literal, NamedTuple

import msgspec

from schemas import topics
from schemas.hit import Hit
from schemas.rows import Action, Conversion, ConversionItem, DeadLetter, Tally, Visit, row_version

SECONDS_A_DAY = 86400

# Length of a msgpack unsigned integer by its first byte, 0 when the byte begins something else.
_INTEGER_BYTES = bytes(
    1 if first < 0x80 else 1 + (1 << (first - 0xCC)) if 0xCC <= first <= 0xCF else 0 for first in range(256)
)


_BEHIND = struct.Struct(">BQB").pack


class UnreadableRowError(ValueError):
    """A value that is no row of its table, also when decoded; the message says what was expected."""


class Entry(msgspec.Struct, frozen=True, gc=False):
    """One message of the table's topic. The collector need not look at them: there is one for every row."""

    partition: int
    offset: int
    value: bytes


class SiteDay(NamedTuple):
    site_id: int
    day: int
    """Days since 1970-01-01, local to the site."""


def array_header(fields: int) -> bytes:
    """The msgpack header of an array of up to 65,535 fields, in the shortest form, as encoders write it."""
    return bytes([0x90 | fields]) if fields < 16 else b"\xdc" + fields.to_bytes(2, "big")


def _unsigned(encoded: bytes) -> int:
    return encoded[0] if len(encoded) == 1 else int.from_bytes(encoded[1:], "big")


@lru_cache(maxsize=65536)
def month_of(day: int) -> int:
    """202611 for a day of November 2026, as toYYYYMM gives it."""
    local = date.fromordinal(719163 + day)
    return local.year * 100 + local.month


class Table:
    """How the values of one topic become rows of the table of the same name.

    `begins_with` says what the first fields are: "site, day" (rows), "hit, site, time" (raw hits), "other"
    (tables without partitions by month). Values of `flagged` topics begin with the byte of is_deleted.
    `comes_anew`: the first three fields are the key, and each row of a key replaces the one before."""

    def __init__(
        self,
        topic: topics.Topic,
        row: Any,
        begins_with: Literal["site, day", "hit, site, time", "other"],
        *,
        comes_anew: bool = False,
    ) -> None:
        self.name = topic.name
        self.flagged = begins_with == "site, day"
        self.begins_with = begins_with
        self.comes_anew = comes_anew
        fields = [field.name for field in msgspec.structs.fields(row)]
        self.columns = (*fields, "version", "is_deleted")
        self.header = array_header(len(fields))
        flags = (b"\x00", b"\x01") if self.flagged else (b"",)
        self._beginnings = tuple(flag + self.header for flag in flags)
        self._begin = len(self._beginnings[0])
        self._expected = f"a {row.__name__} of {len(fields)} fields"
        self._decode = msgspec.msgpack.Decoder(row).decode
        self._encode = msgspec.msgpack.Encoder().encode

    def body(self, value: bytes) -> bytes:
        """The fields of a value without flag and array header. One with another number of fields (another
        release wrote it) is recoded. Raises UnreadableRowError."""
        return value[self._begin :] if value.startswith(self._beginnings) else self.recoded(value)

    def recoded(self, value: bytes) -> bytes:
        """The same by decoding and encoding: missing fields get their defaults, unknown ones go, and what
        ClickHouse is stricter about than a decoder is repaired, such as 5 for 5.0.

        Raises UnreadableRowError."""
        if self.flagged and value[:1] not in (b"\x00", b"\x01"):
            raise UnreadableRowError(f"expected a first byte of 0 or 1, found {value[:1]!r}")
        try:
            row = self._decode(value[1:] if self.flagged else value)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise UnreadableRowError(f"expected {self._expected}: {error}") from None
        return self._encode(row)[len(self.header) :]

    def key(self, body: bytes) -> bytes:
        """The three fields of the key, encoded; empty where they are no unsigned integers."""
        size = _INTEGER_BYTES
        try:
            first = size[body[0]]
            second = first + size[body[first]]
            third = second + size[body[second]]
        except IndexError:
            return b""
        return body[:third] if 0 < first < second < third else b""

    def place(self, body: bytes) -> tuple[int, SiteDay | None]:
        """The month that partitions the row (0 without partitions) and the site and day whose reports it
        changes. Raises UnreadableRowError."""
        if self.begins_with == "other":
            return 0, None
        size = _INTEGER_BYTES
        try:
            first = size[body[0]]
            second = first + size[body[first]]
            if self.begins_with == "site, day":
                if first and second > first:
                    return _place_of_site_day(body[:second], first)
            else:
                third = second + size[body[second]]
                if first and second > first and third > second:
                    return month_of(_unsigned(body[second:third]) // SECONDS_A_DAY), None
        except (IndexError, ValueError, OverflowError):
            pass
        raise UnreadableRowError(f"expected {self._expected} that begins with {self.begins_with}")


@lru_cache(maxsize=65536)
def _place_of_site_day(encoded: bytes, first: int) -> tuple[int, SiteDay]:
    # Few sites and days, many rows: most rows cost one lookup.
    day = _unsigned(encoded[first:])
    return month_of(day), SiteDay(_unsigned(encoded[:first]), day)


ROW_TABLES = (
    Table(topics.VISITS, Visit, "site, day", comes_anew=True),
    Table(topics.ACTIONS, Action, "site, day"),
    Table(topics.CONVERSIONS, Conversion, "site, day"),
    Table(topics.CONVERSION_ITEMS, ConversionItem, "site, day"),
)
HITS = Table(topics.HITS, Hit, "hit, site, time")
TALLIES = Table(topics.TALLIES, Tally, "other")
DEAD = Table(topics.DEAD, DeadLetter, "other")
TABLES = (*ROW_TABLES, TALLIES, DEAD, HITS)


@dataclass
class Block:
    """Rows of one month, ready to insert; `entries` are the messages that they were made from, in order, also
    those whose row is left out since a newer one takes its place."""

    entries: list[Entry] = field(default_factory=list)
    parts: list[bytes] = field(default_factory=list)

    @property
    def data(self) -> bytes:
        return b"".join(self.parts)


@dataclass(frozen=True)
class Blocks:
    """A batch of one table: blocks by month, the site days they touch, and what can't be read with why."""

    by_month: dict[int, Block]
    site_days: set[SiteDay]
    unreadable: list[tuple[Entry, str]]


def split(table: Table, entries: Iterable[Entry], epoch: int, *, recode: bool = False) -> Blocks:
    """Cut, version and sort a batch into blocks by month.

    Of rows with one key a table whose rows come anew is given only that of the highest version, which is what
    it would keep. Not when rows are recoded: one of them was refused, and it may be that one."""
    by_month: dict[int, Block] = {}
    site_days: set[SiteDay] = set()
    unreadable: list[tuple[Entry, str]] = []
    body_of = table.recoded if recode else table.body
    first_version = row_version(epoch, 0)
    flagged, leaves_out = table.flagged, table.comes_anew and not recode
    newest: dict[bytes, tuple[Block, int]] = {}
    key = b""
    for entry in entries:
        value = entry.value
        deleted = value[0] if flagged and value else 0
        # uint64 version, then is_deleted as a small integer
        behind = _BEHIND(0xCF, first_version | entry.offset, deleted)
        try:
            body = body_of(value)
            if leaves_out:
                key = table.key(body)
                known = newest.get(key)
                if known is not None:
                    earlier, at = known
                    earlier.entries.append(entry)
                    if behind >= earlier.parts[at + 1]:
                        earlier.parts[at : at + 2] = body, behind
                    continue
            month, site_day = table.place(body)
        except UnreadableRowError as error:
            unreadable.append((entry, str(error)))
            continue
        if site_day is not None:
            site_days.add(site_day)
        block = by_month.get(month)
        if block is None:
            block = by_month[month] = Block()
        if key:
            newest[key] = block, len(block.parts)
        block.entries.append(entry)
        block.parts += body, behind
    return Blocks(by_month, site_days, unreadable)


def halves(entries: Sequence[Entry]) -> tuple[Sequence[Entry], Sequence[Entry]]:
    middle = len(entries) // 2
    return entries[:middle], entries[middle:]
