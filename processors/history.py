"""Owners whose journal no longer reaches back far enough: their whole past, from the raw hits.

A late hit that is older than the journal asks on `repairs` for a refold of its owner. The history is read
when the database holds everything that this partition has emitted, so the rows it shows are exactly those
that the refold must replace.
"""

import http.client
import json
import urllib.error
import urllib.request
from collections.abc import Sequence
from typing import Protocol

import msgspec

from rules.fold_state import RowKey


class HistoryUnavailableError(Exception):
    """The database can't be asked now; the request stays on the log."""


class RepairRequest(msgspec.Struct, array_like=True, frozen=True):
    site_id: int
    owner: int
    level: int = 0
    """Apply the replays before this config offset, if that was not done before; 0: refold in any case."""
    late: bool = False
    """Only fold in the late hits that wait in the owner's record: the journal has all that is needed."""


class OwnerHistory(msgspec.Struct, array_like=True, frozen=True):
    """All stored hits of an owner and the keys of all rows that it has."""

    site_id: int
    owner: int
    hits: list[tuple[int, bytes]]
    """(offset, bytes as on `hits`)"""
    keys: list[RowKey]
    links: list[tuple[int, int]] = []
    """(visit_id, visitor_id) of visits that go by another visitor id than the owner's."""
    before: bytes = b""
    """The owner's last visit whose raw hits are no longer kept, as a row of `visits`: nothing up to it is in
    `hits` or `keys`, and the fold begins after it. Empty when all raw hits are there."""


class HistoryQuestion(msgspec.Struct, array_like=True, frozen=True):
    """Owners of one partition; the answer must include all that the partition has emitted before."""

    partition: int
    owners: list[RepairRequest]
    erased: list[int] = []
    """Hits that are never to be known again: a visit that began with one of them is not the `before`."""


encode_request = msgspec.msgpack.Encoder().encode
decode_request = msgspec.msgpack.Decoder(RepairRequest).decode
encode_question = msgspec.msgpack.Encoder().encode
decode_question = msgspec.msgpack.Decoder(HistoryQuestion).decode
encode_histories = msgspec.msgpack.Encoder().encode
decode_histories = msgspec.msgpack.Decoder(list[OwnerHistory]).decode


class History(Protocol):
    def of(
        self, partition: int, owners: Sequence[RepairRequest], erased: Sequence[int]
    ) -> Sequence[OwnerHistory]:
        """As the HistoryQuestion of these says. Raises HistoryUnavailableError."""
        ...


class HttpHistory:
    """Asks the database process of the instance."""

    def __init__(self, url: str, token: str, timeout_s: float = 60.0) -> None:
        self._url = url.rstrip("/") + "/hitstream/history"
        self._token = token
        self._timeout_s = timeout_s

    def of(
        self, partition: int, owners: Sequence[RepairRequest], erased: Sequence[int]
    ) -> Sequence[OwnerHistory]:
        question = encode_question(HistoryQuestion(partition, list(owners), list(erased)))
        request = urllib.request.Request(  # noqa: S310 (the instance's own address, from its settings)
            self._url,
            data=question,
            headers={"Authorization": f"Bearer {self._token}", "Content-Type": "application/msgpack"},
        )
        try:
            with urllib.request.urlopen(request, timeout=self._timeout_s) as answer:  # noqa: S310
                return decode_histories(answer.read())
        except urllib.error.HTTPError as error:
            raise HistoryUnavailableError(f"{error.code}: {_message(error.read())}") from None
        except (OSError, http.client.HTTPException, msgspec.DecodeError) as error:
            raise HistoryUnavailableError(str(error)) from None


def _message(body: bytes) -> str:
    try:
        return str(json.loads(body).get("message", ""))[:200]
    except (ValueError, AttributeError):
        return repr(body[:100])
