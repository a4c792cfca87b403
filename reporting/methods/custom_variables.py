"""CustomVariables: visits and actions by the names and values of custom variables, as old trackers send them.

Nothing here is archived: the reports are read from rows, since few instances still have such variables.
"""

from collections.abc import Mapping

from reporting.method import ApiRequest, Cell, Method, ReportShape
from reporting.methods.actions import part_of
from reporting.methods.visits_summary import ACTIONS_PER_VISIT, AVERAGE_TIME, BOUNCE_RATE
from reporting.queries import Groups, read_aggregates
from reporting.rows import UNIQUE, goals_by_label, number, numbered, segment_value, visit_columns
from reporting.table import Columns, Result, Row, Table, Value
from rules.dimensions import CUSTOM_VARIABLE_SLOTS
from schemas.metrics import FIRST, GOAL_METRICS, VISIT_METRICS, metric
from schemas.reports import Aggregate

UNDEFINED = "Value not defined"
_SCOPES = ("visit", "page")
_OF_VISITS = "ARRAY JOIN mapKeys(v.custom_variables) AS slot, mapValues(v.custom_variables) AS pair"
_OF_ACTIONS = "ARRAY JOIN mapKeys(a.custom_variables) AS slot, mapValues(a.custom_variables) AS pair"
_NAME, _VALUE = "tupleElement(pair, 1)", "tupleElement(pair, 2)"
_ACTION_METRICS = (
    metric("nb_visits", "uniqExact(a.visit_id)"),
    metric("nb_uniq_visitors", "uniqExact(a.visitor_id)"),
    metric("nb_actions", "count()"),
    metric(FIRST, "min(a.hit_id)", "min"),
)


def _aggregates() -> tuple[Aggregate, ...]:
    """By name and by name and value, for visits, their conversions and actions; and the slots of names."""
    found = []
    for suffix, labels in (("names", (_NAME,)), ("values", (_NAME, _VALUE)), ("slots", (_NAME, "slot"))):
        found += [
            Aggregate(
                name=f"cvar_visit_{suffix}", source="visits", labels=labels, metrics=VISIT_METRICS,
                expand=_OF_VISITS,
            ),
            Aggregate(
                name=f"cvar_page_{suffix}", source="actions", labels=labels, metrics=_ACTION_METRICS,
                expand=_OF_ACTIONS,
            ),
        ]  # fmt: skip
        if suffix != "slots":
            found.append(
                Aggregate(
                    name=f"cvar_goals_{suffix}",
                    source="visit_conversions",
                    labels=(*labels, "c.goal_id"),
                    metrics=GOAL_METRICS,
                    expand=_OF_VISITS,
                )
            )
    return tuple(found)


_AGGREGATES = _aggregates()


def _page_columns(metrics: Mapping[str, float], *, day: bool, of_value: bool) -> Columns:
    """Of actions: a name only counts them, a value their visits too."""
    columns: Columns = {}
    if of_value:
        columns["nb_visits"] = number(metrics["nb_visits"])
        columns["nb_uniq_visitors" if day else UNIQUE["nb_uniq_visitors"]] = number(
            metrics["nb_uniq_visitors"]
        )
    columns["nb_actions"] = number(metrics["nb_actions"])
    return columns


def _rows(groups: Mapping[str, Groups], suffix: str, *, day: bool) -> dict[tuple[str, ...], Columns]:
    """Labels -> columns; a label of visits and of actions counts the actions of both."""
    visits, pages = groups[f"cvar_visit_{suffix}"], groups[f"cvar_page_{suffix}"]
    goals = goals_by_label(groups[f"cvar_goals_{suffix}"])
    found: dict[tuple[str, ...], Columns] = {}
    for labels in dict.fromkeys((*visits.rows, *goals)):
        found[labels] = visit_columns(visits.rows.get(labels), goals.get(labels), day=day)
    for labels, metrics in pages.rows.items():
        columns = _page_columns(metrics, day=day, of_value=suffix == "values")
        if labels not in found:
            found[labels] = columns
        elif "nb_actions" in found[labels]:
            found[labels]["nb_actions"] = number(
                float(str(found[labels]["nb_actions"])) + metrics["nb_actions"]
            )
    return found


def _slots(groups: Mapping[str, Groups]) -> dict[str, list[Value]]:
    found: dict[str, list[Value]] = {}
    for scope in _SCOPES:
        for name, slot in sorted(groups[f"cvar_{scope}_slots"].rows):
            found.setdefault(name, []).append({"scope": scope, "index": int(slot)})
    return found


def _table(groups: Mapping[str, Groups], *, day: bool) -> Table:
    slots = _slots(groups)
    below: dict[str, list[Row]] = {}
    for (name, value), columns in _rows(groups, "values", day=day).items():
        segment = f"customVariableName=={segment_value(name)};customVariableValue=={segment_value(value)}"
        row = Row({"label": value or UNDEFINED, **columns}, {"segment": segment})
        below.setdefault(name, []).append(row)
    rows = []
    for (name,), columns in _rows(groups, "names", day=day).items():
        metadata: Columns = {
            "slots": slots.get(name, []),
            "segment": f"customVariableName=={segment_value(name)}",
        }
        rows.append(Row({"label": name, **columns}, metadata, Table(below.get(name, []))))
    return numbered(Table(rows))


async def _has_any(request: ApiRequest) -> bool:
    """Whether any visit or action of the cells has one: most sites never saw one, which the sizes of maps
    tell long before eight aggregates are read from rows."""
    parts = " UNION ALL ".join(
        f"SELECT 1 AS found FROM {table} WHERE site_id IN {{sites:Array(UInt32)}}"  # noqa: S608 - ours
        " AND date BETWEEN {first:Date} AND {last:Date} AND notEmpty(custom_variables)"
        for table in ("visits", "actions")
    )
    bound = {
        "sites": [cell.site_id for cell in request.cells],
        "first": min(cell.period.start for cell in request.cells),
        "last": max(cell.period.end for cell in request.cells),
    }
    return bool(await request.database.rows(f"SELECT found FROM ({parts}) LIMIT 1", bound))  # noqa: S608


async def _variables(request: ApiRequest) -> Mapping[Cell, Table]:
    if not request.cells or not await _has_any(request):
        return {cell: Table() for cell in request.cells}
    data = await read_aggregates(request, _AGGREGATES)
    return {cell: _table(groups, day=cell.period.kind == "day") for cell, groups in data.items()}


async def _values(request: ApiRequest) -> Mapping[Cell, Table]:
    return part_of(request, await _variables(request))


async def _usages(request: ApiRequest) -> Result:
    """Which names were sent in which slot, ever."""
    rows: list[Value] = []
    for scope, table, counts in (
        ("visit", "visits", "count() AS visits, sum(actions) AS actions"),
        ("page", "actions", "0 AS visits, count() AS actions"),
    ):
        found = await request.database.select(
            f"SELECT slot, tupleElement(pair, 1) AS name, {counts} FROM {table} FINAL"  # noqa: S608 - ours
            " ARRAY JOIN mapKeys(custom_variables) AS slot, mapValues(custom_variables) AS pair"
            " WHERE site_id = {site:UInt32} GROUP BY slot, name ORDER BY slot, actions DESC, name",
            {"site": request.site_id},
        )
        for slot in range(1, CUSTOM_VARIABLE_SLOTS + 1):
            usages: list[Value] = [
                {"name": row["name"], "nb_visits": int(row["visits"]), "nb_actions": int(row["actions"])}
                for row in found
                if int(row["slot"]) == slot
            ]
            rows.append({"scope": scope, "index": slot, "usages": usages})
    return rows


_SHAPE = ReportShape(
    name="Custom Variables",
    dimension="CustomVariables_CustomVariableName",
    subtable_dimension="CustomVariables_CustomVariableValue",
    subtable_method="CustomVariables.getCustomVariablesValuesFromNameId",
    sort_column="nb_actions",
    processed=(AVERAGE_TIME, BOUNCE_RATE, ACTIONS_PER_VISIT),
)

METHODS: dict[str, Method] = {
    "CustomVariables.getCustomVariables": Method(cells=_variables, shape=_SHAPE),
    "CustomVariables.getCustomVariablesValuesFromNameId": Method(
        cells=_values,
        required=("idSubtable",),
        shape=ReportShape(name="Custom Variables", sort_column="nb_actions"),
    ),
    "CustomVariables.getUsagesOfSlots": Method(answer=_usages, takes_sites=True, several_sites=False),
}
