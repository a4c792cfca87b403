"""One owner, one fold: the head, the journal and the refold (DESIGN section 2).

An owner's hits are kept in event order as segments of bounded length, each with the state of the fold before
its first entry. A hit in order continues the head. Anything else (a late hit, a verdict about an order) is a
refold: fold the old and the new sequence from the last segment that starts before the change, until both
states agree again, and emit the difference of the two sets of rows.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import msgspec

from rules.fold import fold_hit, rows_in_state
from rules.fold_state import NO_FACTS, Facts, FoldState, Rows, VisitRules
from rules.prepared import PreparedHit
from rules.visit_history import conversions_with_history_of, differ_by_history, with_history_of
from schemas.outcomes import Exclusion
from schemas.rows import Conversion, Row, VisitLink

SEGMENT_LENGTH = 64
MOST_LINKS = 64
_SEGMENT_SPAN_HIT_IDS = 86_400 * 1_000_000 * 16
"""A day of receipt, in hit_ids (microseconds times 16): a segment holds no more, so that it can be dropped
whole when its hits leave the journal."""


class Entry(msgspec.Struct, array_like=True, frozen=True, order=True, gc=False):
    """One hit of the journal, in the order of the fold."""

    time: int
    hit_id: int
    offset: int
    """Where the hit's bytes are: its offset in the owner's partition of `hits`."""


class Segment(msgspec.Struct, array_like=True):
    """Consecutive entries and the encoded FoldState before the first (empty for an owner without past)."""

    before: bytes
    entries: list[Entry]
    conversions: list[Conversion] | None = None
    """Goals and orders of these hits, in order; None where an earlier version made the segment."""


class OwnerRecord(msgspec.Struct, array_like=True):
    """The head of an owner: one small value that a hit in order reads and writes."""

    state: FoldState
    tail: Segment
    """The newest entries; earlier segments are stored apart."""
    lost_orders: list[int] = msgspec.field(default_factory=list)
    """hit_ids of orders whose order id belongs to an earlier order."""
    horizon: tuple[int, int] = (0, 0)
    """(time, hit_id) of the last entry of a dropped segment: a change up to it needs the raw hits; (0, 0)
    when nothing was dropped."""
    links: list[VisitLink] = msgspec.field(default_factory=list)
    """Visits of this visitor under other owners, by first_time; the newest MOST_LINKS."""
    level: int = 0
    """The config offset before which replays have been applied to this owner (rules.replays)."""
    stored_segments: int = 0
    """How many earlier segments were stored; those dropped since are not taken off."""
    waiting: list[Entry] = msgspec.field(default_factory=list)
    """Late hits of a busy owner, in event order, that are not folded yet: they wait for others, so that one
    refold serves them all."""


class JournalHit(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """What the journal keeps of a hit: prepared, so that a refold reads no query again and finds the rows as
    they were made, also by an earlier version of the rules."""

    hit_id: int
    config_offset: int
    """Of the configuration under which the hit was prepared."""
    hit: PreparedHit


class ReadyHit(msgspec.Struct, gc=False):
    """A hit of the journal with what the fold needs."""

    entry: Entry
    hit: PreparedHit
    rules: VisitRules
    config_offset: int
    """Of the configuration under which the hit was prepared, as are the rules."""

    @property
    def key(self) -> tuple[int, int]:
        return (self.entry.time, self.entry.hit_id)


encode_record = msgspec.msgpack.Encoder().encode
decode_record = msgspec.msgpack.Decoder(OwnerRecord).decode
_encode_state = msgspec.msgpack.Encoder().encode
_decode_state = msgspec.msgpack.Decoder(FoldState).decode
encode_journal_hit = msgspec.msgpack.Encoder().encode
decode_journal_hit = msgspec.msgpack.Decoder(JournalHit).decode
encode_segment = msgspec.msgpack.Encoder().encode
decode_segment = msgspec.msgpack.Decoder(Segment).decode


def new_record(level: int = 0) -> OwnerRecord:
    return OwnerRecord(FoldState(), Segment(b"", [], []), level=level)


def facts_of(record: OwnerRecord) -> Facts:
    if not record.lost_orders and not record.links:
        return NO_FACTS
    return Facts(frozenset(record.lost_orders), tuple(record.links))


def with_link(links: Sequence[VisitLink], link: VisitLink, *, is_deleted: bool) -> list[VisitLink]:
    """The links after one was told, told anew or taken back."""
    kept = [known for known in links if known.visit_id != link.visit_id]
    if not is_deleted:
        kept.append(link)
    kept.sort(key=lambda known: (known.first_time, known.visit_id))
    return kept[-MOST_LINKS:]


def last_key(record: OwnerRecord) -> tuple[int, int]:
    """(time, hit_id) of the newest entry; (0, 0) for a new owner."""
    entries = record.tail.entries
    if entries:
        return (entries[-1].time, entries[-1].hit_id)
    return record.horizon


def state_before(segment: Segment) -> FoldState:
    return _decode_state(segment.before) if segment.before else FoldState()


@dataclass(slots=True)
class Appended:
    """What continuing the head gave: segments that became full and must be stored, and the hits that left no
    trace in the rows, by hit_id."""

    full: list[Segment]
    excluded: dict[int, Exclusion]


def append(record: OwnerRecord, hits: Sequence[ReadyHit], rows: Rows) -> Appended:
    """Continue the head (changed in place) with hits that come after everything it has, in event order."""
    full: list[Segment] = []
    excluded: dict[int, Exclusion] = {}
    state = record.state
    facts = facts_of(record)
    entries = record.tail.entries
    for ready in hits:
        if entries and (
            len(entries) >= SEGMENT_LENGTH or ready.entry.hit_id - entries[0].hit_id > _SEGMENT_SPAN_HIT_IDS
        ):
            full.append(record.tail)
            record.tail = Segment(_encode_state(state), [], [])
            entries = record.tail.entries
        made = len(rows.conversions)
        exclusion = fold_hit(state, ready.hit, ready.rules, rows, facts)
        if len(rows.conversions) > made and record.tail.conversions is not None:
            record.tail.conversions += rows.conversions[made:]
        if exclusion is not None:
            excluded[ready.entry.hit_id] = exclusion
        entries.append(ready.entry)
    return Appended(full, excluded)


@dataclass(slots=True)
class Refolded:
    """What a refold found: `segments` replace the first `consumed` of the given ones (the last is the new
    tail when `state` is set); `changes` are the rows that differ, `True` for those that no longer exist."""

    segments: list[Segment]
    state: FoldState | None
    """The new head; None when the fold agreed with the old one before the end, so the head stays."""
    consumed: int
    changes: list[tuple[Row, bool]]
    excluded: dict[int, Exclusion]
    """Hits that leave no trace now, by hit_id."""


def refold(
    segments: Sequence[Segment],
    load: Callable[[Sequence[Entry]], Sequence[ReadyHit]],
    late: Sequence[ReadyHit],
    facts_before: Facts,
    facts_after: Facts,
) -> Refolded:
    """Fold the owner again from the first of `segments`, with `late` hits put in their places.

    `segments` are all from the one in which the first change falls to the tail, `late` is in event order and
    holds no entry that is there already, `load` gives the ready hits of entries."""
    judged = facts_after.lost_orders ^ facts_before.lost_orders
    relinked = [
        link.first_time
        for one, other in (
            (facts_after.links, facts_before.links),
            (facts_before.links, facts_after.links),
        )
        for link in one
        if link not in other
    ]
    both = _BothFolds(segments[0], facts_before, facts_after)
    pending = list(late)
    for index, segment in enumerate(segments):
        is_rest_the_same = (
            not pending
            and not _contains(segments[index:], judged)
            and (not relinked or _begins_after(both.new, max(relinked)))
        )
        if index > 0 and is_rest_the_same and _agree(both.old, both.new):
            return both.result(None, index)
        following = segments[index + 1] if index + 1 < len(segments) else None
        here = pending
        if following is not None:
            until = _first_key(following)
            here = [ready for ready in pending if ready.key < until]
        pending = pending[len(here) :]
        is_unchanged = not (here or relinked or _contains([segment], judged))
        if following is None or not is_unchanged or not both.carry(segment, following):
            both.fold(load(segment.entries), here)
    # All hits of the owner may have been erased.
    both.rebuilt = both.rebuilt or [Segment(segments[0].before, [], [])]
    return both.result(both.new, len(segments))


class _BothFolds:
    """The former fold of an owner and the one that replaces it, side by side."""

    def __init__(self, first: Segment, facts_before: Facts, facts_after: Facts) -> None:
        self._facts_before, self._facts_after = facts_before, facts_after
        self.old, self.new = state_before(first), state_before(first)
        self.rebuilt: list[Segment] = []
        self._before_first = first.before
        self._old_rows, self._new_rows = rows_in_state(self.old), rows_in_state(self.new)
        self._excluded: dict[int, Exclusion] = {}

    def result(self, state: FoldState | None, consumed: int) -> Refolded:
        changes = difference(self._old_rows, self._new_rows)
        return Refolded(self.rebuilt, state, consumed, changes, self._excluded)

    def carry(self, segment: Segment, following: Segment) -> bool:
        """Pass over a segment in which nothing has changed but what its visit knows of those before it: it
        goes on with that visit, and so does `following`. False when it must be folded."""
        old, new, after = self.old.visit, self.new.visit, state_before(following)
        if (
            segment.conversions is None
            or old is None
            or new is None
            or after.visit is None
            or (after.visit.visit_id, after.visit.date) != (old.visit_id, old.date)
            or after.cart is not None
            or after.link is not None
            or not differ_by_history(self.old, self.new)
        ):
            return False
        conversions = conversions_with_history_of(segment.conversions, new)
        self.rebuilt.append(Segment(_encode_state(self.new), segment.entries, conversions))
        self.old = after
        self.new = msgspec.structs.replace(after, visit=with_history_of(after.visit, new))
        self._old_rows.rows |= rows_in_state(self.old).rows
        self._new_rows.rows |= rows_in_state(self.new).rows
        for conversion in conversions:
            self._new_rows.put(conversion)
        return True

    def fold(self, old_hits: Sequence[ReadyHit], late: Sequence[ReadyHit]) -> None:
        """Fold the hits of the next segment as they were, and with the late ones."""
        is_first = not self.rebuilt
        before = self._before_first if is_first else _encode_state(self.new)
        hits = sorted([*old_hits, *late], key=lambda ready: ready.key) if late else old_hits
        # Parts of equal length: the next late hit finds room in both.
        length = -(-len(hits) // -(-len(hits) // SEGMENT_LENGTH)) if hits else 1
        shared = 0
        conversions: list[Conversion] = []
        if is_first and late and self._facts_after == self._facts_before:
            # Both folds are the same up to the first late hit; in the first part, since the next one keeps
            # the state before it.
            shared = min(length, bisect_left(old_hits, late[0].key, key=lambda ready: ready.key))
            rows = Rows()
            self._excluded |= _fold_all(self.new, hits[:shared], rows, self._facts_after)
            conversions = rows.conversions
            self.old = _decode_state(_encode_state(self.new))
            self._old_rows, self._new_rows = rows_in_state(self.old), rows_in_state(self.new)
        _fold_all(self.old, old_hits[shared:], self._old_rows, self._facts_before)
        for start in range(0, len(hits), length):
            part = hits[start : start + length]
            if start:
                before, shared, conversions = _encode_state(self.new), 0, []
            made = len(self._new_rows.conversions)
            self._excluded |= _fold_all(self.new, part[shared:], self._new_rows, self._facts_after)
            conversions += self._new_rows.conversions[made:]
            self.rebuilt.append(Segment(before, [ready.entry for ready in part], conversions))


def _fold_all(state: FoldState, hits: Iterable[ReadyHit], rows: Rows, facts: Facts) -> dict[int, Exclusion]:
    excluded: dict[int, Exclusion] = {}
    for ready in hits:
        exclusion = fold_hit(state, ready.hit, ready.rules, rows, facts)
        if exclusion is not None:
            excluded[ready.entry.hit_id] = exclusion
    return excluded


def _begins_after(state: FoldState, time: int) -> bool:
    """Whether there is a visit that has taken in all links up to a time; without one (pings alone make none)
    the next one does."""
    return state.visit is not None and state.visit.first_time >= time


def _agree(one: FoldState, other: FoldState) -> bool:
    return _encode_state(one) == _encode_state(other)


def _contains(segments: Iterable[Segment], hit_ids: frozenset[int]) -> bool:
    return bool(hit_ids) and any(entry.hit_id in hit_ids for segment in segments for entry in segment.entries)


def after_horizon(record: OwnerRecord, segments: Sequence[Segment]) -> list[Segment]:
    """Those that follow each other without a gap up to the tail. Older ones are left over where the segment
    after them was dropped before them."""
    return [segment for segment in segments if _first_key(segment) > record.horizon]


def _first_key(segment: Segment) -> tuple[int, int]:
    return (segment.entries[0].time, segment.entries[0].hit_id)


def difference(old: Rows, new: Rows) -> list[tuple[Row, bool]]:
    """What must be emitted so that the rows of `old` become those of `new`: (row, is_deleted).

    Both start from the rows that the state they resumed from could still change (rows_in_state), so what
    is in neither never existed."""
    changes: list[tuple[Row, bool]] = []
    for key, row in new.rows.items():
        if old.rows.get(key) != row:
            changes.append((row, False))
    for key, row in old.rows.items():
        if key not in new.rows:
            changes.append((row, True))
    return changes


def changes_of(rows: Rows) -> list[tuple[Row, bool]]:
    """The rows of a fold in order, as changes."""
    changes: list[tuple[Row, bool]] = [(row, False) for row in rows.rows.values()]
    changes.extend((row, True) for row in rows.deleted.values())
    return changes
