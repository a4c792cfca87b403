"""What was done to which stage and what came of it: the table that `make faults` prints."""

import json
import statistics
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class FaultRow:
    """One kind of fault: a row of the table."""

    backend: str
    stage: str
    point: str
    wanted: int
    needs_lag: bool
    """Whether there must have been work in flight each time."""
    lags: list[int] = field(default_factory=list)
    """Of each fault what was accepted and not done: hits, rows or requests."""
    differences: int = 0
    """Tables that were not as in the undisturbed run, at comparisons after faults of this row."""
    seconds: float = 0.0
    compared: int = 0
    """How many of the faults a comparison followed."""

    @property
    def problems(self) -> list[str]:
        name = f"{self.backend} {self.stage} {self.point}"
        found = []
        if len(self.lags) < self.wanted:
            found.append(f"{name}: happened {len(self.lags)} times, expected {self.wanted}")
        if self.needs_lag and self.lags and min(self.lags) == 0:
            found.append(f"{name}: {self.lags.count(0)} times nothing was in flight")
        if self.compared < len(self.lags):
            found.append(f"{name}: no comparison followed {len(self.lags) - self.compared} faults")
        return found


class Report:
    """Gathers faults and comparisons from several threads, and says its progress."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.rows: dict[tuple[str, str, str], FaultRow] = {}
        self.differences: list[str] = []
        self.failures: list[str] = []
        self.ended: dict[str, int] = {}
        """By part: processes that ended with an error by themselves, and were started again."""
        self._began = time.monotonic()
        self._lock = threading.Lock()

    def expect(
        self, backend: str, stage: str, points: Sequence[str], wanted: int, *, needs_lag: bool = True
    ) -> None:
        """That each of the points is hit so often; the order of calls is that of the table."""
        for point in points:
            key = (backend, stage, point)
            self.rows.setdefault(key, FaultRow(backend, stage, point, wanted, needs_lag))

    def fault(self, backend: str, stage: str, point: str, lag: int, seconds: float) -> None:
        with self._lock:
            row = self.rows[backend, stage, point]
            row.lags.append(lag)
            row.seconds += seconds
        self.say(f"{backend:<9} {stage} {point}: {lag} in flight, {seconds:.1f} s")

    def compared(self, backend: str, stages: Sequence[str], what: str, found: Sequence[str]) -> None:
        """The result of a comparison, for all faults of these stages since the last one."""
        with self._lock:
            for row in self.rows.values():
                if row.backend == backend and row.stage in stages and row.compared < len(row.lags):
                    row.compared = len(row.lags)
                    row.differences += len(found)
            self.differences += [f"{backend} {what}: {line}" for line in found]
        self.say(f"{backend:<9} {what}: {len(found) or 'no'} differences")
        for line in found:
            self.say(f"  {line}")

    def caught(self, backend: str, stage: str, point: str, found: Sequence[str]) -> None:
        """The comparison after a fault that must be noticed."""
        row = self.rows[backend, stage, point]
        row.compared, row.differences = len(row.lags), len(found)
        if found:
            self.say(f"{backend:<9} {stage} {point}: noticed, {found[0][:90]}")
        else:
            self.fail(f"{backend} {stage} {point}: no difference was noticed")

    def fail(self, what: str) -> None:
        """A part of the run did not get to its end."""
        with self._lock:
            self.failures.append(what)
        self.say(f"FAILED: {what}")

    def say(self, text: str) -> None:
        print(f"{time.monotonic() - self._began:7.1f} {text}", flush=True)

    @property
    def faults(self) -> int:
        return sum(len(row.lags) for row in self.rows.values())

    @property
    def problems(self) -> list[str]:
        return [
            *self.failures,
            *self.differences,
            *(problem for row in self.rows.values() for problem in row.problems),
        ]

    def table(self) -> str:
        head = ("backend", "stage", "point", "faults", "lag min", "median", "diff.", "seconds")
        lines = [
            (
                row.backend,
                row.stage,
                row.point,
                str(len(row.lags)),
                str(min(row.lags, default=0)),
                f"{statistics.median(row.lags or [0]):.0f}",
                str(row.differences),
                f"{row.seconds:.0f}",
            )
            for row in self.rows.values()
        ]
        widths = [max(len(line[place]) for line in (head, *lines)) for place in range(len(head))]
        return "\n".join(
            "  ".join(
                text.ljust(width) if place < 3 else text.rjust(width)
                for place, (text, width) in enumerate(zip(line, widths, strict=True))
            ).rstrip()
            for line in (head, *lines)
        )

    def summary(self) -> str:
        return (
            f"{self.faults} faults, {len(self.differences)} differences,"
            f" {sum(self.ended.values())} processes that failed by themselves,"
            f" {time.monotonic() - self._began:.0f} s (seed {self.seed})"
        )

    def save(self, path: Path) -> None:
        path.write_text(
            json.dumps(
                {
                    "seed": self.seed,
                    "seconds": round(time.monotonic() - self._began, 1),
                    "faults": self.faults,
                    "failed_by_themselves": self.ended,
                    "differences": self.differences,
                    "problems": self.problems,
                    "rows": [
                        {
                            "backend": row.backend,
                            "stage": row.stage,
                            "point": row.point,
                            "faults": len(row.lags),
                            "lags": row.lags,
                            "differences": row.differences,
                            "seconds": round(row.seconds, 1),
                        }
                        for row in self.rows.values()
                    ],
                },
                indent=1,
            )
        )
