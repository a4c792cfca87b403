"""Answers read from archives are kept within bounds, those asked for last the longest."""

from reporting.archives import KeptAnswers

ROW = ("summary", ["label"], [1.0] * 10)


def test_the_same_statement_about_another_generation_is_another_question() -> None:
    kept = KeptAnswers()
    kept.keep(kept.key("SELECT", {"days": ["2026-11-26"], "generations": [1]}), [ROW])
    assert kept.get(kept.key("SELECT", {"generations": [1], "days": ["2026-11-26"]})) == [ROW]
    assert kept.get(kept.key("SELECT", {"days": ["2026-11-26"], "generations": [2]})) is None


def test_what_was_not_asked_for_longest_makes_room() -> None:
    kept = KeptAnswers(max_bytes=16_000)
    for number in range(5):
        kept.keep((number,), [ROW])
    assert kept.get((0,)) == [ROW]
    for number in range(5, 12):
        kept.keep((number,), [ROW])
        assert kept.get((0,)) == [ROW]
    assert kept.get((1,)) is None
    assert kept.get((11,)) == [ROW]


def test_a_large_answer_is_not_kept() -> None:
    kept = KeptAnswers(max_bytes=16_000)
    kept.keep(("small",), [ROW])
    kept.keep(("large",), [ROW] * 10)
    assert kept.get(("large",)) is None
    assert kept.get(("small",)) == [ROW]


def test_keeping_an_answer_again_takes_its_bytes_once() -> None:
    kept = KeptAnswers(max_bytes=16_000)
    kept.keep(("other",), [ROW])
    for _ in range(100):
        kept.keep(("same",), [ROW])
    assert kept.get(("other",)) == [ROW]
