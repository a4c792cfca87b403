"""Generic filters on small tables: order, limits, trees, sums."""

from typing import Any

import pytest

from reporting import generic_filters as filters
from reporting.errors import ApiError
from reporting.labels import find_label, keep_labels
from reporting.method import ProcessedMetric, ReportShape, Unit
from reporting.table import Row, Table
from reporting.wording import format_value, pretty_seconds


def table(*rows: tuple[str, int], **columns: Any) -> Table:
    return Table([Row({"label": label, "nb_visits": visits}) for label, visits in rows])


def labels(value: Table) -> list[Any]:
    return [row.label for row in value]


def tree() -> Table:
    movie = Row(
        {"label": "Movie", "nb_visits": 5}, {"segment": "c==Movie"}, table(("play", 3), ("Search", 3)), 1
    )
    music = Row({"label": "Music", "nb_visits": 4}, {"segment": "c==Music"}, table(("play", 4)), 2)
    return Table([movie, music])


EVENTS = ReportShape(dimension="Events_Category", subtable_dimension="Events_Action")


def test_equal_rows_are_ordered_by_label_in_the_other_direction() -> None:
    rows = table(("b", 1), ("a", 1), ("c", 2)).rows
    assert [row.label for row in filters.sort_rows(rows, "nb_visits", True)] == ["c", "a", "b"]
    assert [row.label for row in filters.sort_rows(rows, "nb_visits", False)] == ["b", "a", "c"]


def test_rows_without_the_column_come_last_and_first_when_ascending() -> None:
    rows = [Row({"label": "x", "nb_visits": 9}), Row({"label": "y", "nb_visits": 1, "exits": 2})]
    assert [row.label for row in filters.sort_rows(rows, "exits", True)] == ["y", "x"]
    assert [row.label for row in filters.sort_rows(rows, "exits", False)] == ["x", "y"]


def test_labels_sort_naturally_whatever_their_case() -> None:
    rows = table(("page 10", 1), ("Page 9", 1), ("SKU2", 1), ("SKU IN", 1)).rows
    assert [row.label for row in filters.sort_rows(rows, "label", False)] == [
        "Page 9",
        "page 10",
        "SKU2",
        "SKU IN",
    ]


def test_an_unknown_sort_column_gives_the_default_order() -> None:
    assert labels(filters.sort(table(("a", 1), ("b", 2)), "nope", "desc", ReportShape())) == ["b", "a"]


def test_sub_tables_may_have_an_order_of_their_own() -> None:
    value = table(("a", 1), ("b", 2))
    value.rows[0].subtable = table(("y", 9), ("x", 1))
    shape = ReportShape(subtables_by_label=True)
    for column, below in ((shape.sort_column, ["x", "y"]), ("nb_actions", ["y", "x"])):
        ordered = filters.sort(value, column, "desc", shape)
        assert labels(ordered) == ["b", "a"]
        assert ordered.rows[1].subtable is not None
        assert labels(ordered.rows[1].subtable) == below


def test_the_summary_row_stays_last() -> None:
    value = Table(table(("a", 1), ("b", 2)).rows, Row({"label": "Others", "nb_visits": 99}))
    assert labels(filters.sort(value, "nb_visits", "desc", ReportShape())) == ["b", "a", "Others"]
    assert labels(filters.limit(value, 0, 2)) == ["a", "b"]
    assert labels(filters.limit(value, 1, -1)) == ["b", "Others"]


@pytest.mark.parametrize(
    ("offset", "count", "kept"),
    [(0, 0, []), (0, -1, ["a", "b", "c"]), (1, 1, ["b"]), (5, 10, []), (0, 10, ["a", "b", "c"])],
)
def test_limit_and_offset(offset: int, count: int, kept: list[str]) -> None:
    assert labels(filters.limit(table(("a", 3), ("b", 2), ("c", 1)), offset, count)) == kept


def test_truncating_leaves_a_table_of_one_row_more_as_it_is() -> None:
    value = table(("a", 3), ("b", 2), ("c", 1))
    assert labels(filters.truncate(value, 2, ())) == ["a", "b", "c"]
    cut = filters.truncate(value, 1, ())
    assert labels(cut) == ["a", "Others"]
    assert cut.summary is not None
    assert cut.summary.columns["nb_visits"] == 3
    assert labels(filters.truncate(value, 0, ())) == ["Others"]


def test_sums_take_extremes_of_min_and_max_columns() -> None:
    rows = [
        Row({"label": "a", "min_t": "0.5", "max_t": 2, "n": "3", "goals": {"idgoal=1": {"revenue": 1.5}}}),
        Row({"label": "b", "min_t": None, "max_t": 7, "n": 4, "goals": {"idgoal=2": {"revenue": 1}}}),
    ]
    total = filters.sum_rows(rows)
    assert total == {
        "min_t": "0.5", "max_t": 7, "n": 7,
        "goals": {"idgoal=1": {"revenue": 1.5}, "idgoal=2": {"revenue": 1}},
    }  # fmt: skip


def test_a_pattern_is_searched_whatever_its_case_and_never_stalls() -> None:
    value = table(("Alpha", 1), ("beta", 1))
    assert labels(filters.keep_matching(value, ["label"], "ALPHA|x")) == ["Alpha"]
    assert labels(filters.keep_matching(value, ["label"], "[")) == []
    hostile = table(("a" * 5000, 1))
    assert labels(filters.keep_matching(hostile, ["label"], "(a+)+$b")) == []


def test_a_recursive_pattern_keeps_parents_of_matching_rows() -> None:
    kept = filters.keep_matching_branches(tree(), "label", "search")
    assert labels(kept) == ["Movie"]
    assert kept.rows[0].subtable is not None
    assert labels(kept.rows[0].subtable) == ["Search"]


def test_shares_are_of_all_rows_also_of_those_left_out() -> None:
    def share(row: Row, whole: Table) -> float:
        return filters.quotient(row.columns["nb_visits"], sum(other.columns["nb_visits"] for other in whole))  # type: ignore[misc]

    whole = table(("a", 3), ("b", 1))
    metric = ProcessedMetric(name="share", compute=share)
    (row,) = filters.compute_processed(filters.limit(whole, 1, 1), [metric], whole).rows
    assert row.columns["share"] == 0.25


def test_low_population_is_below_the_threshold() -> None:
    value = table(("a", 3), ("b", 1))
    assert labels(filters.exclude_low_population(value, "nb_visits", 2)) == ["a"]
    assert labels(filters.exclude_low_population(value, "nb_visits", 3)) == ["a"]
    assert labels(filters.exclude_low_population(value, "nb_visits", -1)) == ["a", "b"]


def test_low_population_without_a_threshold_is_less_than_two_percent_of_all() -> None:
    value = table(("a", 97), ("b", 2), ("c", 1))
    assert labels(filters.exclude_low_population(value, "nb_visits", 0)) == ["a", "b"]
    assert labels(filters.exclude_low_population(value, "nb_hits", 0)) == ["a", "b", "c"]


def test_flat_rows_join_labels_and_name_their_dimensions() -> None:
    flat = filters.flatten(tree(), EVENTS, with_parents=False)
    assert labels(flat) == ["Movie - play", "Movie - Search", "Music - play"]
    assert flat.rows[1].metadata == {"Events_Category": "Movie", "Events_Action": "Search"}
    assert all(row.subtable_id is None for row in flat)


def test_parents_are_kept_and_marked_on_demand() -> None:
    flat = filters.flatten(tree(), EVENTS, with_parents=True)
    assert labels(flat)[:2] == ["Movie", "Movie - play"]
    assert [row.metadata["is_aggregate"] for row in flat] == [1, 0, 0, 1, 0]


def test_pages_join_with_one_slash() -> None:
    value = Table([Row({"label": "docs"}, {}, Table([Row({"label": "/index"}, {"segment": "s"})]))])
    shape = ReportShape(dimension="Actions_PageUrl", recursive=True, flat_separator="/")
    flat = filters.flatten(value, shape, with_parents=False)
    assert labels(flat) == ["docs/index"]
    assert flat.rows[0].metadata == {"Actions_PageUrl": "docs/index", "segment": "s"}


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ("Movie", "Movie"),
        ("@Movie", "Movie"),
        ("Movie%20", "Movie"),
        ("Movie > Search", "Search"),
        ("Movie%20%253E%20Search", None),
        ("Movie > nope", None),
        ("> Movie", None),
        ("Mov", None),
    ],
)
def test_a_label_finds_its_row(wanted: str, found: str | None) -> None:
    row = find_label(tree(), wanted)
    assert (None if row is None else row.label) == found


def test_a_path_of_labels_may_be_sent_as_html_has_them() -> None:
    value = Table([Row({"label": "Google"}, {}, table(('<a> & "b"', 1)), 1)])
    row = find_label(value, "Google%3E%26lt%3Ba%26gt%3B%20%26amp%3B%20%26quot%3Bb%26quot%3B")
    assert row is not None
    assert row.label == '<a> & "b"'


@pytest.mark.parametrize(
    ("wanted", "found"),
    [("a%3E+%40++%2540one%2540", " @one@"), ("a%3E++%2540one%2540", "@one@"), ("a > @%40one%40", " @one@")],
)  # fmt: skip
def test_an_at_sign_prefers_the_leaf_unless_it_is_encoded(wanted: str, found: str) -> None:
    below = Table([Row({"label": " @one@"}), Row({"label": "@one@"}, {}, table((" two", 1)), 2)])
    row = find_label(Table([Row({"label": "a"}, {}, below, 1)]), wanted)
    assert row is not None
    assert row.label == found


def test_folders_name_their_segment_before_the_dimension() -> None:
    below = Table([Row({"label": "/b"}, {"segment": "s2"})])
    value = Table([Row({"label": "a"}, {"segment": "s1"}, below, 1)])
    shape = ReportShape(dimension="D", recursive=True, flat_separator="/", folder_segment_early=True)
    folder, page = filters.flatten(value, shape, with_parents=True).rows
    assert list(folder.metadata) == ["segment", "D", "is_aggregate"]
    assert list(page.metadata) == ["D", "is_aggregate", "segment"]


def test_values_of_a_dimension_pass_their_segment_on_to_rows_without_one() -> None:
    below = Table([Row({"label": "/b"}, {"url": "b"}), Row({"label": "/c"}, {"segment": "s2"})])
    value = Table([Row({"label": "a"}, {"segment": "s1"}, below, 1)])
    shape = ReportShape(dimension="D", recursive=True, segment_early=True)
    bare, own = filters.flatten(value, shape, with_parents=False).rows
    assert bare.metadata["segment"] == "s1"
    assert list(own.metadata) == ["segment", "D"]
    assert own.metadata["segment"] == "s2"


def test_a_label_with_an_arrow_of_its_own_is_found_whole() -> None:
    value = table(("free > proprietary", 1))
    for wanted in ("free > proprietary", "free%20%3E%20proprietary", "free%20%253E%20proprietary"):
        row = find_label(value, wanted)
        assert row is not None, wanted


def test_several_labels_keep_their_order_and_say_which_found_a_row() -> None:
    kept = keep_labels(tree(), ["Music", "Movie", "Music"], True)
    assert labels(kept) == ["Music", "Movie", "Music"]
    assert [row.metadata["label_index"] for row in kept] == [2, 1, 2]


def test_a_pivot_counts_others_in_its_limit() -> None:
    rows = [*tree().rows, Row({"label": "News"}, {}, table(("read", 1)), 3)]
    value = filters.pivot(Table(rows), EVENTS, "Events.getCategory", "Events.Action", "", 2)
    assert [row.columns for row in value] == [
        {"label": "Movie", "1.\u00a0play": 3, "Others": 3},
        {"label": "Music", "1.\u00a0play": 4, "Others": False},
        {"label": "News", "1.\u00a0play": False, "Others": 1},
    ]


def test_a_pivot_whose_columns_fit_the_limit_has_no_others() -> None:
    value = filters.pivot(tree(), EVENTS, "Events.getCategory", "Events.Action", "", 2)
    assert list(value.rows[0].columns) == ["label", "1.\u00a0play", "2.\u00a0Search"]


def test_a_pivot_of_all_columns_has_no_others() -> None:
    value = filters.pivot(tree(), EVENTS, "Events.getCategory", "Events.Action", "nb_visits", -1)
    assert value.rows[1].columns == {"label": "Music", "1.\u00a0play": 4, "2.\u00a0Search": False}


def test_a_report_whose_rows_have_rows_of_their_own_kind_is_pivoted_by_itself() -> None:
    pages = ReportShape(dimension="Actions_PageUrl", recursive=True)
    value = filters.pivot(tree(), pages, "Actions.getPageUrls", "Actions.PageUrl", "nb_visits", -1)
    assert value.rows[1].columns == {"label": "Music", "1.\u00a0play": 4, "2.\u00a0Search": False}
    with pytest.raises(ApiError, match="does not match"):
        filters.pivot(tree(), pages, "Actions.getPageUrls", "Actions.PageTitle", "nb_visits", -1)


def test_columns_of_a_pivot_are_numbered_last() -> None:
    value = filters.pivot(tree(), EVENTS, "Events.getCategory", "Events.Action", "", 2, numbered=False)
    assert list(value.rows[0].columns) == ["label", "play", "Search"]


def test_a_report_without_sub_tables_cannot_be_pivoted() -> None:
    with pytest.raises(ApiError, match="has no subtable dimension"):
        filters.pivot(tree(), ReportShape(), "X.y", "A.B", "", 10)


def test_hidden_columns_win_and_the_label_stays_when_columns_are_chosen() -> None:
    chosen = filters.select_columns(table(("a", 1)), ["nb_visits"], [], False)
    assert list(chosen.rows[0].columns) == ["label", "nb_visits"]
    hidden = filters.select_columns(table(("a", 1)), [], ["label"], False)
    assert list(hidden.rows[0].columns) == ["nb_visits"]


def test_processed_metrics_follow_the_other_columns() -> None:
    rate = ProcessedMetric(name="rate", compute=lambda row, _: 0.5, unit=Unit.PERCENT)
    assert list(filters.compute_processed(table(("a", 1)), [rate]).rows[0].columns) == [
        "label", "nb_visits", "rate",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("value", "digits", "rounded"),
    [(0.145, 2, 0.15), (2.5, 0, 3), (-2.5, 0, -3), (1.005, 2, 1.01), (7 / 3, 1, 2.3), (3.0, 2, 3)],
)
def test_rounding_is_half_up_on_the_decimal(value: float, digits: int, rounded: float) -> None:
    assert filters.php_round(value, digits) == rounded


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (0.6667, Unit.PERCENT, "66.67%"),
        (0, Unit.PERCENT, "0%"),
        (2, Unit.PERCENT, "200%"),
        (773, Unit.SECONDS, "12 min 53s"),
        (260, Unit.CLOCK, "00:04:20"),
        (0.455, Unit.SHORT_SECONDS, "0.46s"),
        (1500, Unit.MONEY, "$1,500"),
        (255.61, Unit.MONEY, "$255.61"),
        (None, Unit.MONEY, None),
    ],
)
def test_metrics_as_text(value: float | None, unit: Unit, text: str | None) -> None:
    assert format_value(value, unit, "USD", "en") == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0s"), (59, "59s"), (60, "1 min 0s"), (3600, "1 hours 0 min"), (90000, "1 days 1 hours")],
)
def test_durations_at_their_boundaries(seconds: int, text: str) -> None:
    assert pretty_seconds(seconds) == text


def test_german_numbers() -> None:
    assert format_value(0.6667, Unit.PERCENT, "EUR", "de") == "66,67\u00a0%"
    assert format_value(1234.5, Unit.MONEY, "EUR", "de") == "1.234,50\u00a0€"


@pytest.mark.parametrize(
    ("ordered"), [["ad.", "ad2", "ada"], ["a2", "a10", "a100"], ["A", "b", "_"], ["x y", "xz"]]
)
def test_labels_in_natural_order_as_php_has_it(ordered: list[str]) -> None:
    backwards = ordered[::-1]
    assert sorted(backwards, key=filters.natural_key) == ordered


def test_one_goal_shows_all_its_columns_and_all_goals_only_their_rates() -> None:
    goals = {
        "idgoal=1": {"nb_conversions": 2, "revenue": 10.5},
        "idgoal=ecommerceAbandonedCart": {"nb_conversions": 1, "revenue": 99.0, "items": 3},
    }
    held = Table([Row({"label": "x", "nb_visits": 4, "revenue": 10.5, "goals": goals})])

    def shown(goal: str) -> dict[str, Any]:
        metrics = filters.visit_metrics(held, goal)
        columns = filters.compute_processed(held, metrics).rows[0].columns
        return {name: value for name, value in columns.items() if name.startswith(("goal_", "revenue_"))}

    assert shown("1") == {
        "revenue_per_visit": 2.5,
        "goal_1_conversion_rate": 0.5,
        "goal_1_nb_conversions": 2,
        "goal_1_revenue_per_visit": 2.63,
        "goal_1_revenue": 10.5,
    }
    assert shown("ecommerceAbandonedCart")["goal_ecommerceAbandonedCart_items"] == 3
    assert list(shown("-1")) == [
        "revenue_per_visit",
        "goal_1_conversion_rate",
        "goal_ecommerceAbandonedCart_conversion_rate",
    ]
