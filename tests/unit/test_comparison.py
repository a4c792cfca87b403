"""compare=1: how rows are joined and numbered, on small tables."""

from datetime import date

from reporting.comparison import Series, with_comparisons
from reporting.method import ReportShape
from reporting.periods import Period, parse_periods
from reporting.table import Row, Table


def one_series(day: str) -> Series:
    (period,) = parse_periods("day", day, date(2010, 2, 1))
    assert isinstance(period, Period)
    return Series("", "All visits", period, "day", day, "en")


def row(label: str, visits: int, below: Table | None = None) -> Row:
    return Row({"label": label, "nb_visits": visits}, {}, below, 1 if below else None)


def compared(held: Row) -> Table:
    found = held.metadata["comparisons"]
    assert isinstance(found, Table)
    return found


SERIES = [one_series("2010-01-03"), one_series("2010-01-04")]
NOW = Table([row("Movie", 4, Table([row("play", 3), row("stop", 1)])), row("Music", 2)])
BEFORE = Table([row("Movie", 2, Table([row("play", 2)]))])


def test_rows_are_compared_by_label_and_missing_ones_count_as_zero() -> None:
    table = with_comparisons(NOW, [BEFORE], SERIES, ReportShape(), inverted=False)
    movie, music = (compared(held).rows[1].columns for held in table.rows)
    assert movie == {"nb_visits": 2, "nb_visits_change": "-50%", "nb_visits_change_from": "+100%"}
    assert music["nb_visits"] == 0


def test_sub_rows_have_no_changes_and_no_zeros() -> None:
    table = with_comparisons(NOW, [BEFORE], SERIES, ReportShape(), inverted=False)
    below = table.rows[0].subtable
    assert below is not None
    play, stop = ([one.columns for one in compared(held).rows] for held in below.rows)
    assert play == [{"nb_visits": 3}, {"nb_visits": 2}]
    assert stop == [{"nb_visits": 1}]


def test_rows_of_a_table_are_numbered_before_those_below_them() -> None:
    table = with_comparisons(NOW, [BEFORE], SERIES, ReportShape(), inverted=False)
    assert [compared(held).metadata["number"] for held in table.rows] == [5, 6]


def test_sub_rows_of_one_dimension_count_as_zero_where_the_other_date_has_their_folder() -> None:
    shape = ReportShape(recursive=True)
    table = with_comparisons(NOW, [BEFORE], SERIES, shape, inverted=False)
    below = table.rows[0].subtable
    assert below is not None
    assert [one.columns for one in compared(below.rows[1]).rows] == [{"nb_visits": 1}, {"nb_visits": 0}]


def test_large_changes_are_grouped_by_thousands() -> None:
    now, before = Table([row("Movie", 34)]), Table([row("Movie", 3)])
    table = with_comparisons(now, [before], SERIES, ReportShape(), inverted=True)
    assert compared(table.rows[0]).rows[0].columns["nb_visits_change"] == "+1,033.3%"


def test_columns_that_the_report_hides_are_hidden_unless_they_are_zeros_of_a_missing_row() -> None:
    now = Table([Row({"label": "a", "nb_visits": 1, "sum_time": 4})])
    table = with_comparisons(now, [Table()], SERIES, ReportShape(), inverted=False, temporary=("sum_time",))
    own, other = compared(table.rows[0]).rows
    assert "sum_time" not in own.columns
    assert other.columns["sum_time"] == 0


def test_the_dates_of_a_map_are_compared_by_their_place() -> None:
    days = tuple(parse_periods("day", "2010-01-03,2010-01-04", date(2010, 2, 1)))
    series = Series("", "All visits", days[0], "day", "2010-01-03,2010-01-04", "en", days)
    second = series.at(1)
    assert (second.date, second.period) == ("2010-01-04", days[1])
    assert second.series_name.replace("\u2009", " ") == "(January 3 – 4, 2010) (All visits)"


def test_a_date_without_visits_shows_only_what_every_series_has() -> None:
    """Nothing against nothing has changed by nothing."""
    before = Table([Row({"nb_visits": 2, "bounce_rate": 0.5})], simple=True)
    empty = Table([Row({})], simple=True)
    three = [*SERIES, one_series("2010-01-05")]
    table = with_comparisons(
        empty, [before, Table()], three, ReportShape(), inverted=False, always=("bounce_rate",)
    )
    own, with_visits, without = (one.columns for one in compared(table.rows[0]).rows)
    assert own == without == {"bounce_rate": 0}
    assert (with_visits["nb_visits"], with_visits["nb_visits_change"]) == (2, "+100%")


def test_a_series_goes_on_alone_where_the_table_has_ended() -> None:
    before = Table([Row({"nb_visits": 2})], simple=True)
    table = with_comparisons(
        Table([Row({})]), [before], SERIES[1:], ReportShape(), inverted=False, ended=True
    )
    assert [one.columns for one in compared(table.rows[0]).rows] == [{"nb_visits": 2}]


def test_a_series_whose_dates_have_ended_is_named_by_all_of_them() -> None:
    days = parse_periods("day", "2010-01-03,2010-01-04", date(2010, 2, 1))
    series = Series("", "All visits", days[0], "day", "2010-01-03,2010-01-04", "en", tuple(days))
    assert series.at(1).date == "2010-01-04"
    assert series.at(2).date == "2010-01-03,2010-01-04"
