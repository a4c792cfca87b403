"""The rules about agents and languages answer every input, agents as the detector does."""

import json
import re

from device_detector import DeviceDetector
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rules.agent_index import NarrowDetector, without_look_arounds
from rules.locations import countries, guess_country, language_code, language_label, language_name
from rules.user_agents import DEVICE_TYPES, detect

PIECES = st.sampled_from(
    [
        "Mozilla/5.0 ",
        "(Linux; Android 14; ",
        "SM-G991B",
        "Pixel 8",
        "Redmi Note 9",
        ") ",
        "AppleWebKit/537.36 ",
        "Chrome/126.0.0.0 ",
        "Mobile ",
        "Safari/537.36",
        "(Windows NT 10.0; Win64; x64",
        "Edg/1.2",
        "Googlebot/2.1",
        "; ",
        "TV",
        "Tizen 6.0",
        "iPhone",
        "CPU iPhone OS 17_5 like Mac OS X",
        "curl/8",
        "é",
        "٣",
        "\t",
        "\x7f",
        "bot",
        "HONOR",
        "Xiaomi",
        "(KHTML, like Gecko) ",
        "Firefox/128",
        "OPR/",
        "Puffin/9.1AP",
        "%20",
        "rv:",
        "1",
        "a",
    ]
)
AGENTS = st.one_of(st.text(max_size=60), st.lists(PIECES, max_size=12).map("".join))
MODELS = st.sampled_from(["", "SM-G991B", "Pixel 8", "4063T", "Surface Pro", "é"])
UNHURRIED = settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.too_slow])


def answers(detector: type[DeviceDetector], agent: str, model: str) -> object:
    headers = {"sec-ch-ua-model": model, "sec-ch-ua-mobile": "?1"} if model else None
    if detector is DeviceDetector:
        told = detector(agent, headers=headers, check_cache=False).parse().all_details
    else:
        told = detector(agent, headers=headers).parse().all_details
    # A browser's second name: no report shows it, so nobody looks for it.
    told.get("client", {}).pop("secondary_client", None)
    return told


@UNHURRIED
@given(agent=AGENTS.map(lambda text: text.encode("utf-8", "replace").decode()), model=MODELS)
def test_answers_are_the_detector_s(agent: str, model: str) -> None:
    assert answers(NarrowDetector, agent, model) == answers(DeviceDetector, agent, model)


HINTS = st.dictionaries(
    st.sampled_from(
        ["brands", "fullVersionList", "mobile", "model", "platform", "platformVersion", "formFactors"]
    ),
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.text(max_size=9),
        st.lists(st.text(max_size=5), max_size=3),
        st.lists(st.dictionaries(st.sampled_from(["brand", "version"]), st.text(max_size=9)), max_size=3),
    ),
)


@UNHURRIED
@given(agent=AGENTS, hints=st.one_of(st.text(max_size=30), HINTS.map(json.dumps)))
def test_any_agent_and_hints_give_an_answer(agent: str, hints: str) -> None:
    found = detect(agent, hints)
    assert found.os
    assert found.browser
    assert found.device_type in (*range(len(DEVICE_TYPES)), 255)


@given(
    st.lists(
        st.sampled_from(["a", "b", "(", ")", "(?:", "|", "(?!", "(?<=", "[a]", "[^)]", r"\(", "+"]),
        max_size=9,
    )
)
def test_an_expression_without_look_arounds_matches_no_less(parts: list[str]) -> None:
    pattern = "".join(parts)
    try:
        expression = re.compile(pattern)
    except re.error:
        return
    widened = without_look_arounds(pattern)
    assert "(?!" not in widened
    try:
        wider = re.compile(widened)
    except re.error:
        # A quantifier of a look-around has nothing to repeat without it.
        return
    for text in ("", "a", "b", "ab", "ba", "(a)", "aab(", ")("):
        assert not expression.search(text) or wider.search(text)


LANGUAGES = st.one_of(
    st.text(max_size=20),
    st.lists(st.sampled_from(["en", "fr", "zh", "-", "_", ",", ";q=", "0.5", "US", "Hant", "419", " "])).map(
        "".join
    ),
)


@given(LANGUAGES)
def test_any_header_gives_a_language_and_a_country(header: str) -> None:
    code = language_code(header)
    language, _, country = code.partition("-")
    assert len(language) in (0, 2)
    assert country == "" or country in countries()
    assert guess_country(header) in countries() | {"xx"}
    assert language_name(code)
    assert language_label(code)
