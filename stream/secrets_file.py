"""Where the embedded log keeps its secrets: a SQLite file of the epoch, forgotten when the log is emptied.

Any process writes to it, in short transactions. Values that are erased are overwritten (secure_delete).
"""

import os
import secrets
import sqlite3
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from stream.protocol import SecretChanges, Secrets
from stream.sqlite_files import BUSY_TIMEOUT_S, create_file, sync_directory, translate_errors

if TYPE_CHECKING:
    from stream.embedded import EmbeddedLog


def secrets_path(log: "EmbeddedLog") -> Path:
    return log.root / "secrets.sqlite"


def _create_schema(connection: sqlite3.Connection) -> None:
    connection.execute("CREATE TABLE token (hash BLOB PRIMARY KEY, grant_json BLOB NOT NULL) WITHOUT ROWID")
    connection.execute(
        "CREATE TABLE salt (site_id INTEGER, day INTEGER, value BLOB NOT NULL, PRIMARY KEY (site_id, day))"
        " WITHOUT ROWID"
    )
    connection.execute("CREATE TABLE instance (salt BLOB NOT NULL)")
    connection.execute("INSERT INTO instance VALUES (?)", (secrets.token_bytes(32),))


class SecretsFile(Secrets):
    """A connection that threads may share."""

    def __init__(self, log: "EmbeddedLog") -> None:
        self.path = secrets_path(log)
        self._mutex = threading.Lock()
        with translate_errors(self.path, "Opening"):
            if not self.path.exists():
                self._create()
            self._connection = sqlite3.connect(
                f"{self.path.absolute().as_uri()}?mode=rw",
                uri=True,
                timeout=BUSY_TIMEOUT_S,
                isolation_level=None,
                check_same_thread=False,
            )
            self._connection.execute("PRAGMA synchronous = FULL")
            self._connection.execute("PRAGMA secure_delete = ON")
            self._connection.execute(
                "CREATE TABLE IF NOT EXISTS user"
                " (login TEXT PRIMARY KEY, user_json BLOB NOT NULL) WITHOUT ROWID"
            )

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

    def instance_salt(self) -> bytes:
        with self._mutex, translate_errors(self.path, "Reading"):
            (salt,) = self._connection.execute("SELECT salt FROM instance").fetchone()
        return bytes(salt)

    def version(self) -> int:
        with self._mutex, translate_errors(self.path, "Reading"):
            (version,) = self._connection.execute("PRAGMA data_version").fetchone()
        return int(version)

    def tokens(self) -> Mapping[bytes, bytes]:
        with self._mutex, translate_errors(self.path, "Reading tokens from"):
            return dict(self._connection.execute("SELECT hash, grant_json FROM token").fetchall())

    def users(self) -> Mapping[str, bytes]:
        with self._mutex, translate_errors(self.path, "Reading users from"):
            return dict(
                self._connection.execute("SELECT login, user_json FROM user ORDER BY login").fetchall()
            )

    def update(self, decide: Callable[[Mapping[bytes, bytes]], SecretChanges]) -> None:
        with self._mutex, translate_errors(self.path, "Writing to"):
            execute = self._connection.execute
            execute("BEGIN IMMEDIATE")
            try:
                changes = decide(dict(execute("SELECT hash, grant_json FROM token").fetchall()))
                for hash_, grant in changes.tokens.items():
                    if grant is None:
                        execute("DELETE FROM token WHERE hash = ?", (hash_,))
                    else:
                        execute("REPLACE INTO token VALUES (?, ?)", (hash_, grant))
                for login, user in changes.users.items():
                    if user is None:
                        execute("DELETE FROM user WHERE login = ?", (login,))
                    else:
                        execute("REPLACE INTO user VALUES (?, ?)", (login, user))
            except BaseException:
                execute("ROLLBACK")
                raise
            execute("COMMIT")

    def salt(self, site_id: int, day: int, fresh: bytes) -> bytes:
        with self._mutex, translate_errors(self.path, "Reading a salt from"):
            execute = self._connection.execute
            select = "SELECT value FROM salt WHERE site_id = ? AND day = ?"
            row = execute(select, (site_id, day)).fetchone()
            if row is None:
                # Whoever inserts first decides; all others read what was inserted.
                execute("INSERT OR IGNORE INTO salt VALUES (?, ?, ?)", (site_id, day, fresh))
                row = execute(select, (site_id, day)).fetchone()
            return bytes(row[0])

    def forget_salts_before(self, day: int) -> None:
        with self._mutex, translate_errors(self.path, "Erasing salts from"):
            # From the WAL too.
            if self._connection.execute("DELETE FROM salt WHERE day < ?", (day,)).rowcount:
                self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

    def close(self) -> None:
        with self._mutex:
            self._connection.close()
