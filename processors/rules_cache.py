"""The rules of sites as processors need them, compiled once per change."""

from collections.abc import Callable

from rules.fold_state import VisitRules
from rules.local_time import local_clock
from rules.prepare import SiteRules, site_rules
from schemas.config import Config

_MAX_CACHED_RULES = 20_000


class RulesCache:
    """The rules of a site under the configuration before an offset, compiled once per change of the site."""

    def __init__(self, config_at: Callable[[int], Config]) -> None:
        self._config_at = config_at
        self._by_offset: dict[tuple[int, int], tuple[SiteRules, VisitRules] | None] = {}
        self._latest: dict[int, tuple[tuple[object, ...], tuple[SiteRules, VisitRules]]] = {}

    def rules(self, config_offset: int, site_id: int) -> tuple[SiteRules, VisitRules] | None:
        """None for a site that does not exist there."""
        key = (config_offset, site_id)
        try:
            return self._by_offset[key]
        except KeyError:
            pass
        if len(self._by_offset) >= _MAX_CACHED_RULES:
            self._by_offset.clear()
        found = self._by_offset[key] = self._compile(self._config_at(config_offset), site_id)
        return found

    def _compile(self, config: Config, site_id: int) -> tuple[SiteRules, VisitRules] | None:
        site = config.site(site_id)
        if site is None:
            return None
        # An edit of one site changes the offset for all: what a site's rules are made of tells whether they
        # must be compiled again.
        sources = (
            site,
            config.goals.get(site_id),
            config.dimensions.get(site_id),
            config.tracking,
            config.privacy,
        )
        known = self._latest.get(site_id)
        if known is not None and all(one is other for one, other in zip(known[0], sources, strict=True)):
            return known[1]
        compiled = (
            site_rules(config, site_id),
            VisitRules(tracking=config.tracking, clock=local_clock(site.timezone)),
        )
        self._latest[site_id] = (sources, compiled)
        return compiled
