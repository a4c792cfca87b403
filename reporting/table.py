"""What a method of the Reporting API returns, before generic filters and rendering.

A method returns one of

- a `Table`: the rows of a report. Columns keep the order in which they were set, and answers show that order.
  Values are numbers and texts as they are; percentages are fractions and times are seconds, because
  formatting comes last (`reporting.postprocess`). A column may hold a nested dict (`goals`) or list.
- a scalar, a list or a dict: configuration and metadata methods. Dicts and lists may contain tables
  (processed reports, transitions).

Reports are asked for cells, (site, period) pairs; the dispatcher merges the cells into a `TableMap` when the
request names several sites or dates. Methods never build maps for sites and dates themselves.

Rows and tables are written by whoever makes them and not changed afterwards: filters return new tables that
may share rows and sub tables with the old ones.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

Scalar: TypeAlias = bool | int | float | str | None
Value: TypeAlias = "Scalar | Mapping[str, Value] | list[Value] | Table | TableMap"
Columns: TypeAlias = dict[str, Value]


@dataclass(slots=True)
class Row:
    """One row: `columns` (with `label` first for reports that have a dimension), then `metadata`
    (segment, url, logo ...).

    `subtable_id` is the positive number an answer shows as idsubdatatable; it is what a client sends back
    as idSubtable. A row may have an id without a loaded `subtable` (requests without expanded or flat).
    """

    columns: Columns
    metadata: Columns = field(default_factory=dict)
    subtable: "Table | None" = None
    subtable_id: int | None = None
    stored_label: str | None = None
    """The label as it was before it was decoded for reading; None: the same."""

    @property
    def label(self) -> Scalar:
        value = self.columns.get("label")
        return value if not isinstance(value, (Mapping, list, Table, TableMap)) else None

    def with_columns(self, columns: Columns) -> "Row":
        return Row(columns, self.metadata, self.subtable, self.subtable_id, self.stored_label)

    def with_metadata(self, metadata: Columns) -> "Row":
        return Row(self.columns, metadata, self.subtable, self.subtable_id, self.stored_label)

    def with_subtable(self, subtable: "Table | None") -> "Row":
        return Row(self.columns, self.metadata, subtable, self.subtable_id, self.stored_label)


@dataclass(slots=True)
class Table:
    """An ordered report. `rows` are in stored order (the order of the archive: by the main metric,
    descending); the sort filter decides what a client sees.

    `summary` is the row of everything that was cut off (Others): it stays last however rows are sorted.
    `simple` tables have exactly one row without a label (VisitsSummary.get) and are shown as an object, a
    one-column one as a bare value. `filled` marks a simple table without data whose columns are zeros: it is
    shown with its zeros when asked alone and as empty inside a map. `single` names the one metric that a
    method of one number returns (VisitsSummary.getVisits), in any number of cells.
    """

    rows: list[Row] = field(default_factory=list)
    summary: Row | None = None
    totals: Columns | None = None
    """The sums over all rows, set by totals=1 or by the report."""
    metadata: dict[str, Value] = field(default_factory=dict)
    simple: bool = False
    filled: bool = False
    single: bool = False

    def __iter__(self) -> Iterator[Row]:
        yield from self.rows
        if self.summary is not None:
            yield self.summary

    def __len__(self) -> int:
        return len(self.rows) + (self.summary is not None)

    def with_rows(self, rows: Iterable[Row], summary: Row | Literal["keep"] | None = "keep") -> "Table":
        """The same table with other rows; the summary row stays unless one (or None) is given."""
        return Table(
            list(rows),
            self.summary if summary == "keep" else summary,
            self.totals,
            self.metadata,
            self.simple,
            self.filled,
            self.single,
        )

    def map_rows(self, change: Callable[[Row], Row]) -> "Table":
        """Every row changed, the summary row too."""
        return self.with_rows(
            [change(row) for row in self.rows], None if self.summary is None else change(self.summary)
        )


def simple_table(columns: Columns, *, filled: bool = False) -> Table:
    """A one-row report. `filled`: the site has no data in this cell and the columns are zeros."""
    return Table([Row(columns)], simple=True, filled=filled)


def single_value(name: str, value: Value, *, filled: bool = False) -> Table:
    """A report of one number, such as VisitsSummary.getVisits."""
    return Table([Row({name: value})], simple=True, filled=filled, single=True)


@dataclass(slots=True)
class TableMap:
    """Several tables (or maps of tables) under the keys of one dimension.

    With both, sites are the outer map. Dates are keyed as Matomo writes them: 2010-01-04, 2010-01,
    2010, or `2010-01-04,2010-01-10`; sites by their id. Items keep their order.
    """

    key_name: Literal["date", "period", "idSite", "prettyDate", "defaultKeyName"]
    items: dict[str, "Value"]


Result: TypeAlias = Value
