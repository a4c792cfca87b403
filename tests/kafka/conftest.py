"""Fixtures of tests with a broker and a ClickHouse server."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.clickhouse_http import running_clickhouse
from tests.kafka.test_rollup_workers import Workers


@pytest.fixture
def workers(tmp_path: Path, kafka: str) -> Iterator[Workers]:
    with running_clickhouse(tmp_path / "clickhouse") as server:
        started = Workers(tmp_path, kafka, server, f"rollups{time.time_ns()}")
        started.command("topics")
        yield started
        started.kill()
