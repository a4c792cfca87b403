"""State of a partition: tables of keys and values, with recent changes kept in memory.

Changing a random key of a large table costs a page of the WAL and a page of the file, some 25 us; a visitor
comes back within minutes. So the changes of a unit of work are written as one row of table `changes` and kept
in memory, from where they are read; when there are many, they are merged into their tables in key order, in
the transaction of some unit of work that also empties `changes`. After a crash, `changes` is read back.

Three things go to the table at once: deletions; keys behind all others (a journal), which touch few pages;
and all of a table that is scanned.
"""

import re
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec

from stream.protocol import LogError
from stream.sqlite_files import translate_errors

KEYS_PER_SELECT = 256
MERGED_ENTRIES = 8192
MERGED_BYTES = 8 << 20

_NAME = re.compile(r"[a-z][a-z0-9_]*")


class Change(msgspec.Struct, frozen=True, array_like=True):
    """What a unit of work changed in memory for one table: first forget, then put."""

    table: str
    forgotten: list[bytes]
    keys: list[bytes]
    values: list[bytes]


_encode_changes = msgspec.msgpack.Encoder().encode
_decode_changes = msgspec.msgpack.Decoder(list[Change]).decode


def checked_name(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise ValueError(f"{name!r} can't name a table: expected lower-case letters, digits and _")
    return name


def create_schema(connection: sqlite3.Connection) -> None:
    connection.execute("CREATE TABLE changes (id INTEGER PRIMARY KEY, payload BLOB NOT NULL)")


class PartitionState:
    """stream.protocol.State on the writing connection of a partition's file.

    A transaction begins with the first write; `stage`, COMMIT and `settle` end it, or `forget_pending`
    after a ROLLBACK."""

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        self._path = path
        self._connection = connection
        self._memory: dict[str, dict[bytes, bytes]] = {}
        self._pending: dict[str, dict[bytes, bytes]] = {}
        self._forgotten: dict[str, set[bytes]] = {}
        self._scanned: set[str] = set()
        self._largest: dict[str, bytes] = {}
        self._merging = False
        self.failed = False
        """A write failed: SQLite may have ended the transaction, so nothing but a rollback may follow."""
        self._load_tables()
        for (payload,) in connection.execute("SELECT payload FROM changes ORDER BY id"):
            for change in _decode_changes(payload):
                memory = self._memory.setdefault(change.table, {})
                for key in change.forgotten:
                    memory.pop(key, None)
                memory.update(zip(change.keys, change.values, strict=True))
        self._count()

    def _count(self) -> None:
        self._entries = sum(map(len, self._memory.values()))
        self._bytes = sum(len(v) for memory in self._memory.values() for v in memory.values())

    def _load_tables(self) -> None:
        names = self._connection.execute(
            "SELECT name FROM sqlite_schema WHERE name LIKE 'state!_%' ESCAPE '!'"
        )
        self._tables = {name.removeprefix("state_") for (name,) in names}

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Inside a transaction, which begins when there is none."""
        if self.failed:
            raise LogError(f"a write to {self._path} failed before: roll back first")
        with translate_errors(self._path, "Writing to"):
            try:
                if not self._connection.in_transaction:
                    self._connection.execute("BEGIN IMMEDIATE")
                yield
            except BaseException:
                self.failed = True
                raise

    def get_many(self, table: str, keys: Sequence[bytes]) -> dict[bytes, bytes]:
        pending, memory = self._pending.get(table, {}), self._memory.get(table, {})
        forgotten = self._forgotten.get(table, ())
        found: dict[bytes, bytes] = {}
        missing = []
        for key in keys:
            value = pending.get(key)
            if value is None and key not in forgotten:
                value = memory.get(key)
            if value is None:
                missing.append(key)
            else:
                found[key] = value
        if missing and table in self._tables:
            with translate_errors(self._path, "Reading state from"):
                for at in range(0, len(missing), KEYS_PER_SELECT):
                    found.update(self._select(table, missing[at : at + KEYS_PER_SELECT]))
        return found

    def _select(self, table: str, keys: list[bytes]) -> sqlite3.Cursor:
        # Padded to a power of two: few distinct statements, which the connection keeps prepared.
        size = 1 << (len(keys) - 1).bit_length()
        marks = ",".join("?" * size)
        return self._connection.execute(
            f"SELECT key, value FROM state_{table} WHERE key IN ({marks})",  # noqa: S608 - checked name
            keys + keys[-1:] * (size - len(keys)),
        )

    def put_many(self, table: str, items: Iterable[tuple[bytes, bytes]]) -> None:
        changes = dict(items)
        if not changes:
            return
        with self.writing():
            if table in self._scanned or self._all_behind(table, changes):
                self._upsert(table, changes)
            else:
                self._pending.setdefault(checked_name(table), {}).update(changes)

    def _all_behind(self, table: str, changes: Mapping[bytes, bytes]) -> bool:
        """Whether all keys are larger than those of the table, of which none is in memory."""
        if self._pending.get(table) or self._memory.get(table):
            return False
        if table not in self._largest:
            largest = b""
            if table in self._tables:
                query = f"SELECT coalesce(max(key), x'') FROM state_{table}"  # noqa: S608 - checked name
                (largest,) = self._connection.execute(query).fetchone()
            self._largest[table] = largest
        return min(changes) > self._largest[table]

    def _upsert(self, table: str, changes: Mapping[bytes, bytes]) -> None:
        if table not in self._tables:
            self._connection.execute(
                f"CREATE TABLE state_{checked_name(table)} (key BLOB PRIMARY KEY, value BLOB NOT NULL)"
                " WITHOUT ROWID"
            )
            self._tables.add(table)
        ordered = sorted(changes.items())
        # Not REPLACE, which deletes and inserts and so changes 40 % more pages (measured, random keys).
        self._connection.executemany(
            f"INSERT INTO state_{table} VALUES (?, ?)"  # noqa: S608 - checked name
            " ON CONFLICT (key) DO UPDATE SET value = excluded.value",
            ordered,
        )
        if table in self._largest:
            self._largest[table] = max(self._largest[table], ordered[-1][0])

    def delete_many(self, table: str, keys: Iterable[bytes]) -> None:
        gone = list(keys)
        pending, memory = self._pending.get(table, {}), self._memory.get(table, {})
        with self.writing():
            for key in gone:
                pending.pop(key, None)
                if key in memory:
                    self._forgotten.setdefault(table, set()).add(key)
            if table in self._tables:
                self._connection.executemany(
                    f"DELETE FROM state_{table} WHERE key = ?",  # noqa: S608 - checked name
                    ((key,) for key in gone),
                )

    def scan(
        self, table: str, start: bytes, end: bytes, limit: int = -1, *, reverse: bool = False
    ) -> Sequence[tuple[bytes, bytes]]:
        if table not in self._scanned:
            self._move_to_table(table)
            self._scanned.add(table)
        if table not in self._tables:
            return []
        order = "DESC" if reverse else "ASC"
        with translate_errors(self._path, "Reading state from"):
            return self._connection.execute(
                f"SELECT key, value FROM state_{table} WHERE key >= ? AND key < ?"  # noqa: S608 - checked name
                f" ORDER BY key {order} LIMIT ?",
                (start, end, limit),
            ).fetchall()

    def _move_to_table(self, table: str) -> None:
        memory, pending = self._memory.get(table, {}), self._pending.get(table, {})
        forgotten = self._forgotten.get(table, set())
        if memory or pending:
            with self.writing():
                kept = {key: value for key, value in memory.items() if key not in forgotten}
                self._upsert(table, {**kept, **pending})
                self._forgotten[table] = set(memory)
                self._pending.pop(table, None)

    @property
    def wants_merge(self) -> bool:
        return self._entries >= MERGED_ENTRIES or self._bytes >= MERGED_BYTES

    @property
    def entries_in_memory(self) -> int:
        return self._entries

    def stage(self, *, merge: bool) -> None:
        """Writes the changes of the unit of work, within its transaction; with `merge` all that is in
        memory goes into its tables."""
        if merge:
            for table in {*self._memory, *self._pending}:
                forgotten = self._forgotten.get(table, ())
                memory = self._memory.get(table, {}).items()
                kept = {key: value for key, value in memory if key not in forgotten}
                changes = {**kept, **self._pending.get(table, {})}
                if changes:
                    self._upsert(table, changes)
            self._connection.execute("DELETE FROM changes")
            self._merging = True
        elif any(self._pending.values()) or any(self._forgotten.values()):
            changed = [
                Change(
                    table,
                    list(self._forgotten.get(table, ())),
                    list(self._pending.get(table, {})),
                    list(self._pending.get(table, {}).values()),
                )
                for table in {*self._pending, *self._forgotten}
            ]
            self._connection.execute("INSERT INTO changes (payload) VALUES (?)", (_encode_changes(changed),))

    def settle(self) -> None:
        """After the COMMIT: what was staged is now what others would read back."""
        if self._merging:
            self._memory.clear()
            self._count()
        else:
            for table, forgotten in self._forgotten.items():
                memory = self._memory.get(table, {})
                for key in forgotten:
                    value = memory.pop(key, None)
                    if value is not None:
                        self._entries -= 1
                        self._bytes -= len(value)
            for table, pending in self._pending.items():
                memory = self._memory.setdefault(table, {})
                before = len(memory)
                self._bytes += sum(map(len, pending.values())) - sum(
                    len(memory.get(key, b"")) for key in pending
                )
                memory.update(pending)
                self._entries += len(memory) - before
        self._merging = False
        self._pending.clear()
        self._forgotten.clear()

    def forget_pending(self) -> None:
        """After a ROLLBACK."""
        self._merging = False
        self.failed = False
        self._pending.clear()
        self._forgotten.clear()
        self._largest.clear()
        self._scanned = {table for table in self._scanned if not self._memory.get(table)}
        self._load_tables()
