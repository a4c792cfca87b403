"""Visits by the visitor's language and user id."""

from collections.abc import Mapping
from urllib.parse import quote_plus

from reporting.method import ApiRequest, Method
from reporting.methods.breakdown import Tables, dimension, dimension_shape
from reporting.queries import EMPTY, Labels, read_aggregates
from reporting.rows import Shown, regroup, visits_table
from rules.locations import language_label, language_name

UNKNOWN_LANGUAGE = "xx"


def _primary_language(labels: Labels) -> Labels:
    return (labels[0].split("-")[0] or UNKNOWN_LANGUAGE,)


def _languages_of(labels: Labels, language: str = "en") -> Shown:
    code = labels[0]
    variants = "" if code == UNKNOWN_LANGUAGE else f",languageCode=@{code}-"
    return Shown(language_name(code, language), {"segment": f"languageCode=={code}{variants}"})


def _language_code(labels: Labels, language: str = "en") -> Shown:
    code = labels[0]
    return Shown(language_label(code, language), {"segment": f"languageCode=={quote_plus(code)}"})


def _short_code(labels: Labels) -> Labels:
    """de-de is de: a country that is the language's own says nothing."""
    language, _, country = labels[0].partition("-")
    return (language or UNKNOWN_LANGUAGE,) if country in (language, "") else labels


async def _users(request: ApiRequest) -> Tables:
    """An id in two spellings is one user, named as first seen."""
    data = await read_aggregates(request, ["users", "user_names"])
    result = {}
    for cell, groups in data.items():
        names: dict[str, str] = {}
        visitors: dict[str, str] = {}
        for name, visitor in groups["user_names"].rows:
            names.setdefault(name.lower(), name)
            visitors[name.lower()] = visitor.zfill(16)

        def shown(
            labels: Labels, names: Mapping[str, str] = names, visitors: Mapping[str, str] = visitors
        ) -> Shown:
            name = names.get(labels[0], labels[0])
            return Shown(
                name, {"idvisitor": visitors.get(labels[0], ""), "segment": f"userId=={quote_plus(name)}"}
            )

        users = regroup(groups["users"], lambda labels: labels if labels[0] else None)
        result[cell] = visits_table(users, EMPTY, shown, day=cell.period.kind == "day")
    return result


METHODS: dict[str, Method] = {
    "UserLanguage.getLanguage": dimension(
        "languages",
        _primary_language,
        _languages_of,
        dimension_shape("Browser language", "UserLanguage_Language"),
        with_goals=False,
        in_language=_languages_of,
    ),
    "UserLanguage.getLanguageCode": dimension(
        "languages",
        _short_code,
        _language_code,
        dimension_shape("Language code", "UserLanguage_LanguageCode"),
        with_goals=False,
        in_language=_language_code,
    ),
    "UserId.getUsers": Method(
        cells=_users, shape=dimension_shape("User IDs", "UserId_UserId", row_limit="users")
    ),
}
