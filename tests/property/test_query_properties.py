"""The compiled readers of queries give what those in Python give."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.query import split_any_pairs
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
