"""Live: the latest visits with all they did, counters of the last minutes, and the visitor's profile."""

# ruff: noqa: S608 - texts of queries are declarations of this repository, values are bound parameters

import re
from collections.abc import Mapping
from datetime import datetime, time, timedelta

from reporting.api import today_of, zone_of
from reporting.errors import ApiError, missing_parameter
from reporting.method import ApiRequest, Method, ReportShape
from reporting.numbering import read_numbers
from reporting.periods import parse_periods
from reporting.queries import compiled_segment
from reporting.table import Result, Row, Table
from reporting.visit_rows import visit_row
from reporting.visitor_profile import MOST_VISITS, Profile, neighbour, profile_columns
from reporting.visits import Totals, VisitParts, VisitQuery, read_totals, read_visits
from schemas.config import Site

_DEFAULT_LIMIT = 100
_HEX16 = re.compile(r"[0-9a-fA-F]{16}")


def _bounds(request: ApiRequest, site_id: int) -> tuple[int, int]:
    """First and last second of the request's period in the site's timezone; (0, 0) without a period.

    Matomo's day includes a visit at the next midnight."""
    kind, dates = request.parameters.text("period"), request.parameters.text("date")
    if not kind or not dates:
        return 0, 0
    periods = parse_periods(kind, dates, today_of((site_id,), request.config, request.now))
    site = request.config.site(site_id)
    zone = zone_of(site.timezone if site else "UTC")
    start = datetime.combine(periods[0].start, time(), zone)
    end = datetime.combine(periods[-1].end + timedelta(days=1), time(), zone)
    return int(start.timestamp()), int(end.timestamp())


def _visitor(text: str) -> int | None:
    if not text:
        return None
    if not _HEX16.fullmatch(text):
        raise ApiError(f"Invalid visitor ID: '{text}', expected 16 hexadecimal characters.")
    return int(text, 16)


async def _last_visits(request: ApiRequest) -> Result:
    parameters = request.parameters
    limit = parameters.integer("filter_limit", _DEFAULT_LIMIT)
    offset = max(0, parameters.integer("filter_offset", 0))
    maximum = None if limit < 0 else limit + offset
    visitors = parameters.integer("countVisitorsToFetch", 0)
    if visitors > 0:
        maximum = visitors if maximum is None else min(maximum, visitors)
    ascending = parameters.text("filter_sort_order").lower() == "asc"
    since = parameters.integer("minTimestamp", 0)
    with_actions = not parameters.flag("doNotFetchActions")
    found = []
    for site_id in request.sites:
        site = request.config.site(site_id)
        if site is None:
            continue
        first, last = _bounds(request, site_id)
        query = VisitQuery(
            site_id=site_id,
            since=max(first, since),
            until=last,
            limit=maximum,
            visitor_id=_visitor(parameters.text("visitorId")),
            ascending=ascending,
            with_actions=with_actions,
        )
        parts = await read_visits(request, query)
        for part, row in zip(parts, await _visit_rows(request, site, parts), strict=True):
            found.append((int(part.visit["last_ts"]), row))
    if len(request.sites) > 1:
        found.sort(key=lambda item: item[0], reverse=not ascending)
    return Table([row for _, row in found])


async def _counters(request: ApiRequest) -> Result:
    """Visits, actions, visitors and conversions of the last minutes, over all sites asked for."""
    minutes = request.parameters.integer("lastMinutes")
    if minutes is None or minutes <= 0:
        raise missing_parameter("lastMinutes")
    until = int(request.now.timestamp())
    since = until - minutes * 60
    totals = {"visits": 0, "actions": 0, "visitors": 0, "visitsConverted": 0}
    day = timedelta(days=1)
    for site_id in request.sites:
        segment = compiled_segment(request, site_id)
        values: dict[str, object] = {
            "site": site_id,
            "since": since,
            "first": (request.now - timedelta(minutes=minutes) - day).date(),
            "last": (request.now + day).date(),
            **segment.parameters,
        }
        where = "site_id = {site:UInt32} AND date BETWEEN {first:Date} AND {last:Date}"
        visits = await request.database.select(
            "SELECT count() AS visits, uniqExact(visitor_id) AS visitors FROM visits FINAL"
            f" WHERE {where} AND toUnixTimestamp(last_time) >= {{since:UInt32}} AND ({segment.visit or '1'})",
            values,
        )
        actions = await request.database.select(
            f"SELECT count() AS actions FROM actions FINAL WHERE {where}"
            f" AND toUnixTimestamp(time) >= {{since:UInt32}} AND {segment.ids()}",
            values,
        )
        converted = await request.database.select(
            f"SELECT uniqExact(visit_id) AS converted FROM conversions FINAL WHERE {where}"
            f" AND goal_id >= 0 AND toUnixTimestamp(time) >= {{since:UInt32}} AND {segment.ids()}",
            values,
        )
        totals["visits"] += int(visits[0]["visits"])
        totals["visitors"] += int(visits[0]["visitors"])
        totals["actions"] += int(actions[0]["actions"])
        totals["visitsConverted"] += int(converted[0]["converted"])
    wanted = set(request.parameters.comma_list("showColumns")) or set(totals)
    wanted -= set(request.parameters.comma_list("hideColumns"))
    return [{name: value for name, value in totals.items() if name in wanted}]


async def _most_recent_visitor(request: ApiRequest) -> Result:
    parts = await read_visits(request, VisitQuery(site_id=request.site_id, limit=1, with_actions=False))
    return f"{int(parts[0].visit['visitor_id']):016x}" if parts else None


async def _most_recent_time(request: ApiRequest) -> Result:
    parts = await read_visits(request, VisitQuery(site_id=request.site_id, limit=1, with_actions=False))
    if not parts:
        return None
    return f"{datetime.fromtimestamp(int(parts[0].visit['last_ts']), zone_of('UTC')):%Y-%m-%d %H:%M:%S}"


async def _visit_rows(request: ApiRequest, site: Site, parts: list[VisitParts]) -> list[Row]:
    totals: Mapping[int, Totals] = {}
    if site.ecommerce and parts:
        visitors = {int(part.visit["visitor_id"]) for part in parts}
        totals = await read_totals(request, site.site_id, visitors)
    numbers = await read_numbers(request, parts)
    return [
        visit_row(part, request, site, totals.get(int(part.visit["visitor_id"]), Totals()), numbers)
        for part in parts
    ]


async def _profile(request: ApiRequest) -> Result:
    """The visitor of `visitorId`, or who was here last."""
    site = request.config.site(request.site_id)
    assert site is not None
    visitor = _visitor(request.parameters.text("visitorId"))
    if visitor is None:
        newest = await read_visits(request, VisitQuery(site_id=site.site_id, limit=1, with_actions=False))
        if not newest:
            return []
        visitor = int(newest[0].visit["visitor_id"])
    limit = request.parameters.integer("limitVisits", MOST_VISITS) or MOST_VISITS
    every = request.with_segment("")
    query = VisitQuery(site_id=site.site_id, limit=max(1, limit) + 1, visitor_id=visitor)
    parts = await read_visits(every, query)
    if not parts:
        return []
    has_more, parts = len(parts) > limit, parts[:limit]
    totals: Mapping[int, Totals] = {}
    if site.ecommerce:
        totals = await read_totals(every, site.site_id, [visitor])
    last = int(parts[0].visit["last_ts"])
    return profile_columns(
        Profile(
            site=site,
            zone=zone_of(site.timezone),
            parts=parts,
            rows=await _visit_rows(every, site, parts),
            has_more=has_more,
            totals=totals.get(visitor, Totals()),
            next_visitor=await neighbour(request, site.site_id, last, visitor, older=True),
            previous_visitor=await neighbour(request, site.site_id, last, visitor, older=False),
        ),
        request,
    )


async def _first_visit(request: ApiRequest) -> Result:
    site = request.config.site(request.site_id)
    assert site is not None
    query = VisitQuery(
        site_id=site.site_id,
        limit=1,
        visitor_id=_visitor(request.parameters.required("visitorId")),
        ascending=True,
    )
    return Table(await _visit_rows(request, site, await read_visits(request, query)))


def _enabled(_: ApiRequest) -> Result:
    return True


METHODS: dict[str, Method] = {
    "Live.getLastVisitsDetails": Method(
        answer=_last_visits,
        takes_sites=True,
        shape=ReportShape(name="Visits Log", sort_column="", sort_stored=True, nested_hiding=True),
    ),
    "Live.getCounters": Method(answer=_counters, takes_sites=True, required=("lastMinutes",)),
    "Live.getMostRecentVisitorId": Method(answer=_most_recent_visitor, takes_sites=True, filters=False),
    "Live.getMostRecentVisitsDateTime": Method(answer=_most_recent_time, takes_sites=True, filters=False),
    "Live.getVisitorProfile": Method(answer=_profile, takes_sites=True, several_sites=False, filters=False),
    "Live.getFirstVisitForVisitorId": Method(
        answer=_first_visit, takes_sites=True, several_sites=False, required=("visitorId",), filters=False
    ),
    "Live.isVisitorProfileEnabled": Method(answer=_enabled, takes_sites=True, filters=False),
}
