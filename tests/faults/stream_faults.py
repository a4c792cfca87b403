"""Processors and database process die, again and again, while hits, edits, replays and deletions come.

One instance lives through all faults of a backend. Each round is a comparison: what was done to it is done to
a second one that nobody disturbs, and then all tables of both are equal."""

import random
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from schemas.config import ConfigEvent, Dimension
from tests.builders import config_events
from tests.clickhouse_http import Fault, running_clickhouse
from tests.faults import points
from tests.faults.fed_instance import FedInstance, Script, closing, feeding
from tests.faults.instance import PARTITIONS, differences, tallied
from tests.faults.report import Report
from tests.faults.test_kafka_faults import new_log
from tests.faults.traffic import GOALS, SITE, Entries, Traffic
from tests.kafka.broker import JavaBroker

PORTION = 240
DROPS = 25
HISTORY = 1500
DOOMED_OWNER = 70_000
STAGES = (
    "processor", "processors", "sink", "replay", "erasure", "database", "delivery", "broker", "clickhouse",
)  # fmt: skip
FAULT_SECONDS = 180.0
_EAGER = "tests.faults.eager"
# A unit of work and a flush are small, so that each portion is several of them.
_SMALL = {
    "HITSTREAM_PROCESS_BATCH": "80",
    "HITSTREAM_SINK_FLUSH_ROWS": "1000",
    "HITSTREAM_SINK_FLUSH_SECONDS": "0.3",
    "HITSTREAM_SINK_HITS_FLUSH_SECONDS": "1.5",
}

SERVER_FAULTS: tuple[tuple[str, Fault], ...] = (
    ("timeout after the insert", Fault("INSERT INTO actions", "hang")),
    ("timeout after the insert of raw hits", Fault("INSERT INTO hits", "hang")),
    ("timeout after the ledger", Fault("INSERT INTO sink_offsets", "hang")),
    ("connection lost after the insert", Fault("INSERT INTO visits", "drop", times=3)),
    ("same batch inserted twice", Fault("INSERT INTO actions", "drop")),
    ("connection lost after the ledger", Fault("INSERT INTO sink_offsets", "drop", times=3)),
    ("between two months of actions", Fault("INSERT INTO actions", "half", times=3)),
    ("between two months of raw hits", Fault("INSERT INTO hits", "half", times=3)),
    ("insert refused", Fault("INSERT INTO tallies", "refuse", times=2)),
)
SERVER_KILLED = "server killed and started"
MEMBERS = ("one added", "one of two killed", "one removed")
TWICE = "the same hits twice"
BROKER_KILLED = "killed and started"
ANY_MOMENT = "any moment"


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Which faults of a backend: those of a round."""

    backend: points.Backend
    rounds: int = 5
    processor: Sequence[str] = ()
    sink: Sequence[str] = ()
    replay: Sequence[str] = ()
    erasure: Sequence[str] = ()
    server: Sequence[tuple[str, Fault]] = ()
    """Faults of a ClickHouse server; without any the tables are in chDB, unless it is on Kafka."""
    members: bool = False
    twice: bool = False
    broker: bool = False

    @property
    def name(self) -> str:
        return f"{self.backend}, ClickHouse server" if self.has_server else self.backend

    @property
    def has_server(self) -> bool:
        return bool(self.server) or self.backend == "kafka"


def whole_plan(backend: points.Backend, rounds: int) -> Plan:
    return Plan(
        backend=backend,
        rounds=rounds,
        processor=points.of_processor(backend),
        sink=points.SINK,
        replay=points.REPLAY,
        erasure=points.ERASURE,
        server=SERVER_FAULTS if backend == "kafka" else (),
        members=True,
        twice=True,
        broker=backend == "kafka",
    )


def server_plan(backend: points.Backend, rounds: int) -> Plan:
    """What a ClickHouse server does to the sink, and nothing else."""
    return Plan(backend=backend, rounds=rounds, server=SERVER_FAULTS)


def first_events() -> list[ConfigEvent]:
    events = config_events(goals=GOALS, **SITE)
    dimension = Dimension(site_id=1, dimension_id=1, index=1, scope="visit", name="kind")
    return [*events, ConfigEvent(at=0, dimension=dimension)]


class StreamFaults:
    """The faults of a plan, one round after the other. `broker` is killed where the plan says so."""

    def __init__(
        self, plan: Plan, report: Report, directory: Path, seed: int, broker: JavaBroker | None = None
    ) -> None:
        self._plan, self._report, self._directory = plan, report, directory
        self._broker = broker
        self._rng = random.Random(seed)
        self._traffic = Traffic(seed, int(time.time()), PARTITIONS)
        self._traffic_mutex = threading.Lock()
        self._edits = 0
        self._doomed: list[tuple[int, int]] = []
        """Owner and visit, to be deleted in the next round."""
        self._extra = 0
        """Messages that only the disturbed instance got."""
        self._line_error: BaseException | None = None
        backend, rounds = plan.backend, plan.rounds
        report.expect(backend, "processor", plan.processor, rounds)
        report.expect(backend, "sink", plan.sink, rounds)
        report.expect(backend, "replay", plan.replay, rounds)
        report.expect(backend, "erasure", plan.erasure, rounds)
        if plan.replay:
            report.expect(backend, "database", [ANY_MOMENT], rounds)
        if plan.members:
            report.expect(backend, "processors", MEMBERS, rounds)
        if plan.twice:
            report.expect(backend, "delivery", [TWICE], rounds)
        if plan.broker:
            report.expect(backend, "broker", [BROKER_KILLED], rounds)
        if plan.server:
            report.expect(backend, "clickhouse", [name for name, _ in plan.server], rounds)
            report.expect(backend, "clickhouse", [SERVER_KILLED], rounds)

    def run(self) -> None:
        plan = self._plan
        with ExitStack() as stack:
            server = None
            if plan.has_server:
                server = stack.enter_context(running_clickhouse(self._directory / "server"))
            environment = dict(_SMALL)
            if plan.backend == "kafka":
                assert self._broker is not None
                environment |= new_log(self._broker.address, self._directory / "disturbed", session_ms=6000)
            modules = {"processor": _EAGER}
            events = first_events()
            one = FedInstance(self._directory / "disturbed", events, environment, server, modules)
            stack.enter_context(closing(one))
            other = FedInstance(self._directory / "undisturbed", events, modules=modules)
            stack.enter_context(closing(other))
            self._one, self._server, self._script = one, server, Script(one)
            self._begin(other)
            for number in range(1, plan.rounds + 1):
                self._round(number, other)

    def _begin(self, other: FedInstance) -> None:
        for instance in (self._one, other):
            instance.start("database")
            instance.start("processor")
        history = self._traffic.history(HISTORY)
        self._script.do(lambda to: to.feed(history))
        self._doom(1)
        self._compare("before all faults", other)

    def _round(self, number: int, other: FedInstance) -> None:
        plan = self._plan
        doomed, self._doomed = self._doomed, []
        self._doom(number + 1)
        lines = [
            threading.Thread(target=self._line, args=(work, number, *given))
            for work, given in (
                (self._kill_processors, ()),
                (self._kill_database, (doomed,)),
            )
        ]
        for line in lines:
            line.start()
        for line in lines:
            line.join()
        if self._line_error is not None:
            raise self._line_error
        if plan.members:
            self._change_members()
        if plan.twice:
            self._deliver_twice()
        if plan.broker:
            self._kill_broker()
        if plan.server:
            self._disturb_server()
        self._compare(f"round {number} of {plan.rounds}", other)

    def _line(self, work: Callable[..., None], *given: object) -> None:
        try:
            work(*given)
        except BaseException as error:  # told by the thread that waits
            self._line_error = error

    # -- what comes ------------------------------------------------------------------------------------

    def _feed(self, size: int = PORTION) -> None:
        with self._traffic_mutex:
            entries = self._traffic.portion(size, self._one.config_end())
            self._script.do(lambda to: to.feed(entries))

    def _doom(self, number: int) -> None:
        """Visits that are deleted in that round."""
        for place in range(len(self._plan.erasure)):
            owner = DOOMED_OWNER + 100 * number + place
            with self._traffic_mutex:
                visit, entries = self._traffic.visit_of(owner, 4)
                self._script.do(lambda to, entries=entries: to.feed(entries))
            self._doomed.append((owner, visit))

    def _edit(self) -> None:
        """A goal, a dimension or what is excluded: the hits after it follow it, those before do not."""
        self._edits += 1
        number = self._edits
        match number % 3:
            case 1:
                fields = {
                    "idSite": "1", "name": f"shop {number}", "matchAttribute": "url",
                    "pattern": f"shop/{number % 9 + 1}", "patternType": "contains", "revenue": str(number),
                }  # fmt: skip
                self._script.do(lambda to: to.call("Goals.addGoal", fields))
            case 2:
                named = {
                    "idSite": "1", "idDimension": "1", "name": f"kind {number}",
                    "active": str(number % 2),
                }  # fmt: skip
                method = "CustomDimensions.configureExistingCustomDimension"
                self._script.do(lambda to: to.call(method, named))
            case _:
                excluded = {"tracking": f'{{"exclude_requests": "e_a==play{number}"}}'}
                self._script.do(lambda to: to.configure("/hitstream/configure", excluded))

    # -- kills at named points -------------------------------------------------------------------------

    def _kill_processors(self, number: int) -> None:
        if not self._plan.processor:
            return
        one = self._one
        one.instance.remove("processor")
        for point in self._plan.processor:
            began = time.monotonic()
            self._feed()
            # Of a repair there is not always a second one.
            passage = 1 if point == "processor.repaired" else 1 + number % 2
            one.start("processor", f"{point}:{passage}")
            one.wait_for_death("processor", self._feed)
            self._report.fault(self._plan.backend, "processor", point, one.lag(), time.monotonic() - began)
        one.start("processor")

    def _kill_database(self, _number: int, doomed: Sequence[tuple[int, int]]) -> None:
        plan, one = self._plan, self._one
        stages = (("sink", plan.sink), ("replay", plan.replay), ("erasure", plan.erasure))
        faults = [(stage, place, point) for stage, named in stages for place, point in enumerate(named)]
        for stage, place, point in faults:
            began = time.monotonic()
            if one.instance.status("database") is None:
                self._kill_at_any_moment()
            if stage == "replay":
                one.start("database")
                self._edit()
                self._kill_at_any_moment()
            self._feed()
            one.start("database", point)
            one.died_early = None
            with feeding(one, lambda: self._feed(DROPS)):
                if stage == "replay":
                    self._script.do(FedInstance.replay)
                elif stage == "erasure":
                    owner, visit = doomed[place]
                    self._script.do(lambda to, owner=owner, visit=visit: to.erase(1, owner, visit))
                if one.died_early is None:
                    one.wait_for_death("database", self._feed)
                pending = one.died_early if one.died_early is not None else one.pending()
            self._report.fault(plan.backend, stage, point, pending, time.monotonic() - began)
        if faults and one.instance.status("database") is not None:
            one.start("database")

    def _kill_at_any_moment(self) -> None:
        self._feed()
        pending = self._one.pending()
        self._one.instance.kill("database")
        self._report.fault(self._plan.backend, "database", ANY_MOMENT, pending, 0.0)

    # -- other faults ----------------------------------------------------------------------------------

    def _change_members(self) -> None:
        """A second processor comes, the first one is killed, the second one goes. On the embedded log each
        has partitions of its own, so that a change is a new start of both."""
        one, instance, backend = self._one, self._one.instance, self._plan.backend
        shares = {"processor1": ("--partitions", "0-1"), "processor2": ("--partitions", "2-3")}
        began = time.monotonic()
        self._feed()
        if backend == "embedded":
            instance.remove("processor")
            instance.arguments.update(shares)
            self._feed()
            one.start("processor1")
        one.start("processor2")
        self._report.fault(backend, "processors", MEMBERS[0], one.lag(), time.monotonic() - began)

        began = time.monotonic()
        self._wait_for_progress()
        self._feed()
        first = "processor1" if backend == "embedded" else "processor"
        instance.kill(first)
        self._report.fault(backend, "processors", MEMBERS[1], one.lag(), time.monotonic() - began)
        one.start(first)

        began = time.monotonic()
        self._wait_for_progress()
        self._feed()
        lag = one.lag()
        instance.remove("processor2")
        if backend == "embedded":
            instance.remove("processor1")
            one.start("processor")
        self._report.fault(backend, "processors", MEMBERS[2], lag, time.monotonic() - began)

    def _wait_for_progress(self) -> None:
        """Until the processors have consumed something."""
        before = self._one.lag()
        deadline = time.monotonic() + FAULT_SECONDS
        while self._one.lag() >= before > 0:
            if time.monotonic() > deadline:
                raise AssertionError(f"nothing was consumed in {FAULT_SECONDS:.0f} s")
            time.sleep(0.02)

    def _deliver_twice(self) -> None:
        """Every hit of a portion is on the log twice, as a forwarder leaves it that was not told of success.

        The message that is no hit comes once: its like can't be known."""
        began = time.monotonic()
        with self._traffic_mutex:
            entries = self._traffic.portion(PORTION, self._one.config_end())
            again: Entries = [entry for entry in entries if entry[1]]
            self._extra += len(again)
            self._script.do(lambda to: to.feed([*entries, *again]), lambda to: to.feed(entries))
        lag = self._one.lag()
        self._report.fault(self._plan.backend, "delivery", TWICE, lag, time.monotonic() - began)

    def _kill_broker(self) -> None:
        assert self._broker is not None
        began = time.monotonic()
        self._feed()
        self._wait_for_progress()
        self._feed()
        lag = self._one.lag()
        self._broker.kill()
        self._broker.start()
        self._report.fault(self._plan.backend, "broker", BROKER_KILLED, lag, time.monotonic() - began)

    def _disturb_server(self) -> None:
        server, one = self._server, self._one
        assert server is not None
        for name, fault in self._plan.server:
            began = time.monotonic()
            while True:
                server.set_faults(fault)
                self._feed()
                self._until(lambda: bool(server.fired()[0]), "the server was not asked")
                lag = one.pending()
                times = fault.times
                self._until(lambda times=times: server.fired()[0] == times, "the insert was not repeated")
                # An insert into one month has no middle.
                if fault.does != "half" or any(made < makes for makes, made in server.halves()):
                    break
                # That one is stored before others are disturbed, else it would be repeated for ever.
                server.set_faults()
                self._until(lambda: one.pending() == 0, "rows were not stored")
            self._report.fault(self._plan.backend, "clickhouse", name, lag, time.monotonic() - began)
        server.set_faults()
        began = time.monotonic()
        self._feed()
        lag = one.pending()
        server.kill()
        server.start()
        self._report.fault(self._plan.backend, "clickhouse", SERVER_KILLED, lag, time.monotonic() - began)

    def _until(self, holds: Callable[[], bool], otherwise: str) -> None:
        began = nudged = time.monotonic()
        while not holds():
            now = time.monotonic()
            if now - began > FAULT_SECONDS:
                raise AssertionError(
                    f"{otherwise} in {FAULT_SECONDS:.0f} s:\n{self._one.instance.output()[-4000:]}"
                )
            if now - nudged > 5.0:
                nudged = now
                self._feed()
            time.sleep(0.02)

    # -- what came of it -------------------------------------------------------------------------------

    def _compare(self, what: str, other: FedInstance) -> None:
        self._script.do_again(other)
        self._one.settle()
        other.settle()
        found, expected = self._one.tables(), other.tables()
        wrong = differences(found, expected, surplus=self._extra)
        for instance, tables in ((self._one, found), (other, expected)):
            if tallied(tables) != instance.fed:
                wrong.append(
                    f"tallies: {tallied(tables)} hits are counted, {instance.fed} were put on the log"
                )
        self._report.compared(self._plan.backend, STAGES, what, wrong)
        self._report.ended[self._plan.name] = self._one.instance.failed
        if what.startswith("before") and (len(expected["visits"]) < 100 or not expected["conversions"]):
            raise AssertionError("the hits make too little")
