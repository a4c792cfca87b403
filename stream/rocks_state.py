"""State of one partition in RocksDB (rocksdict), with the pending changes of the unit of work above it.

The database is a copy of the changelog's partition: it holds the changes up to an offset that is written with
them, so a copy that was left behind goes on from there.
"""

import shutil
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from rocksdict import BlockBasedOptions, Cache, Options, Rdict, WriteBatch

from stream.protocol import LogError, State

_MARK_KEY = b"\x00changelog"
"""Tables have names, so no key of theirs begins with a zero byte. Next offset and unix time, 8 bytes each."""
WRITE_BUFFER_BYTES = 8 << 20
CACHE_BYTES = 128 << 20
"""Of all partitions of a process."""

_cache: list[Cache] = []


def _options() -> Options:
    if not _cache:
        _cache.append(Cache(CACHE_BYTES))
    options = Options(raw_mode=True)
    options.create_if_missing(True)
    options.set_write_buffer_size(WRITE_BUFFER_BYTES)
    options.set_keep_log_file_num(2)
    blocks = BlockBasedOptions()
    blocks.set_block_cache(_cache[0])
    blocks.set_bloom_filter(10, False)
    # Outside the cache they grow with the database: 21 MiB for 2.7 million hits in the journal.
    blocks.set_cache_index_and_filter_blocks(True)
    blocks.set_pin_l0_filter_and_index_blocks_in_cache(True)
    options.set_block_based_table_factory(blocks)
    return options


def open_database(path: Path, end: int, stale_after_s: float) -> "RocksState":
    """The copy at `path` when it can be brought up to the changelog's `end`, else an empty one.

    It can't when it is ahead (the changelog is another one), or so old that deletions since may have been
    compacted away. Raises LogError."""
    state = RocksState(path)
    is_behind = state.next_offset < end
    if state.next_offset > end or (is_behind and 0 < state.written_at < time.time() - stale_after_s):
        state.close()
        shutil.rmtree(path)
        state = RocksState(path)
    return state


class RocksState(State):
    """stream.protocol.State. `changes` are of the unit of work and visible to it alone until `apply`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._database: Any = Rdict(str(path), _options())
        except Exception as error:
            raise LogError(f"opening the state in {path} failed: {error}") from error
        self._changes: dict[bytes, dict[bytes, bytes | None]] = {}
        """Head of a table -> key -> value, None when it is deleted."""
        mark = self._database.get(_MARK_KEY)
        self.next_offset = 0 if mark is None else int.from_bytes(mark[:8], "big")
        self.written_at = 0 if mark is None else int.from_bytes(mark[8:], "big")

    def _of_table(self, table: str) -> tuple[bytes, dict[bytes, bytes | None]]:
        head = table.encode() + b"\x00"
        return head, self._changes.setdefault(head, {})

    def get_many(self, table: str, keys: Sequence[bytes]) -> dict[bytes, bytes]:
        head, changed = self._of_table(table)
        found: dict[bytes, bytes] = {}
        unknown: list[bytes] = []
        for key in keys:
            if key in changed:
                value = changed[key]
                if value is not None:
                    found[key] = value
            else:
                unknown.append(key)
        if unknown:
            values = self._database.get([head + key for key in unknown])
            pairs = zip(unknown, values, strict=True)
            found.update((key, value) for key, value in pairs if value is not None)
        return found

    def put_many(self, table: str, items: Iterable[tuple[bytes, bytes]]) -> None:
        self._of_table(table)[1].update(items)

    def delete_many(self, table: str, keys: Iterable[bytes]) -> None:
        self._of_table(table)[1].update(dict.fromkeys(keys))

    def scan(
        self, table: str, start: bytes, end: bytes, limit: int = -1, *, reverse: bool = False
    ) -> Sequence[tuple[bytes, bytes]]:
        head, of_table = self._of_table(table)
        changed = {key: value for key, value in of_table.items() if start <= key < end}
        found: dict[bytes, bytes] = {}
        if start < end:
            first, last = head + start, head + end
            skip = len(head)
            for full, value in self._database.items(backwards=reverse, from_key=last if reverse else first):
                if (full < first) if reverse else (full >= last):
                    break
                key = full[skip:]
                # Backwards begins at `last` itself when there is such a key.
                if full < last and key not in changed:
                    if 0 <= limit <= len(found):
                        break
                    found[key] = value
        found.update((key, value) for key, value in changed.items() if value is not None)
        ordered = sorted(found.items(), reverse=reverse)
        return ordered if limit < 0 else ordered[:limit]

    def changes(self) -> list[tuple[bytes, bytes | None]]:
        """Of the unit of work, as they go on the changelog."""
        return [(head + key, value) for head, of in self._changes.items() for key, value in of.items()]

    def forget_changes(self) -> None:
        self._changes = {}

    def apply(self, changes: Iterable[tuple[bytes, bytes | None]], next_offset: int) -> None:
        """Writes what is on the changelog up to `next_offset`."""
        batch = WriteBatch(raw_mode=True)
        for key, value in changes:
            if value is None:
                batch.delete(key)
            else:
                batch.put(key, value)
        self.written_at = int(time.time())
        batch.put(_MARK_KEY, next_offset.to_bytes(8, "big") + self.written_at.to_bytes(8, "big"))
        # Not synced: after a power cut the copy is at an earlier offset, and goes on from there.
        self._database.write(batch)
        self.next_offset = next_offset

    def compact(self) -> None:
        """Writes the files anew, without what was deleted."""
        self._database.flush()
        self._database.compact_range(None, None)

    def close(self) -> None:
        self._database.close()
