"""Rows of reports from merged aggregates: which columns, in which order, under which names.

Days count unique visitors exactly; the rows of longer periods add up their days and say so in the name
(sum_daily_...). A row's columns appear in the order in which its days brought them.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from decimal import ROUND_HALF_UP, Decimal
from math import isfinite
from urllib.parse import quote_plus

from reporting.method import ApiRequest, ProcessedMetric, Unit
from reporting.queries import Groups, Labels, Metrics
from reporting.table import Columns, Row, Scalar, Table, Value

UNIQUE = {
    "nb_uniq_visitors": "sum_daily_nb_uniq_visitors",
    "nb_users": "sum_daily_nb_users",
    "entry_nb_uniq_visitors": "sum_daily_entry_nb_uniq_visitors",
    "exit_nb_uniq_visitors": "sum_daily_exit_nb_uniq_visitors",
}
"""Column of a day -> column of longer periods."""

VISIT_COLUMNS = (
    "nb_uniq_visitors", "nb_visits", "nb_actions", "nb_users", "max_actions", "sum_visit_length",
    "bounce_count", "nb_visits_converted",
)  # fmt: skip
ORDER_COLUMNS = ("revenue_subtotal", "revenue_tax", "revenue_shipping", "revenue_discount", "items")
MONEY = frozenset(("revenue", *ORDER_COLUMNS[:4]))


_SMALL = 1e10
_LARGEST_EXACT = 1e15
"""Any visitor can send a revenue of 1e300: such values have no decimals to round."""


def rounded(value: float, digits: int = 0) -> int | float:
    """Half away from zero, as Matomo rounds; whole results are ints."""
    if not abs(value) < _LARGEST_EXACT:
        return number(value)
    whole = int(value)
    if whole == value:
        return whole
    # what a sum of fractions is off by in its last digits must not decide (0.18499999999999997 is 0.185)
    text = f"{value:.15g}" if abs(value) < _SMALL else repr(value)
    exact = Decimal(text).quantize(Decimal(1).scaleb(-digits), rounding=ROUND_HALF_UP)
    return int(exact) if exact == exact.to_integral_value() else float(exact)


def number(value: float) -> int | float:
    """At most six decimals; whole numbers are ints. What has no number (a sum beyond all floats) is 0."""
    if not isfinite(value):
        return 0
    return int(value) if value == int(value) else round(value, 6)


def money(value: float) -> int | float:
    return rounded(value, 2)


def quotient(amount: float, whole: float, digits: int) -> int | float:
    """0 when there is nothing to divide by."""
    return rounded(amount / whole, digits) if whole else 0


def segment_value(label: str) -> str:
    """A label as the value of a segment, escaped for HTML first, as clients have always got it."""
    escaped = (
        label.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace('"', "&quot;")
        .replace("'", "&#039;")
    )  # fmt: skip
    return quote_plus(escaped)


def is_strict(request: ApiRequest) -> bool:
    """compatibility=strict answers as Matomo does, also where more is known."""
    return request.state.get("compatibility") == "strict"


def goal_key(goal_id: int) -> str:
    return {0: "ecommerceOrder", -1: "ecommerceAbandonedCart"}.get(goal_id, str(goal_id))


@dataclass
class ColumnOrder:
    """Columns of one row, in the order in which its days brought them."""

    day: bool
    entries: list[tuple[float, int, str, Value]] = field(default_factory=list)

    def add(self, first_day: float, columns: Mapping[str, Value], *, last: bool = False) -> None:
        """`last`: after everything else of the day."""
        for name, value in columns.items():
            if name in UNIQUE and not self.day:
                # renamed columns follow the others of their day
                self.entries.append((first_day, 10_000 + len(self.entries), UNIQUE[name], value))
            else:
                place = len(self.entries) + (20_000 if last else 0)
                self.entries.append((first_day, place, name, value))

    def columns(self) -> Columns:
        if not self.day:
            self.entries.sort(key=lambda entry: entry[:2])
        return {name: value for _, _, name, value in self.entries}


def goal_columns(goals: Mapping[int, Metrics]) -> Columns:
    """`goals`, then the sums over goals and orders (not carts): nb_conversions and revenue."""
    shown: dict[str, Value] = {}
    for goal_id in sorted(goals):
        metrics = goals[goal_id]
        # fractions also where they are whole, as PHP has them
        one: Columns = {
            "nb_conversions": metrics["nb_conversions"],
            "nb_visits_converted": metrics["nb_visits_converted"],
            "revenue": float(money(metrics["revenue"])),
        }
        if goal_id == 0:
            one |= {name: float(money(metrics[name])) for name in ORDER_COLUMNS}
        elif goal_id == -1:
            one["items"] = metrics["items"]
        shown[f"idgoal={goal_key(goal_id)}"] = one
    counted = [metrics for goal_id, metrics in goals.items() if goal_id >= 0]
    return {
        "goals": shown,
        "nb_conversions": number(sum(metrics["nb_conversions"] for metrics in counted)),
        "revenue": money(sum(metrics["revenue"] for metrics in counted)),
    }


def visit_columns(visits: Metrics | None, goals: Mapping[int, Metrics] | None, *, day: bool) -> Columns:
    """Columns of a row of visits (or only of conversions)."""
    order = ColumnOrder(day)
    if visits is not None:
        order.add(visits["first_day"], {name: number(visits[name]) for name in VISIT_COLUMNS})
    if goals:
        first = min(metrics["first_day"] for metrics in goals.values())
        order.add(first, goal_columns(goals))
    columns = order.columns()
    if visits is None:
        columns["nb_visits"] = 0
    return columns


MERGE = {"max_actions": max, "first_seen": min, "first_day": min, "url_prefix": min}


PARTS = "parts"
"""How many rows of the database a regrouped label was added up from."""

DECIMALS = ("nb_actions", "sum_visit_length", "bounce_count", "nb_visits_converted")
"""Sums over visits: a day's answer shows them as texts (decimals), unless rows were added up."""


def decimal_texts(columns: Columns, metrics: Metrics | None, names: Iterable[str]) -> Columns:
    """The columns of a day's row of one database row: its sums as texts."""
    if metrics is None or metrics.get(PARTS, 1.0) != 1.0:
        return columns
    return {name: str(value) if name in names else value for name, value in columns.items()}


def add_metrics(total: Metrics, more: Metrics) -> None:
    """Add one label's metrics to another's (Others, rolled-up labels)."""
    for name, value in more.items():
        if name not in total:
            total[name] = value
        elif name in MERGE:
            total[name] = MERGE[name](total[name], value)
        elif name.startswith("min_"):
            total[name] = min(total[name], value)
        elif name.startswith("max_"):
            total[name] = max(total[name], value)
        else:
            total[name] += value


def regroup(groups: Groups, label: Callable[[Labels], Labels | None]) -> Groups:
    """Groups under other labels: rows that get the same one are added up, None drops a row."""
    result: dict[Labels, Metrics] = {}
    for labels, metrics in groups.rows.items():
        key = label(labels)
        if key is None:
            continue
        if key in result:
            add_metrics(result[key], metrics)
            result[key][PARTS] += 1
        else:
            result[key] = {**metrics, PARTS: metrics.get(PARTS, 1.0)}
    return Groups(result)


def goals_by_label(groups: Groups) -> dict[Labels, dict[int, Metrics]]:
    """Groups whose last label is a goal, by the labels before it."""
    result: dict[Labels, dict[int, Metrics]] = {}
    for labels, metrics in groups.rows.items():
        result.setdefault(labels[:-1], {})[int(labels[-1])] = metrics
    return result


@dataclass(frozen=True)
class Shown:
    """A label as clients see it, with its metadata."""

    label: Scalar
    metadata: Columns = field(default_factory=dict)


def visits_table(
    visits: Groups,
    goals: Groups,
    shown: Callable[[Labels], Shown],
    *,
    day: bool,
    texts: bool = False,
) -> Table:
    """A report of visits by a dimension; rows in stored order: as they were first seen."""
    by_label = goals_by_label(goals)
    keys = list(visits.rows)
    keys += [key for key in by_label if key not in visits.rows]
    rows = []
    for key in keys:
        one = shown(key)
        columns = visit_columns(visits.rows.get(key), by_label.get(key), day=day)
        if day and texts:
            columns = decimal_texts(columns, visits.rows.get(key), DECIMALS)
        rows.append(Row({"label": one.label, **columns}, dict(one.metadata)))
    return Table(rows)


def numbered(table: Table) -> Table:
    """Give every row with a sub table its number, in stored order, parents first."""
    counter = 0

    def visit(rows: Iterable[Row]) -> None:
        nonlocal counter
        for row in rows:
            if row.subtable is not None:
                counter += 1
                row.subtable_id = counter
                visit(row.subtable.rows)

    visit(table.rows)
    return table


def find_subtable(table: Table, wanted: int) -> Table | None:
    for row in table.rows:
        if row.subtable is None:
            continue
        if row.subtable_id == wanted:
            return row.subtable
        found = find_subtable(row.subtable, wanted)
        if found is not None:
            return found
    return None


def cell_number(row: Row, name: str) -> float:
    value = row.columns.get(name)
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return 0.0
    try:
        return float(value)
    except ValueError:
        return 0.0


def ratio_metric(name: str, amount: str, whole: str, digits: int, unit: Unit) -> ProcessedMetric:
    def compute(row: Row, _: Table) -> Scalar:
        return quotient(cell_number(row, amount), cell_number(row, whole), digits)

    return ProcessedMetric(name=name, compute=compute, unit=unit)
