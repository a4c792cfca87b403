"""What metadata tells of reports fits what the methods can answer."""

import pytest

from reporting.catalogue import CATALOGUE, entries_of, find_entry
from reporting.methods import METHODS
from reporting.methods.report_metadata import documentation_of
from reporting.metric_titles import metric_type
from reporting.report_entry import ReportEntry, metric_title
from schemas.config import Config, Dimension, Goal, Site

CONFIG = Config(
    sites={1: Site(site_id=1, name="Shop", ecommerce=True), 2: Site(site_id=2, name="Blog")},
    goals={
        1: {
            1: Goal(site_id=1, goal_id=1, name="Thanks"),
            2: Goal(site_id=1, goal_id=2, name="Gone", deleted=True),
        }
    },
    dimensions={1: {3: Dimension(site_id=1, dimension_id=3, index=1, scope="action", name="Author")}},
)


@pytest.mark.parametrize("entry", entries_of(CONFIG, 1), ids=lambda entry: entry.unique_id)
def test_a_report_in_the_catalogue_can_be_asked(entry: ReportEntry) -> None:
    """Its method exists, so do those of its sub tables and of related reports."""
    methods = [entry.method, *entry.related]
    if entry.subtable_action:
        methods.append(f"{entry.module}.{entry.subtable_action}")
    assert [method for method in methods if method not in METHODS] == []


def test_every_report_of_a_site_has_an_id_of_its_own() -> None:
    ids = [entry.unique_id for entry in entries_of(CONFIG, 1)]
    assert len(ids) == len(set(ids))


def test_goals_shop_and_dimensions_of_the_site_have_reports() -> None:
    ids = {entry.unique_id for entry in entries_of(CONFIG, 1)}
    assert {
        "Goals_get_idGoal--1",
        "Goals_getDaysToConversion_idGoal--ecommerceOrder",
        "CustomDimensions_getCustomDimension_idDimension--3",
    } <= ids
    assert "Goals_get_idGoal--2" not in ids, "a deleted goal has no report"
    assert not any("idGoal" in entry.unique_id for entry in entries_of(CONFIG, 2))


@pytest.mark.parametrize(
    ("method", "parameters", "found"),
    [
        ("Goals.get", {}, "Goals_get"),
        ("Goals.get", {"idGoal": "1"}, "Goals_get_idGoal--1"),
        ("Goals.get", {"idGoal": "9"}, None),
        ("UserCountry.getCountry", {"idGoal": "1"}, "UserCountry_getCountry"),
        ("CustomDimensions.getCustomDimension", {}, None),
        ("Nope.get", {}, None),
    ],
)
def test_a_report_is_found_by_its_method_and_parameters(
    method: str, parameters: dict[str, str], found: str | None
) -> None:
    entry = find_entry(CONFIG, 1, method, parameters)
    assert (None if entry is None else entry.unique_id) == found


def test_reports_and_metrics_are_explained() -> None:
    """In our own words; what a plugin or Matomo would add has none of ours."""
    silent = {
        entry.unique_id
        for entry in entries_of(CONFIG, 1)
        if not documentation_of(entry) and not entry.parameters and entry.category != "Ecommerce"
    }
    assert silent == set()
    explained = {name for entry in CATALOGUE.values() for name in entry.documented}
    assert {"nb_visits", "bounce_rate", "exit_rate", "nb_events", "avg_page_load_time"} <= explained


def test_metrics_of_reports_have_titles_and_types() -> None:
    """Names with a title of their own only; a raw name would be shown to people."""
    untitled = {
        name
        for entry in CATALOGUE.values()
        for name in (*entry.metrics, *entry.processed)
        if metric_title(entry, name, "en") == name
    }
    assert untitled == {"max_actions_new"}, "Matomo shows this one as it is, too"
    method = METHODS["Goals.getItemsSku"]
    names = ("revenue", "avg_price", "quantity", "conversion_rate")
    assert [metric_type(name, method) for name in names] == ["money", "money", "number", "percent"]


@pytest.mark.parametrize(
    ("method", "first"),
    [("Referrers.getKeywords", "Referrers_Keyword"), ("Events.getName", "Events_EventName")],
)
def test_reports_of_two_dimensions_name_both(method: str, first: str) -> None:
    """What flat rows tell as metadata."""
    shape = METHODS[method].shape
    assert [name for name, _ in CATALOGUE[method].dimensions] == [first, shape.subtable_dimension]
