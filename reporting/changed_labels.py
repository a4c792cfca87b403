"""Which labels of a report may have changed by so much between two periods, asked of the database.

The labels that a report shows are made from stored ones, several of which may share one. So the database
compares classes of stored labels: two that are shown as one are in one class, though others may be as well.
What the stored labels of a class changed by, added up without their signs, is at least what any label shown
changed by. A class is known by its letters and digits: the report may decode, strip and split all else."""

# ruff: noqa: S608 - texts of queries are declarations of this repository, values are bound parameters

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from reporting.archives import Archives, where_stored
from reporting.method import ApiRequest
from reporting.periods import Period
from reporting.queries import Days, read_days
from reporting.rows import is_strict
from schemas.report_queries import Cut
from schemas.reports import AGGREGATES, Aggregate


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


def _amounts(
    request: ApiRequest, read: Sequence[Days], aggregate: Aggregate, metric: str
) -> tuple[str, dict[str, object]]:
    """The labels with `metric` in the earlier period as `old` or in the later one as `new`; and what is
    bound."""
    columns = ", ".join(f"l{at}" for at in range(len(aggregate.labels)))
    earlier, later = read
    if not earlier.reads_rows and not later.reads_rows and earlier.last < later.first:
        # one look at archives of both
        archives: Archives = request.state["archives"]
        sql = archives.sql(aggregate, [metric])
        in_old = "date <= {old_last:Date}"
        return (
            f"SELECT {columns}, if({in_old}, {metric}, 0.) AS old, if({in_old}, 0., {metric}) AS new"
            f" FROM ({sql})",
            {
                "site": request.site_id,
                "report": archives.key(aggregate),
                "old_last": earlier.last,
                **where_stored({**earlier.archived, **later.archived}),
            },
        )
    parts, bound = [], dict[str, object]()
    for prefix, days in (("old", earlier), ("new", later)):
        sql, parameters = days.alone(aggregate, [metric], prefix)
        amounts = f"{metric} AS old, 0. AS new" if prefix == "old" else f"0. AS old, {metric} AS new"
        parts.append(f"SELECT {columns}, {amounts} FROM ({sql})")
        bound |= parameters
    return " UNION ALL ".join(parts), bound


async def changed_labels(
    request: ApiRequest, labels: Labels, metric: str, periods: Sequence[Period], share: float, visits: float
) -> ChangedLabels:
    """Those whose `metric` changed from the first of `periods` to the second by `share` of all `visits`, or
    of the labels' own total when that is less than half of them."""
    aggregate = AGGREGATES[labels.aggregate]
    read = await asyncio.gather(
        *(read_days(request, request.site_id, [period], [aggregate]) for period in periods)
    )
    amounts, amounts_bound = _amounts(request, read, aggregate, metric)
    columns = ", ".join(f"l{at}" for at in range(len(aggregate.labels)))
    # a bit less: the report takes the same share by other operations, which may round down
    bound = {**amounts_bound, "share": share * (1 - 1e-9), "visits": visits}
    of_stored = f"SELECT {columns}, sum(old) AS old, sum(new) AS new FROM ({amounts}) GROUP BY {columns}"
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
