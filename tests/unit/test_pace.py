"""Units of work follow each other by what they take."""

import pytest

from stream.pace import Pace


@pytest.mark.parametrize(
    ("took", "apart"),
    [(0.001, 0.2), (0.06, 0.3), (0.4, 0.5)],
    ids=["at least the shortest", "times what it took", "at most the longest"],
)
def test_units_are_apart_by_what_the_one_before_took(took: float, apart: float) -> None:
    pace = Pace(times=5, shortest_s=0.2, longest_s=0.5)
    pace.begin(100.0)
    pace.end(100.0 + took)
    assert pace.next_at == pytest.approx(100.0 + apart)


def test_a_unit_that_did_not_end_does_not_hold_up_the_next_for_longer_than_the_shortest() -> None:
    pace = Pace(times=5, shortest_s=0.2, longest_s=0.5)
    pace.begin(100.0)
    pace.end(100.3)
    pace.begin(101.0)
    assert pace.next_at == pytest.approx(101.2)


def test_the_first_unit_begins_at_once() -> None:
    assert Pace(times=5, shortest_s=0.2, longest_s=0.5).next_at == 0.0
