"""Each thing that can be wrong is found, and nothing else."""

from typing import Any

import pytest

from hitstream.doctor import diagnose, doctor_lines, exit_status

NOW = 1_789_041_600.0


def facts(**changes: Any) -> dict[str, Any]:
    """A healthy instance; `status` is changed field by field."""
    status = {
        "accepted": 1000,
        "balance": {"adds_up": True, "consumed": 1000, "counted": 1000},
        "lag": {"hits": 3, "sink visits": 0},
        "freshness": {"seconds_behind": 0.4},
        "problems": [],
        **changes.pop("status", {}),
    }
    healthy = {
        "status": status,
        "versions": {"hitstream": "0.1.0", "clickhouse": "26.9", "database": 5, "database_known": 5},
        "now": NOW,
        "newest_hit": NOW - 1,
        "disk": {"total": 1000 << 30, "free": 500 << 30, "data": 10 << 30},
        "tokens": [{"login": "admin", "superuser": True}],
        "stale_days": 1,
        "oldest_change": NOW - 60,
        "rollup_error": "",
        "frozen_before": "",
        "privacy": {"do_not_track": False, "global_privacy_control": False},
        "keep": {"hits_days": 180, "rows_days": 0, "archives_days": 0},
        "tables": [{"table": "visits", "month": "202609", "rows": 10, "bytes": 1 << 20, "parts": 2}],
        "dead": [],
    }
    return {**healthy, **changes}


def test_a_healthy_instance_has_nothing_to_do() -> None:
    findings = diagnose(facts(), client_clock=NOW)
    assert {finding.level for finding in findings} == {"ok"}
    assert not any(finding.do for finding in findings)
    assert exit_status(findings) == 0


@pytest.mark.parametrize(
    ("changes", "level", "what"),
    [
        ({"disk": {"total": 100, "free": 2, "data": 50}}, "error", "almost full"),
        ({"disk": {"total": 100, "free": 9, "data": 5}}, "warning", "the disk fills"),
        ({"disk": {"total": 100, "free": 20, "data": 80}}, "ok", "data 80 B"),
        ({"newest_hit": NOW + 60}, "error", "60 s in the future"),
        ({"tokens": [{"login": str(n), "superuser": True} for n in range(4)]}, "advice", "4 tokens"),
        (
            {"status": {"balance": {"adds_up": False, "consumed": 5, "counted": 4}}},
            "error",
            "5 hits consumed but 4 counted",
        ),
        ({"status": {"problems": ["sink: no"]}}, "error", "sink: no"),
        ({"status": {"lag": {"hits": 60_000}}}, "warning", "60,000 messages of hits wait"),
        ({"status": {"lag": {"sink visits": 60_000}}}, "warning", "60,000 messages of sink visits wait"),
        ({"status": {"freshness": {"seconds_behind": 90.0}}}, "warning", "up to 90 s ago"),
        ({"dead": [{"step": "fold", "reason": "x", "count": 3}]}, "warning", "3 dead letters"),
        ({"privacy": {"do_not_track": True, "global_privacy_control": False}}, "advice", "(Sec-GPC) is not"),
        ({"privacy": {"do_not_track": True, "global_privacy_control": True}}, "ok", "Control honoured"),
        ({"oldest_change": NOW - 7 * 3600}, "warning", "since 7 h"),
        ({"rollup_error": "memory"}, "warning", "an archive failed: memory"),
        ({"keep": {"hits_days": 0, "rows_days": 90, "archives_days": 0}}, "advice", "outlive the rows"),
        (
            {"tables": [{"table": "hits", "month": "202609", "rows": 1, "bytes": 1, "parts": 99}]},
            "advice",
            "in 99 parts",
        ),
        (
            {"tables": [{"table": "hits", "month": "202609", "rows": 1, "bytes": 2 << 30, "parts": 1}]},
            "advice",
            "raw hits take 2.0 GiB",
        ),
        (
            {"versions": {"hitstream": "1", "clickhouse": "2", "database": 4, "database_known": 5}},
            "error",
            "of version 4, not 5",
        ),
    ],
)
def test_what_is_wrong_is_said_with_a_way_out(changes: dict[str, Any], level: str, what: str) -> None:
    found = [one for one in diagnose(facts(**changes), client_clock=NOW) if what in one.what]
    assert [one.level for one in found] == [level]
    assert (found[0].do != "") == (level != "ok")
    assert exit_status(found) == (2 if level == "error" else 0)


def test_clocks_that_differ_are_told() -> None:
    findings = diagnose(facts(), client_clock=NOW - 100)
    assert any("differ by 100 s" in one.what for one in findings)


def test_sizes_are_shown_by_month() -> None:
    tables = [
        {"table": "visits", "month": month, "rows": 1000, "bytes": size, "parts": 2}
        for month, size in (("202608", 1 << 20), ("202609", 3 << 20))
    ]
    lines = doctor_lines(diagnose(facts(tables=tables), client_clock=NOW), facts(tables=tables))
    assert lines[-1].split() == ["visits", "2,000", "4.0", "MiB", "4", "1.0", "MiB", "3.0", "MiB"]
