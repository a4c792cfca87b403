"""What a processor tells Prometheus."""

from hitstream.exposition import Family, exposition, one
from processors.processor import Counts
from processors.service import ProcessorService


class ProcessorMetrics:
    """Of a process: each epoch of the log has a service, and all of them count on."""

    def __init__(self) -> None:
        self.counts = Counts()
        self.service: ProcessorService | None = None

    def problem(self) -> str:
        """Why nothing is processed now."""
        service = self.service
        return service.problem if service else "the log is not open yet"

    def text(self) -> str:
        works = one(
            "hitstream_processor_works", "gauge", "1 when units are committed, else 0.", not self.problem()
        )
        counts = self.counts
        outcomes = [
            ({"outcome": outcome, "reason": reason}, float(count))
            for (outcome, reason), count in sorted(counts.outcomes.copy().items())
        ]
        return exposition(
            [
                works,
                one("hitstream_processor_hits_total", "counter", "Hits processed.", counts.hits),
                one("hitstream_processor_units_total", "counter", "Units of work committed.", counts.units),
                one("hitstream_processor_refolds_total", "counter", "Owners folded anew.", counts.refolds),
                one(
                    "hitstream_processor_repairs_total",
                    "counter",
                    "Owners folded anew from raw hits.",
                    counts.repairs,
                ),
                Family("hitstream_processor_outcomes_total", "counter", "What became of the hits.", outcomes),
            ]
        )
