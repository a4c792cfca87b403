"""The generic filters of the Reporting API: pure functions from a table to a table.

Each does one thing a parameter asks for; `reporting.postprocess` puts them in Matomo's order. Unless noted,
a filter works on the sub tables that are loaded, too (they are loaded for expanded=1 and flat=1).
"""

import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

import re2

from reporting.errors import ApiError
from reporting.method import ProcessedMetric, ReportShape, Unit
from reporting.table import Columns, Row, Scalar, Table, Value

OTHERS = "Others"


def number(value: Value) -> float | int | None:
    """The number a cell holds; texts of numbers count, everything else is None."""
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, (int, float)):
        return value
    if isinstance(value, str):
        try:
            return int(value) if re.fullmatch(r"[+-]?\d+", value) else float(value.rstrip("%"))
        except ValueError:
            return None
    return None


def quotient(dividend: Value, divisor: Value, digits: int = 2) -> float | int:
    """Rounded half up as PHP does; 0 without a divisor."""
    top, bottom = number(dividend) or 0, number(divisor) or 0
    if not bottom:
        return 0
    return php_round(top / bottom, digits)


def php_round(value: float, digits: int) -> float | int:
    """Rounds half away from zero, on the decimal that is shown rather than on the binary value."""
    if not abs(value) < 1e15:  # no decimals to round, as a visitor's revenue of 1e300
        return value
    scaled = value * 10**digits
    nearest = float(f"{scaled:.15g}")
    whole = int(abs(nearest) + 0.5)
    result = whole / 10**digits * (1 if value >= 0 else -1)
    return int(result) if digits <= 0 or result == int(result) else result


def with_subtables(table: Table, change: Callable[[Table], Table]) -> Table:
    """`change` applied to the table and then to every loaded sub table below it."""
    changed = change(table)

    def descend(row: Row) -> Row:
        if row.subtable is None:
            return row
        return row.with_subtable(with_subtables(row.subtable, change))

    return changed.map_rows(descend)


# Selecting rows


def _matcher(pattern: str) -> Callable[[str], bool]:
    """A case-insensitive search; a pattern that is no regular expression is searched as text.

    re2 runs in linear time, so no pattern of a client can stall the process."""
    options = re2.Options()
    options.case_sensitive = False
    options.log_errors = False
    options.max_mem = 1 << 20
    try:
        compiled = re2.compile(pattern, options)
    except re2.error:
        compiled = re2.compile(re2.escape(pattern), options)
    return lambda text: compiled.search(text) is not None


def _cell_text(row: Row, column: str) -> str:
    value = row.columns.get(column, row.metadata.get(column))
    return "" if value is None or isinstance(value, (Mapping, list, Table)) else str(value)


def keep_matching(table: Table, columns: Sequence[str], pattern: str) -> Table:
    """filter_pattern: rows of which one of the columns matches."""
    matches = _matcher(pattern)

    def keep(row: Row) -> bool:
        return any(matches(_cell_text(row, column)) for column in columns)

    def change(part: Table) -> Table:
        summary = part.summary if part.summary is not None and keep(part.summary) else None
        return part.with_rows([row for row in part.rows if keep(row)], summary)

    return with_subtables(table, change)


def keep_matching_branches(table: Table, column: str, pattern: str) -> Table:
    """filter_pattern_recursive: rows that match or have a descendant that does."""
    matches = _matcher(pattern)

    def prune(part: Table) -> Table:
        kept: list[Row] = []
        for row in part.rows:
            below = prune(row.subtable) if row.subtable is not None else None
            if (below is not None and len(below)) or matches(_cell_text(row, column)):
                kept.append(row.with_subtable(below))
        summary = part.summary if part.summary and matches(_cell_text(part.summary, column)) else None
        return part.with_rows(kept, summary)

    return prune(table)


_LOW_POPULATION = 0.02
"""Matomo's default share; with the few rows of most recordings it drops only those without any."""


def exclude_low_population(table: Table, column: str, minimum: float) -> Table:
    """filter_excludelowpop: drops rows with less than `minimum`; without one (0), with less than a share of
    the sum of its table's rows."""

    def change(part: Table) -> Table:
        values = [number(row.columns.get(column)) or 0 for row in part.rows]
        least = minimum or _LOW_POPULATION * sum(values)
        return part.with_rows([row for row, value in zip(part.rows, values, strict=True) if value >= least])

    return with_subtables(table, change)


def limit(table: Table, offset: int, count: int) -> Table:
    """filter_offset and filter_limit; negative keeps everything. The summary row is the last."""
    if offset <= 0 and count < 0:
        return table

    def change(part: Table) -> Table:
        rows = list(part)
        start = max(0, offset)
        kept = rows[start:] if count < 0 else rows[start : start + count]
        if part.summary is not None and kept and kept[-1] is part.summary:
            return part.with_rows(kept[:-1], part.summary)
        return part.with_rows(kept, None)

    return with_subtables(table, change)


# Sorting


_CHUNK = re.compile(rb"(\d+)")
_KEYS = tuple((byte, 0) for byte in range(256))


def natural_key(text: str) -> tuple[tuple[int, int], ...]:
    """PHP's strnatcasecmp: bytes in upper case, runs of digits as numbers where digits stand in ASCII, blanks
    don't count."""
    key: list[tuple[int, int]] = []
    for position, part in enumerate(_CHUNK.split(b"".join(text.encode("utf-8", "replace").upper().split()))):
        if position % 2:
            key.append((ord("0"), int(part)))
        else:
            key += [_KEYS[byte] for byte in part]
    return tuple(key)


def _sort_value(value: Value) -> tuple[int, Any]:
    amount = number(value)
    if amount is not None:
        return (0, amount)
    return (1, natural_key(value if isinstance(value, str) else ""))


def sort_rows(rows: Sequence[Row], column: str, descending: bool) -> list[Row]:
    """By the column; rows without it last (first when ascending). Equal rows by visits, then by label in
    the other direction; rows still equal keep their order."""
    present = {name for row in rows for name in row.columns}
    ordered = list(rows)
    if "label" in present and column != "label":
        ordered.sort(key=lambda row: _text_key(row.columns.get("label")), reverse=not descending)
    if column != "label":
        for second in ("nb_visits",):
            if second in present and second != column:
                ordered.sort(key=lambda row: number(row.columns.get(second)) or 0, reverse=descending)
    if column == "label":
        ordered.sort(key=lambda row: _text_key(row.columns.get("label")), reverse=descending)
        return ordered
    have = [row for row in ordered if _sortable(row.columns.get(column))]
    lack = [row for row in ordered if not _sortable(row.columns.get(column))]
    have.sort(key=lambda row: _sort_value(row.columns.get(column)), reverse=descending)
    return have + lack if descending else lack + have


def _sortable(value: Value) -> bool:
    return isinstance(value, (bool, int, float, str))


def _text_key(value: Value) -> tuple[tuple[int, int], ...]:
    return natural_key(str(value)) if isinstance(value, (str, int, float)) else ()


def sort(table: Table, column: str, order: str, shape: ReportShape) -> Table:
    """filter_sort_column and filter_sort_order. A column that no row has gives the default order."""

    def change(part: Table) -> Table:
        wanted = column
        if shape.subtables_by_label and part is not table and column == shape.sort_column:
            return part.with_rows(sort_rows(part.rows, "label", False))
        if not any(wanted in row.columns for row in part.rows):
            wanted = shape.sort_column
            if not wanted or (shape.sort_stored and column == shape.sort_column):
                return part
        return part.with_rows(sort_rows(part.rows, wanted, order != "asc"))

    return with_subtables(table, change)


# Summing up


def _combine(name: str, left: Value, right: Value) -> Value:
    if isinstance(left, Mapping) or isinstance(right, Mapping):
        first = left if isinstance(left, Mapping) else {}
        second = right if isinstance(right, Mapping) else {}
        return {
            key: _combine(str(key), first.get(key), second.get(key))
            for key in dict.fromkeys([*first, *second])
        }
    one, two = number(left), number(right)
    if name.startswith("min_"):
        if one is None or two is None:
            return left if two is None else right
        return left if one <= two else right
    if name.startswith("max_"):
        if one is None or two is None:
            return left if two is None else right
        return left if one >= two else right
    if one is None or two is None:
        return left if two is None else right
    return one + two


def sum_rows(rows: Iterable[Row], skipped: Collection[str] = ()) -> Columns:
    """The columns of all rows together: maxima of max_*, minima of min_*, sums of the rest; no label."""
    total: Columns = {}
    for row in rows:
        for name, value in row.columns.items():
            if name == "label" or name in skipped:
                continue
            if name not in total:
                total[name] = value
            else:
                total[name] = _combine(name, total[name], value)
    return {
        name: value
        for name, value in total.items()
        if number(value) is not None or isinstance(value, Mapping) or value is None
    }


def truncate(table: Table, keep: int, processed: Collection[str], others: str = OTHERS) -> Table:
    """filter_truncate: the first `keep` rows, and one row with the rest when there is more than one more."""

    def change(part: Table) -> Table:
        rows = list(part)
        if keep < 0 or len(rows) <= keep + 1:
            return part
        summed = sum_rows(rows[keep:], processed)
        return part.with_rows(rows[:keep], Row({"label": others, **summed}))

    return with_subtables(table, change)


# Columns


def compute_processed(table: Table, metrics: Sequence[ProcessedMetric], whole: Table | None = None) -> Table:
    """Adds the report's processed metrics after the other columns, in their order. `whole`: the table before
    rows were left out, which shares are taken of."""
    metrics = [metric for metric in metrics if metric.applies is None or metric.applies(table)]
    if not metrics:
        return table

    def change(part: Table) -> Table:
        chosen = [metric for metric in metrics if part is table or not metric.first_level_only]
        all_rows = whole if part is table and whole is not None else part

        def extend(row: Row) -> Row:
            if not row.columns:
                return row
            columns = dict(row.columns)
            uncomputed = row.with_columns(columns)
            computed = {metric.name: metric.compute(uncomputed, all_rows) for metric in chosen}
            for name, value in computed.items():
                if value is not None or name not in columns:
                    columns[name] = value
            return row.with_columns(columns)

        return part.map_rows(extend)

    return with_subtables(table, change)


VISIT_METRICS: tuple[ProcessedMetric, ...] = (
    ProcessedMetric(
        name="conversion_rate",
        compute=lambda row, _: quotient(
            row.columns.get("nb_visits_converted"), row.columns.get("nb_visits"), 4
        ),
        unit=Unit.PERCENT,
    ),
    ProcessedMetric(
        name="nb_actions_per_visit",
        compute=lambda row, _: quotient(row.columns.get("nb_actions"), row.columns.get("nb_visits"), 1),
    ),
    ProcessedMetric(
        name="avg_time_on_site",
        compute=lambda row, _: quotient(row.columns.get("sum_visit_length"), row.columns.get("nb_visits"), 0),
        unit=Unit.SECONDS,
    ),
    ProcessedMetric(
        name="bounce_rate",
        compute=lambda row, _: quotient(row.columns.get("bounce_count"), row.columns.get("nb_visits"), 2),
        unit=Unit.PERCENT,
    ),
)


def _of_goal(row: Row, goal: str, name: str) -> Value:
    goals = row.columns.get("goals")
    found = goals.get(f"idgoal={goal}") if isinstance(goals, Mapping) else None
    return found.get(name, 0) if isinstance(found, Mapping) else 0


def _goal_metrics(goal: str, *, whole: bool) -> tuple[ProcessedMetric, ...]:
    """The goal's conversion rate; `whole` adds its conversions and revenue, of orders and carts also what was
    in them."""

    def plain(name: str, digits: int) -> Callable[[Row, Table], Scalar]:
        return lambda row, _: php_round(float(number(_of_goal(row, goal, name)) or 0), digits)

    def ratio(amount: str, digits: int) -> Callable[[Row, Table], Scalar]:
        return lambda row, _: quotient(_of_goal(row, goal, amount), row.columns.get("nb_visits"), digits)

    def order_average(row: Row, _: Table) -> Scalar:
        return quotient(_of_goal(row, goal, "revenue"), _of_goal(row, goal, "nb_conversions"), 2)

    prefix = f"goal_{goal}_"
    metrics = [
        ProcessedMetric(
            name=prefix + "conversion_rate", compute=ratio("nb_conversions", 4), unit=Unit.PERCENT
        )
    ]
    if whole:
        metrics += [
            ProcessedMetric(name=prefix + "nb_conversions", compute=plain("nb_conversions", 0)),
            ProcessedMetric(name=prefix + "revenue_per_visit", compute=ratio("revenue", 2), unit=Unit.MONEY),
            ProcessedMetric(name=prefix + "revenue", compute=plain("revenue", 2), unit=Unit.MONEY),
        ]
    if whole and goal.startswith("ecommerce"):
        metrics += [
            ProcessedMetric(name=prefix + "avg_order_revenue", compute=order_average, unit=Unit.MONEY),
            ProcessedMetric(name=prefix + "items", compute=plain("items", 0)),
        ]
    return tuple(metrics)


def _revenue_per_visit(row: Row, _: Table) -> Scalar:
    """Of all goals but carts, else the row's own revenue. Cents of a revenue don't count, as in Matomo."""
    goals = row.columns.get("goals")
    revenue = 0
    if isinstance(goals, Mapping):
        revenue = sum(
            int(number(one.get("revenue")) or 0)
            for name, one in goals.items()
            if isinstance(one, Mapping) and name != "idgoal=ecommerceAbandonedCart"
        )
    revenue = revenue or int(number(row.columns.get("revenue")) or 0)
    return quotient(revenue, row.columns.get("nb_visits"), 2)


def visit_metrics(table: Table, goals: str | None) -> tuple[ProcessedMetric, ...]:
    """What filter_add_columns_when_show_all_columns and ..._show_all_goals add to a report of visits.

    `goals`: None for the former; -1 for rates of all goals, else the goal whose columns are added."""
    if goals is None:
        return VISIT_METRICS
    per_visit = ProcessedMetric(
        name="revenue_per_visit",
        compute=_revenue_per_visit,
        unit=Unit.MONEY,
    )
    if goals.isdecimal() or goals.startswith("ecommerce"):
        return (*VISIT_METRICS, per_visit, *_goal_metrics(goals, whole=True))
    found: dict[str, None] = {}
    for row in table:
        held = row.columns.get("goals")
        if isinstance(held, Mapping):
            found.update(dict.fromkeys(key.removeprefix("idgoal=") for key in held))
    rates = (metric for goal in found for metric in _goal_metrics(goal, whole=False))
    return (*VISIT_METRICS, per_visit, *rates)


def drop_rows_without_visits(table: Table) -> Table:
    def change(part: Table) -> Table:
        return part.with_rows(
            row
            for row in part.rows
            if (number(row.columns.get("nb_visits")) or 0) or (number(row.columns.get("nb_actions")) or 0)
        )

    return with_subtables(table, change)


def select_columns(table: Table, shown: Sequence[str], hidden: Sequence[str], recursive: bool) -> Table:
    """showColumns and hideColumns. The label always stays when columns are chosen, but may be hidden."""

    def wanted(name: str) -> bool:
        return name not in hidden and (not shown or name in shown or name == "label")

    def change_row(row: Row) -> Row:
        columns = {name: value for name, value in row.columns.items() if wanted(name)}
        if recursive:
            columns = {name: _without(value, hidden) for name, value in columns.items()}
        return row.with_columns(columns)

    return with_subtables(table, lambda part: part.map_rows(change_row))


def _without(value: Value, hidden: Sequence[str]) -> Value:
    """A nested value without the hidden keys at any depth (Live's action details)."""
    if isinstance(value, Mapping):
        return {name: _without(inner, hidden) for name, inner in value.items() if name not in hidden}
    if isinstance(value, list):
        return [_without(inner, hidden) for inner in value]
    return value


def drop_columns(table: Table, names: Collection[str]) -> Table:
    if not names:
        return table

    def change_row(row: Row) -> Row:
        return row.with_columns({name: value for name, value in row.columns.items() if name not in names})

    return with_subtables(table, lambda part: part.map_rows(change_row))


COLUMN_NUMBERS: Mapping[str, int] = {
    "nb_uniq_visitors": 1, "nb_visits": 2, "nb_actions": 3, "max_actions": 4, "sum_visit_length": 5,
    "bounce_count": 6, "nb_visits_converted": 7, "nb_conversions": 8, "revenue": 9, "goals": 10,
    "sum_daily_nb_uniq_visitors": 11, "nb_hits": 12, "sum_time_spent": 13, "exit_nb_uniq_visitors": 14,
    "exit_nb_visits": 15, "sum_daily_exit_nb_uniq_visitors": 16, "entry_nb_uniq_visitors": 17,
    "sum_daily_entry_nb_uniq_visitors": 18, "entry_nb_visits": 19, "entry_nb_actions": 20,
    "entry_sum_visit_length": 21, "entry_bounce_count": 22, "nb_hits_following_search": 28,
    "nb_events": 34, "sum_event_value": 35, "min_event_value": 36, "max_event_value": 37,
    "nb_events_with_value": 38, "nb_users": 39, "sum_daily_nb_users": 40,
}  # fmt: skip
"""Numbers of stored columns, which disable_queued_filters=1 leaves in the answer."""

GOAL_COLUMN_NUMBERS: Mapping[str, int] = {
    "nb_conversions": 1, "revenue": 2, "nb_visits_converted": 3, "revenue_subtotal": 4, "revenue_tax": 5,
    "revenue_shipping": 6, "revenue_discount": 7, "items": 8, "nb_conv_pages_before": 9,
    "nb_conversions_attrib": 10, "nb_conversions_page_rate": 11, "nb_conversions_page_uniq": 12,
    "nb_conversions_entry_rate": 13, "revenue_per_entry": 14, "revenue_attrib": 15,
    "nb_conversions_entry": 16, "revenue_entry": 17,
}  # fmt: skip


def number_columns(table: Table) -> Table:
    """disable_queued_filters=1: stored columns under their numbers."""

    def of_goal(value: Value) -> Value:
        if not isinstance(value, Mapping):
            return value
        return {str(GOAL_COLUMN_NUMBERS.get(name, name)): inner for name, inner in value.items()}

    def change_row(row: Row) -> Row:
        columns: Columns = {}
        for name, value in row.columns.items():
            if name == "goals" and isinstance(value, Mapping):
                value = {goal.removeprefix("idgoal="): of_goal(inner) for goal, inner in value.items()}
            columns[str(COLUMN_NUMBERS.get(name, name))] = value
        return row.with_columns(columns)

    return with_subtables(table, lambda part: part.map_rows(change_row))


# Trees


def flatten(table: Table, shape: ReportShape, *, with_parents: bool) -> Table:
    """flat=1: leaf rows only, labels joined, one metadata entry per dimension (the segment last).

    `with_parents` (include_aggregate_rows) keeps the rows above, too, and marks every row."""
    flat: list[Row] = []
    separator = shape.flat_separator

    def join(above: str, text: str) -> str:
        return above + (text[1:] if separator == "/" and text[:1] == "/" and above[-1:] == "/" else text)

    def add(
        row: Row, above: str, stored_above: str, inherited: Columns, dimension: str, *, top: bool
    ) -> None:
        text = str(row.label if row.label is not None else "").strip()
        joined = join(above, text)
        # metadata has labels as they are stored
        text = text if row.stored_label is None else row.stored_label.strip()
        stored = join(stored_above, text)
        own = dict(row.metadata)
        leaf = row.subtable is None or not len(row.subtable)
        always = shape.segment_early and shape.recursive
        early = always or (shape.segment_early and top) or (shape.folder_segment_early and not leaf)
        late = None if early else own.pop("segment", None)
        metadata = {**own, **{name: value for name, value in inherited.items() if name not in own}}
        if dimension:
            before = metadata.get(dimension)
            if shape.recursive:
                metadata[dimension] = stored
            else:
                metadata[dimension] = f"{before}{separator}{text}" if isinstance(before, str) else text
        passed_on = {name: value for name, value in metadata.items() if always or name != "segment"}
        if with_parents:
            metadata["is_aggregate"] = 0 if leaf else 1
        if late is not None and (shape.recursive or top):
            metadata["segment"] = late
        if leaf or with_parents:
            flat.append(
                Row({**row.columns, "label": joined} if "label" in row.columns else row.columns, metadata)
            )
        if not leaf and row.subtable is not None:
            below = dimension if shape.recursive else shape.subtable_dimension
            for inner in row.subtable:
                add(inner, joined + separator, stored + separator, passed_on, below, top=False)

    if not shape.flattens:
        return table.map_rows(lambda row: Row(row.columns, row.metadata))
    summary = table.summary
    for row in table.rows:
        add(row, "", "", {}, shape.dimension, top=True)
    return table.with_rows(flat, None if summary is None else Row(summary.columns, summary.metadata))


# Pivoting


def pivot(
    table: Table,
    shape: ReportShape,
    method: str,
    dimension: str,
    column: str,
    maximum: int,
    *,
    numbered: bool = True,
) -> Table:
    """pivotBy: one column per label of the sub tables, the largest first; the rest in Others.

    `maximum` counts Others, too; negative is all. Cells without a value are False. `numbered`: columns are
    called `1.\u00a0label`."""
    below = shape.subtable_dimension or (shape.dimension if shape.recursive else "")
    if not below or not shape.flattens:
        raise ApiError(f"Unsupported pivot: report '{method}' has no subtable dimension.")
    if dimension.replace(".", "_") != below:
        raise ApiError(
            f"Unsupported pivot: the subtable dimension for '{method}' does not match the requested"
            f" pivotBy dimension."
        )
    column = column or "nb_visits"
    totals: dict[str, float] = {}
    for row in table:
        for inner in row.subtable or Table():
            amount = number(inner.columns.get(column)) or 0
            totals[str(inner.label)] = totals.get(str(inner.label), 0) + amount
    labels = sorted(totals, key=lambda label: (-totals[label], label))
    has_rest = 0 <= maximum < len(labels)
    named = labels[: max(0, maximum - 1)] if has_rest else labels
    titles = {label: f"{place}.\u00a0{label}" if numbered else label for place, label in enumerate(named, 1)}

    def pivoted(row: Row) -> Row:
        columns: Columns = {"label": row.columns.get("label"), **dict.fromkeys(titles.values(), False)}
        rest: float | None = None
        for inner in row.subtable or Table():
            amount = number(inner.columns.get(column))
            title = titles.get(str(inner.label))
            if title is not None:
                columns[title] = amount
            elif amount is not None:
                rest = (rest or 0) + amount
        if has_rest:
            columns[OTHERS] = False if rest is None else rest
        return Row(columns)

    return table.map_rows(pivoted)
