"""The hit: what ingest decided about one tracking request, once and for all (DESIGN section 2)."""

from typing import NewType

import msgspec

SiteId = NewType("SiteId", int)
HitId = NewType("HitId", int)
OwnerId = NewType("OwnerId", int)
VisitorId = NewType("VisitorId", int)
VisitId = NewType("VisitId", int)
GoalId = NewType("GoalId", int)


HIT_ID_EPOCH_US = 1_577_836_800_000_000
"""2020-01-01 in unix microseconds."""

INGEST_NUMBERS = 16
"""Ingest processes are told apart by numbers below it."""


def first_hit_id_of(unix_ms: int) -> int:
    """The smallest id that a hit received at that moment can have."""
    return (unix_ms * 1000 - HIT_ID_EPOCH_US) << 4


def format_visitor_id(visitor_id: int) -> str:
    """The 16 hex digits that trackers and reports use for an unsigned 64-bit id."""
    return f"{visitor_id:016x}"


class Location(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Where a hit came from. Empty strings where unknown; latitude and longitude in degrees."""

    country: str = ""
    region: str = ""
    city: str = ""
    latitude: float | None = None
    longitude: float | None = None


class Hit(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One accepted tracking request, on topic `hits`, keyed by `owner`.

    Encoded as a msgpack array in field order: fields are only ever appended, with a default, and keep
    their meaning, so that old and new processes read each other's hits. The order of the fields is the
    order of the columns of table `hits`.
    """

    hit_id: int
    """Microseconds since 2020-01-01 times 16 plus the number of the ingest process (0..15); unique, and
    increasing in its process."""
    site_id: int
    time: int
    """Event time, unix seconds: the time of receipt, or `cdt`/`cdo` where allowed."""
    received_at: int
    """Unix milliseconds."""
    owner: int
    """Unsigned 64-bit; decides the partition and whose fold the hit enters."""
    visitor_id: int
    """Unsigned 64-bit; what reports show."""
    config_id: int
    """Unsigned 64-bit fingerprint under the site's salt of the day; 0 when none was made."""
    user_id: str = ""
    query: str = ""
    """The cleaned query, percent-encoded UTF-8, query and form fields merged: without token, with the
    masked address for `cip`, ids and referrer as the site's privacy settings say."""
    user_agent: str = ""
    client_hints: str = ""
    """JSON of the `uadata` parameter or of the Sec-CH-UA headers; empty when none came."""
    language: str = ""
    """The `lang` parameter, else the Accept-Language header, lower-cased as sent."""
    referer: str = ""
    """The HTTP Referer header: the page's address when the hit has no `url`."""
    ip: str = ""
    """Masked address in text form."""
    location: Location = Location()
    """From parameters with authority, else from the geolocation database; ingest decides it since only
    ingest sees the whole address."""
    authenticated: bool = False
    """The request carried a token with write access to the site."""
    exclusion: str = ""
    """Reason, when ingest already knows that the hit is excluded (see schemas.outcomes)."""
    config_offset: int = 0
    """Next offset of `config` that ingest had applied: the hit is processed under that configuration."""
    origin: str = "web"
    """web, bulk or import."""


encode_hit = msgspec.msgpack.Encoder().encode
decode_hit = msgspec.msgpack.Decoder(Hit).decode
