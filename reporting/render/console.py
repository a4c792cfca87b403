"""Plain text for terminals, with the odd markup that Matomo's console format has."""

from collections.abc import Iterable, Mapping

from reporting.render.php import plain, scalar_text, var_export
from reporting.render.shape import as_table
from reporting.table import Columns, Row, Table, TableMap, Value

_INDENT = "&nbsp;" * 6


def render_console(value: Value) -> str:
    if isinstance(value, TableMap):
        return _map(value, 0)
    if not isinstance(value, Table) and not isinstance(value, (Mapping, list)):
        return f"- 1 ['0' => {_cell(value)}] [] [idsubtable = ]<br />\n"
    return _table(as_table(value), 0)


def _map(value: TableMap, depth: int) -> str:
    prefix = _INDENT * (depth + 1)
    parts = [f"{_INDENT * depth}Set<hr />"]
    for key, item in value.items.items():
        inner = _map(item, depth + 1) if isinstance(item, TableMap) else _table(as_table(item), depth + 1)
        parts.append(f"{prefix}<b>{key}</b><br />{inner}<hr />")
    return "".join(parts)


def _table(table: Table, depth: int) -> str:
    prefix = _INDENT * depth
    if table.filled or not len(table):
        return f"{prefix}Empty table<br />\n"
    text = "".join(_row(row, place, depth) for place, row in enumerate(table, 1))
    return text + _metadata(table.metadata, depth)


def _row(row: Row, place: int, depth: int) -> str:
    number = "" if row.subtable_id is None else str(row.subtable_id)
    line = (
        f"{_INDENT * depth}- {place} [{_pairs(row.columns.items())}] [{_pairs(row.metadata.items())}]"
        f" [idsubtable = {number}]<br />\n"
    )
    return line if row.subtable is None else line + _table(row.subtable, depth + 1)


def _pairs(entries: Iterable[tuple[str, Value]]) -> str:
    return ", ".join(f"'{name}' => {_cell(value)}" for name, value in entries)


def _cell(value: Value) -> str:
    if isinstance(value, str):
        return f"'{value}'"
    if isinstance(value, (Mapping, list, Table, TableMap)):
        return var_export(plain(value))
    return scalar_text(value)


def _metadata(metadata: Columns, depth: int) -> str:
    """Names of the table's metadata; of nested ones the values, too."""
    if not metadata:
        return ""
    prefix = _INDENT * (depth * 2)
    parts = []
    for name, value in metadata.items():
        shown = ""
        if isinstance(value, Mapping):
            shown = "".join(
                f"{prefix * 2}{key} => {scalar_text(plain(inner))}" for key, inner in value.items()
            )
        parts.append(f"<br />{prefix} <b>{name}</b><br />{shown}")
    return "<hr />Metadata<br />" + "".join(parts)
