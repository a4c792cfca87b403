"""Tokens and salts: small secrets of an instance that, unlike the log, can be erased.

For the embedded log they lie in a SQLite file of the epoch, so that emptying the log forgets them too. Any
process writes to it, in short transactions. Values that are erased are overwritten (secure_delete).
"""

import hashlib
import hmac
import os
import secrets
import sqlite3
import threading
import time
from collections.abc import Callable
from pathlib import Path

from schemas.access import Grant, decode_grant, encode_grant
from stream.embedded import EmbeddedLog
from stream.sqlite_files import BUSY_TIMEOUT_S, create_file, sync_directory, translate_errors

SALT_BYTES = 16


def secrets_path(log: EmbeddedLog) -> Path:
    return log.root / "secrets.sqlite"


def _create_schema(connection: sqlite3.Connection) -> None:
    connection.execute("CREATE TABLE token (hash BLOB PRIMARY KEY, grant_json BLOB NOT NULL) WITHOUT ROWID")
    connection.execute(
        "CREATE TABLE salt (site_id INTEGER, day INTEGER, value BLOB NOT NULL, PRIMARY KEY (site_id, day))"
        " WITHOUT ROWID"
    )
    connection.execute("CREATE TABLE instance (salt BLOB NOT NULL)")
    connection.execute("INSERT INTO instance VALUES (?)", (secrets.token_bytes(32),))


class _SecretsFile:
    """A connection that threads may share."""

    def __init__(self, log: EmbeddedLog) -> None:
        self.path = secrets_path(log)
        self.mutex = threading.Lock()
        with translate_errors(self.path, "Opening"):
            if not self.path.exists():
                self._create()
            self.connection = sqlite3.connect(
                f"{self.path.absolute().as_uri()}?mode=rw",
                uri=True,
                timeout=BUSY_TIMEOUT_S,
                isolation_level=None,
                check_same_thread=False,
            )
            self.connection.execute("PRAGMA synchronous = FULL")
            self.connection.execute("PRAGMA secure_delete = ON")

    def _create(self) -> None:
        """Several processes may come first: only one file gets the name."""
        draft = self.path.with_name(f"{self.path.name}.new-{os.getpid()}-{threading.get_ident()}")
        create_file(draft, 4096, _create_schema)
        os.chmod(draft, 0o600)
        try:
            os.link(draft, self.path)
        except FileExistsError:
            pass
        finally:
            draft.unlink()
        sync_directory(self.path.parent)

    def data_version(self) -> int:
        (version,) = self.connection.execute("PRAGMA data_version").fetchone()
        return int(version)

    def close(self) -> None:
        with self.mutex:
            self.connection.close()


class TokenStore:
    """Tokens as hashes with their grants. May be used by several threads."""

    def __init__(self, log: EmbeddedLog, clock: Callable[[], float] = time.time) -> None:
        self._file = _SecretsFile(log)
        self._clock = clock
        with translate_errors(self._file.path, "Reading"):
            (self._salt,) = self._file.connection.execute("SELECT salt FROM instance").fetchone()
        self._grants: dict[bytes, tuple[bytes, Grant]] = {}
        """First 8 bytes of the hash -> hash and grant."""
        self._version = -1

    def _hash(self, token: str) -> bytes:
        # One round is enough: tokens are long random strings, not passwords that could be guessed.
        return hashlib.sha256(self._salt + token.encode("utf-8", "surrogatepass")).digest()

    def add(self, token: str, grant: Grant) -> None:
        """Stores or replaces what the token grants; durable on return."""
        with self._file.mutex, translate_errors(self._file.path, "Writing a token to"):
            self._file.connection.execute(
                "REPLACE INTO token VALUES (?, ?)", (self._hash(token), encode_grant(grant))
            )
            self._version = -1

    def find(self, token: str) -> Grant | None:
        """What the token grants; None for one that isn't known or has expired. Microseconds: grants are kept
        in memory until some process changes one. How long it takes says nothing about stored tokens: who asks
        can't choose the hash, which is salted, and comparing it takes the same time wherever the two begin to
        differ."""
        wanted = self._hash(token)
        with self._file.mutex, translate_errors(self._file.path, "Reading tokens from"):
            version = self._file.data_version()
            if version != self._version:
                rows = self._file.connection.execute("SELECT hash, grant_json FROM token").fetchall()
                self._grants = {stored[:8]: (stored, decode_grant(grant)) for stored, grant in rows}
                self._version = version
            stored, grant = self._grants.get(wanted[:8], (b"", None))
        if not hmac.compare_digest(stored, wanted) or grant is None:
            return None
        return None if 0 < grant.expires_at <= self._clock() else grant

    def revoke(self, token: str) -> bool:
        """Forgets the token; whether it was known."""
        with self._file.mutex, translate_errors(self._file.path, "Removing a token from"):
            self._version = -1
            cursor = self._file.connection.execute("DELETE FROM token WHERE hash = ?", (self._hash(token),))
            return cursor.rowcount > 0

    def grants(self) -> list[Grant]:
        """All grants, by login."""
        with self._file.mutex, translate_errors(self._file.path, "Reading tokens from"):
            rows = self._file.connection.execute("SELECT grant_json FROM token").fetchall()
        return sorted((decode_grant(grant) for (grant,) in rows), key=lambda grant: grant.login)

    def close(self) -> None:
        self._file.close()


class SaltStore:
    """Random salts per site and UTC day, the same in all processes. May be used by several threads."""

    def __init__(self, log: EmbeddedLog) -> None:
        self._file = _SecretsFile(log)
        self._known: dict[tuple[int, int], bytes] = {}

    def salt(self, site_id: int, day: int) -> bytes:
        """The 16 bytes for a day (since 1970-01-01, UTC); made, durably, by the process that asks first."""
        known = self._known.get((site_id, day))
        if known is not None:
            return known
        with self._file.mutex, translate_errors(self._file.path, "Reading a salt from"):
            execute = self._file.connection.execute
            select = "SELECT value FROM salt WHERE site_id = ? AND day = ?"
            row = execute(select, (site_id, day)).fetchone()
            if row is None:
                # Whoever inserts first decides; all others read what was inserted.
                fresh = secrets.token_bytes(SALT_BYTES)
                execute("INSERT OR IGNORE INTO salt VALUES (?, ?, ?)", (site_id, day, fresh))
                row = execute(select, (site_id, day)).fetchone()
            value: bytes = row[0]
            self._known[site_id, day] = value
            return value

    def forget_before(self, day: int) -> None:
        """Erases the salts of earlier days, from the WAL too: their fingerprints can't be made again."""
        with self._file.mutex, translate_errors(self._file.path, "Erasing salts from"):
            self._known = {key: value for key, value in self._known.items() if key[1] >= day}
            if self._file.connection.execute("DELETE FROM salt WHERE day < ?", (day,)).rowcount:
                self._file.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

    def close(self) -> None:
        self._file.close()
