"""The sink's archives as the Reporting API reads them."""

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta

from reporting.archives import KeptAnswers, StoredDay
from reporting.errors import ApiError
from reporting.kept_groups import KeptGroups
from reporting.names import resolve_names
from reporting.segments import archived_segments, compile_segment, parse_segment
from schemas.config import Config
from schemas.reports import Aggregate
from sink.archives import (
    ARCHIVED_SQL,
    FROZEN_KNOWN_SECONDS,
    TYPED_UNIQUES,
    UNIQUES,
    Archived,
    ArchivedSegment,
    archive_sql,
    archives_version,
    current_archives,
    current_days,
    days_with,
    frozen_before,
)
from sink.database import Database, kept_of
from sink.merged_archives import Merged, merged_spans, with_merged
from sink.report_keys import report_key
from stream.config import ConfigFollower
from stream.protocol import Log

FROZEN_TRUSTED_SECONDS = FROZEN_KNOWN_SECONDS / 2


class SharedConfig:
    """The configuration now, for threads that compute archives."""

    def __init__(self, log: Log) -> None:
        self._follower = ConfigFollower(log)
        self._following = threading.Lock()

    def __call__(self) -> Config:
        """Raises LogError."""
        with self._following:
            return self._follower.refresh()

    def close(self) -> None:
        self._follower.close()


class StoredSegments:
    """What is archived of a site besides all visits: its stored segments that ask for it.

    One whose definition means nothing now is left out; asked for, it is refused."""

    def __init__(self, config: Callable[[], Config]) -> None:
        self._config = config

    def __call__(self, site_id: int) -> list[ArchivedSegment]:
        config = self._config()
        found: dict[str, ArchivedSegment] = {}
        for stored in archived_segments(config, site_id):
            try:
                parts = parse_segment(stored.definition)
                names = resolve_names(config, site_id)
                compiled = compile_segment(parts, site_id=site_id, config=config, resolve=names)
            except ApiError:
                continue
            if not compiled.is_all:
                found[compiled.key] = ArchivedSegment(
                    key=compiled.key,
                    visit=compiled.visit,
                    ids=compiled.ids(),
                    parameters=compiled.parameters,
                )
        return list(found.values())


_MOST_ANSWERS = 10_000
_NOT_ASKED, _OF_A_SERVER = -1, -2


@dataclass(frozen=True)
class _Known:
    """What an embedded database has, by what was asked."""

    version: int
    days: dict[tuple[int, date, date, str], Mapping[date, Archived]] = field(default_factory=dict)
    spans: dict[tuple[int, str], Sequence[Merged]] = field(default_factory=dict)


class EngineArchives:
    """reporting.archives.Archives over one engine's database."""

    def __init__(self, database: Database, whole: "EngineArchives | None" = None) -> None:
        """`whole`: of all requests, where this is one's."""
        self._database, self._whole = database, whole
        embedded = database.place.is_embedded
        self.kept = KeptAnswers() if embedded else None
        self.groups = KeptGroups(kept_of(database.name)) if embedded else None
        self._frozen: tuple[float, date | None] = (0.0, None)
        self._known = _Known(_NOT_ASKED)
        self._keeping = threading.Lock()

    def for_request(self) -> "EngineArchives":
        one = EngineArchives(self._database, self)
        one.kept, one.groups = self.kept, self.groups
        return one

    def rows_version(self) -> int:
        """Blocking."""
        return self._what_is_known().version

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
        """Blocking."""
        reports = [report_key(one) for one in aggregates]
        return self._stored_days(site_id, first, last, segment, reports, by_month=by_month)

    def _stored_days(
        self, site_id: int, first: date, last: date, segment: str, reports: Sequence[str], *, by_month: bool
    ) -> Mapping[date, StoredDay]:
        known = self._what_is_known()
        asked = (site_id, first, last, segment)
        if asked not in known.days:
            known.days[asked] = current_archives(self._database, site_id, first, last, segment=segment)
        current = days_with(known.days[asked], reports)
        if by_month and (site_id, segment) not in known.spans:
            known.spans[site_id, segment] = merged_spans(self._database, site_id, segment)
        spans = known.spans[site_id, segment] if by_month else ()
        stored = with_merged(current, spans, segment=segment, reports=reports, first=first, last=last)
        return {day: StoredDay(*one) for day, one in stored.items()}

    def _what_is_known(self) -> "_Known":
        """What current_archives and merged_spans said: kept while a request lasts; embedded, until any of
        their rows change (12 ms of CPU become 2). To a server others write, too."""
        if self._whole is not None:
            with self._keeping:
                if self._known.version == _NOT_ASKED:
                    self._known = self._whole._what_is_known()
                return self._known
        if not self._database.place.is_embedded:
            return _Known(_OF_A_SERVER)
        version = archives_version(self._database)
        with self._keeping:
            known = self._known
            if version != known.version or len(known.days) >= _MOST_ANSWERS:
                known = self._known = _Known(version)
        return known

    def sql(self, aggregate: Aggregate, metrics: Sequence[str] | None = None) -> str:
        return archive_sql(aggregate, metrics)

    def stored_sql(self) -> str:
        return ARCHIVED_SQL

    def key(self, aggregate: Aggregate) -> str:
        return report_key(aggregate)

    def frozen_before(self) -> date | None:
        """Asked about once a second: it moves once a month."""
        if self._whole is not None:
            return self._whole.frozen_before()
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
        """Blocking. Of days without rows every state counts, also one of user ids as they were sent."""
        reports = [UNIQUES, TYPED_UNIQUES] if typed else [UNIQUES]
        found = self._stored_days(site_id, first, last, segment, reports, by_month=by_month)
        frozen = {} if segment or typed else self.frozen_days(site_id, first, last)
        return {**{day: StoredDay(segment, generation) for day, generation in frozen.items()}, **found}
