"""What ingest holds while a log is open: configuration, secrets, the maps of identity, the committer."""

import asyncio
import heapq
import hmac
import logging
import time
from collections.abc import Callable, Iterator

import msgspec

from ingest.acceptance import Acceptance, HitIds, random_visitor_ids
from ingest.committer import Committer, Entry
from ingest.erasures import LogErasures
from ingest.identity import Identity
from ingest.metrics import Metrics
from ingest.orders import RecentOrders
from ingest.query import split_query
from ingest.settings import IngestSettings
from ingest.site_rules import Rules
from ingest.spool import Spool, drop_other_epochs
from schemas.access import Grant
from schemas.hit import Hit, Location, decode_hit, encode_hit
from schemas.topics import HITS, partition_of
from stream.config import ConfigFollower
from stream.protocol import Appender, Log, Reader
from stream.secrets import SaltStore, TokenStore

REMOTE_APPENDS_APART_S = 0.05
"""A broker takes a request for each partition of a group: hits in groups of 50 cost it 63 us each, in groups
of 500 5 us. At 3,000 hits/s a hit costs ingest and broker 20 % less than with half of it."""

APPENDS_APART_S = 0.003
"""A sync, and pages of every partition: in groups of 16 a hit costs the log in the data directory 25 us, in
groups of 64 9 us."""
BULK_APPENDS_APART_S = 0.025
"""In groups of 200 it costs 4 us, and nobody sees whether a bulk request took 10 ms or 30."""

logger = logging.getLogger(__name__)

SALT_DAYS = 5
"""Salts of older days are erased."""

SECRET_DAY = 1 << 31
"""The salt that replaces ids by pseudonyms must last: its day is never in the past."""

_READ_HITS = 2000
_ROTATION_SLACK_S = 300


class Tokens:
    """Grants of tokens, remembered until `forget`, which the caller does a few times per second."""

    def __init__(self, store: TokenStore, admin_token: str) -> None:
        self._store = store
        self._admin = admin_token.encode()
        self._grants: dict[str, Grant | None] = {}

    def grant(self, token: str) -> Grant | None:
        if token in self._grants:
            return self._grants[token]
        given = token.encode("utf-8", "surrogatepass")
        if self._admin and hmac.compare_digest(given, self._admin):
            grant: Grant | None = Grant(login="admin", superuser=True)
        else:
            grant = self._store.find(token)
        if len(self._grants) < 10_000:
            self._grants[token] = grant
        return grant

    def may_write(self, token: str, site_id: int) -> bool:
        grant = self.grant(token)
        return grant is not None and grant.allows("write", site_id)

    def is_superuser(self, token: str) -> bool:
        grant = self.grant(token) if token else None
        return grant is not None and grant.superuser

    def forget(self) -> None:
        self._grants.clear()


class Intake:
    """One epoch of the log, opened for appending hits. Made in a thread (it reads the last hits), used on the
    event loop after `start`."""

    def __init__(
        self,
        settings: IngestSettings,
        log: Log,
        metrics: Metrics,
        *,
        locate: Callable[[str], Location] | None = None,
        clock_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self.log = log
        self._settings = settings
        self._metrics = metrics
        self._clock_ns = clock_ns
        self.spool: Spool | None = None
        self._appender = self._open_appender()
        self._follower = ConfigFollower(log)
        self._token_store = TokenStore(log)
        self._salts = SaltStore(log)
        self.tokens = Tokens(self._token_store, settings.admin_token)
        tracking = self._follower.current.tracking
        window = max(tracking.visit_standard_length, tracking.window_look_back_for_visitor)
        identity = Identity(
            window=window,
            visit_length=tracking.visit_standard_length,
            max_entries=settings.identity_entries,
            random_id=random_visitor_ids(),
        )
        started = time.perf_counter()
        since_ms = clock_ns() // 1_000_000 - (window + _ROTATION_SLACK_S) * 1000
        self.orders = RecentOrders()
        last_hit_id, replayed = rebuild(
            identity, self.orders, log.reader(), log.partitions, since_ms, settings.identity_entries
        )
        if replayed:
            logger.info("identity rebuilt from %d hits in %.2f s", replayed, time.perf_counter() - started)
        self.acceptance = Acceptance(
            identity=identity,
            hit_ids=HitIds(settings.ingest_number, last_hit_id),
            authority=self.tokens.may_write,
            salts=self._salts,
            locate=locate,
            secret=self._salts.salt(0, SECRET_DAY),
        )
        self.rules: Rules = self.acceptance.rules(self._follower.current)
        self._rotated_at = time.monotonic()
        self._erase_salts_at = 0.0
        self._partitions = log.partitions
        self._erasures = LogErasures(log, self._appender)
        self.committer: Committer

    def _open_appender(self) -> Appender:
        """The spool's hits are on the log before anything is read from it."""
        if not self.log.is_remote:
            return self.log.appender(HITS.name, number=self._settings.ingest_number)
        target = self.log.appender(HITS.name, self._settings.spool_after_s)
        directory = self._settings.data_dir / "spool"
        drop_other_epochs(directory, self.log.epoch)
        place = directory / str(self.log.epoch)
        try:
            self.spool = Spool(target, place, self.log.partitions, self._settings.spool_max_bytes)
        except BaseException:
            target.close()
            raise
        return self.spool

    def start(self) -> None:
        """Called on the event loop, before the first hit."""
        self.committer = Committer(
            self._appender,
            self._metrics,
            max_queued=self._settings.max_queued_hits,
            apart_s=REMOTE_APPENDS_APART_S if self.log.is_remote else APPENDS_APART_S,
            bulk_apart_s=BULK_APPENDS_APART_S,
        )

    def look(self) -> bool:
        """Read what is new of the configuration; False when the log was emptied. Microseconds when nothing
        changed, unless the log is remote: then from one thread at a time. Raises LogError."""
        if self.log.current_epoch() != self.log.epoch:
            return False
        self._follower.refresh()
        return True

    def has_reached(self, told: str) -> bool:
        """Whether the last look saw the configuration that an answer was given under (CONFIG_HEADER)."""
        epoch, _, offset = told.partition(":")
        return (
            offset.isdecimal()
            and epoch == str(self.log.epoch)
            and self._follower.current.offset >= int(offset)
        )

    def refresh(self) -> Rules:
        """Follow configuration and tokens: of a remote log as of the last look, else as they are now.
        Microseconds when nothing changed. Raises LogError."""
        config = self._follower.current if self.log.is_remote else self._follower.refresh()
        self.rules = self.acceptance.rules(config)
        self.tokens.forget()
        return self.rules

    def tidy(self) -> None:
        """Forget what is past: inactive visitors, salts of past days. Cheap, called often."""
        now = time.monotonic()
        if now - self._rotated_at >= self.rules.window + _ROTATION_SLACK_S:
            self._rotated_at = now
            self.acceptance.identity.rotate()
        if now >= self._erase_salts_at:
            self._erase_salts_at = now + 3600
            self._salts.forget_before(self._clock_ns() // 86_400_000_000_000 - SALT_DAYS)
            self.acceptance.forget_salts()

    def entry(self, hit: Hit) -> Entry:
        """What the log gets for a hit."""
        owner = hit.owner
        return partition_of(owner, self._partitions), owner.to_bytes(8, "big"), encode_hit(hit)

    async def close(self) -> None:
        """Appends what is queued and releases the log."""
        await self.committer.close()
        await asyncio.to_thread(self._erasures.close)
        self._appender.close()
        self._follower.close()
        self._token_store.close()
        self._salts.close()
        self.log.close()


def rebuild(
    identity: Identity,
    orders: RecentOrders,
    reader: Reader,
    partitions: int,
    since_ms: int,
    max_hits: int,
) -> tuple[int, int]:
    """Remember the hits received since `since_ms`, about the newest `max_hits`, in order of acceptance.

    Returns the largest hit_id of the log and the number of hits read."""
    last_hit_id = read = 0
    try:
        ends = reader.end_offsets(HITS.name)
        newest = 2 * max_hits // partitions
        parts = []
        for partition in range(partitions):
            end = ends.get(partition, 0)
            if end:
                start = _first_offset_since(reader, partition, end, since_ms)
                # At least the last one: hit_ids go on from it.
                parts.append(_hits(reader, partition, min(max(start, end - newest), end - 1)))
        # In a partition hits are in the order of their ids.
        for hit in heapq.merge(*parts, key=lambda hit: hit.hit_id):
            last_hit_id = max(last_hit_id, hit.hit_id)
            if hit.received_at < since_ms or hit.exclusion:
                continue
            read += 1
            identity.observe(
                hit.site_id,
                hit.time,
                hit.owner,
                hit.visitor_id,
                hit.config_id,
                hit.user_id,
                is_ping="ping=1" in hit.query,
            )
            if "ec_id=" in hit.query:
                orders.add(hit.site_id, split_query(hit.query))
    finally:
        reader.close()
    return last_hit_id, read


def _hits(reader: Reader, partition: int, offset: int) -> Iterator[Hit]:
    while (batch := reader.read(HITS.name, partition, offset, _READ_HITS)) is not None:
        for message in batch.messages:
            try:
                yield decode_hit(message.value)
            except msgspec.DecodeError:
                continue  # a processor puts it on `dead`
        offset = batch.next_offset


def _first_offset_since(reader: Reader, partition: int, end: int, since_ms: int) -> int:
    """An offset at or shortly before the first hit received since; receipt times grow with offsets."""
    low, high = 0, end
    while low < high:
        middle = (low + high) // 2
        batch = reader.read(HITS.name, partition, middle, 1)
        if batch is None:
            high = middle
            continue
        try:
            received_at = decode_hit(batch.messages[0].value).received_at
        except msgspec.DecodeError:
            low = batch.next_offset
            continue
        if received_at < since_ms:
            low = batch.next_offset
        else:
            high = middle
    return low
