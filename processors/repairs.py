"""An owner folded anew from its whole past: late hits, replays and erasures (DESIGN section 2).

The past comes from the table of raw hits and holds also hits that this partition has not processed yet; those
are left out here and come in their turn.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import msgspec

from processors.history import OwnerHistory
from processors.orders import claim_of
from processors.owners import (
    JOURNAL_TABLE,
    OwnerKey,
    delete_journal,
    delete_segments,
    load_records,
    owner_key,
    save_hits,
    save_records,
    save_segments,
    segments_from,
)
from processors.unit import Unit
from rules.fold_state import FoldState, Rows, VisitRules, row_key, row_of_key
from rules.owner import (
    Entry,
    OwnerRecord,
    ReadyHit,
    Segment,
    append,
    changes_of,
    decode_record,
    encode_record,
    new_record,
)
from rules.prepared import PreparedHit
from schemas.history import GONE_FROM_LOG
from schemas.hit import Hit, decode_hit
from schemas.outcomes import Exclusion, Outcome
from schemas.rows import Visit, VisitLink
from schemas.topics import HITS, ORDERS
from stream.protocol import LogError, State, TopicPartition, Worker

Prepare = Callable[[Hit, int], "tuple[PreparedHit, VisitRules] | Exclusion"]

NOT_IN_JOURNAL = -1
"""Offset of an entry whose hit is only in the table of raw hits."""
ERASED_TABLE = "erased"
"""Owner's key and hit_id of every erased hit; the values are empty."""
LEVEL_TABLE = "replays"
_LEVEL_KEY = b"level"
_SCRUB_KEY = b"scrub"
_decode_visit = msgspec.msgpack.Decoder(Visit).decode


def load_level(state: State) -> int:
    """The level of replays that new owners of the partition begin with."""
    return int.from_bytes(state.get_many(LEVEL_TABLE, [_LEVEL_KEY]).get(_LEVEL_KEY, b""), "big")


def save_level(state: State, level: int) -> None:
    state.put_many(LEVEL_TABLE, [(_LEVEL_KEY, level.to_bytes(8, "big"))])


def is_scrub_due(state: State) -> bool:
    """Whether hits were erased and their traces may still be on disk."""
    return bool(state.get_many(ERASED_TABLE, [_SCRUB_KEY]))


def forget_scrub(state: State) -> None:
    state.delete_many(ERASED_TABLE, [_SCRUB_KEY])


@dataclass
class Wanted:
    """What is asked about one owner."""

    level: int = 0
    erased: dict[int, int] = field(default_factory=dict)
    """hit_id -> offset"""
    always: bool = False
    """Also when the replays up to `level` were applied before."""
    rewritten: bool = False
    """Its raw hits are others now; what was made of the former ones must not stay on disk."""
    late: bool = False
    """Late hits wait to be folded in from the journal."""


@dataclass(frozen=True)
class _Past:
    """Hits of the owner in event order, and what was said of each before and now."""

    ready: list[ReadyHit]
    before: list[ReadyHit]
    """As they were folded until now; empty when nobody needs that."""
    recounts: list[tuple[Hit, Exclusion | None, Exclusion | None]]
    """Hits whose exclusion the new level changes: before, now."""
    left: list[ReadyHit]
    """Those that were folded until now and are not any more."""


class Repairs:
    """Refolds owners from their histories; the caller emits and commits."""

    def __init__(self, worker: Worker, prepare: Prepare, config_offset: Callable[[Hit, int], int]) -> None:
        """`prepare` and `config_offset` take a hit and the level of replays."""
        self._worker, self._prepare, self._config_offset = worker, prepare, config_offset

    def needs(self, home: int, site_id: int, owner: int, wanted: Wanted) -> bool:
        """False when the owner has followed the replay before (the request was repeated)."""
        if wanted.always or wanted.erased:
            return True
        key = owner_key(site_id, owner)
        record = load_records(self._worker.state(home), [key]).get(key)
        return record is None or record.level < wanted.level

    def repair(self, unit: Unit, history: OwnerHistory, wanted: Wanted) -> None:
        """What the owner's hits make now and the tables don't have is emitted, what they no longer make is
        deleted."""
        home = unit.batch.home
        state = self._worker.state(home)
        key = owner_key(history.site_id, history.owner)
        record = load_records(state, [key]).get(key)
        # Of an owner without a record all hits were left out, each as it was accepted.
        level = max(load_level(state) if record is None else record.level, wanted.level)
        record = record or new_record()
        erased = self._erased(state, key, record, wanted)
        past = self._past(home, history, record, level, erased, wanted)
        rows = Rows()
        hits = self._placed(state, key, record, past)
        # Nobody's order any more; should it come back, it claims its id anew.
        gone = {one.hit.hit_id for one in past.left}
        record.lost_orders = [hit_id for hit_id in record.lost_orders if hit_id not in gone]
        rebuilt, full, excluded = _folded(_beginning(history, record, level, erased), hits, rows)
        self._delete_others(rows, history)
        if past.before:
            before = Rows()
            _folded(_beginning(history, record, level, erased - wanted.erased.keys()), past.before, before)
            _drop_same(rows, before, history)
        stored = segments_from(state, key, 0, 0)
        delete_segments(state, key, stored)
        save_segments(state, key, full)
        rebuilt.stored_segments = len(full)
        save_records(state, {key: rebuilt})
        unit.add_changes(history.owner, changes_of(rows))
        self._recount(unit, past, excluded)
        self._give_up_orders(home, past.left)
        if level != record.level:
            self._claim_orders(home, past.ready)

    def _erased(self, state: State, key: OwnerKey, record: OwnerRecord, wanted: Wanted) -> frozenset[int]:
        """All erased hits of the owner, those of this request included, which leave the journal here."""
        if wanted.erased:
            state.put_many(ERASED_TABLE, [(key + hit_id.to_bytes(8, "big"), b"") for hit_id in wanted.erased])
            state.put_many(ERASED_TABLE, [(_SCRUB_KEY, b"")])
            places = {**_at_hand(state, key, record), **_on_log(wanted.erased)}
            found = (places.get(hit_id, NOT_IN_JOURNAL) for hit_id in wanted.erased)
            delete_journal(state, [offset for offset in found if offset != NOT_IN_JOURNAL])
        if wanted.rewritten:
            state.put_many(ERASED_TABLE, [(_SCRUB_KEY, b"")])
        known = state.scan(ERASED_TABLE, key, key + b"\xff" * 9)
        return frozenset(int.from_bytes(name[12:], "big") for name, _ in known)

    def _past(
        self,
        home: int,
        history: OwnerHistory,
        record: OwnerRecord,
        level: int,
        erased: frozenset[int],
        wanted: Wanted,
    ) -> _Past:
        """What the rows of the tables were made of is known when only this request changes it, no late hits
        wait for their refold, and all that it erases is there."""
        past_hits = [(offset, decode_hit(value)) for offset, value in history.hits]
        is_whole = wanted.erased.keys() <= {hit.hit_id for _, hit in past_hits}
        compares = is_whole and not wanted.always and not record.waiting
        consumed = self._worker.committed().get(TopicPartition(HITS.name, home), 0)
        ready: dict[int, ReadyHit] = {}
        folded: dict[int, ReadyHit] = {}
        left: list[ReadyHit] = []
        recounts: list[tuple[Hit, Exclusion | None, Exclusion | None]] = []
        for offset, hit in past_hits:
            if offset >= consumed or (hit.hit_id in erased and hit.hit_id not in wanted.erased):
                continue
            entry = Entry(hit.time, hit.hit_id, offset)
            now = self._ready(hit, entry, level)
            was = now
            if self._config_offset(hit, level) != self._config_offset(hit, record.level):
                was = self._ready(hit, entry, record.level)
                reasons = tuple(one if isinstance(one, Exclusion) else None for one in (was, now))
                if reasons[0] is not reasons[1] and now is not None:
                    recounts.append((hit, reasons[0], reasons[1]))
            if compares and isinstance(was, ReadyHit):
                folded[hit.hit_id] = was
            if isinstance(now, ReadyHit) and hit.hit_id not in erased:
                ready[hit.hit_id] = now
            elif isinstance(was, ReadyHit):
                left.append(was)
        return _Past(_in_order(ready), _in_order(folded), recounts, left)

    def _ready(self, hit: Hit, entry: Entry, level: int) -> ReadyHit | Exclusion | None:
        """None for a hit that can't be prepared: it is on `dead` since it came."""
        try:
            prepared = self._prepare(hit, level)
        except LogError:
            raise
        except Exception:
            return None
        if isinstance(prepared, Exclusion):
            return prepared
        return ReadyHit(entry, prepared[0], prepared[1], self._config_offset(hit, level))

    def _placed(self, state: State, key: OwnerKey, record: OwnerRecord, past: _Past) -> Sequence[ReadyHit]:
        """The hits with their places in the journal; those that it reaches back to are put in it as they are
        prepared now, so that the next late hit finds them."""
        at_hand = _at_hand(state, key, record)
        oldest = state.scan(JOURNAL_TABLE, b"", b"\xff" * 9, limit=1)
        reaches_back_to = int.from_bytes(oldest[0][0], "big") if oldest else 1 << 62
        kept: list[ReadyHit] = []
        for ready in past.ready:
            entry = ready.entry
            known = at_hand.get(entry.hit_id, NOT_IN_JOURNAL)
            if known != NOT_IN_JOURNAL:
                ready.entry = Entry(entry.time, entry.hit_id, known)
            elif entry.offset < reaches_back_to:
                ready.entry = Entry(entry.time, entry.hit_id, NOT_IN_JOURNAL)
            if ready.entry.offset >= reaches_back_to:
                kept.append(ready)
        save_hits(state, kept)
        return past.ready

    @staticmethod
    def _delete_others(rows: Rows, history: OwnerHistory) -> None:
        """What the tables have of the owner and the new fold did not make."""
        for known in history.keys:
            if known not in rows.rows and known not in rows.deleted:
                rows.delete(row_of_key(known, history.owner))
        for visit_id, visitor_id in history.links:
            link = VisitLink(
                site_id=history.site_id, visitor_id=visitor_id, owner=history.owner, visit_id=visit_id,
                first_time=0, visit_count=0, seconds_since_first=0, has_order_before=False,
                seconds_since_order=0,
            )  # fmt: skip
            if row_key(link) not in rows.rows:
                rows.delete(link)

    @staticmethod
    def _recount(unit: Unit, past: _Past, excluded_by_fold: Mapping[int, Exclusion]) -> None:
        for hit, was, now in past.recounts:
            now = now or excluded_by_fold.get(hit.hit_id)
            outcome = Outcome.STORED if now is None else Outcome.EXCLUDED
            unit.count(hit, outcome, f"{was or Outcome.STORED}>{now or Outcome.STORED}")

    def _claim_orders(self, home: int, hits: Iterable[ReadyHit]) -> None:
        """Orders of hits that were excluded before; who claimed an id before claims the same again."""
        claims = [claim for ready in hits if (claim := claim_of(ready.hit)) is not None]
        if claims:
            self._worker.emit_keyed(home, ORDERS.name, claims)

    def _give_up_orders(self, home: int, hits: Iterable[ReadyHit]) -> None:
        """The next earliest order with the id counts then."""
        claims = [claim for one in hits if (claim := claim_of(one.hit, is_given_up=True)) is not None]
        if claims:
            self._worker.emit_keyed(home, ORDERS.name, claims)


def _at_hand(state: State, key: OwnerKey, record: OwnerRecord) -> dict[int, int]:
    """hit_id -> offset of the owner's entries, which may be NOT_IN_JOURNAL."""
    segments = (*segments_from(state, key, 0, 0), record.tail)
    return {entry.hit_id: entry.offset for segment in segments for entry in segment.entries}


def _on_log(erased: Mapping[int, int]) -> dict[int, int]:
    """Those of which the offset is known."""
    return {hit_id: offset for hit_id, offset in erased.items() if offset != GONE_FROM_LOG}


def _in_order(hits: Mapping[int, ReadyHit]) -> list[ReadyHit]:
    return sorted(hits.values(), key=lambda one: one.key)


def _beginning(history: OwnerHistory, record: OwnerRecord, level: int, erased: frozenset[int]) -> OwnerRecord:
    """The record that the fold of the history starts from. Of an erased visit nothing is known, nor what it
    knew of those before it."""
    begun = msgspec.structs.replace(new_record(level), lost_orders=record.lost_orders, links=record.links)
    last = _decode_visit(history.before) if history.before else None
    if last is not None and last.visit_id not in erased:
        begun = msgspec.structs.replace(begun, state=FoldState(visit=last), horizon=(last.last_time, 1 << 63))
        begun.tail.before = msgspec.msgpack.encode(begun.state)
    return begun


def _drop_same(rows: Rows, before: Rows, history: OwnerHistory) -> None:
    """Leave out of `rows` what the tables have as it is: a replay of a day writes no other day anew."""
    stored = set(history.keys)
    for key, row in before.rows.items():
        if rows.rows.get(key) == row and (key in stored or key[0] == "links"):
            del rows.rows[key]
    for key in before.deleted:
        if key not in stored and key[0] != "links":
            rows.deleted.pop(key, None)


def _folded(
    record: OwnerRecord, hits: Sequence[ReadyHit], rows: Rows
) -> tuple[OwnerRecord, list[Segment], dict[int, Exclusion]]:
    """The record continued with the hits, without those that can't be folded: they are on `dead`."""
    before = encode_record(record)
    try:
        appended = append(record, hits, rows)
    except Exception:
        record = decode_record(before)
        rows.rows.clear()
        rows.deleted.clear()
    else:
        return record, appended.full, appended.excluded
    full: list[Segment] = []
    excluded: dict[int, Exclusion] = {}
    for ready in hits:
        before = encode_record(record)
        made = Rows()
        try:
            appended = append(record, [ready], made)
        except Exception:
            record = decode_record(before)
            continue
        full += appended.full
        excluded |= appended.excluded
        for row in made.deleted.values():
            rows.delete(row)
        for row in made.rows.values():
            rows.put(row)
    return record, full, excluded
