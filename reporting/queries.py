"""Reads aggregates for the cells of a request: one query per site and aggregate for any number of periods."""

# ruff: noqa: S608 - texts of queries are declarations of this repository, values are bound parameters

import asyncio
import re
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from functools import cached_property
from typing import Any, NamedTuple

from reporting.archives import Archives, Rows, StoredDay, where_stored
from reporting.kept_groups import Computation, KeptGroups
from reporting.method import ApiRequest, Cell
from reporting.names import resolve_names
from reporting.periods import Period
from reporting.segments import Compiled, archived_segments, compile_segment, parse_segment
from schemas.metrics import VISIT_METRICS
from schemas.report_queries import (
    MOST_IN_ARRAY,
    WHOLE,
    Cut,
    count_sql,
    day_sql,
    period_sql,
    stored_form,
    total_sql,
)
from schemas.reports import AGGREGATES, Aggregate

Labels = tuple[str, ...]
Metrics = dict[str, float]


@dataclass(frozen=True)
class Groups:
    """One aggregate in one cell: labels -> metrics, in order of first appearance."""

    rows: Mapping[Labels, Metrics]

    def __bool__(self) -> bool:
        return bool(self.rows)


EMPTY = Groups({})


def compiled_segment(request: ApiRequest, site_id: int) -> Compiled:
    """The request's segment for one site. Raises ApiError."""
    return compile_segment(
        parse_segment(request.segment),
        site_id=site_id,
        config=request.config,
        resolve=resolve_names(request.config, site_id),
        numbered=request.state.get("compatibility") == "strict",
    )


def _first_seen(item: tuple[Labels, Metrics]) -> tuple[float, Labels]:
    return item[1].get("first_seen", 0.0), tuple(label.lower() for label in item[0])


async def read_aggregates(
    request: ApiRequest,
    aggregates: Sequence[str | Aggregate],
    cells: Sequence[Cell] | None = None,
    *,
    cuts: Mapping[str, Cut] | None = None,
) -> dict[Cell, dict[str, Groups]]:
    """Every cell -> aggregate's name -> its groups. `cuts`, by name, read parts of aggregates."""
    cells = request.cells if cells is None else cells
    result: dict[Cell, dict[str, Groups]] = {cell: {} for cell in cells}
    by_site: dict[int, list[Cell]] = {}
    for cell in cells:
        by_site.setdefault(cell.site_id, []).append(cell)
    chosen = [AGGREGATES[one] if isinstance(one, str) else one for one in aggregates]
    cuts = {
        **request.cuts,
        **{name: _within(cut, request.cuts.get(name)) for name, cut in (cuts or {}).items()},
    }
    for site_id, of_site in by_site.items():
        days = await read_days(request, site_id, [cell.period for cell in of_site], chosen)
        found = await days.read(chosen, cuts)
        for aggregate in chosen:
            groups = found[aggregate.name]
            for cell in of_site:
                result[cell][aggregate.name] = groups.get(cell.period, EMPTY)
    return result


def _within(cut: Cut, other: Cut | None) -> Cut:
    """What both read. Their parameters have different names."""
    if other is None:
        return cut
    where = " AND ".join(f"({one.where})" for one in (cut, other) if one.where)
    return replace(cut, where=where, parameters={**cut.parameters, **other.parameters})


async def read_rows(
    request: ApiRequest,
    sql: str,
    parameters: Mapping[str, object],
    *,
    archives_only: bool,
    beyond_kept: Callable[[int], Awaitable[Rows]] | None = None,
) -> Rows:
    """The rows of a statement; kept of archives as long as there is room, of rows until any are stored.
    `beyond_kept` reads them in another way, told their version."""
    archives: Archives | None = request.state.get("archives")
    if archives is None or archives.kept is None:
        return await request.database.rows(sql, parameters)
    kept = archives.kept
    version = 0 if archives_only else await asyncio.to_thread(archives.rows_version)
    key = kept.key(sql, parameters, version)
    rows = kept.get(key)
    if rows is None:
        if beyond_kept is None:
            rows = await request.database.rows(sql, parameters)
        else:
            rows = await beyond_kept(version)
        kept.keep(key, rows)
    return rows


class BoundSql(NamedTuple):
    """A text with what is bound in it."""

    sql: str
    parameters: Mapping[str, object]


@dataclass(frozen=True)
class Days:
    """The daily results of a site and segment, of archives and of rows, for periods of one kind that follow
    each other without gap (a date map) or a single one."""

    request: ApiRequest
    site_id: int
    periods: Sequence[Period]
    segment: Compiled
    archived: Mapping[date, StoredDay]
    """The days that need not be read from rows."""

    @property
    def first(self) -> date:
        return min(one.start for one in self.periods)

    @property
    def last(self) -> date:
        return max(one.end for one in self.periods)

    @property
    def _bound(self) -> dict[str, object]:
        segment = self.segment
        bound = {"site": self.site_id, "first": self.first, "last": self.last, **segment.parameters}
        if self.archived:
            bound |= {**where_stored(self.archived), "row_days": self._from_rows}
        if self._one_archive:
            bound["generation"] = next(iter(self.archived.values())).generation
        return bound

    @cached_property
    def _from_rows(self) -> Sequence[date]:
        """The days that are read from rows while others are archived."""
        return days_without(self.request, self.first, self.last, self.archived)

    @property
    def reads_rows(self) -> bool:
        """Whether some days are computed from rows."""
        return not self.archived or bool(self._from_rows)

    @cached_property
    def _one_archive(self) -> bool:
        """Whether all is read from the archive of one day or merged month, whose labels come once."""
        return not self.reads_rows and len({*self.archived.values()}) == 1

    @cached_property
    def _named(self) -> dict[str, Aggregate]:
        """What statements compute from rows, by the name that it has in their texts."""
        return {}

    def _of_rows(self, aggregate: Aggregate, needed: frozenset[str] | None = None) -> str:
        """Names day_sql of the days that are read from rows, in a text for `ask`: which computes it once,
        however often the text has the name, and of the metrics (that are `needed`) those that it has."""
        name = f"rows_of_{aggregate.name}"
        known = self._named[name].metrics if name in self._named else ()
        metrics = (one for one in aggregate.metrics if needed is None or one.name in needed or one in known)
        self._named[name] = replace(aggregate, metrics=tuple(metrics))
        return name

    def _named_in(self, sql: str) -> dict[str, Aggregate]:
        """What `sql` names of the days that are read from rows, with those metrics that it names."""
        words = frozenset(re.findall(r"\w+", sql))
        return {
            name: replace(one, metrics=tuple(metric for metric in one.metrics if metric.name in words))
            for name, one in self._named.items()
            if name in words
        }

    @property
    def _row_days(self) -> str:
        """The condition on rows of the days that are read from them."""
        days = "date IN {row_days:Array(Date)}" if self.archived else _BETWEEN
        return f"site_id = {{site:UInt32}} AND {days}"

    def _visits_of_segment(self) -> str:
        return f"SELECT visit_id FROM visits FINAL WHERE {self._row_days} AND ({self.segment.visit})"

    def _day_sql(self, aggregate: Aggregate, visits: str, *, spills: bool = True) -> str:
        """`visits`: names a table with those of the segment; `spills` as schemas.report_queries.day_sql."""
        only_day = "{first:Date}" if not self.archived and self.first == self.last else ""
        if self.archived and len(self._from_rows) == 1:
            only_day = "{row_days:Array(Date)}[1]"
        chosen = "" if self.segment.is_all else f"visit_id IN (SELECT visit_id FROM {visits})"
        sql = day_sql(aggregate, visit=chosen, ids=chosen, only_day=only_day, spills=spills)
        return sql.replace(_BETWEEN, "date IN {row_days:Array(Date)}") if self.archived else sql

    def _computed(self, sql: str) -> dict[str, str]:
        """What `sql` names of the days that are read from rows: the statements that compute it."""
        named, computed = self._named_in(sql), dict[str, str]()
        if named and not self.segment.is_all:
            computed[_OF_SEGMENT] = self._visits_of_segment()
        # those that others are added up from come first
        return computed | {
            name: _added_up(one, named) or self._day_sql(one, _OF_SEGMENT)
            for name, one in sorted(named.items(), key=lambda item: bool(_added_up(item[1], named)))
        }

    def sql(
        self, aggregate: Aggregate, report: str = "report", metrics: Sequence[str] = ()
    ) -> tuple[str, dict[str, object]]:
        """The columns of day_sql, of the metrics only those that are named, and what is bound; `report` names
        the parameter of the aggregate's own."""
        bound, parts = dict(self._bound), []
        if self.archived:
            archives: Archives = self.request.state["archives"]
            bound[report] = archives.key(aggregate)
            parts.append(
                archives.sql(aggregate, metrics, one=self._one_archive).replace("{report:", f"{{{report}:")
            )
        if self.reads_rows:
            names = [*(f"l{at}" for at in range(len(aggregate.labels)))]
            names += [one.name for one in aggregate.metrics if one.name in metrics]
            parts.append(f"SELECT {', '.join(['date', *names])} FROM {self._of_rows(aggregate)}{_NO_FILTER}")
        return " UNION ALL ".join(f"SELECT * FROM ({part})" for part in parts), bound

    async def ask(self, sql: str, parameters: Mapping[str, object]) -> Rows:
        """The answer of a statement about what `sql` or `read` read, kept (read_rows)."""
        computed = self._computed_for(sql, "AS MATERIALIZED")
        if not computed:
            return await read_rows(self.request, sql, parameters, archives_only=not self.reads_rows)
        whole = f"{computed}{sql} SETTINGS enable_materialized_cte = 1"

        async def read(version: int) -> Rows:
            archives: Archives = self.request.state["archives"]
            database, groups = self.request.database, archives.groups
            bound = {name: self._bound[name] for name in _names_bound(self._row_days, self._bound)}
            if groups is None:
                return await database.rows(whole, parameters)
            actions = await groups.actions(database, self._row_days, bound, version)
            if actions < groups.many_rows:
                return await database.rows(whole, parameters)
            async with AsyncExitStack() as held:
                spills = actions > MOST_IN_ARRAY
                tables = await self._tables(sql, groups, version, held, spills=spills)
                named = ", ".join(f"{name} AS ({text})" for name, text in tables.items())
                return await database.rows(f"WITH {named} {sql}", parameters)

        return await read_rows(
            self.request, whole, parameters, archives_only=not self.reads_rows, beyond_kept=read
        )

    async def _tables(
        self, sql: str, groups: KeptGroups, version: int, held: AsyncExitStack, *, spills: bool
    ) -> Mapping[str, str]:
        """What `sql` names of the days that are read from rows: statements about tables that are there while
        `held`."""
        at_once = asyncio.Semaphore(_STATEMENTS_AT_ONCE)

        async def table(
            logical: str, columns: Mapping[str, str], select: Callable[[Sequence[str]], str]
        ) -> str:
            bound = {name: self._bound[name] for name in _names_bound(logical, self._bound)}
            asked = Computation(columns=columns, sql=select, parameters=bound)
            async with at_once:
                return await held.enter_async_context(
                    groups.table(self.request.database, logical, asked, version)
                )

        of_segment, visits = "", ""
        if not self.segment.is_all:
            of_segment = self._visits_of_segment()
            visits = await table(of_segment, {"visit_id": "UInt64"}, lambda _: of_segment)

        async def of_aggregate(one: Aggregate) -> str:
            labels = {f"l{at}": "String" for at in range(len(one.labels))}
            metrics = {metric.name: "Float64" for metric in one.metrics}
            # whichever metrics: what is grouped and by what
            logical = f"{of_segment} {self._day_sql(replace(one, metrics=()), _OF_SEGMENT)}"
            return await table(
                logical,
                {"date": "Date", **labels, **metrics},
                lambda columns: (
                    f"SELECT {', '.join(columns)} FROM ({self._day_sql(one, visits, spills=spills)})"
                ),
            )

        named = self._named_in(sql)
        added_up = {name: text for name, one in named.items() if (text := _added_up(one, named))}
        alone = {name: one for name, one in named.items() if name not in added_up}
        # all end before what is held goes, whichever fails
        found = await asyncio.gather(*map(of_aggregate, alone.values()), return_exceptions=True)
        selects = {}
        for name, table_name in zip(alone, found, strict=True):
            if isinstance(table_name, BaseException):
                raise table_name
            selects[name] = f"SELECT * FROM {table_name}"
        return selects | added_up

    def _computed_for(self, sql: str, how: str) -> str:
        named = ", ".join(f"{name} {how} ({text})" for name, text in self._computed(sql).items())
        return f"WITH {named} " if named else ""

    def alone(
        self, aggregate: Aggregate, metrics: Sequence[str], prefix: str
    ) -> tuple[str, dict[str, object]]:
        """As `sql`, for a statement that reads other days, too: it says itself what is computed, and names of
        what is bound begin with `prefix`."""
        sql, bound = self.sql(aggregate, metrics=metrics)
        sql = self._computed_for(sql, "AS") + sql
        for name in bound:
            sql = sql.replace(f"{{{name}:", f"{{{prefix}_{name}:")
        return sql, {f"{prefix}_{name}": value for name, value in bound.items()}

    def _named_apart(self, cut: Cut, number: int) -> Cut:
        """The same with names of its own for what is bound besides `sql`'s."""
        own = {name: value for name, value in cut.parameters.items() if name not in self._bound}
        where, labels = cut.where, cut.labels
        for name in own:
            where = where.replace(f"{{{name}:", f"{{{name}_{number}:")
            labels = tuple(label.replace(f"{{{name}:", f"{{{name}_{number}:") for label in labels)
        return replace(
            cut,
            labels=labels,
            where=where,
            parameters={f"{name}_{number}": value for name, value in own.items()},
        )

    async def read(
        self,
        aggregates: Sequence[Aggregate],
        cuts: Mapping[str, Cut] | None = None,
        *,
        beside: tuple[Aggregate, BoundSql] | None = None,
    ) -> dict[str, dict[Period, Groups]]:
        """By the name of the aggregate, by one statement. Of a single period also an aggregate
        `beside` them: its SELECT of texts as `sql` makes them has the columns `names` and `merged`, its
        labels and metrics."""
        parts: list[tuple[list[Aggregate], Cut]] = []
        for aggregate in aggregates:
            cut = (cuts or {}).get(aggregate.name, WHOLE)
            same = next((group for group, held in parts if held == cut), None)
            if same is None:
                parts.append(([aggregate], cut))
            else:
                same.append(aggregate)
        ordered = [one for group, _ in parts for one in group]
        archives: Archives | None = self.request.state.get("archives") if self.archived else None
        keys = {archives.key(one) if archives else one.name: one for one in ordered}
        apart = [(group, self._named_apart(cut, number)) for number, (group, cut) in enumerate(parts)]
        bound = {**self._bound, "reports": list(keys)}
        kind, alone = self.periods[0].kind, self._one_archive
        days = [archives.stored_sql(one=alone)] if archives else []
        if self.reads_rows:
            for at, (key, one) in enumerate(keys.items()):
                needed = (cuts or {}).get(one.name, WHOLE).metrics
                computed = f"SELECT * FROM {self._of_rows(one, needed)}{_NO_FILTER if cuts else ''}"
                days.append(stored_form(one, computed, f"report_{at}", needed))
                bound[f"report_{at}"] = key
        for _, cut in apart:
            bound |= cut.parameters
        if alone and not cuts and beside is None:
            # nothing is to be added up: the shortest text, whose analysis is what costs
            stored = await self.ask(f"{days[0]} {_ALL_AT_ONCE}", bound)
            return self._grouped(keys, self._as_merged(stored))
        sql = period_sql(apart, kind, " UNION ALL ".join(days), apart=alone)
        if not self.reads_rows and beside is None and not any(cut.where for _, cut in apart):
            sql = f"{sql} {_ALL_AT_ONCE}"
        if beside is not None:
            of, selected = beside
            keys[of.name] = of
            bound |= {**selected.parameters, "beside": of.name}
            sql += (
                " UNION ALL SELECT {beside:String} AS report, {first:Date} AS period, names, merged,"
                f" 0. AS first_day FROM ({selected.sql})"
            )
        return self._grouped(keys, await self.ask(sql, bound))

    def _as_merged(self, rows: Rows) -> Iterator[Sequence[Any]]:
        """Rows of an archive as period_sql has them."""
        known: dict[object, tuple[date, float]] = {}
        for report, found, labels, metrics in rows:
            if found not in known:
                day = as_date(found)
                start = next(one.start for one in self.periods if one.start <= day <= one.end)
                known[found] = start, float((day - _EPOCH).days)
            start, first_day = known[found]
            yield report, start, labels, metrics, first_day

    def _grouped(
        self, keys: Mapping[str, Aggregate], rows: Iterable[Sequence[Any]]
    ) -> dict[str, dict[Period, Groups]]:
        """`rows` have the columns of period_sql, the first is one of `keys`."""
        # Tens of thousands of rows of thirty metrics: those are floats already and only get their names.
        names = {key: tuple(metric.name for metric in one.metrics) for key, one in keys.items()}
        collected: dict[tuple[str, date], list[tuple[Labels, Metrics]]] = {}
        for report, start, labels, metrics, first_day in rows:
            named = dict(zip(names[report], metrics, strict=True))
            named["first_day"] = first_day
            collected.setdefault((report, start), []).append((tuple(labels), named))
        return {
            one.name: {
                period: Groups(dict(sorted(collected.get((key, period.start), ()), key=_first_seen)))
                for period in self.periods
            }
            for key, one in keys.items()
        }


async def count_labels(
    request: ApiRequest, aggregate: str, counts: Mapping[str, str]
) -> dict[Cell, dict[str, int]]:
    """Numbers about an aggregate's labels (schemas.report_queries.count_sql); zeros where there are
    none."""
    result = {cell: dict.fromkeys(counts, 0) for cell in request.cells}
    for site_id in request.sites:
        days = await read_days(request, site_id, request.periods, [AGGREGATES[aggregate]])
        sql, parameters = days.sql(AGGREGATES[aggregate], metrics=())
        rows = await days.ask(count_sql(request.period.kind, sql, counts), parameters)
        found = {as_date(row[0]): row[1:] for row in rows}
        for period in request.periods:
            if period.start in found:
                numbers = map(int, found[period.start])
                result[Cell(site_id, period)] = dict(zip(counts, numbers, strict=True))
    return result


async def count_by_label(
    request: ApiRequest,
    aggregate: str,
    label: str,
    counts: Mapping[str, str],
    *,
    where: str = "1",
    metrics: Sequence[str] = (),
) -> dict[Cell, dict[str, dict[str, float]]]:
    """Every cell -> a label of an aggregate -> numbers about its rows, which have those of its metrics that
    are named (schemas.report_queries.count_sql)."""
    result: dict[Cell, dict[str, dict[str, float]]] = {cell: {} for cell in request.cells}
    periods = {period.start: period for period in request.periods}
    for site_id in request.sites:
        days = await read_days(request, site_id, request.periods, [AGGREGATES[aggregate]])
        sql, parameters = days.sql(AGGREGATES[aggregate], metrics=metrics)
        counting = count_sql(request.period.kind, sql, counts, label=label, where=where)
        for start, name, *numbers in await days.ask(counting, parameters):
            cell = Cell(site_id, periods[as_date(start)])
            result[cell][str(name)] = dict(zip(counts, map(float, numbers), strict=True))
    return result


async def read_days(
    request: ApiRequest, site_id: int, periods: Sequence[Period], aggregates: Sequence[Aggregate]
) -> Days:
    """Those that hold all of `aggregates`."""
    segment = compiled_segment(request, site_id)
    archived = await _archived_days(request, site_id, periods, segment, aggregates)
    return Days(request, site_id, periods, segment, archived)


async def _archived_days(
    request: ApiRequest,
    site_id: int,
    periods: Sequence[Period],
    segment: Compiled,
    aggregates: Sequence[Aggregate],
) -> Mapping[date, StoredDay]:
    """The days that need not be read from rows."""
    archives: Archives | None = request.state.get("archives")
    if archives is None or not (segment.is_all or archived_segments(request.config, site_id)):
        return {}
    first, last = min(one.start for one in periods), max(one.end for one in periods)
    return await asyncio.to_thread(
        archives.current_days,
        site_id,
        first,
        last,
        segment.key,
        aggregates,
        by_month=periods[0].kind in OF_MONTHS,
    )


_EPOCH = date(1970, 1, 1)

OF_MONTHS = ("month", "year", "range")
"""Periods that whole months lie within; one range is asked for at a time."""


_BETWEEN = "date BETWEEN {first:Date} AND {last:Date}"

_STATEMENTS_AT_ONCE = 2
"""Of one report: each takes two threads, and the memory of its groups."""


def _names_bound(sql: str, bound: Mapping[str, object]) -> list[str]:
    """Of what is bound, what the text has."""
    return [name for name in bound if f"{{{name}:" in sql]


def _added_up(total: Aggregate, named: Mapping[str, Aggregate]) -> str:
    """The statement that knows an aggregate from another one that is named; empty where none does."""
    texts = (total_sql(total, one, name) for name, one in named.items())
    return next(filter(None, texts), "")


_OF_SEGMENT = "visits_of_segment"
"""Names the visits of the days read from rows that the segment selects: all that a statement computes needs
them."""

_ALL_AT_ONCE = "SETTINGS optimize_move_to_prewhere = 0"
"""Where all is read that the primary key leaves: to look at it in steps takes longer to plan."""

_NO_FILTER = " LIMIT 1000000000000"
"""Conditions on labels stay on this side: on rows instead of groups a pattern took as long as all else."""


def days_without(
    request: ApiRequest, first: date, last: date, archived: Mapping[date, StoredDay]
) -> list[date]:
    """The days of [first, last] that must be read from rows."""
    newest = min(last, request.now.date() + timedelta(days=1))
    days = (first + timedelta(days=at) for at in range((newest - first).days + 1))
    return [day for day in days if day not in archived]


def as_date(value: object) -> date:
    """A day as some driver gives it."""
    if isinstance(value, datetime):
        return value.date()
    if isinstance(value, date):
        return value
    if isinstance(value, int):
        return date(1970, 1, 1) + timedelta(days=value)
    return date.fromisoformat(str(value))


async def read_weekdays(request: ApiRequest) -> dict[Cell, dict[int, Metrics]]:
    """The visits of each cell by weekday (1 is Monday), with exact visitors and users."""
    result: dict[Cell, dict[int, Metrics]] = {}
    columns = ", ".join(f"{one.sql} AS {one.name}" for one in VISIT_METRICS if one.name in _WEEKDAY_METRICS)
    for cell in request.cells:
        segment = compiled_segment(request, cell.site_id)
        rows = await request.database.select(
            f"SELECT toDayOfWeek(v.date) AS weekday, {columns} FROM (SELECT * FROM visits FINAL"
            " WHERE site_id = {site:UInt32} AND date BETWEEN {first:Date} AND {last:Date}"
            f" AND ({segment.visit or '1'})) AS v GROUP BY weekday",
            {
                "site": cell.site_id,
                "first": cell.period.start,
                "last": cell.period.end,
                **segment.parameters,
            },
        )
        result[cell] = {
            int(row["weekday"]): {name: float(row[name]) for name in _WEEKDAY_METRICS} for row in rows
        }
    return result


_WEEKDAY_METRICS = ("nb_uniq_visitors", "nb_visits", "nb_actions", "nb_users", "sum_visit_length",
                    "bounce_count", "nb_visits_converted")  # fmt: skip
