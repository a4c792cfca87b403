"""The supervisor with real processes: starts, deaths, refusals, ends."""

import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from hitstream.client import InstanceError
from hitstream.data_directory import running_instance as announced_instance
from hitstream.data_directory import stored_token
from tests.instance import TOKEN, RunningInstance, running_instance
from tests.waiting import PATIENCE_SECONDS, wait_until


def is_alive(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


@pytest.fixture(scope="module")
def instance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningInstance]:
    with running_instance(tmp_path_factory.mktemp("up") / "data", {"HITSTREAM_FIRST_SITE": "1"}) as running:
        wait_until(lambda: "Hitstream is ready" in running.log())
        yield running


def send_hit(instance: RunningInstance, page: str) -> int:
    client = instance.client()
    try:
        return client.request("GET", f"/matomo.php?idsite=1&rec=1&url=http://localhost/{page}&send_image=0")[
            0
        ]
    except InstanceError:
        return 0
    finally:
        client.close()


def accepted(instance: RunningInstance) -> int:
    return int(instance.client().json("GET", "/hitstream/status")["accepted"])


def test_the_first_start_makes_a_site_and_says_where_to_look(instance: RunningInstance) -> None:
    (first,) = instance.api("SitesManager.getAllSites")
    assert int(first["idsite"]) == 1
    # It is written before anything runs, and is what the API would have made.
    instance.api("SitesManager.addSite", siteName="My site", **{"urls[0]": "http://localhost"})
    _, second = instance.api("SitesManager.getAllSites")
    own = {"idsite": "", "ts_created": ""}
    assert first | own == second | own
    log = instance.log()
    assert f"{instance.url}/matomo.php" in log
    assert "curl" in log
    assert stored_token(instance.data_dir) == TOKEN
    assert (instance.data_dir / "admin_token").stat().st_mode & 0o777 == 0o600
    found = announced_instance(instance.data_dir)
    assert found is not None
    assert found.url == instance.url


def test_the_token_is_not_in_the_log(instance: RunningInstance) -> None:
    assert TOKEN not in instance.log()


@pytest.mark.parametrize("command", ["ingest", "processor", "database"])
def test_a_killed_process_comes_back_and_no_accepted_hit_is_lost(
    instance: RunningInstance, command: str
) -> None:
    assert send_hit(instance, f"before-{command}") == 204
    before = accepted(instance)
    pid = instance.children()[command]
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: instance.children().get(command, pid) != pid)
    wait_until(lambda: send_hit(instance, f"after-{command}") == 204)
    instance.wait_until_ready()
    instance.drain()
    status = instance.client().json("GET", "/hitstream/status")
    assert status["accepted"] == before + 1
    assert status["balance"]["adds_up"] is True
    assert status["outcomes"]["stored"] == status["accepted"]
    assert "was killed by SIGKILL; starting it again" in instance.log()


def test_a_second_start_on_the_same_data_is_refused_with_the_holder(instance: RunningInstance) -> None:
    second = RunningInstance(instance.data_dir)
    result = second.command("up")
    assert result.returncode == 1
    assert instance.process is not None
    assert f"pid {instance.process.pid}" in result.stderr
    assert "HITSTREAM_DATA_DIR" in result.stderr


def test_a_taken_port_is_named_with_its_setting(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        result = RunningInstance(tmp_path / "data").command("up", HITSTREAM_PORT=port)
        assert result.returncode == 1
        assert port in result.stderr
        assert "HITSTREAM_PORT" in result.stderr
        result = RunningInstance(tmp_path / "data").command("up", HITSTREAM_SQL_PORT=port)
        assert "HITSTREAM_SQL_PORT" in result.stderr
        assert "Traceback" not in result.stderr


def test_data_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    (data / "format.json").write_text('{"format": 99, "written_by": "7.0"}')
    result = RunningInstance(data).command("up")
    assert result.returncode == 1
    assert "7.0" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    ("variable", "value"),
    [("HITSTREAM_PORT", "eighty"), ("HITSTREAM_PROCESSORS", "0"), ("HITSTREAM_COMPATIBILITY", "half")],
)
def test_a_wrong_setting_is_named_with_what_was_expected(tmp_path: Path, variable: str, value: str) -> None:
    result = RunningInstance(tmp_path / "data").command("up", **{variable: value})
    assert result.returncode == 78
    assert variable in result.stderr
    assert "expected" in result.stderr or "not valid" in result.stderr
    assert "Traceback" not in result.stderr


def test_changed_partitions_end_the_whole_with_the_reason(tmp_path: Path) -> None:
    with running_instance(tmp_path / "data", {"HITSTREAM_PARTITIONS": "2"}):
        pass
    again = RunningInstance(tmp_path / "data", {"HITSTREAM_PARTITIONS": "4"})
    again.start()
    assert again.process is not None
    assert again.process.wait(PATIENCE_SECONDS) == 78
    assert "HITSTREAM_PARTITIONS" in again.log() or "partitions" in again.log()
    assert "Traceback" not in again.log()


def test_a_stop_ends_all_processes_and_a_later_start_has_the_hits(tmp_path: Path) -> None:
    settings = {"HITSTREAM_FIRST_SITE": "1"}
    with running_instance(tmp_path / "data", settings) as first:
        wait_until(lambda: "Hitstream is ready" in first.log())
        pids = first.children()
        assert set(pids) == {"ingest", "processor", "database"}
        for page in range(20):
            assert send_hit(first, f"page{page}") == 204
        assert first.stop() == 0
    assert not any(is_alive(pid) for pid in pids.values())
    assert announced_instance(tmp_path / "data") is None
    assert "Traceback" not in first.log()
    with running_instance(tmp_path / "data", settings) as second:
        second.drain()
        status = second.client().json("GET", "/hitstream/status")
    assert (status["accepted"], status["outcomes"]) == (20, {"stored": 20})


def test_processes_end_when_their_supervisor_is_killed(tmp_path: Path) -> None:
    with running_instance(tmp_path / "data") as instance:
        pids = instance.children()
        assert instance.process is not None
        instance.process.kill()
        instance.process.wait()
        wait_until(lambda: not any(is_alive(pid) for pid in pids.values()))
    with running_instance(tmp_path / "data"):
        pass
