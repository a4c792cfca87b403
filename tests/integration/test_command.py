"""The other commands against a running instance."""

import gzip
import json
import re
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.instance import RunningInstance
from tests.integration.traffic import AGENT
from tests.waiting import wait_until


@pytest.fixture(scope="module")
def log_settings() -> Mapping[str, str]:
    """The commands here do the same on either log."""
    return {}


def log_lines(count: int, start: int = 0) -> list[str]:
    return [
        f"192.0.2.{number % 5 + 1} - - [02/Jan/2026:10:{number // 60:02d}:{number % 60:02d} +0000] "
        f'"GET /page{number % 7} HTTP/1.1" 200 100 "-" "{AGENT}"\n'
        for number in range(start, start + count)
    ]


def status(instance: RunningInstance) -> dict[str, object]:
    drained = instance.command("drain")
    assert (drained.returncode, drained.stderr) == (0, "")
    assert "everything sent before is visible" in drained.stdout
    return dict(json.loads(instance.command("status", "--json").stdout))


def pages(instance: RunningInstance) -> int:
    instance.drain()
    report = instance.api("Actions.get", idSite="1", period="day", date="2026-01-02")
    return int(report["nb_pageviews"])


def test_an_imported_log_becomes_page_views_and_importing_it_again_changes_nothing(
    empty: RunningInstance, tmp_path: Path
) -> None:
    log = tmp_path / "access.log"
    log.write_text("".join(log_lines(300)))
    first = empty.command("import-log", str(log), "--batch", "50")
    assert first.returncode == 0, first.stderr
    assert "300 hits sent" in first.stdout
    assert pages(empty) == 300
    second = empty.command("import-log", str(log))
    assert "0 hits sent, 300 lines imported before" in second.stdout
    assert pages(empty) == 300


def test_a_log_that_grew_and_was_packed_adds_its_new_lines_only(
    empty: RunningInstance, tmp_path: Path
) -> None:
    log = tmp_path / "access.log"
    log.write_text("".join(log_lines(100)))
    empty.command("import-log", str(log))
    packed = tmp_path / "access.log.1.gz"
    packed.write_bytes(gzip.compress("".join(log_lines(140)).encode()))
    result = empty.command("import-log", str(packed))
    assert "40 hits sent, 100 lines imported before" in result.stdout
    assert pages(empty) == 140


def test_an_interrupted_import_goes_on_without_counting_a_line_twice(
    empty: RunningInstance, tmp_path: Path
) -> None:
    log = tmp_path / "access.log"
    log.write_text("".join(log_lines(100)))
    empty.command("import-log", str(log))
    # What an importer leaves that was killed after its hits had arrived and before it wrote that down.
    record = max((empty.data_dir / "imports").rglob("*.json"), key=lambda path: int(path.parent.name))
    done = json.loads(record.read_text())
    assert done["lines"] == 100
    record.write_text(json.dumps({**done, "lines": 0, "digest": "", "sending_to": 60, "since": 1.0}))
    result = empty.command("import-log", str(log))
    assert "0 hits sent, 100 lines imported before" in result.stdout
    assert pages(empty) == 100


def test_lines_that_are_no_pages_are_left_out_and_say_why(empty: RunningInstance, tmp_path: Path) -> None:
    log = tmp_path / "access.log"
    lines = log_lines(3)
    lines[1] = lines[1].replace("/page1", "/style.css")
    lines += [lines[2].replace(" 200 ", " 404 "), "garbage\n", lines[2].replace(AGENT, "Googlebot/2.1")]
    log.write_text("".join(lines))
    result = empty.command("import-log", str(log))
    for said in ("3 hits sent", "1 left out (static)", "1 left out (error)", "1 left out (unreadable)"):
        assert said in result.stdout
    found = status(empty)
    assert found["outcomes"] == {"stored": 2, "excluded": 1}
    assert found["excluded"] == {"bot": 1}


def test_sites_are_told_apart_by_the_logged_host(empty: RunningInstance, tmp_path: Path) -> None:
    empty.api("SitesManager.addSite", siteName="Two", **{"urls[0]": "http://two.example"})
    log = tmp_path / "vhosts.log"
    hosts = ("one.example:80", "www.two.example", "three.example", "two.example")
    log.write_text("".join(f"{host} {line}" for host, line in zip(hosts, log_lines(4), strict=True)))
    result = empty.command("import-log", str(log))
    assert "3 hits sent" in result.stdout
    assert "1 left out (unknown host)" in result.stdout
    empty.drain()
    counts = empty.api("VisitsSummary.getActions", idSite="all", period="day", date="2026-01-02")
    assert {
        site: int(row["value"]) if isinstance(row, dict) else int(row) for site, row in counts.items()
    } == {
        "1": 1,
        "2": 2,
    }


def test_a_file_that_is_no_log_is_refused_with_its_first_line(empty: RunningInstance, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.txt"
    wrong.write_text("what is this\n")
    result = empty.command("import-log", str(wrong))
    assert result.returncode == 1
    assert "what is this" in result.stderr
    assert empty.command("import-log", str(tmp_path / "missing.log")).returncode == 1
    assert empty.command("import-log", str(wrong), "--site", "9").returncode == 1


def test_reset_needs_yes_and_then_empties_the_instance(empty: RunningInstance) -> None:
    client = empty.client()
    assert client.request("GET", "/matomo.php?idsite=1&rec=1&url=http://one.example/&send_image=0")[0] == 204
    refused = empty.command("reset")
    assert refused.returncode == 1
    assert "--yes" in refused.stderr
    assert status(empty)["accepted"] == 1
    assert empty.command("reset", "--yes").returncode == 0
    assert status(empty)["accepted"] == 0
    assert empty.api("SitesManager.getAllSites") == []
    # Ingest has forgotten the site too.
    assert client.request("GET", "/matomo.php?idsite=1&rec=1&url=http://one.example/&send_image=0")[0] == 400
    client.close()


def test_what_the_database_process_counts_goes_on_after_a_reset(empty: RunningInstance) -> None:
    client = empty.client()

    def stored() -> int:
        """Rows of raw hits; as of ten seconds ago at most."""
        _, text = client.request("GET", "/hitstream/metrics")
        found = re.search(rb'^hitstream_sink_rows_total{table="hits"} (\d+)', text, re.MULTILINE)
        return int(found[1]) if found else 0

    def send_one() -> None:
        path = "/matomo.php?idsite=1&rec=1&url=http://one.example/&send_image=0"
        assert client.request("GET", path)[0] == 204
        empty.drain()

    send_one()
    wait_until(lambda: stored() > 0)
    before = stored()
    assert empty.command("reset", "--yes").returncode == 0
    empty.api("SitesManager.addSite", siteName="One", **{"urls[0]": "http://one.example"})
    send_one()
    wait_until(lambda: stored() > before)
    client.close()


def test_sql_reads_the_views_and_explain_tells_a_visit(empty: RunningInstance) -> None:
    client = empty.client()
    path = "/matomo.php?idsite=1&rec=1&send_image=0&url=http://one.example/a&action_name=A"
    assert client.request("GET", path, headers={"User-Agent": AGENT})[0] == 204
    client.close()
    empty.drain()
    result = empty.command("sql", "SELECT visit_id, actions FROM visits", "--format", "TSV")
    assert result.returncode == 0, result.stderr
    visit, actions = result.stdout.split()
    assert actions == "1"
    explained = empty.command("explain", "--visit", visit)
    assert f"visit {visit}" in explained.stdout
    assert "opened this visit: the first hit of this visitor" in explained.stdout
    assert "page: one.example/a" in explained.stdout
    assert "url=http" in explained.stdout
    assert empty.command("explain", "--visit", "12").returncode == 1
    refused = empty.command("sql", "SELECT * FROM file('/etc/passwd')")
    assert refused.returncode == 1


def test_the_root_says_where_everything_is_and_its_links_lead_there(instance: RunningInstance) -> None:
    status, page, headers = instance.client().answer("GET", "/")
    assert (status, headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    links = re.findall(r'href="([^"]+)"', page.decode())
    assert len(links) == 3
    for link in links:
        assert instance.client().answer("GET", "/" + link.replace("&amp;", "&"))[0] == 200, link


def test_a_wrong_token_is_refused_everywhere(empty: RunningInstance) -> None:
    for arguments in (("status",), ("drain",), ("reset", "--yes"), ("explain", "--visit", "1")):
        result = empty.command(*arguments, "--token", "wrong")
        assert result.returncode == 1
        assert "401" in result.stderr
    assert len(empty.api("SitesManager.getAllSites")) == 1


def test_rules_are_changed_while_running(empty: RunningInstance) -> None:
    client = empty.client()
    found = client.json("POST", "/hitstream/configure", privacy='{"ip_mask_bytes": 0}')
    assert found["privacy"]["ip_mask_bytes"] == 0
    status_code, answer = client.request(
        "POST",
        "/hitstream/configure",
        b'tracking={"no_such_rule": 1}',
        {"Content-Type": "application/x-www-form-urlencoded"},
    )
    assert status_code == 400
    assert b"no_such_rule" in answer
    client.close()


def test_settings_hide_secrets_and_name_what_nothing_reads(tmp_path: Path) -> None:
    stopped = RunningInstance(tmp_path / "data")
    result = stopped.command("settings")
    assert result.returncode == 0, result.stderr
    assert stopped.token not in result.stdout
    assert f"HITSTREAM_PORT={stopped.port}   (default: 8080)" in result.stdout
    wrong = stopped.command("settings", HITSTREAM_PROT="1")
    assert wrong.returncode == 78
    assert "HITSTREAM_PROT" in wrong.stderr


def test_a_command_without_an_instance_says_how_to_start_one(tmp_path: Path) -> None:
    result = RunningInstance(tmp_path / "data").command("status")
    assert result.returncode == 1
    assert "hitstream up" in result.stderr
