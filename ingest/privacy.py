"""What a site's privacy settings take out of a hit before it is written."""

import hashlib
from urllib.parse import urlsplit, urlunsplit

from schemas.config import Privacy


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


def changes_query(privacy: Privacy) -> bool:
    """Whether any setting takes something out of queries."""
    return (
        privacy.anonymise_user_id
        or privacy.anonymise_order_id
        or privacy.force_cookieless
        or privacy.anonymise_referrer != ""
    )
