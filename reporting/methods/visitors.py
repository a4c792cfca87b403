"""Reports of visits by one property of the visit: place, language, user, device, time, interest."""

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, time
from urllib.parse import quote_plus

from device_detector.parser.settings import AVAILABLE_BROWSERS

from reporting.api import zone_of
from reporting.errors import ApiError
from reporting.icons import icon
from reporting.method import ApiRequest, Cell, Method, ProcessedMetric, ReportShape, Unit
from reporting.methods.goals import Range, range_label, range_of
from reporting.queries import EMPTY, Groups, Labels, read_aggregates, read_weekdays
from reporting.rows import (
    UNIQUE,
    VISIT_COLUMNS,
    Shown,
    cell_number,
    number,
    quotient,
    regroup,
    rounded,
    visits_table,
)
from reporting.table import Columns, Row, Scalar, Table, single_value
from reporting.visits import model_name, versioned
from rules.locations import (
    continent_code,
    continent_name,
    country_name,
    language_label,
    language_name,
    region_name,
)
from rules.user_agents import (
    DEVICE_TYPES,
    browser_name,
    device_type_name,
    engine_label,
    os_family,
    os_name,
)
from schemas.reports import hour_aggregates

Tables = Mapping[Cell, Table]
UNKNOWN = "Unknown"


def dimension(
    aggregate: str,
    label: Callable[[Labels], Labels | None],
    shown: Callable[[Labels], Shown],
    shape: ReportShape,
    finish: Callable[[Table], Table] | None = None,
    *,
    with_goals: bool = True,
) -> Method:
    """A report of an aggregate under labels of its own, with goals unless said otherwise."""

    async def cells(request: ApiRequest) -> Tables:
        names = [aggregate, f"{aggregate}_goals"] if with_goals else [aggregate]
        data = await read_aggregates(request, names)
        result = {}
        for cell, groups in data.items():
            visits = regroup(groups[aggregate], label)

            def goal_label(labels: Labels) -> Labels | None:
                key = label(labels[:-1])
                return None if key is None else (*key, labels[-1])

            goals = regroup(groups.get(f"{aggregate}_goals", EMPTY), goal_label)
            table = visits_table(visits, goals, shown, day=cell.period.kind == "day", texts=True)
            result[cell] = finish(table) if finish is not None and len(table) else table
        return result

    return Method(cells=cells, shape=shape)


# --- Places ----------------------------------------------------------------------------------------


def _flag(country: str) -> str:
    return icon("flags", country or "xx")


def _country(labels: Labels) -> Shown:
    code = labels[0] or "xx"
    return Shown(
        country_name(code),
        {"code": code, "logo": _flag(code), "segment": f"countryCode=={code}", "logoHeight": 16},
    )


def _continent(labels: Labels) -> Shown:
    name = continent_name(labels[0])
    return Shown(name, {"code": name})


def _known_region(labels: Labels) -> Labels:
    """Visits without a region are one row, whatever their country."""
    return labels[:2] if labels[1] else ("", "")


def _known_city(labels: Labels) -> Labels:
    return labels if labels[2] else ("", "", "")


def _region(labels: Labels) -> Shown:
    country, region = labels[0] or "xx", labels[1]
    name = region_name(country, region) if region else UNKNOWN
    shown_country = country_name(country)
    label = f"{name}, {shown_country}" if region else UNKNOWN
    segment: Columns = (
        {"segment": f"regionCode=={quote_plus(region)};countryCode=={country}"} if region else {}
    )
    return Shown(
        label,
        {
            **segment,
            "region": region or "xx",
            "country": country,
            "country_name": shown_country,
            "region_name": name,
            "logo": _flag(country),
        },
    )


def _city(labels: Labels) -> Shown:
    country, region, city = labels[0] or "xx", labels[1], labels[2]
    name = region_name(country, region) if region else UNKNOWN
    shown_country = country_name(country)
    shown_city = city or UNKNOWN
    parts = [shown_city, name, shown_country] if region else [shown_city, shown_country]
    label = ", ".join(parts) if city else UNKNOWN
    segment: Columns = {
        "segment": f"city=={quote_plus(city)};regionCode=={quote_plus(region)};countryCode=={country}"
    }
    return Shown(
        label,
        {
            **(segment if city else {}),
            "city_name": shown_city,
            **({} if city else {"city": "xx"}),
            "region": region or "xx",
            "country": country,
            "country_name": shown_country,
            "region_name": name,
            "logo": _flag(country),
        },
    )


async def _cities(request: ApiRequest) -> Tables:
    data = await read_aggregates(request, ["locations", "locations_goals", "city_places"])
    result = {}
    for cell, groups in data.items():
        places = groups["city_places"].rows

        def shown(labels: Labels, places: Mapping[Labels, Mapping[str, float]] = places) -> Shown:
            one, place = _city(labels), places.get(labels)
            if place is None:
                return one
            where: Columns = {"lat": rounded(place["latitude"], 3), "long": rounded(place["longitude"], 3)}
            return Shown(one.label, {**where, **one.metadata})

        result[cell] = visits_table(
            regroup(groups["locations"], _known_city),
            regroup(groups["locations_goals"], lambda labels: (*_known_city(labels[:-1]), labels[-1])),
            shown,
            day=cell.period.kind == "day",
            texts=True,
        )
    return result


async def _distinct_countries(request: ApiRequest) -> Tables:
    data = await read_aggregates(request, ["locations"])
    result = {}
    for cell, groups in data.items():
        found = {labels[0] for labels in groups["locations"].rows}
        result[cell] = single_value("UserCountry_distinctCountries", len(found), filled=not found)
    return result


# --- Languages and users ---------------------------------------------------------------------------


UNKNOWN_LANGUAGE = "xx"


def _primary_language(labels: Labels) -> Labels:
    return (labels[0].split("-")[0] or UNKNOWN_LANGUAGE,)


def _languages_of(labels: Labels) -> Shown:
    code = labels[0]
    variants = "" if code == UNKNOWN_LANGUAGE else f",languageCode=@{code}-"
    return Shown(language_name(code), {"segment": f"languageCode=={code}{variants}"})


def _language_code(labels: Labels) -> Shown:
    code = labels[0]
    return Shown(language_label(code), {"segment": f"languageCode=={quote_plus(code)}"})


def _short_code(labels: Labels) -> Labels:
    """de-de is de: a country that is the language's own says nothing."""
    language, _, country = labels[0].partition("-")
    return (language or UNKNOWN_LANGUAGE,) if country in (language, "") else labels


async def _users(request: ApiRequest) -> Tables:
    """An id in two spellings is one user, named as first seen."""
    data = await read_aggregates(request, ["users", "user_names"])
    result = {}
    for cell, groups in data.items():
        names: dict[str, str] = {}
        visitors: dict[str, str] = {}
        for name, visitor in groups["user_names"].rows:
            names.setdefault(name.lower(), name)
            visitors[name.lower()] = visitor.zfill(16)

        def shown(
            labels: Labels, names: Mapping[str, str] = names, visitors: Mapping[str, str] = visitors
        ) -> Shown:
            name = names.get(labels[0], labels[0])
            return Shown(
                name, {"idvisitor": visitors.get(labels[0], ""), "segment": f"userId=={quote_plus(name)}"}
            )

        users = regroup(groups["users"], lambda labels: labels if labels[0] else None)
        result[cell] = visits_table(users, EMPTY, shown, day=cell.period.kind == "day")
    return result


# --- Devices ---------------------------------------------------------------------------------------


def _device_type(labels: Labels) -> Shown:
    at = int(labels[0])
    name = device_type_name(at)
    if at >= len(DEVICE_TYPES):
        return Shown(UNKNOWN, {"logo": icon("devices", "unknown")})
    word = DEVICE_TYPES[at]
    return Shown(
        name,
        {
            "segment": f"deviceType=={quote_plus(word)}",
            "logo": icon("devices", word.replace(" ", "_")),
        },
    )


def _with_every_type(table: Table) -> Table:
    """Types without visits are rows of zero visits."""
    present = {row.label for row in table.rows}
    missing = []
    for at, _ in enumerate(DEVICE_TYPES):
        one = _device_type((str(at),))
        if one.label not in present:
            missing.append(Row({"label": one.label, "nb_visits": 0}, dict(one.metadata)))
    return table.with_rows([*table.rows, *missing])


def _brand(labels: Labels) -> Shown:
    name = labels[0] or UNKNOWN
    return Shown(
        name,
        {"logo": icon("brand", name if labels[0] else ""), "segment": f"deviceBrand=={quote_plus(name)}"},
    )


def _model(labels: Labels) -> Shown:
    brand, model = labels
    label = f"{brand} - {model_name(model)}" if brand else model_name(model)
    return Shown(
        label,
        {"segment": f"deviceBrand=={quote_plus(brand or UNKNOWN)};deviceModel=={quote_plus(model)}"},
    )


def _os_family(labels: Labels) -> Shown:
    return Shown(labels[0], {"logo": icon("os", _FAMILY_ICONS.get(labels[0], ""))})


_FAMILY_ICONS = {
    "Android": "AND", "Windows": "WIN", "Mac": "MAC", "iOS": "IOS", "GNU/Linux": "LIN", "Chrome OS": "COS",
    "BlackBerry": "BLB", "Windows Mobile": "WMO", "Symbian": "SYM", "Unix": "UNX",
}  # fmt: skip


def _os_version(labels: Labels) -> Shown:
    code, version = labels
    return Shown(
        versioned(os_name(code), version),
        {
            "segment": f"operatingSystemCode=={code or 'UNK'};operatingSystemVersion=={quote_plus(version)}",
            "logo": icon("os", code),
        },
    )


def _browser(labels: Labels) -> Shown:
    code = labels[0]
    metadata: Columns = {"logo": icon("browsers", code)}
    if code in AVAILABLE_BROWSERS or code in ("", "UNK"):
        metadata["segment"] = f"browserCode=={quote_plus(code or 'UNK')}"
    return Shown(browser_name(code), metadata)


def _browser_version(labels: Labels) -> Shown:
    code, version = labels
    return Shown(
        versioned(browser_name(code), version),
        {
            "segment": f"browserCode=={quote_plus(code or 'UNK')};browserVersion=={quote_plus(version)}",
            "logo": icon("browsers", code),
        },
    )


def _engine(labels: Labels) -> Shown:
    return Shown(engine_label(labels[0]), {"segment": f"browserEngine=={quote_plus(labels[0])}"})


def _resolution(labels: Labels) -> Shown:
    name = labels[0] or "unknown"
    return Shown(name, {"segment": f"resolution=={quote_plus(name)}"})


def _plausible_resolution(labels: Labels) -> Labels | None:
    name = labels[0]
    return labels if name == "" or (re.fullmatch(r"\d+x\d+", name) and name != "0x0") else None


def _configuration(labels: Labels) -> Shown:
    system, browser, resolution = labels
    return Shown(f"{os_name(system)} / {browser_name(browser)} / {resolution or 'unknown'}")


PLUGINS = ("pdf", "flash", "java", "quicktime", "realplayer", "windowsmedia", "silverlight", "cookie")


async def _plugins(request: ApiRequest) -> Tables:
    data = await read_aggregates(request, ["plugins", "summary"])
    result = {}
    for cell, groups in data.items():
        counts = {labels[0]: metrics["nb_visits"] for labels, metrics in groups["plugins"].rows.items()}
        visits = groups["summary"].rows.get((), {}).get("nb_visits", 0.0)
        rows = [
            Row(
                {
                    "label": name.capitalize(),
                    "nb_visits": number(counts.get(name, 0.0)),
                    "nb_visits_percentage": quotient(counts.get(name, 0.0), visits, 4),
                }
            )
            for name in PLUGINS
        ]
        rows.sort(key=lambda row: -cell_number(row, "nb_visits"))
        result[cell] = Table(rows if visits else [])
    return result


# --- Time ------------------------------------------------------------------------------------------


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


async def _hour_data(request: ApiRequest, aggregate: str) -> dict[Cell, dict[str, Groups]]:
    """`server_hours` is an aggregate of the site's timezone."""
    if aggregate != "server_hours":
        return await read_aggregates(request, [aggregate, f"{aggregate}_goals"])
    result: dict[Cell, dict[str, Groups]] = {}
    for site_id in request.sites:
        site = request.config.site(site_id)
        zone = zone_of(site.timezone if site else "UTC").key
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


# --- Interest --------------------------------------------------------------------------------------

_DURATIONS: Sequence[Range] = (
    (0, 10), (11, 30), (31, 60), (60, 120), (120, 240), (240, 420), (420, 600), (600, 900), (900, 1800),
    (1801, None),
)  # fmt: skip
_PAGES: Sequence[Range] = (
    *((pages, pages) for pages in range(1, 6)), (6, 7), (8, 10), (11, 14), (15, 20), (21, None),
)  # fmt: skip
_COUNTS: Sequence[Range] = (
    *((visits, visits) for visits in range(1, 9)), (9, 14), (15, 25), (26, 50), (51, 100), (101, 200),
    (201, None),
)  # fmt: skip
_DAYS: Sequence[Range] = (
    *((days, days) for days in range(8)), (8, 14), (15, 30), (31, 60), (61, 120), (121, 364), (365, None),
)  # fmt: skip


def _duration_label(bounds: Range) -> str:
    low, high = bounds
    if high is None:
        return f"{low // 60}+ min"
    if high <= 60:
        return f"{low}–{high}s"
    return f"{low // 60}-{high // 60} min"


def _range_segment(name: str, bounds: Range) -> str:
    low, high = bounds
    if high is None:
        return f"{name}>={low}"
    return f"{name}=={low}" if low == high else f"{name}>={low};{name}<={high}"


def _count(count: float, cell: Cell) -> Scalar:
    """A day's counts are the database's decimals, which are texts."""
    return str(number(count)) if cell.period.kind == "day" else number(count)


def _range_report(
    aggregate: str,
    ranges: Sequence[Range],
    label: Callable[[Range], str],
    segment: str,
    shape: ReportShape,
) -> Method:
    async def cells(request: ApiRequest) -> Tables:
        data = await read_aggregates(request, [aggregate])
        result = {}
        for cell, groups in data.items():
            counts = [0.0] * len(ranges)
            for labels, metrics in groups[aggregate].rows.items():
                at = range_of(int(labels[0]), ranges)
                if at is not None:
                    counts[at] += metrics["nb_visits"]
            rows = [
                Row(
                    {"label": label(bounds), "nb_visits": _count(count, cell)},
                    {"segment": _range_segment(segment, bounds)},
                )
                for bounds, count in zip(ranges, counts, strict=True)
            ]
            result[cell] = Table(rows if groups[aggregate] else [])
        return result

    return Method(cells=cells, shape=shape)


async def _days_since_last(request: ApiRequest) -> Tables:
    data = await read_aggregates(request, ["days_since_last"])
    result = {}
    for cell, groups in data.items():
        new = 0.0
        counts = [0.0] * len(_DAYS)
        for (returning, days), metrics in groups["days_since_last"].rows.items():
            if returning == "0":
                new += metrics["nb_visits"]
                continue
            at = range_of(int(days), _DAYS)
            if at is not None:
                counts[at] += metrics["nb_visits"]
        rows = [Row({"label": "New visits", "nb_visits": _count(new, cell)}, {"segment": "visitorType==new"})]
        rows += [
            Row(
                {"label": range_label(bounds, "day", "days"), "nb_visits": _count(count, cell)},
                {"segment": _range_segment("daysSinceLastVisit", bounds)},
            )
            for bounds, count in zip(_DAYS, counts, strict=True)
        ]
        result[cell] = Table(rows if groups["days_since_last"] else [])
    return result


def _share(row: Row, table: Table) -> Scalar:
    total = sum(cell_number(other, "nb_visits") for other in table)
    return quotient(cell_number(row, "nb_visits"), total, 2)


_SHARE = ProcessedMetric(name="nb_visits_percentage", compute=_share, unit=Unit.PERCENT)


def _shape(name: str, dimension_name: str, **more: object) -> ReportShape:
    return ReportShape(name=name, dimension=dimension_name, **more)  # type: ignore[arg-type]


def _first(labels: Labels) -> Labels:
    return (labels[0],)


def _same(labels: Labels) -> Labels:
    return labels


METHODS: dict[str, Method] = {
    "UserCountry.getCountry": dimension(
        "locations", _first, _country, _shape("Country", "UserCountry_Country")
    ),
    "UserCountry.getContinent": dimension(
        "locations",
        lambda labels: (continent_code(labels[0]),),
        _continent,
        _shape("Continent", "UserCountry_Continent"),
    ),
    "UserCountry.getRegion": dimension(
        "locations", _known_region, _region, _shape("Region", "UserCountry_Region")
    ),
    "UserCountry.getCity": Method(cells=_cities, shape=_shape("City", "UserCountry_City")),
    "UserCountry.getNumberOfDistinctCountries": Method(
        cells=_distinct_countries, shape=ReportShape(name="Distinct countries")
    ),
    "UserLanguage.getLanguage": dimension(
        "languages",
        _primary_language,
        _languages_of,
        _shape("Browser language", "UserLanguage_Language"),
        with_goals=False,
    ),
    "UserLanguage.getLanguageCode": dimension(
        "languages",
        _short_code,
        _language_code,
        _shape("Language code", "UserLanguage_LanguageCode"),
        with_goals=False,
    ),
    "UserId.getUsers": Method(cells=_users, shape=_shape("User IDs", "UserId_UserId")),
    "DevicesDetection.getType": dimension(
        "device_types",
        _same,
        _device_type,
        _shape("Device type", "DevicesDetection_DeviceType"),
        _with_every_type,
    ),
    "DevicesDetection.getBrand": dimension(
        "device_brands", _same, _brand, _shape("Device brand", "DevicesDetection_DeviceBrand")
    ),
    "DevicesDetection.getModel": dimension(
        "device_models", _same, _model, _shape("Device model", "DevicesDetection_DeviceModel")
    ),
    "DevicesDetection.getOsFamilies": dimension(
        "systems",
        lambda labels: (os_family(labels[0]),),
        _os_family,
        _shape("Operating System families", "DevicesDetection_OsFamily"),
        with_goals=False,
    ),
    "DevicesDetection.getOsVersions": dimension(
        "system_versions",
        _same,
        _os_version,
        _shape("Operating System versions", "DevicesDetection_OsVersion"),
        with_goals=False,
    ),
    "DevicesDetection.getBrowsers": dimension(
        "browsers", _same, _browser, _shape("Browsers", "DevicesDetection_BrowserName")
    ),
    "DevicesDetection.getBrowserVersions": dimension(
        "browser_versions",
        _same,
        _browser_version,
        _shape("Browser version", "DevicesDetection_BrowserVersion"),
        with_goals=False,
    ),
    "DevicesDetection.getBrowserEngines": dimension(
        "engines",
        _same,
        _engine,
        _shape("Browser engines", "DevicesDetection_BrowserEngine"),
        with_goals=False,
    ),
    "Resolution.getResolution": dimension(
        "resolutions",
        _plausible_resolution,
        _resolution,
        _shape("Resolution", "Resolution_Resolution"),
        with_goals=False,
    ),
    "Resolution.getConfiguration": dimension(
        "configurations",
        _same,
        _configuration,
        _shape("Visitor Configuration", "Resolution_Configuration"),
        with_goals=False,
    ),
    "DevicePlugins.getPlugin": Method(
        cells=_plugins,
        shape=ReportShape(
            name="Browser Plugins",
            dimension="DevicePlugins_Plugin",
            units={"nb_visits_percentage": Unit.PERCENT},
        ),
    ),
    "VisitTime.getVisitInformationPerServerTime": _hours(
        "server_hours", "visitStartServerHour", "Visits per hour of the site's timezone", site_time=True
    ),
    "VisitTime.getVisitInformationPerLocalTime": _hours(
        "local_hours", "visitLocalHour", "Visits per local time", site_time=False
    ),
    "VisitTime.getByDayOfWeek": Method(
        cells=_days_of_week, shape=ReportShape(name="Visits by Day of Week", sort_column="", sort_stored=True)
    ),
    "VisitorInterest.getNumberOfVisitsPerVisitDuration": _range_report(
        "visits_per_duration",
        _DURATIONS,
        _duration_label,
        "visitDuration",
        _shape("Visit Duration", "VisitorInterest_VisitDuration", sort_column="", sort_stored=True),
    ),
    "VisitorInterest.getNumberOfVisitsPerPage": _range_report(
        "visits_per_page",
        _PAGES,
        lambda bounds: range_label(bounds, "page", "pages"),
        "actions",
        _shape("Pages per Visit", "VisitorInterest_PagesPerVisit", sort_column="", sort_stored=True),
    ),
    "VisitorInterest.getNumberOfVisitsByVisitCount": _range_report(
        "visits_by_count",
        _COUNTS,
        lambda bounds: range_label(bounds, "visit", "visits"),
        "visitCount",
        _shape(
            "Visits by visit number",
            "VisitorInterest_VisitsByVisitNumber",
            sort_column="",
            sort_stored=True,
            processed=(_SHARE,),
        ),
    ),
    "VisitorInterest.getNumberOfVisitsByDaysSinceLast": Method(
        cells=_days_since_last,
        shape=_shape(
            "Visits by days since last visit",
            "VisitorInterest_DaysSinceLastVisit",
            sort_column="",
            sort_stored=True,
        ),
    ),
}
