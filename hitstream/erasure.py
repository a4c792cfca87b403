"""Data subjects are forgotten: their visits, the hits these were made of, and every copy of both.

A deletion is first a fact on `history` with the numbers of the hits. Processors fold the owners without them
and clean their files, ingest takes the hits out of the log, and this module takes rows, raw hits and archives
out of the database. A start carries out what an earlier process did not finish.
"""

import logging
import threading
import time
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date

from clickhouse_connect.driver.exceptions import ClickHouseError

from hitstream.erased_hits import ErasedHits, hits_on_log
from hitstream.history import StoredHit, read_hits, wait_for_sink
from hitstream.replay import wait_until_committed
from processors.service import GROUP
from schemas.history import (
    GONE_FROM_LOG,
    Erasure,
    ErasureDone,
    Rewrite,
    encode_fact,
)
from schemas.topics import (
    ACTIONS,
    CONVERSION_ITEMS,
    CONVERSIONS,
    DEAD,
    HISTORY,
    HITS,
    LINKS,
    ORDER_VERDICTS,
    ORDERS,
    REPAIRS,
    VISITS,
    partition_of,
)
from sink.archives import forget_days, frozen_before
from sink.database import Database
from sink.encoding import SiteDay
from sink.ledger import Stored
from stream.faults import crash_point
from stream.protocol import Appender, Log, LogError, LogResetError, TopicPartition

logger = logging.getLogger("hitstream.erasure")

HITS_PER_FACT = 5_000
GAP_SECONDS = 1800
"""An excluded hit this near to a deleted visit goes with it."""
PROCESS_SECONDS = 300.0
RETRY_SECONDS = 5.0
LOOK_SECONDS = 2.0
LONGEST_LOOK_SECONDS = 300.0
ON_LOG_SECONDS = 86_400.0 + 3_600.0
"""How long after a deletion the log may have files with what was erased (stream.protocol.Log.forget)."""
_OUTPUTS = frozenset(topic.name for topic in (VISITS, ACTIONS, CONVERSIONS, CONVERSION_ITEMS, DEAD))
"""Topics that only the sink reads."""
_TOLD = frozenset(topic.name for topic in (LINKS, ORDERS, ORDER_VERDICTS, REPAIRS))
"""Topics by which owners learn of each other."""
_TABLES = {
    "visits": "visit_id", "actions": "hit_id", "conversions": "hit_id", "conversion_items": "hit_id",
    "hits": "hit_id",
}  # fmt: skip
"""Table -> the column that names a hit; a visit has the id of its first one."""


@dataclass(frozen=True)
class Subject:
    """One visit of a data subject."""

    site_id: int
    visit_id: int


@dataclass
class Forgotten:
    """What a deletion took out, by table."""

    visits: int = 0
    hits: int = 0
    rows: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class _Visit:
    site_id: int
    visit_id: int
    owner: int
    visitor_id: int
    first_time: int
    last_time: int

    @property
    def key(self) -> tuple[int, int]:
        return (self.first_time, self.visit_id)


class Eraser:
    """Carries out deletions, one at a time. `run` in a thread finishes what was begun; `delete` from any."""

    def __init__(
        self,
        log: Log,
        database: Database,
        sink: Stored,
        on_site_days: Callable[[set[SiteDay]], None],
        facts: Appender,
        erased: ErasedHits,
        window: Callable[[], int],
    ) -> None:
        """`window`: for how many seconds after their receipt ingest may read hits again."""
        self._window = window
        self._log, self._database, self._sink, self._on_site_days = log, database, sink, on_site_days
        self._facts, self._erased = facts, erased
        self._unfinished = erased.unfinished()
        self.working = threading.Lock()
        """Held by whoever changes the past of people."""
        self._stop = threading.Event()

    def delete(self, subjects: Collection[Subject]) -> Forgotten:
        """Returns when neither reports nor tables have the visits any more; the disk follows within minutes.

        Blocking. Raises LogError: what is not finished then is finished by `run`."""
        with self.working:
            by_site: dict[int, list[int]] = defaultdict(list)
            for subject in subjects:
                by_site[subject.site_id].append(subject.visit_id)
            found = Forgotten()
            for site_id, visit_ids in by_site.items():
                self._delete_of_site(site_id, sorted(set(visit_ids)), found)
            return found

    def hits_of(self, site_id: int, visit_ids: Sequence[int]) -> list[StoredHit]:
        """The raw hits that a deletion of the visits would take, in the order of their ids."""
        visits = self._visits(site_id, "visit_id IN {ids:Array(UInt64)}", visit_ids)
        named = self._hits_of_rows(site_id, visits)
        found = [one for of_owner in self._hits_of(site_id, visits, named).values() for one in of_owner]
        return sorted(found, key=lambda one: one.hit.hit_id)

    def _delete_of_site(self, site_id: int, visit_ids: Sequence[int], found: Forgotten) -> None:
        visits = self._visits(site_id, "visit_id IN {ids:Array(UInt64)}", visit_ids)
        if not visits:
            return
        # What was accepted before the request belongs to it, wherever it is now.
        self._catch_up(HITS.name, {partition_of(one.owner, self._log.partitions) for one in visits})
        visits = self._visits(site_id, "visit_id IN {ids:Array(UInt64)}", visit_ids)
        places = self._hits_of_rows(site_id, visits)
        hits = self._hits_of(site_id, visits, places)
        for owner, of_owner in hits.items():
            places[owner].update((one.hit.hit_id, one.offset) for one in of_owner)
        number = time.time_ns()
        facts = [
            (partition_of(owner, self._log.partitions), fact)
            for owner, of_owner in places.items()
            for fact in erasures_of(site_id, owner, of_owner, number)
        ]
        found.visits += len(visits)
        found.hits += sum(map(len, hits.values()))
        self._erased.add(facts)
        self._facts.append([(partition, b"", encode_fact(fact)) for partition, fact in facts])
        crash_point("erasure.recorded")
        for table, count in self._carry_out(facts).items():
            found.rows[table] = found.rows.get(table, 0) + count

    def rewritten(self, site_id: int, places: Mapping[int, Sequence[int]]) -> None:
        """The hits at these offsets (by owner) are others in the table of raw hits: state, rows, archives and
        log follow. Blocking; the caller holds `working`. Raises LogError."""
        number = time.time_ns()
        facts = [
            (
                partition_of(owner, self._log.partitions),
                Rewrite(site_id, owner, list(offsets[start : start + HITS_PER_FACT]), number),
            )
            for owner, offsets in places.items()
            for start in range(0, len(offsets), HITS_PER_FACT)
        ]
        if facts:
            self._erased.add(facts)
            self._facts.append([(partition, b"", encode_fact(fact)) for partition, fact in facts])
            crash_point("rewrite.recorded")
            self._carry_out(facts)

    def catch_up_all(self) -> None:
        """Until what was accepted by now is stored. Raises LogError."""
        self._catch_up(HITS.name, range(self._log.partitions))

    def merge(self, table: str) -> None:
        """Only the newest version of each row stays."""
        query = (
            "SELECT DISTINCT partition_id FROM system.parts"
            " WHERE database = currentDatabase() AND active AND table IN ({table:String}, {local:String})"
        )
        bound = {"table": table, "local": f"{table}_local"}
        for (partition_id,) in self._database.rows(query, bound):
            self._database.execute(f"OPTIMIZE TABLE {table} PARTITION ID '{partition_id}' FINAL")

    def _carry_out(self, facts: Sequence[tuple[int, Erasure | Rewrite]]) -> dict[str, int]:
        """What follows from recorded facts; may be repeated. Returns the rows that went, by table."""
        self._catch_up(HISTORY.name, {partition for partition, _ in facts})
        counts = self._take_out([fact for _, fact in facts if isinstance(fact, Erasure)])
        self._renew([fact for _, fact in facts if isinstance(fact, Rewrite)])
        done = {(partition, fact.number) for partition, fact in facts}
        self._facts.append([(partition, b"", encode_fact(ErasureDone(number))) for partition, number in done])
        return counts

    def _catch_up(self, topic: str, partitions: Collection[int]) -> None:
        """Until the processors are past what a topic holds now, and what they made of it is stored."""
        reader = self._log.reader()
        try:
            ends = reader.end_offsets(topic)
        finally:
            reader.close()
        wanted = {TopicPartition(topic, partition): ends[partition] for partition in partitions}
        wait_until_committed(self._log, wanted, PROCESS_SECONDS, self._stop.is_set)
        for partition in partitions:
            wait_for_sink(self._log, self._sink, partition, self._stop.is_set)

    def _forget_on_log(self) -> None:
        """Leaves on the log what somebody has still to read: the sink rows, the processors what owners tell
        each other, a new ingest process the hits of the last window."""
        stored = self._sink.visible_positions()
        processed = self._log.committed(GROUP)
        positions = {at: offset for at, offset in stored.items() if at.topic in _OUTPUTS}
        positions |= {at: offset for at, offset in processed.items() if at.topic in _TOLD}
        self._log.forget(positions)
        hits = {
            at: min(offset, processed.get(at, 0)) for at, offset in stored.items() if at.topic == HITS.name
        }
        self._log.forget(hits, self._window())

    def _visits(self, site_id: int, where: str, ids: Sequence[int]) -> list[_Visit]:
        rows = self._database.rows(
            "SELECT site_id, visit_id, owner, visitor_id, toUnixTimestamp(first_time),"  # noqa: S608 - constants
            f" toUnixTimestamp(last_time) FROM visits FINAL WHERE site_id = {{site:UInt32}} AND {where}",
            {"site": site_id, "ids": list(ids)},
        )
        return sorted((_Visit(*row) for row in rows), key=lambda one: one.key)

    def _hits_of(
        self, site_id: int, visits: Sequence[_Visit], named: Mapping[int, Mapping[int, int]]
    ) -> dict[int, list[StoredHit]]:
        """The hits of the visits, by owner, with what was left out around them. `named`: those of which there
        are rows."""
        owners = {one.owner for one in visits}
        visitors = {one.visitor_id for one in visits}
        doomed = {one.visit_id for one in visits}
        everyone = sorted(owners | visitors)
        theirs = "(owner IN {ids:Array(UInt64)} OR visitor_id IN {ids:Array(UInt64)})"
        known: dict[int, list[_Visit]] = defaultdict(list)
        for one in self._visits(site_id, theirs, everyone):
            known[one.owner].append(one)
        remaining = {one.visitor_id for of in known.values() for one in of if one.visit_id not in doomed}
        bound = {"site": site_id, "ids": everyone}
        kept = read_hits(self._database, f"site_id = {{site:UInt32}} AND {theirs}", bound)
        found: dict[int, list[StoredHit]] = defaultdict(list)
        for stored in [*kept, *self._only_on_log(site_id, kept, named)]:
            hit = stored.hit
            goes = visit_of(hit.time, hit.hit_id, known[hit.owner]) in doomed
            if not goes and hit.exclusion and hit.visitor_id in visitors:
                goes = hit.visitor_id not in remaining or any(
                    one.first_time - GAP_SECONDS <= hit.time <= one.last_time + GAP_SECONDS for one in visits
                )
            if goes:
                found[hit.owner].append(stored)
        return found

    def _only_on_log(
        self, site_id: int, kept: Sequence[StoredHit], named: Mapping[int, Mapping[int, int]]
    ) -> list[StoredHit]:
        """Hits of these owners whose lifetime in the table is over, but which a quiet log has still."""
        known = {one.hit.hit_id for one in kept}
        gone = [hit_id for of_owner in named.values() for hit_id in of_owner if hit_id not in known]
        if not gone:
            return []
        on_log = hits_on_log(self._log, site_id, named.keys(), min(gone), max(gone))
        return [one for one in on_log if one.hit.hit_id not in known]

    def _hits_of_rows(self, site_id: int, visits: Sequence[_Visit]) -> dict[int, dict[int, int]]:
        """Owner -> the hits that its visits' rows name, which may be older than all raw hits; their offsets
        aren't known."""
        owner_of = {one.visit_id: one.owner for one in visits}
        found: dict[int, dict[int, int]] = defaultdict(dict)
        for visit_id, owner in owner_of.items():
            found[owner][visit_id] = GONE_FROM_LOG
        bound = {"site": site_id, "ids": list(owner_of)}
        where = "site_id = {site:UInt32} AND visit_id IN {ids:Array(UInt64)}"
        for table, column in _TABLES.items():
            if column == "hit_id" and table != "hits":
                query = f"SELECT visit_id, hit_id FROM {table} FINAL WHERE {where}"  # noqa: S608 - constants
                for visit_id, hit_id in self._database.rows(query, bound):
                    found[owner_of[visit_id]][hit_id] = GONE_FROM_LOG
        return found

    def _take_out(self, facts: Sequence[Erasure]) -> dict[str, int]:
        """Rows, raw hits, dead letters and the archives of their days leave the database. May be repeated."""
        by_site: dict[int, list[int]] = defaultdict(list)
        for fact in facts:
            by_site[fact.site_id].extend(fact.hit_ids)
        counts: dict[str, int] = {}
        for site_id, hit_ids in by_site.items():
            bound = {"site": site_id, "ids": hit_ids}
            days: set[date] = set()
            for table, column in _TABLES.items():
                where = f"site_id = {{site:UInt32}} AND {column} IN {{ids:Array(UInt64)}}"
                if table != "hits":
                    query = f"SELECT DISTINCT date FROM {table} WHERE {where}"  # noqa: S608 - constants
                    days |= {row[0] for row in self._database.rows(query, bound)}
                query = f"SELECT uniqExact({column}) FROM {table} WHERE {where}"  # noqa: S608 - constants
                count = self._database.rows(query, bound)[0][0]
                counts[table] = counts.get(table, 0) + int(count)
                self._remove(table, where, bound)
                crash_point(f"erasure.removed.{table}")
            self._compute_anew(site_id, days)
        for fact in facts:
            partition = partition_of(fact.owner, self._log.partitions)
            where = "topic = 'hits' AND partition = {partition:UInt32} AND offset IN {offsets:Array(UInt64)}"
            self._remove("dead", where, {"partition": partition, "offsets": fact.on_log()})
        return counts

    def _renew(self, facts: Sequence[Rewrite]) -> None:
        """Of rewritten owners the former versions of rows go, and the archives of their days."""
        by_site: dict[int, set[int]] = defaultdict(set)
        for fact in facts:
            by_site[fact.site_id].add(fact.owner)
        for table in _TABLES if facts else ():
            self.merge(table)
        for site_id, owners in by_site.items():
            bound = {"site": site_id, "ids": sorted(owners)}
            where = "site_id = {site:UInt32} AND owner IN {ids:Array(UInt64)}"
            rows = self._database.rows(f"SELECT DISTINCT date FROM visits WHERE {where}", bound)  # noqa: S608
            self._compute_anew(site_id, {day for (day,) in rows})

    def _compute_anew(self, site_id: int, days: set[date]) -> None:
        """Archives of days that aren't frozen."""
        frozen = frozen_before(self._database)
        days = {day for day in days if frozen is None or day >= frozen}
        forget_days(self._database, site_id, sorted(days))
        self._on_site_days({SiteDay(site_id, (day - date(1970, 1, 1)).days) for day in days})

    def _remove(self, table: str, where: str, bound: Mapping[str, object]) -> None:
        """Every version of the rows, from the files: parts with such rows are written anew."""
        if not self._database.rows(f"SELECT count() FROM {table} WHERE {where}", bound)[0][0]:  # noqa: S608
            return
        self._database.execute(f"ALTER TABLE {table} DELETE WHERE {where} SETTINGS mutations_sync = 2", bound)

    @property
    def waiting(self) -> int:
        """Facts of an earlier process that are still to be carried out."""
        return len(self._unfinished)

    def stop(self) -> None:
        self._stop.set()

    def run(self) -> None:
        """Finish the deletions that an earlier process began; then, for as long as the log may hold what was
        erased, leave nothing there that isn't needed. Until `stop`. Raises LogResetError."""
        newest = 0.0
        wait = 0.0
        while not self._stop.wait(wait):
            try:
                with self.working:
                    if self._unfinished:
                        self._carry_out(self._unfinished)
                        logger.info("finished %d deletions that were begun before", len(self._unfinished))
                        self._unfinished = []
                if newest != self._erased.newest:
                    newest, wait = self._erased.newest, 0.0
                if time.time() - newest < ON_LOG_SECONDS + self._window():
                    self._forget_on_log()
                    wait = min(max(LOOK_SECONDS, 1.5 * wait), LONGEST_LOOK_SECONDS)
                else:
                    wait = LOOK_SECONDS
            except LogResetError:
                raise
            except (LogError, ClickHouseError) as error:
                logger.warning("a deletion waits: %s", error)
                wait = RETRY_SECONDS


def visit_of(time: int, hit_id: int, visits: Sequence[_Visit]) -> int:
    """The visit that a hit of the owner was folded into, or near to: the last one that had begun. `visits`
    are the owner's, by their beginning; 0 when it has none."""
    if not visits:
        return 0
    place = bisect_right([one.key for one in visits], (time, hit_id)) - 1
    return visits[max(0, place)].visit_id


def erasures_of(site_id: int, owner: int, hits: Mapping[int, int], number: int) -> list[Erasure]:
    """The facts about one owner's hits (hit_id -> offset), none of them too long for a message."""
    places = sorted(hits.items())
    return [
        Erasure(site_id, owner, [hit_id for hit_id, _ in part], [offset for _, offset in part], number)
        for start in range(0, len(places), HITS_PER_FACT)
        if (part := places[start : start + HITS_PER_FACT])
    ]
