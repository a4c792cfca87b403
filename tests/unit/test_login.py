"""Tokens: where they may stand, and the limit on wrong ones."""

import pytest

from reporting.errors import ApiError
from reporting.login import AttemptLimit, GivenToken, authenticate, token_of
from reporting.parameters import Parameters
from schemas.access import Grant
from stream.users import User, hash_password, password_matches

ADMIN = Grant(login="admin", superuser=True)


class KnownTokens(dict[str, Grant]):
    """A store of tokens in memory."""

    def find(self, token: str) -> Grant | None:
        return self.get(token)


class KnownUsers(dict[str, User]):
    """A store of users in memory."""

    def find(self, login: str) -> User | None:
        return self.get(login)


def given(url: str = "", body: str = "", header: str = "") -> GivenToken:
    headers = {"Authorization": header} if header else {}
    of_url, of_body = ({"token_auth": value} if value else {} for value in (url, body))
    return token_of(Parameters(of_url), Parameters(of_body), headers)


def test_the_body_counts_before_header_and_url() -> None:
    assert given(url="u", body="b", header="Bearer h") == GivenToken("b", in_url=False)
    assert given(url="u", header="bearer h ") == GivenToken("h", in_url=False)
    assert given(url="u", header="Basic x") == GivenToken("u", in_url=True)


@pytest.mark.parametrize("token", ["", "anonymous"])
def test_no_token_is_the_anonymous_user(token: str) -> None:
    anonymous = User(login="anonymous", roles={3: "view"})
    grant = authenticate(
        given(body=token), KnownTokens(), KnownUsers(anonymous=anonymous), AttemptLimit(), "a"
    )
    assert (grant.login, grant.roles) == ("anonymous", {3: "view"})


def test_wrong_tokens_block_one_client_until_the_window_has_passed() -> None:
    now = [0.0]
    limit = AttemptLimit(allowed=2, window_s=60.0, clock=lambda: now[0])
    tokens = KnownTokens(right=ADMIN)

    def status(token: str, client: str = "a") -> int:
        try:
            authenticate(given(body=token), tokens, KnownUsers(), limit, client)
        except ApiError as error:
            return error.status
        return 200

    assert [status("wrong") for _ in range(4)] == [401, 401, 401, 500]
    assert status("right") == 500
    assert status("right", client="b") == 200
    now[0] = 60.0
    assert status("right") == 200


def test_the_limit_remembers_a_bounded_number_of_clients() -> None:
    limit = AttemptLimit(allowed=0, max_clients=10)
    for number in range(50):
        limit.record(str(number))
    assert not limit.blocked("0")
    assert limit.blocked("49")


def test_passwords_match_only_themselves() -> None:
    stored = hash_password("sécret")
    assert password_matches(stored, "sécret")
    assert not password_matches(stored, "secret")
    assert not password_matches(b"", "")
    assert hash_password("sécret") != stored
