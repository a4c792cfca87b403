"""The state of a partition behaves as plain dictionaries do, whatever it keeps in memory or in its tables."""

import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream.protocol import LogError
from stream.sqlite_files import create_file, open_writer
from stream.state import PartitionState, create_schema

TABLES = ["heads", "journal"]
keys = st.binary(max_size=2)
some_keys = st.lists(keys, max_size=4)
items = st.lists(st.tuples(keys, st.binary(max_size=3)), max_size=5)
tables = st.sampled_from(TABLES)
steps = st.one_of(
    st.tuples(st.just("put"), tables, items),
    st.tuples(st.just("append"), tables, st.integers(1, 3)),
    st.tuples(st.just("delete"), tables, some_keys),
    st.tuples(st.just("scan"), tables, st.tuples(keys, keys, st.integers(-1, 3), st.booleans())),
    st.tuples(st.just("commit"), st.booleans()),
    st.tuples(st.just("rollback")),
    st.tuples(st.just("reopen")),
)


class Store:
    def __init__(self, directory):
        self.path = Path(directory) / "state.sqlite"
        create_file(self.path, 4096, create_schema)
        self.open()

    def open(self):
        self.connection = open_writer(self.path, 1 << 20, 0)
        self.state = PartitionState(self.path, self.connection)

    def commit(self, *, merge):
        with self.state.writing():
            self.state.stage(merge=merge)
            self.connection.execute("COMMIT")
        self.state.settle()

    def rollback(self):
        if self.connection.in_transaction:
            self.connection.execute("ROLLBACK")
        self.state.forget_pending()

    def reopen(self):
        self.connection.close()
        self.open()


def expected_scan(table, start, end, limit, reverse):
    found = sorted((item for item in table.items() if start <= item[0] < end), reverse=reverse)
    return found if limit < 0 else found[:limit]


@settings(max_examples=150, deadline=None)
@given(st.lists(steps, max_size=40))
def test_state_equals_a_dictionary_through_commits_merges_rollbacks_and_restarts(history):
    with tempfile.TemporaryDirectory() as directory:
        store = Store(directory)
        committed = {name: {} for name in TABLES}
        model = {name: {} for name in TABLES}
        appended = 0
        for step, *arguments in history:
            match step:
                case "put":
                    store.state.put_many(*arguments)
                    model[arguments[0]].update(arguments[1])
                case "append":
                    new = [(b"\xff\xff\xff%08d" % (appended + n), b"hit") for n in range(arguments[1])]
                    appended += len(new)
                    store.state.put_many(arguments[0], new)
                    model[arguments[0]].update(new)
                case "delete":
                    store.state.delete_many(*arguments)
                    for key in arguments[1]:
                        model[arguments[0]].pop(key, None)
                case "scan":
                    start, end, limit, reverse = arguments[1]
                    found = store.state.scan(arguments[0], start, end, limit, reverse=reverse)
                    assert list(found) == expected_scan(model[arguments[0]], start, end, limit, reverse)
                case "commit":
                    store.commit(merge=arguments[0])
                    committed = {name: dict(table) for name, table in model.items()}
                case "rollback" | "reopen":
                    store.rollback() if step == "rollback" else store.reopen()
                    model = {name: dict(table) for name, table in committed.items()}
            for name in TABLES:
                known = [*model[name], b"unknown", b""]
                assert store.state.get_many(name, known) == {
                    k: model[name][k] for k in known if k in model[name]
                }
        store.connection.close()


@pytest.fixture
def store(tmp_path):
    store = Store(tmp_path)
    yield store
    store.connection.close()


def rows(store, table):
    return store.connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0]


def test_changes_of_random_keys_are_one_row_until_they_are_merged(store):
    store.state.put_many("heads", [(b"z", b"first")])
    store.commit(merge=False)
    for unit in range(3):
        store.state.put_many("heads", [(b"%d" % n, b"%d" % unit) for n in range(100)])
        store.commit(merge=False)
    assert (rows(store, "changes"), rows(store, "state_heads")) == (3, 1)
    assert store.state.entries_in_memory == 100
    store.commit(merge=True)
    assert (rows(store, "changes"), rows(store, "state_heads")) == (0, 101)
    assert store.state.entries_in_memory == 0
    assert store.state.get_many("heads", [b"7", b"z"]) == {b"7": b"2", b"z": b"first"}


def test_a_growing_journal_goes_straight_to_its_table(store):
    for unit in range(3):
        store.state.put_many("journal", [(b"%04d" % (unit * 10 + n), b"hit") for n in range(10)])
        store.commit(merge=False)
    assert (rows(store, "changes"), rows(store, "state_journal")) == (0, 30)


def test_many_changes_ask_to_be_merged(store):
    store.state.put_many("heads", [(b"zz", b"")])
    store.state.put_many("heads", [(n.to_bytes(4, "big"), b"x") for n in range(9000)])
    assert not store.state.wants_merge
    store.commit(merge=False)
    assert store.state.wants_merge


def test_after_a_failed_write_nothing_but_a_rollback_is_taken(store):
    store.state.put_many("heads", [(b"b", b"")])
    store.commit(merge=False)
    store.connection.execute("PRAGMA max_page_count = 8")
    with pytest.raises(LogError, match="full"):
        store.state.put_many("heads", [(b"c%d" % n, b"x" * 3000) for n in range(20)])
    with pytest.raises(LogError, match="roll back"):
        store.state.put_many("heads", [(b"d", b"")])
    store.rollback()
    store.connection.execute("PRAGMA max_page_count = 100000")
    assert store.state.scan("heads", b"", b"\xff") == [(b"b", b"")]
    store.state.put_many("heads", [(b"d", b"")])
    store.commit(merge=False)


def test_a_table_needs_a_plain_name(store):
    with pytest.raises(ValueError, match="name a table"):
        store.state.put_many("heads; DROP", [(b"", b"")])
