"""Visits by place: country, continent, region, city."""

import asyncio
import ipaddress
from collections.abc import Mapping
from urllib.parse import quote_plus

from reporting.errors import ApiError
from reporting.icons import icon
from reporting.method import Access, ApiRequest, Method, ReportShape
from reporting.methods.breakdown import UNKNOWN, Tables, dimension, dimension_shape, first_label
from reporting.queries import Labels, read_aggregates
from reporting.rows import Shown, regroup, rounded, visits_table
from reporting.table import Columns, Result, Value, single_value
from rules.locations import continent_code, continent_name, country_name, country_names, region_name
from schemas.hit import Location


def _flag(country: str) -> str:
    return icon("flags", country or "xx")


def _country(labels: Labels, language: str = "en") -> Shown:
    code = labels[0] or "xx"
    return Shown(
        country_name(code, language),
        {"code": code, "logo": _flag(code), "segment": f"countryCode=={code}", "logoHeight": 16},
    )


def _continent(labels: Labels) -> Shown:
    name = continent_name(labels[0])
    return Shown(name, {"code": name})


def _known_region(labels: Labels) -> Labels:
    """Visits without a region are one row, whatever their country."""
    return labels[:2] if labels[1] else ("", "")


def _known_city(labels: Labels) -> Labels:
    return labels if labels[2] else ("", "", "")


def _region(labels: Labels) -> Shown:
    country, region = labels[0] or "xx", labels[1]
    name = region_name(country, region) if region else UNKNOWN
    shown_country = country_name(country)
    label = f"{name}, {shown_country}" if region else UNKNOWN
    segment: Columns = (
        {"segment": f"regionCode=={quote_plus(region)};countryCode=={country}"} if region else {}
    )
    return Shown(
        label,
        {
            **segment,
            "region": region or "xx",
            "country": country,
            "country_name": shown_country,
            "region_name": name,
            "logo": _flag(country),
        },
    )


def _city(labels: Labels) -> Shown:
    country, region, city = labels[0] or "xx", labels[1], labels[2]
    name = region_name(country, region) if region else UNKNOWN
    shown_country = country_name(country)
    shown_city = city or UNKNOWN
    parts = [shown_city, name, shown_country] if region else [shown_city, shown_country]
    label = ", ".join(parts) if city else UNKNOWN
    segment: Columns = {
        "segment": f"city=={quote_plus(city)};regionCode=={quote_plus(region)};countryCode=={country}"
    }
    return Shown(
        label,
        {
            **(segment if city else {}),
            "city_name": shown_city,
            **({} if city else {"city": "xx"}),
            "region": region or "xx",
            "country": country,
            "country_name": shown_country,
            "region_name": name,
            "logo": _flag(country),
        },
    )


async def _cities(request: ApiRequest) -> Tables:
    data = await read_aggregates(request, ["locations", "locations_goals", "city_places"])
    result = {}
    for cell, groups in data.items():
        places = groups["city_places"].rows

        def shown(labels: Labels, places: Mapping[Labels, Mapping[str, float]] = places) -> Shown:
            one, place = _city(labels), places.get(labels)
            if place is None:
                return one
            where: Columns = {"lat": rounded(place["latitude"], 3), "long": rounded(place["longitude"], 3)}
            return Shown(one.label, {**where, **one.metadata})

        result[cell] = visits_table(
            regroup(groups["locations"], _known_city),
            regroup(groups["locations_goals"], lambda labels: (*_known_city(labels[:-1]), labels[-1])),
            shown,
            day=cell.period.kind == "day",
            texts=True,
        )
    return result


async def _distinct_countries(request: ApiRequest) -> Tables:
    data = await read_aggregates(request, ["locations"])
    result = {}
    for cell, groups in data.items():
        found = {labels[0] for labels in groups["locations"].rows}
        result[cell] = single_value("UserCountry_distinctCountries", len(found), filled=not found)
    return result


def _country_names(request: ApiRequest) -> Result:
    return country_names(request.language)


_CONTINENTS_IN_LOCATIONS = {
    "afr": "AF", "amc": "NA", "amn": "NA", "ams": "SA", "ant": "AN", "asi": "AS", "eur": "EU", "oce": "OC",
}  # fmt: skip
"""Databases of addresses name continents by two letters."""


async def _location_of_address(request: ApiRequest) -> Result:
    """Where an address is, the caller's without `ip`; only the address where no database of addresses says.

    `provider` is left alone: the instance has one database at most. Nothing is stored."""
    address = request.parameters.text("ip") or str(request.state.get("client", ""))
    try:
        ipaddress.ip_address(address)
    except ValueError:
        raise ApiError(f"ip is '{address[:100]}': expected an IPv4 or IPv6 address.") from None
    locate = request.state.get("locate")
    place: Location = await asyncio.to_thread(locate, address) if locate is not None else Location()
    answer: dict[str, Value] = {}
    if place.country:
        continent = continent_code(place.country)
        answer = {
            "continent_name": continent_name(continent),
            "continent_code": _CONTINENTS_IN_LOCATIONS.get(continent, ""),
            "country_code": place.country.upper(),
            "country_name": country_name(place.country, request.language),
            "city_name": place.city,
            "lat": place.latitude,
            "long": place.longitude,
        }
        if place.region:
            answer |= {"region_code": place.region, "region_name": region_name(place.country, place.region)}
    return {**answer, "ip": address}


METHODS: dict[str, Method] = {
    "UserCountry.getLocationFromIP": Method(
        answer=_location_of_address, access=Access.SOME_VIEW, filters=False
    ),
    "UserCountry.getCountryCodeMapping": Method(answer=_country_names, access=Access.NONE, filters=False),
    "UserCountry.getCountry": dimension(
        "locations",
        first_label,
        _country,
        dimension_shape("Country", "UserCountry_Country"),
        in_language=_country,
    ),
    "UserCountry.getContinent": dimension(
        "locations",
        lambda labels: (continent_code(labels[0]),),
        _continent,
        dimension_shape("Continent", "UserCountry_Continent"),
    ),
    "UserCountry.getRegion": dimension(
        "locations", _known_region, _region, dimension_shape("Region", "UserCountry_Region")
    ),
    "UserCountry.getCity": Method(cells=_cities, shape=dimension_shape("City", "UserCountry_City")),
    "UserCountry.getNumberOfDistinctCountries": Method(
        cells=_distinct_countries, shape=ReportShape(name="Distinct countries")
    ),
}
