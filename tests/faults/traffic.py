"""Seeded hits with all that makes order matter: late hits, repeated orders, logins, pings, campaigns."""

import random
from typing import Any

from schemas.config import Goal
from schemas.hit import Hit
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
