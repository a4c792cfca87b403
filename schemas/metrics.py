"""The metrics of aggregates: a name, how SQL computes it for a day, and how days merge.

In SQL texts, `v` is the row of visits, `a` of actions, `c` of conversions, `i` of conversion_items.
"""

from dataclasses import dataclass
from typing import Literal

Merge = Literal["sum", "min", "max", "first"]
"""How days become periods; `first`: the value of the first day."""


@dataclass(frozen=True, kw_only=True)
class Metric:
    name: str
    sql: str
    merge: Merge = "sum"


def metric(name: str, sql: str, merge: Merge = "sum") -> Metric:
    return Metric(name=name, sql=sql, merge=merge)


FIRST = "first_seen"
"""Grows with the label's first appearance: reports keep that order. Unix seconds; where hits are counted, see
most_hits_first."""

VISIT_METRICS: tuple[Metric, ...] = (
    metric("nb_uniq_visitors", "uniqExact(v.visitor_id)"),
    metric("nb_visits", "count()"),
    metric("nb_actions", "sum(v.actions)"),
    # one user however the id is written
    metric("nb_users", "uniqExactIf(lowerUTF8(v.user_id), v.user_id != '')"),
    metric("max_actions", "max(v.actions)", "max"),
    metric("sum_visit_length", "sum(v.duration)"),
    metric("bounce_count", "countIf(v.actions <= 1)"),
    metric("nb_visits_converted", "countIf(v.converted)"),
    metric(FIRST, "toUnixTimestamp(min(v.first_time))", "min"),
)

GOAL_METRICS: tuple[Metric, ...] = (
    metric("nb_conversions", "count()"),
    metric("nb_visits_converted", "uniqExact(c.visit_id)"),
    metric("revenue", "sum(c.revenue)"),
    metric("revenue_subtotal", "sum(c.subtotal)"),
    metric("revenue_tax", "sum(c.tax)"),
    metric("revenue_shipping", "sum(c.shipping)"),
    metric("revenue_discount", "sum(c.discount)"),
    metric("items", "sum(c.items)"),
    metric(FIRST, "toUnixTimestamp(min(c.time))", "min"),
)
"""Per label and goal: the last label of a goal aggregate is always the goal's id."""

TIMINGS = ("time_network", "time_server", "time_transfer", "time_dom_processing", "time_dom_completion",
           "time_on_load")  # fmt: skip


def timings() -> tuple[Metric, ...]:
    """In seconds; a hit without the timing counts nowhere."""
    metrics = []
    for name in TIMINGS:
        # 2147483647: no hit had the timing; min over days must not turn a missing one into the smallest
        metrics += [
            metric(f"sum_{name}", f"sumIf(a.{name}, a.{name} >= 0) / 1000"),
            metric(f"nb_hits_with_{name}", f"countIf(a.{name} >= 0)"),
            metric(f"min_{name}", f"min(if(a.{name} >= 0, a.{name}, 2147483647)) / 1000", "min"),
            metric(f"max_{name}", f"max(a.{name}) / 1000", "max"),
        ]
    return tuple(metrics)


def most_hits_first() -> Metric:
    """The order of a day is by hits; what a later day brings follows the days before it. Ties are ordered by
    label."""
    return metric(FIRST, "toRelativeDayNum(min(a.date)) * 1e9 + 1e9 - count()", "min")


HIT_METRICS: tuple[Metric, ...] = (
    metric("nb_visits", "uniqExact(a.visit_id)"),
    metric("nb_uniq_visitors", "uniqExact(a.visitor_id)"),
    metric("nb_hits", "count()"),
    most_hits_first(),
)
ENTRY_METRICS: tuple[Metric, ...] = (
    metric("entry_nb_uniq_visitors", "uniqExact(v.visitor_id)"),
    metric("entry_nb_visits", "count()"),
    metric("entry_nb_actions", "sum(v.actions)"),
    metric("entry_sum_visit_length", "sum(v.duration)"),
    metric("entry_bounce_count", "countIf(v.actions <= 1)"),
)
EXIT_METRICS: tuple[Metric, ...] = (
    metric("exit_nb_uniq_visitors", "uniqExact(v.visitor_id)"),
    metric("exit_nb_visits", "count()"),
)
TIME_METRICS: tuple[Metric, ...] = (metric("sum_time_spent", "sum(a.time_spent_previous)"),)
EVENT_METRICS: tuple[Metric, ...] = (
    metric("nb_uniq_visitors", "uniqExact(a.visitor_id)"),
    metric("nb_visits", "uniqExact(a.visit_id)"),
    metric("nb_events", "count()"),
    metric("nb_events_with_value", "countIf(a.has_event_value)"),
    metric("sum_event_value", "sumIf(a.event_value, a.has_event_value)"),
    metric("min_event_value", "min(if(a.has_event_value, a.event_value, 1e300))", "min"),
    metric("max_event_value", "max(if(a.has_event_value, a.event_value, -1e300))", "max"),
    metric(FIRST, "toUnixTimestamp(min(a.time))", "min"),
)
CONTENT_METRICS: tuple[Metric, ...] = (
    metric("nb_uniq_visitors", "uniqExactIf(a.visitor_id, a.content_interaction = '')"),
    metric("nb_visits", "uniqExactIf(a.visit_id, a.content_interaction = '')"),
    metric("nb_impressions", "countIf(a.content_interaction = '')"),
    metric("nb_interactions", "countIf(a.content_interaction != '')"),
    metric(FIRST, "toUnixTimestamp(min(a.time))", "min"),
)
ITEM_METRICS: tuple[Metric, ...] = (
    metric("revenue", "sum(i.price * i.quantity)"),
    metric("quantity", "sum(i.quantity)"),
    metric("price", "sum(i.price)"),
    metric("orders", "uniqExact(i.hit_id)"),
    metric(FIRST, "toUnixTimestamp(min(i.time))", "min"),
)
VIEW_METRICS: tuple[Metric, ...] = (
    metric("nb_visits", "uniqExact(a.visit_id)"),
    metric("nb_uniq_visitors", "uniqExact(a.visitor_id)"),
    metric("nb_actions", "count()"),
    # the day's average; longer periods add up those of their days, as Matomo does
    metric("price_viewed", "ifNotFinite(avgIf(a.product_price, a.has_product_price), 0)"),
    metric(FIRST, "toUnixTimestamp(min(a.time))", "min"),
)
PAGE_GOAL_METRICS: tuple[Metric, ...] = (
    metric("nb_conversions", "count()"),
    metric("revenue", "sum(c.revenue)"),
    metric("nb_conv_pages_before", "max(c.pages)"),
    metric("nb_conversions_attrib", "round(sum(round(1 / c.pages, 4)), 4)"),
    metric("revenue_attrib", "round(sum(c.revenue / c.pages), 2)"),
)


def _largest_entry(share: str) -> str:
    """Each conversion's share is rounded before they are added up per entry page; of the pages that have one
    label (the same path on several hosts) a day shows the largest."""
    return f"arrayMax(mapValues(sumMap(map(c.entry, round({share}, 3)))))"


ENTRY_GOAL_METRICS: tuple[Metric, ...] = (
    metric("nb_conversions_entry", "count()"),
    metric("revenue_entry", "sum(c.revenue)"),
    metric("nb_conversions_entry_rate", f"round({_largest_entry('1 / c.entries')}, 3)"),
    metric("revenue_per_entry", f"round({_largest_entry('c.revenue / c.entries')}, 3)"),
)

DIMENSION_METRICS: tuple[Metric, ...] = (
    *HIT_METRICS,
    *timings(),
    metric("sum_time_spent", "sum(a.time_spent)"),
    metric("bounce_count", "uniqExactIf(a.visit_id, a.is_only)"),
    metric("exit_nb_visits", "uniqExactIf(a.visit_id, a.is_last)"),
)
