"""Single visits with their raw hits: what is stored of a person is found, exported, deleted; explained."""

# ruff: noqa: S608 - texts of queries are declarations of this repository, values are bound parameters

import asyncio
import json
from collections.abc import Mapping
from datetime import date
from typing import Any

from reporting.access import require_on_sites
from reporting.errors import ApiError
from reporting.method import Access, ApiRequest, Method
from reporting.past import Past, VisitName
from reporting.queries import compiled_segment
from reporting.table import Result
from schemas.hit import format_visitor_id

_COLUMNS = (
    "visit_id, visitor_id, user_id, ip, toUnixTimestamp(first_time) AS first_ts,"
    " toUnixTimestamp(last_time) AS last_ts, actions, country, region, city, referrer_name, referrer_url,"
    " entry_url, toString(date) AS day"
)


async def _find(request: ApiRequest) -> Result:
    """All visits that fit the segment, of any time, oldest first."""
    if not request.segment.strip():
        raise ApiError("No segment was given: expected for example visitorId==0123456789abcdef.")
    found: list[Any] = []
    for site_id in request.sites:
        segment = compiled_segment(request, site_id)
        rows = await request.database.select(
            f"SELECT {_COLUMNS} FROM visits FINAL WHERE site_id = {{site:UInt32}}"
            f" AND date BETWEEN {{first:Date}} AND {{last:Date}} AND ({segment.visit})"
            " ORDER BY first_time, visit_id",
            {
                "site": site_id, "first": date(1970, 1, 1), "last": date(2149, 6, 6), **segment.parameters,
            },
        )  # fmt: skip
        found += [_visit(site_id, row) for row in rows]
    return found


def _visit(site_id: int, row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "idSite": site_id,
        "idVisit": int(row["visit_id"]),
        "visitorId": format_visitor_id(int(row["visitor_id"])),
        "userId": row["user_id"] or None,
        "visitIp": row["ip"],
        "firstActionTimestamp": int(row["first_ts"]),
        "lastActionTimestamp": int(row["last_ts"]),
        "serverDate": row["day"],
        "actions": int(row["actions"]),
        "countryCode": row["country"],
        "regionCode": row["region"],
        "city": row["city"],
        "referrerName": row["referrer_name"],
        "referrerUrl": row["referrer_url"],
        "entryUrl": row["entry_url"],
    }


def named_visits(request: ApiRequest) -> list[VisitName]:
    """`visits[0][idsite]=1&visits[0][idvisit]=2`, or the same as JSON. Raises ApiError."""
    value: Any = request.parameters.values.get("visits")
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError:
            value = None
    if isinstance(value, Mapping):
        value = list(value.values())
    if not isinstance(value, list) or not value:
        raise ApiError("visits: expected a list of objects with idsite and idvisit.")
    found = []
    for one in value:
        fields = {str(name).lower(): each for name, each in one.items()} if isinstance(one, Mapping) else {}
        site, visit = str(fields.get("idsite", "")), str(fields.get("idvisit", ""))
        if not (site.isdecimal() and visit.isdecimal() and len(site) < 10 and len(visit) < 20):
            raise ApiError("visits: expected idsite and idvisit, both numbers, in every entry.")
        found.append(VisitName(int(site), int(visit)))
    require_on_sites(request.grant, "admin", sorted({one.site_id for one in found}))
    return found


def past_of(request: ApiRequest) -> Past:
    """Raises ApiError in a process that can't reach the raw hits."""
    past: Past | None = request.state.get("past")
    if past is None:
        raise ApiError("The raw hits can't be reached from this process.", 503)
    return past


async def _export(request: ApiRequest) -> Result:
    found: Mapping[str, Any] = await asyncio.to_thread(past_of(request).export, named_visits(request))
    return dict(found)


async def _delete(request: ApiRequest) -> Result:
    return dict(await asyncio.to_thread(past_of(request).delete, named_visits(request)))


async def _explain(request: ApiRequest) -> Result:
    visit = request.parameters.text("idVisit")
    if not visit.isdecimal() or len(visit) > 20:
        raise ApiError(f"idVisit is '{visit}': expected the number of a visit.")
    found: Any = await asyncio.to_thread(past_of(request).explain, request.site_id, int(visit))
    if found is None:
        raise ApiError(f"There is no visit {visit} on website {request.site_id}.")
    return dict(found)


METHODS: dict[str, Method] = {
    "PrivacyManager.findDataSubjects": Method(
        answer=_find, access=Access.ADMIN, takes_sites=True, required=("segment",), filters=False
    ),
    "PrivacyManager.exportDataSubjects": Method(answer=_export, access=Access.SOME_ADMIN, filters=False),
    "PrivacyManager.deleteDataSubjects": Method(answer=_delete, access=Access.SOME_ADMIN, filters=False),
    "Hitstream.explainVisit": Method(
        answer=_explain,
        access=Access.ADMIN,
        takes_sites=True,
        several_sites=False,
        required=("idVisit",),
        filters=False,
    ),
}
