"""What a site's privacy settings take out of a hit before it is written."""

import hashlib
from collections.abc import Iterable
from urllib.parse import urlsplit, urlunsplit

from ingest.query import Params, decode
from rules.referrers import ORIGIN_PARAMETERS, origin_text
from schemas.config import Privacy, Site, Tracking
from schemas.hit import Hit


def pseudonym(text: str, secret: bytes) -> str:
    """A stand-in for an id that can't be turned back without the instance's secret: 40 hex digits."""
    return hashlib.blake2b(text.encode("utf-8", "surrogateescape"), digest_size=20, key=secret).hexdigest()


def shortened_referrer(url: str, how: str) -> str:
    """A referrer without its query, without its path, or nothing of it."""
    if not url or not how:
        return url
    if how == "exclude_all":
        return ""
    try:
        parts = urlsplit(url)
    except ValueError:
        return ""
    path = "/" if how == "exclude_path" else parts.path
    # Without the name and password that an address may hold.
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], path, "", ""))


def only_counted(
    hit_id: int, site_id: int, received_at: int, exclusion: str, config_offset: int, origin: str
) -> Hit:
    """The hit of a visitor who does not want to be tracked: that there was one, and why it does not count."""
    return Hit(
        hit_id=hit_id,
        site_id=site_id,
        time=received_at // 1000,
        received_at=received_at,
        owner=hit_id,
        visitor_id=0,
        config_id=0,
        query=f"idsite={site_id}&rec=1",
        exclusion=exclusion,
        config_offset=config_offset,
        origin=origin,
    )


def spelled_as_lists(params: Params, names: Iterable[str]) -> list[str]:
    """Parameters such as `uid[]` or `cip[a]` that nobody reads and that may hold what a setting forbids."""
    return [name for name in params if "[" in name and name.partition("[")[0] in names]


def shortened_referrers(
    params: Params, page_url: str, site: Site, tracking: Tracking, how: str
) -> dict[str, str | None]:
    """What replaces the referrers in a hit's query: the shortened address, and what the whole one told of
    where the visitor came from, since nobody sees it after this."""
    values: dict[str, str | None] = {}
    for name, origin_name in ORIGIN_PARAMETERS.items():
        url = decode(params.get(name, ""))
        if url:
            values[name] = shortened_referrer(url, how)
            values[origin_name] = origin_text(url, page_url, site, tracking, with_host=how != "exclude_all")
        elif origin_name in params:
            values[origin_name] = None
    return values


def changes_query(privacy: Privacy) -> bool:
    """Whether any setting takes something out of queries."""
    return (
        privacy.anonymise_user_id
        or privacy.anonymise_order_id
        or privacy.force_cookieless
        or privacy.anonymise_referrer != ""
    )
