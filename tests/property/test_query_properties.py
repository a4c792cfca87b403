"""The compiled readers of queries give what those in Python give."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.identity import id_from_any_hex
from ingest.query import Shape, plan_of, split_any_pairs
from rules.query import parse_any_query

compiled = pytest.importorskip("rules._query", reason="installed without a compiler")

PIECES = st.sampled_from(
    [
        "a",
        "b",
        "url",
        "x[]",
        "&",
        "&",
        "=",
        "=",
        "%",
        "%4",
        "%41",
        "%c3%A9",
        "%C3",
        "%00",
        "+",
        "1",
        "é",
        "\0",
        " ",
    ]
)


@given(st.lists(PIECES, max_size=24).map("".join) | st.text(max_size=40))
def test_the_compiled_reader_gives_the_same_parameters_in_the_same_order(query: str) -> None:
    found = compiled.parse_query(query)
    if found is not None:
        assert list(found.items()) == list(parse_any_query(query).items())


@given(st.text("ab=&+%3d", max_size=60).map(lambda end: f"name={end}"))
def test_it_reads_every_query_with_plain_names(query: str) -> None:
    names = [pair.partition("=")[0] for pair in query.split("&")]
    is_plain = not any("%" in name or "+" in name for name in names)
    assert (compiled.parse_query(query) is not None) == is_plain


def test_values_longer_than_its_buffer_and_more_names_than_it_keeps_are_read() -> None:
    query = "&".join(f"name{number}={number}%20" + "%C3%A9" * 400 for number in range(3000))
    assert compiled.parse_query(query) == parse_any_query(query)


@given(st.lists(PIECES, max_size=24).map("".join) | st.text(max_size=40))
def test_the_compiled_splitting_gives_the_same_names_and_values(query: str) -> None:
    expected = split_any_pairs(query) if query.isascii() else None
    assert compiled.split_pairs(query) == expected


def test_queries_longer_than_its_buffer_are_split() -> None:
    query = "&".join(f"name{number}={number}=%20" for number in range(3000)) + "&&last&="
    assert compiled.split_pairs(query) == split_any_pairs(query)


NAMES = ["idsite", "rec", "_id", "cip", "ua", "pdf", "cookie", "pf_net", "pf_srv", "%5Fid", "", "x[]"]
VALUES = st.sampled_from(["", "1", "0", "11", "a%20b", "-1", "007", "1=2", "0123456789abcdef"])


@given(st.lists(st.tuples(st.sampled_from(NAMES), VALUES), max_size=16))
def test_the_compiled_splitting_gives_the_usual_values_of_known_names(pairs: list[tuple[str, str]]) -> None:
    query = "&".join(f"{name}={value}" for name, value in pairs)
    key, raw = split_any_pairs(query)
    shape = Shape(key.split("&") if query else ())
    assert compiled.split_known(query, {}) is None
    assert compiled.split_known(query, {key: plan_of(shape)}) == (shape, shape.usual(raw))


@given(st.lists(PIECES, max_size=24).map("".join) | st.text(max_size=40))
def test_the_compiled_splitting_takes_any_query_or_leaves_it(query: str) -> None:
    key, raw = split_any_pairs(query)
    shape = Shape(key.split("&") if query else ())
    expected = (shape, shape.usual(raw)) if query.isascii() else None
    assert compiled.split_known(query, {key: plan_of(shape)}) == expected


@pytest.mark.parametrize("pairs", [127, 128, 129, 3000])
def test_queries_of_more_names_than_it_has_room_for_are_left(pairs: int) -> None:
    query = "&".join(f"n{number}={number}" for number in range(pairs - 1)) + "&ua=last"
    key, raw = split_any_pairs(query)
    shape = Shape(key.split("&"))
    expected = (shape, shape.usual(raw)) if pairs <= 128 else None
    assert compiled.split_known(query, {key: plan_of(shape)}) == expected


@pytest.mark.parametrize("length", [2048, 2049])
def test_queries_of_longer_names_than_it_has_room_for_are_left(length: int) -> None:
    name = "n" * length
    plans = {name: plan_of(Shape([name]))}
    assert (compiled.split_known(f"{name}=1", plans) is None) == (length > 2048)


@pytest.mark.parametrize("plan", [None, (), (1, 2, 3, 4), (1, b"", b"", "")])
def test_what_is_no_plan_is_refused(plan: object) -> None:
    with pytest.raises(TypeError, match="plan"):
        compiled.split_known("a=1", {"a": plan})


def test_a_place_that_the_query_does_not_have_is_none() -> None:
    places = b"\x05\x00\xff\xff"
    assert compiled.split_known("a=1", {"a": ("shape", places, places, places)}) == (
        "shape",
        (None, None, "00", True),
    )


@given(st.text("0123456789abcdefABCDEFxgz_+- éİ٣", max_size=20) | st.text(max_size=20))
def test_the_compiled_reader_of_ids_gives_the_same_numbers(text: str) -> None:
    assert compiled.id_of_hex(text) == id_from_any_hex(text) < 1 << 64
