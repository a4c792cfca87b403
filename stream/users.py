"""Users of the Reporting API. They lie beside the tokens, since names and addresses must be erasable."""

import hashlib
import hmac
import os
import sqlite3
from collections.abc import Callable, Mapping

import msgspec

from schemas.access import Grant, Role, decode_grant, encode_grant
from stream.embedded import EmbeddedLog
from stream.secrets import _SecretsFile
from stream.sqlite_files import translate_errors

ANONYMOUS = "anonymous"
"""The login of requests without a token; it may be given view rights like any other."""


class User(msgspec.Struct, frozen=True, kw_only=True):
    login: str
    email: str = ""
    superuser: bool = False
    roles: dict[int, Role] = {}
    """site_id -> role"""
    password: bytes = b""
    """Salt and scrypt hash, see `hash_password`; empty: nobody can log in with a password."""
    registered_at: str = ""
    """YYYY-MM-DD HH:MM:SS, UTC."""
    preferences: dict[str, str] = {}
    """Kept for clients of the API."""

    def grant(self) -> Grant:
        return Grant(login=self.login, superuser=self.superuser, roles=dict(self.roles))


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(User).decode


def hash_password(password: str) -> bytes:
    """Takes some ten milliseconds, on purpose."""
    salt = os.urandom(16)
    return salt + hashlib.scrypt(password.encode("utf-8", "surrogatepass"), salt=salt, n=2**14, r=8, p=1)


def password_matches(stored: bytes, password: str) -> bool:
    if len(stored) <= 16:
        return False
    given = hashlib.scrypt(password.encode("utf-8", "surrogatepass"), salt=stored[:16], n=2**14, r=8, p=1)
    return hmac.compare_digest(stored[16:], given)


class UserStore:
    """Users by login. May be used by several threads; all processes see a change at once."""

    def __init__(self, log: EmbeddedLog) -> None:
        self._file = _SecretsFile(log)
        with translate_errors(self._file.path, "Opening users in"):
            self._file.connection.execute(
                "CREATE TABLE IF NOT EXISTS user"
                " (login TEXT PRIMARY KEY, user_json BLOB NOT NULL) WITHOUT ROWID"
            )
        self._users: Mapping[str, User] = {}
        self._version = -1

    def all(self) -> Mapping[str, User]:
        """By login, in order. Microseconds while nothing changes."""
        with self._file.mutex, translate_errors(self._file.path, "Reading users from"):
            version = self._file.data_version()
            if version != self._version:
                rows = self._file.connection.execute(
                    "SELECT login, user_json FROM user ORDER BY login"
                ).fetchall()
                self._users = {login: _decode(value) for login, value in rows}
                self._version = version
            return self._users

    def find(self, login: str) -> User | None:
        return self.all().get(login)

    def put(self, user: User) -> None:
        """Stores or replaces a user; what the user's tokens grant changes with it."""

        def change(connection: sqlite3.Connection) -> None:
            connection.execute("REPLACE INTO user VALUES (?, ?)", (user.login, _encode(user)))
            self._rewrite_tokens(connection, user.login, user.grant())

        self._write(change)

    def remove(self, login: str) -> bool:
        """Forgets a user and the user's tokens; whether there was one."""
        known = self.find(login) is not None

        def change(connection: sqlite3.Connection) -> None:
            connection.execute("DELETE FROM user WHERE login = ?", (login,))
            self._rewrite_tokens(connection, login, None)

        self._write(change)
        return known

    def _write(self, change: Callable[[sqlite3.Connection], None]) -> None:
        with self._file.mutex, translate_errors(self._file.path, "Writing a user to"):
            connection = self._file.connection
            self._version = -1
            connection.execute("BEGIN IMMEDIATE")
            try:
                change(connection)
            except BaseException:
                connection.execute("ROLLBACK")
                raise
            connection.execute("COMMIT")

    @staticmethod
    def _rewrite_tokens(connection: sqlite3.Connection, login: str, grant: Grant | None) -> None:
        for key, stored in connection.execute("SELECT hash, grant_json FROM token").fetchall():
            held = decode_grant(stored)
            if held.login != login:
                continue
            if grant is None:
                connection.execute("DELETE FROM token WHERE hash = ?", (key,))
            else:
                changed = msgspec.structs.replace(held, superuser=grant.superuser, roles=grant.roles)
                connection.execute(
                    "UPDATE token SET grant_json = ? WHERE hash = ?", (encode_grant(changed), key)
                )

    def close(self) -> None:
        self._file.close()
