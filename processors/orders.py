"""Which order counts: an order id is unique in its site for ever, and the earliest order owns it.

Facts on the log: an order that enters a fold claims its id on `orders`, partitioned by site and order id;
one that leaves it, excluded by a replay or erased, gives its claim up. This stage keeps the claims of each id
and tells the owner of every one but the earliest, on `order_verdicts`, that its order is lost; that owner
refolds. When the earliest is given up, the owner of the next is told that its order counts.
"""

from collections.abc import Iterable, Sequence
from hashlib import blake2b

import msgspec

from rules.prepared import PreparedHit
from stream.protocol import Message, State

ORDERS_TABLE = "orders"


class OrderClaim(msgspec.Struct, array_like=True, frozen=True):
    """An order as it was accepted; `order_id` in lower case, since ids compare without case."""

    site_id: int
    order_id: str
    time: int
    hit_id: int
    owner: int
    is_given_up: bool = False


class OrderVerdict(msgspec.Struct, array_like=True, frozen=True):
    """The order of `hit_id` (event time `time`) is not the first with its id."""

    site_id: int
    owner: int
    time: int
    hit_id: int
    counts: bool = False
    """It is the first by now: those before it are given up."""


MOST_CLAIMS = 64
"""Of one order id are kept, the earliest: nobody sends an order so often in earnest."""

_Claimant = tuple[int, int, int]
"""Event time, hit_id, owner."""


encode_claim = msgspec.msgpack.Encoder().encode
decode_claim = msgspec.msgpack.Decoder(OrderClaim).decode
encode_verdict = msgspec.msgpack.Encoder().encode
decode_verdict = msgspec.msgpack.Decoder(OrderVerdict).decode
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder().decode


def order_hash(site_id: int, order_id: str) -> int:
    """Unsigned 64-bit key that partitions `orders`; of the lower-cased id."""
    digest = blake2b(f"{site_id}:{order_id.lower()}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big")


def order_claim(hit: PreparedHit, *, is_given_up: bool = False) -> OrderClaim | None:
    """None when the hit is no order with an id."""
    ecommerce = hit.ecommerce
    if ecommerce is None or not ecommerce.order_id:
        return None
    order_id = ecommerce.order_id.lower()
    return OrderClaim(hit.site_id, order_id, hit.time, hit.hit_id, hit.owner, is_given_up)


def claim_of(hit: PreparedHit, *, is_given_up: bool = False) -> tuple[int, bytes] | None:
    """Key and value for `orders`; None when the hit is no order with an id."""
    claim = order_claim(hit, is_given_up=is_given_up)
    return None if claim is None else (order_hash(claim.site_id, claim.order_id), encode_claim(claim))


def _state_key(claim: OrderClaim) -> bytes:
    return blake2b(f"{claim.site_id}:{claim.order_id}".encode(), digest_size=16).digest()


def _claimants(value: bytes | None) -> list[_Claimant]:
    """The earliest first. A single one, as nearly all are, is stored without a list around it."""
    if value is None:
        return []
    stored = _decode(value)
    return [(one[0], one[1], one[2]) for one in ([stored] if isinstance(stored[0], int) else stored)]


def judge(claims: Sequence[OrderClaim], state: State) -> list[OrderVerdict]:
    """Take `claims` into `state` (one row of about 40 bytes per order id) and return whose orders are lost,
    and whose count after all."""
    keys = [_state_key(claim) for claim in claims]
    known = {key: _claimants(value) for key, value in state.get_many(ORDERS_TABLE, keys).items()}
    changed: set[bytes] = set()
    verdicts: list[OrderVerdict] = []
    for key, claim in zip(keys, claims, strict=True):
        before = known.get(key, [])
        mine = (claim.time, claim.hit_id, claim.owner)
        if any(one[1] == claim.hit_id for one in before) != claim.is_given_up:
            continue
        if claim.is_given_up:
            after = [one for one in before if one[1] != claim.hit_id]
        else:
            after = sorted([*before, mine])[:MOST_CLAIMS]
        known[key] = after
        changed.add(key)
        if claim.is_given_up:
            if after and before[0] != after[0]:
                verdicts.append(_verdict(claim.site_id, after[0], counts=True))
        elif after[0] != mine:
            verdicts.append(_verdict(claim.site_id, mine))
        elif before:
            verdicts.append(_verdict(claim.site_id, before[0]))
    kept = [(key, known[key]) for key in changed if known[key]]
    state.put_many(ORDERS_TABLE, [(key, _encode(of[0] if len(of) == 1 else of)) for key, of in kept])
    state.delete_many(ORDERS_TABLE, [key for key in changed if not known[key]])
    return verdicts


def _verdict(site_id: int, about: _Claimant, *, counts: bool = False) -> OrderVerdict:
    time, hit_id, owner = about
    return OrderVerdict(site_id, owner, time, hit_id, counts)


def decode_claims(messages: Iterable[Message]) -> list[OrderClaim]:
    return [decode_claim(message.value) for message in messages]
