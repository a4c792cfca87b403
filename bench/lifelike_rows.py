"""Visits and actions as processors would emit them for lifelike traffic: seeded, without running the stages.

Zipf visitors and pages, a median of four actions per visit, page timings, a few events and searches. The
visit goes out anew with each of its actions, as the fold does it."""

import random
from collections.abc import Iterator
from datetime import UTC, datetime

from schemas.rows import Action, ActionKind, Conversion, Visit

AGENTS = (
    ("WIN", "10", "CH", "126.0", "Blink", 0, "", "", "1920x1080"),
    ("WIN", "11", "PS", "126.0", "Blink", 0, "", "", "2560x1440"),
    ("MAC", "10.15", "SF", "17.5", "WebKit", 0, "Apple", "", "1440x900"),
    ("IOS", "17.5", "MF", "17.5", "WebKit", 1, "Apple", "iPhone", "390x844"),
    ("AND", "14", "CM", "126.0", "Blink", 1, "Samsung", "Galaxy S23", "360x780"),
    ("AND", "13", "CM", "125.0", "Blink", 1, "Xiaomi", "Redmi Note 12", "393x873"),
    ("LIN", "", "FF", "127.0", "Gecko", 0, "", "", "1920x1200"),
)
COUNTRIES = ("us", "de", "gb", "fr", "in", "jp", "br", "ca", "es", "pl")
SITES_LINKING = [f"www.site{n}.example" for n in range(500)]
LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
MICROSECONDS_EPOCH = 1_577_836_800


def zipf_sampler(randomness: random.Random, size: int, exponent: float = 1.1) -> Iterator[int]:
    """Endless ranks 0..size-1, the first far more often than the last."""
    weights = [1 / (rank + 1) ** exponent for rank in range(size)]
    ranks = range(size)
    while True:
        yield from randomness.choices(ranks, weights, k=10_000)


def lifelike_rows(
    actions: int, *, site_id: int = 1, first_day: int = 1_789_000_000 // 86400, days: int = 1, seed: int = 1
) -> Iterator[tuple[Visit, Action, Conversion | None]]:
    """`actions` triples in order of time, spread over `days` UTC days."""
    randomness = random.Random(seed)
    visitors, pages = zipf_sampler(randomness, 200_000, 0.9), zipf_sampler(randomness, 20_000, 1.0)
    identities: dict[int, tuple[int, int]] = {}
    open_visits: list[tuple[Visit, list[Action], int]] = []
    start, span = first_day * 86400, days * 86400
    for number in range(actions):
        at = start + number * span // actions
        hit_id = ((at - MICROSECONDS_EPOCH) * 1_000_000 + randomness.randrange(1_000_000)) * 16
        moment = datetime.fromtimestamp(at, UTC)
        if len(open_visits) < 400 or randomness.random() < 0.2:
            visitor = next(visitors)
            visitor_id, visits_before = identities.get(visitor, (randomness.getrandbits(64), 0))
            identities[visitor] = (visitor_id, visits_before + 1)
            visit = _new_visit(randomness, site_id, at, hit_id, visitor_id, visits_before)
            last: Action | None = None
            place = len(open_visits)
            open_visits.append((visit, [], max(1, int(randomness.lognormvariate(1.4, 0.8)))))
        else:
            place = randomness.randrange(len(open_visits))
        visit, of_visit, wanted = open_visits[place]
        last = of_visit[-1] if of_visit else None
        page = next(pages)
        kind = randomness.choices((1, 10, 8, 3), (95, 3, 1.5, 0.5))[0]
        action = _new_action(randomness, visit, last, kind, page, at, hit_id, moment)
        of_visit[:] = [action]
        visit.actions += 1
        visit.interactions += kind != ActionKind.EVENT
        visit.hits += 1
        visit.events += kind == ActionKind.EVENT
        visit.searches += kind == ActionKind.SEARCH
        visit.last_time, visit.date, visit.local_hour = at, at // 86400, moment.hour
        visit.duration = at - visit.first_time + (visit.actions > 1)
        if kind == ActionKind.PAGE:
            visit.exit_url, visit.exit_title = action.url, action.title
            if not visit.entry_url:
                visit.entry_url, visit.entry_title = action.url, action.title
        conversion = None
        if randomness.random() < 0.01:
            visit.converted, visit.goals = True, [*visit.goals, 1]
            conversion = Conversion(
                site_id=site_id, date=visit.date, hit_id=hit_id, goal_id=1, visit_id=visit.visit_id,
                visitor_id=visit.visitor_id, owner=visit.owner, time=at, url=f"https://www.{action.url}",
                revenue=5.0, referrer_type=visit.referrer_type, referrer_name=visit.referrer_name,
            )  # fmt: skip
        yield visit, action, conversion
        if visit.actions >= wanted:
            open_visits[place] = open_visits[-1]
            open_visits.pop()


def _new_visit(
    randomness: random.Random, site_id: int, at: int, hit_id: int, visitor_id: int, before: int
) -> Visit:
    os, os_version, browser, version, engine, device, brand, model, resolution = AGENTS[visitor_id % 7]
    referrer = randomness.choices((1, 2, 3, 6), (45, 30, 20, 5))[0]
    name = (
        {1: "", 2: "Google", 6: "spring"}.get(referrer)
        if referrer != 3
        else SITES_LINKING[hit_id // 16 % 500]
    )
    return Visit(
        site_id=site_id, date=at // 86400, visit_id=hit_id, visitor_id=visitor_id, owner=visitor_id,
        config_id=visitor_id * 0x9E3779B97F4A7C15 & 0xFFFFFFFFFFFFFFFF, first_time=at, last_time=at,
        visitor_hour=at % 86400 // 3600, visitor_seconds=at % 86400, returning=int(before > 0),
        visit_count=before + 1,
        seconds_since_first=before * 90_000, seconds_since_last=90_000 * (before > 0), referrer_type=referrer,
        referrer_name=name or "", referrer_url=f"https://{name}/{hit_id % 97}" if referrer == 3 else "",
        os=os, os_version=os_version, browser=browser, browser_version=version, browser_engine=engine,
        device_type=device, device_brand=brand, device_model=model, client_type=1, resolution=resolution,
        plugins=["pdf", "cookie"], language="en-us", country=COUNTRIES[visitor_id // 7 % 10],
        ip=f"{visitor_id % 223}.{visitor_id // 223 % 256}.0.0",
    )  # fmt: skip


def _new_action(
    randomness: random.Random,
    visit: Visit,
    last: Action | None,
    kind: int,
    page: int,
    at: int,
    hit_id: int,
    moment: datetime,
) -> Action:
    is_page = kind == ActionKind.PAGE
    timings = [int(randomness.lognormvariate(4, 1)) for _ in range(6)] if is_page else [-1] * 6
    return Action(
        site_id=visit.site_id, date=at // 86400, hit_id=hit_id, visit_id=visit.visit_id,
        visitor_id=visit.visitor_id, owner=visit.owner, time=at, local_hour=moment.hour, kind=kind,
        url="" if kind == ActionKind.SEARCH else f"shop.example.org/section{page % 40}/article-{page}",
        url_prefix=3, title=f"Article {page} - Section {page % 40} - Shop" if is_page else "",
        event_category="video" if kind == ActionKind.EVENT else "",
        event_action="play" if kind == ActionKind.EVENT else "",
        event_name=f"clip {page % 100}" if kind == ActionKind.EVENT else "",
        search_keyword=f"word{page % 1000}" if kind == ActionKind.SEARCH else "",
        position=visit.interactions + 1, pageview_position=visit.interactions + 1,
        pageview_id="".join(randomness.choices(LETTERS, k=6)),
        previous_url=last.url if last else "", previous_title=last.title if last else "",
        previous_kind=last.kind if last else 0,
        time_spent_previous=min(1800, at - last.time) if last else 0,
        time_network=timings[0], time_server=timings[1], time_transfer=timings[2],
        time_dom_processing=timings[3],
        time_dom_completion=timings[4], time_on_load=timings[5],
    )  # fmt: skip
