"""What a site's privacy settings take out of a hit before it is written."""

import hashlib
from urllib.parse import urlsplit, urlunsplit

from ingest.query import Params, decode
from rules.referrers import ORIGIN_PARAMETERS, origin_text
from schemas.config import Privacy, Site, Tracking


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
    return urlunsplit((parts.scheme, parts.netloc, path, "", ""))


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
