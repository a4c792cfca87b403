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


def _available(request: ApiRequest) -> Result:
    return request.parameters.required("languageCode") in LANGUAGE_NAMES


def _names(_: ApiRequest) -> Result:
    return [{"code": code, "name": name, "english_name": name} for code, name in LANGUAGE_NAMES.items()]


METHODS: dict[str, Method] = {
    "LanguagesManager.isLanguageAvailable": Method(
        answer=_available, access=Access.NONE, required=("languageCode",)
    ),
    "LanguagesManager.getAvailableLanguages": Method(
        answer=lambda _: list(LANGUAGE_NAMES), access=Access.NONE
    ),
    "LanguagesManager.getAvailableLanguageNames": Method(answer=_names, access=Access.NONE),
    "LanguagesManager.getLanguageForUser": Method(answer=lambda _: "en", access=Access.SOME_VIEW),
}
