"""Regular expressions from configuration."""

import time

import pytest

from rules.patterns import compile_delimited, compile_linear, first_group, matches


@pytest.mark.parametrize("pattern", [r"(a)\1", "(?=a)", "(?<!a)b", "[", "(", "*"])
def test_invalid_and_backtracking_patterns_are_refused(pattern: str) -> None:
    assert compile_linear(pattern, case_sensitive=True) is None


def test_a_pattern_that_would_backtrack_for_ever_ends_at_once() -> None:
    pattern = compile_linear("(a+)+$", case_sensitive=True)
    began = time.process_time()
    assert not matches(pattern, "a" * 50_000 + "b")
    assert time.process_time() - began < 5


def test_case_is_a_choice() -> None:
    assert matches(compile_linear("É", case_sensitive=False), "é")
    assert not matches(compile_linear("É", case_sensitive=True), "é")


@pytest.mark.parametrize(
    ("text", "subject", "expected"),
    [
        ("/Foo[0-9]+/", "xFoo7", True),
        ("/Foo/", "foo", False),
        ("/Foo/i", "foo", True),
        (" /a/b/ ", "a/b", True),
    ],
)
def test_a_pattern_between_slashes(text: str, subject: str, expected: bool) -> None:
    assert matches(compile_delimited(text), subject) is expected


@pytest.mark.parametrize("text", ["", "/", "//", "Foo", "/Foo", "/Foo/z", "/[/"])
def test_what_is_no_pattern_between_slashes(text: str) -> None:
    assert compile_delimited(text) is None


def test_the_first_group_is_empty_when_nothing_is_found() -> None:
    pattern = compile_linear("/sub_(..)?/", case_sensitive=True)
    assert first_group(pattern, "/sub_en/é") == "en"
    assert first_group(pattern, "/sub_/") == ""
    assert first_group(pattern, "/other/") == ""
    assert first_group(pattern, "") == ""
