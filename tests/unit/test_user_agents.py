"""User agents and client hints in the terms of reports."""

import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from device_detector import DeviceDetector

from processors.agent_cache import AgentCache
from rules.agent_index import NarrowDetector, PatternFilter, agent_index, without_look_arounds
from rules.prepared import Agent
from rules.user_agents import (
    DEVICE_TYPES,
    agent_of,
    browser_family,
    browser_name,
    detect,
    device_type_name,
    engine_label,
    hint_headers,
    os_family,
    os_name,
)

FIREFOX = "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:128.0) Gecko/20100101 Firefox/128.0"
CHROME = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0"
CHROME += " Safari/537.36"
LINUX = CHROME.replace("Windows NT 10.0; Win64; x64", "X11; Linux x86_64")
IPHONE = "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) "
IPHONE += "Version/17.5 Mobile/15E148 Safari/604.1"
PIXEL = "Mozilla/5.0 (Linux; Android 14; Pixel 7) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 "
PIXEL += "Mobile Safari/537.36"
REDUCED = PIXEL.replace("Android 14; Pixel 7", "Android 10; K")
TV = "Mozilla/5.0 (SMART-TV; Linux; Tizen 6.0) AppleWebKit/537.36 (KHTML, like Gecko) SamsungBrowser/4.0 "
TV += "Chrome/76.0.3809.146 TV Safari/537.36"


@pytest.mark.parametrize(
    ("user_agent", "os", "browser", "engine", "device", "brand", "model"),
    [
        (FIREFOX, "WIN 10", "FF 128.0", "Gecko", "desktop", "", "generic desktop"),
        (LINUX, "LIN ", "CH 126.0", "Blink", "desktop", "", "generic desktop"),
        (LINUX.replace("126", "13"), "LIN ", "CH 13.0", "WebKit", "desktop", "", "generic desktop"),
        (IPHONE, "IOS 17.5", "MF 17.5", "WebKit", "smartphone", "Apple", "iPhone"),
        (PIXEL, "AND 14", "CM 126.0", "Blink", "smartphone", "Google", "Pixel 7"),
        (REDUCED, "AND 10", "CM 126.0", "Blink", "smartphone", "", "generic smartphone"),
        (TV, "TIZ 6.0", "SB 4.0", "Blink", "tv", "Samsung", "Smart TV"),
    ],
)  # fmt: skip
def test_an_agent_is_told_in_the_codes_of_reports(
    user_agent: str, os: str, browser: str, engine: str, device: str, brand: str, model: str
) -> None:
    agent = detect(user_agent, "")
    assert f"{agent.os} {agent.os_version}" == os
    assert f"{agent.browser} {agent.browser_version}" == browser
    assert agent.browser_engine == engine
    assert DEVICE_TYPES[agent.device_type] == device
    assert (agent.device_brand, agent.device_model) == (brand, model)
    assert not agent.is_bot


def test_a_client_that_is_not_a_browser_is_stored_by_its_name() -> None:
    assert detect("curl/8.5.0", "") == Agent(
        os="UNK", os_version="UNK", browser="curl", browser_version="8.5", client_type=2
    )


@pytest.mark.parametrize("user_agent", ["", "x", "\x00", "é" * 50, "(" * 3000, "\ud800"])
def test_what_says_nothing_is_unknown_and_no_failure(user_agent: str) -> None:
    agent = detect(user_agent, "")
    assert (agent.os, agent.device_type) == ("UNK", 255)


def test_a_bot_is_nothing_else() -> None:
    bot = "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)"
    assert detect(bot, "") == Agent(os="BOT", os_version="UNK", browser="UNK", is_bot=True)


def test_client_hints_tell_what_the_agent_hides() -> None:
    hints = {"platform": "Windows", "platformVersion": "15.0.0", "mobile": False, "model": ""}
    assert detect(CHROME, json.dumps(hints)).os_version == "11"
    hints = {"platform": "Android", "platformVersion": "14.0.0", "mobile": True, "model": "Pixel 8"}
    agent = detect(REDUCED, json.dumps(hints))
    assert (agent.os_version, agent.device_brand, agent.device_model) == ("14.0", "Google", "Pixel 8")


def test_hints_that_name_only_chromium_yield_to_the_agent() -> None:
    hints = {"brands": [{"brand": "Chromium", "version": "126"}], "mobile": True, "platform": "Android"}
    agent = detect(REDUCED, json.dumps(hints))
    assert (agent.browser, agent.browser_version, agent.browser_engine) == ("CM", "126.0", "Blink")
    assert detect("Mozilla/5.0 Chromium/126.0 Safari/537.36", json.dumps(hints)).browser == "CR"


def test_hints_of_the_tracker_and_of_the_headers_say_the_same() -> None:
    of_tracker = {
        "fullVersionList": [{"brand": "Brave", "version": "126.1"}, {"brand": "Chromium", "version": "126"}],
        "platform": "Linux",
        "mobile": False,
        "formFactors": ["Desktop"],
    }
    of_headers = {
        "Sec-CH-UA-Full-Version-List": '"Brave";v="126.1", "Chromium";v="126"',
        "HTTP_SEC_CH_UA_PLATFORM": "Linux",
        "sec-ch-ua-mobile": "?0",
        "Sec-CH-UA-Form-Factors": '"Desktop"',
    }
    assert hint_headers(json.dumps(of_tracker)) == hint_headers(json.dumps(of_headers))
    assert detect(CHROME, json.dumps(of_tracker)).browser == "BR"


@pytest.mark.parametrize("hints", ["not json", "[]", "3", '{"brands": [1, {}], "mobile": "x", "model": 3}'])
def test_odd_hints_say_nothing(hints: str) -> None:
    assert hint_headers(hints) == {}
    assert detect(FIREFOX, hints) == detect(FIREFOX, "")


def test_reports_name_codes_and_their_families() -> None:
    assert (os_name("WIN"), os_name("UBT"), os_family("UBT")) == ("Windows", "Ubuntu", "GNU/Linux")
    assert (os_name("IPA"), os_name("UNK"), os_family("BOT")) == ("iOS", "Unknown", "Bot")
    assert (browser_name("FF"), browser_family("CM"), browser_name("curl")) == ("Firefox", "Chrome", "curl")
    assert (browser_name("UNK"), browser_family("UNK")) == ("Unknown", "Unknown")
    assert (engine_label("Blink"), engine_label("")) == ("Blink (Chrome, Opera)", "Unknown")
    assert (device_type_name(9), device_type_name(255)) == ("Portable media player", "Unknown")


@pytest.mark.parametrize(
    ("pattern", "without"),
    [
        ("a(?!b(c|d))e", "ae"),
        ("(?<!x)y(?=[)])z", "yz"),
        (r"\(?!a[(?!b)]", r"\(?!a[(?!b)]"),
        ("[]()](?<=q)(r)", "[]()](r)"),
        ("(?:a|(?!b))", "(?:a|)"),
    ],
)
def test_look_arounds_are_dropped_and_nothing_else(pattern: str, without: str) -> None:
    assert without_look_arounds(pattern) == without


def test_the_filter_finds_every_expression_that_matches() -> None:
    from device_detector.lazy_regex import RegexLazyIgnore

    patterns = ["abc", "b+(?!d)", "^x", r"(a)\1", "z"]
    found = PatternFilter([RegexLazyIgnore(pattern) for pattern in patterns])
    assert found.matching("AbC") == [0, 1, 3]


@pytest.mark.parametrize(
    "user_agent", [FIREFOX, CHROME, IPHONE, PIXEL, REDUCED, TV, "curl/8.5.0", "Fütbol/1.0"]
)
def test_answers_are_the_detector_s(user_agent: str) -> None:
    hints = {"sec-ch-ua-model": "SM-G991B", "sec-ch-ua-platform": "Android", "sec-ch-ua-mobile": "?1"}
    for headers in (None, hints):
        expected = DeviceDetector(user_agent, headers=headers, check_cache=False).parse()
        told = NarrowDetector(user_agent, headers=headers).parse().all_details
        assert told == _without_second_name(expected.all_details)


def _without_second_name(details: dict[str, Any]) -> dict[str, Any]:
    """Which no report shows, so that nobody looks for it."""
    if client := details.get("client"):
        client.pop("secondary_client", None)
    return details


@pytest.mark.parametrize(
    ("user_agent", "second"),
    [
        (IPHONE.replace("Version/17.5 ", "").replace("Safari/604.1", "Hunt/1398"), "Hunt"),
        (PIXEL + " AcmeReader/3.2", "AcmeReader"),
        (PIXEL + " com.acme.reader/3.2", None),
    ],
)
def test_a_second_name_of_a_browser_changes_nothing(user_agent: str, second: str | None) -> None:
    expected = DeviceDetector(user_agent, check_cache=False).parse()
    assert expected.all_details["client"]["secondary_client"].get("name") == second
    told = NarrowDetector(user_agent).parse()
    assert agent_of(told) == agent_of(expected)
    assert told.all_details == _without_second_name(expected.all_details)


@pytest.mark.parametrize("model", ["4063T", "SM-G991B", "Surface Pro", "Ätna 5", "K"])
def test_a_model_that_only_hints_tell_is_the_detector_s(model: str) -> None:
    headers = {"sec-ch-ua-model": model, "sec-ch-ua-platform": "Android", "sec-ch-ua-mobile": "?1"}
    expected = DeviceDetector(REDUCED, headers=headers, check_cache=False).parse()
    assert NarrowDetector(REDUCED, headers=headers).parse().all_details == expected.all_details


def test_the_detector_tries_few_expressions() -> None:
    lists = agent_index().narrowed(PIXEL, "").lists
    assert sum(map(len, lists.values())) < 30
    assert sum(map(len, agent_index().lists.values())) > 4000


def test_answers_outlive_the_process(tmp_path: Path) -> None:
    first = AgentCache(tmp_path / "cache" / "agents.db")
    answers = [first.get(FIREFOX, ""), first.get("\ud800", ""), first.get(CHROME, '{"platform":"Windows"}')]
    first.close()
    second = AgentCache(tmp_path / "cache" / "agents.db")
    assert [
        second.get(FIREFOX, ""),
        second.get("\ud800", ""),
        second.get(CHROME, '{"platform":"Windows"}'),
    ] == answers
    assert (first.detected, second.detected) == (3, 1)


def test_answers_of_another_version_are_forgotten(tmp_path: Path) -> None:
    old = AgentCache(tmp_path / "agents.db", version="old", detect=lambda agent, hints: Agent(os="OLD"))
    old.get(FIREFOX, "")
    old.close()
    assert AgentCache(tmp_path / "agents.db").get(FIREFOX, "").os == "WIN"


def test_a_cache_keeps_to_its_sizes(tmp_path: Path) -> None:
    cache = AgentCache(
        tmp_path / "agents.db", max_in_memory=10, max_in_file=7, detect=lambda agent, hints: Agent(os=agent)
    )
    for number in range(50):
        assert cache.get(f"agent {number}", "").os == f"agent {number}"
    assert len(cache._recent) + len(cache._older) <= 10
    cache.close()
    with sqlite3.connect(tmp_path / "agents.db") as file:
        kept = file.execute("SELECT user_agent FROM agents ORDER BY rowid").fetchall()
    assert kept == [(f"agent {number}",) for number in range(43, 50)]


def test_a_damaged_file_is_replaced_and_an_impossible_one_done_without(tmp_path: Path) -> None:
    (tmp_path / "agents.db").write_bytes(b"not a database, but long enough to be read as one" * 100)
    cache = AgentCache(tmp_path / "agents.db")
    assert cache.get(FIREFOX, "").browser == "FF"
    cache.close()
    again = AgentCache(tmp_path / "agents.db")
    assert (again.get(FIREFOX, "").browser, again.detected) == ("FF", 0)
    (tmp_path / "file").write_text("")
    assert AgentCache(tmp_path / "file" / "agents.db").get(FIREFOX, "").browser == "FF"
