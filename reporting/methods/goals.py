"""Goals: conversions per goal, until conversion, and products. Configuration methods are elsewhere."""

from collections.abc import Callable, Mapping, Sequence
from urllib.parse import quote_plus

from reporting.errors import ApiError
from reporting.method import ApiRequest, Cell, Method, ProcessedMetric, ReportShape, Unit
from reporting.queries import Metrics, read_aggregates
from reporting.rows import (
    ORDER_COLUMNS,
    ColumnOrder,
    add_metrics,
    cell_number,
    money,
    number,
    quotient,
    rounded,
)
from reporting.table import Columns, Row, Scalar, Table, simple_table

GOAL_NAMES = {"ecommerceOrder": 0, "ecommerceAbandonedCart": -1}


def requested_goal(request: ApiRequest) -> int | None:
    """The goal of idGoal: its number, 0 for orders, -1 for carts; None for all goals. Raises ApiError."""
    text = request.parameters.text("idGoal").strip()
    if text in ("", "false"):
        return None
    if text in GOAL_NAMES:
        return GOAL_NAMES[text]
    if text.lstrip("-").isdecimal():
        return int(text)
    raise ApiError(f"The goal '{text}' does not exist.")


def _total(goals: Mapping[int, Metrics], wanted: Callable[[int], bool]) -> Metrics:
    total: Metrics = {}
    for goal_id, metrics in goals.items():
        if wanted(goal_id):
            add_metrics(total, metrics)
    return total


def _goal_part(
    request: ApiRequest,
    site_id: int,
    visits: Metrics,
    goals: Mapping[int, Metrics],
    goal_id: int | None,
    all_metrics: bool,
) -> Columns:
    """The columns of one group of visits: of all, new or returning ones."""
    nb_visits = visits.get("nb_visits", 0)
    columns: Columns = {}
    if all_metrics:
        columns["nb_visits"] = number(nb_visits)
    if goal_id is None:
        total = _total(goals, lambda one: one >= 0)
        converted = visits.get("nb_visits_converted", 0)
    else:
        total = goals.get(goal_id, {})
        converted = total.get("nb_visits_converted", 0)
    columns["nb_conversions"] = number(total.get("nb_conversions", 0))
    columns["nb_visits_converted"] = number(converted)
    columns["revenue"] = money(total.get("revenue", 0))
    if goal_id in (0, -1):
        names = ORDER_COLUMNS if goal_id == 0 else ("items",)
        for name in names:
            columns[name] = money(total.get(name, 0))
        columns["avg_order_revenue"] = quotient(
            float(money(total.get("revenue", 0))), total.get("nb_conversions", 0), 2
        )
    if all_metrics and goal_id is None:
        known = [one for one in request.config.goals.get(site_id, {}).values() if not one.deleted]
        for goal in known:
            metrics = goals.get(goal.goal_id, {})
            for name in ("nb_conversions", "nb_visits_converted", "revenue"):
                columns[f"goal_{goal.goal_id}_{name}"] = money(metrics.get(name, 0))
        for goal in known:
            metrics = goals.get(goal.goal_id, {})
            columns[f"goal_{goal.goal_id}_conversion_rate"] = quotient(
                metrics.get("nb_visits_converted", 0), nb_visits, 4
            )
    columns["conversion_rate"] = quotient(converted, nb_visits, 4)
    return columns


def _sells(request: ApiRequest, site_id: int) -> bool:
    site = request.config.site(site_id)
    return site is not None and site.ecommerce


async def goal_columns_of(request: ApiRequest, *, by_visitor: bool = True) -> Mapping[Cell, Columns]:
    """`by_visitor`: also for new and returning visitors alone."""
    goal_id = requested_goal(request)
    all_metrics = request.parameters.flag("showAllGoalSpecificMetrics")
    data = await read_aggregates(request, ["visitor_types", "goals"])
    result: dict[Cell, Columns] = {}
    for cell in request.cells:
        visits, goals = data[cell]["visitor_types"], data[cell]["goals"]
        by_type: dict[str, dict[int, Metrics]] = {"0": {}, "1": {}}
        everywhere: dict[int, Metrics] = {}
        for (returning, goal), metrics in goals.rows.items():
            if int(goal) <= 0 and not _sells(request, cell.site_id):
                continue
            by_type[returning][int(goal)] = metrics
            if int(goal) in everywhere:
                add_metrics(everywhere[int(goal)], metrics)
            else:
                everywhere[int(goal)] = dict(metrics)
        all_visits: Metrics = {}
        for metrics in visits.rows.values():
            add_metrics(all_visits, metrics)
        columns = _goal_part(request, cell.site_id, all_visits, everywhere, goal_id, all_metrics)
        in_map = request.several_periods or request.several_sites
        for suffix, label in (("_new_visit", "0"), ("_returning_visit", "1")) if by_visitor else ():
            if in_map and (label,) not in visits.rows:
                continue
            part = _goal_part(
                request, cell.site_id, visits.rows.get((label,), {}), by_type[label], goal_id, all_metrics
            )
            columns.update({name + suffix: value for name, value in part.items()})
        result[cell] = columns
        columns["_visits"] = number(all_visits.get("nb_visits", 0))
    return result


async def overview(request: ApiRequest, *, by_visitor: bool = True) -> Mapping[Cell, Table]:
    data = await goal_columns_of(request, by_visitor=by_visitor)
    wanted = request.parameters.comma_list("columns")
    result = {}
    for cell, columns in data.items():
        visits = columns.pop("_visits")
        empty = not visits and not columns["nb_conversions"]
        if wanted:
            # a metric brings its values for new and returning visits with it
            columns = {
                name: value
                for name, value in columns.items()
                if name.removesuffix("_new_visit").removesuffix("_returning_visit") in wanted
            }
        result[cell] = simple_table(columns, filled=empty)
    return result


async def _metrics(request: ApiRequest) -> Mapping[Cell, Table]:
    return await overview(request, by_visitor=False)


_RATE_NAMES = ("conversion_rate", "conversion_rate_new_visit", "conversion_rate_returning_visit")


def _units() -> dict[str, Unit]:
    units: dict[str, Unit] = dict.fromkeys(_RATE_NAMES, Unit.PERCENT)
    for suffix in ("", "_new_visit", "_returning_visit"):
        for name in ("revenue", "avg_order_revenue", *ORDER_COLUMNS[:4]):
            units[name + suffix] = Unit.MONEY
        for goal in range(1, 200):
            units[f"goal_{goal}_conversion_rate{suffix}"] = Unit.PERCENT
            units[f"goal_{goal}_revenue{suffix}"] = Unit.MONEY
    return units


Range = tuple[int, int | None]
VISIT_RANGES: Sequence[Range] = (
    *((number, number) for number in range(1, 9)), (9, 14), (15, 25), (26, 50), (51, 100), (101, None),
)  # fmt: skip
DAY_RANGES: Sequence[Range] = (
    *((number, number) for number in range(8)), (8, 14), (15, 30), (31, 60), (61, 120), (121, 364),
    (365, None),
)  # fmt: skip


def range_label(bounds: Range, one: str, many: str) -> str:
    """`1 visit`, `9-14 visits`, `101+ visits`."""
    low, high = bounds
    if high is None:
        return f"{low}+ {many}"
    if low == high:
        return f"{low} {one if low == 1 else many}"
    return f"{low}-{high} {many}"


def range_of(value: int, ranges: Sequence[Range]) -> int | None:
    for at, (low, high) in enumerate(ranges):
        if value >= low and (high is None or value <= high):
            return at
    return None


def _until(aggregate: str, ranges: Sequence[Range], one: str, many: str, name: str) -> Method:
    async def cells(request: ApiRequest) -> Mapping[Cell, Table]:
        goal_id = requested_goal(request)
        data = await read_aggregates(request, [aggregate])
        result = {}
        for cell in request.cells:
            counts = [0.0] * len(ranges)
            found = False
            for (value, goal), metrics in data[cell][aggregate].rows.items():
                if int(goal) != goal_id if goal_id is not None else int(goal) < 0:
                    continue
                at = range_of(int(value), ranges)
                if at is not None:
                    counts[at] += metrics["nb_conversions"]
                    found = True
            rows = [
                Row({"label": range_label(bounds, one, many), "nb_conversions": number(count)})
                for bounds, count in zip(ranges, counts, strict=True)
            ]
            result[cell] = Table(rows if found else [])
        return result

    return Method(cells=cells, shape=ReportShape(name=name, sort_column="", sort_stored=True))


def _average_price(row: Row, _: Table) -> Scalar:
    if "avg_price" in row.columns:
        return cell_number(row, "avg_price")
    bought = cell_number(row, "orders") or cell_number(row, "abandoned_carts")
    return quotient(cell_number(row, "price"), bought, 2)


def _average_quantity(row: Row, _: Table) -> Scalar:
    bought = cell_number(row, "orders") or cell_number(row, "abandoned_carts")
    return quotient(cell_number(row, "quantity"), bought, 1)


def _product_rate(row: Row, _: Table) -> Scalar:
    bought = cell_number(row, "orders") or cell_number(row, "abandoned_carts")
    return quotient(bought, cell_number(row, "nb_visits"), 4)


_PRODUCT_METRICS = (
    ProcessedMetric(name="avg_price", compute=_average_price, unit=Unit.MONEY),
    ProcessedMetric(name="avg_quantity", compute=_average_quantity),
    ProcessedMetric(name="conversion_rate", compute=_product_rate, unit=Unit.PERCENT),
)


def _items(items: str, views: str, segment: str, missing: str, name: str, dimension: str) -> Method:
    async def cells(request: ApiRequest) -> Mapping[Cell, Table]:
        carts = request.parameters.flag("abandonedCarts")
        data = await read_aggregates(request, [items, views])
        result = {}
        for cell in request.cells:
            site = request.config.site(cell.site_id)
            if site is None or not site.ecommerce:
                result[cell] = Table()
                continue
            day = cell.period.kind == "day"
            sold = {
                label: metrics
                for (cart, label), metrics in data[cell][items].rows.items()
                if (cart == "1") == carts
            }
            viewed = {label: metrics for (label,), metrics in data[cell][views].rows.items()}
            keys = sorted(sold, key=lambda label: (-sold[label]["revenue"], sold[label]["first_seen"]))
            keys += sorted(
                (label for label in viewed if label not in sold),
                key=lambda label: (-viewed[label]["nb_visits"], viewed[label]["first_seen"]),
            )
            rows = []
            for label in keys:
                order = ColumnOrder(day)
                bought = sold.get(label)
                if bought is not None:
                    columns: Columns = {
                        "revenue": money(bought["revenue"]),
                        "quantity": number(bought["quantity"]),
                        "price": bought["price"],
                    }
                    if not carts:
                        columns["orders"] = number(bought["orders"])
                    order.add(bought["first_day"], columns)
                seen = viewed.get(label)
                if seen is not None:
                    names = ("nb_visits", "nb_uniq_visitors", "nb_actions")
                    order.add(seen["first_day"], {name: number(seen[name]) for name in names})
                if bought is not None and carts:
                    first = (
                        bought["first_day"] if seen is None else max(bought["first_day"], seen["first_day"])
                    )
                    order.add(first, {"abandoned_carts": number(bought["orders"])}, last=True)
                shown = label or missing
                row: Columns = {"label": shown, **order.columns()}
                if seen is not None and (bought is None or not bought["price"]):
                    # a product nobody bought has the price at which it was seen
                    row["avg_price"] = rounded(seen["price_viewed"], 2)
                rows.append(Row(row, {"segment": f"{segment}=={quote_plus(shown)}"}))
            result[cell] = Table(rows)
        return result

    return Method(
        cells=cells,
        shape=ReportShape(
            name=name,
            sort_column="revenue",
            processed=_PRODUCT_METRICS,
            units={"revenue": Unit.MONEY},
            dimension=dimension,
            segment_early=True,
            hidden=("price",),
        ),
    )


METHODS: dict[str, Method] = {
    "Goals.get": Method(
        cells=overview,
        shape=ReportShape(name="Goals", sort_column="", units=_units(), selects_columns=True),
    ),
    "Goals.getMetrics": Method(
        cells=_metrics,
        shape=ReportShape(name="Goals", sort_column="", units=_units(), selects_columns=True),
    ),
    "Goals.getDaysToConversion": _until("goal_days", DAY_RANGES, "day", "days", "Days to Conversion"),
    "Goals.getVisitsUntilConversion": _until(
        "goal_visits", VISIT_RANGES, "visit", "visits", "Visits to Conversion"
    ),
    "Goals.getItemsSku": _items(
        "item_skus",
        "view_skus",
        "productSku",
        "Product SKU not defined",
        "Product SKU",
        "Ecommerce_ProductSku",
    ),
    "Goals.getItemsName": _items(
        "item_names",
        "view_names",
        "productName",
        "Product Name not defined",
        "Product Name",
        "Ecommerce_ProductName",
    ),
    "Goals.getItemsCategory": _items(
        "item_categories",
        "view_categories",
        "productCategory",
        "Product Category not defined",
        "Product Category",
        "Ecommerce_ProductCategory",
    ),
}
