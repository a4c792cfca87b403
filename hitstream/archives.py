"""The sink's archives as the Reporting API reads them."""

import time
from collections.abc import Mapping, Sequence
from datetime import date, timedelta

from schemas.reports import Aggregate
from sink.archives import archive_sql, current_days, frozen_before, report_key
from sink.database import Database

FROZEN_TRUSTED_SECONDS = 5.0


class EngineArchives:
    """reporting.archives.Archives over one engine's database."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._frozen: tuple[float, date | None] = (0.0, None)

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

    def frozen_before(self) -> date | None:
        """Asked every few seconds: it moves once a month."""
        asked_at, found = self._frozen
        if not asked_at or time.monotonic() - asked_at > FROZEN_TRUSTED_SECONDS:
            found = frozen_before(self._database)
            self._frozen = (time.monotonic(), found)
        return found

    def frozen_days(self, site_id: int, first: date, last: date) -> Mapping[date, int]:
        frozen = self.frozen_before()
        if frozen is None or first >= frozen:
            return {}
        return current_days(self._database, site_id, first, min(last, frozen - timedelta(days=1)), reports=())
