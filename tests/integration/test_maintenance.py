"""doctor, optimize, export and subjects against a running instance."""

import io
import json
from pathlib import Path

import pandas
import pytest

from hitstream import export as parts
from sink.database import Database
from tests.instance import RunningInstance
from tests.integration.test_archives import DAY, fill
from tests.integration.traffic import hit, send


@pytest.fixture(scope="module")
def filled(instance: RunningInstance) -> RunningInstance:
    """Thirty visitors with a goal and an order each, and one more."""
    instance.api("SitesManager.addSite", siteName="One", ecommerce="1", **{"urls[0]": "http://one.example"})
    instance.api(
        "Goals.addGoal", idSite="1", name="Bought", matchAttribute="url", pattern="thanks",
        patternType="contains", revenue="2",
    )  # fmt: skip
    for number in range(1, 31):
        items = json.dumps([["sku", 'A, "quoted"\nname', "c", 5, 1]])
        user = {"uid": f"user{number % 3}-{number}"}
        order = {"idgoal": "0", "revenue": "5", "ec_id": f"order-{number}", "ec_items": items}
        send(
            instance,
            [
                hit(number, number, "thanks", **user),
                hit(number, number + 5, "shop", **order, **user),
            ],
        )
    send(instance, [hit(99, 0, "thanks", cdt="2026-09-11 01:00:00")])
    instance.drain()
    return instance


def test_an_export_is_read_back_by_pandas_with_all_its_rows(filled: RunningInstance, tmp_path: Path) -> None:
    for kind, count in (("visits", 31), ("actions", 31), ("conversions", 61), ("conversion_items", 30)):
        for fmt in ("parquet", "csv"):
            out = tmp_path / f"{kind}-{fmt}"
            done = filled.command("export", "--site", "1", "--kind", kind, "--format", fmt, "--out", str(out))
            assert done.returncode == 0, done.stderr
            files = sorted(out.iterdir())
            assert files[0].name == f"{kind}-1-2026-09-10-001.{fmt}"
            read = pandas.read_parquet if fmt == "parquet" else pandas.read_csv
            frame = pandas.concat([read(file) for file in files])
            assert len(frame) == count, (kind, fmt)
    visits = pandas.concat([pandas.read_parquet(file) for file in (tmp_path / "visits-parquet").iterdir()])
    assert set(visits["user_id"]) == {"", *(f"user{number % 3}-{number}" for number in range(1, 31))}
    assert visits["visitor_id"].nunique() == 31
    conversions = pandas.concat([pandas.read_csv(file) for file in (tmp_path / "conversions-csv").iterdir()])
    assert conversions["revenue"].sum() == 31 * 2 + 30 * 5
    printed = filled.command(
        "export", "--site", "1", "--kind", "conversion_items", "--format", "csv", "--out", "-"
    )
    assert len(pandas.read_csv(io.StringIO(printed.stdout))) == 30
    one_day = filled.command(
        "export", "--site", "1", "--from", "2026-09-11", "--to", "2026-09-11", "--out", str(tmp_path / "day")
    )
    assert "1 visits of 1 days in 1 files" in one_day.stderr
    refused = filled.command("export", "--site", "7")
    assert "site 7 does not exist" in refused.stderr


def test_a_large_day_comes_in_parts_of_bounded_size(database: Database) -> None:
    fill(database, 500)
    whole = database.rows("SELECT count() FROM actions FINAL WHERE date = {day:Date}", {"day": DAY})[0][0]
    for fmt in parts.FORMATS:
        frames, after = [], 0
        while True:
            part = parts.export_part(database, "actions", 1, DAY, fmt, after, most=60)
            if part.body:
                assert part.rows <= 60
                read = pandas.read_parquet if fmt == "parquet" else pandas.read_csv
                frames.append(read(io.BytesIO(part.body)))
            if not part.following:
                break
            after = part.following
        assert len(frames) > 3
        frame = pandas.concat(frames)
        assert len(frame) == whole == frame["action_id"].nunique()
    assert parts.days_with_rows(database, "actions", 1, DAY, DAY) == [DAY]


def test_doctor_says_how_the_instance_is_and_optimize_merges_parts(filled: RunningInstance) -> None:
    told = filled.command("doctor")
    assert told.returncode == 0, told.stdout + told.stderr
    assert "61 hits accepted, and the numbers add up" in told.stdout
    assert "raw hits are kept 180 days, rows for ever" in told.stdout
    assert "202609" in told.stdout
    findings = json.loads(filled.command("doctor", "--json").stdout)["findings"]
    assert {one["level"] for one in findings} <= {"ok", "advice", "warning"}
    optimized = filled.command("optimize")
    assert optimized.returncode == 0, optimized.stderr
    assert "part" in optimized.stdout
    tables = json.loads(filled.command("doctor", "--json").stdout)["facts"]["tables"]
    assert {one["parts"] for one in tables if one["table"] in ("visits", "actions", "hits")} == {1}
    refused = filled.command("optimize", "--table", "secrets")
    assert (refused.returncode, "expected one of visits" in refused.stderr) == (1, True)


def test_a_person_is_found_exported_and_deleted_from_the_command_line(filled: RunningInstance) -> None:
    nobody = filled.command("subjects", "find", "--user", "nobody@example.org")
    assert (nobody.returncode, nobody.stdout) == (0, "")
    assert "whose?" in filled.command("subjects", "find").stderr
    found = filled.command("subjects", "find", "--site", "1", "--visitor", f"{99:016x}")
    assert found.stdout.count("visitor 0000000000000063") == 1
    one = filled.command("subjects", "find", "--user", "user1-4")
    assert one.stdout.count("user user1-4") == 1
    whose = ("--segment", "userId=^user1-")
    export = json.loads(filled.command("subjects", "export", *whose).stdout)
    assert len(export["visits"]) == len(export["conversion_items"]) == 10
    assert all(visit["user_id"].startswith("user1-") for visit in export["visits"])
    asked = filled.command("subjects", "delete", *whose)
    assert asked.returncode == 1
    assert "--yes" in asked.stderr
    deleted = filled.command("subjects", "delete", *whose, "--yes")
    assert "deleted: 10 visits, 20 hits, 10 actions, 20 conversions, 10 conversion_items" in deleted.stdout
    assert filled.command("subjects", "find", *whose).stdout == ""
    assert filled.api("VisitsSummary.get", idSite="1", period="day", date="2026-09-10")["nb_visits"] == 20
