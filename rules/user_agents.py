"""What a user agent and its client hints say of device, system and browser, as Matomo stores and names it."""

from collections.abc import Mapping
from functools import cache
from typing import Any

import msgspec
from device_detector.parser.client.browser import Browser, Engine
from device_detector.parser.settings import (
    AVAILABLE_BROWSERS,
    BROWSER_FAMILIES,
    BROWSER_TO_ABBREV,
    DESKTOP_OS,
    FAMILY_FROM_OS,
    OPERATING_SYSTEMS,
    OS_TO_ABBREV,
)
from device_detector.yaml_loader import app_custom_details, regex_list

from rules.agent_index import VERSION, NarrowDetector, agent_index
from rules.prepared import Agent

DETECTOR_VERSION = VERSION + "/2"
"""Key of stored answers: the detector's version and that of this module's reading of it."""

DEVICE_TYPES = (
    "desktop", "smartphone", "tablet", "feature phone", "console", "tv", "car browser", "smart display",
    "camera", "portable media player", "phablet", "smart speaker", "wearable", "peripheral",
)  # fmt: skip
UNKNOWN_DEVICE = 255
CLIENT_TYPES = ("", "browser", "library", "feed reader", "mediaplayer", "mobile app", "pim", "other")

MAX_AGENT = 1024
"""Characters of a user agent that are looked at: some expressions take quadratic time."""

UNKNOWN = "UNK"
BOT = "BOT"

_DEVICE_NUMBERS = {name: number for number, name in enumerate(DEVICE_TYPES)}
_CLIENT_NUMBERS = {name: number for number, name in enumerate(CLIENT_TYPES)}
_OTHER_CLIENT = CLIENT_TYPES.index("other")
_GENERIC = frozenset(("CR", "CV", "AN"))
"""Chromium, Chrome Webview, Android Browser."""
_MAX_TEXT = 100


# --- Client hints ----------------------------------------------------------------------------------


def _quoted(text: Any) -> str:
    return str(text).replace('"', "").replace(",", "")


def _brand_list(brands: Any) -> str:
    """The Sec-CH-UA-Full-Version-List that says the same as a list of {brand, version}."""
    if not isinstance(brands, list):
        return ""
    return ", ".join(
        f'"{_quoted(brand["brand"])}";v="{_quoted(brand.get("version", ""))}"'
        for brand in brands
        if isinstance(brand, dict) and brand.get("brand")
    )


def hint_headers(client_hints: str) -> dict[str, str]:
    """Client hints, given as JSON of the tracker's `uadata` or of the headers, as headers.

    Empty when there are none or when the text isn't a JSON object."""
    if not client_hints:
        return {}
    try:
        hints = msgspec.json.decode(client_hints)
    except (msgspec.DecodeError, UnicodeEncodeError, RecursionError):
        return {}
    if not isinstance(hints, dict):
        return {}
    headers: dict[str, str] = {}
    for name, value in hints.items():
        plain = str(name).lower().replace("_", "-").removeprefix("http-")
        if isinstance(value, str) and (plain.startswith("sec-ch-ua") or plain == "x-requested-with"):
            headers[plain] = value
    texts = (
        ("platform", "sec-ch-ua-platform"),
        ("platformVersion", "sec-ch-ua-platform-version"),
        ("model", "sec-ch-ua-model"),
        ("architecture", "sec-ch-ua-arch"),
        ("bitness", "sec-ch-ua-bitness"),
        ("uaFullVersion", "sec-ch-ua-full-version"),
    )
    for name, header in texts:
        if isinstance(value := hints.get(name), str) and value:
            headers[header] = value
    if brands := _brand_list(hints.get("fullVersionList")) or _brand_list(hints.get("brands")):
        headers["sec-ch-ua-full-version-list"] = brands
    if isinstance(mobile := hints.get("mobile"), bool):
        headers["sec-ch-ua-mobile"] = "?1" if mobile else "?0"
    if isinstance(factors := hints.get("formFactors"), list):
        headers["sec-ch-ua-form-factors"] = ", ".join(f'"{_quoted(factor)}"' for factor in factors)
    return headers


# --- Detection -------------------------------------------------------------------------------------


def _short_version(version: Any) -> str:
    """Major and minor: what reports tell apart."""
    return ".".join(str(version or "").split(".")[:2])[:20]


def _version_key(version: Any) -> tuple[int, ...]:
    return tuple(int(part) if part.isdigit() else 0 for part in str(version).split("."))


@cache
def _engine_rules() -> dict[str, list[dict[str, Any]]]:
    """Browser's name -> the engines of its entries, each with the versions that brought another one."""
    rules: dict[str, list[dict[str, Any]]] = {}
    for entry in regex_list(tuple(Browser.fixture_files)):
        if entry.get("engine"):
            rules.setdefault(entry["name"], []).append(entry["engine"])
    return rules


def _engine_at(rule: dict[str, Any], version: str) -> str:
    engine = rule.get("default")
    changes = sorted((rule.get("versions") or {}).items(), key=lambda change: _version_key(change[0]))
    for since, other in changes:
        if _version_key(version) >= _version_key(since):
            engine = other
    return str(engine or "")


def _engine(detector: NarrowDetector, name: str, version: str) -> str:
    """The engine of that version of the browser; the detector names the newest version's for all of them,
    and none where its own details of an app replace an entry's."""
    told = detector.engine()
    if isinstance(told, dict):
        engine = _engine_at(told, version)
    else:
        rules = _engine_rules().get(name, ())
        rule = next((one for one in rules if not told or told in (one.get("versions") or {}).values()), None)
        engine = str(told or "") if rule is None else _engine_at(rule, version)
    if engine:
        return engine
    # browsers that were built on several engines name none: the agent's own words tell
    return str(Engine(detector.user_agent, detector.client_hints).parse().ua_data.get("name") or "")


def agent_of(detector: NarrowDetector) -> Agent:
    """The answer of a detector that has parsed, in the terms of reports."""
    if detector.is_bot():
        return Agent(os=BOT, os_version=UNKNOWN, browser=UNKNOWN, is_bot=True)
    details = detector.all_details
    os_name = detector.os_name()
    os_code = OS_TO_ABBREV.get(os_name.lower()) or (details.get("os") or {}).get("short_name") or UNKNOWN
    client = details.get("client") or {}
    client_name = str(client.get("name") or "")
    client_type = str(client.get("type") or "")
    is_browser = "browser" in client_type
    browser = UNKNOWN
    engine = ""
    if is_browser:
        browser = (
            BROWSER_TO_ABBREV.get(client_name.lower()) or client.get("short_name") or client_name or UNKNOWN
        )
        engine = _engine(detector, client_name, str(client.get("version") or ""))
    elif client_name:
        browser = client_name
    device = _DEVICE_NUMBERS.get(str(detector.device_type()), UNKNOWN_DEVICE)
    if device == UNKNOWN_DEVICE and os_family(os_code) in DESKTOP_OS and not detector.uses_mobile_browser():
        device = _DEVICE_NUMBERS["desktop"]
    model = str(detector.device_model() or "")
    if not model and device != UNKNOWN_DEVICE:
        model = "generic " + DEVICE_TYPES[device]
    return Agent(
        os=os_code,
        os_version=UNKNOWN if os_code == UNKNOWN else _short_version(detector.os_version()),
        browser=browser[:_MAX_TEXT],
        browser_version=_short_version(client.get("version")) if browser != UNKNOWN else "",
        browser_engine=engine,
        device_type=device,
        device_brand=str(detector.device_brand() or "")[:_MAX_TEXT],
        device_model=model[:_MAX_TEXT],
        client_type=_CLIENT_NUMBERS.get("browser" if is_browser else client_type, _OTHER_CLIENT)
        if client_type
        else 0,
    )


def detect(user_agent: str, client_hints: str) -> Agent:
    """What the agent says; `client_hints` is JSON of `uadata` or of the Sec-CH-UA headers, or empty.

    About a millisecond for a new agent: keep the answers (processors.agent_cache)."""
    headers = hint_headers(client_hints)
    # Lone surrogates are no text to the detector.
    user_agent = user_agent[:MAX_AGENT].encode("utf-8", "replace").decode()
    agent = agent_of(NarrowDetector(user_agent, headers=headers or None).parse())
    if headers and agent.browser in _GENERIC:
        # Hints that name only what the browser is built on yield to the agent's own name.
        told = agent_of(NarrowDetector(user_agent, headers=None).parse())
        if told.client_type == agent.client_type and told.browser not in (UNKNOWN, *_GENERIC):
            agent = msgspec.structs.replace(agent, browser=told.browser, browser_version=told.browser_version)
    _forget_unknown_apps()
    return agent


def _forget_unknown_apps() -> None:
    """The detector's table of apps gains an empty entry for each unknown name it is asked for."""
    apps = app_custom_details()
    if len(apps) > 50_000:
        for name in [name for name, details in apps.items() if not details]:
            del apps[name]


def warm_up() -> None:
    """Builds what the first agents would else wait for, about two seconds; may run in a thread."""
    agent_index().warm_up()
    _engine_rules()


# --- Names for reports -----------------------------------------------------------------------------

# Reports of Matomo 5.2 name iPadOS after its family.
_SHOWN_AS = {"IPA": "iOS", BOT: "Bot", UNKNOWN: "Unknown", "": "Unknown"}
_BROWSER_FAMILY = {code: family for family, codes in BROWSER_FAMILIES.items() for code in codes}


OS_NAMES: Mapping[str, str] = dict(OPERATING_SYSTEMS)
BROWSER_NAMES: Mapping[str, str] = dict(AVAILABLE_BROWSERS)
"""Code -> name, as the detector has it."""


def os_name(code: str) -> str:
    """WIN -> Windows; a code that isn't known is its own name."""
    return _SHOWN_AS.get(code) or OPERATING_SYSTEMS.get(code, code)


def os_family(code: str) -> str:
    """The family of a system: UBT -> GNU/Linux."""
    if code == BOT:
        return "Bot"
    return str(FAMILY_FROM_OS.get(code, "Unknown"))


def browser_name(code: str) -> str:
    """FF -> Firefox; clients that aren't browsers are stored by name."""
    if code in ("", UNKNOWN):
        return "Unknown"
    return str(AVAILABLE_BROWSERS.get(code, code))


def browser_family(code: str) -> str:
    """The family of a browser: CM -> Chrome; a browser without one is its own."""
    return _BROWSER_FAMILY.get(code) or browser_name(code)


_ENGINE_NOTES = {
    "Blink": "Chrome, Opera",
    "Gecko": "Firefox",
    "KHTML": "Konqueror",
    "Presto": "Opera",
    "Trident": "IE",
    "WebKit": "Safari",
}


def engine_label(engine: str) -> str:
    """An engine with its best-known browsers: Gecko (Firefox)."""
    if not engine:
        return "Unknown"
    note = _ENGINE_NOTES.get(engine)
    return f"{engine} ({note})" if note else engine


def device_type_name(number: int) -> str:
    """0 -> Desktop, 9 -> Portable media player; Unknown for others."""
    return DEVICE_TYPES[number].capitalize() if 0 <= number < len(DEVICE_TYPES) else "Unknown"
