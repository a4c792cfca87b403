"""Annotations: notes on days. ScheduledReports: wishes for reports by mail, kept but not sent."""

from collections.abc import Sequence
from datetime import date, timedelta
from typing import Any

import msgspec

from reporting.errors import ApiError
from reporting.method import Access, ApiRequest, Method
from reporting.periods import Period, parse_date, parse_kind, parse_periods, period_of
from reporting.table import Result, Value
from schemas.config import Annotation, Config, ConfigEvent, ScheduledReport

_MAX_NOTE = 2000


def _at(request: ApiRequest) -> int:
    return int(request.now.timestamp() * 1000)


def _may_change(request: ApiRequest, note: Annotation) -> bool:
    return request.grant.allows("admin", note.site_id) or (
        request.grant.login == note.login and note.login != "anonymous"
    )


def _columns(request: ApiRequest, note: Annotation) -> dict[str, Value]:
    return {
        "date": note.date,
        "note": note.note,
        "starred": int(note.starred),
        "user": note.login,
        "idNote": note.annotation_id,
        "canEditOrDelete": _may_change(request, note),
    }


def _notes(config: Config, site_id: int) -> list[Annotation]:
    """Of a site, by day."""
    found = [note for note in config.annotations.values() if note.site_id == site_id and not note.deleted]
    return sorted(found, key=lambda note: (note.date, note.annotation_id))


def _changes(request: ApiRequest) -> dict[str, Any]:
    parameters = request.parameters
    changes: dict[str, Any] = {}
    if parameters.text("date"):
        changes["date"] = parse_date(parameters.text("date"), request.now.date()).isoformat()
    if parameters.text("note"):
        changes["note"] = parameters.text("note")[:_MAX_NOTE]
    if parameters.text("starred"):
        changes["starred"] = parameters.flag("starred")
    return changes


async def _add(request: ApiRequest) -> Result:
    if request.grant.login == "anonymous":
        raise ApiError("The current user is not allowed to add notes to this site.", 401)
    changes = _changes(request)

    def change(config: Config) -> Sequence[ConfigEvent]:
        draft = Annotation(
            site_id=request.site_id,
            annotation_id=max(config.annotations, default=0) + 1,
            date="",
            note="",
            login=request.grant.login,
        )
        return [ConfigEvent(at=_at(request), annotation=msgspec.structs.replace(draft, **changes))]

    config = await request.change(change)
    return _columns(request, config.annotations[max(config.annotations)])


def _wanted(request: ApiRequest) -> Annotation:
    """Raises ApiError."""
    note = request.config.annotations.get(request.parameters.integer("idNote", 0))
    if note is None or note.deleted or note.site_id != request.site_id:
        raise ApiError(
            f"There is no note with id '{request.parameters.text('idNote')}' for site {request.site_id}."
        )
    return note


async def _save(request: ApiRequest) -> Result:
    note = _wanted(request)
    if not _may_change(request, note):
        raise ApiError("The current user is not allowed to change this note.", 401)
    changed = msgspec.structs.replace(note, **_changes(request))
    await request.change(lambda _: [ConfigEvent(at=_at(request), annotation=changed)])
    return _columns(request, changed)


async def _delete(request: ApiRequest) -> Result:
    note = _wanted(request)
    if not _may_change(request, note):
        raise ApiError("The current user is not allowed to delete this note.", 401)
    deleted = msgspec.structs.replace(note, deleted=True)
    await request.change(lambda _: [ConfigEvent(at=_at(request), annotation=deleted)])
    return None


def _get(request: ApiRequest) -> Result:
    return _columns(request, _wanted(request))


def _bounds(request: ApiRequest) -> tuple[str, str]:
    """First and last day that are asked for; `lastN` counts periods."""
    text = request.parameters.text("date")
    if not text:
        return "", "9999"
    kind = parse_kind(request.parameters.text("period") or "day")
    today = request.now.date()
    last = request.parameters.integer("lastN")
    if last:
        newest = period_of("day" if kind == "range" else kind, parse_date(text.split(",")[-1], today))
        return newest.following(1 - last).start.isoformat(), newest.end.isoformat()
    periods = parse_periods(kind, text, today)
    return periods[0].start.isoformat(), periods[-1].end.isoformat()


def _all(request: ApiRequest) -> Result:
    """Site -> its notes within the dates."""
    first, last = _bounds(request)
    return {
        str(site_id): [
            _columns(request, note) for note in _notes(request.config, site_id) if first <= note.date <= last
        ]
        for site_id in request.sites
    }


def _counts(request: ApiRequest) -> Result:
    """Site -> pairs of a period's first day and its counts."""
    kind = parse_kind(request.parameters.text("period") or "day")
    unit = "day" if kind == "range" else kind
    first, last = _bounds(request)
    period = period_of(unit, date.fromisoformat(first))
    periods: list[Period] = []
    while period.start.isoformat() <= last and len(periods) < 4000:
        periods.append(period)
        period = period_of(unit, period.end + timedelta(days=1))
    result: dict[str, Value] = {}
    for site_id in request.sites:
        notes = _notes(request.config, site_id)
        pairs: list[Value] = []
        for one in periods:
            within = [note for note in notes if one.start.isoformat() <= note.date <= one.end.isoformat()]
            counts: dict[str, Value] = {
                "count": len(within),
                "starred": sum(note.starred for note in within),
            }
            if len(within) == 1 and request.parameters.flag("getAnnotationText"):
                counts["note"] = within[0].note
            pairs.append([one.start.isoformat(), counts])
        result[str(site_id)] = pairs
    return result


async def _add_report(request: ApiRequest) -> Result:
    parameters = request.parameters
    period = parameters.text("period")
    if period not in ("day", "week", "month", "never"):
        raise ApiError(f"The period '{period}' of a report is not valid: expected day, week, month or never.")
    hour = parameters.integer("hour", 0)
    if not 0 <= hour <= 23:
        raise ApiError(f"The hour '{parameters.text('hour')}' is not valid: expected 0 to 23.")

    def change(config: Config) -> Sequence[ConfigEvent]:
        report = ScheduledReport(
            report_id=max(config.scheduled_reports, default=0) + 1,
            site_id=request.site_id,
            login=request.grant.login,
            description=parameters.text("description")[:250],
            period=period,
            hour=hour,
            report_type=parameters.text("reportType"),
            report_format=parameters.text("reportFormat"),
            reports=parameters.texts("reports"),
            segment_id=parameters.integer("idSegment", 0),
            created_at=request.now.strftime("%Y-%m-%d %H:%M:%S"),
        )
        return [ConfigEvent(at=_at(request), scheduled_report=report)]

    config = await request.change(change)
    return max(config.scheduled_reports)


def _reports(request: ApiRequest) -> Result:
    return [
        {
            "idreport": report.report_id,
            "idsite": report.site_id,
            "login": report.login,
            "description": report.description,
            "idsegment": report.segment_id or None,
            "period": report.period,
            "hour": report.hour,
            "type": report.report_type,
            "format": report.report_format,
            "reports": list(report.reports),
            "ts_created": report.created_at,
            "deleted": int(report.deleted),
        }
        for report in request.config.scheduled_reports.values()
        if not report.deleted
        and (not request.sites or report.site_id in request.sites)
        and (request.grant.superuser or report.login == request.grant.login)
    ]


async def _delete_report(request: ApiRequest) -> Result:
    report = request.config.scheduled_reports.get(request.parameters.integer("idReport", 0))
    if report is None or report.deleted:
        raise ApiError(f"The report {request.parameters.text('idReport')} does not exist.")
    if not request.grant.superuser and report.login != request.grant.login:
        raise ApiError("The report belongs to another user.", 401)
    deleted = msgspec.structs.replace(report, deleted=True)
    await request.change(lambda _: [ConfigEvent(at=_at(request), scheduled_report=deleted)])
    return None


def _on_site(answer: Any, *required: str) -> Method:
    return Method(answer=answer, takes_sites=True, several_sites=False, required=required)


METHODS: dict[str, Method] = {
    "Annotations.add": _on_site(_add, "date", "note"),
    "Annotations.save": _on_site(_save, "idNote"),
    "Annotations.delete": _on_site(_delete, "idNote"),
    "Annotations.get": _on_site(_get, "idNote"),
    "Annotations.getAll": Method(answer=_all, takes_sites=True),
    "Annotations.getAnnotationCountForDates": Method(
        answer=_counts, takes_sites=True, required=("date", "period")
    ),
    "ScheduledReports.addReport": _on_site(
        _add_report, "description", "period", "reportType", "reportFormat"
    ),
    "ScheduledReports.getReports": Method(
        answer=_reports, access=Access.SOME_VIEW, takes_sites=True, site_optional=True
    ),
    "ScheduledReports.deleteReport": Method(
        answer=_delete_report, access=Access.SOME_VIEW, required=("idReport",)
    ),
}
