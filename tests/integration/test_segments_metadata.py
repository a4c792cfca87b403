"""API.getSegmentsMetadata: which segments clients are told of, in which order."""

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from reporting.access import ANONYMOUS
from reporting.api import ask
from reporting.methods import METHODS
from reporting.parameters import Parameters
from schemas.access import Grant
from schemas.config import Dimension
from sink.database import Database
from tests.integration.reports import CONFIG, Reports

DIMENSIONS = {
    number: Dimension(site_id=1, dimension_id=number, index=number, scope=scope, name=name)
    for number, scope, name in ((1, "visit", "My plan"), (2, "action", "My part"))
}


@pytest.fixture
def reports(database: Database) -> Reports:
    return Reports(database, {"methods": METHODS}, replace(CONFIG, dimensions={1: DIMENSIONS}))


def listed(reports: Reports, **parameters: str) -> list[Mapping[str, Any]]:
    found: Any = reports.ask("API.getSegmentsMetadata", idSite="", idSites="1", **parameters)
    return list(found)


def test_segments_go_by_category_and_kind_and_name(reports: Reports) -> None:
    """Custom dimensions are among what their scope is about."""
    rows = [row for row in listed(reports) if row["category"] != "Custom Variables"]
    places = list(dict.fromkeys((row["category"], row["type"]) for row in rows))
    for place in places:
        names = [row["name"] for row in rows if (row["category"], row["type"]) == place]
        assert names == sorted(names), place
    assert places[:3] == [
        ("Visitors", "metric"), ("Visitors", "dimension"), ("Visitor location", "dimension"),
    ]  # fmt: skip
    of = {row["segment"]: row["category"] for row in rows}
    assert (of["dimension1"], of["dimension2"]) == ("Visitors", "Behaviour")


def test_a_site_that_is_not_named_has_no_dimensions_to_tell(reports: Reports) -> None:
    found: Any = reports.ask("API.getSegmentsMetadata", idSite="")
    assert not any(row["segment"].startswith("dimension") for row in found)


def test_segments_that_stand_for_others_name_them(reports: Reports) -> None:
    of = {row["segment"]: row for row in listed(reports)}
    assert of["actionUrl"]["unionOfSegments"] == ["pageUrl", "downloadUrl", "outlinkUrl", "eventUrl"]
    assert of["productCategory"]["unionOfSegments"][0] == "productCategory1"
    assert "productCategory1" not in of
    assert "unionOfSegments" not in of["pageUrl"]


def test_a_list_of_segments_is_cut_and_loses_columns_as_asked(reports: Reports) -> None:
    assert [row["segment"] for row in listed(reports, filter_limit="2")] == ["actions", "daysSinceFirstVisit"]
    assert not any("acceptedValues" in row for row in listed(reports, hideColumns="acceptedValues"))


def test_only_known_callers_may_single_people_out(reports: Reports) -> None:
    values = {"method": "API.getSegmentsMetadata", "idSite": "1"}
    for login, permitted in (("ann", True), (ANONYMOUS.login, False)):
        grant = Grant(login=login, roles={1: "view"})
        found: Any = asyncio.run(ask(reports._instance, grant, Parameters(values))).result
        told = {row["segment"]: row["permission"] for row in found if "permission" in row}
        assert told == dict.fromkeys(("visitIp", "fingerprint", "userId", "visitId", "visitorId"), permitted)
