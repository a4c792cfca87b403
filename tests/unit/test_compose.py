"""compose/, without an engine: files, settings, metrics and passwords fit together."""

import json
import re
import shutil
import subprocess
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import compose_spec
import pytest
import yaml

from hitstream.settings_table import COMMANDS, setting_lines, settings_class
from schemas.settings import variable_of

ROOT = Path(__file__).parents[2]
COMPOSE = ROOT / "compose"
SPEC = yaml.safe_load((COMPOSE / "compose.yaml").read_text())
SERVICES: Mapping[str, Mapping[str, Any]] = SPEC["services"]
OURS = {name: service for name, service in SERVICES.items() if service["image"].startswith("hitstream:")}
STAGES = set(OURS) - {"topics"}
DASHBOARDS = sorted((COMPOSE / "grafana" / "dashboards").glob("*.json"))
RULES = yaml.safe_load((COMPOSE / "grafana" / "provisioning" / "alerting" / "rules.yaml").read_text())
SYSTEMD = sorted((COMPOSE / "systemd").glob("*"))


def expressions() -> Iterator[tuple[str, str]]:
    """Where and what is asked of Prometheus."""
    for file in DASHBOARDS:
        for panel in json.loads(file.read_text())["panels"]:
            for target in panel["targets"]:
                if "expr" in target:
                    yield f"{file.name}: {panel['title']}", target["expr"]
    for rule in RULES["groups"][0]["rules"]:
        for query in rule["data"]:
            if "expr" in query["model"]:
                yield rule["title"], query["model"]["expr"]


def exported_metrics() -> set[str]:
    """Names of metrics in the source of the stages."""
    found: set[str] = set()
    for package in ("ingest", "sink", "hitstream"):
        for file in (ROOT / package).rglob("*.py"):
            found |= set(re.findall(r"\bhitstream_[a-z_]+[a-z]\b", file.read_text()))
    text = (ROOT / "sink" / "metrics.py").read_text()
    found |= {f"hitstream_sink_{name}" for name in re.findall(r'\("([a-z_]+)", "(?:counter|gauge)"', text)}
    return found


def environment_of(service: Mapping[str, Any]) -> dict[str, str]:
    return {name: str(value) for name, value in (service.get("environment") or {}).items()}


def filled_in() -> dict[str, Any]:
    """As Docker reads it: with the variables of ./init, which are numbers here."""
    text = re.sub(
        r"\$\{\w+(?::[-?]([^}]*))?\}", lambda m: m[1] or "1", (COMPOSE / "compose.yaml").read_text()
    )
    return dict(yaml.safe_load(text))


def test_the_file_is_one_of_the_compose_specification() -> None:
    compose_spec.PyCompose.from_yaml(yaml.safe_dump(filled_in())).validate()
    wrong = filled_in()
    wrong["services"]["sink"]["mem_limits"] = "1g"
    with pytest.raises(ValueError, match="mem_limits"):
        compose_spec.PyCompose.from_yaml(yaml.safe_dump(wrong)).validate()


def test_images_are_pinned_to_a_version() -> None:
    for name, service in SERVICES.items():
        if name not in OURS:
            assert re.search(r":v?\d+\.\d+\.\d+(\.\d+)?$", service["image"]), service["image"]
    for line in (ROOT / "Dockerfile").read_text().splitlines():
        if line.startswith("FROM"):
            assert re.search(r":\d+\.\d+\.\d+-", line), line


def test_every_service_has_limits_and_a_check_and_comes_back() -> None:
    for name, service in SERVICES.items():
        assert service["mem_limit"], name
        assert service["restart"] in ("always", "on-failure"), name
        assert service["logging"]["options"]["max-size"], name
        if name != "topics":  # it ends when the topics are made
            assert service["healthcheck"]["test"], name


def test_dependencies_and_volumes_exist() -> None:
    for name, service in SERVICES.items():
        for other, wanted in service.get("depends_on", {}).items():
            assert other in SERVICES, (name, other)
            if wanted["condition"] == "service_healthy":
                assert "healthcheck" in SERVICES[other]
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            if source.startswith("."):
                assert (COMPOSE / source).exists(), volume
            else:
                assert source in SPEC["volumes"], volume


def test_every_stage_is_there_and_is_scraped_where_it_answers() -> None:
    assert {"ingest", "processor", "sink", "rollups", "reporting"} == STAGES
    scraped = {
        job["job_name"]: job["dns_sd_configs"][0]
        for job in yaml.safe_load((COMPOSE / "prometheus" / "prometheus.yml").read_text())["scrape_configs"]
    }
    assert set(scraped) == STAGES
    for name in STAGES:
        ports = {v for n, v in environment_of(OURS[name]).items() if n.endswith("_PORT") and v != "0"}
        assert scraped[name]["names"] == [name]
        assert {str(scraped[name]["port"])} == ports
        assert f":{scraped[name]['port']}/health" in OURS[name]["healthcheck"]["test"][-1]


@pytest.mark.parametrize("name", sorted(OURS))
def test_every_setting_is_one_that_the_command_reads(name: str) -> None:
    command = OURS[name]["command"][0]
    known = {
        variable_of(field)
        for of_command, place in COMMANDS
        if of_command == command
        for field in settings_class(place).__dataclass_fields__.values()
    }
    # All processes are told the token.
    given = set(environment_of(OURS[name])) - {"HITSTREAM_ADMIN_TOKEN", "HITSTREAM_METRICS_HOST"}
    assert given <= known, given - known


def test_other_files_name_only_settings_that_exist() -> None:
    known = {line.variable for line in setting_lines({})} | {"HITSTREAM_VERSION"}
    for file in (ROOT / "Dockerfile", COMPOSE / "compose.yaml", *SYSTEMD, ROOT / "docs" / "production.md"):
        found = set(re.findall(r"\bHITSTREAM_[A-Z_]+[A-Z]\b", file.read_text()))
        assert found <= known, (file.name, found - known)


def test_what_is_asked_of_prometheus_is_exported() -> None:
    exported = exported_metrics()
    asked = list(expressions())
    assert len(asked) > 20
    for where, expression in asked:
        for name in re.findall(r"hitstream_[a-z_]+[a-z]", expression):
            base = re.sub(r"_(bucket|sum|count)$", "", name)
            assert {name, base} & exported, f"{where} asks for {name}"


def test_alerts_are_those_of_the_list_and_refer_to_sources_that_exist() -> None:
    rules = {rule["uid"]: rule for rule in RULES["groups"][0]["rules"]}
    assert {uid.removeprefix("hitstream-") for uid in rules} >= {
        "stage-down",
        "lag-near-retention",
        "dead-letters",
        "no-visits",
        "stale-archives",
        "spool-in-use",
    }
    sources = yaml.safe_load(
        (COMPOSE / "grafana" / "provisioning" / "datasources" / "hitstream.yaml").read_text()
    )["datasources"]
    known = {source["uid"] for source in sources} | {"__expr__"}
    for rule in rules.values():
        assert rule["condition"] in {query["refId"] for query in rule["data"]}
        assert {query["datasourceUid"] for query in rule["data"]} <= known
        assert rule["annotations"]["summary"]
    for file in DASHBOARDS:
        for panel in json.loads(file.read_text())["panels"]:
            assert panel["datasource"]["uid"] in known
    points = yaml.safe_load(
        (COMPOSE / "grafana" / "provisioning" / "alerting" / "contact-points.yaml").read_text()
    )
    assert {receiver["type"] for receiver in points["contactPoints"][0]["receivers"]} == {"email", "webhook"}
    assert points["policies"][0]["receiver"] == points["contactPoints"][0]["name"]


def test_no_password_has_a_default_and_init_makes_those_that_are_required(tmp_path: Path) -> None:
    text = (COMPOSE / "compose.yaml").read_text()
    for name in re.findall(r"\$\{(\w*(?:PASSWORD|TOKEN)\w*)", text):
        if name != "SMTP_PASSWORD":
            assert re.search(rf"\$\{{{name}:\?", text), name
            assert not re.search(rf"\$\{{{name}[:}}](?!\?)", text), name
    required = set(re.findall(r"\$\{(\w+):\?", text))
    (tmp_path / "init").write_text((COMPOSE / "init").read_text())
    made = []
    for _ in range(2):
        subprocess.run(["sh", str(tmp_path / "init")], check=True, capture_output=True)
        env = tmp_path / ".env"
        assert env.stat().st_mode & 0o077 == 0
        lines = [line.partition("=") for line in env.read_text().splitlines() if re.match(r"\w+=", line)]
        values = {name: value for name, _, value in lines}
        assert required <= set(values)
        assert set(re.findall(r"\$\{(\w+):-", text)) - {"HITSTREAM_VERSION"} >= set(values) - required
        secrets = {name: values[name] for name in required}
        assert all(re.fullmatch(r"[0-9a-f]{48}", value) for value in secrets.values())
        assert len(set(secrets.values())) == len(secrets)
        made.append(secrets)
        again = subprocess.run(["sh", str(tmp_path / "init")], capture_output=True, text=True, check=False)
        assert again.returncode == 1
        assert "exists" in again.stderr
        env.unlink()
    assert made[0] != made[1]


def test_clickhouse_s_own_logs_have_a_lifetime_and_its_users_a_password() -> None:
    config = ElementTree.parse(COMPOSE / "clickhouse" / "config.xml").getroot()
    logs = [element for element in config if element.tag.endswith("_log")]
    assert len(logs) > 5
    for log in logs:
        ttl = log.find("ttl")
        assert log.get("remove") == "1" or (ttl is not None and "INTERVAL" in str(ttl.text)), log.tag
    users = ElementTree.parse(COMPOSE / "clickhouse" / "users.xml").getroot().find("users")
    assert users is not None
    variables = environment_of(SERVICES["clickhouse"])
    for user in users:
        password = user.find("password")
        if user.tag == "default":
            assert user.get("remove") == "1"
        else:
            assert password is not None
            assert password.get("from_env") in variables


def test_the_units_start_the_stages_as_a_user_of_their_own() -> None:
    assert {file.name for file in SYSTEMD} >= {
        f"hitstream-{stage}.service" for stage in ("ingest", "sink@", "rollups", "reporting", "processor@")
    } | {"hitstream.service", "hitstream.target"}
    for file in SYSTEMD:
        if file.suffix == ".service":
            text = file.read_text()
            assert "\nUser=hitstream\n" in text
            assert "\nRestart=always\n" in text
            assert "\nRestartPreventExitStatus=78\n" in text


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")
def test_systemd_understands_the_units(tmp_path: Path) -> None:
    for file in SYSTEMD:
        text = file.read_text().replace("/opt/hitstream/bin/hitstream", "/bin/true")
        (tmp_path / file.name).write_text(text)
    checked = subprocess.run(
        ["systemd-analyze", "verify", *(str(tmp_path / file.name) for file in SYSTEMD)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (checked.returncode, checked.stderr) == (0, "")


def test_the_image_has_all_packages_and_copies_what_exists() -> None:
    text = (ROOT / "Dockerfile").read_text()
    for line in text.splitlines():
        if line.startswith("COPY ") and "--from" not in line:
            for source in line.split()[1:-1]:
                assert (ROOT / source).exists(), line
    packages = re.findall(
        r'"(\w+)\*"', (ROOT / "pyproject.toml").read_text().split("packages.find")[1].split("]")[1]
    )
    assert packages
    for package in packages:
        assert f"COPY {package} {package}\n" in text
