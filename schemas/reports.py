"""What reports are made of: aggregates, each one query per site and day (DESIGN section 5).

An aggregate groups the rows of one table by labels and computes metrics that merge over days by sum, min or
max. Archives store their daily result, ad-hoc questions run the same text: the inner query of a question is
the daily query, the outer one merges the days of a period.

In SQL texts, `v` is the row of visits, `a` of actions, `c` of conversions, `i` of conversion_items.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Literal

from schemas.metrics import (
    CONTENT_METRICS,
    DIMENSION_METRICS,
    ENTRY_GOAL_METRICS,
    ENTRY_METRICS,
    EVENT_METRICS,
    EXIT_METRICS,
    FIRST,
    GOAL_METRICS,
    HIT_METRICS,
    ITEM_METRICS,
    PAGE_GOAL_METRICS,
    TIME_METRICS,
    TIMINGS,
    VIEW_METRICS,
    VISIT_METRICS,
    Metric,
    metric,
    timings,
)
from schemas.plugins import Plugin, installed_plugins

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

_VISIT_COUNTS = (metric("nb_visits", "count()"),)


def _largest(column: str) -> str:
    return f"max(toFloat64OrZero({column}))"


_ALL_TIMINGS = ", ".join(f"a.{name}" for name in TIMINGS)
_LOAD = f"arraySum(arrayMap(t -> greatest(t, 0), [{_ALL_TIMINGS}]))"


def _path(url: str) -> str:
    """A stored URL from its first slash on, as reporting.pages.path_key: what labels of pages are made of."""
    return f"if(position({url}, '/') = 0, '', substring({url}, position({url}, '/')))"


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
        metrics=(*_VISIT_COUNTS, metric(FIRST, "toUnixTimestamp(min(v.first_time))", "min")),
        where="v.user_id != ''",
    ),
    Aggregate(
        name="city_places",
        source="visits",
        labels=("v.country", "v.region", "v.city"),
        metrics=(
            metric("latitude", _largest("v.latitude"), "first"),
            metric("longitude", _largest("v.longitude"), "first"),
        ),
        where="v.city != '' AND v.latitude != '' AND v.longitude != ''",
    ),
    Aggregate(
        name="plugins",
        source="visits",
        labels=("plugin",),
        expand="ARRAY JOIN v.plugins AS plugin",
        metrics=(*_VISIT_COUNTS, metric(FIRST, "toUnixTimestamp(min(v.first_time))", "min")),
    ),
    Aggregate(
        name="actions_summary",
        source="actions",
        labels=("a.kind",),
        metrics=(
            metric("nb_hits", "count()"),
            # one number of both counts three times as fast as the pair does
            metric("nb_unique", "uniqExact(bitShiftLeft(toUInt128(a.visit_id), 64) + cityHash64(a.url))"),
            metric("nb_keywords", "uniqExactIf(a.search_keyword, a.kind = 8)"),
        ),
        where=f"a.kind IN ({_PAGE}, {_OUTLINK}, {_DOWNLOAD}, {_SEARCH})",
    ),
    Aggregate(
        name="pages",
        source="actions",
        labels=("a.url",),
        metrics=(
            *HIT_METRICS,
            metric("nb_hits_following_search", "countIf(a.previous_kind = 8)"),
            metric("url_prefix", "min(a.url_prefix)", "min"),
            *timings(),
            metric("bandwidth", "sumIf(a.bandwidth, a.bandwidth >= 0)"),
        ),
        where=f"a.kind = {_PAGE}",
    ),
    Aggregate(
        name="pages_time",
        source="actions",
        labels=("a.previous_url",),
        metrics=TIME_METRICS,
        where=f"a.previous_kind = {_PAGE} AND a.kind != {_EVENT} AND a.previous_url != ''",
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
        labels=(_path("c.page_url"), "c.goal_id"),
        metrics=PAGE_GOAL_METRICS,
        where="c.page_url != ''",
    ),
    Aggregate(
        name="pages_entry_goals",
        source="url_entries",
        labels=(_path("c.entry"), "c.goal_id"),
        metrics=ENTRY_GOAL_METRICS,
    ),
    Aggregate(
        name="titles",
        source="actions",
        labels=("a.title",),
        metrics=(
            *HIT_METRICS,
            metric("nb_hits_following_search", "countIf(a.previous_kind = 8)"),
            *timings(),
        ),
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
        where="c.page_title != ''",
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
        metrics=(*HIT_METRICS, metric("url_prefix", "min(a.url_prefix)", "min")),
        where=f"a.kind = {_DOWNLOAD}",
    ),
    Aggregate(
        name="outlinks",
        source="actions",
        labels=("a.url",),
        metrics=(*HIT_METRICS, metric("url_prefix", "min(a.url_prefix)", "min")),
        where=f"a.kind = {_OUTLINK}",
    ),
    Aggregate(
        name="searches",
        source="actions",
        labels=("a.search_keyword",),
        metrics=(
            *HIT_METRICS,
            metric("nb_no_result", "countIf(a.search_count = 0)"),
            metric("nb_with_results", "countIf(a.search_count > 0)"),
        ),
        where=f"a.kind = {_SEARCH}",
    ),
    Aggregate(
        name="searches_time",
        source="actions",
        labels=("a.previous_keyword",),
        metrics=TIME_METRICS,
        # also of pages without title that follow the search
        where=f"a.previous_keyword != '' AND a.kind != {_EVENT}",
    ),
    Aggregate(
        name="searches_exit",
        source="last_actions",
        labels=("a.search_keyword",),
        metrics=(metric("exit_nb_visits", "count()"),),
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
            metric("nb_hits", "count()"),
            *timings(),
            metric("sum_load", f"sum({_LOAD}) / 1000"),
            metric("nb_hits_with_load", f"countIf(greatest({_ALL_TIMINGS}) >= 0)"),
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
            metric("orders", "uniqExact(i.hit_id, place)") if one.name == "orders" else one
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
            metric("nb_visits", "uniqExact(a.visit_id, place)"),
            metric("nb_uniq_visitors", "uniqExact(a.visitor_id, place)"),
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


def plugin_key(plugin: Plugin, action: str) -> str:
    """The aggregate of a plugin's report; of its plain metrics for the action `get`."""
    return f"plugin_{plugin.name}_{action}"


def plugin_aggregates(plugin: Plugin) -> Iterator[Aggregate]:
    """What a plugin's reports are made of."""
    for one in plugin.dimensions:
        yield from _with_goals(plugin_key(plugin, one.action), (one.sql,))
    if plugin.metrics:
        own = tuple(metric(one.name, one.sql, one.merge) for one in plugin.metrics)
        yield Aggregate(name=plugin_key(plugin, "get"), source="visits", metrics=own)
    for report in plugin.reports:
        row = "v" if report.source == "visits" else "a"
        time = "v.first_time" if row == "v" else "a.time"
        own = tuple(metric(one.name, one.sql, one.merge) for one in report.metrics)
        yield Aggregate(
            name=plugin_key(plugin, report.action),
            source=report.source,
            labels=(report.sql,),
            metrics=(*own, metric(FIRST, f"toUnixTimestamp(min({time}))", "min")),
            where=report.where,
        )


AGGREGATES: Mapping[str, Aggregate] = {
    one.name: one
    for one in (
        *_PARTS,
        *(part for name, labels in VISIT_DIMENSIONS.items() for part in _with_goals(name, labels)),
        *(part for plugin in installed_plugins() for part in plugin_aggregates(plugin)),
    )
}


def hour_aggregates(zone: str) -> tuple[Aggregate, ...]:
    """Visits (and goals) by the hour of their first action in a timezone as ClickHouse names it."""
    if not re.fullmatch(r"[A-Za-z0-9_/+:-]{1,64}", zone):
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
