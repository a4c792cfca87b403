"""What consumers outside of groups (sink, ingest's start) still need: one small file per consumer."""

import json
import os
from collections.abc import Mapping
from pathlib import Path

from stream.protocol import TopicPartition
from stream.sqlite_files import write_small_file


def release(directory: Path, consumer: str, positions: Mapping[TopicPartition, int]) -> None:
    """Merges positions into the consumer's file; they only grow. Not synced: an older file, or none, deletes
    less."""
    path = directory / f"{consumer}.json"
    merged = read_positions(path)
    for at, offset in positions.items():
        merged[at] = max(offset, merged.get(at, 0))
    nested: dict[str, dict[str, int]] = {}
    for at, offset in merged.items():
        nested.setdefault(at.topic, {})[str(at.partition)] = offset
    write_small_file(path, json.dumps(nested).encode(), durable=False)


def read_positions(path: Path) -> dict[TopicPartition, int]:
    try:
        nested = json.loads(path.read_bytes())
    except FileNotFoundError:
        return {}
    except ValueError:  # cut short by a power failure
        return {}
    return {
        TopicPartition(topic, int(partition)): offset
        for topic, offsets in nested.items()
        for partition, offset in offsets.items()
    }


def all_positions(directory: Path) -> list[dict[TopicPartition, int]]:
    names = [name for name in os.listdir(directory) if name.endswith(".json") and not name.startswith(".")]
    return [read_positions(directory / name) for name in names]
