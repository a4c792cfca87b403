"""What reports are made of: aggregates, each one query per site and day (DESIGN section 5).

An aggregate groups the rows of one table by labels and computes metrics that merge over days by sum, min or
max. Archives store their daily result, ad-hoc questions run the same text: the inner query of a question is
the daily query, the outer one merges the days of a period.

In SQL texts, `v` is the row of visits, `a` of actions, `c` of conversions, `i` of conversion_items.
"""

# ruff: noqa: S608 - texts of queries are declarations of this repository, values are bound parameters

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

Merge = Literal["sum", "min", "max"]
Source = Literal[
    "visits", "actions", "last_actions", "timed_actions", "conversions", "visit_conversions",
    "page_conversions", "url_entries", "title_entries", "items",
]  # fmt: skip
"""`last_actions`: the last page or search of each visit.
`timed_actions`: actions with the time spent on them and whether they are the visit's last or only one.
`visit_conversions`: conversions joined with their visit, for labels that are the visit's.
`page_conversions`: conversions joined with the pages viewed before them in the visit.
`url_entries`, `title_entries`: conversions with their visit's entry page and the number of visits that
entered there on the same day."""


@dataclass(frozen=True, kw_only=True)
class Metric:
    name: str
    sql: str
    merge: Merge = "sum"


@dataclass(frozen=True, kw_only=True)
class Aggregate:
    """One row per site, day and labels."""

    name: str
    """Unique; names the aggregate in archives."""
    source: Source
    labels: tuple[str, ...] = ()
    metrics: tuple[Metric, ...]
    where: str = ""
    expand: str = ""
    """An ARRAY JOIN clause that repeats the rows, for labels that are lists."""


def _m(name: str, sql: str, merge: Merge = "sum") -> Metric:
    return Metric(name=name, sql=sql, merge=merge)


FIRST = "first_seen"
"""Unix seconds of the label's first appearance: reports keep that order."""

VISIT_METRICS: tuple[Metric, ...] = (
    _m("nb_uniq_visitors", "uniqExact(v.visitor_id)"),
    _m("nb_visits", "count()"),
    _m("nb_actions", "sum(v.actions)"),
    # one user however the id is written
    _m("nb_users", "uniqExactIf(lowerUTF8(v.user_id), v.user_id != '')"),
    _m("max_actions", "max(v.actions)", "max"),
    _m("sum_visit_length", "sum(v.duration)"),
    _m("bounce_count", "countIf(v.actions <= 1)"),
    _m("nb_visits_converted", "countIf(v.converted)"),
    _m(FIRST, "toUnixTimestamp(min(v.first_time))", "min"),
)

GOAL_METRICS: tuple[Metric, ...] = (
    _m("nb_conversions", "count()"),
    _m("nb_visits_converted", "uniqExact(c.visit_id)"),
    _m("revenue", "sum(c.revenue)"),
    _m("revenue_subtotal", "sum(c.subtotal)"),
    _m("revenue_tax", "sum(c.tax)"),
    _m("revenue_shipping", "sum(c.shipping)"),
    _m("revenue_discount", "sum(c.discount)"),
    _m("items", "sum(c.items)"),
    _m(FIRST, "toUnixTimestamp(min(c.time))", "min"),
)
"""Per label and goal: the last label of a goal aggregate is always the goal's id."""

TIMINGS = ("time_network", "time_server", "time_transfer", "time_dom_processing", "time_dom_completion",
           "time_on_load")  # fmt: skip


def _timings() -> tuple[Metric, ...]:
    """In seconds; a hit without the timing counts nowhere."""
    metrics = []
    for name in TIMINGS:
        # 2147483647: no hit had the timing; min over days must not turn a missing one into the smallest
        metrics += [
            _m(f"sum_{name}", f"sumIf(a.{name}, a.{name} >= 0) / 1000"),
            _m(f"nb_hits_with_{name}", f"countIf(a.{name} >= 0)"),
            _m(f"min_{name}", f"min(if(a.{name} >= 0, a.{name}, 2147483647)) / 1000", "min"),
            _m(f"max_{name}", f"max(a.{name}) / 1000", "max"),
        ]
    return tuple(metrics)


HIT_METRICS: tuple[Metric, ...] = (
    _m("nb_visits", "uniqExact(a.visit_id)"),
    _m("nb_uniq_visitors", "uniqExact(a.visitor_id)"),
    _m("nb_hits", "count()"),
    _m(FIRST, "toUnixTimestamp(min(a.time))", "min"),
)
ENTRY_METRICS: tuple[Metric, ...] = (
    _m("entry_nb_uniq_visitors", "uniqExact(v.visitor_id)"),
    _m("entry_nb_visits", "count()"),
    _m("entry_nb_actions", "sum(v.actions)"),
    _m("entry_sum_visit_length", "sum(v.duration)"),
    _m("entry_bounce_count", "countIf(v.actions <= 1)"),
)
EXIT_METRICS: tuple[Metric, ...] = (
    _m("exit_nb_uniq_visitors", "uniqExact(v.visitor_id)"),
    _m("exit_nb_visits", "count()"),
)
TIME_METRICS: tuple[Metric, ...] = (_m("sum_time_spent", "sum(a.time_spent_previous)"),)
EVENT_METRICS: tuple[Metric, ...] = (
    _m("nb_uniq_visitors", "uniqExact(a.visitor_id)"),
    _m("nb_visits", "uniqExact(a.visit_id)"),
    _m("nb_events", "count()"),
    _m("nb_events_with_value", "countIf(a.has_event_value)"),
    _m("sum_event_value", "sumIf(a.event_value, a.has_event_value)"),
    _m("min_event_value", "min(if(a.has_event_value, a.event_value, 1e300))", "min"),
    _m("max_event_value", "max(if(a.has_event_value, a.event_value, -1e300))", "max"),
    _m(FIRST, "toUnixTimestamp(min(a.time))", "min"),
)
CONTENT_METRICS: tuple[Metric, ...] = (
    _m("nb_uniq_visitors", "uniqExactIf(a.visitor_id, a.content_interaction = '')"),
    _m("nb_visits", "uniqExactIf(a.visit_id, a.content_interaction = '')"),
    _m("nb_impressions", "countIf(a.content_interaction = '')"),
    _m("nb_interactions", "countIf(a.content_interaction != '')"),
    _m(FIRST, "toUnixTimestamp(min(a.time))", "min"),
)
ITEM_METRICS: tuple[Metric, ...] = (
    _m("revenue", "sum(i.price * i.quantity)"),
    _m("quantity", "sum(i.quantity)"),
    _m("price", "sum(i.price)"),
    _m("orders", "uniqExact(i.hit_id)"),
    _m(FIRST, "toUnixTimestamp(min(i.time))", "min"),
)
VIEW_METRICS: tuple[Metric, ...] = (
    _m("nb_visits", "uniqExact(a.visit_id)"),
    _m("nb_uniq_visitors", "uniqExact(a.visitor_id)"),
    _m("nb_actions", "count()"),
    # the day's average; longer periods add up those of their days, as Matomo does
    _m("price_viewed", "ifNotFinite(avgIf(a.product_price, a.has_product_price), 0)"),
    _m(FIRST, "toUnixTimestamp(min(a.time))", "min"),
)
PAGE_GOAL_METRICS: tuple[Metric, ...] = (
    _m("nb_conversions", "count()"),
    _m("revenue", "sum(c.revenue)"),
    _m("nb_conv_pages_before", "max(c.pages)"),
    _m("nb_conversions_attrib", "round(sum(round(1 / c.pages, 4)), 4)"),
    _m("revenue_attrib", "round(sum(c.revenue / c.pages), 2)"),
)
ENTRY_GOAL_METRICS: tuple[Metric, ...] = (
    _m("nb_conversions_entry", "count()"),
    _m("revenue_entry", "sum(c.revenue)"),
    # each conversion's share is rounded before they are added up
    _m("nb_conversions_entry_rate", "round(sum(round(1 / c.entries, 3)), 3)"),
    _m("revenue_per_entry", "round(sum(round(c.revenue / c.entries, 3)), 3)"),
)

DIMENSION_METRICS: tuple[Metric, ...] = (
    *HIT_METRICS,
    *_timings(),
    _m("sum_time_spent", "sum(a.time_spent)"),
    _m("bounce_count", "uniqExactIf(a.visit_id, a.is_only)"),
    _m("exit_nb_visits", "uniqExactIf(a.visit_id, a.is_last)"),
)

_PAGE, _OUTLINK, _DOWNLOAD, _SEARCH, _EVENT, _CONTENT = 1, 2, 3, 8, 10, 13

VISIT_DIMENSIONS: Mapping[str, tuple[str, ...]] = {
    "locations": ("v.country", "v.region", "v.city"),
    "languages": ("v.language",),
    "users": ("lowerUTF8(v.user_id)",),
    "device_types": ("v.device_type",),
    "device_brands": ("v.device_brand",),
    "device_models": ("v.device_brand", "v.device_model"),
    "systems": ("v.os",),
    "system_versions": ("v.os", "v.os_version"),
    "browsers": ("v.browser",),
    "browser_versions": ("v.browser", "v.browser_version"),
    "engines": ("v.browser_engine",),
    "resolutions": ("v.resolution",),
    "configurations": ("v.os", "v.browser", "v.resolution"),
    "local_hours": ("v.visitor_hour",),
}
"""Reports with goals: visits by these labels, and conversions by the labels of their visit."""

_VISIT_COUNTS = (_m("nb_visits", "count()"),)


def _largest(column: str) -> str:
    return f"max(toFloat64OrZero({column}))"


_ALL_TIMINGS = ", ".join(f"a.{name}" for name in TIMINGS)
_LOAD = f"arraySum(arrayMap(t -> greatest(t, 0), [{_ALL_TIMINGS}]))"

_PARTS: tuple[Aggregate, ...] = (
    Aggregate(name="summary", source="visits", metrics=VISIT_METRICS),
    Aggregate(name="visitor_types", source="visits", labels=("v.returning > 0",), metrics=VISIT_METRICS),
    Aggregate(
        name="goals",
        source="visit_conversions",
        labels=("v.returning > 0", "c.goal_id"),
        metrics=GOAL_METRICS,
    ),
    Aggregate(
        name="goal_days",
        source="conversions",
        labels=("intDiv(c.seconds_since_first, 86400)", "c.goal_id"),
        metrics=GOAL_METRICS,
    ),
    Aggregate(
        name="goal_visits", source="conversions", labels=("c.visit_count", "c.goal_id"), metrics=GOAL_METRICS
    ),
    Aggregate(
        name="referrers",
        source="visits",
        labels=(
            "v.referrer_type",
            "v.referrer_name",
            "v.referrer_keyword",
            "if(v.referrer_type IN (3, 7), v.referrer_url, '')",
        ),
        metrics=VISIT_METRICS,
    ),
    Aggregate(
        name="referrers_goals",
        source="conversions",
        labels=("c.referrer_type", "c.referrer_name", "c.referrer_keyword", "c.goal_id"),
        metrics=GOAL_METRICS,
    ),
    Aggregate(name="visits_per_page", source="visits", labels=("v.actions",), metrics=_VISIT_COUNTS),
    Aggregate(name="visits_per_duration", source="visits", labels=("v.duration",), metrics=_VISIT_COUNTS),
    Aggregate(name="visits_by_count", source="visits", labels=("v.visit_count",), metrics=_VISIT_COUNTS),
    Aggregate(
        name="days_since_last",
        source="visits",
        labels=("v.returning > 0", "intDiv(v.seconds_since_last, 86400)"),
        metrics=_VISIT_COUNTS,
    ),
    Aggregate(
        name="user_names",
        source="visits",
        labels=("v.user_id", "lower(hex(v.visitor_id))"),
        metrics=(*_VISIT_COUNTS, _m(FIRST, "toUnixTimestamp(min(v.first_time))", "min")),
        where="v.user_id != ''",
    ),
    Aggregate(
        name="city_places",
        source="visits",
        labels=("v.country", "v.region", "v.city"),
        metrics=(
            _m("latitude", _largest("v.latitude"), "max"),
            _m("longitude", _largest("v.longitude"), "max"),
        ),
        where="v.city != '' AND v.latitude != '' AND v.longitude != ''",
    ),
    Aggregate(
        name="plugins",
        source="visits",
        labels=("plugin",),
        expand="ARRAY JOIN v.plugins AS plugin",
        metrics=(*_VISIT_COUNTS, _m(FIRST, "toUnixTimestamp(min(v.first_time))", "min")),
    ),
    Aggregate(
        name="actions_summary",
        source="actions",
        labels=("a.kind",),
        metrics=(
            _m("nb_hits", "count()"),
            _m("nb_unique", "uniqExact(a.visit_id, a.url)"),
            _m("nb_keywords", "uniqExactIf(a.search_keyword, a.kind = 8)"),
        ),
        where=f"a.kind IN ({_PAGE}, {_OUTLINK}, {_DOWNLOAD}, {_SEARCH})",
    ),
    Aggregate(
        name="pages",
        source="actions",
        labels=("a.url",),
        metrics=(
            *HIT_METRICS,
            _m("nb_hits_following_search", "countIf(a.previous_kind = 8)"),
            _m("url_prefix", "min(a.url_prefix)", "min"),
            *_timings(),
            _m("bandwidth", "sumIf(a.bandwidth, a.bandwidth >= 0)"),
        ),
        where=f"a.kind = {_PAGE}",
    ),
    Aggregate(
        name="pages_time",
        source="actions",
        labels=("a.previous_url",),
        metrics=TIME_METRICS,
        where=f"a.previous_kind = {_PAGE} AND a.kind != {_EVENT}",
    ),
    Aggregate(
        name="pages_entry",
        source="visits",
        labels=("v.entry_url",),
        metrics=ENTRY_METRICS,
        where="v.entry_url != ''",
    ),
    Aggregate(
        name="pages_exit",
        source="visits",
        labels=("v.exit_url",),
        metrics=EXIT_METRICS,
        where="v.exit_url != ''",
    ),
    Aggregate(
        name="pages_goals",
        source="page_conversions",
        labels=("c.page_url", "c.goal_id"),
        metrics=PAGE_GOAL_METRICS,
    ),
    Aggregate(
        name="pages_entry_goals",
        source="url_entries",
        labels=("c.entry", "c.goal_id"),
        metrics=ENTRY_GOAL_METRICS,
    ),
    Aggregate(
        name="titles",
        source="actions",
        labels=("a.title",),
        metrics=(*HIT_METRICS, _m("nb_hits_following_search", "countIf(a.previous_kind = 8)"), *_timings()),
        # 5: clicks on what is no URL (rules.urls)
        where=f"a.kind = {_PAGE} AND a.url_prefix != 5",
    ),
    Aggregate(
        name="titles_time",
        source="actions",
        labels=("a.previous_title",),
        metrics=TIME_METRICS,
        where=f"a.previous_kind = {_PAGE} AND a.kind != {_EVENT} AND a.previous_title != ''",
    ),
    Aggregate(
        name="titles_entry",
        source="visits",
        labels=("v.entry_title",),
        metrics=ENTRY_METRICS,
        where="v.entry_title != ''",
    ),
    Aggregate(
        name="titles_exit",
        source="visits",
        labels=("v.exit_title",),
        metrics=EXIT_METRICS,
        where="v.exit_title != ''",
    ),
    Aggregate(
        name="titles_goals",
        source="page_conversions",
        labels=("c.page_title", "c.goal_id"),
        metrics=PAGE_GOAL_METRICS,
    ),
    Aggregate(
        name="titles_entry_goals",
        source="title_entries",
        labels=("c.entry", "c.goal_id"),
        metrics=ENTRY_GOAL_METRICS,
    ),
    Aggregate(
        name="downloads",
        source="actions",
        labels=("a.url",),
        metrics=(*HIT_METRICS, _m("url_prefix", "min(a.url_prefix)", "min")),
        where=f"a.kind = {_DOWNLOAD}",
    ),
    Aggregate(
        name="outlinks",
        source="actions",
        labels=("a.url",),
        metrics=(*HIT_METRICS, _m("url_prefix", "min(a.url_prefix)", "min")),
        where=f"a.kind = {_OUTLINK}",
    ),
    Aggregate(
        name="searches",
        source="actions",
        labels=("a.search_keyword",),
        metrics=(
            *HIT_METRICS,
            _m("nb_no_result", "countIf(a.search_count = 0)"),
            _m("nb_with_results", "countIf(a.search_count > 0)"),
        ),
        where=f"a.kind = {_SEARCH}",
    ),
    Aggregate(
        name="searches_time",
        source="actions",
        labels=("a.previous_keyword",),
        metrics=TIME_METRICS,
        where=f"a.previous_kind = {_SEARCH} AND a.kind != {_EVENT}",
    ),
    Aggregate(
        name="searches_exit",
        source="last_actions",
        labels=("a.search_keyword",),
        metrics=(_m("exit_nb_visits", "count()"),),
        where=f"a.kind = {_SEARCH}",
    ),
    Aggregate(
        name="search_categories",
        source="actions",
        labels=("a.search_category",),
        metrics=HIT_METRICS,
        where=f"a.kind = {_SEARCH} AND a.search_category != ''",
    ),
    Aggregate(
        name="events",
        source="actions",
        labels=("a.event_category", "a.event_action", "a.event_name"),
        metrics=EVENT_METRICS,
        where=f"a.kind = {_EVENT}",
    ),
    Aggregate(
        name="contents",
        source="actions",
        labels=("a.content_name", "a.content_piece", "a.content_target"),
        metrics=CONTENT_METRICS,
        where=f"a.kind = {_CONTENT}",
    ),
    Aggregate(
        name="performance",
        source="actions",
        metrics=(
            _m("nb_hits", "count()"),
            *_timings(),
            _m("sum_load", f"sum({_LOAD}) / 1000"),
            _m("nb_hits_with_load", f"countIf(greatest({_ALL_TIMINGS}) >= 0)"),
        ),
        where=f"a.kind = {_PAGE}",
    ),
    Aggregate(name="item_skus", source="items", labels=("i.goal_id = -1", "i.sku"), metrics=ITEM_METRICS),
    Aggregate(name="item_names", source="items", labels=("i.goal_id = -1", "i.name"), metrics=ITEM_METRICS),
    Aggregate(
        name="item_categories",
        source="items",
        labels=("i.goal_id = -1", "category"),
        expand="ARRAY JOIN if(empty(i.categories), [''], i.categories) AS category,"
        " arrayEnumerate(if(empty(i.categories), [''], i.categories)) AS place",
        # an order counts once for each place that the category has among its products
        metrics=tuple(
            _m("orders", "uniqExact(i.hit_id, place)") if one.name == "orders" else one
            for one in ITEM_METRICS
        ),
    ),
    Aggregate(
        name="view_skus",
        source="actions",
        labels=("a.product_sku",),
        metrics=VIEW_METRICS,
        where="a.product_sku != ''",
    ),
    Aggregate(
        name="view_names",
        source="actions",
        labels=("a.product_name",),
        metrics=VIEW_METRICS,
        where="a.product_name != ''",
    ),
    Aggregate(
        name="view_categories",
        source="actions",
        labels=("category",),
        expand="ARRAY JOIN if(empty(a.product_categories), [''], a.product_categories) AS category,"
        " arrayEnumerate(if(empty(a.product_categories), [''], a.product_categories)) AS place",
        metrics=(
            _m("nb_visits", "uniqExact(a.visit_id, place)"),
            _m("nb_uniq_visitors", "uniqExact(a.visitor_id, place)"),
            *VIEW_METRICS[2:],
        ),
        where="a.product_sku != '' OR notEmpty(a.product_categories)",
    ),
)


def _with_goals(name: str, labels: tuple[str, ...]) -> tuple[Aggregate, Aggregate]:
    return (
        Aggregate(name=name, source="visits", labels=labels, metrics=VISIT_METRICS),
        Aggregate(
            name=f"{name}_goals",
            source="visit_conversions",
            labels=(*labels, "c.goal_id"),
            metrics=GOAL_METRICS,
        ),
    )


AGGREGATES: Mapping[str, Aggregate] = {
    one.name: one
    for one in (
        *_PARTS,
        *(part for name, labels in VISIT_DIMENSIONS.items() for part in _with_goals(name, labels)),
    )
}


def hour_aggregates(zone: str) -> tuple[Aggregate, ...]:
    """Visits (and goals) by the hour of their first action in a timezone of the tz database."""
    if not re.fullmatch(r"[A-Za-z0-9_/+-]{1,64}", zone):
        raise ValueError(f"{zone!r} is no timezone")
    visits, goals = _with_goals("server_hours", (f"toHour(v.first_time, '{zone}')",))
    # a conversion counts in its own hour, not in that of its visit
    return visits, replace(goals, source="conversions", labels=(f"toHour(c.time, '{zone}')", "c.goal_id"))


def dimension_aggregates(dimension_id: int, scope: str) -> tuple[Aggregate, ...]:
    """The aggregates of one custom dimension: visits and conversions by its value, or actions by its value
    and by the URL of the action."""
    key = int(dimension_id)
    name = f"dimension_{key}"
    if scope == "visit":
        goals = Aggregate(
            name=f"{name}_goals", source="conversions", labels=(f"c.dimensions[{key}]", "c.goal_id"),
            metrics=GOAL_METRICS, where=f"mapContains(c.dimensions, {key})",
        )  # fmt: skip
        return (
            Aggregate(
                name=name,
                source="visits",
                labels=(f"v.dimensions[{key}]",),
                metrics=VISIT_METRICS,
                where=f"mapContains(v.dimensions, {key})",
            ),
            goals,
        )
    of_value = Aggregate(
        name=name, source="timed_actions", labels=(f"a.dimensions[{key}]",), metrics=DIMENSION_METRICS,
        where=f"mapContains(a.dimensions, {key})",
    )  # fmt: skip
    return (of_value, replace(of_value, name=f"{name}_urls", labels=(*of_value.labels, "a.url")))


_ROWS = "site_id = {site:UInt32} AND date BETWEEN {first:Date} AND {last:Date}"


def _entries(column: str) -> str:
    return (
        "(SELECT c.date AS date, c.goal_id AS goal_id, c.revenue AS revenue, v.entry AS entry,"
        f" v.entries AS entries FROM (SELECT * FROM conversions FINAL WHERE {_ROWS} AND goal_id >= 0"
        f" AND %(ids)s) AS c INNER JOIN (SELECT visit_id, {column} AS entry,"
        f" count() OVER (PARTITION BY date, {column}) AS entries FROM visits FINAL"
        f" WHERE {_ROWS} AND {column} != '' AND (%(visit)s)) AS v ON c.visit_id = v.visit_id) AS c"
    )


_SOURCES: Mapping[Source, str] = {
    "visits": f"(SELECT * FROM visits FINAL WHERE {_ROWS} AND (%(visit)s)) AS v",
    "actions": f"(SELECT * FROM actions FINAL WHERE {_ROWS} AND %(ids)s) AS a",
    "last_actions": (
        "(SELECT visit_id, last_date AS date, last_kind AS kind, last_keyword AS search_keyword FROM"
        " (SELECT visit_id, max(date) AS last_date, argMax(kind, (time, hit_id)) AS last_kind,"
        " argMax(search_keyword, (time, hit_id)) AS last_keyword"
        f" FROM actions FINAL WHERE {_ROWS} AND kind IN (1, 8) AND %(ids)s GROUP BY visit_id)) AS a"
    ),
    "timed_actions": (
        "(SELECT *, leadInFrame(time_spent_previous, 1, 0) OVER later AS time_spent,"
        " row_number() OVER (PARTITION BY visit_id ORDER BY time DESC, hit_id DESC) = 1 AS is_last,"
        " count() OVER (PARTITION BY visit_id) = 1 AS is_only"
        f" FROM (SELECT * FROM actions FINAL WHERE {_ROWS} AND kind != 13 AND %(ids)s)"
        " WINDOW later AS (PARTITION BY visit_id ORDER BY time, hit_id"
        " ROWS BETWEEN CURRENT ROW AND UNBOUNDED FOLLOWING)) AS a"
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
        " AND kind = 1) AS a ON c.visit_id = a.visit_id"
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


def day_sql(aggregate: Aggregate, *, visit: str = "", ids: str = "") -> str:
    """One row per date and labels, as columns `date`, `l0`.. (text) and the metrics' names.

    Bound parameters: site, first, last. `visit` is a condition on rows of visits and `ids` one on visit_id
    (both from a compiled segment, empty for all visits)."""
    alias = _ALIAS[aggregate.source]
    source = _SOURCES[aggregate.source].replace("%(visit)s", visit or "1").replace("%(ids)s", ids or "1")
    labels = [f"toString({sql}) AS l{at}" for at, sql in enumerate(aggregate.labels)]
    metrics = [f"toFloat64({one.sql}) AS {one.name}" for one in aggregate.metrics]
    groups = ["date", *(f"l{at}" for at in range(len(labels)))]
    return (
        f"SELECT {', '.join([f'{alias}.date AS date', *labels, *metrics])} FROM {source}"
        f"{' ' + aggregate.expand if aggregate.expand else ''}"
        f"{' WHERE ' + aggregate.where if aggregate.where else ''} GROUP BY {', '.join(groups)}"
    )


_PERIOD_START = {
    "day": "date", "week": "toMonday(date)", "month": "toStartOfMonth(date)", "year": "toStartOfYear(date)",
    "range": "{first:Date}",
}  # fmt: skip


def period_sql(aggregate: Aggregate, kind: str, days: str) -> str:
    """`days` (day_sql, or the same columns from archives) merged to periods: `period` is their first day and
    `first_day` the number of the first day on which the labels appeared."""
    labels = [f"l{at}" for at in range(len(aggregate.labels))]
    metrics = [f"{one.merge}(d.{one.name}) AS {one.name}" for one in aggregate.metrics]
    return (
        f"SELECT {', '.join([f'{_PERIOD_START[kind]} AS period', *labels, *metrics])},"
        f" toUInt32(toRelativeDayNum(min(d.date))) AS first_day FROM ({days}) AS d"
        f" GROUP BY {', '.join(['period', *labels])}"
    )
