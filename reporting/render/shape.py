"""Which results can be shown as a table."""

from collections.abc import Mapping
from typing import Any

from reporting.errors import ApiError
from reporting.render.php import plain, var_export
from reporting.table import Columns, Row, Table, TableMap, Value

_SHOWN = 500
"""Characters of the offending part in the refusal."""


def _not_convertible(reason: str, part: Any) -> ApiError:
    return ApiError(
        f"Data structure returned is not convertible in the requested format: {reason}"
        f" '{var_export(part)[:_SHOWN]}'. Try to call this method with the parameters"
        " '&format=original&serialize=1'; you will get the original php data structure serialized."
    )


def as_table(value: Value) -> Table:
    """A table for formats that know nothing else. Raises ApiError for deeper structures."""
    if isinstance(value, Table):
        return value
    if isinstance(value, TableMap):
        raise ApiError("A map of tables cannot be shown as one table.")
    if isinstance(value, list):
        return Table([_row_of(item) for item in value])
    if isinstance(value, Mapping):
        for key, item in value.items():
            if isinstance(item, (Mapping, list, Table, TableMap)):
                if isinstance(key, str) and not key.lstrip("-").isdigit():
                    raise _not_convertible(
                        "Only integer keys supported for array columns on base level. Unsupported string"
                        f" '{key}' found for row",
                        plain(item),
                    )
                return Table([_row_of(inner) for inner in value.values()])
        return Table([Row(dict(value))]) if value else Table()
    return Table([Row({"value": value})], simple=True)


def _row_of(item: Value) -> Row:
    if isinstance(item, Table) and item.simple and item.rows:
        return item.rows[0]
    if isinstance(item, Mapping):
        columns: Columns = {}
        for name, cell in item.items():
            if isinstance(cell, (Table, TableMap)):
                raise _not_convertible(f"Unsupported nested table '{name}' found for row", plain(item))
            columns[name] = cell
        return Row(columns)
    if isinstance(item, (list, Table, TableMap)):
        raise _not_convertible("Unsupported nested list found for row", plain(item))
    return Row({"value": item})
