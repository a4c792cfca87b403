"""Where an address is, from a database in MaxMind's format.

The whole address is looked at and not kept: ingest alone sees it (DESIGN, section 2)."""

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import maxminddb

from schemas.hit import Location

NOWHERE = Location()


class Geolocator:
    """Looks addresses up in a city or country database; a changed file is opened again.

    Without a file, or while it can't be read, every address is nowhere; `error` tells why."""

    def __init__(
        self,
        path: Path | None,
        *,
        max_cached: int = 50_000,
        seconds_between_checks: float = 10.0,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._path = path
        self._max_cached = max_cached
        self._seconds_between_checks = seconds_between_checks
        self._now = now
        self._lock = threading.Lock()
        self._reader: maxminddb.Reader | None = None
        self._opened: tuple[int, int, int] | None = None
        self._next_check = float("-inf")
        self._cache: dict[str, Location] = {}
        self.error = ""

    def locate(self, ip: str) -> Location:
        """Country in lower case, region as its ISO 3166-2 part, city in English."""
        if self._path is None:
            return NOWHERE
        if self._now() >= self._next_check:
            self._check()
        found = self._cache.get(ip)
        if found is None:
            found = self._look_up(ip)
            if len(self._cache) >= self._max_cached:
                self._cache.clear()
            self._cache[ip] = found
        return found

    def close(self) -> None:
        with self._lock:
            if self._reader is not None:
                self._reader.close()
            self._reader = None

    def _look_up(self, ip: str) -> Location:
        reader = self._reader
        if reader is None:
            return NOWHERE
        try:
            record = reader.get(ip)
        except (ValueError, maxminddb.InvalidDatabaseError):
            # Not an address, of a kind the database doesn't hold, or a damaged entry.
            return NOWHERE
        return location_of(record)

    def _check(self) -> None:
        """Opens the file when it is another one than before; keeps the one at hand when that fails."""
        assert self._path is not None
        with self._lock:
            self._next_check = self._now() + self._seconds_between_checks
            try:
                status = os.stat(self._path)
                seen = (status.st_mtime_ns, status.st_size, status.st_ino)
                if seen == self._opened and not self.error:
                    return
                # Read as a whole: a mapped file that is overwritten in place would change under the reader.
                opened = maxminddb.open_database(self._path, maxminddb.MODE_MEMORY)
            except (OSError, maxminddb.InvalidDatabaseError) as error:
                self.error = f"{self._path}: {error}"
                return
            self._reader = opened
            self._opened = seen
            self._cache = {}
            self.error = ""


def location_of(record: Any) -> Location:
    """A record of a GeoLite2, GeoIP2 or DB-IP city or country database; empty where it says nothing."""
    if not isinstance(record, dict):
        return NOWHERE
    country = record.get("country") or record.get("registered_country") or {}
    subdivisions = record.get("subdivisions") or [{}]
    city = record.get("city") or {}
    position = record.get("location") or {}
    return Location(
        country=str(country.get("iso_code") or "").lower(),
        region=str(subdivisions[0].get("iso_code") or ""),
        city=str((city.get("names") or {}).get("en") or ""),
        latitude=_degrees(position.get("latitude")),
        longitude=_degrees(position.get("longitude")),
    )


def _degrees(value: Any) -> float | None:
    return round(float(value), 6) if isinstance(value, int | float) else None
