"""Visits by hour and by weekday."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, time, timedelta, tzinfo
from zoneinfo import ZoneInfo

from reporting.api import zone_of
from reporting.errors import ApiError
from reporting.method import ApiRequest, Cell, Method, ReportShape
from reporting.methods.breakdown import Tables
from reporting.queries import Groups, read_aggregates, read_weekdays
from reporting.rows import UNIQUE, VISIT_COLUMNS, Shown, number, visits_table
from reporting.table import Columns, Row, Table
from schemas.reports import hour_aggregates


def _with_every(
    labels: Sequence[str], segment: Callable[[str], str], *, day: bool
) -> Callable[[Table], Table]:
    """Rows without visits are rows of zeros."""

    def fill(table: Table) -> Table:
        present = {str(row.label): row for row in table.rows}
        rows = []
        for label in labels:
            row = present.get(label)
            if row is None:
                zeros: Columns = dict.fromkeys(VISIT_COLUMNS, 0)
                if not day:
                    zeros = {name: 0 for name in VISIT_COLUMNS if name not in UNIQUE}
                    zeros |= {UNIQUE[name]: 0 for name in VISIT_COLUMNS if name in UNIQUE}
                row = Row({"label": label, **zeros}, {"segment": segment(label)})
            rows.append(row)
        return table.with_rows(rows)

    return fill


def sql_zone(zone: tzinfo) -> str:
    """The name that ClickHouse has for a timezone; a fixed offset is `Fixed/UTC+05:30:00` there."""
    if isinstance(zone, ZoneInfo):
        return zone.key
    seconds = int((zone.utcoffset(None) or timedelta(0)).total_seconds())
    hours, minutes = divmod(abs(seconds) // 60, 60)
    return f"Fixed/UTC{'-' if seconds < 0 else '+'}{hours:02}:{minutes:02}:00" if seconds else "UTC"


async def _hour_data(request: ApiRequest, aggregate: str) -> dict[Cell, dict[str, Groups]]:
    """`server_hours` is an aggregate of the site's timezone."""
    if aggregate != "server_hours":
        return await read_aggregates(request, [aggregate, f"{aggregate}_goals"])
    result: dict[Cell, dict[str, Groups]] = {}
    for site_id in request.sites:
        site = request.config.site(site_id)
        zone = sql_zone(zone_of(site.timezone if site else "UTC"))
        cells = [cell for cell in request.cells if cell.site_id == site_id]
        result |= await read_aggregates(request, hour_aggregates(zone), cells)
    return result


def _hours(aggregate: str, segment: str, name: str, *, site_time: bool) -> Method:
    async def cells(request: ApiRequest) -> Tables:
        data = await _hour_data(request, aggregate)
        result = {}
        for cell, groups in data.items():
            day = cell.period.kind == "day"
            hours = _utc_hours(request, cell) if site_time else list(range(24))

            def value(label: str, hours: Sequence[int] = hours) -> str:
                return f"{segment}=={hours[int(label)]}"

            table = visits_table(
                groups[aggregate],
                groups[f"{aggregate}_goals"] if site_time else Groups({}),
                lambda labels, value=value: Shown(  # type: ignore[misc]
                    f"{int(labels[0]):02}", {"segment": value(labels[0])}
                ),
                day=day,
                texts=True,
            )
            if len(table):
                every = _hours_of(request, cell) if site_time and day else range(24)
                table = _with_every([f"{hour:02}" for hour in every], value, day=day)(table)
            if site_time and request.parameters.flag("hideFutureHoursWhenToday"):
                table = _without_future(request, cell, table)
            result[cell] = table
        return result

    return Method(cells=cells, shape=ReportShape(name=name, sort_column="label", sort_stored=True))


def _utc_hours(request: ApiRequest, cell: Cell) -> list[int]:
    """The UTC hour of each local hour on the first day of the period."""
    site = request.config.site(cell.site_id)
    zone = zone_of(site.timezone if site else "UTC")
    return [datetime.combine(cell.period.start, time(hour), zone).astimezone(UTC).hour for hour in range(24)]


def _hours_of(request: ApiRequest, cell: Cell) -> list[int]:
    """The hours that the day has: one is skipped when summer time begins."""
    site = request.config.site(cell.site_id)
    zone = zone_of(site.timezone if site else "UTC")
    return [
        hour
        for hour in range(24)
        if datetime.combine(cell.period.start, time(hour), zone).astimezone(UTC).astimezone(zone).hour == hour
    ]


def _without_future(request: ApiRequest, cell: Cell, table: Table) -> Table:
    site = request.config.site(cell.site_id)
    now = request.now.astimezone(zone_of(site.timezone if site else "UTC"))
    if cell.period.kind != "day" or cell.period.start != now.date():
        return table
    return table.with_rows(row for row in table.rows if int(str(row.label)) <= now.hour)


_WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")


_WEEKDAY_COLUMNS = ("nb_visits", "nb_uniq_visitors", "nb_actions", "nb_users", "sum_visit_length",
                    "bounce_count", "nb_visits_converted")  # fmt: skip


async def _by_day_of_week(request: ApiRequest) -> Tables:
    """The visits of the period by weekday; a weekday without visits shows nothing else."""
    data = await read_weekdays(request)
    result = {}
    for cell, days in data.items():
        rows = []
        for at, name in enumerate(_WEEKDAYS, 1):
            found = days.get(at)
            columns: Columns = {"label": name, "nb_visits": 0}
            if found is not None:
                columns |= {column: number(found[column]) for column in _WEEKDAY_COLUMNS}
            rows.append(Row(columns, {"day_of_week": at}))
        result[cell] = Table(rows if days else [])
    return result


def _only_one_period(request: ApiRequest) -> None:
    if request.several_periods:
        raise ApiError(f"{request.method} does not support multiple dates.")


async def _days_of_week(request: ApiRequest) -> Tables:
    _only_one_period(request)
    return await _by_day_of_week(request)


METHODS: dict[str, Method] = {
    "VisitTime.getVisitInformationPerServerTime": _hours(
        "server_hours", "visitStartServerHour", "Visits per hour of the site's timezone", site_time=True
    ),
    "VisitTime.getVisitInformationPerLocalTime": _hours(
        "local_hours", "visitLocalHour", "Visits per local time", site_time=False
    ),
    "VisitTime.getByDayOfWeek": Method(
        cells=_days_of_week, shape=ReportShape(name="Visits by Day of Week", sort_column="", sort_stored=True)
    ),
}
