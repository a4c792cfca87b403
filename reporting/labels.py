"""Rows by their label, as the parameter `label` names them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from html import unescape
from urllib.parse import unquote_plus

from reporting.table import Row, Table


@dataclass(frozen=True)
class _WantedLabel:
    """One step of a label; `terminal` (an `@` before it) prefers a leaf to a branch of the same name."""

    text: str
    terminal: bool = False

    def variations(self) -> tuple[str, str]:
        decoded = unquote_plus(self.text).strip()
        return (" " + decoded, decoded) if self.terminal else (decoded, " " + decoded)


def _wanted(text: str) -> _WantedLabel:
    """An `@` that is still encoded belongs to the label."""
    text = text.strip()
    return _WantedLabel(unquote_plus(text.removeprefix("@")).strip(), text.startswith("@"))


def _descend(table: Table, path: Sequence[_WantedLabel]) -> Row | None:
    wanted = path[0].variations()
    found = next((row for label in wanted for row in table if str(row.label) == label), None)
    if found is None or len(path) == 1:
        return found
    return None if found.subtable is None else _descend(found.subtable, path[1:])


def find_label(table: Table, label: str) -> Row | None:
    """The row of a label; `a > b` walks to a sub row unless a label contains the whole text.

    Labels are decoded once more than HTTP does, since clients send them encoded twice; a `>` that is still
    encoded belongs to a label. `@` marks a leaf."""
    given = label.strip()
    row = _descend(table, [_wanted(given)])
    if row is not None or ">" not in unquote_plus(given):
        return row
    for path in (given, unquote_plus(given)):
        parts = [_wanted(part) for part in path.split(">")]
        if len(parts) < 2 or not all(part.text for part in parts):
            continue
        # some clients send labels as they stand in HTML
        as_html = [replace(part, text=unescape(part.text)) for part in parts]
        for labels in (parts, as_html):
            found = _descend(table, labels)
            if found is not None:
                return found
    return None


def keep_labels(table: Table, labels: Sequence[str], add_index: bool) -> Table:
    """The rows of the labels in their order; `label_index` tells which label found a row (the last one)."""
    found = [
        (index, row) for index, label in enumerate(labels) if (row := find_label(table, label)) is not None
    ]
    if not add_index:
        return table.with_rows([row for _, row in found], None)
    last = {id(row): index for index, row in found}
    return table.with_rows(
        [row.with_metadata({**row.metadata, "label_index": last[id(row)]}) for _, row in found], None
    )
