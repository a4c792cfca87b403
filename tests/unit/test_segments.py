"""Segments: the text of `segment=` and what it compiles to."""

import pytest

from reporting.errors import ApiError
from reporting.segments import (
    Compiled,
    Condition,
    Never,
    Segment,
    compile_segment,
    parse_segment,
)
from schemas.config import Config, Dimension
from schemas.segments import SegmentField


def no_names(field: SegmentField, condition: Condition) -> None:
    return None


def compiled(text: str, config: Config | None = None) -> Compiled:
    return compile_segment(parse_segment(text), site_id=1, config=config or Config(), resolve=no_names)


def test_a_comma_binds_tighter_than_a_semicolon() -> None:
    """a,b;c is (a or b) and c."""
    segment = parse_segment("countryCode==fr,countryCode==de;actions>1")
    assert segment == Segment(
        (
            (Condition("countryCode", "==", "fr"), Condition("countryCode", "==", "de")),
            (Condition("actions", ">", "1"),),
        )
    )


@pytest.mark.parametrize(
    ("text", "operator", "value"),
    [
        ("city==Paris", "==", "Paris"),
        ("city!=Paris", "!=", "Paris"),
        ("city=@ar", "=@", "ar"),
        ("city!@ar", "!@", "ar"),
        ("city=^Pa", "=^", "Pa"),
        ("city=$is", "=$", "is"),
        ("city>=b", ">=", "b"),
        ("city<=b", "<=", "b"),
        ("city>b", ">", "b"),
        ("city<b", "<", "b"),
        ("city==", "==", ""),
        ("city==a=b", "==", "a=b"),
    ],
)
def test_every_operator_is_read_with_its_value(text: str, operator: str, value: str) -> None:
    assert parse_segment(text).clauses == ((Condition("city", operator, value),),)  # type: ignore[arg-type]


def test_a_value_that_was_encoded_twice_is_decoded_twice() -> None:
    assert parse_segment("pageUrl=@category%252F").clauses == ((Condition("pageUrl", "=@", "category/"),),)


def test_an_escaped_comma_belongs_to_the_value() -> None:
    assert parse_segment(r"city==a\,b").clauses == ((Condition("city", "==", "a,b"),),)


def test_a_leading_separator_is_ignored_and_a_trailing_one_fits_no_visit() -> None:
    assert parse_segment(";city==a").clauses == ((Condition("city", "==", "a"),),)
    assert parse_segment("city==a;").clauses == ((Condition("city", "==", "a"),), (Never(),))
    assert " (0)" in compiled("city==a;").visit


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("countryCode", "The segment condition 'countryCode' is not valid."),
        ("countryCode=fr", "The segment condition 'countryCode=fr' is not valid."),
        ("nope==1", "Segment 'nope' is not a supported segment."),
        ("deviceType==xyz", "Invalid 'log_visit.config_device_type' segment value xyz"),
        ("visitEcommerceStatus==foo", "Invalid 'log_visit.visit_goal_buyer' segment value foo"),
        (
            "actions>",
            "The segment 'actions>' has no value specified. You can leave this value empty only when you use"
            " the operators: != (is not) or == (is)",
        ),
        ("dimension3==x", "Segment 'dimension3' is not a supported segment."),
    ],
)
def test_what_cannot_be_understood_is_refused_with_its_reason(text: str, message: str) -> None:
    with pytest.raises(ApiError) as refused:
        compiled(text)
    assert refused.value.message == message


def test_values_are_bound_and_never_part_of_the_query() -> None:
    evil = "x') OR 1=1 --"
    result = compiled(f"city=={evil}")
    assert evil not in result.visit
    assert list(result.parameters.values()) == [evil.lower()]


def test_no_segment_means_all_visits() -> None:
    assert compiled("").is_all
    assert compiled("").ids() == "1"


def test_conditions_on_actions_must_hold_for_the_same_action() -> None:
    result = compiled("eventCategory==Movie;eventAction==play")
    assert result.visit.count("SELECT visit_id FROM actions") == 1


def test_a_negated_condition_on_actions_works_on_the_visit() -> None:
    assert "visit_id NOT IN (SELECT visit_id FROM actions" in compiled("eventCategory!=Movie").visit


def test_is_not_empty_asks_for_an_action_with_a_value() -> None:
    assert "visit_id IN (SELECT visit_id FROM actions" in compiled("siteSearchKeyword!=").visit


def test_an_active_dimension_of_the_site_is_a_segment() -> None:
    config = Config(
        dimensions={
            1: {3: Dimension(site_id=1, dimension_id=3, index=1, scope="visit", name="plan", active=True)}
        }
    )
    assert "dimensions[3]" in compiled("dimension3==gold", config).visit


def test_scheme_and_www_are_no_part_of_a_page() -> None:
    assert list(compiled("pageUrl==https://www.Example.org/A").parameters.values()) == ["example.org/a"]


def test_wildcards_of_like_are_taken_literally() -> None:
    assert list(compiled("city=@100%_").parameters.values()) == [r"%100\%\_%"]


def test_a_visit_type_that_is_none_fits_no_visit() -> None:
    assert compiled("visitorType==other").visit == "((0))"


def test_a_strict_instance_finds_visits_by_the_numbers_it_shows() -> None:
    numbered = compile_segment(
        parse_segment("visitId>5"), site_id=1, config=Config(), resolve=no_names, numbered=True
    )
    assert "row_number() OVER (ORDER BY visit_id)" in numbered.visit
    assert list(numbered.parameters.values()) == [5.0]
    assert "row_number" not in compiled("visitId>5").visit
