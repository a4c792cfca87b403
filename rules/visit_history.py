"""What a visit knows of the visitor's visits before it, apart from what it knows of itself.

An earlier visit that comes late changes these numbers in every later visit and in what those converted, and
nothing else: a refold carries them through a stretch of hits that begins no visit without folding it."""

from collections.abc import Iterable

import msgspec

from rules.fold_state import FoldState
from schemas.rows import Conversion, Visit

_encode = msgspec.msgpack.Encoder().encode


def with_history_of(visit: Visit, other: Visit) -> Visit:
    """`visit` as it were after the visits that came before `other`, neither of which ordered."""
    return msgspec.structs.replace(
        visit,
        returning=other.returning,
        visit_count=other.visit_count,
        seconds_since_first=other.seconds_since_first,
        seconds_since_last=other.seconds_since_last,
    )


def conversions_with_history_of(conversions: Iterable[Conversion], visit: Visit) -> list[Conversion]:
    """The conversions of a visit as they were if it were `visit`. Orders count from visit to visit: what they
    are since must be the same."""
    return [
        msgspec.structs.replace(
            one,
            returning=visit.returning,
            visit_count=visit.visit_count,
            seconds_since_first=visit.seconds_since_first,
        )
        for one in conversions
    ]


def differ_by_history(one: FoldState, other: FoldState) -> bool:
    """Whether two states of the same hits are the same but for the visits before the open one. Carts and what
    the visitor was told repeat these numbers: with them it is False."""
    if one.visit is None or other.visit is None or one.cart is not None or one.link is not None:
        return False
    moved = msgspec.structs.replace(other, visit=with_history_of(other.visit, one.visit))
    return bool(_encode(moved) == _encode(one))
