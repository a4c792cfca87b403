"""Event time: the time of receipt, or what `cdt` and `cdo` say."""

import re
from datetime import UTC, datetime

from ingest.query import Params, decode, integer

OLDEST_SECONDS = 20 * 365 * 86400
"""A time more than 20 years ago is not believed."""

_UNIX = re.compile(r"[0-9]{1,12}").fullmatch


def read_time(text: str) -> int | None:
    """Unix seconds of a unix time or a date with or without a time of day, UTC unless it names an offset."""
    text = text.strip()
    if _UNIX(text):
        return int(text)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return int(moment.timestamp())


def event_time(params: Params, now: int) -> int:
    """When the hit happened, in unix seconds.

    What can't be read, lies in the future or is older than 20 years is now."""
    stated = params.get("cdt")
    offset = params.get("cdo")
    if not stated and not offset:
        return now
    time = read_time(decode(stated)) if stated else now
    if time is None:
        return now
    if offset:
        time -= abs(integer(offset, 0))
    if time > now or time < now - OLDEST_SECONDS:
        return now
    return time
