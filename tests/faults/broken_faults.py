"""Stages that commit in the wrong order on purpose (tests.faults.broken_order): comparisons must see it."""

import time
from pathlib import Path

from tests.faults import points, test_kafka_faults, test_kills
from tests.faults.instance import differences
from tests.faults.report import Report
from tests.kafka.broker import JavaBroker

ORDERS = {"input offsets before outputs": "processor", "ledger before rows": "database"}


def break_orders(
    backend: points.Backend,
    report: Report,
    directory: Path,
    rounds: int,
    _seed: int,
    broker: JavaBroker | None = None,
) -> None:
    """Fails when a kill between the two steps shows no difference. Once each: it is the same every time."""
    del rounds
    report.expect(backend, "broken order", list(ORDERS), 1, needs_lag=False)
    expected, _ = test_kills.run(directory / "undisturbed", {})
    for name, process in ORDERS.items():
        began = time.monotonic()
        crash_at, modules = {process: "broken.between:3"}, test_kills.broken(process)
        if broker is None:
            tables, instance = test_kills.run(directory / process, crash_at, modules)
        else:
            instance = test_kafka_faults.started(broker.address, directory / process, crash_at, modules)
            tables = test_kafka_faults.finished(instance)
        found = differences(tables, expected)
        lag = max(instance.lag_at_death, default=0)
        report.fault(backend, "broken order", name, lag, time.monotonic() - began)
        report.caught(backend, "broken order", name, found)
