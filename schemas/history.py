"""Decisions about the past, on topic `history`: which replays count, who is folded anew, what is erased.

They hold numbers only, no text of a hit. Processors carry out each of them once; what others have to know
of it for longer stays on the topic, summed up when there is much.
"""

import msgspec

GONE_FROM_LOG = -1
"""In place of an offset: the hit left log and tables before."""


class ReplayLevel(msgspec.Struct, tag="level", array_like=True, frozen=True):
    """From here on the partition's new owners are folded under all replays of the configuration before offset
    `level`. Sent to every partition before owners are asked to follow."""

    level: int


class ReplayAsked(msgspec.Struct, tag="asked", array_like=True, frozen=True):
    """All owners of the partition were asked to follow the replays before `level`."""

    level: int


class OwnerRefold(msgspec.Struct, tag="refold", array_like=True, frozen=True):
    """Fold the owner anew, under the replays before config offset `level`; 0: as it is, and emit every row,
    whatever the tables have."""

    site_id: int
    owner: int
    level: int = 0
    whole: bool = False
    """Also emit the rows that are as they were."""


class Erasure(msgspec.Struct, tag="erase", array_like=True, frozen=True):
    """These hits of the owner never happened: its fold goes on without them, and no replay, repair or reading
    of the log brings them back."""

    site_id: int
    owner: int
    hit_ids: list[int]
    offsets: list[int]
    """Where they are on `hits`, in the owner's partition."""
    number: int
    """Of the request that it belongs to: unix nanoseconds."""

    def on_log(self) -> list[int]:
        """The offsets of those that are, or were, there."""
        return [offset for offset in self.offsets if offset != GONE_FROM_LOG]


class Rewrite(msgspec.Struct, tag="rewrite", array_like=True, frozen=True):
    """Hits of the owner were written anew in the table of raw hits, without what is to be forgotten: it is
    folded anew from there, and the copies at these offsets of `hits` go."""

    site_id: int
    owner: int
    offsets: list[int]
    number: int
    """As of an erasure."""

    def on_log(self) -> list[int]:
        return self.offsets


class ErasureDone(msgspec.Struct, tag="erased", array_like=True, frozen=True):
    """The rows of the partition's owners in request `number` are gone from the database, or written anew."""

    number: int


class Summary(msgspec.Struct, tag="summary", array_like=True, frozen=True):
    """What the facts before offset `covers` of this partition still say to who begins to read: they may go
    once processors are past them. Much is told by several of these, of which only the last has `covers`."""

    asked: list[int]
    """As `level` of ReplayAsked."""
    offsets: list[int]
    """As of finished erasures and rewritings, where `hits` may still have the message."""
    newest: int
    """The number of the last erasure or rewriting."""
    covers: int = 0

    def on_log(self) -> list[int]:
        return self.offsets


HistoryFact = ReplayLevel | ReplayAsked | OwnerRefold | Erasure | Rewrite | ErasureDone | Summary

encode_fact = msgspec.msgpack.Encoder().encode
decode_fact = msgspec.msgpack.Decoder(HistoryFact).decode
