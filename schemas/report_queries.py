"""The queries of aggregates: the rows they read, a day's result and days merged to periods."""

# ruff: noqa: S608 - texts of queries are declarations of this repository, values are bound parameters

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import msgspec

from schemas.metrics import Merge
from schemas.reports import Aggregate, Source
from schemas.rows import Action, Conversion, ConversionItem, Visit

_ROWS = "site_id = {site:UInt32} AND date BETWEEN {first:Date} AND {last:Date}"


_PINGED = (
    "SELECT visit_id, first_time + toUInt32(duration) - 1 AS visit_end FROM visits FINAL"
    " WHERE site_id = {site:UInt32} AND date BETWEEN {first:Date} AND addDays({last:Date}, 1)"
    " AND hits > actions AND visit_end > last_time + 10"
)
"""Visits that pings went on with after the last action; a visit counts a second for its last hit and some for
conversions, which tell no time."""


def _entries(column: str) -> str:
    entered = f"FROM visits FINAL WHERE {_ROWS} AND {column} != '' AND (%(visit)s)"
    return (
        "(SELECT c.date AS date, c.goal_id AS goal_id, c.revenue AS revenue, v.entry AS entry,"
        f" e.entries AS entries FROM (SELECT * FROM conversions FINAL WHERE {_ROWS} AND goal_id >= 0"
        f" AND %(ids)s) AS c INNER JOIN (SELECT visit_id, date, {column} AS entry {entered} AND visit_id IN"
        # few visits convert: the others need not be joined, nor counted in order of their page
        f" (SELECT visit_id FROM conversions WHERE {_ROWS} AND goal_id >= 0)) AS v"
        " ON c.visit_id = v.visit_id INNER JOIN"
        f" (SELECT date, {column} AS entry, count() AS entries {entered} GROUP BY date, entry) AS e"
        " ON v.date = e.date AND v.entry = e.entry) AS c"
    )


_SOURCES: Mapping[Source, str] = {
    "visits": f"(SELECT * FROM visits FINAL WHERE {_ROWS} AND (%(visit)s)) AS v",
    "actions": f"(SELECT * FROM actions FINAL WHERE {_ROWS} AND %(ids)s) AS a",
    "last_actions": (
        "(SELECT visit_id, last_date AS date, last_kind AS kind, last_keyword AS search_keyword FROM"
        " (SELECT visit_id, max(date) AS last_date, argMax(kind, (time, hit_id)) AS last_kind,"
        " argMax(search_keyword, (time, hit_id)) AS last_keyword"
        f" FROM actions FINAL WHERE {_ROWS} AND kind IN (1, 8) AND %(ids)s"
        # only of visits that searched: few, and nobody asks for the last page of the others
        f" AND visit_id IN (SELECT visit_id FROM actions FINAL WHERE {_ROWS} AND kind = 8)"
        " GROUP BY visit_id)) AS a"
    ),
    "timed_actions": (
        "(SELECT t.*, if(t.is_last, if(p.visit_end > t.time, dateDiff('second', t.time, p.visit_end), 0),"
        " t.time_to_next) AS time_spent FROM"
        " (SELECT *, leadInFrame(time_spent_previous, 1, 0) OVER later AS time_to_next,"
        " row_number() OVER (PARTITION BY visit_id ORDER BY time DESC, hit_id DESC) = 1 AS is_last,"
        " count() OVER (PARTITION BY visit_id) = 1 AS is_only"
        f" FROM (SELECT * FROM actions FINAL WHERE {_ROWS} AND kind != 13 AND %(ids)s)"
        " WINDOW later AS (PARTITION BY visit_id ORDER BY time, hit_id"
        " ROWS BETWEEN CURRENT ROW AND UNBOUNDED FOLLOWING)) AS t"
        f" LEFT JOIN ({_PINGED}) AS p ON t.visit_id = p.visit_id) AS a"
    ),
    "conversions": f"(SELECT * FROM conversions FINAL WHERE {_ROWS} AND %(ids)s) AS c",
    "visit_conversions": (
        f"(SELECT * FROM conversions FINAL WHERE {_ROWS} AND %(ids)s) AS c"
        " INNER JOIN (SELECT * FROM visits FINAL WHERE site_id = {site:UInt32}"
        " AND date BETWEEN {first:Date} AND addDays({last:Date}, 1)) AS v ON c.visit_id = v.visit_id"
    ),
    "page_conversions": (
        "(SELECT c.site_id AS site_id, c.date AS date, c.hit_id AS hit_id, c.goal_id AS goal_id,"
        " c.visit_id AS visit_id, c.revenue AS revenue, a.url AS page_url, a.title AS page_title,"
        " greatest(c.pageviews_before, 1) AS pages"
        f" FROM (SELECT * FROM conversions FINAL WHERE {_ROWS} AND %(ids)s) AS c"
        " INNER JOIN (SELECT visit_id, url, title, time FROM actions FINAL"
        " WHERE site_id = {site:UInt32} AND date BETWEEN addDays({first:Date}, -1) AND {last:Date}"
        # few visits convert: the others need not be joined
        f" AND kind = 1 AND visit_id IN (SELECT visit_id FROM conversions WHERE {_ROWS} AND %(ids)s)) AS a"
        " ON c.visit_id = a.visit_id"
        " WHERE a.time <= c.time) AS c"
    ),
    "url_entries": _entries("entry_url"),
    "title_entries": _entries("entry_title"),
    "items": f"(SELECT * FROM conversion_items FINAL WHERE {_ROWS} AND %(ids)s) AS i",
}
_ALIAS: Mapping[Source, str] = {
    "visits": "v", "actions": "a", "last_actions": "a", "timed_actions": "a",
    "conversions": "c", "visit_conversions": "c", "page_conversions": "c",
    "url_entries": "c", "title_entries": "c", "items": "i",
}  # fmt: skip


def _columns(row: type[msgspec.Struct], *more: str) -> frozenset[str]:
    return frozenset(field.name for field in msgspec.structs.fields(row)) | {"inserted_at", *more}


_COLUMNS: Mapping[Source, frozenset[str]] = {
    "visits": _columns(Visit),
    "actions": _columns(Action),
    "timed_actions": _columns(Action, "time_spent", "is_last", "is_only"),
    "conversions": _columns(Conversion),
    "items": _columns(ConversionItem),
}
"""Of sources that have all columns of a table; most are not needed."""


def _source(source: Source, visit: str, ids: str) -> str:
    return _SOURCES[source].replace("%(visit)s", visit or "1").replace("%(ids)s", ids or "1")


def _texts(aggregate: Aggregate) -> str:
    return " ".join(
        (*aggregate.labels, *(one.sql for one in aggregate.metrics), aggregate.where, aggregate.expand)
    )


def shared_rows(aggregates: Sequence[Aggregate], *, visit: str = "", ids: str = "") -> str:
    """The rows that aggregates of one source are computed from, with the columns that they need: to be read
    once for all of them, and given to day_sql under a name. Parameters as day_sql has them."""
    source = aggregates[0].source
    texts = " ".join(map(_texts, aggregates))
    if source == "visit_conversions":
        # of both tables, under their qualified names
        columns = [f"{one} AS `{one}`" for one in {"c.date", *re.findall(r"\b[cv]\.\w+", texts)}]
    elif source in _COLUMNS:
        columns = ["date", *(_COLUMNS[source] - {"date"}).intersection(re.findall(r"\w+", texts))]
    else:
        columns = ["*"]
    return f"SELECT {', '.join(sorted(columns))} FROM {_source(source, visit, ids)}"


MOST_IN_ARRAY = (1 << 24) - 1
"""A group's array of more can't be read back from a file or another server."""
_UNIQUE = re.compile(r"uniqExact\((a\.\w+)\)")


def day_sql(
    aggregate: Aggregate,
    *,
    visit: str = "",
    ids: str = "",
    rows: str = "",
    only_day: str = "",
    spills: bool = True,
) -> str:
    """One row per date and labels, as columns `date`, `l0`.. (text) and the metrics' names.

    Bound parameters: site, first, last. `visit` is a condition on rows of visits and `ids` one on visit_id
    (both from a compiled segment, empty for all visits). `rows` names what has the result of
    shared_rows for a single day, `only_day` is the text of the day where there is one: a date to group by
    takes a quarter of the time. Unless it `spills`, there are at most MOST_IN_ARRAY rows: to collect what an
    action has in arrays takes half as long as to look each one up."""
    alias = _ALIAS[aggregate.source]
    source = _source(aggregate.source, visit, ids)
    if rows:
        source = rows if aggregate.source == "visit_conversions" else f"{rows} AS {alias}"
    labels = [f"toString({sql}) AS l{at}" for at, sql in enumerate(aggregate.labels)]
    metrics = [f"toFloat64({one.sql}) AS {one.name}" for one in aggregate.metrics]
    if not spills:
        metrics = [_UNIQUE.sub(r"arrayUniq(groupArray(\1))", one) for one in metrics]
    groups = [f"l{at}" for at in range(len(labels))]
    date = f"{alias}.date"
    if only_day and groups:
        date = only_day
    else:
        groups.insert(0, "date")
    return (
        f"SELECT {', '.join([f'{date} AS date', *labels, *metrics])} FROM {source}"
        f"{' ' + aggregate.expand if aggregate.expand else ''}"
        f"{' WHERE ' + aggregate.where if aggregate.where else ''} GROUP BY {', '.join(groups)}"
    )


def joint_day_sql(aggregates: Sequence[Aggregate], rows: str) -> str:
    """The results of several aggregates of one source for a single day, by one SELECT: each row counts once
    for each aggregate, under its labels. Columns: `at`, the aggregate's number from 1; `labels`; `metrics`.
    Parameters and `rows` as day_sql has them; none of the aggregates expands its rows.

    What several aggregates compute is analyzed once, but every group computes what any of them asks for: less
    work where there are few rows."""
    source = aggregates[0].source
    sums = list(dict.fromkeys(one.sql for aggregate in aggregates for one in aggregate.metrics))
    values = ", ".join(f"toFloat64({sql})" for sql in sums)
    chosen = [[1 + sums.index(one.sql) for one in aggregate.metrics] for aggregate in aggregates]
    labels = [", ".join(f"toString({sql})" for sql in one.labels) for one in aggregates]
    counted = ", ".join(
        f"({at}, {f'[{names}]' if names else 'emptyArrayString()'}, ({one.where or '1'}) != 0)"
        for at, (one, names) in enumerate(zip(aggregates, labels, strict=True), 1)
    )
    return (
        f"SELECT of.1 AS at, of.2 AS labels, arrayMap(n -> [{values}][n], {chosen}[at]) AS metrics"
        f" FROM {rows if source == 'visit_conversions' else f'{rows} AS {_ALIAS[source]}'}"
        f" ARRAY JOIN [{counted}] AS of WHERE of.3 GROUP BY at, labels"
    )


def total_sql(total: Aggregate, groups: Aggregate, rows: str) -> str:
    """As day_sql of an aggregate without labels, from what another one has of the same rows, which `rows`
    names; empty where that can't tell: counts of rows add up to the same."""
    same = total.source == groups.source and total.where == groups.where
    counts = all(one.sql.startswith("countIf(") and one in groups.metrics for one in total.metrics)
    if total.labels or not groups.labels or not same or not counts or total.expand or groups.expand:
        return ""
    sums = "".join(f", sum({one.name}) AS {one.name}" for one in total.metrics)
    return f"SELECT date{sums} FROM {rows} GROUP BY date"


PERIOD_START = {
    "day": "date", "week": "toMonday(date)", "month": "toStartOfMonth(date)", "year": "toStartOfYear(date)",
    "range": "{first:Date}",
}  # fmt: skip


def count_sql(kind: str, days: str, counts: Mapping[str, str], *, label: str = "", where: str = "1") -> str:
    """`days` as day_sql has them. Columns: `period`, `label` if there is one, and `counts`, aggregate
    functions by name; in all texts d.l0.. are the labels."""
    columns = ", ".join(f"{sql} AS {name}" for name, sql in counts.items())
    named, grouped = (f"{label} AS label, ", ", label") if label else ("", "")
    return (
        f"SELECT {PERIOD_START[kind]} AS period, {named}{columns} FROM ({days}) AS d WHERE {where}"
        f" GROUP BY period{grouped}"
    )


@dataclass(frozen=True, kw_only=True)
class Cut:
    """What is read of an aggregate when a report shows a part of it. In its texts `d.l0`.. are the labels."""

    labels: tuple[str, ...] = ()
    """Instead of the labels, as many; groups that get the same ones are merged as days are."""
    where: str = ""
    parameters: Mapping[str, object] = field(default_factory=dict)
    """Bound in the texts."""
    metrics: frozenset[str] | None = None
    """Those that are needed, others may be 0: of rows they are not computed. None: all."""


WHOLE = Cut()


_MERGES: Mapping[Merge, str] = {
    "sum": "sumForEach(d.metrics)", "min": "minForEach(d.metrics)", "max": "maxForEach(d.metrics)",
    "first": "argMin(d.metrics, d.date)",
}  # fmt: skip


def stored_form(aggregate: Aggregate, days: str, report: str, needed: frozenset[str] | None = None) -> str:
    """`days` (day_sql) as archives have them: columns `report`, `date`, `labels` and `metrics`. `report` is
    the parameter that is bound to the aggregate's name there; metrics that are not `needed` are 0."""
    labels = ", ".join(f"l{at}" for at in range(len(aggregate.labels)))
    metrics = ", ".join(
        one.name if needed is None or one.name in needed else "0." for one in aggregate.metrics
    )
    return (
        f"SELECT {{{report}:String}} AS report, date, {f'[{labels}]' if labels else 'emptyArrayString()'}"
        f" AS labels, [{metrics}] AS metrics FROM ({days})"
    )


def period_sql(
    parts: Sequence[tuple[Sequence[Aggregate], Cut]], kind: str, days: str, *, apart: bool = False
) -> str:
    """`days` (as stored_form has them, of the aggregates of all `parts`) merged to periods, each as its cut
    says. Columns: `report`; `period`, its first day; `names` (labels) and `merged` (metrics, Float64), arrays
    in the order of the declaration; `first_day`, the number of that on which the labels appeared. Bound:
    `reports`, the names of the aggregates in `days`, in order. `apart`: no two rows of a period have the same
    labels.

    Arrays, since the analysis of a statement takes a tenth of a millisecond for each expression: those of
    thirty metrics took more than reading them. One statement for all parts, since each takes 6 ms to plan."""
    aggregates = [one for group, _ in parts for one in group]
    cuts = [cut for _, cut in parts]
    last, numbers = 0, []
    for group, _ in parts:
        last += len(group)
        numbers.append(last)
    texts = [f"[{', '.join(cut.labels)}]" if cut.labels else "d.labels" for cut in cuts]
    labels, where = _by_part(numbers, texts), _by_part(numbers, [cut.where or "1" for cut in cuts])
    if len(parts) > 1:
        days = f"SELECT *, indexOf({{reports:Array(String)}}, report) AS at FROM ({days})"
    if any(cut != WHOLE for cut in cuts):
        places = range(max(len(one.labels) for one in aggregates))
        days = f"SELECT *{''.join(f', labels[{at + 1}] AS l{at}' for at in places)} FROM ({days})"
    where = "" if where == "1" else f" WHERE {where}"
    first_day = "toFloat64(toRelativeDayNum({date})) AS first_day"
    start = f"SELECT d.report AS report, {PERIOD_START[kind]} AS period, {labels} AS names"
    if (kind == "day" or apart) and not any(cut.labels for cut in cuts):
        return f"{start}, d.metrics AS merged, {first_day.format(date='d.date')} FROM ({days}) AS d{where}"
    merges = tuple(dict.fromkeys(metric.merge for one in aggregates for metric in one.metrics))
    merged = _MERGES[merges[0]]
    if len(merges) > 1:
        chosen = ", ".join(f"m = {number}, x{number}" for number in range(1, len(merges)))
        arguments = ", ".join(f"x{number}" for number in range(len(merges)))
        which = [[merges.index(metric.merge) for metric in one.metrics] for one in aggregates]
        place = "1" if len(which) == 1 else "indexOf({reports:Array(String)}, d.report)"
        values = ", ".join(_MERGES[one] for one in merges)
        merged = f"arrayMap(({arguments}, m) -> multiIf({chosen}, x0), {values}, {which}[{place}])"
    return (
        f"{start}, {merged} AS merged, {first_day.format(date='min(d.date)')} FROM ({days}) AS d{where}"
        " GROUP BY report, period, names"
    )


def _by_part(numbers: Sequence[int], texts: Sequence[str]) -> str:
    """The text of the part that an aggregate is in; `numbers` are those of the last aggregates of parts."""
    if len(set(texts)) == 1:
        return texts[0]
    chosen = ", ".join(f"d.at <= {number}, {text}" for number, text in zip(numbers, texts, strict=True))
    return f"multiIf({chosen}, {texts[-1]})"
