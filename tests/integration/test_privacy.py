"""What the privacy settings forbid is nowhere: data directory, topics, tables, dead letters, logs."""

import http.client
import json
import re
import socket
import time
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote, urlencode

import pytest

from tests.instance import RunningInstance, running_instance
from tests.integration.on_disk import (
    BrokerFiles,
    database_has,
    files_with,
    frames_with,
    states_with,
)
from tests.integration.traffic import AGENT
from tests.kafka.broker import JavaBroker
from tests.waiting import PATIENCE_SECONDS, wait_until

STRICT = {
    "ip_mask_bytes": 2, "anonymise_user_id": True, "anonymise_order_id": True, "force_cookieless": True,
    "anonymise_referrer": "exclude_all", "honour_do_not_track": True, "honour_global_privacy_control": True,
}  # fmt: skip
CANARY = "cAnArY7"
ADDRESS = "203.0.113.77"
ADDRESS_6 = "2001:db8:1:2:3:4:5:abcd"
VISITOR = "c0ffee00c0ffee77"


@pytest.fixture(scope="module")
def instance_settings() -> Mapping[str, str]:
    return {"HITSTREAM_TRUSTED_PROXIES": "127.0.0.1"}


def ask(
    instance: RunningInstance, method: str, path: str, body: bytes | None = None, **headers: str
) -> tuple[int, bytes, dict[str, str]]:
    connection = http.client.HTTPConnection("127.0.0.1", instance.port, timeout=PATIENCE_SECONDS)
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    connection.request(method, path, body, {"User-Agent": AGENT, **sent})
    answer = connection.getresponse()
    found = answer.status, answer.read(), {name.lower(): value for name, value in answer.getheaders()}
    connection.close()
    return found


def forbidden_parameters() -> dict[str, str]:
    referrer = f"https://{CANARY}:{CANARY}@{CANARY}.example/{CANARY}?{CANARY}#{CANARY}"
    return {
        "uid": f"{CANARY}@example.org", "ec_id": f"order-{CANARY}", "urlref": referrer, "_ref": referrer,
        "_id": VISITOR, "token_auth": CANARY, "uid[]": CANARY, "ec_id[a]": CANARY, "token_auth[]": CANARY,
        "urlref[]": referrer,
    }  # fmt: skip


def prepare(instance: RunningInstance) -> None:
    instance.api("SitesManager.addSite", siteName="One", ecommerce="1", **{"urls[0]": "http://one.example"})
    instance.client().json("POST", "/hitstream/configure", privacy=json.dumps(STRICT))


def send_canaries(instance: RunningInstance) -> None:
    """What the settings forbid, in every place that a request has for it."""
    common = {"idsite": "1", "rec": "1", "url": "http://one.example/seen", "idgoal": "0", "revenue": "1"}
    secret = forbidden_parameters()
    twice = urlencode(common) + "&" + urlencode(secret) + "&" + urlencode(secret)
    encoded = urlencode(common) + "".join(
        f"&%{ord(n[0]):02X}{quote(n[1:])}={quote(v)}" for n, v in secret.items()
    )
    headers = {
        "X_Forwarded_For": ADDRESS, "Cookie": f"_pk_uid={VISITOR}; other={CANARY}; _pk_id.1.aaaa={VISITOR}.1",
        "Authorization": f"Bearer {CANARY}", "From": CANARY, "X_Custom": CANARY,
    }  # fmt: skip
    for query in (twice, encoded):
        assert ask(instance, "GET", f"/matomo.php?{query}", **headers)[0] in (200, 400)
        assert ask(instance, "POST", "/matomo.php", query.encode(), **headers)[0] in (200, 400)
    six = headers | {"X_Forwarded_For": ADDRESS_6}
    other = common | secret | {"uid": f"{CANARY}-of-another"}
    assert ask(instance, "GET", f"/matomo.php?{urlencode(other)}", **six)[0] in (200, 400)
    with_address = "?" + urlencode(common | {"cip": ADDRESS})
    bulk = {
        "requests": ["?" + twice, common | secret, with_address, {"nothing": CANARY}],
        "token_auth": instance.token, "else": CANARY,
    }  # fmt: skip
    assert ask(instance, "POST", "/matomo.php", json.dumps(bulk).encode(), **headers)[0] == 200
    # Visitors who asked not to be tracked: nothing of their hits, in any header or parameter.
    mine = {"idsite": "1", "rec": "1", "url": f"http://one.example/{CANARY}", "cid": VISITOR}
    wishes: tuple[dict[str, str], ...] = (
        {"DNT": "1"}, {"Sec_GPC": "1"}, {"Cookie": "matomo_ignore=1"}, {"Cookie": "mtm_consent_removed=1"},
    )  # fmt: skip
    for wish in wishes:
        told = {"Referer": f"http://{CANARY}/", "User_Agent": f"{AGENT} {CANARY}", "Accept_Language": CANARY}
        query = urlencode(mine | {"ua": CANARY, "lang": CANARY, "uadata": json.dumps({"x": CANARY})})
        assert ask(instance, "GET", f"/matomo.php?{query}", **told, **wish)[0] == 200
    # What is refused, broken or no hit at all.
    ask(instance, "GET", f"/matomo.php?idsite=99&rec=1&uid={CANARY}", **headers)
    ask(instance, "POST", "/matomo.php", b'{"requests": [' + CANARY.encode(), **headers)
    ask(instance, "GET", f"/index.php?module=API&method={CANARY}.get&token_auth={CANARY}", **headers)
    with socket.create_connection(("127.0.0.1", instance.port)) as raw:
        raw.sendall(f"GET /matomo.php?uid={CANARY} HTTP/1.1\r\nbroken {CANARY} header\r\n\r\n".encode())
        raw.recv(4096)


def assert_nothing_is_left(instance: RunningInstance, broker: BrokerFiles | None) -> None:
    """Of the canaries, once everything is stored; stops the instance."""
    instance.drain()
    status = instance.client().json("GET", "/hitstream/status")
    assert status["balance"]["adds_up"] is True
    assert status["excluded"] == {"do_not_track": 2, "ignore_cookie": 1, "opt_out": 1}
    assert status["outcomes"]["stored"] >= 5
    visits = instance.api("Live.getLastVisitsDetails", idSite="1", period="year", date="today")
    assert {visit["visitIp"] for visit in visits} == {"203.0.0.0", "2001:db8:1::"}
    instance.stop()
    for text in (CANARY, CANARY.lower(), ADDRESS, ADDRESS_6, VISITOR):
        assert files_with(instance.data_dir, text.encode()) == [], text
        assert frames_with(instance.data_dir, text.encode()) == [], text
        assert states_with(instance.data_dir, text.encode()) == [], text
        assert broker is None or broker.with_text(text.encode()) == [], text
        assert text not in instance.log(), text
    for text in (
        CANARY,
        CANARY.lower(),
        ADDRESS,
        ADDRESS_6,
        quote(ADDRESS_6),
        VISITOR,
        str(int(VISITOR, 16)),
    ):
        assert database_has(instance.data_dir, text) == [], text
    assert "hits" in database_has(instance.data_dir, "one.example")
    assert broker is None or broker.with_text(b"one.example")


def test_no_copy_is_kept_of_what_the_settings_forbid(
    instance: RunningInstance, broker: BrokerFiles | None
) -> None:
    if broker is not None:
        broker.write_plainly()
    prepare(instance)
    send_canaries(instance)
    assert_nothing_is_left(instance, broker)
    instance.start()
    instance.wait_until_ready()


@pytest.mark.slow
def test_no_copy_is_kept_in_the_spool_nor_of_what_is_forwarded_from_it(
    own_broker: JavaBroker, tmp_path: Path
) -> None:
    settings = {
        "HITSTREAM_KAFKA": own_broker.address, "HITSTREAM_KAFKA_PREFIX": "spooled",
        "HITSTREAM_PARTITIONS": "2", "HITSTREAM_SPOOL_AFTER_S": "1",
        "HITSTREAM_TRUSTED_PROXIES": "127.0.0.1",
    }  # fmt: skip
    with running_instance(tmp_path / "data", settings) as instance:
        broker = BrokerFiles(instance, own_broker.directory / "data")
        broker.write_plainly()
        prepare(instance)
        own_broker.kill()
        send_canaries(instance)
        spool = instance.data_dir / "spool"
        assert frames_with(spool, b"one.example")
        # Reports are answered meanwhile.
        began = time.monotonic()
        assert instance.api("VisitsSummary.get", idSite="1", period="day", date="today")["nb_visits"] == 0
        assert time.monotonic() - began < 60
        for text in (CANARY, CANARY.lower(), ADDRESS, ADDRESS_6, VISITOR):
            assert files_with(instance.data_dir, text.encode()) == [], text
            assert frames_with(spool, text.encode()) == [], text
        own_broker.start()
        wait_until(lambda: json.loads(ask(instance, "GET", "/health/ready")[1])["spooled_hits"] == 0)
        assert_nothing_is_left(instance, broker)
        assert frames_with(spool, b"one.example") == []


def choose(instance: RunningInstance, choice: str, **headers: str) -> tuple[int, bytes, dict[str, str]]:
    body = urlencode({"choice": choice}).encode()
    path = "/index.php?module=CoreAdminHome&action=optOut&language=de"
    form = {"Content_Type": "application/x-www-form-urlencoded"}
    return ask(instance, "POST", path, body, **form, **headers)


def test_a_visitor_can_opt_out_on_the_page_and_come_back(instance: RunningInstance) -> None:
    status, page, _ = ask(instance, "GET", "/index.php?module=CoreAdminHome&action=optOut&language=de")
    assert status == 200
    assert "Meine Besuche nicht zählen".encode() in page
    status, page, headers = choose(instance, "stop")
    assert "Meine Besuche wieder zählen".encode() in page
    cookie = headers["set-cookie"]
    assert re.fullmatch(r"matomo_ignore=1; Max-Age=\d+; Path=/; HttpOnly; SameSite=Lax", cookie)
    assert "SameSite=None; Secure" in choose(instance, "stop", X_Forwarded_Proto="https")[2]["set-cookie"]
    _, page, headers = choose(instance, "count", Cookie="matomo_ignore=1")
    assert "Meine Besuche nicht zählen".encode() in page
    assert headers["set-cookie"].startswith("matomo_ignore=; Max-Age=0;")
    # No other site may choose for a visitor.
    for foreign in ({"Sec_Fetch_Site": "cross-site"}, {"Origin": "https://evil.example"}):
        status, _, headers = choose(instance, "stop", **foreign)
        assert status == 403
        assert "set-cookie" not in headers


def test_the_opt_out_page_shows_only_the_looks_that_can_do_no_harm(instance: RunningInstance) -> None:
    base = "/index.php?module=CoreAdminHome&action="
    evil = quote("</style><script>alert(1)</script>")
    _, page, headers = ask(instance, "GET", f"{base}optOut&fontColor=a00&fontSize=12px&fontFamily={evil}")
    assert b"color: #a00; font-size: 12px" in page
    assert b"alert" not in page
    assert headers["content-security-policy"].startswith("default-src 'none'")
    _, script, headers = ask(instance, "GET", f"{base}optOutJS&divId={evil}")
    assert headers["content-type"].startswith("application/javascript")
    assert b"alert" not in script
    assert b'"div": "matomo-opt-out"' in script
    assert b'"div": "my-div"' in ask(instance, "GET", f"{base}optOutJS&divId=my-div")[1]


def test_hits_without_consent_are_only_counted_where_consent_is_asked_for(instance: RunningInstance) -> None:
    assert instance.command("reset", "--yes").returncode == 0
    instance.api("SitesManager.addSite", siteName="One", **{"urls[0]": "http://one.example"})
    instance.client().json("POST", "/hitstream/configure", privacy='{"require_consent": true}')
    for consent in ("", "&consent=0", "&consent=1"):
        ask(instance, "GET", f"/matomo.php?idsite=1&rec=1&url=http://one.example/a{consent}")
    instance.drain()
    status = instance.client().json("GET", "/hitstream/status")
    assert status["outcomes"] == {"stored": 1, "excluded": 2}
    assert status["excluded"] == {"no_consent": 2}
