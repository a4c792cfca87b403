"""A database that has no room to start says so, before it writes anything."""

import shutil
from collections import namedtuple
from pathlib import Path

import pytest

from sink.database import ROOM_BYTES, Database

Usage = namedtuple("Usage", "total used free")


def test_a_full_disk_is_told_of_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(1 << 30, 1 << 30, ROOM_BYTES - 1))
    with pytest.raises(OSError, match="63 MiB are free, 64 needed"):
        Database(f"chdb://{tmp_path / 'clickhouse'}", "hitstream_1").open()
    assert list(tmp_path.iterdir()) == []
