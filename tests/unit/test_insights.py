"""Which changes of a report's rows are told."""

import pytest

from reporting.methods.insights import Change, Thresholds, changes_of, chosen, movers_and_shakers

LIMITS = Thresholds(impact=2.0, grown=20.0, shrunk=20.0)


@pytest.mark.parametrize(
    ("old", "new", "kind", "growth"),
    [(0, 5, "new", 100.0), (5, 0, "disappeared", -100.0), (201, 501, "mover", 149.3), (3, 3, "mover", 0.0)],
)
def test_a_change_knows_its_kind_and_growth(old: float, new: float, kind: str, growth: float) -> None:
    change = Change("x", old, new)
    assert (change.kind, change.growth) == (kind, growth)


@pytest.mark.parametrize(
    ("old", "new", "passes"),
    [
        (100, 120, True),
        (100, 119, False),  # grown by less than 20 %
        (100, 80, True),
        (10, 19, False),  # weighs less than 2 % of 500
        (0, 10, True),
        (10, 0, True),
        (0, 9, False),
        (7, 7, False),
    ],
)
def test_a_change_passes_from_the_threshold_on(old: float, new: float, passes: bool) -> None:
    """2 % of 500 visits are 10."""
    assert Change("x", old, new).passes(LIMITS, 500.0) is passes


def test_labels_of_both_periods_are_compared() -> None:
    changes = changes_of({"a": 1.0, "b": 2.0}, {"b": 3.0, "c": 4.0})
    assert {(one.label, one.old, one.new) for one in changes} == {("a", 1, 0), ("b", 2, 3), ("c", 0, 4)}


def test_the_largest_of_both_directions_are_kept_in_the_order_asked_for() -> None:
    changes = [Change("up", 10, 40), Change("up2", 1, 11), Change("down", 50, 10), Change("down2", 9, 8)]
    assert [one.label for one in chosen(changes, "absolute", None, 1, 1)] == ["up", "down"]
    assert [one.label for one in chosen(changes, "importance", None, 1, 1)] == ["down", "up"]
    assert [one.label for one in chosen(changes, "relative", None, 2, 0)] == ["up2", "up"]
    assert [one.label for one in chosen(changes, "absolute", "new", 5, 5)] == []


def test_movers_and_shakers_move_more_than_the_whole() -> None:
    """When all visits doubled, a page that doubled is nothing special."""
    limits = movers_and_shakers(100.0, 200.0)
    assert not Change("x", 10, 20).passes(limits, 200.0)
    assert Change("x", 10, 23).passes(limits, 200.0)
    assert not Change("x", 0, 1).passes(movers_and_shakers(3.0, 3.0), 3.0), "one visit is chance"
