"""Numbers of reports: rounding as Matomo does, and no failure for what any visitor can send."""

import pytest

from reporting.generic_filters import php_round
from reporting.rows import money, number, rounded


@pytest.mark.parametrize(
    ("value", "digits", "expected"),
    [
        (2.345, 2, 2.35),
        (2.5, 0, 3),
        (-2.5, 0, -3),
        (7.0, 2, 7),
        (1e14 + 0.125, 2, 1e14 + 0.13),
        (0.18499999999999997, 2, 0.19),
    ],
)
def test_halves_are_rounded_away_from_zero(value: float, digits: int, expected: float) -> None:
    assert rounded(value, digits) == expected


@pytest.mark.parametrize("value", [1e300, -1e300, 1.7e308])
def test_a_revenue_too_large_for_decimals_is_shown_whole(value: float) -> None:
    assert money(value) == value
    assert php_round(value, 2) == value


@pytest.mark.parametrize("value", [float("inf"), float("-inf"), float("nan")])
def test_a_sum_that_is_no_number_is_0(value: float) -> None:
    assert money(value) == number(value) == 0
