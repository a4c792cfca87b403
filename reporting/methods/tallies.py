"""Hitstream: what became of the hits that a site's trackers sent, and why hits were left out.

The figures are those of `hitstream status`: both add up the tallies of the processors. A tally knows the day
of receipt (UTC) and no visit, so there are no segments and no time of the event here.
"""

from collections import Counter
from collections.abc import Mapping
from datetime import date

from reporting.errors import ApiError
from reporting.method import ApiRequest, Cell, Method, ReportShape
from reporting.table import Row, Table
from schemas.outcomes import Exclusion, Outcome

_OUTCOMES: Mapping[str, str] = {
    Outcome.STORED: "Stored", Outcome.EXCLUDED: "Excluded", Outcome.DUPLICATE: "Received again",
    Outcome.DEAD: "Could not be processed",
}  # fmt: skip
_REASONS: Mapping[str, str] = {
    Exclusion.BOT: "Bot (user agent)",
    Exclusion.BOT_IP: "Bot (address of a search engine)",
    Exclusion.NOT_RECORDED: "Not to be recorded (no rec=1)",
    Exclusion.DO_NOT_TRACK: "Do Not Track",
    Exclusion.EXCLUDED_REQUEST: "Rule for requests (exclude_requests)",
    Exclusion.IGNORE_COOKIE: "Ignore cookie",
    Exclusion.OPT_OUT: "Opt-out",
    Exclusion.NO_CONSENT: "No consent",
    Exclusion.EXCLUDED_IP: "Excluded IP address",
    Exclusion.EXCLUDED_USER_AGENT: "Excluded user agent",
    Exclusion.REFERRER_SPAM: "Referrer spam",
    Exclusion.UNKNOWN_URL: "URL of another site",
    Exclusion.PREFETCH: "Prefetched by the browser",
    Exclusion.PING_WITHOUT_VISIT: "Ping without a visit",
    Exclusion.REPEATED_ORDER: "Order sent before",
    Exclusion.ERASED: "Erased for a data subject",
}
_PER_DAY = """
SELECT received_on, {column} AS name, sum(hits) AS hits FROM counted_hits
WHERE site_id = {{site:UInt32}} AND received_on BETWEEN {{first:Date}} AND {{last:Date}}
{condition} GROUP BY received_on, name HAVING hits > 0"""
_OUTCOMES_PER_DAY = _PER_DAY.format(column="outcome", condition="")
_REASONS_PER_DAY = _PER_DAY.format(column="reason", condition="AND outcome = 'excluded'")


async def _counted(request: ApiRequest, sql: str) -> dict[Cell, Counter[str]]:
    """Hits by name in every cell. Raises ApiError when a segment is asked for."""
    if request.segment:
        raise ApiError("Hits are counted before there are visits: this report knows no segments.")
    found: dict[Cell, Counter[str]] = {cell: Counter() for cell in request.cells}
    first, last = min(one.start for one in request.periods), max(one.end for one in request.periods)
    for site_id in request.sites:
        rows = await request.database.select(sql, {"site": site_id, "first": first, "last": last})
        for row in rows:
            day = date.fromisoformat(str(row["received_on"])[:10])
            for period in request.periods:
                if period.start <= day <= period.end:
                    found[Cell(site_id, period)][str(row["name"])] += int(row["hits"])
    return found


async def _outcomes(request: ApiRequest) -> Mapping[Cell, Table]:
    counted = await _counted(request, _OUTCOMES_PER_DAY)
    return {cell: _table(counts, _OUTCOMES, "outcome") for cell, counts in counted.items()}


async def _exclusions(request: ApiRequest) -> Mapping[Cell, Table]:
    counted = await _counted(request, _REASONS_PER_DAY)
    return {cell: _table(counts, _REASONS, "reason") for cell, counts in counted.items()}


def _table(counts: Counter[str], labels: Mapping[str, str], key: str) -> Table:
    """A row per name; a name that this version does not know (of a newer processor) is its own label."""
    return Table(
        [
            Row({"label": labels.get(name, name), "nb_hits": hits}, {key: name})
            for name, hits in sorted(counts.items(), key=lambda item: (-item[1], item[0]))
        ]
    )


METHODS: dict[str, Method] = {
    "Hitstream.getOutcomes": Method(
        cells=_outcomes,
        shape=ReportShape(name="What became of hits", dimension="Hitstream_Outcome", sort_column="nb_hits"),
    ),
    "Hitstream.getExclusions": Method(
        cells=_exclusions,
        shape=ReportShape(name="Excluded hits", dimension="Hitstream_Exclusion", sort_column="nb_hits"),
    ),
}
