"""The sink's archives as the Reporting API reads them."""

from collections.abc import Mapping, Sequence
from datetime import date

from schemas.reports import Aggregate
from sink.archives import archive_sql, current_days, report_key
from sink.database import Database


class EngineArchives:
    """reporting.archives.Archives over one engine's database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def current_days(
        self, site_id: int, first: date, last: date, segment: str, aggregates: Sequence[Aggregate]
    ) -> Mapping[date, int]:
        """Blocking."""
        keys = [report_key(one) for one in aggregates]
        return current_days(self._database, site_id, first, last, segment=segment, reports=keys)

    def sql(self, aggregate: Aggregate) -> str:
        return archive_sql(aggregate)

    def key(self, aggregate: Aggregate) -> str:
        return report_key(aggregate)
