"""The contract between reports and the archives of days, which the process that holds both wires up."""

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Protocol

from schemas.reports import Aggregate


class Archives(Protocol):
    """Days computed beforehand. An archive that is older than its rows is never offered."""

    def current_days(
        self, site_id: int, first: date, last: date, segment: str, aggregates: Sequence[Aggregate]
    ) -> Mapping[date, int]:
        """Days within [first, last] for which all `aggregates` are archived, with the generation to read.
        Blocking. `segment` is empty for all visits."""
        ...

    def sql(self, aggregate: Aggregate, metrics: Sequence[str] | None = None) -> str:
        """The columns of schemas.reports.day_sql, of the metrics those that are named, or all. Bound: site,
        segment, report, days, generations."""
        ...

    def stored_sql(self) -> str:
        """As schemas.report_queries.stored_form, of several aggregates: bound is `reports` instead of
        `report`."""
        ...

    def key(self, aggregate: Aggregate) -> str:
        """The parameter `report`, one of `reports`."""
        ...

    def frozen_before(self) -> date | None:
        """Days before this one have no rows any more, only archives; None when all have theirs. Blocking."""
        ...

    def unique_days(self, site_id: int, first: date, last: date, segment: str) -> Mapping[date, int]:
        """The days within [first, last] whose exact states of visitors and users are archived, with the
        generation to read. Blocking."""
        ...
