"""What a browser's language says, and the names of places and languages."""

import pytest

from rules.locations import (
    CONTINENTS,
    continent_code,
    continent_name,
    countries,
    countries_of,
    country_name,
    guess_country,
    language_code,
    language_label,
    language_name,
    region_name,
)


@pytest.mark.parametrize(
    ("header", "language", "country"),
    [
        ("de-DE,de;q=0.9", "de-de", "de"),
        ("fr", "fr", "fr"),
        ("pt-br", "pt-br", "br"),
        ("en", "en", "xx"),
        ("en,en-us,en;q=", "en", "us"),
        ("zh-Hant-TW", "zh-tw", "tw"),
        ("es-419", "es", "xx"),
        ("es", "es", "es"),
        ("xx", "xx", "xx"),
        ("EN-GB,fr;q=0.5", "en-gb", "gb"),
        ("de-AT-1996,de;q=0.5", "de-at", "at"),
        ("el,fi", "el", "gr"),
        ("sr_RS", "sr-rs", "rs"),
        ("kpe_LR", "xx", "lr"),
        ("q=3,;,-,*", "xx", "xx"),
        ("xx,fr-ch", "fr-ch", "ch"),
        ("en-zz", "en", "xx"),
        ("", "", "xx"),
        ("  ", "", "xx"),
    ],
)
def test_a_header_tells_a_language_and_a_country(header: str, language: str, country: str) -> None:
    assert (language_code(header), guess_country(header)) == (language, country)


def test_a_language_alone_stands_for_no_country_where_that_guess_is_off() -> None:
    assert guess_country("fr", False) == "xx"
    assert guess_country("fr-be", False) == "be"


@pytest.mark.parametrize(
    ("code", "name", "label"),
    [
        ("fr", "French", "French (fr)"),
        ("it-it", "Language code it-it", "Italian (it)"),
        ("de-at", "Language code de-at", "German - Austria (de-at)"),
        ("zh-tw", "Language code zh-tw", "Chinese - Taiwan (zh-tw)"),
        ("xx", "Unknown", "Unknown (xx)"),
        ("", "Unknown", "Unknown (xx)"),
    ],
)
def test_languages_have_names(code: str, name: str, label: str) -> None:
    assert (language_name(code), language_label(code)) == (name, label)


def test_places_have_names() -> None:
    assert [country_name(code) for code in ("gb", "mk", "xx", "")] == [
        "United Kingdom",
        "North Macedonia",
        "Unknown",
        "Unknown",
    ]
    assert country_name("de", "de") == "Deutschland"
    assert country_name("de", "zz-qq") == "Germany"
    assert (region_name("gb", "WAR"), region_name("ca", "on")) == ("Warwickshire", "Ontario")
    assert (region_name("gb", ""), region_name("gb", "nope"), region_name("", "WAR")) == ("Unknown",) * 3


def test_a_region_keeps_its_name_under_the_code_it_had_before_it_was_renumbered() -> None:
    assert region_name("mk", "18") == region_name("MK", "405") == "Gevgelija"


def test_every_country_is_on_exactly_one_continent() -> None:
    for country in countries():
        homes = [continent for continent in CONTINENTS if country in countries_of(continent)]
        assert homes == [continent_code(country)], country
    assert (continent_code("xx"), continent_name("unk"), continent_name("eur")) == (
        "unk",
        "Unknown",
        "Europe",
    )
