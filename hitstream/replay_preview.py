"""What a replay would change, by report, before it does: the hits in question folded twice, nothing written.

Read from the tables while hits keep coming, and without what owners know of each other after a login (links),
so the figures are those of a moment; the replay itself is exact.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from hitstream.history import StoredHit, read_hits
from hitstream.replay import owners_of
from hitstream.replay_orders import Orders, orders_of
from processors.rules_cache import RulesCache
from rules.fold import fold_hit
from rules.fold_state import Facts, FoldState, Rows, VisitRules
from rules.prepare import Lookups, prepare
from rules.prepared import CAMPAIGN, PreparedHit
from rules.replays import Replays
from schemas.config import Config, Replay
from schemas.hit import Hit
from schemas.outcomes import Exclusion
from schemas.rows import CART_GOAL, ORDER_GOAL, Action, ActionKind, Conversion, Row, Visit
from sink.database import Database

OWNERS_AT_ONCE = 500

_REFERRERS = {
    1: "direct", 2: "search engines", 3: "websites", 6: "campaigns", 7: "social networks", 8: "AI assistants",
}  # fmt: skip
_ACTIONS = {
    ActionKind.PAGE: ("Actions.getPageUrls", "page views"),
    ActionKind.OUTLINK: ("Actions.getOutlinks", "clicks"),
    ActionKind.DOWNLOAD: ("Actions.getDownloads", "downloads"),
    ActionKind.SEARCH: ("Actions.getSiteSearchKeywords", "searches"),
    ActionKind.EVENT: ("Events.getCategory", "events"),
    ActionKind.CONTENT: ("Contents.getContentNames", "impressions and interactions"),
}

Measure = tuple[int, str, str]
"""Site, report, what is counted in it."""


@dataclass
class Preview:
    """Figures before and after; only those that differ are of interest."""

    owners: int = 0
    hits: int = 0
    rows_changed: int = 0
    """Rows that come, go or differ."""
    before: Counter[Measure] = field(default_factory=Counter)
    after: Counter[Measure] = field(default_factory=Counter)

    def changes(self) -> list[tuple[Measure, float, float]]:
        """In the order of sites and reports."""
        measures = sorted(self.before.keys() | self.after.keys())
        return [
            (measure, self.before[measure], self.after[measure])
            for measure in measures
            if abs(self.before[measure] - self.after[measure]) > 1e-9
        ]


def measures_of(row: Row, config: Config) -> Iterator[tuple[Measure, float]]:
    """What one row counts in which report."""
    site = row.site_id
    if isinstance(row, Visit):
        yield (site, "VisitsSummary.get", "visits"), 1
        yield (site, "VisitsSummary.get", "actions"), row.actions
        yield (site, "VisitsSummary.get", "bounces"), row.actions <= 1
        referrer = _REFERRERS.get(row.referrer_type, str(row.referrer_type))
        yield (site, "Referrers.getReferrerType", f"visits from {referrer}"), 1
        if row.referrer_type == CAMPAIGN:
            yield (site, "Referrers.getCampaigns", f"visits from {row.referrer_name}"), 1
        yield from _dimensions(site, "visit", row.dimensions, config)
    elif isinstance(row, Action):
        report, unit = _ACTIONS.get(row.kind, ("Actions.get", "other actions"))
        yield (site, report, unit), 1
        yield from _dimensions(site, "action", row.dimensions, config)
    elif isinstance(row, Conversion):
        yield from _conversion(row, config)


def _conversion(row: Conversion, config: Config) -> Iterator[tuple[Measure, float]]:
    site = row.site_id
    if row.goal_id == ORDER_GOAL:
        report = "Goals.get idGoal=ecommerceOrder"
    elif row.goal_id == CART_GOAL:
        report = "Goals.get idGoal=ecommerceAbandonedCart"
    else:
        goal = config.goals.get(site, {}).get(row.goal_id)
        report = f"Goals.get idGoal={row.goal_id}" + (f" ({goal.name})" if goal else "")
    yield (site, report, "conversions"), 1
    yield (site, report, "revenue"), row.revenue


def _dimensions(
    site: int, scope: str, values: Mapping[int, str], config: Config
) -> Iterator[tuple[Measure, float]]:
    for index in values:
        known = next(
            (
                one
                for one in config.dimensions.get(site, {}).values()
                if (one.scope, one.index) == (scope, index)
            ),
            None,
        )
        name = f"idDimension={known.dimension_id} ({known.name})" if known else f"{scope} {index}"
        yield (site, f"CustomDimensions.getCustomDimension {name}", f"{scope}s with a value"), 1


class Folder:
    """Folds stored hits under a level of replays; writes nothing."""

    def __init__(self, config_at: Callable[[int], Config], lookups: Lookups) -> None:
        self._rules = RulesCache(config_at)
        self._lookups = lookups

    def prepared(self, hit: Hit, replays: Replays) -> tuple[PreparedHit, VisitRules] | Exclusion | None:
        """None for a hit that can't be read, which is on `dead`."""
        offset = replays.config_offset(hit.site_id, hit.time, hit.config_offset)
        rules = self._rules.rules(offset, hit.site_id)
        if rules is None:
            return None
        try:
            found = prepare(hit, rules[0], self._lookups)
        except Exception:
            return None
        return found if isinstance(found, Exclusion) else (found, rules[1])

    def counted(self, hit: Hit, replays: Replays) -> PreparedHit | None:
        """The same without its rules; None also for an excluded one."""
        found = self.prepared(hit, replays)
        return None if found is None or isinstance(found, Exclusion) else found[0]


def ordered(hits: Iterable[StoredHit]) -> list[Hit]:
    """In the order of the fold."""
    return sorted((one.hit for one in hits), key=lambda hit: (hit.time, hit.hit_id))


@dataclass(frozen=True)
class _Comparison:
    """How one site is folded before and after."""

    database: Database
    config: Config
    folder: Folder
    site_id: int
    now: Replays
    then: Replays
    orders: Orders


def preview(
    database: Database,
    config: Config,
    config_at: Callable[[int], Config],
    replays: Sequence[Replay],
    lookups: Lookups,
) -> Preview:
    """Of replays that would be recorded now. Blocking; memory of some owners and of the orders at a time."""
    folder = Folder(config_at, lookups)
    now = Replays(config.replays, config.offset)
    level = config.offset + len(replays)
    then = Replays([*config.replays, *((config.offset, replay) for replay in replays)], level)
    found = Preview()
    for replay in replays:
        for site_id in replay.site_ids:
            orders = orders_of(
                database,
                site_id,
                lambda hit: folder.counted(hit, now),
                lambda hit: folder.counted(hit, then),
            )
            covered = owners_of(database, site_id, replay, config.offset + 1)
            owners = sorted(orders.owners.union(covered))
            found.owners += len(owners)
            comparison = _Comparison(database, config, folder, site_id, now, then, orders)
            for start in range(0, len(owners), OWNERS_AT_ONCE):
                _compare(comparison, owners[start : start + OWNERS_AT_ONCE], found)
    return found


def _compare(how: _Comparison, owners: Sequence[int], found: Preview) -> None:
    bound = {"site": how.site_id, "owners": owners}
    where = "site_id = {site:UInt32} AND owner IN {owners:Array(UInt64)}"
    by_owner: dict[int, list[StoredHit]] = defaultdict(list)
    for one in read_hits(how.database, where, bound):
        by_owner[one.hit.owner].append(one)
    for hits in by_owner.values():
        found.hits += len(hits)
        before = _fold(how.folder, ordered(hits), how.now, how.orders.lost_before, found.before)
        after = _fold(how.folder, ordered(hits), how.then, how.orders.lost_after, found.after)
        for rows, counts in ((before, found.before), (after, found.after)):
            for row in rows.rows.values():
                for measure, amount in measures_of(row, how.config):
                    counts[measure] += amount  # type: ignore[assignment]
        found.rows_changed += sum(
            before.rows.get(key) != after.rows.get(key) for key in before.rows.keys() | after.rows.keys()
        )


def _fold(
    folder: Folder,
    hits: Sequence[Hit],
    replays: Replays,
    lost: frozenset[int],
    counts: Counter[Measure],
) -> Rows:
    state, rows, facts = FoldState(), Rows(), Facts(lost_orders=lost)
    for hit in hits:
        prepared = folder.prepared(hit, replays)
        if prepared is None:
            continue
        excluded = (
            prepared
            if isinstance(prepared, Exclusion)
            else fold_hit(state, prepared[0], prepared[1], rows, facts)
        )
        if excluded is not None:
            counts[hit.site_id, "excluded hits", str(excluded)] += 1
    return rows
