"""The configuration in the form that a hit needs: ranges read, sets built, once per version of it."""

from datetime import UTC, datetime, tzinfo
from functools import lru_cache
from zoneinfo import ZoneInfoNotFoundError

from ingest.addresses import AddressRanges
from ingest.identity import visitor_id_from_hex
from rules.local_time import timezone_of
from schemas.config import Config, Site

_QUARTER = 900


@lru_cache(maxsize=1024)
def _zone(name: str) -> tzinfo:
    try:
        return timezone_of(name)
    except (ZoneInfoNotFoundError, ValueError):
        return UTC


@lru_cache(maxsize=65536)
def _day_of_quarter(timezone: str, quarter: int) -> int:
    # Offsets of timezones are multiples of a quarter of an hour, so a quarter lies within one day.
    moment = datetime.fromtimestamp(quarter * _QUARTER, UTC).astimezone(_zone(timezone))
    return moment.date().toordinal() - 719_163


def local_day(timezone: str, time: int) -> int:
    """Days since 1970-01-01 of a unix time in a timezone; unknown timezones are UTC."""
    return _day_of_quarter(timezone, time // _QUARTER)


class SiteRules:
    """What ingest needs of one site."""

    __slots__ = ("excluded", "site", "timezone")

    def __init__(self, site: Site, config: Config) -> None:
        self.site = site
        self.timezone = site.timezone
        self.excluded = AddressRanges((*config.tracking.excluded_ips, *site.excluded_ips))


class Rules:
    """What ingest needs of one version of the configuration."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.tracking = config.tracking
        self.privacy = config.privacy
        self.offset = config.offset
        self.window = max(config.tracking.visit_standard_length, config.tracking.window_look_back_for_visitor)
        self.anonymous_ids = frozenset(
            visitor_id_from_hex(each) for each in config.tracking.anonymous_visitor_ids
        )
        self._sites: dict[int, SiteRules] = {}

    def site(self, site_id: int) -> SiteRules | None:
        """None for a site that does not exist or was deleted."""
        rules = self._sites.get(site_id)
        if rules is None:
            site = self.config.site(site_id)
            if site is None:
                return None
            rules = self._sites[site_id] = SiteRules(site, self.config)
        return rules
