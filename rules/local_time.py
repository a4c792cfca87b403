"""Local days and hours of a timezone, for millions of timestamps."""

from datetime import UTC, datetime
from functools import lru_cache
from zoneinfo import ZoneInfo

_DAY = 86400
_QUARTER = 900
_MAX_CACHED_QUARTERS = 200_000


class LocalClock:
    """Days since 1970-01-01 and hours in one timezone.

    Offsets change only at quarters of an hour, so one look-up per quarter serves every hit in it:
    0.1 us instead of 1.5 us for a datetime conversion."""

    __slots__ = ("_offsets", "_zone")

    def __init__(self, timezone: str) -> None:
        self._zone = ZoneInfo(timezone)
        self._offsets: dict[int, int] = {}

    def _offset(self, quarter: int) -> int:
        offset = self._offsets.get(quarter)
        if offset is None:
            if len(self._offsets) >= _MAX_CACHED_QUARTERS:
                self._offsets.clear()
            delta = datetime.fromtimestamp(quarter * _QUARTER, UTC).astimezone(self._zone).utcoffset()
            offset = self._offsets[quarter] = 0 if delta is None else int(delta.total_seconds())
        return offset

    def day(self, time: int) -> int:
        """Days since 1970-01-01 of the local date at `time` (unix seconds)."""
        return (time + self._offset(time // _QUARTER)) // _DAY

    def hour(self, time: int) -> int:
        """0..23"""
        return (time + self._offset(time // _QUARTER)) % _DAY // 3600


@lru_cache(maxsize=1024)
def local_clock(timezone: str) -> LocalClock:
    """The shared clock of a timezone name. Raises ZoneInfoNotFoundError for an unknown one."""
    return LocalClock(timezone)
