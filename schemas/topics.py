"""The topics of the log: who writes them, what is their key, which row type they carry."""

from dataclasses import dataclass

DEFAULT_PARTITIONS = 8


@dataclass(frozen=True)
class Topic:
    """`keyed_by` names the value whose hash gives the partition; `co_partitioned` topics keep the
    partition of the input they were made from."""

    name: str
    keyed_by: str
    co_partitioned: bool = False
    single_partition: bool = False


HITS = Topic("hits", keyed_by="owner")
VISITS = Topic("visits", keyed_by="owner", co_partitioned=True)
ACTIONS = Topic("actions", keyed_by="owner", co_partitioned=True)
CONVERSIONS = Topic("conversions", keyed_by="owner", co_partitioned=True)
CONVERSION_ITEMS = Topic("conversion_items", keyed_by="owner", co_partitioned=True)
TALLIES = Topic("tallies", keyed_by="input partition", co_partitioned=True)
DEAD = Topic("dead", keyed_by="input partition", co_partitioned=True)
LINKS = Topic("links", keyed_by="visitor id that the linked visit continues")
ORDERS = Topic("orders", keyed_by="site and order id")
ORDER_VERDICTS = Topic("order_verdicts", keyed_by="owner of the order")
REPAIRS = Topic("repairs", keyed_by="owner")
HISTORY = Topic("history", keyed_by="owner")
CONFIG = Topic("config", keyed_by="site", single_partition=True)
TOKENS = Topic("tokens", keyed_by="token", single_partition=True)
SALTS = Topic("salts", keyed_by="site and day", single_partition=True)

TOPICS = (
    HITS,
    VISITS,
    ACTIONS,
    CONVERSIONS,
    CONVERSION_ITEMS,
    TALLIES,
    DEAD,
    LINKS,
    ORDERS,
    ORDER_VERDICTS,
    REPAIRS,
    HISTORY,
    CONFIG,
    TOKENS,
    SALTS,
)


def partition_of(key: int, partitions: int) -> int:
    """The partition of an unsigned 64-bit owner, visitor or order key.

    The key's bits are mixed first (a multiplicative hash), so ids that share low digits still spread.
    """
    return ((key * 0x9E3779B97F4A7C15 & 0xFFFFFFFFFFFFFFFF) >> 32) % partitions
