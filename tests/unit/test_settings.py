"""Settings: from the environment, with clear refusals, and as documented."""

from pathlib import Path

import pytest

from hitstream.settings import DatabaseSettings, UpSettings
from hitstream.settings_table import markdown, setting_lines, unknown_variables
from hitstream.stages import parse_partitions
from hitstream.supervisor import partition_shares, pause_before_restart
from hitstream.up import plan_processes, tracker_ports
from schemas.settings import SettingsError, load_settings

DOCUMENT = Path(__file__).parent.parent.parent / "docs" / "settings.md"


def test_a_variable_replaces_the_default() -> None:
    loaded = load_settings(UpSettings, {"HITSTREAM_PORT": "9000", "HITSTREAM_FIRST_SITE": "no", "OTHER": "1"})
    assert (loaded.port, loaded.first_site, loaded.host) == (9000, False, "127.0.0.1")


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("HITSTREAM_PORT", "http"),
        ("HITSTREAM_PORT", "0"),
        ("HITSTREAM_COMPATIBILITY", "both"),
        ("HITSTREAM_FIRST_SITE", "maybe"),
    ],
)
def test_a_value_that_cannot_be_used_is_refused_with_the_name_of_its_variable(
    variable: str, value: str
) -> None:
    with pytest.raises(SettingsError, match=variable):
        load_settings(UpSettings, {variable: value})


def test_every_setting_has_a_meaning_and_is_listed_once() -> None:
    lines = setting_lines({})
    assert len({line.variable for line in lines}) == len(lines)
    assert [line.variable for line in lines if not line.meaning] == []


def test_secrets_are_hidden() -> None:
    lines = setting_lines({"HITSTREAM_ADMIN_TOKEN": "abc"})
    (token,) = [line for line in lines if line.variable == "HITSTREAM_ADMIN_TOKEN"]
    assert "abc" not in token.value


def test_a_variable_that_nothing_reads_is_found() -> None:
    environ = {"HITSTREAM_PROT": "1", "HITSTREAM_PORT": "1", "PATH": ""}
    assert unknown_variables(setting_lines({}), environ) == ["HITSTREAM_PROT"]


def test_settings_of_several_commands_agree_on_their_defaults() -> None:
    up, database = UpSettings(), DatabaseSettings()
    for name in set(vars(up)) & set(vars(database)):
        assert getattr(up, name) == getattr(database, name), name


def test_the_document_lists_every_setting_as_it_is() -> None:
    text = DOCUMENT.read_text()
    missing = [row for row in markdown(setting_lines({})).splitlines() if row not in text]
    assert missing == [], "write the output of `hitstream settings --markdown` into docs/settings.md"


@pytest.mark.parametrize(
    ("text", "expected"),
    [("", [0, 1, 2, 3]), ("0", [0]), ("1-3", [1, 2, 3]), ("3,0-1", [0, 1, 3]), (" 2 , 2 ", [2])],
)
def test_partitions_are_numbers_and_ranges(text: str, expected: list[int]) -> None:
    assert parse_partitions(text, 4) == expected


@pytest.mark.parametrize("text", ["4", "0-4", "a", "1-b", ","])
def test_partitions_that_do_not_exist_are_refused(text: str) -> None:
    with pytest.raises(SettingsError, match="partitions"):
        parse_partitions(text, 4)


def test_every_partition_has_one_processor_and_none_is_idle() -> None:
    for partitions in (1, 3, 8):
        for processors in (1, 2, 3, 20):
            shares = partition_shares(partitions, processors)
            assert sorted(number for share in shares for number in share) == list(range(partitions))
            assert all(shares)


def test_the_pause_before_a_restart_grows_to_its_limit() -> None:
    pauses = [pause_before_restart(deaths) for deaths in range(1, 12)]
    assert pauses == sorted(pauses)
    assert (pauses[0], pauses[-1]) == (0.2, 15.0)
    assert pause_before_restart(10_000) == 15.0


def test_ingest_processes_listen_on_ports_of_their_own() -> None:
    plans = plan_processes(UpSettings(port=9000, ingest_processes=3), "token", 9500)
    found = [
        (plan.name, plan.environment["HITSTREAM_PORT"], plan.environment["HITSTREAM_INGEST_NUMBER"])
        for plan in plans
        if plan.arguments == ["ingest"]
    ]
    assert found == [("ingest", "9000", "0"), ("ingest1", "9001", "1"), ("ingest2", "9002", "2")]


def test_on_a_broker_each_ingest_process_has_a_directory_for_its_spool() -> None:
    plans = plan_processes(UpSettings(kafka="broker:9092", ingest_processes=2), "token", 9500)
    directories = [plan.environment["HITSTREAM_DATA_DIR"] for plan in plans if plan.arguments == ["ingest"]]
    assert [Path(directory).name for directory in directories] == ["data", "ingest1"]


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        (UpSettings(ingest_processes=17), "HITSTREAM_INGEST_PROCESSES=17: expected 1 to 16"),
        (
            UpSettings(port=8120, ingest_processes=5),
            "HITSTREAM_SQL_PORT=8123 is among the ports",
        ),
    ],
)
def test_ingest_processes_that_cannot_be_are_refused(settings: UpSettings, named: str) -> None:
    with pytest.raises(SettingsError, match=named):
        tracker_ports(settings)
