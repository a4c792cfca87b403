"""The contract between the dispatcher and the methods of the Reporting API.

A module of `reporting.methods` registers its methods in a literal `METHODS: dict[str, Method]`, keyed
`Module.action` in Matomo's spelling. A method has either

- `cells`: a report. Called once with all (site, period) cells of the request; returns a result for each
  cell. It may answer all of them with one query.
- `answer`: everything else. Called once; returns the whole result.

Both may be plain or async functions. They raise `ApiError` to refuse. Generic filters (limits, sorting,
flattening, showColumns ...) and rendering are applied by the caller: methods leave them alone.
"""

import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import Any, Literal, NamedTuple, Protocol, TypeAlias
from urllib.parse import unquote_plus

from reporting.parameters import Parameters
from reporting.periods import Period
from reporting.table import Result, Row, Scalar, Table
from schemas.access import Grant
from schemas.config import Config, ConfigEvent
from schemas.report_queries import Cut


class Cell(NamedTuple):
    site_id: int
    period: Period


class Database(Protocol):
    """The ClickHouse database of this process. Raises its driver's errors."""

    async def select(self, sql: str, parameters: Mapping[str, object] = ...) -> Sequence[Mapping[str, Any]]:
        """The rows of a query with bound parameters ({name:Type} in the text), keyed by column."""
        ...

    async def rows(self, sql: str, parameters: Mapping[str, object] = ...) -> Sequence[Sequence[Any]]:
        """The same, each row in the order of the query's columns: for answers of many rows."""
        ...

    async def command(self, sql: str, parameters: Mapping[str, object] = ...) -> None:
        """Runs a statement for its effect."""
        ...


ConfigChange: TypeAlias = Callable[[Config], Sequence[ConfigEvent]]
"""Events to append, decided from the newest configuration while nobody else writes."""


class Call(Protocol):
    """Asks another method with the rights of a request; its result is filtered but not rendered."""

    def __call__(self, values: Mapping[str, Any], cuts: Mapping[str, Cut] | None = None) -> Awaitable[Result]:
        """`cuts`: the parts of aggregates that are enough, by name. Raises ApiError."""
        ...


EVERY_ROW = sys.maxsize


@dataclass(frozen=True, kw_only=True)
class ApiRequest:
    """One call of one method, typed. Site and period are already checked and access is already granted."""

    method: str
    """Module.action as registered."""
    parameters: Parameters
    sites: tuple[int, ...] = ()
    """In the order asked; one when the method takes a single idSite; empty when it takes none."""
    several_sites: bool = False
    """The answer is keyed by site (`1,2` and `all`, even when `all` is one site)."""
    periods: tuple[Period, ...] = ()
    several_periods: bool = False
    segment: str = ""
    """As sent, decoded once by HTTP. Empty: all visits."""
    language: str = "en"
    grant: Grant
    config: Config
    now: datetime
    """Aware, UTC."""
    database: Database
    change: Callable[[ConfigChange], Awaitable[Config]]
    """Appends to the configuration and returns the one that contains it. Raises what the change raises."""
    call: Call
    cuts: Mapping[str, Cut] = field(default_factory=dict)
    """Parts of aggregates that are read instead of the whole."""
    rows_needed: int | None = None
    """So many first rows in the report's own order (or EVERY_ROW) are all that is shown of its table, without
    their sub tables. None: the whole table is needed."""
    state: Mapping[str, Any]
    """What the process lends its methods: `tokens` (stream.secrets.TokenStore), `users`
    (stream.users.UserStore), `compatibility` (full, strict), `base_url`, `client`, `methods`."""

    @property
    def site_id(self) -> int:
        """The site of a method that takes one."""
        return self.sites[0]

    @property
    def period(self) -> Period:
        return self.periods[0]

    @property
    def cells(self) -> tuple[Cell, ...]:
        """Sites outside, periods inside, in the order of the answer."""
        return tuple(Cell(site, period) for site in self.sites for period in self.periods)

    @property
    def wants_subtables(self) -> bool:
        """Rows need their sub tables loaded (all levels, sub rows with all their metadata)."""
        labels = self.parameters.texts("label")
        return (
            self.parameters.flag("expanded")
            or self.parameters.flag("flat")
            or bool(self.parameters.text("pivotBy"))
            or any(">" in unquote_plus(label) for label in labels)
        )

    @property
    def looks_below(self) -> bool:
        """Rows below the first level are shown, searched or asked for by label: of the others it is enough
        whether there are any."""
        parameters = self.parameters
        return (
            self.wants_subtables
            or any(label.strip() for label in parameters.texts("label"))
            or bool(parameters.text("filter_pattern_recursive"))
        )

    @property
    def reads_subtables(self) -> bool:
        """As `looks_below`, or one is asked for, or the limits of a strict instance cut them."""
        return (
            self.looks_below
            or bool(self.parameters.integer("idSubtable"))
            or self.state.get("compatibility") == "strict"
        )

    def with_segment(self, segment: str) -> "ApiRequest":
        return replace(self, segment=segment)


class Access(StrEnum):
    """What a caller needs. `view`, `write` and `admin` are asked for every site of the request when the
    method takes sites, and for at least one site when it takes none."""

    NONE = "none"
    VIEW = "view"
    SOME_VIEW = "some view"
    WRITE = "write"
    ADMIN = "admin"
    SOME_ADMIN = "some admin"
    SUPERUSER = "superuser"


class Unit(StrEnum):
    """How a metric is written when it is formatted."""

    NUMBER = "number"
    PERCENT = "percent"
    """A fraction; shown as `14%`, `66.67%`, as many digits as the fraction was rounded to, at most two."""
    SECONDS = "seconds"
    """Whole seconds, `12 min 53s` with format_metrics=1."""
    CLOCK = "clock"
    """Whole seconds, `00:04:20` with format_metrics=1."""
    SHORT_SECONDS = "short seconds"
    """Seconds with a fraction, `0.46s` with format_metrics=1."""
    MONEY = "money"
    BYTES = "bytes"


@dataclass(frozen=True, kw_only=True)
class ProcessedMetric:
    """A column computed from others, after rows were limited. Rounding is part of `compute`."""

    name: str
    compute: Callable[[Row, Table], Scalar]
    """(row, its table) -> value; the table is whole (not limited), for shares of a total."""
    unit: Unit = Unit.NUMBER
    first_level_only: bool = False
    """Rows of sub tables do not get it."""
    applies: Callable[[Table], bool] | None = None
    """Whether the (top) table gets the column at all; None: always."""
    totalled: bool = False
    """The total of a processed report adds it up, as if it were stored."""


@dataclass(frozen=True, kw_only=True)
class ReportShape:
    """What generic filters must know about a report."""

    name: str = ""
    """In English, for file names and feeds: `Page URLs`."""
    dimension: str = ""
    """Metadata name of the dimension in flat tables: `Actions_PageUrl`."""
    dimension_parameter: str = ""
    """A parameter whose value ends the name of the dimension."""
    subtable_dimension: str = ""
    """Dimension of the rows one level down; empty: the same (page trees) or none."""
    subtable_method: str = ""
    """The method that answers idSubtable of this report's rows."""
    recursive: bool = False
    """The sub tables hold the same dimension at any depth (page URLs, titles)."""
    flattens: bool = True
    """False: flat=1 leaves the rows as they are, without sub tables."""
    flat_separator: str = " - "
    sort_column: str = "nb_visits"
    """Default order; reports with ids or names in a fixed order use `label` or empty (as stored)."""
    sort_order: str = "desc"
    row_limit: str = ""
    """Group of reports (reporting.row_limits) whose limit of rows a strict instance keeps; empty: none."""
    sort_stored: bool = False
    """The report's order is its own: nothing is sorted unless filter_sort_column asks."""
    subtables_by_label: bool = False
    """In the default order rows of sub tables go by their labels."""
    processed: tuple[ProcessedMetric, ...] = ()
    units: Mapping[str, Unit] | None = None
    """Units of columns that are not processed metrics."""
    segment_early: bool = False
    """The segment precedes what comparisons and flattening add to a row's metadata."""
    folder_segment_early: bool = False
    """The same only for rows that have others below them."""
    temporary: tuple[str, ...] = ()
    """Columns that are only there to compute others; shown with showRawMetrics=1 or hideColumns."""
    selects_columns: bool = False
    """The method itself understands `columns`."""
    nested_metadata: bool = False
    """The rows of expanded sub tables keep their metadata."""
    hidden: tuple[str, ...] = ()
    """Columns that are only there to compute others and are never shown."""
    date_key: Literal["date", "period"] = "date"
    """What a map of dates of one site calls its key."""
    always_compared: tuple[str, ...] = ()
    """Metrics that a comparison shows of a date without visits; empty: the processed ones of every table."""
    nested_hiding: bool = False
    """hideColumns reaches into nested values (Live)."""


CellsFunction: TypeAlias = Callable[[ApiRequest], Mapping[Cell, Result] | Awaitable[Mapping[Cell, Result]]]
AnswerFunction: TypeAlias = Callable[[ApiRequest], "Result | Awaitable[Result]"]


@dataclass(frozen=True, kw_only=True)
class Method:
    """One API method. Exactly one of `cells` and `answer` is set."""

    cells: "CellsFunction | None" = None
    answer: "AnswerFunction | None" = None
    access: Access = Access.VIEW
    required: tuple[str, ...] = ()
    """Parameters that must be present, in the order in which a missing one is named. Reports need
    idSite, period and date without saying so."""
    takes_sites: bool = False
    """For `answer` methods: idSite is parsed and checked. Reports always take sites."""
    takes_period: bool = False
    site_optional: bool = False
    several_sites: bool = True
    """False: `X with multiple sites is not supported (yet).`"""
    several_periods: bool = True
    one_date_per_site: bool = False
    """Of several sites and dates, a strict instance shows each site's first date that has a row."""
    filters: bool = True
    """False: generic filters (limit, sort, label ...) leave the answer alone."""
    shape: ReportShape = ReportShape()
