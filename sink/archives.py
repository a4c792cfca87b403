# ruff: noqa: S608 - the texts are declarations of ours or compiled segments; values are bound
"""Archives: the daily result of every aggregate, computed from rows and read back with the same columns.

One computation is one (site, day, segment). It is idempotent: its rows carry a generation, and only the last
record in archive_days says which generation counts."""

import math
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from functools import partial
from operator import itemgetter
from typing import Any

from clickhouse_connect.driver.exceptions import ClickHouseError

from schemas.page_levels import FEW_ACTIONS
from schemas.report_queries import MOST_IN_ARRAY, day_sql, joint_day_sql, shared_rows
from schemas.reports import AGGREGATES, Aggregate, Source
from sink.database import Database
from sink.first_rows import first_rows, no_first_rows
from sink.report_keys import has_first_rows, keys_of_archive, report_key
from sink.statements import Statements
from stream.faults import crash_point

SLACK = timedelta(seconds=60)
"""A row may become visible this much later than its inserted_at says."""

UNIQUES = "uniques:lower"
"""Among the reports of a day whose exact states of users are of ids in lower case; older ones are not."""

TYPED_UNIQUES = "uniques:types"
"""Among the reports of a day whose exact states of new and of returning visitors are kept, too."""

UNIQUE_STATES = ("visitors", "users", "new_visitors", "new_users", "returning_visitors", "returning_users")
"""The columns of `uniques`."""

_ROWS_OF_A_DAY = ("visits", "actions", "conversions", "conversion_items")


@dataclass(frozen=True)
class ArchivedSegment:
    """A segment compiled to SQL: `visit` is a condition on rows of visits, `ids` one on visit_id (as
    schemas.reports.day_sql takes them), with their bound parameters. `key` names it in the tables."""

    key: str = ""
    visit: str = ""
    ids: str = ""
    parameters: Mapping[str, Any] = field(default_factory=dict)


ALL_VISITS = ArchivedSegment()

MERGED: Mapping[str, str] = {"months of ": "toStartOfMonth", "years of ": "toStartOfYear"}
"""Begin the names under which the merged months and years of a segment are stored (sink.merged_archives), and
the function that makes a date its span's."""


class FrozenDayError(Exception):
    """The rows of the day are gone: its archive is final and can't be computed again."""


FROZEN_KNOWN_SECONDS = 2.0
"""After so long every reader must know of days that were frozen: only then their rows may go."""


def frozen_before(database: Database) -> date | None:
    """Days before this one have no rows any more; None when all have theirs."""
    rows = database.rows("SELECT before FROM frozen FINAL")
    return rows[0][0] if rows else None


_FROZEN = "(SELECT max(before) FROM frozen)"
"""1970-01-01 when nothing is frozen."""


@dataclass(frozen=True)
class ArchivedDay:
    """One finished computation."""

    site_id: int
    date: date
    segment: str
    generation: int
    read_at: datetime
    seconds: float


class ArchiveTooLongError(Exception):
    """A computation took longer than it may; nothing of it counts."""


@dataclass(frozen=True)
class ArchiveLimits:
    """Of one query of a computation; `deadline` (time.monotonic) of all its queries together."""

    max_memory_bytes: int = 1 << 30
    max_threads: int = 2
    max_seconds: float = 600.0
    small_day_rows: int = 50_000
    """A day of no more rows is computed by one statement, whose analysis costs most, with one thread: several
    have nothing to share (15 % less)."""
    shared_day_rows: int = 2_000_000
    """A day of no more rows is read once per source, else once per aggregate. Measured: those of a day of 1.2
    million take 300 MiB, with what the aggregates need 400."""
    deadline: float = math.inf
    priority: int = 0
    """A query waits while one of a lower number runs; 0 takes no part in that."""

    def settings(self) -> dict[str, Any]:
        """For the next query. Raises ArchiveTooLongError when there is no time left for one."""
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise ArchiveTooLongError
        return {
            "max_memory_usage": self.max_memory_bytes,
            # compared with the memory of the whole query, of which shared rows are a part: at a quarter the
            # aggregates of a million actions went through files and took twice the time
            "max_bytes_before_external_group_by": self.max_memory_bytes * 3 // 4,
            "max_threads": self.max_threads,
            "priority": self.priority,
            # in whole milliseconds; 0 would be no limit at all
            "max_execution_time": max(0.001, round(min(self.max_seconds, left), 3)),
            "do_not_merge_across_partitions_select_final": 1,
            "enable_materialized_cte": 1,
            # a statement counts shared rows once for each of its aggregates; plugins add some
            "max_ast_elements": 1_000_000,
            "max_expanded_ast_elements": 1_000_000,
        }


_ARCHIVES = "FROM archives WHERE site_id = {site:UInt32} AND segment IN {segments:Array(String)}"
_FROM_ARCHIVES = (
    f"{_ARCHIVES} AND date IN {{days:Array(Date)}}"
    " AND (date, generation) IN arrayZip({days:Array(Date)}, {generations:Array(UInt64)})"
)
# a generation belongs to one computation; what is shorter is analyzed faster
_FROM_ONE = (
    f"{_ARCHIVES} AND date BETWEEN {{first:Date}} AND {{last:Date}} AND generation = {{generation:UInt64}}"
)


def archive_sql(aggregate: Aggregate, metrics: Sequence[str] | None = None, *, one: bool = False) -> str:
    """The columns of schemas.reports.day_sql, from archives; of the metrics those that are named, or all.

    Bound parameters: site, segments (under which the days are stored), report, days (dates) and generations,
    of equal length; of `one` archive its generation instead and first and last, between which its rows have
    their dates."""
    labels = [f"labels[{at}] AS l{at - 1}" for at in range(1, len(aggregate.labels) + 1)]
    values = [
        f"metrics[{at}] AS {metric.name}"
        for at, metric in enumerate(aggregate.metrics, 1)
        if metrics is None or metric.name in metrics
    ]
    columns = ", ".join(["date", *labels, *values])
    return f"SELECT {columns} {_FROM_ONE if one else _FROM_ARCHIVES} AND report = {{report:String}}"


_ARCHIVED = "SELECT report, date, labels, metrics"
ARCHIVED_SQL = f"{_ARCHIVED} {_FROM_ARCHIVES} AND report IN {{reports:Array(String)}}"
"""As schemas.report_queries.stored_form, from archives. Bound as archive_sql has it, with `reports` (keys of
several aggregates) instead of `report`."""

ONE_ARCHIVED_SQL = f"{_ARCHIVED} {_FROM_ONE} AND report IN {{reports:Array(String)}}"
"""The same of one archive."""


Archived = tuple[int, frozenset[str]]
"""The generation of an archived day and the keys of the reports it holds (report_key)."""


def current_archives(
    database: Database, site_id: int, first: date, last: date, *, segment: str = ""
) -> dict[date, Archived]:
    """Days of [first, last] whose archive is newer than every row of the day. Days without any row and
    without archive are missing too."""
    bound = {"site": site_id, "segment": segment, "first": first, "last": last}
    # by reports, which most days share: they are many names
    found = database.rows(
        f"""
        SELECT reports, groupArray((date, generation, read_at, date < {_FROZEN})) FROM archive_days FINAL
        WHERE site_id = {{site:UInt32}} AND segment = {{segment:String}}
        AND date BETWEEN {{first:Date}} AND {{last:Date}} GROUP BY reports
        """,
        bound,
    )
    archived = [(*one, frozenset(reports)) for reports, days in found for one in days]
    if not archived:
        return {}
    # Only younger rows can make one of them stale: the index of inserted_at leaves out the others.
    oldest = min(_utc(read_at) for _, _, read_at, _, _ in archived)
    changes = _last_changes(
        "site_id = {site:UInt32} AND date BETWEEN {first:Date} AND {last:Date}"
        " AND inserted_at >= {since:DateTime64(3, 'UTC')}"
    )
    changed = {
        day: _utc(changed_at)
        for _, day, changed_at in database.rows(changes, {**bound, "since": oldest - SLACK})
    }
    return {
        day: (int(generation), reports)
        for day, generation, read_at, is_frozen, reports in sorted(archived, key=itemgetter(0))
        if is_frozen or day not in changed or _utc(read_at) > changed[day] + SLACK
    }


def days_with(archived: Mapping[date, Archived], reports: Iterable[str]) -> dict[date, int]:
    """Those that hold all of `reports`, with their generation."""
    wanted = frozenset(reports)
    return {day: generation for day, (generation, held) in archived.items() if wanted <= held}


def current_days(
    database: Database, site_id: int, first: date, last: date, *, segment: str = "", reports: Iterable[str]
) -> dict[date, int]:
    """The current archives of [first, last] that hold all of `reports` (report_key), by their generation."""
    return days_with(current_archives(database, site_id, first, last, segment=segment), reports)


OF_ARCHIVES = ""
"""What archives_versions tells of archives themselves."""


def archives_versions(database: Database) -> dict[str, int]:
    """Another number whenever what current_archives reads may have changed: of rows by month (YYYYMM), of
    archives as OF_ARCHIVES. Each insert, merge and mutation makes parts of other names. Of an embedded
    database, which nobody else writes to."""
    found = database.rows(
        f"SELECT if(table IN {{rows:Array(String)}}, partition_id, '{OF_ARCHIVES}') AS of,"
        " sum(sipHash64(table, name)) FROM system.parts WHERE active AND database = {database:String}"
        " AND table IN {tables:Array(String)} GROUP BY of",
        {
            "database": database.name,
            "rows": list(_ROWS_OF_A_DAY),
            "tables": [*_ROWS_OF_A_DAY, "archive_days", "frozen"],
        },
    )
    return {str(of): int(number) for of, number in found}


def _last_changes(where: str) -> str:
    """When rows of each site and day were last inserted; superseded and deleted rows count too."""
    parts = " UNION ALL ".join(
        f"SELECT site_id, date, inserted_at FROM {table} WHERE {where}" for table in _ROWS_OF_A_DAY
    )
    return f"SELECT site_id, date, max(inserted_at) AS changed_at FROM ({parts}) GROUP BY site_id, date"


@dataclass(frozen=True)
class StaleDay:
    site_id: int
    date: date
    changed_at: datetime
    """When its rows were last inserted."""


def stale_days(
    database: Database, *, since: datetime | None = None, segment: str = "", reports: Iterable[str] = ()
) -> list[StaleDay]:
    """Days whose rows are newer than their archive, or whose archive lacks one of `reports`; with `since`,
    only days that got rows from then on. Exact whatever hints were lost."""
    where = "inserted_at >= {since:DateTime64(3)}" if since else "1"
    found = database.rows(
        f"""
        SELECT r.site_id, r.date, r.changed_at FROM ({_last_changes(where)}) AS r
        LEFT JOIN (SELECT site_id, date, read_at, reports FROM archive_days FINAL
            WHERE segment = {{segment:String}}) AS d
        ON r.site_id = d.site_id AND r.date = d.date
        WHERE (d.read_at <= r.changed_at + toIntervalSecond({int(SLACK.total_seconds())})
        OR NOT hasAll(d.reports, {{reports:Array(String)}})) AND r.date >= {_FROZEN}
        ORDER BY r.date DESC, r.site_id
        """,
        {"segment": segment, "reports": sorted(reports), "since": since or datetime(1970, 1, 1, tzinfo=UTC)},
    )
    return [StaleDay(int(site), day, _utc(changed)) for site, day, changed in found]


def sites_with_archives(database: Database) -> list[int]:
    """Sites of which some day is archived."""
    return [
        int(site) for (site,) in database.rows("SELECT DISTINCT site_id FROM archive_days ORDER BY site_id")
    ]


def days_without_segments(database: Database, site_id: int, segments: Sequence[str]) -> list[date]:
    """Archived days of a site that lack the archive of one of `segments`, the newest first; not those whose
    rows are gone."""
    found = database.rows(
        f"""
        SELECT date FROM archive_days FINAL WHERE site_id = {{site:UInt32}} AND date >= {_FROZEN}
        GROUP BY date HAVING has(groupArray(segment), '')
        AND NOT hasAll(groupArray(segment), {{segments:Array(String)}}) ORDER BY date DESC
        """,
        {"site": site_id, "segments": list(segments)},
    )
    return [day for (day,) in found]


def _utc(moment: datetime) -> datetime:
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment


DEFAULT_LIMITS = ArchiveLimits()
BYTES_OF_TWO_STATEMENTS = 700
"""Of memory for each row of a day, measured with two at a time: more than the limits allow is not begun."""


def archive_day(
    database: Database,
    site_id: int,
    day: date,
    *,
    segment: ArchivedSegment = ALL_VISITS,
    aggregates: Sequence[Aggregate] | None = None,
    limits: ArchiveLimits = DEFAULT_LIMITS,
) -> ArchivedDay:
    """Compute every aggregate of one site, day and segment anew, and make the result current.

    Repeating it gives the same numbers under a new generation; killed half-way it changes nothing. Raises
    ArchiveTooLongError when the deadline of `limits` passed, FrozenDayError."""
    frozen = frozen_before(database)
    if frozen is not None and day < frozen:
        raise FrozenDayError(f"the rows of {day} are gone, as all before {frozen}: its archive is final")
    chosen = tuple(AGGREGATES.values()) if aggregates is None else aggregates
    started = time.monotonic()
    read_at = _utc(database.rows("SELECT now64(3, 'UTC')")[0][0])
    bound = {"site": site_id, "first": day, "last": day, **segment.parameters, "segment": segment.key}

    def execute(sql: str, parameters: Mapping[str, Any]) -> None:
        settings = limits.settings()
        try:
            database.execute(sql, parameters, settings)
        except ClickHouseError as error:
            if time.monotonic() >= limits.deadline and "TIMEOUT_EXCEEDED" in str(error):
                raise ArchiveTooLongError from error
            raise

    def compute(
        together: Sequence[Aggregate], generation: int, *, jointly: bool = False, spills: bool = True
    ) -> None:
        sql, keys = _compute_sql(together, segment, jointly=jointly, spills=spills)
        execute(sql, {**bound, "generation": generation, **keys})
        crash_point("archive.report")

    def compute_uniques(generation: int) -> None:
        execute(_uniques_sql(segment), {**bound, "generation": generation})

    generation = time.time_ns()
    counted = rows_of_day(database, site_id, day)
    rows = counted["visits"] + counted["actions"]
    small = rows <= limits.small_day_rows
    at_once = 1 if small or rows * BYTES_OF_TWO_STATEMENTS > limits.max_memory_bytes else 2
    if small or at_once == 2:
        # one thread needs a seventh less than two that share a statement
        limits = replace(limits, max_threads=1 if small else max(1, limits.max_threads // 2))
    batches = _batches(
        [one for one in chosen if counted[_TABLE_OF.get(one.source, "conversions")]], rows, limits
    )
    # the largest first: what is left at the end is short
    batches.sort(key=lambda batch: -counted[_TABLE_OF.get(batch[0].source, "conversions")])
    shared = not small and rows <= limits.shared_day_rows
    # of more, groups may go through files; to collect and then count takes two thirds of the time of sets
    spills = not shared or rows > MOST_IN_ARRAY
    with Statements(database, at_once=at_once) as statements:
        try:
            statements.run(
                [partial(compute, one, generation, jointly=small, spills=spills) for one in batches]
                + [partial(compute_uniques, generation)]
            )
        except ClickHouseError as error:
            if "MEMORY_LIMIT_EXCEEDED" not in str(error) or rows > limits.shared_day_rows:
                raise
            # another generation: what failed may have stored some of its rows
            forget(database, [(site_id, day, generation)])
            generation = time.time_ns()
            for one in chosen:
                compute((one,), generation)
            compute_uniques(generation)
        if has_first_rows(chosen):
            if counted["actions"] <= FEW_ACTIONS:
                no_first_rows(execute, site_id, segment.key, generation, day, actions=counted["actions"])
            else:
                of_first_rows = first_rows(site_id, segment.key, generation, first=day, last=day)
                statements.run([partial(execute, *one) for one in of_first_rows])
    crash_point("archive.before_current")
    archived = ArchivedDay(site_id, day, segment.key, generation, read_at, time.monotonic() - started)
    make_current(database, archived, [*keys_of_archive(chosen), UNIQUES, TYPED_UNIQUES])
    crash_point("archive.current")
    return archived


def _uniques_sql(segment: ArchivedSegment) -> str:
    return f"""
        INSERT INTO uniques (site_id, segment, date, generation, {", ".join(UNIQUE_STATES)})
        SELECT {{site:UInt32}}, {{segment:String}}, {{first:Date}}, {{generation:UInt64}},
            uniqExactState(visitor_id), uniqExactStateIf(lowerUTF8(user_id), user_id != ''),
            uniqExactStateIf(visitor_id, returning = 0),
            uniqExactStateIf(lowerUTF8(user_id), user_id != '' AND returning = 0),
            uniqExactStateIf(visitor_id, returning != 0),
            uniqExactStateIf(lowerUTF8(user_id), user_id != '' AND returning != 0)
        FROM visits FINAL WHERE site_id = {{site:UInt32}} AND date BETWEEN {{first:Date}} AND {{last:Date}}
        AND ({segment.visit or "1"})
        """


def make_current(database: Database, archived: ArchivedDay, reports: Sequence[str]) -> None:
    """The last step of a computation, after all its rows: readers take it from now on."""
    database.execute(
        "INSERT INTO archive_days (site_id, segment, date, generation, read_at, seconds, reports) SELECT"
        " {site:UInt32}, {segment:String}, {date:Date}, {generation:UInt64}, {read_at:DateTime64(3, 'UTC')},"
        " {seconds:Float64}, {reports:Array(String)}",
        {
            "site": archived.site_id,
            "segment": archived.segment,
            "date": archived.date,
            "generation": archived.generation,
            "read_at": archived.read_at,
            "seconds": archived.seconds,
            "reports": list(reports),
        },
    )


def rows_of_days(database: Database, days: Iterable[tuple[int, date]]) -> dict[tuple[int, date], int]:
    """Visits and actions of many sites' days, superseded ones included: how much work each of them is."""
    wanted = list(days)
    parts = " UNION ALL ".join(
        f"SELECT site_id, date, count() AS counted FROM {table}"
        " WHERE site_id IN {sites:Array(UInt32)} AND date IN {days:Array(Date)} GROUP BY site_id, date"
        for table in ("visits", "actions")
    )
    bound = {"sites": sorted({site for site, _ in wanted}), "days": sorted({day for _, day in wanted})}
    found = database.rows(f"SELECT site_id, date, sum(counted) FROM ({parts}) GROUP BY site_id, date", bound)
    counted = {(int(site), day): int(rows) for site, day, rows in found}
    return {one: counted.get(one, 0) for one in wanted}


def rows_of_day(database: Database, site_id: int, day: date) -> Mapping[str, int]:
    """Of each table, superseded ones included: how much work a day is."""
    counted = ", ".join(
        f"(SELECT count() FROM {table} WHERE site_id = {{site:UInt32}} AND date = {{day:Date}})"
        for table in _ROWS_OF_A_DAY
    )
    found = database.rows(f"SELECT {counted}", {"site": site_id, "day": day})[0]
    return dict(zip(_ROWS_OF_A_DAY, map(int, found), strict=True))


_TABLE_OF: Mapping[Source, str] = {
    "visits": "visits", "actions": "actions", "last_actions": "actions", "timed_actions": "actions",
    "items": "conversion_items",
}  # fmt: skip
"""Without rows of this table in a day a source has none; of the others it is conversions."""


def _batches(aggregates: Sequence[Aggregate], rows: int, limits: ArchiveLimits) -> list[Sequence[Aggregate]]:
    """Aggregates to compute in one statement. Of a small day all: their parts of one INSERT need no merging.
    Else those of one source, whose rows are read once; one by one takes twice as long."""
    if rows <= limits.small_day_rows:
        return [aggregates] if aggregates else []
    if rows > limits.shared_day_rows:
        return [(one,) for one in aggregates]
    return list(_by_source(aggregates).values())


def _by_source(aggregates: Iterable[Aggregate]) -> dict[Source, list[Aggregate]]:
    found: dict[Source, list[Aggregate]] = {}
    for one in aggregates:
        found.setdefault(one.source, []).append(one)
    return found


def _compute_sql(
    aggregates: Sequence[Aggregate], segment: ArchivedSegment, *, jointly: bool, spills: bool
) -> tuple[str, dict[str, object]]:
    """With what is bound. Rows that only one SELECT reads are not stored on the way. `jointly`: most
    aggregates of a source by one SELECT; those of plugins stay alone, whose terms may hold for their own
    rows only. `spills` as schemas.report_queries.day_sql."""
    bound: dict[str, object] = {}
    rows, parts = [], []
    for source, of_source in _by_source(aggregates).items():
        name = f"rows_of_{source}"
        rows.append(
            f"{name} AS MATERIALIZED ({shared_rows(of_source, visit=segment.visit, ids=segment.ids)})"
        )
        joint = [
            one for one in of_source if jointly and not one.expand and not one.name.startswith("plugin_")
        ]
        if joint:
            bound[f"reports_of_{source}"] = [report_key(one) for one in joint]
            parts.append(
                f"SELECT {{site:UInt32}}, {{segment:String}}, {{reports_of_{source}:Array(String)}}[at],"
                f" {{first:Date}}, {{generation:UInt64}}, labels, metrics FROM ({joint_day_sql(joint, name)})"
            )
        for one in of_source:
            if one not in joint:
                bound[f"report{len(bound)}"] = report_key(one)
                parts.append(_rows_sql(one, f"report{len(bound) - 1}", name, spills=spills))
    sql = (
        "INSERT INTO archives (site_id, segment, report, date, generation, labels, metrics)"
        f" WITH {', '.join(rows)} {' UNION ALL '.join(parts)}"
    )
    return sql, bound


def _rows_sql(aggregate: Aggregate, parameter: str, rows: str, *, spills: bool) -> str:
    labels = ", ".join(f"l{at}" for at in range(len(aggregate.labels)))
    metrics = ", ".join(one.name for one in aggregate.metrics)
    return (
        f"SELECT {{site:UInt32}}, {{segment:String}}, {{{parameter}:String}}, date, {{generation:UInt64}},"
        f" {f'[{labels}]' if labels else 'emptyArrayString()'}, [{metrics}]"
        f" FROM ({day_sql(aggregate, rows=rows, only_day='{first:Date}', spills=spills)})"
    )


def superseded(database: Database, *, older_than: timedelta = timedelta(0)) -> list[tuple[int, date, int]]:
    """(site_id, date, generation) of computations that are not current: replaced, or never finished.

    One that another process is at looks the same: with several, ask for old ones only."""
    # rows of a merged month have dates of their own, its record that of the month
    spans = "".join(f"startsWith(segment, '{name}'), {start}(date), " for name, start in MERGED.items())
    of = f"multiIf({spans}date)"
    parts = " UNION DISTINCT ".join(
        f"""
        SELECT DISTINCT site_id, date, generation FROM {table}
        WHERE generation < {{before:UInt64}} AND (site_id, segment, {of}, generation) NOT IN
            (SELECT site_id, segment, date, generation FROM archive_days FINAL)
        """
        for table in ("uniques", "archives")
    )
    found = database.rows(parts, {"before": time.time_ns() - int(older_than.total_seconds()) * 1_000_000_000})
    return [(int(site), day, int(generation)) for site, day, generation in found]


def forget_days(database: Database, site_id: int, days: Sequence[date]) -> None:
    """Remove the archives of whole days and what was merged of them, of every segment: rows answer until they
    are computed anew."""
    if not days:
        return
    months, years = ({day.replace(day=1) for day in days}, {day.replace(month=1, day=1) for day in days})
    spans = zip(MERGED.items(), ("months", "years"), strict=True)
    merged = "".join(
        f" OR (startsWith(segment, '{name}') AND {start}(date) IN {{{bound}:Array(Date)}})"
        for (name, start), bound in spans
    )
    for table in ("archive_days", "archives", "uniques"):
        database.execute(
            f"ALTER TABLE {table} DELETE WHERE site_id = {{site:UInt32}}"
            f" AND (date IN {{days:Array(Date)}}{merged}) SETTINGS mutations_sync = 2",
            {"site": site_id, "days": list(days), "months": sorted(months), "years": sorted(years)},
        )


def forget(database: Database, computations: Sequence[tuple[int, date, int]]) -> None:
    """Remove the rows of computations; a generation belongs to one computation only."""
    for start in range(0, len(computations), 1000):
        part = computations[start : start + 1000]
        bound = {
            "sites": sorted({site for site, _, _ in part}),
            "days": sorted({day for _, day, _ in part}),
            "generations": [generation for _, _, generation in part],
        }
        for table in ("archives", "uniques"):
            database.execute(
                f"DELETE FROM {table} WHERE site_id IN {{sites:Array(UInt32)}}"
                " AND date IN {days:Array(Date)} AND generation IN {generations:Array(UInt64)}",
                bound,
            )
