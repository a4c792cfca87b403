"""Commands about the past, against a running instance with hits coming in."""

import threading
import time

from tests.instance import RunningInstance
from tests.integration.traffic import hit, send
from tests.waiting import wait_until


def test_a_goal_made_today_fills_the_past_while_hits_keep_coming(empty: RunningInstance) -> None:
    send(empty, [hit(number, 10 * number, f"thanks/{number}") for number in range(1, 21)])
    send(empty, [hit(99, 30, "shop?promo=spring", ua="Unwanted/1.0")])
    empty.drain()
    empty.api(
        "Goals.addGoal", idSite="1", name="Bought", matchAttribute="url", pattern="thanks",
        patternType="contains", revenue="2",
    )  # fmt: skip
    extraction = {"extractions[0][dimension]": "url", "extractions[0][pattern]": "/thanks/([a-z0-9]+)"}
    empty.api(
        "CustomDimensions.configureNewCustomDimension", idSite="1", name="Part", scope="action", active="1",
        **extraction,
    )  # fmt: skip
    empty.client().json("POST", "/hitstream/configure", tracking='{"excluded_user_agents": ["Unwanted"]}')

    def parts() -> dict[str, int]:
        rows = empty.api(
            "CustomDimensions.getCustomDimension", idSite="1", idDimension="1", period="day",
            date="2026-09-10", filter_limit="-1",
        )  # fmt: skip
        return {row["label"]: row["nb_hits"] for row in rows}

    def goal(name: str) -> float:
        found = empty.api("Goals.get", idSite="1", period="day", date="2026-09-10", idGoal="1")
        return float(found[name])

    assert goal("nb_conversions") == 0
    dry = empty.command("replay", "--dry-run")
    assert dry.returncode == 0, dry.stderr
    assert "21 hits of 21 visitors" in dry.stdout
    told = [line.split() for line in dry.stdout.splitlines()]
    assert ["1", "Goals.get", "idGoal=1", "(Bought):", "conversions", "0", "20"] in told
    assert ["1", "Goals.get", "idGoal=1", "(Bought):", "revenue", "0", "40"] in told
    assert ["1", "VisitsSummary.get:", "visits", "21", "20"] in told
    assert ["1", "excluded", "hits:", "excluded_user_agent", "0", "1"] in told
    empty.drain()
    assert goal("nb_conversions") == 0

    stop = threading.Event()
    sent = []

    def keep_sending() -> None:
        while not stop.is_set():
            number = 1000 + len(sent)
            send(empty, [hit(number, 5, "thanks/live")])
            sent.append(number)
            time.sleep(0.01)

    sender = threading.Thread(target=keep_sending)
    sender.start()
    try:
        done = empty.command("replay", "--site", "1", "--from", "2026-09-10", "--to", "2026-09-10")
    finally:
        stop.set()
        sender.join()
    assert done.returncode == 0, done.stderr
    empty.drain()
    assert goal("nb_conversions") == 20 + len(sent)
    assert parts() == {"live": len(sent), **{str(number): 1 for number in range(1, 21)}}
    visits = empty.api("VisitsSummary.get", idSite="1", period="day", date="2026-09-10")
    assert visits["nb_visits"] == 20 + len(sent)
    status = empty.client().json("GET", "/hitstream/status")
    assert status["balance"]["adds_up"] is True
    assert status["outcomes"] == {"stored": 20 + len(sent), "excluded": 1}
    assert status["excluded"] == {"excluded_user_agent": 1}
    again = empty.command("replay", "--dry-run")
    assert "no figure of a report changes" in again.stdout


def test_what_can_not_be_replayed_is_refused_in_words(empty: RunningInstance) -> None:
    for arguments, words in (
        (("--site", "7"), "site 7 does not exist"),
        (("--from", "yesterday"), "expected a day such as 2026-09-10"),
        (("--from", "2026-09-11", "--to", "2026-09-10"), "expected the earlier one first"),
        (("--site", "one"), "expected numbers of sites"),
    ):
        refused = empty.command("replay", *arguments)
        assert refused.returncode == 1
        assert words in refused.stderr


def test_explain_tells_which_rule_decided_about_each_hit(empty: RunningInstance) -> None:
    empty.api(
        "Goals.addGoal", idSite="1", name="Bought", matchAttribute="url", pattern="thanks",
        patternType="contains", revenue="2",
    )  # fmt: skip
    agent = {"ua": "Unwanted/1.0"}
    empty.client().json("POST", "/hitstream/configure", tracking='{"excluded_user_agents": ["Unwanted"]}')
    send(
        empty,
        [
            hit(7, 0, "a", urlref="http://news.example/x"),
            hit(7, 60, "b", **agent),
            hit(7, 90, "thanks", _rcn="spring", _rck="sale"),
            hit(7, 120, "a", ping="1"),
            hit(7, 1890, "later"),
            hit(7, 1950, "shop?utm_campaign=autumn"),
        ],
    )
    empty.drain()
    visits = empty.api("Live.getLastVisitsDetails", idSite="1", period="day", date="2026-09-10")
    first = min(visits, key=lambda visit: int(visit["firstActionTimestamp"]))
    story = empty.api("Hitstream.explainVisit", idSite="1", idVisit=str(first["idVisit"]))
    told = [(one["became"], one["why"]) for one in story["hits"]]
    assert told == [
        ("opened", "the first hit of this visitor"),
        ("excluded", "excluded_user_agent"),
        ("joined", "90 s after the last action, less than visit_standard_length = 1800 s"),
        ("joined", "30 s after the last action, less than visit_standard_length = 1800 s"),
        ("opened", "1800 s after the last action, at least visit_standard_length = 1800 s"),
    ]
    (converted,) = story["hits"][2]["conversions"]
    assert converted["why"] == "url contains 'thanks' (Bought)"
    assert converted["credit"] == {
        "type": 6,
        "name": "spring",
        "keyword": "sale",
        "by": "campaign parameters",
    }
    assert story["hits"][0]["visit_referrer"]["name"] == "news.example"
    assert [one["visit_id"] == story["visit"]["visit_id"] for one in story["hits"]] == [
        True, False, True, True, False,
    ]  # fmt: skip
    printed = empty.command("explain", "--visit", str(first["idVisit"])).stdout
    assert "excluded: excluded_user_agent" in printed
    assert "credit to campaign spring (sale), told by the campaign parameters" in printed
    refused = empty.api("Hitstream.explainVisit", idSite="1", idVisit="12")
    assert refused == {"result": "error", "message": "There is no visit 12 on website 1."}


def test_what_is_told_of_the_past_ends_with_the_last_hit(empty: RunningInstance) -> None:
    """Raw hits are stored seconds after the visits that reports show already."""
    send(empty, [hit(3, 0, "a")])
    asked = {"idSite": "1", "period": "day", "date": "2026-09-10"}
    wait_until(lambda: empty.api("Live.getLastVisitsDetails", **asked))
    visits = empty.api("Live.getLastVisitsDetails", **asked)
    story = empty.api("Hitstream.explainVisit", idSite="1", idVisit=str(visits[0]["idVisit"]))
    assert [one["why"] for one in story["hits"]] == ["the first hit of this visitor"]
    send(empty, [hit(4, 0, "a")])
    assert "2 hits of 2 visitors" in empty.command("replay", "--dry-run").stdout


def test_explain_names_the_replay_that_changed_a_hit(empty: RunningInstance) -> None:
    send(empty, [hit(8, 0, "thanks")])
    empty.api(
        "Goals.addGoal", idSite="1", name="Bought", matchAttribute="url", pattern="thanks",
        patternType="contains",
    )  # fmt: skip
    assert empty.command("replay").returncode == 0
    visits = empty.api("Live.getLastVisitsDetails", idSite="1", period="day", date="2026-09-10")
    printed = empty.command("explain", "--visit", str(visits[0]["idVisit"])).stdout
    assert "replayed under" in printed
    assert "converts goal 1: url contains 'thanks' (Bought)" in printed


def test_the_past_is_anonymised_by_a_command(empty: RunningInstance) -> None:
    empty.client().json("POST", "/hitstream/configure", privacy='{"ip_mask_bytes": 1}')
    send(empty, [hit(7, 0, "shop", uid="jane@example.org", cip="198.51.100.7", lang="fr")])
    send(empty, [hit(8, 0, "shop", uid="joe@example.org", cdt="2026-09-12 12:00:00")])
    empty.drain()
    days = ("--from", "2026-09-10", "--to", "2026-09-11")
    wish = ("anonymize", "--site", "1", *days, "--ip", "--user-id", "--unset", "location_browser_lang")
    asked = empty.command(*wish)
    assert asked.returncode == 1
    assert "the same with --yes" in asked.stderr
    found = empty.api("PrivacyManager.findDataSubjects", idSite="1", segment="userId==jane@example.org")
    assert len(found) == 1
    done = empty.command(*wish, "--yes")
    assert done.returncode == 0, done.stderr
    visits = empty.api("Live.getLastVisitsDetails", idSite="1", period="day", date="2026-09-10")
    assert [(visit["visitIp"], visit["languageCode"]) for visit in visits] == [("198.51.0.0", "")]
    left = empty.api("PrivacyManager.findDataSubjects", idSite="1", segment="userId=@@example.org")
    assert [one["userId"] for one in left] == ["joe@example.org"]
    for arguments, words in (
        (("--unset", "shoe_size"), "'shoe_size' can't be unset: expected one of"),
        ((), "Nothing is to be anonymised"),
        (("--ip", "--site", "7"), "there is no website 7"),
    ):
        refused = empty.command("anonymize", *days, *arguments, "--yes")
        assert refused.returncode == 1
        assert words in refused.stderr
