"""Marks of days whose archives are older than their rows: hints from sinks to rollup workers."""

import msgspec


class ChangedDay(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """One site and day that got rows. It may be lost or come twice: a sweep finds what no mark told."""

    epoch: int
    site_id: int
    day: int
    """Days since 1970-01-01, local to the site."""
    changed_at: float
    """Unix seconds: when rows were last inserted."""


encode_mark = msgspec.msgpack.Encoder().encode
decode_mark = msgspec.msgpack.Decoder(ChangedDay).decode
