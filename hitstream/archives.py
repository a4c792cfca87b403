"""The sink's archives as the Reporting API reads them."""

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta

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
    OF_ARCHIVES,
    ONE_ARCHIVED_SQL,
    TYPED_UNIQUES,
    UNIQUES,
    Archived,
    ArchivedSegment,
    archive_sql,
    archives_versions,
    current_archives,
    current_days,
    days_with,
    frozen_before,
)
from sink.database import Database, kept_of
from sink.merged_archives import Merged, following, merged_spans, start_of, with_merged
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


_MOST_ANSWERS = 3_000
_NOT_ASKED = -1
_FIRST_DATE, _LAST_DATE = date(1970, 1, 1), date(2149, 5, 31)
"""Of the days that the tables can hold."""
GOES_ON = timedelta(days=4)
"""So long after its end rows of a month come in."""

_Asked = tuple[int, str, date, date]
"""Site, segment, first and last day."""


def parts_to_ask(first: date, last: date, today: date) -> list[tuple[date, date]]:
    """What is asked about at once to know of [first, last]: whole months, the next report is often of
    another day; of those that go on the days alone, whose rows are the fewer the younger their archives."""
    first, last = max(first, _FIRST_DATE), min(last, _LAST_DATE)
    goes_on = start_of("month", today - GOES_ON)
    parts, month = [], start_of("month", first)
    while month <= last and month < goes_on:
        parts.append((month, following("month", month) - timedelta(days=1)))
        month = following("month", month)
    rest = max(first, month)
    return [*parts, (rest, last)] if rest <= last else parts


@dataclass(frozen=True)
class _Known:
    """What current_archives and merged_spans said, by what was asked."""

    writes: int = _NOT_ASKED
    """Database.writes before it was asked; no later one changed it."""
    versions: Mapping[str, int] = field(default_factory=dict)
    """archives_versions, of an embedded database."""
    days: dict[_Asked, Mapping[date, Archived]] = field(default_factory=dict)
    spans: dict[tuple[int, str], Sequence[Merged]] = field(default_factory=dict)
    frozen: list[date | None] = field(default_factory=list)
    """What frozen_before said, if it was asked."""

    def now(self, writes: int, versions: Mapping[str, int]) -> "_Known":
        """What of it still holds."""
        if versions == self.versions:
            return replace(self, writes=writes)
        found = _Known(writes, versions)
        if versions.get(OF_ARCHIVES) == self.versions.get(OF_ARCHIVES):
            changed = {month for month, _ in self.versions.items() ^ versions.items()}
            for (site_id, segment, first, last), days in self.days.copy().items():
                if not any(f"{first:%Y%m}" <= month <= f"{last:%Y%m}" for month in changed):
                    found.days[site_id, segment, first, last] = days
            found.spans.update(self.spans)
            found.frozen.extend(self.frozen[:1])
        return found


class EngineArchives:
    """reporting.archives.Archives over one engine's database."""

    def __init__(self, database: Database, whole: "EngineArchives | None" = None) -> None:
        """`whole`: of all requests, where this is one's."""
        self._database, self._whole = database, whole
        self._is_embedded = database.place.is_embedded
        self.kept = KeptAnswers() if self._is_embedded else None
        self.groups = KeptGroups(kept_of(database.name)) if self._is_embedded else None
        self._frozen: tuple[float, date | None] = (0.0, None)
        self._known = _Known()
        self._keeping = threading.Lock()

    def for_request(self) -> "EngineArchives":
        one = EngineArchives(self._database, self)
        one.kept, one.groups = self.kept, self.groups
        return one

    def rows_version(self) -> int:
        """Blocking."""
        return hash(frozenset(self._what_is_known().versions.items()))

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
        current = days_with(self._current(known, site_id, first, last, segment), reports)
        if by_month and (site_id, segment) not in known.spans:
            known.spans[site_id, segment] = merged_spans(self._database, site_id, segment)
        spans = known.spans[site_id, segment] if by_month else ()
        stored = with_merged(current, spans, segment=segment, reports=reports, first=first, last=last)
        return {day: StoredDay(*one) for day, one in stored.items()}

    def _current(
        self, known: _Known, site_id: int, first: date, last: date, segment: str
    ) -> Mapping[date, Archived]:
        """As current_archives."""
        parts = [(first, last)]
        if self._is_embedded:
            parts = parts_to_ask(first, last, datetime.now(UTC).date())
        found = {part: known.days.get((site_id, segment, *part)) for part in parts}
        missing = [part for part, days in found.items() if days is None]
        if missing:
            since, until = missing[0][0], missing[-1][1]
            current = current_archives(self._database, site_id, since, until, segment=segment)
            if len(known.days) >= _MOST_ANSWERS:
                known.days.clear()
            for start, end in missing:
                of_part = {day: one for day, one in current.items() if start <= day <= end}
                found[start, end] = known.days[site_id, segment, start, end] = of_part
        return {
            day: one for days in found.values() for day, one in (days or {}).items() if first <= day <= last
        }

    def _what_is_known(self) -> _Known:
        """What was said about archives: kept while a request lasts; embedded, until what was asked about
        changes (17 ms of CPU, and 3 to see what did). To a server others write, too."""
        if self._whole is not None:
            with self._keeping:
                if self._known.writes == _NOT_ASKED:
                    self._known = self._whole._what_is_known()
                return self._known
        writes = self._database.writes
        if not self._is_embedded:
            return _Known(writes)
        known = self._known
        if known.writes != writes:
            known = known.now(writes, archives_versions(self._database))
            with self._keeping:
                self._known = known
        return known

    def sql(self, aggregate: Aggregate, metrics: Sequence[str] | None = None, *, one: bool = False) -> str:
        return archive_sql(aggregate, metrics, one=one)

    def stored_sql(self, *, one: bool = False) -> str:
        return ONE_ARCHIVED_SQL if one else ARCHIVED_SQL

    def key(self, aggregate: Aggregate) -> str:
        return report_key(aggregate)

    def frozen_before(self) -> date | None:
        """Of a server it is asked about once a second: it moves once a month."""
        if self._whole is not None:
            return self._whole.frozen_before()
        if self._is_embedded:
            known = self._what_is_known()
            if not known.frozen:
                known.frozen.append(frozen_before(self._database))
            return known.frozen[0]
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
