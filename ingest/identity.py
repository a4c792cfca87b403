"""Who a hit belongs to, decided in order of acceptance (tracking semantics section 1, DESIGN section 2).

An `Active` is what ingest remembers of a visitor whose last hit is recent: the owner all its hits went to,
the visitor id that reports show now, the fingerprint its visit began with and the user id. Times are event
times in unix seconds; nothing here reads a clock. What is remembered lives in two generations: entries
touched since the last rotation and those touched before. A rotation drops the older one: nothing is swept.
"""

import hashlib
import re
from collections import defaultdict
from collections.abc import Callable
from enum import IntEnum

_NOT_HEX = re.compile(r"[^0-9A-Fa-f]")

_MOST_PER_KEY = 8
"""Entries kept under one fingerprint or id: several users behind one address, or one id at several times."""


class Claim(IntEnum):
    """What a hit's own visitor id came from."""

    NONE = 0
    """The only one that is false: in Python 3.11 to name a member takes 0.1 us."""
    COOKIE = 1
    """`_id`, or a third-party cookie."""
    FORCED = 2
    """`cid`: looked up by id only."""
    USER = 3
    """`uid`, hashed."""


def id_from_any_hex(text: str) -> int:
    """`visitor_id_from_hex` without compiled code."""
    return int(_NOT_HEX.sub("0", text[:16]) or "0", 16)


try:
    from rules._query import id_of_hex
except ImportError:  # installed where there was no compiler: the same, 0.2 us slower for each hit
    id_of_hex = id_from_any_hex

visitor_id_from_hex: Callable[[str], int] = id_of_hex
"""The first 16 characters as a number; what is no hex digit counts as 0."""


def visitor_id_of_user(user_id: str) -> int:
    """The first 64 bits of the SHA-1 of a user id, case-sensitive."""
    return int.from_bytes(
        hashlib.sha1(user_id.encode("utf-8", "surrogateescape"), usedforsecurity=False).digest()[:8], "big"
    )


class Active:
    """A visitor active within the window."""

    __slots__ = ("config_id", "first", "generation", "last", "owner", "user", "visitor_id")

    def __init__(
        self, owner: int, visitor_id: int, config_id: int, user: str, time: int, generation: int
    ) -> None:
        self.owner = owner
        self.visitor_id = visitor_id
        self.config_id = config_id
        self.user = user
        self.first = time
        self.last = time
        self.generation = generation


_Map = dict[int, tuple[Active, ...]]


class ActiveOfSite:
    """The visitors of one site, by the ids and by the fingerprints they are found by.

    Maps by site: a key of site and id would be one more object for each, far from the others in memory."""

    __slots__ = ("fingerprints", "ids", "older_fingerprints", "older_ids")

    def __init__(self) -> None:
        self.ids: _Map = {}
        self.older_ids: _Map = {}
        self.fingerprints: _Map = {}
        self.older_fingerprints: _Map = {}

    def __len__(self) -> int:
        return len(self.ids) + len(self.older_ids) + len(self.fingerprints) + len(self.older_fingerprints)

    def rotate(self) -> None:
        self.older_ids, self.ids = self.ids, {}
        self.older_fingerprints, self.fingerprints = self.fingerprints, {}


class Identity:
    """Bounded maps of the ids and fingerprints active within the window.

    `window` is the longest gap in seconds, inclusive, across which a visitor is still active; after
    `visit_length` seconds without a hit another visit begins. Both may be changed at any time. `random_id`
    gives the ids of visitors of whom nothing is known."""

    def __init__(
        self, *, window: int, visit_length: int, max_entries: int, random_id: Callable[[], int]
    ) -> None:
        self.window = window
        self.visit_length = visit_length
        self._random_id = random_id
        self._entries_per_generation = max(1, max_entries // 2)
        self._generation = 0
        self._entries = 0
        self._sites: defaultdict[int, ActiveOfSite] = defaultdict(ActiveOfSite)

    def __len__(self) -> int:
        """Number of keys held, of both generations."""
        return sum(map(len, self._sites.values()))

    def decide(
        self,
        site_id: int,
        time: int,
        visitor_id: int,
        claim: Claim,
        config_id: int,
        user_id: str,
        *,
        is_ping: bool = False,
        ids_only: bool = False,
    ) -> tuple[int, int]:
        """Owner and visitor id of a hit; `visitor_id` counts when `claim` is not NONE.

        `ids_only`: ids are trusted, a hit that has one is not looked up by fingerprint."""
        user = user_id.lower()
        site = self._sites[site_id]
        entry = None
        if claim:
            entry = self._by_id(site, visitor_id, time)
        if entry is None and (not claim or (claim != Claim.FORCED and not ids_only)):
            entry = self._by_fingerprint(site, config_id, user, time)
        if entry is None:
            if not claim:
                visitor_id = self._random_id()
            if not is_ping:  # a ping opens no visit, so nothing becomes active by it
                self._add(site, Active(visitor_id, visitor_id, config_id, user, time, self._generation))
            return visitor_id, visitor_id
        if not claim:
            visitor_id = entry.visitor_id
        self._touch(site, entry, visitor_id, config_id, user, time, is_ping)
        return entry.owner, visitor_id

    def observe(
        self,
        site_id: int,
        time: int,
        owner: int,
        visitor_id: int,
        config_id: int,
        user_id: str,
        *,
        is_ping: bool = False,
    ) -> None:
        """Remember a hit that was decided before, by a process that is no more."""
        user = user_id.lower()
        site = self._sites[site_id]
        entry = self._of_owner(site.ids, site.older_ids, visitor_id, owner)
        if entry is None:
            entry = self._of_owner(site.fingerprints, site.older_fingerprints, config_id, owner)
        if entry is not None:
            self._touch(site, entry, visitor_id, config_id, user, time, is_ping)
        elif not is_ping:
            self._add(site, Active(owner, visitor_id, config_id, user, time, self._generation))

    def rotate(self) -> None:
        """Forget what was not touched since the rotation before this one."""
        for site in self._sites.values():
            site.rotate()
        self._generation += 1
        self._entries = 0

    def _by_id(self, site: ActiveOfSite, visitor_id: int, time: int) -> Active | None:
        entries = site.ids.get(visitor_id) or site.older_ids.get(visitor_id)
        if entries is None:
            return None
        found = None
        window = self.window
        for entry in entries:
            if entry.first - window <= time <= entry.last + window and (
                found is None or entry.last > found.last
            ):
                found = entry
        return found

    def _by_fingerprint(self, site: ActiveOfSite, config_id: int, user: str, time: int) -> Active | None:
        entries = site.fingerprints.get(config_id) or site.older_fingerprints.get(config_id)
        if entries is None:
            return None
        found = None
        window = self.window
        for entry in entries:
            if (
                entry.config_id == config_id
                and entry.first - window <= time <= entry.last + window
                and (not user or not entry.user or entry.user == user)
                and (found is None or entry.last > found.last)
            ):
                found = entry
        return found

    @staticmethod
    def _of_owner(newer: _Map, older: _Map, key: int, owner: int) -> Active | None:
        for entry in newer.get(key) or older.get(key) or ():
            if entry.owner == owner:
                return entry
        return None

    def _add(self, site: ActiveOfSite, entry: Active) -> None:
        self._put(site.ids, site.older_ids, entry.visitor_id, entry)
        self._put(site.fingerprints, site.older_fingerprints, entry.config_id, entry)
        self._entries += 1
        if self._entries >= self._entries_per_generation:
            self.rotate()

    def _touch(
        self,
        site: ActiveOfSite,
        entry: Active,
        visitor_id: int,
        config_id: int,
        user: str,
        time: int,
        is_ping: bool,
    ) -> None:
        if visitor_id != entry.visitor_id:
            # As in a visit's row, the newest id replaces the one before: only that finds the visitor.
            self._drop(site, entry)
            entry.visitor_id = visitor_id
            self._put(site.ids, site.older_ids, visitor_id, entry)
        if user:
            entry.user = user
        if not is_ping:
            if time - entry.last >= self.visit_length:
                # Another visit begins: it has the fingerprint and the user of its own first hit.
                entry.user = user
                if config_id != entry.config_id:
                    entry.config_id = config_id
                    self._put(site.fingerprints, site.older_fingerprints, config_id, entry)
            if time > entry.last:
                entry.last = time
            elif time < entry.first:
                entry.first = time
        if entry.generation != self._generation:
            entry.generation = self._generation
            self._add(site, entry)

    def _put(self, newer: _Map, older: _Map, key: int, entry: Active) -> None:
        held = newer.get(key) or older.get(key)
        if held is None:
            newer[key] = (entry,)
        elif held[0] is entry:
            newer[key] = held
        else:
            oldest = self._generation - 1
            others = (other for other in held if other is not entry and other.generation >= oldest)
            newer[key] = (entry, *others)[:_MOST_PER_KEY]

    @staticmethod
    def _drop(site: ActiveOfSite, entry: Active) -> None:
        """No longer found by the id that it has."""
        key = entry.visitor_id
        for held_by in (site.ids, site.older_ids):
            held = held_by.get(key)
            if held is not None and entry in held:
                remaining = tuple(other for other in held if other is not entry)
                if remaining:
                    held_by[key] = remaining
                else:
                    del held_by[key]
