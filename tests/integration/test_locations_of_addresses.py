"""UserCountry.getLocationFromIP: asks the instance's own database of addresses."""

from typing import Any

import pytest

from reporting.errors import ApiError
from reporting.methods import METHODS
from schemas.hit import Location
from sink.database import Database
from tests.integration.reports import Reports

BESANCON = Location("fr", "BFC", "Besançon", 47.249, 6.018)


def reports_with(database: Database, place: Location, client: str = "192.0.2.1") -> Reports:
    places = {"192.0.2.7": place}
    locate = lambda address: places.get(address, Location())  # noqa: E731
    return Reports(database, {"methods": METHODS, "locate": locate, "client": client})


def test_an_address_is_somewhere(database: Database) -> None:
    answer: Any = reports_with(database, BESANCON).ask("UserCountry.getLocationFromIP", ip="192.0.2.7")
    assert answer == {
        "continent_name": "Europe",
        "continent_code": "EU",
        "country_code": "FR",
        "country_name": "France",
        "city_name": "Besançon",
        "lat": 47.249,
        "long": 6.018,
        "region_code": "BFC",
        "region_name": "Bourgogne-Franche-Comté",
        "ip": "192.0.2.7",
    }


def test_a_country_without_region_and_city(database: Database) -> None:
    place = Location("us", latitude=38.0, longitude=-97.0)
    answer: Any = reports_with(database, place).ask("UserCountry.getLocationFromIP", ip="192.0.2.7")
    assert (answer["continent_code"], answer["country_name"]) == ("NA", "United States")
    assert (answer["city_name"], answer["lat"], answer["long"]) == ("", 38.0, -97.0)
    assert "region_code" not in answer


def test_the_callers_address_is_looked_up_when_none_is_named(database: Database) -> None:
    found: Any = reports_with(database, BESANCON, client="192.0.2.7").ask("UserCountry.getLocationFromIP")
    assert found["country_code"] == "FR"


def test_an_address_that_nobody_knows_is_only_itself(database: Database) -> None:
    reports = reports_with(database, BESANCON)
    assert reports.ask("UserCountry.getLocationFromIP", ip="2001:db8::1") == {"ip": "2001:db8::1"}
    nothing_to_ask = Reports(database, {"methods": METHODS})
    assert nothing_to_ask.ask("UserCountry.getLocationFromIP", ip="192.0.2.7") == {"ip": "192.0.2.7"}


def test_what_is_no_address_is_refused(database: Database) -> None:
    with pytest.raises(ApiError, match="expected an IPv4 or IPv6 address"):
        reports_with(database, BESANCON).ask("UserCountry.getLocationFromIP", ip="<b>")
