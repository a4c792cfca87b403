"""Languages, countries, regions and continents: what a browser's language says, and the names in reports."""

from collections.abc import Mapping
from functools import cache, lru_cache

import pycountry
from babel import Locale, UnknownLocaleError
from babel.core import get_global

from rules.lists import read_list

UNKNOWN = "xx"
"""Code of an unknown country or of a language that isn't one."""

UNKNOWN_NAME = "Unknown"

# Languages whose home says little of where a visitor is, and one that CLDR sees in its largest country.
_LANGUAGE_HOMES: Mapping[str, str] = {"en": "", "ar": "", "pt": "pt"}


@lru_cache(maxsize=100)
def _locale(language: str) -> Locale:
    try:
        return Locale.parse(language.replace("-", "_"))
    except (UnknownLocaleError, ValueError, TypeError):
        return Locale("en")


@cache
def _languages() -> frozenset[str]:
    """Two-letter codes only: trackers and reports know no others."""
    return frozenset(str(code) for code in _locale("en").languages if len(str(code)) == 2)


@cache
def countries() -> frozenset[str]:
    """The two-letter codes of countries, lower case."""
    return frozenset(country.alpha_2.lower() for country in pycountry.countries) | {"xk"}


@cache
def _home(language: str) -> str:
    """The country where most speakers of a language are; empty when that says little."""
    if language in _LANGUAGE_HOMES:
        return _LANGUAGE_HOMES[language]
    likely = get_global("likely_subtags").get(language, "")
    country = likely.rpartition("_")[2].lower()
    return country if country in countries() else ""


def _tags(accept_language: str) -> list[list[str]]:
    """The subtags of each language of an Accept-Language header, in its order; weights are dropped."""
    parts = accept_language.lower().replace("_", "-").split(",")
    return [part.partition(";")[0].strip().split("-") for part in parts]


@lru_cache(maxsize=10_000)
def language_code(accept_language: str) -> str:
    """The first language that is one, with its country: `en-US,en;q=0.5` -> en-us, es-419 -> es.

    Empty when nothing was sent, xx when no language is known."""
    if not accept_language.strip():
        return ""
    for language, *rest in _tags(accept_language):
        if language in _languages():
            country = next((tag for tag in rest if tag in countries()), "")
            return f"{language}-{country}" if country else language
    return UNKNOWN


@lru_cache(maxsize=10_000)
def guess_country(accept_language: str, guess_by_language: bool = True) -> str:
    """Where a browser with these languages probably is, when no database tells; xx when nothing does.

    A first language without any region stands for its home, where it has one; else the first country that
    the header names counts."""
    tags = _tags(accept_language)
    if guess_by_language and len(tags[0]) == 1 and (home := _home(tags[0][0])):
        return home
    for _, *rest in tags:
        for tag in rest:
            if tag in countries():
                return tag
    return UNKNOWN


# --- Names ------------------------------------------------------------------------------------------


def language_name(code: str, locale: str = "en") -> str:
    """fr -> French. With a country it has no name of its own: Language code fr-be."""
    if code in ("", UNKNOWN):
        return UNKNOWN_NAME
    name = _locale(locale).languages.get(code) if len(code) == 2 else None
    return name or f"Language code {code}"


def language_label(code: str, locale: str = "en") -> str:
    """Language, country and code: German - Austria (de-at), Italian (it)."""
    language, _, country = code.partition("-")
    if language in ("", UNKNOWN):
        return f"{UNKNOWN_NAME} ({UNKNOWN})"
    name = language_name(language, locale)
    if country in ("", language):
        return f"{name} ({language})"
    return f"{name} - {country_name(country, locale)} ({language}-{country})"


def country_name(code: str, locale: str = "en") -> str:
    """gb -> United Kingdom; Unknown for xx and for what is no country."""
    if code in ("", UNKNOWN):
        return UNKNOWN_NAME
    return _locale(locale).territories.get(code.upper()) or UNKNOWN_NAME


def country_names(locale: str = "en") -> dict[str, str]:
    """Code -> name of every country that has a continent."""
    return {code: country_name(code, locale) for code in sorted(_CONTINENT_OF)}


@cache
def _regions() -> dict[str, str]:
    return {region.code: region.name for region in pycountry.subdivisions}


@cache
def _renamed() -> dict[str, dict[str, str]]:
    """Country -> withdrawn code -> the code that the same region has now."""
    found: dict[str, dict[str, str]] = read_list("renamed_regions.json")
    return found


def region_name(country: str, region: str) -> str:
    """The name that ISO 3166-2 gives a region, also under a code it had before: ca, ON -> Ontario; Unknown
    without one."""
    country, region = country.upper(), region.upper()
    named = _regions().get(f"{country}-{region}")
    if named is None:
        named = _regions().get(f"{country}-{_renamed().get(country, {}).get(region, '')}")
    return named or UNKNOWN_NAME


CONTINENTS: Mapping[str, str] = {
    "afr": "Africa",
    "amc": "Central America",
    "amn": "North America",
    "ams": "South America",
    "ant": "Antarctica",
    "asi": "Asia",
    "eur": "Europe",
    "oce": "Oceania",
    "unk": UNKNOWN_NAME,
}
"""Code -> English name."""

# After the geoscheme of the United Nations (M49), but Mexico in North America, and Cyprus and Turkey in
# Europe; the Caribbean counts as Central America.
_COUNTRIES_OF = {
    "afr": "ao bf bi bj bw cd cf cg ci cm cv dj dz eg eh er et ga gh gm gn gq gw ke km lr ls ly ma "
        "mg ml mr mu mw mz na ne ng re rw sc sd sh sl sn so ss st sz td tg tn tz ug yt za zm zw",
    "amc": "ag ai aw bb bl bq bs bz cr cu cw dm do gd gp gt hn ht jm kn ky lc mf mq ms ni pa pr sv "
        "sx tc tt vc vg vi",
    "amn": "bm ca gl mx pm us um",
    "ams": "ar bo br cl co ec fk gf gy pe py sr uy ve",
    "ant": "aq bv gs hm tf",
    "asi": "ae af am az bd bh bn bt cn ge hk id il in io iq ir jo jp kg kh kp kr kw kz la lb lk mm "
        "mn mo mv my np om ph pk ps qa sa sg sy th tj tl tm tw uz vn ye",
    "eur": "ad al at ax ba be bg by ch cy cz de dk ee es fi fo fr gb gg gi gr hr hu ie im is it je "
        "li lt lu lv mc md me mk mt nl no pl pt ro rs ru se si sj sk sm tr ua va xk",
    "oce": "as au cc ck cx fj fm gu ki mh mp nc nf nr nu nz pf pg pn pw sb tk to tv vu wf ws",
}  # fmt: skip
_CONTINENT_OF = {
    country: continent for continent, codes in _COUNTRIES_OF.items() for country in codes.split()
}


def continent_code(country: str) -> str:
    """gb -> eur; unk when unknown."""
    return _CONTINENT_OF.get(country, "unk")


def countries_of(continent: str) -> frozenset[str]:
    """The countries of a continent: what a segment on the continent compiles to."""
    return frozenset(_COUNTRIES_OF.get(continent, "").split())


def continent_name(code: str) -> str:
    return CONTINENTS.get(code, UNKNOWN_NAME)
