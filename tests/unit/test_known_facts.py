"""What is known from topic `history`, in portions that fit a message."""

from hitstream.known_facts import NUMBERS_PER_SUMMARY, KnownFacts
from schemas.history import ErasureDone, Rewrite


def test_a_summary_of_much_is_split_and_only_its_last_part_covers_anything() -> None:
    known = KnownFacts()
    known.take(Rewrite(1, 2, list(range(2 * NUMBERS_PER_SUMMARY + 1)), 5))
    known.take(ErasureDone(5))
    first, second, third = known.summaries(9, oldest=0)
    assert [len(one.offsets) for one in (first, second, third)] == [NUMBERS_PER_SUMMARY] * 2 + [1]
    assert (first.covers, second.covers, third.covers) == (0, 0, 9)


def test_hits_that_left_the_log_are_left_out() -> None:
    known = KnownFacts()
    known.take(Rewrite(1, 2, [3, 4, 5], 5))
    known.take(ErasureDone(5))
    (summary,) = known.summaries(2, oldest=4)
    assert summary.offsets == [4, 5]
    assert summary.newest == 5
