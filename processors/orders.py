"""Which order counts: an order id is unique in its site for ever, and the earliest order owns it.

Facts on the log: an order that enters a fold claims its id on `orders`, partitioned by site and order id.
This stage keeps the earliest claim of each id and tells the owner of every other one, on `order_verdicts`,
that its order is lost; that owner refolds. A claim can only be beaten by an earlier one, so an order that has
lost never wins again and no verdict is ever taken back.
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


class OrderVerdict(msgspec.Struct, array_like=True, frozen=True):
    """The order of `hit_id` (event time `time`) is not the first with its id."""

    site_id: int
    owner: int
    time: int
    hit_id: int


class _Winner(msgspec.Struct, array_like=True, frozen=True):
    time: int
    hit_id: int
    owner: int


encode_claim = msgspec.msgpack.Encoder().encode
decode_claim = msgspec.msgpack.Decoder(OrderClaim).decode
encode_verdict = msgspec.msgpack.Encoder().encode
decode_verdict = msgspec.msgpack.Decoder(OrderVerdict).decode
_encode_winner = msgspec.msgpack.Encoder().encode
_decode_winner = msgspec.msgpack.Decoder(_Winner).decode


def order_hash(site_id: int, order_id: str) -> int:
    """Unsigned 64-bit key that partitions `orders`; of the lower-cased id."""
    digest = blake2b(f"{site_id}:{order_id.lower()}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big")


def claim_of(hit: PreparedHit) -> tuple[int, bytes] | None:
    """Key and value for `orders`; None when the hit is no order with an id."""
    ecommerce = hit.ecommerce
    if ecommerce is None or not ecommerce.order_id:
        return None
    claim = OrderClaim(hit.site_id, ecommerce.order_id.lower(), hit.time, hit.hit_id, hit.owner)
    return order_hash(hit.site_id, ecommerce.order_id), encode_claim(claim)


def _state_key(claim: OrderClaim) -> bytes:
    return blake2b(f"{claim.site_id}:{claim.order_id}".encode(), digest_size=16).digest()


def judge(claims: Sequence[OrderClaim], state: State) -> list[OrderVerdict]:
    """Take `claims` into `state` (one row of about 40 bytes per order id) and return who lost."""
    keys = [_state_key(claim) for claim in claims]
    winners = {key: _decode_winner(value) for key, value in state.get_many(ORDERS_TABLE, keys).items()}
    changed: dict[bytes, bytes] = {}
    lost: list[OrderVerdict] = []
    for key, claim in zip(keys, claims, strict=True):
        winner = winners.get(key)
        challenger = _Winner(claim.time, claim.hit_id, claim.owner)
        if winner is not None and winner.hit_id == challenger.hit_id:
            continue
        if winner is None or (challenger.time, challenger.hit_id) < (winner.time, winner.hit_id):
            winners[key] = challenger
            changed[key] = _encode_winner(challenger)
            loser = winner
        else:
            loser = challenger
        if loser is not None:
            lost.append(OrderVerdict(claim.site_id, loser.owner, loser.time, loser.hit_id))
    state.put_many(ORDERS_TABLE, changed.items())
    return lost


def decode_claims(messages: Iterable[Message]) -> list[OrderClaim]:
    return [decode_claim(message.value) for message in messages]
