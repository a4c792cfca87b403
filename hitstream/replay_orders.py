"""Which orders count before and after a replay: an id belongs to its earliest order (processors.orders)."""

from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from hitstream.history import read_hits
from processors.orders import order_claim
from rules.prepared import PreparedHit
from schemas.hit import Hit
from schemas.rows import ORDER_GOAL
from sink.database import Database

_Claim = tuple[int, int, int]
"""Event time, hit_id, owner."""
Prepared = Callable[[Hit], PreparedHit | None]
"""None for a hit that is excluded or can't be read."""


@dataclass(frozen=True)
class Orders:
    """Hits whose orders don't count, since their ids belong to earlier ones."""

    lost_before: frozenset[int]
    lost_after: frozenset[int]
    owners: frozenset[int]
    """Whose orders begin or cease to count."""


def orders_of(database: Database, site_id: int, before: Prepared, after: Prepared) -> Orders:
    """Of a site's raw hits, and of the rows whose raw hits are gone. Blocking."""
    bound = {"site": site_id, "goal": ORDER_GOAL}
    where = "site_id = {site:UInt32} AND position(query, 'ec_id') > 0"
    claims: tuple[dict[str, set[_Claim]], ...] = (defaultdict(set), defaultdict(set))
    seen: set[int] = set()
    for one in read_hits(database, where, bound):
        seen.add(one.hit.hit_id)
        for found, prepare in zip(claims, (before, after), strict=True):
            prepared = prepare(one.hit)
            claim = None if prepared is None else order_claim(prepared)
            if claim is not None:
                found[claim.order_id].add((claim.time, claim.hit_id, claim.owner))
    query = (
        "SELECT toUnixTimestamp(time), hit_id, owner, lowerUTF8(order_id) FROM conversions FINAL"
        " WHERE site_id = {site:UInt32} AND goal_id = {goal:Int32} AND order_id != ''"
    )
    kept: set[int] = set()
    for time, hit_id, owner, order_id in database.rows(query, bound):
        kept.add(hit_id)
        if hit_id not in seen:
            for found in claims:
                found[order_id].add((time, hit_id, owner))
    return _standing(claims[0], claims[1], kept)


def _standing(before: Mapping[str, set[_Claim]], after: Mapping[str, set[_Claim]], kept: set[int]) -> Orders:
    owner_of = {claim[1]: claim[2] for of in (before, after) for some in of.values() for claim in some}
    lost_before = {claim[1] for some in before.values() for claim in some if claim[1] not in kept}
    lost_after: set[int] = set()
    for order_id, some in after.items():
        numbers = {claim[1] for claim in some}
        if before.get(order_id) == some:
            lost_after |= numbers & lost_before
        else:
            lost_after |= numbers - {min(some)[1]}
    changed = lost_before ^ lost_after
    return Orders(
        frozenset(lost_before), frozenset(lost_after), frozenset(owner_of[hit_id] for hit_id in changed)
    )
