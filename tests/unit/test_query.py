"""Reading query strings as trackers write them."""

import encodings

import pytest

from rules.query import (
    cut_bytes,
    decode_as,
    is_set,
    parse_query,
    query_parameters,
    read_integer,
    read_leading_number,
    read_number,
)


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", {}),
        ("&&", {}),
        ("=x", {}),
        ("a=1&b=2", {"a": "1", "b": "2"}),
        ("a=1&a=2", {"a": "2"}),
        ("a", {"a": ""}),
        ("a=", {"a": ""}),
        ("a=b=c", {"a": "b=c"}),
        ("a=x+y%20z", {"a": "x y z"}),
        ("a=%2B", {"a": "+"}),
        ("a=100%", {"a": "100%"}),
        ("a=%zz", {"a": "%zz"}),
        ("a=%C3%A9", {"a": "é"}),
        ("a%5Bb%5D=1", {"a[b]": "1"}),
    ],
)
def test_parameters_by_name(query: str, expected: dict[str, str]) -> None:
    assert parse_query(query) == expected


def test_invalid_utf8_becomes_the_replacement_character() -> None:
    assert parse_query("a=%FFx") == {"a": "�x"}


def test_a_value_too_long_for_the_cache_is_decoded_all_the_same() -> None:
    assert parse_query("a=" + "%20" * 1000) == {"a": " " * 1000}


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("Q=Upper", {"q": "Upper"}),
        ("q[]=one&q[]=two", {"q": "two"}),
        ("q%5B0%5D=x", {"q": "x"}),
        ("q=Red+Shoes", {"q": "Red Shoes"}),
        ("test", {"test": ""}),
    ],
)
def test_url_parameters_are_found_in_any_case_and_as_lists(query: str, expected: dict[str, str]) -> None:
    assert query_parameters(query) == expected


def test_unknown_encodings_leave_nothing_behind() -> None:
    remembered = encodings._cache  # type: ignore[attr-defined]
    before = len(remembered)
    for number in range(100):
        assert decode_as("%C3%BC", f"no-such-{number}") == "ü"
    assert len(remembered) == before


@pytest.mark.parametrize(
    ("text", "encoding", "expected"),
    [
        ("2%FC", "iso-8859-15", "2ü"),
        ("%EC%E5%F8", "windows-1251", "меш"),
        ("%C3%BC", "GTF-42", "ü"),
        ("a+%EC%E5", "utf-8", "a+%EC%E5"),
        ("a b %EC%E5", "utf-8", "a+b+%EC%E5"),
        ("%C3%BC", "zlib", "ü"),
        ("%C3%BC", "a\0b", "ü"),
    ],
)
def test_url_values_are_read_in_the_pages_encoding(text: str, encoding: str, expected: str) -> None:
    assert decode_as(text, encoding) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0", 0), ("12", 12), ("-5", -5), ("1000", 1000), ("07", 7), (" 1", 1), ("+3", 3), ("", 9),
        ("1.5", 9), ("1a", 9), ("abc", 9), ("١", 9), ("9" * 19, 9), (None, 9),
    ],
)  # fmt: skip
def test_what_is_an_integer(text: str | None, expected: int) -> None:
    assert read_integer(text, 9) == expected


@pytest.mark.parametrize(
    ("text", "whole", "leading"),
    [
        ("1,5", 9.0, 1.0),
        ("12 EUR", 9.0, 12.0),
        ("1e3", 1000.0, 1000.0),
        ("00.50", 0.5, 0.5),
        ("-2", -2.0, -2.0),
        (".5", 0.5, 0.5),
        (" 7 ", 7.0, 7.0),
        ("3.14159", 3.14159, 3.14159),
        ("abc", 9.0, 9.0),
        ("", 9.0, 9.0),
        (None, 9.0, 9.0),
        ("1e999", 9.0, 9.0),
        ("nan", 9.0, 9.0),
        ("inf", 9.0, 9.0),
    ],
)
def test_what_is_a_number_and_what_begins_with_one(text: str | None, whole: float, leading: float) -> None:
    assert read_number(text, 9.0) == whole
    assert read_leading_number(text, 9.0) == leading


@pytest.mark.parametrize(("value", "expected"), [("1", True), ("2", True), ("0", False), ("true", False)])
def test_a_flag_is_any_integer_but_zero(value: str, expected: bool) -> None:
    assert is_set({"rec": value}, "rec") is expected
    assert not is_set({}, "rec")


def test_a_cut_never_splits_a_character() -> None:
    assert cut_bytes("aéé", 4) == "aé"
    assert cut_bytes("aéé", 5) == "aéé"
    assert cut_bytes("𝄞𝄞", 7) == "𝄞"
    assert cut_bytes("abc", 3) == "abc"
