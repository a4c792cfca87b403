"""The traffic profile of every benchmark, seeded (DESIGN section 9).

200,000 visitors, Zipf; median 4 hits per visit; 20,000 URLs; 5 % of visits with an agent never seen before;
14 parameters, about 400 bytes; 3 % events, 2 % searches, 1 % goals, 0.5 % orders, 1 % late by up to a day.
"""

import random
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import accumulate
from urllib.parse import quote, urlencode

VISITORS, URLS = 200_000, 20_000
OPEN_VISITS = 2_000
NEW_AGENT_SHARE = 0.05
MORE_HITS = 4.4
"""The median of 1 + exponential(mean 4.4) is 4."""
EVENTS, SEARCHES, GOALS, ORDERS, LATE = 0.03, 0.02, 0.01, 0.005, 0.01
WEBKIT = "AppleWebKit/537.36 (KHTML, like Gecko)"
AGENTS = (
    f"Mozilla/5.0 (Windows NT 10.0; Win64; x64) {WEBKIT} Chrome/{{n}}.0.0.0 Safari/537.36",
    f"Mozilla/5.0 (Linux; Android 14; SM-S91{{d}}B) {WEBKIT} Chrome/{{n}}.0.0.0 Mobile Safari/537.36",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_{d} like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko)"
    " Version/17.{d} Mobile/15E{n} Safari/604.1",
    "Mozilla/5.0 (X11; Linux x86_64; rv:{n}.0) Gecko/20100101 Firefox/{n}.0",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko)"
    " Version/17.{d} Safari/605.1.15",
)
REFERRERS = ("", "", "https://www.google.com/", "https://www.bing.com/", "https://news.example.org/story/{n}")
WORDS = [
    "autumn",
    "lamp",
    "river",
    "garden",
    "kitchen",
    "travel",
    "winter",
    "paper",
    "window",
    "music",
    "coffee",
    "bicycle",
    "summer",
    "forest",
]


@dataclass(frozen=True)
class TrafficHit:
    """One tracking request as a tracker sends it: percent-encoded query, and its User-Agent header."""

    query: str
    agent: str
    seconds_late: int = 0
    """More than 0: to be sent with `cdt` that long ago, which needs a token."""


class Zipf:
    """Ranks 0..size-1, weighted 1 / (rank + 1) ** exponent."""

    def __init__(self, size: int, exponent: float) -> None:
        self._sums = list(accumulate((rank + 1) ** -exponent for rank in range(size)))

    def draw(self, rng: random.Random) -> int:
        return bisect_left(self._sums, rng.random() * self._sums[-1])


@dataclass
class _Visit:
    visitor_id: str
    agent: str
    referrer: str
    fixed: str
    left: int


def _page(number: int) -> str:
    word = WORDS[number % len(WORDS)]
    return f"https://www.example.com/{word}/{WORDS[number // 7 % len(WORDS)]}-{number}.html"


def _agent(rng: random.Random, fresh: int | None) -> str:
    template = AGENTS[int(rng.random() ** 2 * len(AGENTS))]
    if fresh is not None:
        # A build number no other agent has: the text is new, what it says of the client is not.
        return template.format(n=100 + fresh % 40, d=fresh % 8) + f" Build/{fresh:08x}"
    return template.format(n=120 + int(rng.random() * 12), d=int(rng.random() * 6))


def traffic(
    count: int, *, site: int = 1, seed: int = 1, more_hits: float = MORE_HITS
) -> Iterator[TrafficHit]:
    """`count` hits of many visits under way at the same time, in the order in which they are sent. A visit
    has one hit and, in the mean, `more_hits` more."""
    rng = random.Random(seed)
    visitors, pages = Zipf(VISITORS, 0.8), Zipf(URLS, 1.0)
    visits: list[_Visit] = []
    fresh = seed << 20
    for number in range(count):
        if len(visits) < min(OPEN_VISITS, count // 10 + 1):
            place = len(visits)
            visits.append(_new_visit(rng, visitors, None, more_hits))
        else:
            place = int(rng.random() * len(visits))
        visit = visits[place]
        if visit.left == 0:
            fresh += 1
            chosen = fresh if rng.random() < NEW_AGENT_SHARE else None
            visit = visits[place] = _new_visit(rng, visitors, chosen, more_hits)
        visit.left -= 1
        page = _page(pages.draw(rng))
        chance = rng.random()
        extra = {
            "r": f"{rng.getrandbits(32)}",
            "pv_id": f"{rng.getrandbits(24):06x}",
            "h": str(number // 3600 % 24),
            "m": str(number // 60 % 60),
            "s": str(number % 60),
        }
        if chance < EVENTS:
            extra |= {"e_c": "Video", "e_a": "play", "e_n": WORDS[number % len(WORDS)]}
        elif chance < EVENTS + SEARCHES:
            extra |= {"search": f"{WORDS[number % 11]} {WORDS[number % 7]}", "search_count": "12"}
        elif chance < EVENTS + SEARCHES + GOALS:
            extra |= {"idgoal": "1"}
        elif chance < EVENTS + SEARCHES + GOALS + ORDERS:
            extra |= {
                "idgoal": "0",
                "ec_id": f"{seed}-{number}",
                "revenue": "42.50",
                "ec_items": '[["SKU1","Lamp","Light",42.5,1]]',
            }
        else:
            extra |= {
                "action_name": page[24:-5].replace("/", " ").replace("-", " "),
                "pf_net": "12",
                "pf_srv": "154",
            }
        late = 1 + int(rng.random() * 86_000) if rng.random() < LATE else 0
        query = (
            f"idsite={site}&rec=1&url={quote(page, safe='')}&urlref={visit.referrer}&_id={visit.visitor_id}"
            f"&{visit.fixed}&{urlencode(extra)}"
        )
        yield TrafficHit(query, visit.agent, late)


def _new_visit(rng: random.Random, visitors: Zipf, fresh: int | None, more_hits: float) -> _Visit:
    visitor = visitors.draw(rng)
    referrer = quote(REFERRERS[int(rng.random() * len(REFERRERS))].format(n=visitor % 500), safe="")
    fixed = "res=1920x1080&cookie=1&pdf=1&send_image=0&_idn=" + ("1" if visitor % 3 else "0")
    length = 1 + int(rng.expovariate(1 / more_hits)) if more_hits else 1
    return _Visit(
        f"{visitor * 0x9E3779B97F4A7C15 % (1 << 64):016x}", _agent(rng, fresh), referrer, fixed, length
    )
