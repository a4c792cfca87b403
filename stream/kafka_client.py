"""How this program talks to a Kafka-compatible broker: connection settings, clients, errors, offsets."""

import logging
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from confluent_kafka import Consumer, IsolationLevel, KafkaError, KafkaException, Producer
from confluent_kafka import TopicPartition as KafkaPartition
from confluent_kafka.admin import AdminClient, OffsetSpec  # type: ignore[attr-defined,unused-ignore]

from stream.protocol import LogError

TIMEOUT_S = 30.0
"""Of one request, when a broker is away or slow."""
LARGEST_MESSAGE = 8 << 20
SAID_S = 60.0
RESERVED = frozenset(
    {
        "acks",
        "auto.offset.reset",
        "bootstrap.servers",
        "enable.auto.commit",
        "enable.auto.offset.store",
        "enable.idempotence",
        "enable.partition.eof",
        "group.id",
        "group.instance.id",
        "group.protocol",
        "isolation.level",
        "partition.assignment.strategy",
        "request.required.acks",
        "transactional.id",
    }
)
"""Options on which exactness rests; nobody may set them from outside."""
SOON_THERE = frozenset(
    {
        KafkaError._UNKNOWN_PARTITION,
        KafkaError._UNKNOWN_TOPIC,
        KafkaError._NOENT,
        KafkaError.UNKNOWN_TOPIC_OR_PART,
        KafkaError.NOT_LEADER_FOR_PARTITION,
        KafkaError.LEADER_NOT_AVAILABLE,
    }
)
"""What a topic says that was made a moment ago, or whose leader changes."""
MOVED = frozenset(
    {
        KafkaError.FENCED_LEADER_EPOCH,
        KafkaError.UNKNOWN_LEADER_EPOCH,
        KafkaError.NOT_LEADER_FOR_PARTITION,
    }
)
"""What a topic says whose leader was started again or is another one."""

logger = logging.getLogger("hitstream.kafka")


REFUSALS = {
    KafkaError._AUTHENTICATION: "the broker refuses the login, see sasl.* in HITSTREAM_KAFKA_OPTIONS",
    KafkaError._SSL: "TLS fails, see ssl.* in HITSTREAM_KAFKA_OPTIONS",
}
"""What another try soon after changes nothing about."""
REACH_S = 1.0


class OptionsError(ValueError):
    """A file of options that can't be used; the message names the line and never a value."""


class RefusedError(Exception):
    """The broker is there and does not let us in, or is another than expected."""


@dataclass
class Connection:
    """A broker's address and how to log in there. `options` may hold passwords and are shown to nobody."""

    servers: str
    options: Mapping[str, str] = field(default_factory=dict, repr=False)
    _said: str = field(default="", repr=False)
    _said_at: float = field(default=-SAID_S, repr=False)
    _refused: str = field(default="", repr=False)

    @property
    def said(self) -> str:
        """What went wrong lately on the connection itself, such as a refused login; empty: nothing."""
        return self._said if time.monotonic() - self._said_at < SAID_S else ""

    def _settings(self, **more: Any) -> dict[str, Any]:
        given = {name.replace("_", "."): value for name, value in more.items()}
        return {
            "bootstrap.servers": self.servers,
            # Brokers that come and go are reported by what fails for it.
            "log_level": 2,
            "reconnect.backoff.max.ms": 1000,
            # Most retries wait for markers of the transaction before, which take a few milliseconds.
            "retry.backoff.ms": 10,
            "error_cb": self._note,
            **given,
            **self.options,
        }

    def _note(self, error: KafkaError) -> None:
        if error.code() == KafkaError._ALL_BROKERS_DOWN and self.said:
            return  # why is known already
        self._said, self._said_at = error.str() or error.name(), time.monotonic()
        if error.code() in REFUSALS:
            self._refused = f"{REFUSALS[error.code()]} ({self._said})"

    def admin(self) -> AdminClient:
        """Returns when a broker has answered. Raises RefusedError at once when none takes the login or has a
        trusted certificate, KafkaException when none answers in time."""
        admin = AdminClient(self._settings())
        deadline = time.monotonic() + TIMEOUT_S
        self._refused = ""
        while True:
            try:
                admin.list_topics(timeout=min(REACH_S, TIMEOUT_S))
                return admin
            except KafkaException:
                # What the connection said is told by `poll` only.
                while admin.poll(0):
                    pass
                if self._refused:
                    raise RefusedError(self._refused) from None
                if time.monotonic() > deadline:
                    raise

    def producer(self, *, codec: str = "", **settings: Any) -> Producer:
        """Idempotent, with everything acknowledged by all replicas in sync. `codec`: whatever the options say
        about compression."""
        forced = {"compression.type": codec} if codec else {}
        return Producer(
            self._settings(
                acks="all",
                enable_idempotence=True,
                compression_type="lz4",
                message_max_bytes=LARGEST_MESSAGE,
                queue_buffering_max_messages=2_000_000,
                **{"linger_ms": 1, **settings},
            )
            | forced
        )

    def consumer(self, group: str = "hitstream-reader", **settings: Any) -> Any:
        """Reads what is committed, commits nothing by itself. Any: its messages are typed as if every part
        could be missing."""
        return Consumer(
            self._settings(
                group_id=group,
                enable_auto_commit=False,
                enable_auto_offset_store=False,
                auto_offset_reset="earliest",
                **{
                    "isolation_level": "read_committed",
                    "fetch_wait_max_ms": 20,
                    "queued_min_messages": 10_000,
                    # A partition of which enough waits here is asked for more after this, by default a
                    # second: whoever reads faster than that waits most of the time (400,000 changes of state
                    # restored in 13.1 s with the default, in 3.5 to 5.1 s with this).
                    "fetch_queue_backoff_ms": 10,
                    "queued_max_messages_kbytes": 32 << 10,
                    **settings,
                },
            )
        )


def read_options(path: Path) -> dict[str, str]:
    """librdkafka's options from a file of `name=value` lines; # begins a comment. Raises OptionsError."""
    options: dict[str, str] = {}
    try:
        text = path.read_text()
    except OSError as error:
        raise OptionsError(f"{path}: {error.strerror}") from None
    for number, line in enumerate(text.splitlines(), start=1):
        line = line.strip()
        if not line or line.startswith("#"):
            continue
        name, equals, value = line.partition("=")
        name = name.strip()
        if not equals or not name:
            raise OptionsError(f"{path}, line {number}: expected name=value")
        if name in RESERVED:
            raise OptionsError(f"{path}, line {number}: {name} is set by Hitstream itself; remove the line")
        options[name] = value.strip()
    return options


@contextmanager
def translate_errors(connection: Connection, doing: str) -> Iterator[None]:
    """A LogError of whatever the client or the local disk raises."""
    try:
        yield
    except RefusedError as error:
        raise LogError(f"{doing} at {connection.servers} failed: {error}") from None
    except (KafkaException, OSError, BufferError) as error:
        said = f" (the connection said: {connection.said})" if connection.said else ""
        raise LogError(f"{doing} at {connection.servers} failed: {describe(error)}{said}") from error


def describe(error: BaseException) -> str:
    """The client's errors in words."""
    found = error.args[0] if isinstance(error, KafkaException) and error.args else error
    return found.str() or found.name() if isinstance(found, KafkaError) else str(found)


def error_code(error: BaseException) -> int:
    """The code of one of the client's errors; 0 of another."""
    found = error.args[0] if isinstance(error, KafkaException) and error.args else error
    return int(found.code()) if isinstance(found, KafkaError) else 0


_LATEST = OffsetSpec.latest()  # type: ignore[no-untyped-call,unused-ignore]


def learn_topics(client: Any, names: Iterable[str]) -> None:
    """Tells a client where topics are before it is assigned to them; it would look only once a second."""
    for name in dict.fromkeys(names):
        client.list_topics(name, TIMEOUT_S)


def ends_of(
    admin: AdminClient,
    places: Iterable[tuple[str, int]],
    *,
    committed: bool = True,
    timeout: float = TIMEOUT_S,
) -> dict[tuple[str, int], int]:
    """Where each partition ends: after all transactions that are decided, or (not `committed`) after all that
    is written. One request for all; waits for leaders of topics that were just made.

    Raises KafkaException."""
    level = IsolationLevel.READ_COMMITTED if committed else IsolationLevel.READ_UNCOMMITTED
    deadline = time.monotonic() + timeout
    asked = [KafkaPartition(topic, partition) for topic, partition in places]
    while True:
        try:
            answers = admin.list_offsets(
                dict.fromkeys(asked, _LATEST), isolation_level=level, request_timeout=timeout
            )
            return {(at.topic, at.partition): int(found.result().offset) for at, found in answers.items()}
        except KafkaException as error:
            if error_code(error) not in SOON_THERE | MOVED or time.monotonic() > deadline:
                raise
            # The admin client goes on with what it knows of leaders, also that there are none, until it is
            # told.
            for topic in {at.topic for at in asked}:
                admin.list_topics(topic, timeout)
        time.sleep(0.02)


def decided_ends_of(
    admin: AdminClient, places: Iterable[tuple[str, int]], *, patience: float
) -> dict[tuple[str, int], int]:
    """As `ends_of`, past all that is written at the time of the call: a committed transaction is seen when
    its markers are written, shortly after its commit returned. One that its process left undecided ends after
    the transaction's own timeout; `patience` is how many seconds to wait for it. Raises KafkaException."""
    places = list(places)
    written = ends_of(admin, places, committed=False)
    deadline = time.monotonic() + patience
    ends = ends_of(admin, places)
    pause = 0.002
    while time.monotonic() < deadline:
        waiting = [at for at in places if ends[at] < written[at]]
        if not waiting:
            break
        time.sleep(pause)
        pause = min(pause * 2, 0.05)
        ends |= ends_of(admin, waiting)
    return ends
