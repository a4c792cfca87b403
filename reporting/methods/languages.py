"""LanguagesManager: the languages of answers."""

from reporting.method import Access, ApiRequest, Method
from reporting.table import Result

LANGUAGE_NAMES = {
    "ar": "العربية", "bg": "Български", "ca": "Català", "cs": "Čeština", "da": "Dansk", "de": "Deutsch",
    "el": "Ελληνικά", "en": "English", "es": "Español", "fi": "Suomi", "fr": "Français", "he": "עברית",
    "hu": "Magyar", "id": "Bahasa Indonesia", "it": "Italiano", "ja": "日本語", "ko": "한국어",
    "nb": "Norsk bokmål", "nl": "Nederlands", "pl": "Polski", "pt": "Português",
    "pt-br": "Português brasileiro", "ro": "Română", "ru": "Русский", "sk": "Slovenčina", "sr": "Srpski",
    "sv": "Svenska", "tr": "Türkçe", "uk": "Українська", "vi": "Tiếng Việt", "zh-cn": "简体中文",
    "zh-tw": "繁體中文",
}  # fmt: skip
"""Languages a client may ask for. Numbers, dates and column names exist in English and German; the others get
English words."""


TRANSLATED = ("en", "de")


def _available(request: ApiRequest) -> Result:
    return request.parameters.required("languageCode") in LANGUAGE_NAMES


def _names(_: ApiRequest) -> Result:
    return [{"code": code, "name": name, "english_name": name} for code, name in LANGUAGE_NAMES.items()]


def _languages(_: ApiRequest) -> Result:
    """How much of the answers is in the language: all of English and German, nothing of the others."""
    return [
        {
            "code": code,
            "name": name,
            "english_name": name,
            "translators": "",
            "percentage_complete": "100%" if code in TRANSLATED else "0%",
        }
        for code, name in LANGUAGE_NAMES.items()
    ]


METHODS: dict[str, Method] = {
    "LanguagesManager.getAvailableLanguagesInfo": Method(answer=_languages, access=Access.NONE),
    "LanguagesManager.uses12HourClockForUser": Method(answer=lambda _: False, access=Access.SOME_VIEW),
    "LanguagesManager.isLanguageAvailable": Method(
        answer=_available, access=Access.NONE, required=("languageCode",)
    ),
    "LanguagesManager.getAvailableLanguages": Method(
        answer=lambda _: list(LANGUAGE_NAMES), access=Access.NONE
    ),
    "LanguagesManager.getAvailableLanguageNames": Method(answer=_names, access=Access.NONE),
    "LanguagesManager.getLanguageForUser": Method(answer=lambda _: "en", access=Access.SOME_VIEW),
}
