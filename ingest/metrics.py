"""Counters of the ingest process, and their text for Prometheus."""

from bisect import bisect_left
from collections import Counter
from collections.abc import Mapping

BUCKETS_S = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)


class Histogram:
    """Durations in seconds, counted in buckets."""

    def __init__(self) -> None:
        self._counts = [0] * (len(BUCKETS_S) + 1)
        self._sum = 0.0

    def observe(self, seconds: float) -> None:
        self._counts[bisect_left(BUCKETS_S, seconds)] += 1
        self._sum += seconds

    def lines(self, name: str) -> list[str]:
        total = 0
        lines = []
        for bound, count in zip((*BUCKETS_S, "+Inf"), self._counts, strict=True):
            total += count
            lines.append(f'{name}_bucket{{le="{bound}"}} {total}')
        return [*lines, f"{name}_sum {self._sum:.6f}", f"{name}_count {total}"]


class Metrics:
    """Totals since the process started."""

    def __init__(self) -> None:
        self.accepted = 0
        """Hits that the log has."""
        self.excluded: Counter[str] = Counter()
        """Of these, those that ingest already knew to be excluded, by reason."""
        self.rejected: Counter[str] = Counter()
        """Requests answered with an error and not written, by reason."""
        self.bulk_requests = 0
        self.append_failures = 0
        self.append_seconds = Histogram()
        self.append_hits = 0
        self.cut_connections = 0

    def text(self, gauges: Mapping[str, tuple[str, float]], log_bytes: Mapping[str, int]) -> str:
        """Prometheus text; `gauges` are name -> (help, value)."""
        lines = [
            "# HELP hitstream_ingest_accepted_hits_total Hits written to the log.",
            "# TYPE hitstream_ingest_accepted_hits_total counter",
            f"hitstream_ingest_accepted_hits_total {self.accepted}",
            "# HELP hitstream_ingest_excluded_hits_total Accepted hits that ingest knew to be excluded.",
            "# TYPE hitstream_ingest_excluded_hits_total counter",
            *_by_reason("hitstream_ingest_excluded_hits_total", self.excluded),
            "# HELP hitstream_ingest_rejected_requests_total Tracking requests not written, by reason.",
            "# TYPE hitstream_ingest_rejected_requests_total counter",
            *_by_reason("hitstream_ingest_rejected_requests_total", self.rejected),
            "# HELP hitstream_ingest_bulk_requests_total Bulk bodies received.",
            "# TYPE hitstream_ingest_bulk_requests_total counter",
            f"hitstream_ingest_bulk_requests_total {self.bulk_requests}",
            "# HELP hitstream_ingest_append_failures_total Groups of hits that the log refused.",
            "# TYPE hitstream_ingest_append_failures_total counter",
            f"hitstream_ingest_append_failures_total {self.append_failures}",
            "# HELP hitstream_ingest_cut_connections_total Connections cut for being slow or too many.",
            "# TYPE hitstream_ingest_cut_connections_total counter",
            f"hitstream_ingest_cut_connections_total {self.cut_connections}",
            "# HELP hitstream_ingest_append_seconds Time of one append to the log.",
            "# TYPE hitstream_ingest_append_seconds histogram",
            *self.append_seconds.lines("hitstream_ingest_append_seconds"),
        ]
        for name, (meaning, value) in gauges.items():
            lines += [f"# HELP {name} {meaning}", f"# TYPE {name} gauge", f"{name} {value:g}"]
        if log_bytes:
            lines += [
                "# HELP hitstream_log_bytes Size of the log's files.",
                "# TYPE hitstream_log_bytes gauge",
                *(f'hitstream_log_bytes{{part="{part}"}} {size}' for part, size in sorted(log_bytes.items())),
            ]
        return "\n".join(lines) + "\n"


def _by_reason(name: str, counts: Mapping[str, int]) -> list[str]:
    return [f'{name}{{reason="{reason}"}} {count}' for reason, count in sorted(counts.items())]
