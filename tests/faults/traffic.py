"""Seeded hits with all that makes order matter: late hits, repeated orders, logins, pings, campaigns."""

import random
from typing import Any

from schemas.config import Goal
from schemas.hit import Hit, encode_hit, first_hit_id_of
from schemas.topics import partition_of
from tests.builders import NOON, a_hit

GOALS = (
    Goal(site_id=1, goal_id=1, name="thanks", pattern="thanks", revenue=5.0),
    Goal(site_id=1, goal_id=2, name="many", pattern="page", allow_multiple=True),
)
SITE: dict[str, Any] = {"timezone": "Europe/Berlin", "ecommerce": True}
_ITEMS = '[["a","A","x",1.5,1],["b","B",["y","z"],2,3]]'


def some_hits(count: int, seed: int, owners: int = 150) -> list[Hit]:
    """In order of acceptance; about 5 % arrive up to two hours late, 1 % repeat the hit before."""
    rng = random.Random(seed)
    user = 7
    hits: list[Hit] = []
    time = NOON + 8 * 3600
    for number in range(count):
        time += rng.choice((0, 0, 1, 2, 20))
        owner = rng.randint(1, owners)
        kind: dict[str, Any] = rng.choice(
            (
                {},
                {"url": f"http://example.org/page/{rng.randint(1, 40)}"},
                {"url": "http://example.org/thanks"},
                {"url": f"http://example.org/?utm_campaign=c{rng.randint(1, 3)}"},
                {"urlref": "https://www.google.com/search?q=shoes"},
                {"e_c": "video", "e_a": "play", "e_n": "intro", "e_v": "3"},
                {"search": "shoes"},
                {"download": "http://example.org/file.pdf"},
                {"ping": "1"},
                {"idgoal": "0", "ec_items": _ITEMS, "revenue": "7.5"},
                {
                    "idgoal": "0",
                    "ec_items": _ITEMS,
                    "revenue": "7.5",
                    "ec_id": f"o-{rng.randint(1, count // 20)}",
                },
                {"idgoal": "1"},
                {"uid": "alice"},
            )
        )
        late = rng.choice((60, 1800, 7200)) if rng.random() < 0.05 else 0
        hits.append(
            a_hit(
                time - late,
                hit_id=(1 << 50) + number * 16,
                received_at=time * 1000,
                owner=owner,
                visitor_id=user if "uid" in kind else owner,
                user_id=kind.get("uid", ""),
                **kind,
            )
        )
        if rng.random() < 0.01:
            hits.append(hits[-1])
    return hits


LONG_AGO_DAYS = 45
"""Other months than the rest of the traffic, and older than any journal."""
FIRST_CONFIG_OFFSET = 1
"""Of hits for which only the site must be known."""
_HOT_OWNER = 9_999
_USERS = 6
_UNREADABLE = b"\xc1no hit"

Entries = list[tuple[int, bytes, bytes]]
"""Partition, key, value: what an appender of `hits` takes."""


class Traffic:
    """Hits without end, by a seed and the moment of its begin: what makes order matter is in every portion.

    Late hits; very late ones, of visits whose hits have left the journal, for which the owner is refolded
    from the table of raw hits; a visitor with a long past; orders that compete for their ids; logins; hits
    that are there twice; messages that are no hits."""

    def __init__(
        self, seed: int, now: int, partitions: int, owners: int = 400, very_late: float = 0.005
    ) -> None:
        self._rng = random.Random(seed)
        self._partitions, self._owners, self._very_late = partitions, owners, very_late
        self._long_ago = now - LONG_AGO_DAYS * 86_400
        self._time = now - 40 * 3600
        self._number = 0
        self._portions = 0

    def history(self, size: int, begin: int = 0) -> Entries:
        """Visits of long ago, unless another begin is given; before all portions."""
        begin = begin or self._long_ago
        return [self._entry(self._hit(begin + number * 7, FIRST_CONFIG_OFFSET)) for number in range(size)]

    def visit_of(self, owner: int, hits: int) -> tuple[int, Entries]:
        """A visit that is complete: its id, and its hits."""
        made = [
            self._hit(self._time + 10 * number, FIRST_CONFIG_OFFSET, owner=owner, kind={})
            for number in range(hits)
        ]
        return made[0].hit_id, [self._entry(hit) for hit in made]

    def portion(self, size: int, config_offset: int) -> Entries:
        rng = self._rng
        self._portions += 1
        # Some owners go on with their visit, the others begin a new one.
        self._time += size
        entries: Entries = []
        for _ in range(size):
            self._time += rng.choice((0, 0, 1, 1, 2))
            chance = rng.random()
            if chance < self._very_late:
                at = self._long_ago + rng.randint(0, 7000)
            elif chance < 0.055:
                at = self._time - rng.choice((60, 1800, 7200))
            else:
                at = self._time
            entry = self._entry(self._hit(at, config_offset))
            entries.append(entry)
            if 0.055 < chance < 0.065:
                entries.append(entry)
        if self._portions % 4 == 1:
            place = rng.randrange(self._partitions)
            entries.insert(rng.randrange(len(entries)), (place, b"", _UNREADABLE + b" %d" % self._portions))
        return entries

    def _entry(self, hit: Hit) -> tuple[int, bytes, bytes]:
        return partition_of(hit.owner, self._partitions), hit.owner.to_bytes(8, "big"), encode_hit(hit)

    def _hit(self, at: int, config_offset: int, owner: int = 0, kind: dict[str, Any] | None = None) -> Hit:
        rng = self._rng
        # What is of long ago was also received then, unless it comes now: then it is late.
        received_at = self._time if self._portions else at
        self._number += 1
        owner = owner or (_HOT_OWNER if rng.random() < 0.03 else rng.randint(1, self._owners))
        if kind is None:
            kind = dict(self._kind())
        user = kind.get("uid", "")
        return a_hit(
            at,
            hit_id=first_hit_id_of(received_at * 1000) + self._number * 16,
            received_at=received_at * 1000,
            owner=owner,
            visitor_id=5_000 + int(user.removeprefix("user")) if user else owner,
            user_id=user,
            config_offset=config_offset,
            **kind,
        )

    def _kind(self) -> dict[str, Any]:
        rng = self._rng
        return rng.choice(
            (
                {},
                {"url": f"http://example.org/page/{rng.randint(1, 40)}"},
                {
                    "url": f"http://example.org/shop/{rng.randint(1, 9)}",
                    "dimension1": f"d{rng.randint(1, 4)}",
                },
                {"url": "http://example.org/thanks"},
                {"url": f"http://example.org/?utm_campaign=c{rng.randint(1, 3)}"},
                {"urlref": "https://www.google.com/search?q=shoes"},
                {"e_c": "video", "e_a": f"play{rng.randint(1, 30)}", "e_n": "intro", "e_v": "3"},
                {"search": "shoes"},
                {"download": "http://example.org/file.pdf"},
                {"ping": "1"},
                {"idgoal": "0", "ec_items": _ITEMS, "revenue": "7.5"},
                {"idgoal": "0", "ec_items": _ITEMS, "revenue": "7.5", "ec_id": f"o-{rng.randint(1, 3000)}"},
                {"idgoal": "0", "ec_items": _ITEMS, "revenue": "7.5", "ec_id": f"o-{self._portions}"},
                {"idgoal": "1"},
                {"uid": f"user{rng.randint(1, _USERS)}"},
            )
        )
