"""What is wrong with an instance and what to do about it. Pure: facts in, findings out."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

Level = Literal["ok", "advice", "warning", "error"]
MARKS: Mapping[Level, str] = {"ok": "ok     ", "advice": "advice ", "warning": "WARNING", "error": "ERROR  "}

LITTLE_DISK = 0.10
ALMOST_NO_DISK = 0.03
CLOCK_SECONDS = 5.0
LAG_MESSAGES = 50_000
BEHIND_SECONDS = 60.0
STUCK_SECONDS = 6 * 3600.0
MANY_PARTS = 30
LARGE_BYTES = 1 << 30


@dataclass(frozen=True)
class Finding:
    level: Level
    what: str
    do: str = ""
    """The way out; empty when nothing is to be done."""


def diagnose(facts: Mapping[str, Any], *, client_clock: float) -> list[Finding]:
    """Findings in the order of their subject. `facts` are those of hitstream.diagnosis."""
    return [
        *_versions(facts["versions"]),
        *_disk(facts["disk"]),
        *_clock(facts, client_clock),
        *_tokens(facts["tokens"]),
        *_balance(facts["status"]),
        *_lag(facts["status"]),
        *_dead(facts["dead"]),
        *_archives(facts),
        *_lifetimes(facts),
        *_privacy(facts["privacy"]),
        *_tables(facts["tables"]),
    ]


def size_text(size: float) -> str:
    """1.2 GiB"""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < 1024:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} TiB"


def _versions(versions: Mapping[str, Any]) -> Iterator[Finding]:
    text = f"Hitstream {versions['hitstream']}, ClickHouse {versions['clickhouse']}"
    if versions["database"] < versions["database_known"]:
        yield Finding(
            "error",
            f"{text}: the tables are of version {versions['database']}, not {versions['database_known']}",
            "restart the instance: it brings them up to date",
        )
    else:
        yield Finding("ok", f"{text}, tables of version {versions['database']}")


def _disk(disk: Mapping[str, Any]) -> Iterator[Finding]:
    share = disk["free"] / disk["total"] if disk["total"] else 1.0
    text = f"data {size_text(disk['data'])}, {size_text(disk['free'])} free ({share:.0%})"
    way_out = "free some space or shorten lifetimes (HITSTREAM_KEEP_HITS_DAYS, HITSTREAM_KEEP_ROWS_DAYS)"
    if share < ALMOST_NO_DISK:
        yield Finding("error", f"the disk is almost full: {text}", way_out + "; full, trackers get 503")
    elif share < LITTLE_DISK or disk["free"] < disk["data"] / 4:
        yield Finding("warning", f"the disk fills: {text}", way_out)
    else:
        yield Finding("ok", text)


def _clock(facts: Mapping[str, Any], client_clock: float) -> Iterator[Finding]:
    ahead = facts["newest_hit"] - facts["now"]
    away = abs(facts["now"] - client_clock)
    if ahead > CLOCK_SECONDS:
        yield Finding(
            "error",
            f"the newest hit was received {ahead:.0f} s in the future: the clock was put back",
            "set the clock right (chrony, systemd-timesyncd); hit ids go on growing meanwhile",
        )
    elif away > CLOCK_SECONDS:
        yield Finding(
            "warning",
            f"the clocks of this machine and of the instance differ by {away:.0f} s",
            "set both right: days, visits and tokens depend on them",
        )
    else:
        yield Finding("ok", "the clock agrees with this machine's and with the hits")


def _tokens(tokens: Sequence[Mapping[str, Any]]) -> Iterator[Finding]:
    rulers = [one["login"] for one in tokens if one["superuser"]]
    if len(rulers) > 3:
        yield Finding(
            "advice",
            f"{len(rulers)} tokens may do everything",
            "trackers and dashboards need tokens of users with write or view rights (UsersManager)",
        )
    else:
        yield Finding("ok", f"{len(tokens)} tokens, {len(rulers)} of a super user")


def _balance(status: Mapping[str, Any]) -> Iterator[Finding]:
    balance = status["balance"]
    if balance["adds_up"] is False:
        yield Finding(
            "error",
            f"{balance['consumed']:,} hits consumed but {balance['counted']:,} counted",
            "this must never happen: keep a copy of the data directory and report it",
        )
    else:
        yield Finding("ok", f"{status['accepted']:,} hits accepted, and the numbers add up")
    for problem in status["problems"]:
        yield Finding("error", problem, "see the log of the database process")


def _lag(status: Mapping[str, Any]) -> Iterator[Finding]:
    lags = {name: count for name, count in status["lag"].items() if count >= LAG_MESSAGES}
    behind = status["freshness"]["seconds_behind"]
    for name, count in lags.items():
        way_out = (
            "the database is slow: see the disk and `hitstream optimize`"
            if name.startswith("sink ")
            else "start more processors (HITSTREAM_PROCESSORS), or wait when this was an import or a replay"
        )
        yield Finding("warning", f"{count:,} messages of {name} wait", way_out)
    if not lags and behind is not None and behind > BEHIND_SECONDS:
        yield Finding(
            "warning",
            f"reports are complete only up to {behind:.0f} s ago though little waits",
            "a process may be stuck: see which of `hitstream up` says something, restart it",
        )
    if not lags and (behind is None or behind <= BEHIND_SECONDS):
        yield Finding("ok", "reports are up to date" if behind is not None else "nothing was reported yet")


def _dead(dead: Sequence[Mapping[str, Any]]) -> Iterator[Finding]:
    for one in dead:
        yield Finding(
            "warning",
            f"{one['count']:,} dead letters at step {one['step']}: {one['reason']}",
            "they are kept in table dead; a newer release may process them",
        )


def _archives(facts: Mapping[str, Any]) -> Iterator[Finding]:
    age = facts["now"] - facts["oldest_change"] if facts["oldest_change"] else 0.0
    if facts["rollup_error"]:
        yield Finding(
            "warning",
            f"an archive failed: {facts['rollup_error'][:200]}",
            "it is tried again; reports are answered from rows meanwhile, which costs time",
        )
    if age > STUCK_SECONDS:
        yield Finding(
            "warning",
            f"a day waits for its archive since {age / 3600:.0f} h",
            "the machine is too slow for its sites or the day changes all the time: see the log",
        )
    if not facts["rollup_error"] and age <= STUCK_SECONDS:
        yield Finding("ok", f"{facts['stale_days']} days are newer than their archives")


def _lifetimes(facts: Mapping[str, Any]) -> Iterator[Finding]:
    keep, frozen = facts["keep"], facts["frozen_before"]
    hits = keep["hits_days"]
    text = f"raw hits are kept {f'{hits} days' if hits else 'for ever'}"
    text += f", rows {keep['rows_days']} days" if keep["rows_days"] else ", rows for ever"
    yield Finding("ok", text + (f"; days before {frozen} are frozen" if frozen else ""))
    if keep["rows_days"] and (not hits or hits > keep["rows_days"]):
        yield Finding(
            "advice",
            "raw hits outlive the rows made of them",
            f"set HITSTREAM_KEEP_HITS_DAYS to at most {keep['rows_days']}: no replay reaches further",
        )


def _privacy(privacy: Mapping[str, Any]) -> Iterator[Finding]:
    if privacy["do_not_track"] and not privacy["global_privacy_control"]:
        yield Finding(
            "advice",
            "Do-Not-Track is honoured, Global Privacy Control (Sec-GPC) is not",
            "where visitors may object by it, call PrivacyManager.activateGlobalPrivacyControl",
        )
    else:
        told = [
            f"{name} {'honoured' if privacy[key] else 'ignored'}"
            for name, key in (
                ("Do-Not-Track", "do_not_track"),
                ("Global Privacy Control", "global_privacy_control"),
            )
        ]
        yield Finding("ok", ", ".join(told))


def _tables(tables: Sequence[Mapping[str, Any]]) -> Iterator[Finding]:
    sizes: dict[str, int] = defaultdict(int)
    for one in tables:
        sizes[one["table"]] += one["bytes"]
        if one["parts"] > MANY_PARTS:
            yield Finding(
                "advice",
                f"{one['table']} of {one['month']} is in {one['parts']} parts",
                f"hitstream optimize --table {one['table']} --month {one['month']}",
            )
    total = sum(sizes.values())
    hits = sizes.get("hits", 0)
    if total > LARGE_BYTES and hits > total / 2:
        yield Finding(
            "advice",
            f"raw hits take {size_text(hits)} of {size_text(total)}",
            "shorten HITSTREAM_KEEP_HITS_DAYS if no replay or repair must reach that far back",
        )


def doctor_lines(findings: Sequence[Finding], facts: Mapping[str, Any]) -> list[str]:
    """Findings, then sizes by table and month."""
    lines = []
    for finding in findings:
        lines.append(f"{MARKS[finding.level]}  {finding.what}")
        if finding.do:
            lines.append(f"           -> {finding.do}")
    months = sorted({one["month"] for one in facts["tables"] if one["month"].isdigit()})[-12:]
    by_table: dict[str, dict[str, Mapping[str, Any]]] = defaultdict(dict)
    for one in facts["tables"]:
        by_table[one["table"]][one["month"]] = one
    lines += ["", "table               rows        bytes  parts  " + "  ".join(f"{m:>10}" for m in months)]
    for table, parts in sorted(by_table.items()):
        rows = sum(one["rows"] for one in parts.values())
        size = sum(one["bytes"] for one in parts.values())
        count = sum(one["parts"] for one in parts.values())
        cells = [size_text(parts[month]["bytes"]) if month in parts else "-" for month in months]
        lines.append(
            f"{table:<17} {rows:>7,} {size_text(size):>12} {count:>6}  "
            + "  ".join(f"{cell:>10}" for cell in cells)
        )
    return [line.rstrip() for line in lines]


def exit_status(findings: Sequence[Finding]) -> int:
    """2 when something is wrong now, for scripts that watch."""
    return 2 if any(finding.level == "error" for finding in findings) else 0
