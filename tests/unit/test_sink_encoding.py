"""How values become rows: cut without decoding when shapes agree, recoded when not, refused when neither."""

import msgspec
import pytest

from schemas.hit import encode_hit
from schemas.rows import Action, Tally, Visit, encode_output, encode_row, row_version
from sink.encoding import (
    HITS,
    ROW_TABLES,
    TALLIES,
    Entry,
    SiteDay,
    UnreadableRowError,
    array_header,
    halves,
    month_of,
    split,
)
from tests.builders import NOON, a_hit
from tests.rows import A_DAY, a_visit, an_action

VISITS, ACTIONS = ROW_TABLES[:2]


def decode_block(data: bytes, columns: int) -> list[list[object]]:
    """The rows of a block: `columns` msgpack values each."""
    values = _values(data)
    return [values[at : at + columns] for at in range(0, len(values), columns)]


def _values(data: bytes) -> list[object]:
    # A msgpack stream as one array needs its length: found by trying, since the tests' blocks are small.
    for count in range(1, 2000):
        try:
            return list(msgspec.msgpack.decode(b"\xdc" + count.to_bytes(2, "big") + data))
        except msgspec.DecodeError:
            continue
    raise AssertionError("no msgpack stream")


def test_a_row_gets_version_and_deletion_behind_its_unchanged_fields() -> None:
    visit = a_visit(5, goals=[1, 2])
    blocks = split(VISITS, [Entry(3, 70_000, encode_output(visit, is_deleted=True))], epoch=9)
    (row,) = decode_block(blocks.by_month[202609].data, len(VISITS.columns))
    assert row[:-2] == list(msgspec.to_builtins(visit))
    assert row[-2:] == [row_version(9, 70_000), 1]


def test_rows_are_sorted_by_month_and_their_site_days_are_told() -> None:
    entries = [
        Entry(0, n, encode_output(an_action(n, at=NOON + n * 86400 * 11, site_id=[1, 200, 70_000][n % 3])))
        for n in range(6)
    ]
    blocks = split(ACTIONS, entries, epoch=1)
    assert sorted(blocks.by_month) == [202609, 202610, 202611]
    assert SiteDay(70_000, A_DAY + 22) in blocks.site_days
    assert len(blocks.site_days) == 6
    assert [entry.offset for entry in blocks.by_month[202609].entries] == [0, 1]


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"\x00",
        b"\x02" + encode_row(a_visit()),
        b"\x00" + encode_row(a_visit())[:40],
        b"\x00\xdc\x00\x39",
        b"\x00" + msgspec.msgpack.encode({"a": 1}),
        b"\x00" + msgspec.msgpack.encode(["text", 1, 2]),
        b"\x00" + VISITS.header + b"\xc0\xc0\xc0",
    ],
)
def test_a_value_that_is_no_row_is_told_apart_or_left_to_the_database(value: bytes) -> None:
    blocks = split(VISITS, [Entry(0, 0, value)], epoch=1)
    recoded = split(VISITS, [Entry(0, 0, value)], epoch=1, recode=True)
    assert len(recoded.unreadable) == 1
    assert not recoded.by_month
    assert len(blocks.unreadable) + sum(len(block.entries) for block in blocks.by_month.values()) == 1


def test_a_row_with_fewer_fields_gets_the_defaults_and_with_more_loses_them() -> None:
    fields = msgspec.to_builtins(a_visit(7, actions=4))
    more = msgspec.to_builtins(a_visit(8, actions=4))
    short, long = msgspec.msgpack.encode(fields[:12]), msgspec.msgpack.encode([*more, 1, "x"])
    blocks = split(VISITS, [Entry(0, 0, b"\x00" + short), Entry(0, 1, b"\x00" + long)], epoch=1)
    first, second = decode_block(blocks.by_month[202609].data, len(VISITS.columns))
    assert first[:12] == fields[:12]
    untouched = Visit(**dict(zip(Visit.__struct_fields__, fields[:12], strict=False)))
    assert first[:-2] == list(msgspec.to_builtins(untouched))
    assert second[:-2] == more


def test_of_a_visit_only_the_row_of_the_highest_version_is_inserted() -> None:
    rows = [(7, 10, False), (8, 11, False), (7, 12, True), (7, 9, False), (8, 30, False)]
    entries = [
        Entry(0, offset, encode_output(a_visit(visit, actions=offset), is_deleted=deleted))
        for visit, offset, deleted in rows
    ]
    entries.append(Entry(1, 5, encode_output(a_visit(7, site_id=2, actions=5))))
    blocks = split(VISITS, entries, epoch=1)
    columns = VISITS.columns
    found = [
        dict(zip(columns, row, strict=True))
        for row in decode_block(blocks.by_month[202609].data, len(columns))
    ]
    assert [(row["site_id"], row["visit_id"], row["actions"], row["is_deleted"]) for row in found] == [
        (1, 7, 12, 1),
        (1, 8, 30, 0),
        (2, 7, 5, 0),
    ]
    assert [row["version"] for row in found] == [row_version(1, offset) for offset in (12, 30, 5)]
    assert blocks.by_month[202609].entries == entries
    every = split(VISITS, entries, epoch=1, recode=True).by_month[202609]
    assert len(decode_block(every.data, len(columns))) == len(entries)


def test_a_visit_of_another_day_or_month_is_another_row() -> None:
    entries = [
        Entry(0, n, encode_output(a_visit(7, at=NOON + 86400 * days))) for n, days in enumerate((0, 1, 40))
    ]
    blocks = split(VISITS, entries, epoch=1)
    assert {month: len(block.parts) // 2 for month, block in blocks.by_month.items()} == {
        202609: 2,
        202610: 1,
    }


def test_a_hit_is_placed_by_its_time() -> None:
    blocks = split(
        HITS, [Entry(0, 1, encode_hit(a_hit(at=NOON))), Entry(0, 2, encode_hit(a_hit(at=0)))], epoch=1
    )
    assert sorted(blocks.by_month) == [197001, 202609]
    assert blocks.site_days == set()


def test_a_tally_has_no_month() -> None:
    tally = Tally(
        topic="hits", partition=1, first_offset=0, next_offset=1, site_id=1, received_on=1, outcome="o",
        reason="", count=1,
    )  # fmt: skip
    blocks = split(TALLIES, [Entry(0, 0, encode_row(tally))], epoch=1)
    assert list(blocks.by_month) == [0]


@pytest.mark.parametrize("number", [0, 9, 15, 16, 57, 300, 65_535])
def test_the_header_is_the_one_that_encoders_write(number: int) -> None:
    assert msgspec.msgpack.encode([0] * number).startswith(array_header(number))


@pytest.mark.parametrize(
    ("day", "month"), [(0, 197001), (59, 197003), (20_517, 202603), (20_453, 202512), (20_454, 202601)]
)
def test_the_month_of_a_day(day: int, month: int) -> None:
    assert month_of(day) == month


def test_a_day_beyond_the_calendar_is_unreadable() -> None:
    body = msgspec.msgpack.encode(1) + msgspec.msgpack.encode(2**40) + b"\x01"
    with pytest.raises(UnreadableRowError):
        ACTIONS.place(body)


def test_halves_lose_nothing() -> None:
    entries = [Entry(0, n, b"") for n in range(7)]
    left, right = halves(entries)
    assert [*left, *right] == entries
    assert left
    assert right


def test_every_action_field_has_a_column() -> None:
    assert ACTIONS.columns[: len(Action.__struct_fields__)] == Action.__struct_fields__
