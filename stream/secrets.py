"""Tokens and salts: small secrets of an instance that, unlike the log, can be erased.

They lie where the log keeps its secrets (stream.secrets_file, stream.kafka_secrets).
"""

import hashlib
import hmac
import secrets
import threading
import time
from collections.abc import Callable, Mapping

from schemas.access import Grant, decode_grant, encode_grant
from stream.protocol import Log, SecretChanges
from stream.secrets_file import secrets_path

__all__ = ["SALT_BYTES", "SaltStore", "TokenStore", "secrets_path"]

SALT_BYTES = 16


class TokenStore:
    """Tokens as hashes with their grants. May be used by several threads."""

    def __init__(self, log: Log, clock: Callable[[], float] = time.time) -> None:
        self._secrets = log.secrets()
        self._clock = clock
        self._salt = self._secrets.instance_salt()
        self._grants: dict[bytes, tuple[bytes, Grant]] = {}
        """First 8 bytes of the hash -> hash and grant."""
        self._version = -1

    def _hash(self, token: str) -> bytes:
        # One round is enough: tokens are long random strings, not passwords that could be guessed.
        return hashlib.sha256(self._salt + token.encode("utf-8", "surrogatepass")).digest()

    def add(self, token: str, grant: Grant) -> None:
        """Stores or replaces what the token grants; durable on return."""
        changes = SecretChanges(tokens={self._hash(token): encode_grant(grant)})
        self._secrets.update(lambda _: changes)
        self._version = -1

    def find(self, token: str) -> Grant | None:
        """What the token grants; None for one that isn't known or has expired. Microseconds: grants are kept
        in memory until some process changes one. How long it takes says nothing about stored tokens: who asks
        can't choose the hash, which is salted, and comparing it takes the same time wherever the two begin to
        differ."""
        wanted = self._hash(token)
        version = self._secrets.version()
        if version != self._version:
            tokens = self._secrets.tokens()
            self._grants = {stored[:8]: (stored, decode_grant(grant)) for stored, grant in tokens.items()}
            self._version = version
        stored, grant = self._grants.get(wanted[:8], (b"", None))
        if not hmac.compare_digest(stored, wanted) or grant is None:
            return None
        return None if 0 < grant.expires_at <= self._clock() else grant

    def revoke(self, token: str) -> bool:
        """Forgets the token; whether it was known."""
        hash_ = self._hash(token)
        was_known = False

        def decide(tokens: Mapping[bytes, bytes]) -> SecretChanges:
            nonlocal was_known
            was_known = hash_ in tokens
            return SecretChanges(tokens={hash_: None} if was_known else {})

        self._secrets.update(decide)
        self._version = -1
        return was_known

    def grants(self) -> list[Grant]:
        """All grants, by login."""
        found = [decode_grant(grant) for grant in self._secrets.tokens().values()]
        return sorted(found, key=lambda grant: grant.login)

    def close(self) -> None:
        self._secrets.close()


class SaltStore:
    """Random salts per site and UTC day, the same in all processes. May be used by several threads."""

    def __init__(self, log: Log) -> None:
        self._secrets = log.secrets()
        self._mutex = threading.Lock()
        self._known: dict[tuple[int, int], bytes] = {}

    def salt(self, site_id: int, day: int) -> bytes:
        """The 16 bytes for a day (since 1970-01-01, UTC); made, durably, by the process that asks first."""
        known = self._known.get((site_id, day))
        if known is not None:
            return known
        with self._mutex:
            value = self._secrets.salt(site_id, day, secrets.token_bytes(SALT_BYTES))
            self._known[site_id, day] = value
        return value

    def forget_before(self, day: int) -> None:
        """Erases the salts of earlier days: their fingerprints can't be made again."""
        with self._mutex:
            self._known = {key: value for key, value in self._known.items() if key[1] >= day}
            self._secrets.forget_salts_before(day)

    def close(self) -> None:
        self._secrets.close()
