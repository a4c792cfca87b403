"""HTML tables; also what format=original prints for a table."""

from collections.abc import Mapping

from reporting.errors import ApiError
from reporting.render.php import escape, plain, scalar_text, var_export
from reporting.render.shape import as_table
from reporting.table import Row, Table, TableMap, Value
from reporting.wording import column_title

_METADATA, _SUBTABLE = "_metadata", "_idSubtable"


def render_html(value: Value, *, table_id: str, language: str = "en", translate: bool = False) -> str:
    """Without a `table_id` the table has none. Raises ApiError for two maps and for nested structures."""
    rows: list[dict[str, str]] = []
    if isinstance(value, TableMap):
        for key, item in value.items.items():
            if isinstance(item, TableMap):
                raise ApiError("HTML Renderer does not work with this combination of parameters")
            if isinstance(item, Table) and item.filled:
                continue
            rows.extend({f"_{value.key_name}": escape(key), **cells} for cells in _rows(as_table(item)))
    else:
        rows = _rows(as_table(value))
    names = list(dict.fromkeys(name for row in rows for name in row if name not in (_METADATA, _SUBTABLE)))
    names += [name for name in (_METADATA, _SUBTABLE) if any(name in row for row in rows)]
    attribute = f' id="{escape(table_id)}"' if table_id else ""
    lines = [f'<table{attribute} border="1">', "<thead>", "\t<tr>"]
    for name in names:
        shown = column_title(name, language) if translate else name
        lines.append(f"\t\t<th>{escape(shown)}</th>")
    lines += ["\t</tr>", "</thead>", "<tbody>"]
    for row in rows:
        lines += ["\t<tr>", *(f"\t\t<td>{row.get(name, '-')}</td>" for name in names), "\t</tr>"]
    lines += ["</tbody>", "</table>", ""]
    return "\n".join(lines)


def _rows(table: Table) -> list[dict[str, str]]:
    """Escaped cells per row; levels of expanded reports are not shown."""
    return [_cells(row) for row in table]


def _cells(row: Row) -> dict[str, str]:
    cells: dict[str, str] = {}
    for name, value in row.columns.items():
        cells[name] = "-" if value is None else html_cell(value)
    if row.metadata:
        parts = []
        for name, value in row.metadata.items():
            shown = plain(value)
            text = (
                f"'{shown}'"
                if isinstance(shown, str)
                else scalar_text(shown)
                if not isinstance(shown, (dict, list))
                else var_export(shown)
            )
            parts.append(f"'{name}' => {text}")
        cells[_METADATA] = escape("<br />".join(parts))
    if row.subtable_id is not None:
        cells[_SUBTABLE] = str(row.subtable_id)
    return cells


def html_cell(value: Value) -> str:
    if isinstance(value, (Mapping, list, Table, TableMap)):
        return f"<pre>{escape(var_export(plain(value)))}</pre>"
    return escape(scalar_text(value))
