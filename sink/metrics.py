"""What the sink counts, and the same as Prometheus text."""

import threading
from bisect import bisect_left
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

INSERT_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


@dataclass
class SinkMetrics:
    """Counters since the process started. Written by the threads of sinks, read from any."""

    rows: dict[str, int] = field(default_factory=dict)
    batches: dict[str, int] = field(default_factory=dict)
    dead: dict[str, int] = field(default_factory=dict)
    lag: dict[str, int] = field(default_factory=dict)
    """Messages of a topic that are not in the database yet, of the partitions stored here now."""
    retries: int = 0
    insert_seconds: float = 0.0
    insert_buckets: list[int] = field(default_factory=lambda: [0] * (len(INSERT_SECONDS) + 1))
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def inserted(self, table: str, rows: int, seconds: float) -> None:
        with self._lock:
            self.rows[table] = self.rows.get(table, 0) + rows
            self.batches[table] = self.batches.get(table, 0) + 1
            self.insert_seconds += seconds
            self.insert_buckets[bisect_left(INSERT_SECONDS, seconds)] += 1

    def buried(self, table: str, rows: int) -> None:
        with self._lock:
            self.dead[table] = self.dead.get(table, 0) + rows

    def retried(self) -> None:
        with self._lock:
            self.retries += 1

    def lags(self, lag: Mapping[str, int]) -> None:
        with self._lock:
            self.lag = dict(lag)

    def prometheus(self) -> str:
        """The text exposition format, one line per sample."""
        with self._lock:
            return "\n".join(self._lines()) + "\n"

    def _lines(self) -> Iterator[str]:
        for name, kind, meaning, samples in (
            ("rows_total", "counter", "Rows inserted, repetitions included", self.rows),
            ("batches_total", "counter", "Inserts", self.batches),
            ("dead_total", "counter", "Rows that no table takes", self.dead),
            ("lag_messages", "gauge", "Messages that are not in the database yet", self.lag),
        ):
            yield f"# HELP hitstream_sink_{name} {meaning}"
            yield f"# TYPE hitstream_sink_{name} {kind}"
            for table, value in sorted(samples.items()):
                yield f'hitstream_sink_{name}{{table="{table}"}} {value}'
        yield "# HELP hitstream_sink_retries_total Inserts repeated after an error of the database"
        yield "# TYPE hitstream_sink_retries_total counter"
        yield f"hitstream_sink_retries_total {self.retries}"
        yield "# HELP hitstream_sink_insert_seconds Duration of an insert"
        yield "# TYPE hitstream_sink_insert_seconds histogram"
        total = 0
        for bound, count in zip((*INSERT_SECONDS, "+Inf"), self.insert_buckets, strict=True):
            total += count
            yield f'hitstream_sink_insert_seconds_bucket{{le="{bound}"}} {total}'
        yield f"hitstream_sink_insert_seconds_sum {self.insert_seconds:.6f}"
        yield f"hitstream_sink_insert_seconds_count {total}"
