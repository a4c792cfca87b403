"""compare=1: every row gets the same row of other dates and segments, with the change."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from itertools import count
from urllib.parse import unquote

from reporting.errors import ApiError
from reporting.generic_filters import number, php_round
from reporting.method import ApiRequest, ReportShape
from reporting.periods import Period, names_several, parse_periods
from reporting.table import Columns, Row, Table, Value
from reporting.wording import grouped, title_period


@dataclass(frozen=True)
class Series:
    """One column of a comparison. `date` is the text the client sent."""

    segment: str
    segment_name: str
    period: Period
    kind: str
    date: str
    language: str
    dates: tuple[Period, ...] = ()
    """Of a map of dates: all its periods; they are compared by their place."""

    @property
    def series_name(self) -> str:
        whole = self.period
        if self.dates:
            whole = Period("range", self.dates[0].start, self.dates[-1].end)
        return f"({title_period(whole, self.language)}) ({self.segment_name})"

    def at(self, place: int) -> "Series":
        """The series at one place of a map; where its dates have ended, all of them."""
        if place < len(self.dates):
            period = self.dates[place]
            return replace(self, period=period, date=period.key)
        whole = Period("range", self.dates[0].start, self.dates[-1].end)
        return replace(self, period=whole, date=whole.key)


def comparison_series(request: ApiRequest) -> tuple[Series, ...]:
    """The request's own period and segment first; segments vary fastest. Raises ApiError."""
    dates = request.parameters.texts("compareDates")
    kinds = request.parameters.texts("comparePeriods")
    if len(dates) != len(kinds):
        raise ApiError(
            "compareDates query parameter length must match comparePeriods query parameter length.", 400
        )
    stored = {segment.definition: segment.name for segment in request.config.segments.values()}

    def named(segment: str) -> str:
        plain = unquote(segment)
        return "All visits" if not plain else stored.get(plain, plain)

    today = request.now.date()
    several = request.several_periods
    compared = [(request.periods, request.parameters.text("date"))]
    for kind, date in zip(kinds, dates, strict=True):
        if names_several(kind, date) != several:
            own, other = ("multiple", "single") if several else ("single", "multiple")
            raise ApiError(
                f"Cannot compare: original request is {own} period and cannot be compared with"
                f" {other} periods."
            )
        compared.append((parse_periods(kind, date, today), date))
    segments = [request.segment, *request.parameters.texts("compareSegments")]
    return tuple(
        Series(
            segment, named(segment), periods[0], periods[0].kind, date, request.language,
            periods if several else (),
        )
        for periods, date in compared
        for segment in segments
    )  # fmt: skip


def _percentage(current: Value, past: Value, language: str) -> str:
    """`+1,400%`, `-85.7%`; from nothing to something is `+100%`."""
    now, before = number(current) or 0, number(past) or 0
    if before == 0:
        change: float | int = 0 if now == 0 else 100
    else:
        change = php_round((now - before) / before * 100, 1)
    return f"{'+' if change >= 0 else ''}{grouped(change, language)}%"


def changes_of(current: Columns, past: Columns, language: str) -> Columns:
    """Of each number its `_change` against the past, and `_change_from`, the other way round."""
    changes: Columns = {}
    for name, value in current.items():
        if name == "label" or number(value) is None:
            continue
        changes[f"{name}_change"] = _percentage(value, past.get(name), language)
        changes[f"{name}_change_from"] = _percentage(past.get(name), value, language)
    return changes


def _zeros(columns: Columns) -> Columns:
    return {name: 0 for name, value in columns.items() if name != "label" and number(value) is not None}


def own_series(series: Sequence[Series]) -> int:
    """How many of the series are of the request's own dates: one for each segment."""
    return sum(one.period == series[0].period and one.date == series[0].date for one in series)


def with_comparisons(
    table: Table,
    others: Sequence[Table],
    series: Sequence[Series],
    shape: ReportShape,
    *,
    inverted: bool,
    temporary: Collection[str] = (),
    always: Sequence[str] = (),
    ended: bool = False,
) -> Table:
    """`others` are the tables of series[1:]; `temporary` columns are those that the report itself does not
    show, `always` those that a series shows even when it has nothing (a map of dates, some without visits).
    `ended`: the table has no series of its own here. Changes are against the first date with the same
    segment, or the other way round when `inverted`; rows of sub tables are compared without them."""
    width = own_series(series)

    # CSV shows the number of the comparison table among the tables of a request: Matomo makes one per series,
    # and one more each for the totals of a report with a dimension.
    numbers = count(1 + len(series) * (1 if table.simple else 2))

    def compare(
        row: Row, found: Sequence[Row | None], *, top: bool, number_of_table: int, tables: Sequence[bool]
    ) -> Row:
        """`tables`: which of the others have a table at this place at all."""
        partners: list[Row | None] = [*found] if ended else [row, *found]
        columns: list[Columns] = []
        for partner in partners:
            held = partner.columns if partner is not None else _zeros(row.columns)
            hidden = ("label", "goals", *(() if partner is None else temporary))
            columns.append(
                {name: value for name, value in held.items() if name not in hidden and value is not None}
            )
        compared: list[Row] = []
        for index, (one, partner) in enumerate(zip(series, partners, strict=True)):
            if partner is None and not (top or (shape.recursive and index and tables[index - 1])):
                continue
            changes: Columns = {}
            if not top or ended:
                pass
            elif not inverted and index >= width:
                changes = changes_of(columns[index], columns[index % width], one.language)
            elif inverted and index < width and len(series) > width:
                changes = changes_of(columns[index], columns[index + width], one.language)
            shown: Columns = {**columns[index], **changes}
            shown |= {name: 0 for name in always if name not in shown}
            compared.append(Row(shown, _metadata(one, partner, row, shape, first=index == 0)))
        early = shape.segment_early or (shape.folder_segment_early and row.subtable is not None)
        late = {} if early else {"segment": row.metadata.get("segment")}
        metadata: Columns = {name: value for name, value in row.metadata.items() if name not in late}
        metadata["comparisons"] = Table(compared, metadata={"number": number_of_table})
        if "segment" in row.metadata and late:
            metadata["segment"] = row.metadata["segment"]
        below = row.subtable
        if below is not None:
            below = compare_table(below, [None if one is None else one.subtable for one in found], top=False)
        return row.with_metadata(metadata).with_subtable(below)

    def compare_table(part: Table, partners: Sequence[Table | None], *, top: bool) -> Table:
        by_label = [{str(row.label): row for row in other} if other else {} for other in partners]
        tables = [other is not None for other in partners]
        # all rows of a table are numbered before those below them
        own = iter([next(numbers) for _ in part])
        return part.map_rows(
            lambda row: compare(
                row,
                [held.get(str(row.label)) for held in by_label],
                top=top,
                number_of_table=next(own),
                tables=tables,
            )
        )

    return compare_table(table, others, top=True)


def _metadata(one: Series, partner: Row | None, row: Row, shape: ReportShape, *, first: bool) -> Columns:
    metadata: Columns = {
        "compareSegment": one.segment,
        "compareSegmentPretty": one.segment_name,
        "comparePeriod": one.kind,
        "compareDate": one.date,
        "comparePeriodPretty": title_period(one.period, one.language),
        "compareSeriesPretty": one.series_name,
        "idsubdatatable": partner.subtable_id if partner is not None and partner.subtable_id else -1,
    }
    segment = row.metadata.get("segment")
    if isinstance(segment, str):
        early = shape.segment_early or (shape.folder_segment_early and row.subtable is not None)
        joined = early and one.segment and not first
        metadata["segment"] = f"{one.segment};{segment}" if joined else segment
    return metadata
