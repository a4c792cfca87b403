"""The logs that the contract tests run on; each opens from a text, so that other processes can too."""

import hashlib
import subprocess
import sys
import textwrap
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from stream.embedded import EmbeddedLimits, EmbeddedLog
from stream.protocol import Log
from tests.waiting import PATIENCE_SECONDS

TOPICS = ("hits", "visits", "links", "config", "tokens", "salts")
"""Those of the contract tests: a broker needs a while for the others."""
ROOT = Path(__file__).resolve().parents[2]


def open_log(address: str, partitions: int | None = None) -> Log:
    """`embedded:<directory>`, with small segments so that tests roll them; `kafka:<servers>|<directory>`,
    with topics named after the directory."""
    kind, _, place = address.partition(":")
    if kind == "kafka":
        from stream.kafka import KafkaLog, make_log  # an optional dependency
        from stream.kafka_client import Connection
        from stream.kafka_topics import TopicPlan

        servers, _, directory = place.partition("|")
        prefix = prefix_of(directory)
        # So that a test need not wait ten seconds until the group gives up a member.
        connection = Connection(servers, {"session.timeout.ms": "6000", "heartbeat.interval.ms": "500"})
        if not Path(directory).exists():
            make_log(connection, prefix, TopicPlan(partitions=partitions or 4), TOPICS)
        return KafkaLog(connection, Path(directory), partitions, prefix=prefix, topics=TOPICS)
    if kind != "embedded":
        raise ValueError(address)
    limits = EmbeddedLimits(segment_bytes=256 << 10, hits_retention=timedelta(0))
    return EmbeddedLog(Path(place), partitions, limits)


def prefix_of(directory: str) -> str:
    """Of the topics of the log with this directory."""
    return "t" + hashlib.sha256(directory.encode()).hexdigest()[:16]


@dataclass
class Backend:
    address: str

    @property
    def appends_whole_groups(self) -> bool:
        """Whether an append that was killed leaves all or nothing; elsewhere it may leave some."""
        return self.address.startswith("embedded:")

    def open(self, partitions: int | None = 4) -> Log:
        return open_log(self.address, partitions)

    def start(self, script: str) -> subprocess.Popen[str]:
        """Another process that runs `script` with `log` open."""
        head = f"""
            import os, sys, time
            from tests.contract.backends import open_log
            log = open_log({self.address!r})
        """
        return subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(head) + textwrap.dedent(script)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, script: str) -> str:
        """What the other process printed; fails when it failed; killing itself is no failure."""
        out, err = self.start(script).communicate(timeout=PATIENCE_SECONDS)
        assert "Traceback" not in err, err
        return out
