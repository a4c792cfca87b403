"""Tokens and salts: shared by processes, erasable, gone with a reset."""

import subprocess
import sys
import threading

import pytest

from schemas.access import Grant
from stream.embedded import EmbeddedLog
from stream.secrets import SaltStore, TokenStore, secrets_path
from tests.waiting import PATIENCE_SECONDS

TOKEN = "0123456789abcdef0123456789abcdef"
ADMIN = Grant(login="admin", superuser=True)
WRITER = Grant(login="writer", roles={1: "write", 2: "view"}, created_at=7)


@pytest.fixture
def log(tmp_path):
    return EmbeddedLog(tmp_path / "log")


@pytest.fixture
def tokens(log):
    store = TokenStore(log)
    yield store
    store.close()


@pytest.mark.parametrize(
    ("role", "site_id", "allowed"),
    [("view", 1, True), ("write", 1, True), ("admin", 1, False), ("write", 2, False), ("view", 3, False)],
)
def test_a_role_includes_those_below_it_on_its_site_only(role, site_id, allowed):
    assert WRITER.allows(role, site_id) == allowed
    assert ADMIN.allows(role, site_id)


def test_a_token_is_found_with_its_grant_until_it_is_revoked(tokens):
    tokens.add(TOKEN, WRITER)
    assert tokens.find(TOKEN) == WRITER
    tokens.add(TOKEN, ADMIN)
    assert tokens.find(TOKEN) == ADMIN
    assert tokens.grants() == [ADMIN]
    assert tokens.revoke(TOKEN)
    assert not tokens.revoke(TOKEN)
    assert tokens.find(TOKEN) is None


@pytest.mark.parametrize("wrong", ["", TOKEN[:-1], TOKEN + "0", TOKEN.upper(), "anonymous", "\udcff", "\x00"])
def test_nothing_but_the_token_itself_is_found(tokens, wrong):
    tokens.add(TOKEN, WRITER)
    assert tokens.find(wrong) is None


def test_the_token_itself_is_not_stored(log, tokens):
    tokens.add(TOKEN, WRITER)
    for path in log.root.glob("secrets.sqlite*"):
        assert TOKEN.encode() not in path.read_bytes()


def test_only_the_user_may_read_the_secrets(log, tokens):
    tokens.add(TOKEN, WRITER)
    for path in log.root.glob("secrets.sqlite*"):
        assert path.stat().st_mode & 0o077 == 0


def test_another_store_sees_changes_at_its_next_look(log, tokens):
    other = TokenStore(log)
    assert other.find(TOKEN) is None
    tokens.add(TOKEN, WRITER)
    assert other.find(TOKEN) == WRITER
    other.revoke(TOKEN)
    assert tokens.find(TOKEN) is None
    other.close()


def test_tokens_and_salts_are_gone_after_a_reset(log, tokens):
    tokens.add(TOKEN, WRITER)
    salts = SaltStore(log)
    before = salts.salt(1, 20000)
    log.reset()
    fresh = EmbeddedLog(log.directory)
    new_tokens, new_salts = TokenStore(fresh), SaltStore(fresh)
    assert new_tokens.find(TOKEN) is None
    assert new_salts.salt(1, 20000) != before
    for store in (salts, new_tokens, new_salts):
        store.close()


def test_a_salt_is_the_same_for_every_store_and_differs_by_site_and_day(log):
    first, second = SaltStore(log), SaltStore(log)
    salts = {(site, day): first.salt(site, day) for site in (1, 2) for day in (20000, 20001)}
    assert len(set(salts.values())) == 4
    assert all(len(salt) == 16 for salt in salts.values())
    assert {key: second.salt(*key) for key in salts} == salts
    first.close()
    second.close()


def test_threads_that_ask_first_at_the_same_time_get_one_salt(log):
    stores = [SaltStore(log) for _ in range(6)]
    found = []
    barrier = threading.Barrier(len(stores))

    def ask(store):
        barrier.wait()
        found.append([store.salt(site, 20000) for site in range(5)])

    threads = [threading.Thread(target=ask, args=(store,)) for store in stores]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 6
    assert all(salts == found[0] for salts in found)
    for store in stores:
        store.close()


def test_processes_that_create_the_store_together_share_its_salts(log):
    script = (
        "import sys; from pathlib import Path; from stream.embedded import EmbeddedLog\n"
        "from stream.secrets import SaltStore\n"
        "print(SaltStore(EmbeddedLog(Path(sys.argv[1]))).salt(1, 20000).hex())"
    )
    command = [sys.executable, "-c", script, str(log.directory)]
    started = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    found = {process.communicate(timeout=PATIENCE_SECONDS)[0] for process in started}
    assert len(found) == 1
    assert len(found.pop().strip()) == 32


def test_forgotten_salts_leave_no_trace_and_later_days_stay(log):
    store = SaltStore(log)
    old, kept = store.salt(1, 20000), store.salt(1, 20005)
    store.forget_before(20005)
    for path in secrets_path(log).parent.glob("secrets.sqlite*"):
        assert old not in path.read_bytes()
    assert store.salt(1, 20005) == kept
    assert store.salt(1, 20000) != old
    store.close()
