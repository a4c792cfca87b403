"""Tables as the objects that PHP clients of Matomo know: written by serialize() and by var_export().

Names of classes and properties are what such clients read (DataTable, its rows, a map of tables); a client
without Matomo's classes gets incomplete objects with the same content."""

from collections.abc import Iterator, Mapping
from itertools import count

from reporting.render.php import array_key, export_key, serialize, single_cell, var_export
from reporting.table import Row, Table, TableMap, Value

_NAMESPACE = "Piwik\\DataTable"
_ROW = f"{_NAMESPACE}\\Row"


def _object(class_name: str, properties: Mapping[str, str]) -> str:
    """`properties`: name -> serialized value."""
    body = "".join(serialize(name) + value for name, value in properties.items())
    return f'O:{len(class_name)}:"{class_name}":{len(properties)}:{{{body}}}'


def _array(items: Mapping[object, str]) -> str:
    body = "".join(serialize(array_key(key)) + value for key, value in items.items())
    return f"a:{len(items)}:{{{body}}}"


def _protected(name: str) -> str:
    return f"\0*\0{name}"


def serialize_result(value: Value) -> str:
    """serialize() of a method's result: tables as objects, lists and dicts as arrays."""
    if isinstance(value, TableMap):
        items: dict[object, str] = {key: serialize_result(item) for key, item in value.items.items()}
        names = {_protected("array"): _array(items), _protected("keyName"): serialize(value.key_name)}
        return _object(f"{_NAMESPACE}\\Map", names)
    if isinstance(value, Table):
        return _serialize_table(value)
    if isinstance(value, Mapping):
        return _array({key: serialize_result(item) for key, item in value.items()})
    if isinstance(value, list):
        return _array({at: serialize_result(item) for at, item in enumerate(value)})
    return serialize(value)


def _serialize_table(table: Table) -> str:
    rows: dict[object, str] = {at: _serialize_row(row) for at, row in enumerate(table.rows)}
    summary = "N;" if table.summary is None else _serialize_row(table.summary)
    totals = "N;" if table.totals is None else _serialize_row(Row(table.totals))
    return _object(
        f"{_NAMESPACE}\\Simple" if table.simple else _NAMESPACE,
        {
            _protected("rows"): _array(rows),
            _protected("summaryRow"): summary,
            _protected("metadata"): _array({name: serialize_result(v) for name, v in table.metadata.items()}),
            _protected("totalsRow"): totals,
        },
    )


def _serialize_row(row: Row) -> str:
    """An ArrayObject: flags, columns, own properties, no iterator class."""
    private = f"\0{_ROW}\0"
    metadata: dict[object, str] = {name: serialize_result(value) for name, value in row.metadata.items()}
    if row.subtable is not None:
        metadata["subtable"] = serialize_result(row.subtable)
    members: dict[object, str] = {
        "maxVisitsSummed": "i:0;",
        f"{private}metadata": _array(metadata),
        f"{private}isSubtableLoaded": "b:0;",
        "subtableId": serialize(row.subtable_id),
    }
    columns: dict[object, str] = {name: serialize_result(value) for name, value in row.columns.items()}
    body = f"i:0;i:0;i:1;{_array(columns)}i:2;{_array(members)}i:3;N;"
    return f'O:{len(_ROW)}:"{_ROW}":4:{{{body}}}'


def export_result(value: Value) -> str:
    """var_export() of nested lists and dicts with tables inside; tables are numbered as they come."""
    return _export(value, "", count(1))


def _export(value: Value, indent: str, numbers: Iterator[int]) -> str:
    if isinstance(value, Table):
        return _export_table(value, indent, numbers)
    if isinstance(value, TableMap):
        value = value.items
    if not isinstance(value, (Mapping, list)):
        return var_export(value)
    pairs = value.items() if isinstance(value, Mapping) else enumerate(value)
    lines = ["array ("]
    for key, item in pairs:
        if isinstance(item, (Mapping, list, Table, TableMap)):
            lines.append(f"{indent}  {export_key(key)} => ")
            lines.append(f"{indent}  {_export(item, indent + '  ', numbers)},")
        else:
            lines.append(f"{indent}  {export_key(key)} => {var_export(item)},")
    lines.append(f"{indent})")
    return "\n".join(lines)


def _export_table(table: Table, indent: str, numbers: Iterator[int]) -> str:
    if table.simple and table.rows and len(table.rows[0].columns) == 1 and not table.rows[0].metadata:
        return _export(single_cell(table), indent, numbers)
    number = next(numbers)
    inner = indent + "  "
    lines = [f"\\{_NAMESPACE}::__set_state(array(", f"{indent}   'rows' => ", f"{inner}array ("]
    for at, row in enumerate(table):
        lines += [f"{inner}  {at} => ", f"{inner}  \\{_ROW}::__set_state(array("]
        lines += [
            f"{inner}     {export_key(name)} => {_export(value, inner + '    ', numbers)},"
            for name, value in row.columns.items()
        ]
        lines.append(f"{inner}  )),")
    lines.append(f"{inner}),")
    lines += _state(indent, number)
    lines.append(f"{indent}))")
    return "\n".join(lines)


def _state(indent: str, number: int) -> Iterator[str]:
    """What a table that nobody has filtered says of itself."""
    state: dict[str, Value] = {
        "currentId": number, "depthLevel": 0, "indexNotUpToDate": True, "rebuildIndexContinuously": False,
        "tableSortedBy": False, "queuedFilters": [], "disabledFilters": [], "rowsCountBeforeLimitFilter": 0,
        "enableRecursiveSort": False, "enableRecursiveFilters": False, "rowsIndexByLabel": [],
        "summaryRow": None, "totalsRow": None, "metadata": [], "maximumAllowedRows": 0,
    }  # fmt: skip
    for name, value in state.items():
        if isinstance(value, list):
            yield from (f"{indent}   '{name}' => ", f"{indent}  array (", f"{indent}  ),")
        else:
            yield f"{indent}   '{name}' => {var_export(value)},"
