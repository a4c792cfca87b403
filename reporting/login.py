"""From a token to a grant, with a limit on wrong ones."""

import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from reporting.access import ANONYMOUS
from reporting.errors import ApiError
from reporting.parameters import Parameters
from schemas.access import Grant
from stream.users import ANONYMOUS as ANONYMOUS_LOGIN
from stream.users import User

_BEARER = "bearer "


class Tokens(Protocol):
    """stream.secrets.TokenStore"""

    def find(self, token: str) -> Grant | None: ...


class Users(Protocol):
    """stream.users.UserStore"""

    def find(self, login: str) -> User | None: ...


@dataclass(frozen=True)
class GivenToken:
    """A token and whether it came in a place that logs may show."""

    value: str
    in_url: bool


def token_of(url: Parameters, body: Parameters, headers: Mapping[str, str]) -> GivenToken:
    """Body before header before URL; empty and `anonymous` are no token."""
    header = headers.get("Authorization", "")
    bearer = header[len(_BEARER) :].strip() if header.lower().startswith(_BEARER) else ""
    for value, in_url in ((body.text("token_auth"), False), (bearer, False), (url.text("token_auth"), True)):
        if value:
            return GivenToken("" if value == ANONYMOUS_LOGIN else value, in_url)
    return GivenToken("", in_url=False)


@dataclass
class AttemptLimit:
    """Counts wrong tokens per client address in a sliding window.

    Memory is bounded: of more than `max_clients` addresses the ones not seen longest are forgotten."""

    allowed: int = 20
    window_s: float = 3600.0
    max_clients: int = 10_000
    clock: Callable[[], float] = time.monotonic
    _failures: OrderedDict[str, list[float]] = field(default_factory=OrderedDict)

    def blocked(self, client: str) -> bool:
        failures = self._failures.get(client)
        if failures is None:
            return False
        since = self.clock() - self.window_s
        recent = [moment for moment in failures if moment > since]
        if recent:
            self._failures[client] = recent
        else:
            del self._failures[client]
        return len(recent) > self.allowed

    def record(self, client: str) -> None:
        self._failures.setdefault(client, []).append(self.clock())
        self._failures[client] = self._failures[client][-(self.allowed + 1) :]
        self._failures.move_to_end(client)
        while len(self._failures) > self.max_clients:
            self._failures.popitem(last=False)


def authenticate(token: GivenToken, tokens: Tokens, users: Users, limit: AttemptLimit, client: str) -> Grant:
    """The grant of the caller. Raises ApiError for a wrong token and for too many of them, also when the next
    one is right; without a token there is nothing to guess, so no limit applies."""
    if not token.value:
        anonymous = users.find(ANONYMOUS_LOGIN)
        return ANONYMOUS if anonymous is None else anonymous.grant()
    if limit.blocked(client):
        raise ApiError("Too many failed logins. Please wait and try logging in again later.", 500)
    grant = tokens.find(token.value)
    if grant is not None:
        return grant
    limit.record(client)
    if token.in_url:
        raise ApiError(
            "Unable to authenticate with the provided token. It is either invalid, expired or is required to"
            " be sent as a POST parameter.",
            401,
        )
    raise ApiError("Unable to authenticate with the provided token. It is either invalid or expired.", 401)
