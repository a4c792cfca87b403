"""Whether a text is left on disk: in files, in values of SQLite and RocksDB, in tables, on a broker."""

import json
import os
import sqlite3
import subprocess
import sys
from pathlib import Path

from tests.instance import RunningInstance


def files_with(directory: Path, text: bytes) -> list[str]:
    found = []
    for root, _, names in os.walk(directory):
        for name in names:
            path = Path(root) / name
            try:
                if path.is_file() and text in path.read_bytes():
                    found.append(str(path.relative_to(directory)))
            except FileNotFoundError:
                continue  # went meanwhile
    return found


def states_with(directory: Path, text: bytes) -> list[str]:
    """Copies of a stopped instance's state that hold the text; their files may be compressed."""
    found = []
    for path in {current.parent for current in directory.rglob("CURRENT")}:
        from rocksdict import AccessType, Options, Rdict  # an optional dependency

        state = Rdict(str(path), Options(raw_mode=True), access_type=AccessType.read_only())
        if any(text in key or text in value for key, value in state.items()):
            found.append(path.name)
        state.close()
    return found


class BrokerFiles:
    """What an instance has on a broker, in files that can be searched: uncompressed, and soon in new ones."""

    def __init__(self, instance: RunningInstance, directory: Path) -> None:
        self._directory = directory
        self._prefix = instance.environment["HITSTREAM_KAFKA_PREFIX"]
        from confluent_kafka.admin import AdminClient  # an optional dependency

        self._admin = AdminClient({"bootstrap.servers": instance.environment["HITSTREAM_KAFKA"]})

    def write_plainly(self) -> None:
        """For the topics that are there now: a file is full after a second, and compacted after another."""
        from confluent_kafka.admin import (
            AlterConfigOpType,
            ConfigEntry,
            ConfigResource,
            ResourceType,
        )

        wanted = {
            "compression.type": "uncompressed", "segment.ms": "1000", "min.compaction.lag.ms": "0",
            "max.compaction.lag.ms": "1000", "delete.retention.ms": "1000",
        }  # fmt: skip
        entries = [
            ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET)
            for name, value in wanted.items()
        ]
        topics = [
            name for name in self._admin.list_topics(timeout=30).topics if name.startswith(self._prefix)
        ]
        asked = self._admin.incremental_alter_configs(
            [ConfigResource(ResourceType.TOPIC, name, incremental_configs=entries) for name in topics]
        )
        for one in asked.values():
            one.result()

    def with_text(self, text: bytes) -> list[str]:
        return [name for name in files_with(self._directory, text) if name.startswith(self._prefix)]


def frames_with(directory: Path, text: bytes) -> list[str]:
    """SQLite values that hold the text, told by table."""
    found = []
    for path in directory.rglob("*.sqlite"):
        connection = sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)
        for (table,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'").fetchall():
            rows = connection.execute(f"SELECT * FROM {table}")
            if any(text in (v if isinstance(v, bytes) else str(v).encode()) for row in rows for v in row):
                found.append(f"{path.name} {table}")
        connection.close()
    return found


def parts_on_disk(data_dir: Path) -> set[str]:
    """Directories of parts, which have columns.txt; compressed, so a search for text does not see inside."""
    return {str(path.parent) for path in (data_dir / "clickhouse").rglob("columns.txt")}


def database_has(data_dir: Path, text: str) -> list[str]:
    """Tables of a stopped instance with the text in any version of any row, and no part is on disk that the
    search did not see."""
    directory = (data_dir / "clickhouse").resolve()
    done = subprocess.run(
        [sys.executable, "-m", "tests.database_texts", str(directory), text],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    ignored = {str(Path(path).resolve()) for path in found["numbers_only"]}
    seen = {str(Path(part).resolve()) for part in found["parts"]}
    unseen = parts_on_disk(data_dir.resolve()) - seen
    assert {part for part in unseen if str(Path(part).parent) not in ignored} == set()
    return list(found["tables"])


_REMOVE = """
import sys, clickhouse_connect
client = clickhouse_connect.get_client(dsn=f"chdb://{sys.argv[1]}")
tables = "SELECT database FROM system.tables WHERE name = 'hits' AND engine LIKE '%MergeTree%'"
for (name,) in client.query(tables).result_rows:
    where = f"time < '{sys.argv[2]}' SETTINGS mutations_sync = 2"
    client.command(f"ALTER TABLE `{name}`.hits DELETE WHERE {where}")
"""


def remove_raw_hits(data_dir: Path, before: str) -> None:
    """What the lifetime of raw hits does to a stopped instance's table; `before`: an event time."""
    directory = (data_dir / "clickhouse").resolve()
    done = subprocess.run(
        [sys.executable, "-c", _REMOVE, str(directory), before], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
