"""XML: rows as elements, maps as nested results."""

import re
from collections.abc import Mapping

from reporting.render.php import escape, is_single, scalar_text, single_cell
from reporting.table import Row, Table, TableMap, Value

HEAD = '<?xml version="1.0" encoding="utf-8" ?>\n'
_TAG = re.compile(r"[A-Za-z_][A-Za-z0-9_.\-]*")
_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff\ud800-\udfff]")


def text(value: Value) -> str:
    return escape(_CONTROL.sub("", scalar_text(value)))


def render_xml(value: Value) -> str:
    if isinstance(value, TableMap):
        if not value.items:
            return HEAD + "<results />"
        return HEAD + "<results>\n" + "\n".join(_map_items(value, "\t")) + "\n</results>"
    return HEAD + _element("result", "", value, "")


def render_xml_error(message: str) -> str:
    """`message` is escaped already."""
    return HEAD + f'<result>\n\t<error message="{message}" />\n</result>'


def _map_items(value: TableMap, indent: str) -> list[str]:
    lines: list[str] = []
    for key, item in value.items.items():
        attribute = f' {value.key_name}="{text(key)}"'
        if isinstance(item, TableMap):
            lines.append(f"{indent}<result{attribute}>")
            lines.extend(_map_items(item, indent + "\t"))
            lines.append(f"{indent}</result>")
        elif isinstance(item, Table) and item.filled:
            lines.append(f"{indent}<result{attribute} />")
        else:
            lines.append(_element("result", attribute, item, indent))
    return lines


def _element(tag: str, attribute: str, value: Value, indent: str) -> str:
    """A whole element with what is in it."""
    if isinstance(value, Table) and is_single(value):
        value = single_cell(value)
    if isinstance(value, Table):
        lines = _table_lines(value, indent + "\t")
    elif isinstance(value, (Mapping, list, TableMap)):
        lines = _array_lines(value, indent + "\t", top=tag == "result" and not attribute)
    else:
        inner = text(value)
        return (
            f"{indent}<{tag}{attribute}>{inner}</{tag.split()[0]}>"
            if inner
            else f"{indent}<{tag}{attribute} />"
        )
    if not lines:
        return f"{indent}<{tag}{attribute} />"
    return "\n".join([f"{indent}<{tag}{attribute}>", *lines, f"{indent}</{tag}>"])


def _table_lines(table: Table, indent: str) -> list[str]:
    if table.simple:
        return _row_lines(table.rows[0], indent) if table.rows else []
    lines: list[str] = []
    for row in table:
        inner = _row_lines(row, indent + "\t")
        lines.extend([f"{indent}<row>", *inner, f"{indent}</row>"] if inner else [f"{indent}<row />"])
    return lines


def _row_lines(row: Row, indent: str) -> list[str]:
    entries: list[tuple[str, Value]] = list(row.columns.items())
    if row.subtable is not None and row.subtable_id is not None:
        entries.append(("idsubdatatable", row.subtable_id))
    entries.extend(row.metadata.items())
    if row.subtable is not None:
        entries.append(("subtable", row.subtable))
    elif row.subtable_id is not None:
        entries.append(("idsubdatatable", row.subtable_id))
    named = all(_TAG.fullmatch(name) for name, _ in entries)
    lines: list[str] = []
    for name, value in entries:
        lines.extend(_cell_lines(name, value, indent, named=named))
    return lines


def _cell_lines(name: str, value: Value, indent: str, *, named: bool) -> list[str]:
    opening = name if named else f'col name="{text(name)}"'
    closing = name if named else "col"
    if isinstance(value, Table):
        inner = _table_lines(value, indent + "\t")
    elif isinstance(value, Mapping):
        inner = _nested_lines(value, indent + "\t", named=named)
    elif isinstance(value, (list, TableMap)):
        inner = _array_lines(value, indent + "\t")
    else:
        shown = text(value)
        return [f"{indent}<{opening}>{shown}</{closing}>" if shown else f"{indent}<{opening} />"]
    if not inner:
        return [f"{indent}<{opening} />"]
    return [f"{indent}<{opening}>", *inner, f"{indent}</{closing}>"]


def _nested_lines(value: Mapping[str, Value], indent: str, *, named: bool) -> list[str]:
    """A nested column such as goals: one row per key."""
    lines: list[str] = []
    for key, item in value.items():
        if not isinstance(item, Mapping):
            lines.extend(_cell_lines(key, item, indent, named=named and bool(_TAG.fullmatch(key))))
            continue
        attribute = ""
        if "=" in key:
            name, _, number = key.partition("=")
            attribute = f" {name}='{text(number)}'"
        inner: list[str] = []
        for name, cell in item.items():
            inner.extend(_cell_lines(name, cell, indent + "\t", named=named and bool(_TAG.fullmatch(name))))
        lines.extend([f"{indent}<row{attribute}>", *inner, f"{indent}</row>"])
    return lines


def _array_lines(value: Value, indent: str, *, top: bool = False) -> list[str]:
    """Nested arrays: lists as rows, keys as elements where they are names; reports within as reports."""
    if isinstance(value, TableMap):
        return _map_items(value, indent)
    if isinstance(value, Table):
        return _table_lines(value, indent)
    if isinstance(value, list):
        return [line for item in value for line in _array_item("row", "", item, indent)]
    assert isinstance(value, Mapping), "scalars are written by the caller"
    if top and value and not any(isinstance(item, _NESTED) for item in value.values()):
        inner = _array_lines(value, indent + "\t")
        return [f"{indent}<row>", *inner, f"{indent}</row>"]
    lines: list[str] = []
    for key, item in ((str(key), item) for key, item in value.items()):
        if "=" in key and _TAG.fullmatch(key.partition("=")[0]):
            name, _, number = key.partition("=")
            lines.extend(_array_item("row", f' {name}="{text(number)}"', item, indent))
        elif _TAG.fullmatch(key):
            lines.extend(_array_item(key, "", item, indent))
        else:
            lines.extend(_array_item("row", f' key="{text(key)}"', item, indent))
    return lines


_NESTED = (Mapping, list, Table, TableMap)


def _array_item(tag: str, attribute: str, item: Value, indent: str) -> list[str]:
    if isinstance(item, _NESTED):
        inner = _array_lines(item, indent + "\t")
        if not inner:
            return [f"{indent}<{tag}{attribute} />"]
        return [f"{indent}<{tag}{attribute}>", *inner, f"{indent}</{tag}>"]
    shown = text(item)
    return [f"{indent}<{tag}{attribute}>{shown}</{tag}>" if shown else f"{indent}<{tag}{attribute} />"]
