"""`hitstream demo`: lifelike traffic for a first look: a shop with a blog, its visitors of the last days."""

import argparse
import json
import math
import random
import sys
import time
import urllib.parse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from hitstream.client import InstanceClient, InstanceError, find_instance
from hitstream.settings import ClientSettings
from schemas.settings import load_settings

BASE = "http://localhost"
BATCH = 400

PAGES = (
    ("/", "Home", 30),
    ("/products", "Products", 18),
    ("/products/bicycle-lamp", "Bicycle lamp", 9),
    ("/products/rain-jacket", "Rain jacket", 8),
    ("/products/lunch-box", "Lunch box", 6),
    ("/products/travel-mug", "Travel mug", 5),
    ("/blog", "Blog", 8),
    ("/blog/cycling-in-winter", "Cycling in winter", 7),
    ("/blog/ten-quick-lunches", "Ten quick lunches", 5),
    ("/about", "About us", 3),
    ("/contact", "Contact", 3),
)
REFERRERS = (
    ("", 45),
    ("https://www.google.com/", 22),
    ("https://duckduckgo.com/", 5),
    ("https://www.bing.com/", 4),
    ("https://www.facebook.com/", 5),
    ("https://mastodon.social/@shop", 3),
    ("https://news.example.com/winter-gear", 6),
    ("https://chatgpt.com/", 2),
)
CAMPAIGNS = (("", 85), ("winter-sale", 8), ("newsletter", 7))
AGENTS = (
    (
        "Mozilla/5.0 (Windows NT 10.0; Win64; x64) "
        "AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Safari/537.36",
        40,
    ),
    (
        "Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) "
        "AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.1 Mobile/15E148 Safari/604.1",
        24,
    ),
    (
        "Mozilla/5.0 (Linux; Android 14; Pixel 8) "
        "AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Mobile Safari/537.36",
        18,
    ),
    ("Mozilla/5.0 (X11; Linux x86_64; rv:133.0) Gecko/20100101 Firefox/133.0", 8),
    (
        "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) "
        "AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.1 Safari/605.1.15",
        10,
    ),
)  # fmt: skip
LANGUAGES = (
    ("en-us,en", 40),
    ("de-de,de", 18),
    ("fr-fr,fr", 12),
    ("es-es,es", 9),
    ("ja", 5),
    ("pt-br,pt", 6),
)
RESOLUTIONS = (("1920x1080", 40), ("390x844", 25), ("412x915", 18), ("2560x1440", 10), ("1440x900", 7))
SEARCHES = ("lamp", "rain jacket", "mug", "helmet", "gift card")


@dataclass(frozen=True)
class DemoHit:
    """One request and when it happened."""

    at: int
    query: str


def _pick(rng: random.Random, choices: Sequence[tuple[str, int]]) -> str:
    return rng.choices([choice[0] for choice in choices], [choice[1] for choice in choices])[0]


def visitor(rng: random.Random, number: int) -> dict[str, str]:
    """What stays the same over a visitor's visits, chosen by the visitor's number."""
    own = random.Random(number)  # noqa: S311 - made-up traffic
    return {
        "_id": f"{own.getrandbits(64):016x}",
        "ua": _pick(own, AGENTS),
        "lang": _pick(own, LANGUAGES),
        "res": _pick(own, RESOLUTIONS),
        "cip": f"198.51.{own.randrange(100, 104)}.{own.randrange(1, 255)}",
        "cookie": "1",
        **({"uid": f"customer-{number}"} if own.random() < 0.1 and rng.random() < 0.5 else {}),
    }


def visit(rng: random.Random, start: int, site: int, visitors: int) -> Iterator[DemoHit]:
    """The hits of one visit in order of time; a few visitors come often, most once."""
    number = int(visitors ** rng.random())
    fixed = {"idsite": str(site), "rec": "1", "apiv": "1", **visitor(rng, number)}
    referrer, campaign = _pick(rng, REFERRERS), _pick(rng, CAMPAIGNS)
    at = start
    length = 1 if rng.random() < 0.4 else 2 + min(20, int(rng.expovariate(0.35)))
    paths = [(path, title) for path, title, _ in PAGES]
    weights = [weight for *_, weight in PAGES]
    page_url = BASE + "/"
    for step in range(length):
        chance = rng.random()
        at += rng.randrange(5, 120) if step else 0
        fields = dict(fixed)
        if step and chance < 0.05:
            fields |= {
                "url": page_url,
                "search": rng.choice(SEARCHES),
                "search_count": str(rng.randrange(12)),
            }
        elif step and chance < 0.12:
            fields |= {
                "url": page_url,
                "e_c": "Video",
                "e_a": rng.choice(("play", "pause")),
                "e_n": "Lamp in the dark",
            }
        elif step and chance < 0.14:
            fields |= {"url": page_url, "download": BASE + "/files/size-guide.pdf"}
        elif step and chance < 0.16:
            fields |= {"url": page_url, "link": "https://maps.example.org/shop"}
        else:
            path, title = rng.choices(paths, weights)[0]
            page_url = BASE + path
            query = f"?mtm_campaign={campaign}" if campaign and step == 0 else ""
            fields |= {
                "url": page_url + query,
                "action_name": title,
                "pv_id": f"{rng.getrandbits(24):06x}",
                "pf_net": str(rng.randrange(1, 80)),
                "pf_srv": str(rng.randrange(20, 600)),
                "pf_tfr": str(rng.randrange(1, 200)),
                "pf_dm1": str(rng.randrange(50, 900)),
            }
        if step == 0 and referrer:
            fields["urlref"] = referrer
        yield _hit(fields, at)
    if length > 3 and rng.random() < 0.12:
        at += rng.randrange(20, 90)
        price = rng.choice((19.9, 34.5, 79.0))
        yield _hit(
            {
                **fixed,
                "url": BASE + "/checkout",
                "idgoal": "0",
                "ec_id": f"A{at}-{number}",
                "revenue": f"{price:.2f}",
                "ec_items": json.dumps([["LAMP-1", "Bicycle lamp", "Light", price, 1]]),
            },
            at,
        )


def _hit(fields: dict[str, str], at: int) -> DemoHit:
    return DemoHit(at, "?" + urllib.parse.urlencode({**fields, "cdt": str(at)}))


def daytime_weight(hour: int) -> float:
    """How busy an hour is: quiet at night, busiest in the early evening."""
    return 0.25 + max(0.0, math.sin((hour - 6) / 24 * 2 * math.pi)) + (0.6 if 17 <= hour <= 21 else 0.0)


def history(rng: random.Random, now: int, days: int, visits_per_day: int, site: int) -> list[DemoHit]:
    """All hits of the last days up to now, in order of time."""
    hits: list[DemoHit] = []
    for day in range(days):
        begin = (now // 86400 - day) * 86400
        hours = rng.choices(range(24), [daytime_weight(hour) for hour in range(24)], k=visits_per_day)
        for hour in hours:
            start = begin + hour * 3600 + rng.randrange(3600)
            hits += [hit for hit in visit(rng, start, site, visits_per_day * 8) if hit.at <= now]
    return sorted(hits, key=lambda hit: hit.at)


def send(client: InstanceClient, hits: Sequence[DemoHit]) -> int:
    """Sends in batches; returns how many were tracked. Raises InstanceError."""
    tracked = 0
    for start in range(0, len(hits), BATCH):
        queries = [hit.query for hit in hits[start : start + BATCH]]
        body = json.dumps({"requests": queries, "token_auth": client.token}).encode()
        status, answer = client.request("POST", "/matomo.php", body, {"Content-Type": "application/json"})
        if status != 200:
            raise InstanceError(f"{client.url} answered {status}: {answer[:200]!r}")
        tracked += int(json.loads(answer).get("tracked", 0))
    return tracked


def run_demo(options: argparse.Namespace) -> int:
    """Returns the exit status. Runs until interrupted, unless --once."""
    rng = random.Random()  # noqa: S311 - made-up traffic
    try:
        client = find_instance(load_settings(ClientSettings), options.url, options.token)
        sites = client.json("GET", "/hitstream/sites")["sites"]
        if not sites:
            raise InstanceError("the instance has no site: add one with SitesManager.addSite")
        site = int(sites[0]["id"])
        began = time.monotonic()
        hits = history(rng, int(time.time()), options.days, options.visits, site)
        tracked = send(client, hits)
        print(
            f"{tracked} hits of {options.days} days sent to site {site} in {time.monotonic() - began:.1f} s"
        )
        if options.once:
            return 0
        print("now sending visits as they happen; stop with Ctrl-C", flush=True)
        waiting: list[DemoHit] = []
        while True:
            now = int(time.time())
            if rng.random() < 0.4:
                waiting += visit(rng, now, site, options.visits * 8)
            due = [hit for hit in waiting if hit.at <= now]
            waiting = [hit for hit in waiting if hit.at > now]
            send(client, due)
            time.sleep(1.0)
    except InstanceError as error:
        print(f"hitstream: {error}", file=sys.stderr)
        return 1
