"""The contract between reports and the archives of days, which the process that holds both wires up."""

import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from datetime import date
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from schemas.reports import Aggregate

if TYPE_CHECKING:
    from reporting.kept_groups import KeptGroups

Rows = Sequence[Sequence[Any]]


class KeptAnswers:
    """Answers of statements, by the statement, what is bound to it and the version of the rows that it read.

    None can be out of date: days are bound with the generation of their archive, which is complete before it
    is current and never changes; rows are another version after each change. What is current is asked anew
    for every report. From any thread."""

    def __init__(self, max_bytes: int = 32 << 20) -> None:
        self._max_bytes, self._bytes = max_bytes, 0
        self._answers = OrderedDict[tuple[object, ...], tuple[int, Rows]]()
        self._lock = threading.Lock()

    @staticmethod
    def key(sql: str, parameters: Mapping[str, object], version: int = 0) -> tuple[object, ...]:
        """Of parameters that are plain values and lists of those. `version`: of the rows, where some are
        read."""
        bound = ((name, tuple(v) if isinstance(v, list) else v) for name, v in parameters.items())
        return (sql, version, *sorted(bound))

    def get(self, key: tuple[object, ...]) -> Rows | None:
        with self._lock:
            found = self._answers.get(key)
            if found is None:
                return None
            self._answers.move_to_end(key)
            return found[1]

    def keep(self, key: tuple[object, ...], rows: Rows) -> None:
        """Unless it is large: an eighth of all bytes or more. Those that were not asked for longest make
        room."""
        # of thousands of rows some tell it: to look at each took as long as to read them
        looked_at = rows[:: 1 + len(rows) // 200]
        found = sum(_size(value) for row in looked_at for value in row)
        size = 1000 + found * len(rows) // max(1, len(looked_at))
        if size * 8 > self._max_bytes:
            return
        with self._lock:
            self._bytes += size - self._answers.pop(key, (0, ()))[0]
            self._answers[key] = (size, rows)
            while self._bytes > self._max_bytes:
                _, (freed, _) = self._answers.popitem(last=False)
                self._bytes -= freed


def _size(value: object) -> int:
    """Bytes of a value of an answer, roughly: a text with its object, a number with the reference to it."""
    if isinstance(value, str):
        return 60 + len(value)
    if isinstance(value, (list, tuple)):
        return 60 + (32 * len(value) if value and isinstance(value[0], float) else sum(map(_size, value)))
    return 40


class StoredDay(NamedTuple):
    """Where the archive of a day is read: the name that stands for its segment, and the generation. Days of a
    merged month or year have the same."""

    segment: str
    generation: int


def where_stored(days: Mapping[date, StoredDay]) -> Mapping[str, object]:
    """What is bound to statements that read these archives."""
    return {
        "segments": sorted({one.segment for one in days.values()}),
        "days": list(days),
        "generations": [one.generation for one in days.values()],
    }


class Archives(Protocol):
    """Days computed beforehand. An archive that is older than its rows is never offered."""

    kept: KeptAnswers | None
    """None: other processes write archives, and one may be current before it is complete here."""

    groups: "KeptGroups | None"
    """None where answers are not kept."""

    def rows_version(self) -> int:
        """Another number whenever rows may have changed, as of the request's first look. Blocking. Only
        where answers are kept."""
        ...

    def for_request(self) -> "Archives":
        """The same for one request, which asks once what is current (2 ms of CPU) for all its reports."""
        ...

    def current_days(
        self,
        site_id: int,
        first: date,
        last: date,
        segment: str,
        aggregates: Sequence[Aggregate],
        *,
        by_month: bool = False,
    ) -> Mapping[date, StoredDay]:
        """Days within [first, last] for which all `aggregates` are archived. Blocking. `segment` is empty for
        all visits. `by_month`: those of months and years within may have been merged."""
        ...

    def sql(self, aggregate: Aggregate, metrics: Sequence[str] | None = None, *, one: bool = False) -> str:
        """The columns of schemas.reports.day_sql, of the metrics those that are named, or all. Bound: site,
        report, where_stored. `one`: all days are in one archive; bound are its `generation` and `first` and
        `last`, which are not days of another."""
        ...

    def stored_sql(self, *, one: bool = False) -> str:
        """As schemas.report_queries.stored_form, of several aggregates: bound is `reports` instead of
        `report`."""
        ...

    def key(self, aggregate: Aggregate) -> str:
        """The parameter `report`, one of `reports`."""
        ...

    def frozen_before(self) -> date | None:
        """Days before this one have no rows any more, only archives; None when all have theirs. Blocking."""
        ...

    def unique_days(
        self,
        site_id: int,
        first: date,
        last: date,
        segment: str,
        *,
        typed: bool = False,
        by_month: bool = False,
    ) -> Mapping[date, StoredDay]:
        """The days within [first, last] whose exact states of visitors and users are archived, as
        current_days; `typed`: also those of new and of returning ones. Blocking."""
        ...
