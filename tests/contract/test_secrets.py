"""Tokens, users and salts on every log: shared by processes, erasable, gone with a reset."""

import pytest

from schemas.access import Grant
from stream.protocol import SecretChanges
from stream.secrets import SaltStore, TokenStore
from stream.users import User, UserStore
from tests.waiting import wait_until

TOKEN = "0123456789abcdef0123456789abcdef"
WRITER = Grant(login="writer", roles={1: "write"}, created_at=7)


@pytest.fixture
def log(log_backend, closing):
    return closing(log_backend.open())


def test_a_token_is_found_with_its_grant_until_it_is_revoked(log, closing):
    tokens = closing(TokenStore(log))
    tokens.add(TOKEN, WRITER)
    assert tokens.find(TOKEN) == WRITER
    assert tokens.find(TOKEN[1:]) is None
    assert tokens.grants() == [WRITER]
    assert tokens.revoke(TOKEN)
    assert not tokens.revoke(TOKEN)
    assert tokens.find(TOKEN) is None


def test_what_one_process_writes_all_others_find(log, log_backend, closing):
    closing(TokenStore(log)).add(TOKEN, WRITER)
    closing(UserStore(log)).put(User(login="ada", email="ada@example.org"))
    salt = closing(SaltStore(log)).salt(1, 20_000)
    said = log_backend.run(
        f"""
        from stream.secrets import SaltStore, TokenStore
        from stream.users import UserStore
        print(TokenStore(log).find({TOKEN!r}).login)
        print(UserStore(log).find("ada").email)
        salts = SaltStore(log)
        print(salts.salt(1, 20_000).hex(), salts.salt(2, 20_000) != salts.salt(1, 20_000))
        """
    )
    assert said.split() == ["writer", "ada@example.org", salt.hex(), "True"]


def test_a_change_of_a_user_changes_what_the_users_tokens_grant(log, closing):
    tokens, users = closing(TokenStore(log)), closing(UserStore(log))
    tokens.add(TOKEN, Grant(login="ada"))
    users.put(User(login="ada", roles={3: "admin"}))
    wait_until(lambda: tokens.find(TOKEN).allows("admin", 3))
    assert users.remove("ada")
    assert not users.remove("ada")
    wait_until(lambda: tokens.find(TOKEN) is None)
    assert users.all() == {}


def test_the_first_salt_counts_whoever_made_it(log, closing):
    one, other = closing(log.secrets()), closing(log.secrets())
    assert one.salt(1, 20_000, b"a" * 16) == b"a" * 16
    assert other.salt(1, 20_000, b"b" * 16) == b"a" * 16
    lasting = one.salt(0, 1 << 31, b"c" * 16)
    assert other.salt(0, 1 << 31, b"d" * 16) == lasting == b"c" * 16
    assert one.instance_salt() == other.instance_salt()


def test_forgotten_salts_are_made_anew_and_lasting_ones_stay(log, closing):
    salts = closing(SaltStore(log))
    old, today, lasting = salts.salt(1, 20_000), salts.salt(1, 20_001), salts.salt(0, 1 << 31)
    salts.forget_before(20_001)
    assert salts.salt(1, 20_001) == today
    assert salts.salt(0, 1 << 31) == lasting
    assert salts.salt(1, 20_000) != old


def test_updates_see_the_tokens_as_they_are(log, closing):
    one, other = closing(log.secrets()), closing(log.secrets())
    one.update(lambda _: SecretChanges(tokens={b"x": b"1"}))
    seen = []
    other.update(lambda tokens: seen.append(dict(tokens)) or SecretChanges(tokens={b"x": None}))
    assert seen == [{b"x": b"1"}]
    one.update(lambda tokens: seen.append(dict(tokens)) or SecretChanges())
    assert seen[1] == {}


def test_a_reset_forgets_them(log, log_backend, closing):
    closing(TokenStore(log)).add(TOKEN, WRITER)
    salt = closing(SaltStore(log)).salt(1, 20_000)
    log.reset()
    fresh = closing(log_backend.open())
    assert closing(TokenStore(fresh)).find(TOKEN) is None
    assert closing(SaltStore(fresh)).salt(1, 20_000) != salt
