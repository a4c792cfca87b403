"""Visits by how long they were, how much they saw and how often the visitor came."""

from collections.abc import Callable, Sequence

from reporting.method import ApiRequest, Cell, Method, ProcessedMetric, ReportShape, Unit
from reporting.methods.breakdown import Tables, dimension_shape
from reporting.methods.goals import Range, range_label, range_of
from reporting.queries import read_aggregates
from reporting.rows import cell_number, number, quotient
from reporting.table import Row, Scalar, Table
from schemas.report_queries import Cut

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


def _by_range(ranges: Sequence[Range]) -> Cut:
    """Numbers as the place of their range from 1, or 0: the database adds up thousands of them."""
    bounds = ", ".join(f"({low}, {_HIGHEST if high is None else high})" for low, high in ranges)
    place = f"arrayFirstIndex(one -> toInt64(d.l0) BETWEEN one.1 AND one.2, [{bounds}])"
    return Cut(labels=(f"toString({place})",))


_HIGHEST = 2**63 - 1


def _range_report(
    aggregate: str,
    ranges: Sequence[Range],
    label: Callable[[Range], str],
    segment: str,
    shape: ReportShape,
) -> Method:
    cut = _by_range(ranges)

    async def cells(request: ApiRequest) -> Tables:
        data = await read_aggregates(request, [aggregate], cuts={aggregate: cut})
        result = {}
        for cell, groups in data.items():
            counts = [0.0] * len(ranges)
            for (place,), metrics in groups[aggregate].rows.items():
                if place != "0":
                    counts[int(place) - 1] += metrics["nb_visits"]
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


METHODS: dict[str, Method] = {
    "VisitorInterest.getNumberOfVisitsPerVisitDuration": _range_report(
        "visits_per_duration",
        _DURATIONS,
        _duration_label,
        "visitDuration",
        dimension_shape("Visit Duration", "VisitorInterest_VisitDuration", sort_column="", sort_stored=True),
    ),
    "VisitorInterest.getNumberOfVisitsPerPage": _range_report(
        "visits_per_page",
        _PAGES,
        lambda bounds: range_label(bounds, "page", "pages"),
        "actions",
        dimension_shape("Pages per Visit", "VisitorInterest_PagesPerVisit", sort_column="", sort_stored=True),
    ),
    "VisitorInterest.getNumberOfVisitsByVisitCount": _range_report(
        "visits_by_count",
        _COUNTS,
        lambda bounds: range_label(bounds, "visit", "visits"),
        "visitCount",
        dimension_shape(
            "Visits by visit number",
            "VisitorInterest_VisitsByVisitNumber",
            sort_column="",
            sort_stored=True,
            processed=(_SHARE,),
        ),
    ),
    "VisitorInterest.getNumberOfVisitsByDaysSinceLast": Method(
        cells=_days_since_last,
        shape=dimension_shape(
            "Visits by days since last visit",
            "VisitorInterest_DaysSinceLastVisit",
            sort_column="",
            sort_stored=True,
        ),
    ),
}
