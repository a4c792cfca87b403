"""Where the log on a broker keeps its secrets: topics of their own, of which old values vanish.

    tokens   compacted; the key's first byte says what it is: i instance, s lasting salt, t token, u user
    salts    key: site and day; goes by age, and by `forget_salts_before`

Tokens and users have one writer, the process that answers the API; of them the last value counts. Of salts
and the instance's record the first counts, whoever wrote it.
"""

import secrets
import threading
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka import TopicPartition as KafkaPartition

from schemas.topics import SALTS, TOKENS
from stream.kafka_client import (
    SOON_THERE,
    TIMEOUT_S,
    describe,
    ends_of,
    learn_topics,
    logger,
    translate_errors,
)
from stream.protocol import LogError, SecretChanges, Secrets

if TYPE_CHECKING:
    from stream.kafka import KafkaLog

_INSTANCE = b"i"
_LASTING_DAY = 1 << 31
"""Days from here on are no days: such salts must not go by age."""
SALT_PATIENCE_S = 1.0
AWAY_S = 10.0


class KafkaSecrets(Secrets):
    """Follows both topics; holds what they say in memory."""

    def __init__(self, log: "KafkaLog") -> None:
        self._log = log
        self._mutex = threading.RLock()
        self._tokens: dict[bytes, bytes] = {}
        self._users: dict[str, bytes] = {}
        self._salts: dict[bytes, bytes] = {}
        self._first: dict[bytes, bytes] = {}
        self._last: dict[bytes, bytes] = {}
        """Of the keys of which the first value counts: it, and the last, which compaction leaves."""
        self._salt_offsets: list[tuple[int, int]] = []
        """Offset and day of the records of `salts`."""
        self._unsaid: dict[bytes, bytes] = {}
        """Salts that the broker could not be told yet."""
        self._away_until = 0.0
        self._changes = 0
        self._names = {log.name(TOKENS.name): TOKENS.name, log.name(SALTS.name): SALTS.name}
        self._next = dict.fromkeys(self._names, 0)
        with translate_errors(log.connection, "Opening the secrets"):
            self._producer: Any = log.connection.producer(linger_ms=0)
            self._consumer = log.connection.consumer(fetch_wait_max_ms=500, enable_partition_eof=True)
            learn_topics(self._consumer, self._names)
            self._consumer.assign([KafkaPartition(name, 0, 0) for name in self._names])
            self._read_to_end()

    # -- reading ---------------------------------------------------------------------------------------

    def _read_to_end(self, timeout: float = TIMEOUT_S) -> None:
        """All that was written when this was called."""
        with self._mutex:
            ends = ends_of(self._log.admin, [(name, 0) for name in self._names], timeout=timeout)
            deadline = time.monotonic() + timeout
            while any(self._next[name] < end for (name, _), end in ends.items()):
                self._take(0.1)
                if time.monotonic() > deadline:
                    raise LogError(f"the secrets can't be read to their end within {timeout:g} s")

    def _take(self, timeout: float) -> None:
        for message in self._consumer.consume(1 if timeout else 500, timeout):
            name, error = message.topic(), message.error()
            if error is not None:
                if error.code() == KafkaError._PARTITION_EOF:
                    # The last records may be gone, by age or by compaction.
                    self._next[name] = max(self._next[name], message.offset())
                elif error.code() not in SOON_THERE and not error.retriable():
                    raise KafkaException(error)
                continue
            self._next[name] = message.offset() + 1
            self._apply(self._names[name], message.key(), message.value(), message.offset())

    def _apply(self, topic: str, key: bytes, value: bytes | None, offset: int) -> None:
        if topic == SALTS.name:
            self._salts.setdefault(key, value or b"")
            self._salt_offsets.append((offset, int.from_bytes(key[4:], "big")))
            return
        kind, rest = key[:1], key[1:]
        self._changes += 1
        if kind == b"t":
            _set(self._tokens, rest, value)
        elif kind == b"u":
            _set(self._users, rest.decode(), value)
        elif value is not None:
            self._first.setdefault(key, value)
            self._last[key] = value

    # -- writing ---------------------------------------------------------------------------------------

    def _write(self, topic: str, records: Mapping[bytes, bytes | None], timeout: float = TIMEOUT_S) -> None:
        """Returns when all are durable and read back."""
        failed: list[Any] = []

        def note(error: Any, _: object) -> None:
            if error is not None:
                failed.append(error)

        with translate_errors(self._log.connection, f"Writing to {topic}"):
            self._log.check_open()
            for key, value in records.items():
                self._producer.produce(self._log.name(topic), value, key, 0, on_delivery=note)
            if self._producer.flush(timeout) or failed:
                self._producer.purge()
                self._producer.poll(0)
                said = describe(failed[0]) if failed else f"no answer within {timeout:g} s"
                raise LogError(f"writing to {topic} at {self._log.connection.servers} failed: {said}")
            self._read_to_end(timeout)

    def _settle(self, key: bytes, fresh: bytes, timeout: float = TIMEOUT_S) -> bytes:
        """The first value of a key of `tokens`; `fresh` where there is none."""
        if key not in self._first:
            self._write(TOKENS.name, {key: fresh}, timeout)
        if self._last[key] != self._first[key]:
            # Two were written at the same moment: the one that counts is written again, to stay.
            self._write(TOKENS.name, {key: self._first[key]}, timeout)
        return self._first[key]

    # -- Secrets ---------------------------------------------------------------------------------------

    def instance_salt(self) -> bytes:
        with self._mutex:
            return self._settle(_INSTANCE, secrets.token_bytes(32))

    def version(self) -> int:
        with self._mutex:
            self._take(0.0)
            return self._changes

    def tokens(self) -> Mapping[bytes, bytes]:
        with self._mutex:
            self._take(0.0)
            return dict(self._tokens)

    def users(self) -> Mapping[str, bytes]:
        with self._mutex:
            self._take(0.0)
            return dict(sorted(self._users.items()))

    def update(self, decide: Callable[[Mapping[bytes, bytes]], SecretChanges]) -> None:
        with self._mutex:
            with translate_errors(self._log.connection, "Reading the secrets"):
                self._read_to_end()
            changes = decide(self._tokens)
            records: dict[bytes, bytes | None] = {b"t" + key: value for key, value in changes.tokens.items()}
            records.update((b"u" + login.encode(), value) for login, value in changes.users.items())
            if records:
                self._write(TOKENS.name, records)

    def salt(self, site_id: int, day: int, fresh: bytes) -> bytes:
        """While the broker is away a process makes do with a salt of its own, and says it later."""
        key = site_id.to_bytes(4, "big") + day.to_bytes(4, "big")
        with self._mutex:
            if day >= _LASTING_DAY:
                return self._settle(b"s" + key, fresh)
            self._take(0.0)
            if key not in self._salts and key not in self._unsaid:
                self._unsaid[key] = fresh
                self._say_salts()
            return self._salts.get(key) or self._unsaid[key]

    def _say_salts(self) -> None:
        if not self._unsaid or time.monotonic() < self._away_until:
            return
        try:
            self._write(SALTS.name, dict(self._unsaid), SALT_PATIENCE_S)
            self._unsaid.clear()
        except LogError as error:
            self._away_until = time.monotonic() + AWAY_S
            logger.warning("salts of today are not shared yet: %s", error)

    def forget_salts_before(self, day: int) -> None:
        with self._mutex:
            self._say_salts()
            self._salts = {key: salt for key, salt in self._salts.items() if _day_of(key) >= day}
            self._unsaid = {key: salt for key, salt in self._unsaid.items() if _day_of(key) >= day}
            past = 0
            for offset, of_day in self._salt_offsets:
                if of_day >= day:
                    break
                past = offset + 1
            if past:
                self._salt_offsets = [known for known in self._salt_offsets if known[0] >= past]
                # Asked for and not waited for: it is asked again after the next day's end.
                self._log.admin.delete_records([KafkaPartition(self._log.name(SALTS.name), 0, past)])

    def close(self) -> None:
        with self._mutex:
            self._consumer.close()
            self._producer.flush(1.0)


def _set(values: dict[Any, bytes], key: Any, value: bytes | None) -> None:
    if value is None:
        values.pop(key, None)
    else:
        values[key] = value


def _day_of(key: bytes) -> int:
    return int.from_bytes(key[4:], "big")
