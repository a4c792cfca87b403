"""One unit of work after another: hits, claims and verdicts in; rows, claims, verdicts and tallies out."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from contextlib import suppress
from dataclasses import dataclass, field

import msgspec

from processors.history import OwnerHistory, RepairRequest, encode_request
from processors.orders import (
    OrderVerdict,
    claim_of,
    decode_claim,
    decode_verdict,
    encode_verdict,
    judge,
)
from processors.owners import (
    OwnerKey,
    delete_segments,
    is_busy,
    load_hits,
    load_records,
    owner_key,
    save_hits,
    save_records,
    save_segments,
    segments_from,
)
from processors.repairs import NOT_IN_JOURNAL, Repairs, Wanted, load_level, save_level
from processors.rules_cache import RulesCache
from processors.unit import Unit
from rules.fold_state import Facts, Rows, VisitRules
from rules.owner import (
    Entry,
    OwnerRecord,
    ReadyHit,
    Segment,
    after_horizon,
    append,
    changes_of,
    decode_journal_hit,
    decode_record,
    encode_record,
    facts_of,
    last_key,
    new_record,
    refold,
    with_link,
)
from rules.prepare import Lookups, prepare
from rules.prepared import PreparedHit
from rules.replays import Replays
from schemas.config import Config
from schemas.hit import Hit, decode_hit
from schemas.outcomes import Exclusion, Outcome
from schemas.rows import DeadLetter, Row, VisitLink
from schemas.topics import DEAD, HISTORY, HITS, LINKS, ORDER_VERDICTS, ORDERS, REPAIRS, TALLIES
from stream.protocol import Batch, LogError, Message, Worker

INPUTS = (HITS.name, LINKS.name, ORDERS.name, ORDER_VERDICTS.name, REPAIRS.name, HISTORY.name)


class HistoryGoneError(Exception):
    """The journal no longer has a hit that a refold needs."""


@dataclass
class Counts:
    """What a processor did since its process started; for metrics."""

    hits: int = 0
    refolds: int = 0
    repairs: int = 0
    units: int = 0
    outcomes: Counter[tuple[str, str]] = field(default_factory=Counter)


@dataclass
class _OwnerChange:
    """What one owner's hits of a batch change, gathered before anything of it is written."""

    record: OwnerRecord
    rows: list[tuple[Row, bool]] = field(default_factory=list)
    excluded: dict[int, Exclusion] = field(default_factory=dict)
    removed: list[Segment] = field(default_factory=list)
    saved: list[Segment] = field(default_factory=list)


_NONE: Set[int] = frozenset()
encode_dead_letter = msgspec.msgpack.Encoder().encode
decode_link = msgspec.msgpack.Decoder(VisitLink).decode


class Processor:
    """The processing stage of some partitions; `process` is one unit of work without its commit."""

    def __init__(
        self,
        worker: Worker,
        config_at: Callable[[int], Config],
        lookups: Lookups,
        clock: Callable[[], float],
    ) -> None:
        self.counts = Counts()
        self._worker = worker
        self._rules = RulesCache(config_at)
        self._lookups = lookups
        self._clock = clock
        self._config_at = config_at
        self._levels: dict[int, int] = {}
        """Partition -> the level of replays that its new owners begin with."""
        self._replays: dict[int, Replays] = {}
        self.repairs = Repairs(worker, self._prepare, self._config_offset)

    def process(self, batch: Batch) -> None:
        """Emit and store everything that follows from one input batch; the caller commits."""
        unit = Unit(batch)
        if batch.topic == HITS.name:
            self._process_hits(unit)
        elif batch.topic == LINKS.name:
            self._process_links(unit)
        elif batch.topic == ORDERS.name:
            self._process_claims(unit)
        elif batch.topic == ORDER_VERDICTS.name:
            self._process_verdicts(unit)
        else:
            raise ValueError(f"topic {batch.topic} needs `repair`")
        self._emit(unit)

    def set_level(self, batch: Batch, level: int) -> None:
        """A unit of work of its own: new owners of the partition begin with the replays before `level`."""
        level = max(level, self._level(batch.home))
        save_level(self._worker.state(batch.home), level)
        self._levels[batch.home] = level

    def forget(self, partitions: Iterable[int]) -> None:
        """What is remembered of partitions that another worker may have had meanwhile."""
        for partition in partitions:
            self._levels.pop(partition, None)

    def repair(
        self,
        batch: Batch,
        histories: Iterable[OwnerHistory],
        wanted: Mapping[tuple[int, int], Wanted] | None = None,
    ) -> None:
        """A unit of work of its own: fold owners anew from their whole past. `wanted` tells by (site, owner)
        what was asked.

        The histories must include all that was emitted and committed for the batch's partition."""
        unit = Unit(batch)
        for history in histories:
            asked = (wanted or {}).get((history.site_id, history.owner)) or Wanted()
            self.repairs.repair(unit, history, asked)
            self.counts.repairs += 1
        self._emit(unit)

    def _emit(self, unit: Unit) -> None:
        batch = unit.batch
        unit.count_stored()
        for topic, messages in unit.outputs.items():
            self._worker.emit(batch.home, topic, messages)
        if unit.links:
            self._worker.emit_keyed(batch.home, LINKS.name, unit.links)
        if unit.tallies:
            self._worker.emit(batch.home, TALLIES.name, unit.tally_rows())
        if unit.dead:
            letters = [(b"", encode_dead_letter(letter)) for letter in unit.dead]
            self._worker.emit(batch.home, DEAD.name, letters)
        self.counts.units += 1
        for (_, _, outcome, reason), count in unit.tallies.items():
            self.counts.outcomes[(outcome, reason)] += count

    # -- hits ------------------------------------------------------------------------------------------

    def _process_hits(self, unit: Unit) -> None:
        batch = unit.batch
        by_owner: dict[OwnerKey, list[tuple[ReadyHit, Hit]]] = defaultdict(list)
        journal: list[ReadyHit] = []
        for message, hit in self._decoded(unit):
            ready = self._make_ready(unit, message, hit)
            if ready is not None:
                journal.append(ready)
                by_owner[owner_key(hit.site_id, hit.owner)].append((ready, hit))
        self.counts.hits += len(batch.messages)
        state = self._worker.state(batch.home)
        save_hits(state, journal)
        records = load_records(state, list(by_owner))
        for key, pairs in by_owner.items():
            record = records.get(key)
            if record is None:
                record = self._new_record(unit, pairs[0][1])
            try:
                records[key] = self._fold_owner(unit, key, record, pairs)
            except LogError:
                raise
            except Exception:
                # One hit must not hold up its partition: find it, put it aside and go on without it.
                stored = load_records(state, [key]).get(key) or self._new_record(unit, pairs[0][1])
                records[key] = self._fold_one_by_one(unit, key, stored, pairs)
        save_records(state, records)
        for (site_id, owner), level in unit.behind.items():
            request = encode_request(RepairRequest(site_id, owner, level))
            self._worker.emit_keyed(batch.home, REPAIRS.name, [(owner, request)])

    def _new_record(self, unit: Unit, hit: Hit) -> OwnerRecord:
        """Of an owner without one; when it must still follow a replay it has followed none."""
        is_behind = (hit.site_id, hit.owner) in unit.behind
        return new_record(0 if is_behind else self._level(unit.batch.home))

    def _decoded(self, unit: Unit) -> list[tuple[Message, Hit]]:
        """The hits of the batch, without those that were erased or can't be read, which are counted."""
        found: list[tuple[Message, Hit]] = []
        for message in unit.batch.messages:
            if not message.value:
                unit.count(None, Outcome.EXCLUDED, Exclusion.ERASED)
                continue
            try:
                found.append((message, decode_hit(message.value)))
            except (msgspec.DecodeError, msgspec.ValidationError) as error:
                self._bury(unit, message, None, "decode", str(error))
        # New agents one after the other: 0.6 ms for each instead of 1.1 ms between the hits, which take the
        # detector's tables out of the processor's caches.
        with suppress(Exception):  # what fails here fails again for the hit, which is then put aside
            for agent in {(hit.user_agent, hit.client_hints) for _, hit in found}:
                self._lookups.agent(*agent)
        return found

    def _make_ready(self, unit: Unit, message: Message, hit: Hit) -> ReadyHit | None:
        """The hit prepared; None when it is excluded or dead, which is then counted."""
        try:
            level = self._level(unit.batch.home)
            if hit.config_offset < level:
                level = self._level_of_owner(unit, hit)
            prepared = self._prepare(hit, level)
        except LogError:
            raise
        except Exception as error:
            self._bury(unit, message, hit, "prepare", f"{type(error).__name__}: {error}")
            return None
        if isinstance(prepared, Exclusion):
            unit.count(hit, Outcome.EXCLUDED, prepared)
            return None
        entry = Entry(hit.time, hit.hit_id, message.offset)
        return ReadyHit(entry, prepared[0], prepared[1], self._config_offset(hit, level))

    def _level(self, partition: int) -> int:
        level = self._levels.get(partition)
        if level is None:
            level = self._levels[partition] = load_level(self._worker.state(partition))
        return level

    def _config_offset(self, hit: Hit, level: int) -> int:
        """Of the configuration that the hit is folded under, once the replays before `level` are applied."""
        if hit.config_offset >= level:
            return hit.config_offset
        replays = self._replays.get(level)
        if replays is None:
            replays = self._replays[level] = Replays(self._config_at(level).replays, level)
        return replays.config_offset(hit.site_id, hit.time, hit.config_offset)

    def _level_of_owner(self, unit: Unit, hit: Hit) -> int:
        """For a hit accepted before the partition's last replay, which its owner may not have followed yet:
        then it is asked to."""
        home = unit.batch.home
        key = owner_key(hit.site_id, hit.owner)
        record = load_records(self._worker.state(home), [key]).get(key)
        newest = self._level(home)
        level = 0 if record is None else record.level
        if level < newest and self._config_offset(hit, level) != self._config_offset(hit, newest):
            unit.behind[(hit.site_id, hit.owner)] = newest
        return level

    def _prepare(self, hit: Hit, level: int) -> tuple[PreparedHit, VisitRules] | Exclusion:
        config_offset = self._config_offset(hit, level)
        rules = self._rules.rules(config_offset, hit.site_id)
        if rules is None:
            raise LookupError(f"site {hit.site_id} does not exist at config offset {config_offset}")
        prepared = prepare(hit, rules[0], self._lookups)
        if isinstance(prepared, Exclusion):
            return prepared
        return prepared, rules[1]

    def _bury(self, unit: Unit, message: Message, hit: Hit | None, step: str, reason: str) -> None:
        unit.count(hit, Outcome.DEAD, step)
        unit.dead.append(
            DeadLetter(
                topic=unit.batch.topic,
                partition=unit.batch.partition,
                offset=message.offset,
                step=step,
                reason=reason[:1000],
                payload=message.value,
                time=int(self._clock()),
            )
        )

    def _fold_one_by_one(
        self, unit: Unit, key: OwnerKey, record: OwnerRecord, pairs: Sequence[tuple[ReadyHit, Hit]]
    ) -> OwnerRecord:
        for pair in pairs:
            before = encode_record(record)
            try:
                record = self._fold_owner(unit, key, record, [pair])
            except LogError:
                raise
            except Exception as error:
                record = decode_record(before)
                offset = pair[0].entry.offset
                message = next(m for m in unit.batch.messages if m.offset == offset)
                self._bury(unit, message, pair[1], "fold", f"{type(error).__name__}: {error}")
        return record

    def _fold_owner(
        self, unit: Unit, key: OwnerKey, record: OwnerRecord, pairs: Sequence[tuple[ReadyHit, Hit]]
    ) -> OwnerRecord:
        """Fold the owner's hits of one batch; nothing is written before all of them are folded."""
        newest = last_key(record)
        for ready, _ in pairs:
            key_of_hit = ready.key
            if key_of_hit <= newest:
                return self._fold_late(unit, key, record, sorted(pairs, key=lambda pair: pair[0].key))
            newest = key_of_hit
        rows = Rows()
        appended = append(record, [ready for ready, _ in pairs], rows)
        if appended.full:
            save_segments(self._worker.state(unit.batch.home), key, appended.full)
            record.stored_segments += len(appended.full)
        unit.add_changes(pairs[0][1].owner, changes_of(rows))
        self._count_and_claim(unit, pairs, _NONE, appended.excluded)
        return record

    def _fold_late(
        self, unit: Unit, key: OwnerKey, record: OwnerRecord, pairs: Sequence[tuple[ReadyHit, Hit]]
    ) -> OwnerRecord:
        """The owner's hits of one batch, of which some come before others that are folded, or are known."""
        last = last_key(record)
        change = _OwnerChange(record)
        duplicates: set[int] = set()
        if pairs[0][0].key <= last:
            late = [ready for ready, _ in pairs if ready.key <= last]
            late, duplicates = self._without_known(unit.batch.home, key, record, late)
            if late and is_busy(record, late[0].key):
                self._let_wait(unit, pairs[0][1], record, late)
            elif late:
                try:
                    self._refold(unit, key, change, late, facts_of(record), late[0].key)
                except HistoryGoneError:
                    self._ask_for_repair(unit, pairs[0][1].site_id, pairs[0][1].owner)
        fresh: list[ReadyHit] = []
        newest = last
        for ready, _ in pairs:
            key_of_hit = ready.key
            if key_of_hit > newest:
                fresh.append(ready)
                newest = key_of_hit
            elif key_of_hit > last:
                duplicates.add(ready.entry.offset)
        if fresh:
            rows = Rows()
            appended = append(change.record, fresh, rows)
            change.saved.extend(appended.full)
            change.rows.extend(changes_of(rows))
            change.excluded |= appended.excluded
        self._write(unit, key, change, pairs[0][1].owner)
        self._count_and_claim(unit, pairs, duplicates, change.excluded)
        return change.record

    def _let_wait(self, unit: Unit, hit: Hit, record: OwnerRecord, late: Sequence[ReadyHit]) -> None:
        """Late hits of an owner with a long past are folded in together. They count as stored at once."""
        if not record.waiting:
            request = encode_request(RepairRequest(hit.site_id, hit.owner, late=True))
            self._worker.emit_keyed(unit.batch.home, REPAIRS.name, [(hit.owner, request)])
        record.waiting = sorted([*record.waiting, *(ready.entry for ready in late)])

    def fold_waiting(self, batch: Batch, owners: Sequence[tuple[int, int]]) -> int:
        """Fold in the late hits that wait in the records of these (site, owner); returns how many owners had
        some. A unit of work of its own."""
        unit = Unit(batch)
        state = self._worker.state(batch.home)
        records = load_records(state, [owner_key(*one) for one in owners])
        changed: dict[OwnerKey, OwnerRecord] = {}
        for site_id, owner in owners:
            key = owner_key(site_id, owner)
            record = records.get(key)
            if record is None or not record.waiting:
                continue
            change = _OwnerChange(record)
            try:
                late = self._load(batch.home, record.waiting)
                if late:
                    self._refold(unit, key, change, late, facts_of(record), late[0].key)
            except LogError:
                raise
            except Exception:
                # Left the journal, or can't be folded: the refold from the raw hits copes with both.
                change = _OwnerChange(record)
                self._ask_for_repair(unit, site_id, owner)
            change.record.waiting = []
            self._write(unit, key, change, owner)
            changed[key] = change.record
        save_records(state, changed)
        self._emit(unit)
        return len(changed)

    def _ask_for_repair(self, unit: Unit, site_id: int, owner: int) -> None:
        request = encode_request(RepairRequest(site_id, owner))
        self._worker.emit_keyed(unit.batch.home, REPAIRS.name, [(owner, request)])

    def _write(self, unit: Unit, key: OwnerKey, change: _OwnerChange, owner: int) -> None:
        state = self._worker.state(unit.batch.home)
        if change.removed:
            delete_segments(state, key, change.removed)
        if change.saved:
            save_segments(state, key, change.saved)
        change.record.stored_segments += len(change.saved) - len(change.removed)
        unit.add_changes(owner, change.rows)

    def _count_and_claim(
        self,
        unit: Unit,
        pairs: Sequence[tuple[ReadyHit, Hit]],
        duplicates: Set[int],
        excluded: Mapping[int, Exclusion],
    ) -> None:
        claims: list[tuple[int, bytes]] = []
        for ready, hit in pairs:
            if ready.entry.offset in duplicates:
                unit.count(hit, Outcome.DUPLICATE)
                continue
            reason = excluded.get(hit.hit_id)
            if reason is None:
                unit.stored.append(hit)
            else:
                unit.count(hit, Outcome.EXCLUDED, reason)
            if ready.hit.ecommerce is not None and (claim := claim_of(ready.hit)) is not None:
                claims.append(claim)
        if claims:
            self._worker.emit_keyed(unit.batch.home, ORDERS.name, claims)

    def _without_known(
        self, partition: int, key: OwnerKey, record: OwnerRecord, late: Sequence[ReadyHit]
    ) -> tuple[list[ReadyHit], set[int]]:
        """Late hits that the journal does not have yet, and the offsets of those that it has."""
        segments = segments_from(self._worker.state(partition), key, *late[0].key, until=late[-1].key)
        known = {
            (entry.time, entry.hit_id) for segment in (*segments, record.tail) for entry in segment.entries
        }
        known.update((entry.time, entry.hit_id) for entry in record.waiting)
        fresh: list[ReadyHit] = []
        repeated: set[int] = set()
        for ready in late:
            if ready.key in known:
                repeated.add(ready.entry.offset)
            else:
                known.add(ready.key)
                fresh.append(ready)
        return fresh, repeated

    def _refold(
        self,
        unit: Unit,
        key: OwnerKey,
        change: _OwnerChange,
        late: Sequence[ReadyHit],
        facts_after: Facts,
        since: tuple[int, int],
    ) -> None:
        """Refold from the first change on, at (time, hit_id) `since`: late hits, verdicts or links.

        Raises HistoryGoneError, and then has changed nothing."""
        partition = unit.batch.home
        record = change.record
        if since <= record.horizon:
            raise HistoryGoneError(f"the journal reaches back to {record.horizon}, not to {since}")
        tail = record.tail
        starts_in_tail = bool(tail.entries) and since >= (tail.entries[0].time, tail.entries[0].hit_id)
        stored: list[Segment] = []
        if not starts_in_tail:
            stored = after_horizon(record, segments_from(self._worker.state(partition), key, *since))
        result = refold(
            [*stored, tail],
            lambda entries: self._load(partition, entries),
            late,
            facts_of(record),
            facts_after,
        )
        self.counts.refolds += 1
        change.rows.extend(result.changes)
        change.excluded |= result.excluded
        change.removed.extend(stored[: result.consumed])
        if result.state is None:
            change.saved.extend(result.segments)
        else:
            change.saved.extend(result.segments[:-1])
            change.record = msgspec.structs.replace(record, state=result.state, tail=result.segments[-1])
        change.record.lost_orders = sorted(facts_after.lost_orders)
        change.record.links = list(facts_after.links)

    def _load(self, partition: int, entries: Sequence[Entry]) -> list[ReadyHit]:
        """The hits of the journal as they were prepared. Raises HistoryGoneError."""
        offsets = [entry.offset for entry in entries if entry.offset != NOT_IN_JOURNAL]
        found = load_hits(self._worker.state(partition), offsets)
        ready: list[ReadyHit] = []
        for entry in entries:
            value = found.get(entry.offset)
            if value is None:
                raise HistoryGoneError(f"hit {entry.hit_id} is no longer in the journal")
            try:
                kept = decode_journal_hit(value)
            except msgspec.ValidationError:
                raise HistoryGoneError(f"hit {entry.hit_id} is in the journal in an older form") from None
            rules = self._rules.rules(kept.config_offset, kept.hit.site_id)
            if rules is None:
                raise LookupError(f"no site {kept.hit.site_id} at config offset {kept.config_offset}")
            ready.append(ReadyHit(entry, kept.hit, rules[1], kept.config_offset))
        return ready

    def _tell(
        self,
        unit: Unit,
        key: OwnerKey,
        record: OwnerRecord,
        facts: Facts,
        since: tuple[int, int],
        site_id: int,
        owner: int,
    ) -> OwnerRecord:
        """The owner's record under other facts. Where the journal doesn't reach back to what they concern,
        they are kept and the owner is folded anew from its raw hits."""
        change = _OwnerChange(record)
        try:
            self._refold(unit, key, change, (), facts, since)
        except HistoryGoneError:
            record.lost_orders = sorted(facts.lost_orders)
            record.links = list(facts.links)
            self._ask_for_repair(unit, site_id, owner)
            return record
        self._write(unit, key, change, owner)
        return change.record

    # -- orders ----------------------------------------------------------------------------------------

    def _process_claims(self, unit: Unit) -> None:
        partition = unit.batch.home
        claims = [decode_claim(message.value) for message in unit.batch.messages]
        found = judge(claims, self._worker.state(partition))
        if found:
            verdicts = [(verdict.owner, encode_verdict(verdict)) for verdict in found]
            self._worker.emit_keyed(partition, ORDER_VERDICTS.name, verdicts)

    def _process_verdicts(self, unit: Unit) -> None:
        state = self._worker.state(unit.batch.home)
        by_owner: dict[OwnerKey, list[OrderVerdict]] = defaultdict(list)
        for message in unit.batch.messages:
            verdict = decode_verdict(message.value)
            by_owner[owner_key(verdict.site_id, verdict.owner)].append(verdict)
        records = load_records(state, list(by_owner))
        changed: dict[OwnerKey, OwnerRecord] = {}
        for key, verdicts in by_owner.items():
            record = records.get(key)
            if record is None:
                continue
            facts = facts_of(record)
            lost = set(facts.lost_orders)
            for verdict in verdicts:
                (lost.discard if verdict.counts else lost.add)(verdict.hit_id)
            judged = lost ^ facts.lost_orders
            fresh = [verdict for verdict in verdicts if verdict.hit_id in judged]
            if not fresh:
                continue
            told = Facts(frozenset(lost), facts.links)
            since = min((verdict.time, verdict.hit_id) for verdict in fresh)
            changed[key] = self._tell(unit, key, record, told, since, fresh[0].site_id, fresh[0].owner)
        save_records(state, changed)

    # -- links -----------------------------------------------------------------------------------------

    def _process_links(self, unit: Unit) -> None:
        state = self._worker.state(unit.batch.home)
        by_visitor: dict[OwnerKey, list[tuple[VisitLink, bool]]] = defaultdict(list)
        for message in unit.batch.messages:
            link = decode_link(message.value[1:])
            by_visitor[owner_key(link.site_id, link.visitor_id)].append((link, message.value[:1] == b"\x01"))
        records = load_records(state, list(by_visitor))
        changed: dict[OwnerKey, OwnerRecord] = {}
        for key, told in by_visitor.items():
            record = records.get(key) or new_record()
            links = record.links
            for link, is_deleted in told:
                links = with_link(links, link, is_deleted=is_deleted)
            since = (min(link.first_time for link, _ in told), 0)
            if since <= last_key(record):
                facts = Facts(frozenset(record.lost_orders), tuple(links))
                link = told[0][0]
                record = self._tell(unit, key, record, facts, since, link.site_id, link.visitor_id)
            else:
                record.links = links
            changed[key] = record
        save_records(state, changed)
