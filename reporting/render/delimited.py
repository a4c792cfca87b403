"""CSV and TSV: the lines of all tables of a map stand under one header, which grows as columns are met."""

import re
from collections.abc import Mapping
from typing import Any

from reporting.render.php import is_single, plain, scalar_text, single_cell
from reporting.render.shape import as_table
from reporting.table import Table, TableMap, Value
from reporting.wording import column_title

NO_DATA = "No data available"
_NUMERIC = re.compile(r"[+-]?[0-9.,]+\s?%?|[+-]")


class _Writer:
    """Columns in the order in which they were met, and the lines written so far.

    A line has a field for every column known when its table ended, as in Matomo: lines of later tables may be
    longer than the earlier ones, never than the header."""

    def __init__(self, separator: str, language: str, *, translate: bool, metadata: bool) -> None:
        self.separator = separator
        self.language = language
        self.translate = translate
        self.metadata = metadata
        self.columns: dict[str, None] = {}

    def field(self, text: str) -> str:
        """One cell; a text that a spreadsheet would run as a formula gets a quote in front."""
        text = text.replace("\r\n", " ").replace("\n", " ").replace("\r", " ").replace("\t", " ")
        if text[:1] in ("=", "+", "-", "@") and not _NUMERIC.fullmatch(text):
            text = "'" + text
        if any(mark in text for mark in ('"', ",", ";", self.separator)):
            return '"' + text.replace('"', '""') + '"'
        return text

    def table_lines(self, table: Table) -> list[str]:
        rows: list[dict[str, str]] = []
        for row in table:
            cells: dict[str, str] = {}
            for name, value in row.columns.items():
                _flatten(name, value, cells)
            if self.metadata:
                for name, value in row.metadata.items():
                    _flatten(f"metadata_{name}", value, cells)
            self.columns.update(dict.fromkeys(cells))
            rows.append(cells)
        return [self.line(cells) for cells in rows]

    def line(self, cells: Mapping[str, str]) -> str:
        return self.separator.join(self.field(cells.get(name, "")) for name in self.columns)

    def map_lines(self, value: TableMap) -> list[str]:
        lines: list[str] = []
        for key, item in value.items.items():
            shown = self.field(key)
            if isinstance(item, TableMap):
                inner = self.map_lines(item)
            elif isinstance(item, Table) and item.filled and not is_single(item):
                inner = []
            elif isinstance(item, Table) and is_single(item):
                self.columns.setdefault("value")
                inner = [self.field(scalar_text(single_cell(item)))]
            elif isinstance(item, Table):
                inner = self.table_lines(item)
            else:
                self.columns.setdefault("value")
                inner = [self.field(scalar_text(item))]
            lines.extend(f"{shown}{self.separator}{line}" for line in inner)
        self.columns = {value.key_name: None, **self.columns}
        return lines

    def header(self) -> str:
        titles = [column_title(name, self.language) if self.translate else name for name in self.columns]
        return self.separator.join(self.field(title) for title in titles)


def _flatten(name: str, value: Value, cells: dict[str, str]) -> None:
    """Nested values become one column per leaf: goals_idgoal=1_revenue, actionDetails_0_url."""
    if isinstance(value, Table) and name == "metadata_comparisons":
        cells[name] = str(value.metadata.get("number", len(value)))
        return
    nested: Any = plain(value) if isinstance(value, (Table, TableMap, Mapping, list)) else value
    if isinstance(nested, dict):
        for key, inner in nested.items():
            _flatten(f"{name}_{key}", inner, cells)
    elif isinstance(nested, list):
        for position, inner in enumerate(nested):
            _flatten(f"{name}_{position}", inner, cells)
    else:
        cells[name] = scalar_text(nested)


def render_delimited(value: Value, *, separator: str, language: str, translate: bool, metadata: bool) -> str:
    """Raises ApiError for structures that are no table."""
    writer = _Writer(separator, language, translate=translate, metadata=metadata)
    if isinstance(value, TableMap):
        lines = writer.map_lines(value)
    else:
        table = as_table(value)
        if is_single(table):
            title = column_title("value", language) if translate else "value"
            return f"{writer.field(title)}\n{writer.field(scalar_text(single_cell(table)))}"
        if isinstance(value, list) and all(list(row.columns) == ["value"] for row in table) and len(table):
            return "\n".join(writer.field(scalar_text(row.columns["value"])) for row in table)
        lines = writer.table_lines(table)
    if not lines and not isinstance(value, TableMap):
        return NO_DATA
    return "\n".join([writer.header(), *lines])
