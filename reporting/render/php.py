"""Values as PHP writes them: JSON, var_export, serialize, text. Clients of Matomo parse exactly these."""

import json
import re
from collections.abc import Mapping
from typing import Any

from reporting.table import Row, Table, TableMap, Value


def float_text(value: float, digits: int) -> str:
    """At most `digits` significant digits; 17 means the shortest text that reads back the same."""
    if value != value:
        return "NAN"
    if value in (float("inf"), float("-inf")):
        return "INF" if value > 0 else "-INF"
    text = repr(value) if digits >= 17 else f"{value:.{digits}g}"
    mantissa, exponent_mark, exponent = text.partition("e")
    if exponent_mark:
        mantissa = mantissa if "." in mantissa else mantissa + ".0"
        return f"{mantissa}E{int(exponent):+d}"
    return text.removesuffix(".0")


def scalar_text(value: Value) -> str:
    """A cell in XML, CSV and HTML: true is 1, false is 0, null is empty."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "1" if value else "0"
    if isinstance(value, float):
        return float_text(value, 14)
    return str(value)


_SCALARS = frozenset((bool, int, float, str, type(None)))


def plain(value: Value) -> Any:
    """The nested lists and dicts that JSON shows."""
    if type(value) in _SCALARS:  # nearly all are
        return value
    if isinstance(value, Table):
        return plain_table(value)
    if isinstance(value, TableMap):
        return {key: _plain_item(item) for key, item in value.items.items()} or []
    if isinstance(value, Row):
        return plain_row(value)
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()} if value else []
    if isinstance(value, list):
        return [plain(item) for item in value]
    return value


def _plain_item(item: Value) -> Any:
    """One entry of a map: a report of zeros is empty there, a single number stays."""
    if isinstance(item, Table) and item.filled and not is_single(item):
        return []
    return plain(item)


def single_cell(table: Table) -> Value:
    """The value of a one-row report with one column and nothing else."""
    return next(iter(table.rows[0].columns.values()))


def is_single(table: Table) -> bool:
    return (
        table.simple
        and len(table.rows) == 1
        and len(table.rows[0].columns) == 1
        and not table.rows[0].metadata
    )


def plain_table(table: Table) -> Any:
    """Rows as objects, a one-row report as one object, with one column as a bare value."""
    if table.simple:
        if not table.rows:
            return []
        if is_single(table):
            return plain(single_cell(table))
        return plain_row(table.rows[0])
    return [plain_row(row) for row in table]


def plain_row(row: Row) -> Any:
    """Columns, metadata, idsubdatatable; with a loaded sub table its id precedes the metadata."""
    shown: dict[str, Any] = {name: plain(value) for name, value in row.columns.items()}
    if row.subtable is not None and row.subtable_id is not None:
        shown["idsubdatatable"] = row.subtable_id
    for name, value in row.metadata.items():
        shown[name] = plain(value)
    if row.subtable is not None:
        shown["subtable"] = plain_table(row.subtable)
    elif row.subtable_id is not None:
        shown["idsubdatatable"] = row.subtable_id
    return shown or []


def _json_ready(value: Any) -> Any:
    if type(value) is str or type(value) is int:
        return value
    if isinstance(value, float):
        if value != value or value in (float("inf"), float("-inf")):
            return 0
        return int(value) if value == int(value) and abs(value) < 1e15 else value
    if isinstance(value, dict):
        return {key: _json_ready(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_json_ready(item) for item in value]
    return value


def to_json(value: Any) -> str:
    """json_encode with its defaults: slashes and everything beyond ASCII escaped."""
    text = json.dumps(_json_ready(value), separators=(",", ":"), ensure_ascii=True)
    return text.replace("/", "\\/")


def _quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _export_scalar(value: Any) -> str:
    if value is None:
        return "NULL"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        text = float_text(value, 17)
        return text if re.search(r"[.EN]", text) else text + ".0"
    if isinstance(value, int):
        return str(value)
    return _quoted(str(value))


def export_key(key: Any) -> str:
    text = str(key)
    return text if re.fullmatch(r"-?(0|[1-9]\d*)", text) else _quoted(text)


def var_export(value: Any, indent: str = "") -> str:
    """var_export of nested lists and dicts; keys that look like numbers are numbers, as in PHP arrays."""
    if not isinstance(value, (list, dict)):
        return _export_scalar(value)
    items = value.items() if isinstance(value, dict) else enumerate(value)
    lines = ["array ("]
    for key, item in items:
        if isinstance(item, (list, dict)):
            lines.append(f"{indent}  {export_key(key)} => ")
            lines.append(f"{indent}  {var_export(item, indent + '  ')},")
        else:
            lines.append(f"{indent}  {export_key(key)} => {_export_scalar(item)},")
    lines.append(f"{indent})")
    return "\n".join(lines)


def serialize(value: Any) -> str:
    """PHP's serialize of nested lists, dicts and scalars; string lengths are bytes."""
    if value is None:
        return "N;"
    if isinstance(value, bool):
        return f"b:{int(value)};"
    if isinstance(value, int):
        return f"i:{value};"
    if isinstance(value, float):
        return f"d:{float_text(value, 17)};"
    if isinstance(value, (list, dict)):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        body = "".join(serialize(array_key(key)) + serialize(item) for key, item in items)
        return f"a:{len(value)}:{{{body}}}"
    text = str(value)
    return f's:{len(text.encode())}:"{text}";'


def array_key(key: Any) -> Any:
    return int(key) if isinstance(key, str) and re.fullmatch(r"-?(0|[1-9]\d{0,17})", key) else key


def escape(text: str) -> str:
    """htmlspecialchars: & < > and double quotes."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace('"', "&quot;")
