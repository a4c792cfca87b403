"""An instance whose log the runner fills: hits at its pace, edits of the configuration, replays, deletions.

What is done to one is recorded and done to another one that nobody disturbs."""

import http.client
import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar, cast

from clickhouse_connect.driver.exceptions import ClickHouseError

from hitstream.replay import asked_levels
from schemas.config import ConfigEvent, encode_config_event
from schemas.history import Erasure, ErasureDone, HistoryFact, decode_fact
from schemas.topics import CONFIG, HISTORY, HITS
from sink.database import Database, database_name, server_place
from sink.encoding import TABLES
from sink.ledger import read_ledger
from stream.config import ConfigFollower
from stream.embedded import EmbeddedLog
from stream.protocol import LogError
from tests.clickhouse_http import ClickHouseFixture
from tests.faults.instance import TOKEN, Instance, log_of, messages, tables_of
from tests.faults.traffic import Entries

DIES_SECONDS = 600.0
NUDGE_SECONDS = 8.0
SETTLES_SECONDS = 600.0
CHANGE_SECONDS = 600.0
PATIENCE_SECONDS = 120.0
DROP_SECONDS = 0.25
MOST_WAITING = 4_000

T = TypeVar("T")


class FedInstance:
    """`server`: the tables are there, else in chDB of the database process."""

    def __init__(
        self,
        data_dir: Path,
        events: Sequence[ConfigEvent],
        environment: Mapping[str, str] | None = None,
        server: ClickHouseFixture | None = None,
        modules: Mapping[str, str] | None = None,
    ) -> None:
        self.server = server
        self._dsn = server.dsn("hitstream", send_receive_timeout=2) if server else ""
        settings = {
            # One kill per start, each time again.
            "HITSTREAM_CRASH_ONCE": "",
            "HITSTREAM_CLICKHOUSE": self._dsn,
            "HITSTREAM_ALLOWED_LATENESS_DAYS": "1",
            **(environment or {}),
        }
        self.instance = Instance(data_dir, environment=settings, modules=modules)
        # A broker or server that is away for long ends processes.
        self.instance.restarts_failed = bool(settings.get("HITSTREAM_KAFKA") or server)
        self.log = log_of(data_dir, settings)
        config = self.log.appender(CONFIG.name)
        config.append([(0, b"", encode_config_event(event)) for event in events])
        config.close()
        # However long a broker is away: hits that are appended in part would be there twice.
        self._hits = self.log.appender(HITS.name, PATIENCE_SECONDS)
        self._reader = self.log.reader()
        self._mutex = threading.Lock()
        self._ledger: Database | None = None
        self.fed = 0
        """Messages appended to `hits`."""
        self.died_early: int | None = None
        """What was pending when the database process died before it could be asked for the last thing."""

    # -- what is done to it ----------------------------------------------------------------------------

    def feed(self, entries: Entries) -> None:
        with self._mutex:
            self._hits.append(entries)
            self.fed += len(entries)

    def configure(self, path: str, fields: Mapping[str, str]) -> None:
        """An edit through the database process, repeated until the configuration has one more event."""
        before = self.config_end()
        self._until_done(path, fields, lambda: self.config_end() > before)
        assert self.config_end() == before + 1, f"{path} made {self.config_end() - before} events"

    def call(self, method: str, fields: Mapping[str, str]) -> None:
        """An edit through the Reporting API."""
        given = {"module": "API", "format": "json", "method": method, "token_auth": TOKEN, **fields}
        self.configure("/index.php", given)

    def replay(self) -> None:
        self.configure("/hitstream/replay", {})

    def erase(self, site_id: int, owner: int, visit_id: int) -> None:
        """Deletes a visit; returns when the deletion is a fact, or when it is carried out."""
        visits = json.dumps([{"idsite": site_id, "idvisit": visit_id}])
        fields = {
            "module": "API", "format": "json", "method": "PrivacyManager.deleteDataSubjects",
            "visits": visits, "token_auth": TOKEN,
        }  # fmt: skip

        def is_recorded() -> bool:
            return any(isinstance(fact, Erasure) and fact.owner == owner for _, fact in self.facts())

        self._until_done("/index.php", fields, is_recorded)

    def _until_done(self, path: str, fields: Mapping[str, str], is_done: Callable[[], bool]) -> None:
        """Asks again and again. A process that died before it was asked, while it finished what another one
        had begun, is started again."""
        deadline = time.monotonic() + CHANGE_SECONDS
        self.died_early = None
        said: object = None
        while True:
            try:
                said = self.instance.ask(path, fields)
            except (OSError, http.client.HTTPException) as error:
                said = error
            if is_done():
                return
            if self.instance.status("database") is not None:
                if self.instance.note_end("database"):
                    self.instance.add("database")
                else:
                    self.died_early = self.pending()
                    self.start("database")
            if time.monotonic() > deadline:
                raise AssertionError(f"{path} {dict(fields)} was not done in {CHANGE_SECONDS:.0f} s: {said}")
            time.sleep(0.05)

    # -- how far it is ---------------------------------------------------------------------------------

    def ends(self, topic: str) -> Mapping[int, int]:
        with self._mutex:
            return patiently(lambda: self._reader.end_offsets(topic))

    def config_end(self) -> int:
        return self.ends(CONFIG.name)[0]

    def facts(self) -> list[tuple[int, HistoryFact]]:
        """Partition and fact."""
        with self._mutex:
            return patiently(self._read_facts)

    def _read_facts(self) -> list[tuple[int, HistoryFact]]:
        ends = self._reader.end_offsets(HISTORY.name)
        return [
            (partition, decode_fact(message.value))
            for partition, end in ends.items()
            for message in messages(self._reader, HISTORY.name, partition, end)
        ]

    def lag(self) -> int:
        """Messages that the processors have not consumed: hits, and what they told each other of them."""
        return sum(patiently(lambda: self.log.lag("processors")).values())

    def pending(self) -> int:
        """Rows and raw hits that the sink has not stored."""
        if self.server is None:
            stored = cast(EmbeddedLog, self.log).released("sink")
        else:
            if self._ledger is None:
                place = server_place(self._dsn)
                self._ledger = Database(place, database_name(1, place.views))
            database = self._ledger
            stored = patiently(lambda: read_ledger(database))
        ends = {(table.name, p): end for table in TABLES for p, end in self.ends(table.name).items()}
        return sum(max(0, end - stored.get(at, 0)) for at, end in ends.items())  # type: ignore[call-overload]

    # -- its processes ---------------------------------------------------------------------------------

    def start(self, name: str, point: str = "") -> None:
        self.instance.crash_at[name] = point
        self.instance.add(name)

    def wait_for_death(self, name: str, nudge: Callable[[], None]) -> None:
        """`nudge` gives it more to do, for when the point is not reached."""
        began = nudged = time.monotonic()
        while True:
            if self.instance.status(name) is not None:
                if not self.instance.note_end(name):
                    return
                self.instance.add(name)
            now = time.monotonic()
            if now - nudged > NUDGE_SECONDS:
                nudged = now
                nudge()
            if now - began > DIES_SECONDS:
                point = self.instance.crash_at[name]
                raise AssertionError(
                    f"{name} did not reach {point} in {DIES_SECONDS:.0f} s\n{self.instance.output()[-4000:]}"
                )
            time.sleep(0.01)

    def is_past_done(self) -> bool:
        """Whether all replays and deletions are carried out, as far as those who ask are concerned."""
        follower = patiently(lambda: ConfigFollower(self.log))
        levels = {offset + 1 for offset, _ in follower.current.replays}
        follower.close()
        asked = patiently(lambda: asked_levels(self.log))
        if levels and any(not levels <= of_partition for of_partition in asked.values()):
            return False
        facts = self.facts()
        done = {(partition, fact.number) for partition, fact in facts if isinstance(fact, ErasureDone)}
        return all((partition, fact.number) in done for partition, fact in facts if isinstance(fact, Erasure))

    def settle(self) -> None:
        """Until everything on the log is in the tables, and nothing is left to be asked about the past."""
        deadline = time.monotonic() + SETTLES_SECONDS
        while True:
            self.instance.drain(max(1.0, deadline - time.monotonic()))
            if self.is_past_done():
                break
            if time.monotonic() > deadline:
                raise AssertionError(f"replays or deletions are not done:\n{self.instance.output()[-4000:]}")
            time.sleep(0.1)
        self.instance.drain(max(1.0, deadline - time.monotonic()))

    def tables(self) -> dict[str, list[str]]:
        """After `settle`. chDB is another process's while it is read."""
        if self._dsn:
            return tables_of(self.instance.data_dir, dsn=self._dsn)
        self.instance.remove("database")
        found = tables_of(self.instance.data_dir)
        self.start("database")
        return found

    def close(self) -> None:
        self.instance.stop()
        if self._ledger is not None:
            self._ledger.close()
        self._reader.close()
        self._hits.close()
        self.log.close()


def patiently(ask: Callable[[], T]) -> T:
    """The answer of a broker or server that may be away, or of a machine with much to do."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            return ask()
        except (LogError, ClickHouseError, OSError):
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)


Action = Callable[[FedInstance], None]


class Script:
    """What was done to an instance, to be done to another."""

    def __init__(self, instance: FedInstance) -> None:
        self.instance = instance
        self._actions: list[Action] = []
        self._mutex = threading.Lock()

    def do(self, action: Action, undisturbed: Action | None = None) -> None:
        """Done now; `undisturbed` is what the other one gets instead."""
        action(self.instance)
        with self._mutex:
            self._actions.append(undisturbed or action)

    def do_again(self, other: FedInstance) -> None:
        """What was done since the last time."""
        with self._mutex:
            actions, self._actions = self._actions, []
        for action in actions:
            action(other)


@contextmanager
def feeding(instance: FedInstance, feed: Callable[[], None]) -> Iterator[None]:
    """Hits keep coming, a few at a time, as long as the sink is not far behind."""
    ended = threading.Event()

    def work() -> None:
        while not ended.wait(DROP_SECONDS):
            if instance.pending() < MOST_WAITING:
                feed()

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


@contextmanager
def closing(*instances: FedInstance) -> Iterator[None]:
    try:
        yield
    finally:
        for instance in instances:
            instance.close()
