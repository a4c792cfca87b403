"""Which labels of a report may have changed by so much between two periods, asked of the database.

The labels that a report shows are made from stored ones, several of which may share one. So the database
compares classes of stored labels: two that are shown as one are in one class, though others may be as well.
What the stored labels of a class changed by, added up without their signs, is at least what any label shown
changed by. A class is known by its letters and digits: the report may decode, strip and split all else."""

# ruff: noqa: S608 - texts of queries are declarations of this repository, values are bound parameters

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from reporting.method import ApiRequest
from reporting.periods import Period
from reporting.queries import read_days
from reporting.rows import is_strict
from schemas.report_queries import Cut
from schemas.reports import AGGREGATES


def _class(text: str) -> str:
    return f"replaceAll(arrayStringConcat(splitByNonAlpha(decodeURLFormComponent({text}))), 'index', '')"


_PATH = "if(match(d.l0, '^[^/]*:/'), d.l0, substring(d.l0, position(d.l0, '/')))"
_PAGE_BELOW = "concat(d.l1, '/', replaceRegexpOne(d.l3, '^[^/]*://[^/]*', ''))"


@dataclass(frozen=True)
class Labels:
    """The labels of a report in an aggregate. In its texts d.l0.. are the stored ones."""

    aggregate: str
    key: str
    """Of the class."""
    where: str = "1"
    unread: tuple[str, ...] = ()
    """Aggregates of the report that have no part in its rows' visits."""


LABELS: Mapping[str, Labels] = {
    "Actions.getPageUrls": Labels("pages", _class(_PATH)),
    "Actions.getPageTitles": Labels("titles", _class("d.l0")),
    "Referrers.getWebsites": Labels(
        "referrers", _class(_PAGE_BELOW), where="d.l0 = '3'", unread=("referrers_goals",)
    ),
}
"""By the method of the report: those that may have tens of thousands."""


def shows_whole_labels(request: ApiRequest) -> bool:
    """Whether labels show all letters and digits of stored ones: other delimiters than slashes may be some.
    And strict instances add up the rows beyond their limits."""
    delimiters = request.config.tracking
    return (
        not is_strict(request)
        and delimiters.action_url_category_delimiter == "/"
        and not delimiters.action_title_category_delimiter
    )


@dataclass(frozen=True)
class ChangedLabels:
    cuts: Mapping[str, Cut]
    """What must be read to see all that changed."""
    any: bool
    """Whether anything did."""
    totals: tuple[float, float]
    """Of all labels in the earlier and the later period."""


async def changed_labels(
    request: ApiRequest, labels: Labels, metric: str, periods: Sequence[Period], share: float, visits: float
) -> ChangedLabels:
    """Those whose `metric` changed from the first of `periods` to the second by `share` of all `visits`, or
    of the labels' own total when that is less than half of them."""
    aggregate = AGGREGATES[labels.aggregate]
    read = await asyncio.gather(
        *(read_days(request, request.site_id, [period], [aggregate]) for period in periods)
    )
    columns = ", ".join(f"l{at}" for at in range(len(aggregate.labels)))
    # a bit less: the report takes the same share by other operations, which may round down
    bound: dict[str, object] = {"share": share * (1 - 1e-9), "visits": visits}
    parts = []
    for prefix, days in zip(("old", "new"), read, strict=True):
        sql, parameters = days.alone(aggregate, [metric], prefix)
        amounts = f"{metric} AS old, 0. AS new" if prefix == "old" else f"0. AS old, {metric} AS new"
        parts.append(f"SELECT {columns}, {amounts} FROM ({sql})")
        bound |= parameters
    of_stored = (
        f"SELECT {columns}, sum(old) AS old, sum(new) AS new FROM ({' UNION ALL '.join(parts)})"
        f" GROUP BY {columns}"
    )
    of_classes = (
        f"SELECT {labels.key} AS key, sum(d.old) AS old, sum(d.new) AS new,"
        " sum(abs(d.new - d.old)) AS changed"
        f" FROM ({of_stored}) AS d WHERE {labels.where} GROUP BY key"
    )
    ((old, new, keys),) = await request.database.rows(
        "SELECT sum(old), sum(new) AS total, arrayMap(one -> one.1, arrayFilter(one -> one.2 > 0 AND one.2 >="
        " {share:Float64} * if(total * 2 >= {visits:Float64}, {visits:Float64}, total),"
        f" groupArray((key, changed)))) FROM ({of_classes})",
        bound,
    )
    cut = Cut(
        where=f"{labels.where} AND {labels.key} IN {{changed:Array(String)}}",
        parameters={"changed": list(keys)},
    )
    cuts = {labels.aggregate: cut, **dict.fromkeys(labels.unread, Cut(where="0"))}
    return ChangedLabels(cuts, bool(keys), (float(old), float(new)))
