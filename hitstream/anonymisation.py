"""Hits of the past are rewritten without what is to be forgotten of them, and their owners folded anew.

First the table of raw hits, whose older versions are merged away at once; then, by facts on `history`, the
processors' state and rows, the log and the archives (hitstream.erasure). What is interrupted before the facts
is to be asked for again, which changes nothing twice.
"""

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass

from hitstream.erasure import Eraser
from hitstream.history import StoredHit, read_hits
from hitstream.replay import midnight_of
from ingest.anonymisation import anonymised
from schemas.anonymisation import Anonymisation
from schemas.config import Config
from schemas.hit import Hit, Location, encode_hit
from sink.archives import frozen_before
from sink.database import Database
from sink.encoding import HITS, Entry, split

OWNERS_AT_ONCE = 500


@dataclass
class Rewritten:
    hits: int = 0
    owners: int = 0


class Anonymiser:
    """Blocking; one at a time."""

    def __init__(
        self,
        database: Database,
        eraser: Eraser,
        epoch: int,
        config: Callable[[], Config],
        locate: Callable[[str], Location],
        secret: bytes,
    ) -> None:
        """`secret`: of pseudonyms, the same as ingest's."""
        self._database, self._eraser, self._epoch = database, eraser, epoch
        self._config, self._locate, self._secret = config, locate, secret

    def carry_out(self, wish: Anonymisation) -> Rewritten:
        """Returns when tables and reports show it. Days whose rows are gone stay as they are. Raises
        LogError, the database's errors."""
        found = Rewritten()
        config = self._config()
        frozen = frozen_before(self._database)
        first = wish.first if frozen is None else max(wish.first, frozen)
        for site_id in wish.site_ids:
            timezone = config.sites[site_id].timezone
            bound = {
                "site": site_id, "begin": midnight_of(first, timezone),
                "end": midnight_of(wish.last, timezone, after=True),
            }  # fmt: skip
            with self._eraser.working:
                self._eraser.catch_up_all()
                places = self._rewrite_raw(wish, bound, config.privacy.ip_mask_bytes)
                self._eraser.rewritten(site_id, places)
            found.owners += len(places)
            found.hits += sum(map(len, places.values()))
        return found

    def _rewrite_raw(
        self, wish: Anonymisation, bound: dict[str, int], mask_bytes: int
    ) -> dict[int, list[int]]:
        """Owner -> offsets of its hits that are others now."""
        where = (
            "site_id = {site:UInt32} AND toUInt32(time) >= {begin:UInt32} AND toUInt32(time) < {end:UInt32}"
        )
        query = f"SELECT DISTINCT owner FROM hits FINAL WHERE {where} ORDER BY owner"  # noqa: S608 - constants
        owners = [owner for (owner,) in self._database.rows(query, bound)]
        places: dict[int, list[int]] = defaultdict(list)
        for start in range(0, len(owners), OWNERS_AT_ONCE):
            some = {**bound, "owners": owners[start : start + OWNERS_AT_ONCE]}
            stored = read_hits(self._database, where + " AND owner IN {owners:Array(UInt64)}", some)
            changed = [
                (one, hit)
                for one in stored
                if (hit := anonymised(one.hit, wish, mask_bytes, self._locate, self._secret)) != one.hit
            ]
            self._store(changed)
            for one, hit in changed:
                places[hit.owner].append(one.offset)
        if places:
            self._eraser.merge("hits")
        return places

    def _store(self, changed: list[tuple[StoredHit, Hit]]) -> None:
        """Under the version that they have: of two rows with one version the one that came last stays."""
        entries = [Entry(0, one.offset, encode_hit(hit)) for one, hit in changed]
        for block in split(HITS, entries, self._epoch).by_month.values():
            self._database.insert_msgpack(HITS.name, HITS.columns, block.data)
