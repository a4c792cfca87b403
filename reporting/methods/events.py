"""Events and Contents: reports of two dimensions, one below the other."""

from collections.abc import Callable, Mapping

from reporting.errors import ApiError
from reporting.method import ApiRequest, Cell, Method, ReportShape, Unit
from reporting.queries import Groups, Labels, Metrics, read_aggregates
from reporting.rows import (
    UNIQUE,
    cell_number,
    decimal_texts,
    find_subtable,
    number,
    numbered,
    ratio_metric,
    regroup,
    rounded,
    segment_value,
)
from reporting.table import Columns, Row, Table

Tables = Mapping[Cell, Table]

DIMENSIONS = ("eventCategory", "eventAction", "eventName")
_UNDEFINED = {"eventCategory": "Event Category not defined", "eventAction": "Event Action not defined",
              "eventName": "Event Name not defined"}  # fmt: skip
_NAMES = {"eventCategory": "Event Categories", "eventAction": "Event Actions", "eventName": "Event Names"}
_SECOND = {
    "eventCategory": ("eventAction", "eventName"), "eventAction": ("eventName", "eventCategory"),
    "eventName": ("eventAction", "eventCategory"),
}  # fmt: skip
_DEFAULT_SECOND = {first: seconds[0] for first, seconds in _SECOND.items()}
_METADATA = {"eventCategory": "Events_EventCategory", "eventAction": "Events_EventAction",
             "eventName": "Events_EventName"}  # fmt: skip

EVENT_VALUE = ratio_metric("avg_event_value", "sum_event_value", "nb_events_with_value", 2, Unit.NUMBER)


def _event_columns(metrics: Metrics, *, day: bool) -> Columns:
    valued = metrics["nb_events_with_value"]
    columns: Columns = {
        "nb_visits": number(metrics["nb_visits"]),
        "nb_events": number(metrics["nb_events"]),
        "nb_events_with_value": number(valued),
        "sum_event_value": rounded(metrics["sum_event_value"], 2),
        "min_event_value": rounded(metrics["min_event_value"], 2) if valued else None,
        "max_event_value": rounded(metrics["max_event_value"], 2) if valued else None,
    }
    if day:
        columns = decimal_texts(columns, metrics, ("nb_visits", "nb_events", "nb_events_with_value"))
    return _with_uniques(metrics, columns, day=day)


def _with_uniques(metrics: Metrics, columns: Columns, *, day: bool) -> Columns:
    uniques = number(metrics["nb_uniq_visitors"])
    if day:
        return {"nb_uniq_visitors": uniques, **columns}
    return {**columns, UNIQUE["nb_uniq_visitors"]: uniques}


def _content_columns(metrics: Metrics, *, day: bool) -> Columns:
    names = ("nb_visits", "nb_impressions", "nb_interactions")
    return _with_uniques(metrics, {name: number(metrics[name]) for name in names}, day=day)


def _largest_first(item: tuple[Labels, Metrics]) -> tuple[float, tuple[str, ...]]:
    labels, metrics = item
    return -metrics["nb_visits"], tuple(label.lower() for label in reversed(labels))


def two_levels(
    groups: Groups,
    first: int,
    second: int,
    *,
    columns: Callable[[Metrics], Columns],
    label: Callable[[int, str], str],
    metadata: Callable[[int, str], Columns],
    hidden_below: str | None = None,
) -> Table:
    """Rows by the label at index `first`, each with the labels at `second` below it but `hidden_below`.

    Uniques and visits of a row are the sums of its parts: one query gives both levels. The stored order is
    that of the largest parts."""
    groups = Groups(dict(sorted(groups.rows.items(), key=_largest_first)))
    top = regroup(groups, lambda labels: (labels[first],))
    pairs = regroup(groups, lambda labels: (labels[first], labels[second]))
    below: dict[str, list[tuple[str, Metrics]]] = {}
    for (upper, lower), metrics in pairs.rows.items():
        if lower != hidden_below:
            below.setdefault(upper, []).append((lower, metrics))

    def row(level: int, name: str, metrics: Metrics) -> Row:
        return Row({"label": label(level, name), **columns(metrics)}, metadata(level, name))

    rows = []
    for (name,), metrics in top.rows.items():
        made = row(0, name, metrics)
        if name in below:
            made.subtable = Table([row(1, inner, part) for inner, part in below[name]])
        rows.append(made)
    return numbered(Table(rows))


def _event_tables(data: Mapping[Cell, Mapping[str, Groups]], first: str, second: str) -> dict[Cell, Table]:
    at = (DIMENSIONS.index(first), DIMENSIONS.index(second))
    names = (first, second)
    result = {}
    for cell, groups in data.items():
        day = cell.period.kind == "day"
        of_cell = groups["events"]
        result[cell] = two_levels(
            of_cell,
            at[0],
            at[1],
            columns=lambda metrics, day=day: _event_columns(metrics, day=day),  # type: ignore[misc]
            label=lambda level, name: name or _UNDEFINED[names[level]],
            metadata=lambda level, name: (
                {"segment": f"{names[level]}=={segment_value(name)}"} if name else {}
            ),
            hidden_below="" if second == "eventName" else None,
        )
    return result


def _events(first: str) -> Method:
    async def cells(request: ApiRequest) -> Tables:
        second = request.parameters.text("secondaryDimension") or _DEFAULT_SECOND[first]
        if second not in DIMENSIONS or second == first:
            allowed = ", ".join(_SECOND[first])
            raise ApiError(
                f"Secondary dimension '{second}' is not valid for the API {request.method.split('.')[1]}."
                f" Use one of: {allowed}"
            )
        tables = _event_tables(await read_aggregates(request, ["events"]), first, second)
        if request.parameters.flag("flat"):
            # no row of a flat report has a segment, also where nothing is below it
            tables = {
                cell: table.map_rows(lambda row: row.with_metadata({})) for cell, table in tables.items()
            }
        return _part_of(request, tables)

    return Method(
        cells=cells,
        shape=ReportShape(
            name=_NAMES[first],
            row_limit="events",
            dimension=_METADATA[first],
            subtable_dimension=_METADATA[_DEFAULT_SECOND[first]],
            processed=(EVENT_VALUE,),
        ),
    )


def _part_of(request: ApiRequest, tables: Mapping[Cell, Table]) -> Tables:
    wanted = request.parameters.integer("idSubtable")
    if wanted is None or wanted <= 0:
        return tables
    return {cell: find_subtable(table, wanted) or Table() for cell, table in tables.items()}


def _event_part(first: str, second: str) -> Method:
    """The sub table of one row of `first`, by `second`."""

    async def cells(request: ApiRequest) -> Tables:
        wanted = request.parameters.integer("idSubtable", 0)
        data = await read_aggregates(request, ["events"])
        return {
            cell: find_subtable(table, wanted) or Table()
            for cell, table in _event_tables(data, first, second).items()
        }

    return Method(
        cells=cells,
        required=("idSubtable",),
        shape=ReportShape(
            name=_NAMES[second],
            row_limit="events",
            dimension=_METADATA[second],
            processed=(EVENT_VALUE,) if second == _DEFAULT_SECOND[first] else (),
        ),
    )


_RATE = ratio_metric("interaction_rate", "nb_interactions", "nb_impressions", 4, Unit.PERCENT)
_CONTENT_SEGMENTS = ("contentName", "contentPiece")
_CONTENT_DIMENSIONS = ("Contents_ContentName", "Contents_ContentPiece")
_CONTENT_UNDEFINED = ("Content Name not defined", "Content Piece not defined")


def _by_visits_and_label(table: Table) -> Table:
    def order(row: Row) -> tuple[float, str]:
        return -cell_number(row, "nb_visits"), str(row.label).lower()

    below = [
        row if row.subtable is None else row.with_subtable(_by_visits_and_label(row.subtable))
        for row in table.rows
    ]
    return numbered(table.with_rows(sorted(below, key=order)))


def _as_parts(row: Row) -> Row:
    """In a flat report the rows below carry the segment of their row."""
    if row.subtable is None:
        return row
    return row.with_subtable(row.subtable.map_rows(lambda inner: inner.with_metadata(row.metadata)))


def _contents(first: int) -> Method:
    order = (first, 1 - first)

    async def cells(request: ApiRequest) -> Tables:
        data = await read_aggregates(request, ["contents"])
        tables = {}
        for cell, groups in data.items():
            day = cell.period.kind == "day"
            table = two_levels(
                groups["contents"],
                *order,
                columns=lambda metrics, day=day: _content_columns(metrics, day=day),  # type: ignore[misc]
                hidden_below="" if first == 0 else None,
                label=lambda level, name: name or _CONTENT_UNDEFINED[order[level]],
                metadata=lambda level, name: (
                    {"segment": f"{_CONTENT_SEGMENTS[order[level]]}=={segment_value(name)}"} if name else {}
                ),
            )
            tables[cell] = _by_visits_and_label(table)
        if request.parameters.flag("flat"):
            return {cell: table.map_rows(_as_parts) for cell, table in tables.items()}
        # the names and pieces of contents are not expanded; their sub tables are asked for by number
        if not request.parameters.text("idSubtable") and not request.parameters.text("pivotBy"):
            return {
                cell: table.map_rows(lambda row: row.with_subtable(None)) for cell, table in tables.items()
            }
        return _part_of(request, tables)

    return Method(
        cells=cells,
        shape=ReportShape(
            name=("Content Name", "Content Piece")[first],
            row_limit="contents",
            dimension=_CONTENT_DIMENSIONS[order[0]],
            subtable_dimension=_CONTENT_DIMENSIONS[order[1]],
            recursive=True,
            processed=(_RATE,),
        ),
    )


METHODS: dict[str, Method] = {
    "Events.getCategory": _events("eventCategory"),
    "Events.getAction": _events("eventAction"),
    "Events.getName": _events("eventName"),
    "Events.getActionFromCategoryId": _event_part("eventCategory", "eventAction"),
    "Events.getNameFromCategoryId": _event_part("eventCategory", "eventName"),
    "Events.getCategoryFromActionId": _event_part("eventAction", "eventCategory"),
    "Events.getNameFromActionId": _event_part("eventAction", "eventName"),
    "Events.getActionFromNameId": _event_part("eventName", "eventAction"),
    "Events.getCategoryFromNameId": _event_part("eventName", "eventCategory"),
    "Contents.getContentNames": _contents(0),
    "Contents.getContentPieces": _contents(1),
}
