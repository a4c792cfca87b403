"""The database process dies while it archives and drops the rows of an old month.

Rows and reports then equal those of an instance that dropped the same months undisturbed."""

import json
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

from sink.retention import ROW_TABLES
from tests.clickhouse_http import running_clickhouse
from tests.faults import points
from tests.faults.fed_instance import FedInstance, Script, closing, feeding
from tests.faults.instance import PARTITIONS, TOKEN, differences
from tests.faults.report import Report
from tests.faults.stream_faults import first_events
from tests.faults.test_kafka_faults import new_log
from tests.faults.traffic import Traffic
from tests.kafka.broker import JavaBroker

PORTION = 50
HITS_PER_MONTH = 150
GONE_SECONDS = 180.0
REPORTS = ("VisitsSummary.get", "Actions.getPageUrls", "Goals.get", "Referrers.getAll")


def months_before(today: date, count: int) -> list[date]:
    """First days of as many months before this one, the oldest first; the last one is left out, since it may
    hold what came yesterday."""
    months = []
    first = today.replace(day=1)
    for _ in range(count + 1):
        first = (first - timedelta(days=1)).replace(day=1)
        months.append(first)
    return months[:0:-1]


def kill_retention(
    backend: points.Backend,
    report: Report,
    directory: Path,
    rounds: int,
    seed: int,
    broker: JavaBroker | None = None,
) -> None:
    report.expect(backend, "retention", points.RETENTION, rounds)
    # Hits of months whose rows are gone make no rows, or some that go: when they come decides.
    traffic = Traffic(seed, int(time.time()), PARTITIONS, very_late=0.0)
    today = datetime.now(UTC).date()
    months = months_before(today, rounds)
    with ExitStack() as stack:
        server, environment = None, dict[str, str]()
        if broker is not None:
            server = stack.enter_context(running_clickhouse(directory / "server"))
            environment = new_log(broker.address, directory / "disturbed", session_ms=6000)
        environment["HITSTREAM_KEEP_HITS_DAYS"] = "0"  # else their own lifetime decides what a refold finds
        one = FedInstance(directory / "disturbed", first_events(), environment, server)
        stack.enter_context(closing(one))
        other = FedInstance(directory / "undisturbed", first_events(), {"HITSTREAM_KEEP_HITS_DAYS": "0"})
        stack.enter_context(closing(other))
        script = Script(one)
        for instance in (one, other):
            instance.start("database")
            instance.start("processor")
        for month in months:
            noon = int(datetime(month.year, month.month, 3, 12, tzinfo=UTC).timestamp())
            hits = traffic.history(HITS_PER_MONTH, noon)
            script.do(lambda to, hits=hits: to.feed(hits))
        script.do_again(other)
        for instance in (one, other):
            instance.settle()

        def feed() -> None:
            portion = traffic.portion(PORTION, one.config_end())
            script.do(lambda to: to.feed(portion))

        for month in months:
            before = (month + timedelta(days=32)).replace(day=1)
            days = str((today - before).days)
            for point in points.RETENTION:
                began = time.monotonic()
                one.instance.kill("database")
                one.instance.environment["HITSTREAM_KEEP_ROWS_DAYS"] = days
                feed()
                one.start("database", point)
                with feeding(one, feed):
                    one.wait_for_death("database", feed)
                    pending = one.pending()
                report.fault(backend, "retention", point, pending, time.monotonic() - began)
                one.start("database")
            _drop_undisturbed(other, days)
            for instance in (one, other):
                _wait_until_gone(instance, before)
        script.do_again(other)
        for instance in (one, other):
            instance.settle()
        if not any(_report(other, "VisitsSummary.get", month)["nb_visits"] for month in months):
            raise AssertionError("the months that were dropped have no visits in their archives")
        wrong = [
            f"{method} of {month:%Y-%m} is another"
            for month in months
            for method in REPORTS
            if _report(one, method, month) != _report(other, method, month)
        ]
        wrong += differences(_kept(one.tables(), before), _kept(other.tables(), before))
        report.compared(backend, ("retention",), f"{rounds} months dropped", wrong)


def _kept(tables: Mapping[str, Sequence[str]], before: date) -> dict[str, Sequence[str]]:
    """Without rows that late hits made of dropped months since: those go in the hour after."""
    return {
        table: [row for row in rows if table not in ROW_TABLES or json.loads(row)[1] >= before.isoformat()]
        for table, rows in tables.items()
    }


def _drop_undisturbed(instance: FedInstance, days: str) -> None:
    instance.instance.environment["HITSTREAM_KEEP_ROWS_DAYS"] = days
    instance.instance.remove("database")
    instance.start("database")


def _wait_until_gone(instance: FedInstance, before: date) -> None:
    deadline = time.monotonic() + GONE_SECONDS
    while f"rows before {before} are gone" not in instance.instance.output():
        if time.monotonic() > deadline:
            raise AssertionError(f"the rows before {before} stay:\n{instance.instance.output()[-3000:]}")
        time.sleep(0.05)


def _report(instance: FedInstance, method: str, month: date) -> Any:
    fields = {
        "module": "API", "format": "json", "method": method, "token_auth": TOKEN, "idSite": "1",
        "period": "month", "date": month.isoformat(), "filter_limit": "-1",
    }  # fmt: skip
    return instance.instance.ask("/index.php", fields)
