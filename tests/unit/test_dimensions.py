"""Custom dimensions and custom variables."""

import pytest

from rules.dimensions import (
    action_dimensions,
    custom_variables,
    dimension_rules,
    extraction_problem,
    visit_dimensions,
)
from schemas.config import Dimension, Extraction


def a_dimension(dimension_id: int, scope: str = "action", **fields: object) -> Dimension:
    return Dimension(
        site_id=1,
        dimension_id=dimension_id,
        index=1,
        scope=scope,  # type: ignore[arg-type]
        name="d",
        **fields,  # type: ignore[arg-type]
    )


def extracted(url: str = "", title: str = "", *rules: Extraction, **fields: object) -> dict[int, str]:
    of_site = dimension_rules([a_dimension(1, extractions=rules, **fields)])
    return action_dimensions({"action_name": title} if title else {}, url, of_site)


def test_dimensions_are_read_by_scope() -> None:
    rules = dimension_rules([a_dimension(1, "visit"), a_dimension(2), a_dimension(3, active=False)])
    params = {"dimension1": "v", "dimension2": "a", "dimension3": "off", "dimension9": "x", "dimension0": "z"}
    assert visit_dimensions(params, rules) == {1: "v"}
    assert action_dimensions(params, "", rules) == {2: "a"}


@pytest.mark.parametrize(
    ("sent", "expected"),
    [("  pad  ", {1: "pad"}), ("0", {1: "0"}), ("", {1: ""}), ("   ", {1: ""}), ("v" * 300, {1: "v" * 250})],
)
def test_a_value_is_trimmed_and_cut_to_250(sent: str, expected: dict[int, str]) -> None:
    assert action_dimensions({"dimension1": sent}, "", dimension_rules([a_dimension(1)])) == expected


def test_a_dimension_sent_empty_keeps_extractions_away() -> None:
    of_site = dimension_rules([a_dimension(1, extractions=(Extraction("urlparam", "param"),))])
    assert action_dimensions({"dimension1": ""}, "http://e.org/?param=2", of_site) == {1: ""}


def test_a_value_from_the_url() -> None:
    rule = Extraction("url", "/sub_(.{2})/page")
    assert extracted("http://e.org/sub_en/page?x", "", rule) == {1: "en"}
    assert extracted("http://e.org/other", "", rule) == {}
    assert extracted("", "", rule) == {}


def test_a_value_from_a_url_parameter_is_decoded() -> None:
    rule = Extraction("urlparam", "param")
    assert extracted("http://e.org/?test=1&param=en%20US#x", "", rule) == {1: "en US"}
    assert extracted("http://e.org/?notparam=1", "", rule) == {}
    assert extracted("http://e.org/?param=", "", rule) == {}


def test_a_value_from_the_title() -> None:
    assert extracted("", "Shop / Shoes", Extraction("action_name", "/ (.*)$")) == {1: "Shoes"}


def test_the_first_extraction_with_a_value_wins_and_the_parameter_beats_them() -> None:
    rules = (Extraction("urlparam", "test"), Extraction("urlparam", "param"))
    assert extracted("http://e.org/?param=2&test=1", "", *rules) == {1: "1"}
    assert extracted("http://e.org/?param=2", "", *rules) == {1: "2"}
    of_site = dimension_rules([a_dimension(1, extractions=rules)])
    assert action_dimensions({"dimension1": "sent"}, "http://e.org/?param=2", of_site) == {1: "sent"}


def test_extractions_obey_the_case_flag() -> None:
    rule = Extraction("url", "/SUB_(.*)")
    assert extracted("http://e.org/sub_en", "", rule) == {}
    assert extracted("http://e.org/sub_en", "", rule, case_sensitive=False) == {1: "en"}


def test_visit_dimensions_have_no_extractions() -> None:
    rules = dimension_rules([a_dimension(1, "visit", extractions=(Extraction("url", "(.*)"),))])
    assert visit_dimensions({}, rules) == {}


@pytest.mark.parametrize(
    ("rule", "word"),
    [
        (Extraction("url", "no group"), "group"),
        (Extraction("url", "(?=x)(.)"), "linear"),
        (Extraction("url", ""), "group"),
        (Extraction("colour", "(.*)"), "colour"),
    ],
)
def test_an_extraction_that_can_give_no_value_is_reported_and_ignored(rule: Extraction, word: str) -> None:
    assert word in (extraction_problem(rule) or "")
    assert extracted("http://e.org/", "title", rule) == {}
    assert extraction_problem(Extraction("url", "(.*)")) is None


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        ('{"1":["name","value"]}', {1: ("name", "value")}),
        ('{"5":["n","v"],"6":["n","v"],"0":["n","v"]}', {5: ("n", "v")}),
        ('{"1":["SET WITH EMPTY VALUE",""]}', {1: ("SET WITH EMPTY VALUE", "")}),
        ('{"1":["","v"]}', {}),
        ('{"1":["n"]}', {}),
        ('{"1":"x"}', {}),
        ('{"1":[5,1.5]}', {1: ("5", "1.5")}),
        ('{"1":[["x"],"y"]}', {}),
        ('{"x":["n","v"]}', {}),
        ('[["n","v"]]', {}),
        ("not json", {}),
        ("", {}),
        ('{"1":["n","v"]', {}),
    ],
)
def test_custom_variables_have_five_slots(sent: str, expected: dict[int, tuple[str, str]]) -> None:
    assert custom_variables(sent) == expected


def test_custom_variables_are_cut_to_200() -> None:
    assert custom_variables('{"1":["%s","%s"]}' % ("n" * 300, "v" * 300)) == {1: ("n" * 200, "v" * 200)}  # noqa: UP031
