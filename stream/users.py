"""Users of the Reporting API. They lie beside the tokens, since names and addresses must be erasable."""

import hashlib
import hmac
import os
from collections.abc import Mapping

import msgspec

from schemas.access import Grant, Role, decode_grant, encode_grant
from stream.protocol import Log, SecretChanges

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
    """Users by login. May be used by several threads; all processes see a change at once, on a broker within
    moments."""

    def __init__(self, log: Log) -> None:
        self._secrets = log.secrets()
        self._users: Mapping[str, User] = {}
        self._version = -1

    def all(self) -> Mapping[str, User]:
        """By login, in order. Microseconds while nothing changes."""
        version = self._secrets.version()
        if version != self._version:
            self._users = {login: _decode(value) for login, value in self._secrets.users().items()}
            self._version = version
        return self._users

    def find(self, login: str) -> User | None:
        return self.all().get(login)

    def put(self, user: User) -> None:
        """Stores or replaces a user; what the user's tokens grant changes with it."""
        self._write(user.login, _encode(user), user.grant())

    def remove(self, login: str) -> bool:
        """Forgets a user and the user's tokens; whether there was one."""
        known = self.find(login) is not None
        self._write(login, None, None)
        return known

    def _write(self, login: str, encoded: bytes | None, grant: Grant | None) -> None:
        def decide(tokens: Mapping[bytes, bytes]) -> SecretChanges:
            changed: dict[bytes, bytes | None] = {}
            for key, stored in tokens.items():
                held = decode_grant(stored)
                if held.login != login:
                    continue
                if grant is None:
                    changed[key] = None
                else:
                    held = msgspec.structs.replace(held, superuser=grant.superuser, roles=grant.roles)
                    changed[key] = encode_grant(held)
            return SecretChanges(tokens=changed, users={login: encoded})

        self._secrets.update(decide)
        self._version = -1

    def close(self) -> None:
        self._secrets.close()
