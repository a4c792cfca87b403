"""Addresses of clients: canonical text, masking, exclusion ranges, who the client behind a proxy is."""

import ipaddress
import socket
from bisect import bisect_right
from collections.abc import Iterable
from functools import lru_cache

UNKNOWN_ADDRESS = "0.0.0.0"  # noqa: S104 - the text of "no address", nothing listens on it

IPV6_MASK_BITS = (0, 64, 80, 104, 128)

_REMEMBERED_ADDRESSES = 65536

CRAWLER_RANGES = (
    # Google's own blocks, as published in the TXT record of _netblocks.google.com (how to read it:
    # https://support.google.com/a/answer/60764). Its proxies and fetchers are there; the crawler's
    # 66.249.64.0/20 is not.
    "64.233.160.0/19",
    "66.102.0.0/20",
    "66.249.80.0/20",
    "72.14.192.0/18",
    "74.125.0.0/16",
    "173.194.0.0/16",
    "209.85.128.0/17",
    "216.239.32.0/19",
    # Microsoft's, all four in the list of msnbot's blocks that Bad Behavior (Michael Hampton) keeps;
    # 65.52.0.0/14 is MICROSOFT-1BLK at ARIN. Of bingbot's addresses today
    # (https://www.bing.com/toolbox/bingbot.json) 157.55.39.0/24 and 207.46.13.0/24 lie here.
    "65.52.0.0/14",
    "131.253.24.0/21",
    "157.54.0.0/15",
    "207.46.0.0/16",
    # Yahoo's: public lists of its crawlers' addresses have 72.30.196.0/24, 72.30.198.0/24 and 98.137.207.0/24
    # (Yahoo itself names hosts only: *.crawl.yahoo.net).
    "72.30.192.0/20",
    "98.137.207.0/24",
)
"""Blocks from which search engines fetch pages; hits from there are bots unless `bots=1`.

Not what the crawlers publish today: those name themselves in their user agents. Recorded answers of Matomo
say which of the blocks count: 66.249.80.1, 64.233.160.9 and 207.46.1.1 are excluded, 66.249.66.1
(Googlebot) and 40.77.167.1 (bingbot) are not."""


_inet_pton, _AF_INET = socket.inet_pton, socket.AF_INET


def ipv4_number(text: str) -> int | None:
    """The number of a plain IPv4 address, None for other texts: 0.2 us against 2 us with `ipaddress`."""
    try:
        return int.from_bytes(_inet_pton(_AF_INET, text), "big")
    except (OSError, ValueError):  # no such address; a NUL byte
        return None


def canonical_address(text: str) -> str:
    """The usual text of an address; IPv4 inside IPv6 becomes IPv4, what is no address 0.0.0.0."""
    if len(text) > _LONGEST_ADDRESS:
        return UNKNOWN_ADDRESS
    return text if ipv4_number(text) is not None else _canonical_address(text)


_LONGEST_ADDRESS = 128
"""With brackets, port, zone and blanks; longer ones would only fill the cache."""


@lru_cache(maxsize=65536)
def _canonical_address(text: str) -> str:
    """Of what is no plain IPv4 address: to look that up here would take longer than to read it."""
    text = text.strip()
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return UNKNOWN_ADDRESS
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(address)


def masked_address(address: str, mask_bytes: int) -> str:
    """A canonical address whose end is zero: 0..4 bytes of IPv4, 0, 64, 80, 104 or 128 bits of IPv6."""
    if mask_bytes <= 0:
        return address
    if ":" in address:
        return _masked_ipv6(address, IPV6_MASK_BITS[min(mask_bytes, 4)])
    return address.rsplit(".", mask_bytes)[0] + ".0" * mask_bytes if mask_bytes < 4 else UNKNOWN_ADDRESS


@lru_cache(maxsize=65536)
def _masked_ipv6(address: str, bits: int) -> str:
    return str(ipaddress.IPv6Address(int(ipaddress.IPv6Address(address)) >> bits << bits))


class AddressRanges:
    """A set of ranges such as `10.0.*.*`, `10.0.0.0/8`, `2001:db8::/32` or single addresses.

    What can't be read as a range contains nothing."""

    __slots__ = ("_answers", "_v4", "_v6")

    def __init__(self, ranges: Iterable[str]) -> None:
        networks = [network for network in map(read_range, ranges) if network is not None]
        self._v4 = _bounds([network for network in networks if network.version == 4])
        self._v6 = _bounds([network for network in networks if network.version == 6])
        self._answers: dict[str, bool] = {}

    def __bool__(self) -> bool:
        return bool(self._v4 or self._v6)

    def __contains__(self, address: str) -> bool:
        answer = self._answers.get(address)
        if answer is None:
            if len(self._answers) >= _REMEMBERED_ADDRESSES:
                self._answers.clear()
            answer = self._answers[address] = self._look(address)
        return answer

    def _look(self, address: str) -> bool:
        value = ipv4_number(address)
        if value is not None:
            return self.have_ipv4(value)
        try:
            return bisect_right(self._v6, int(ipaddress.IPv6Address(address))) % 2 == 1
        except ValueError:
            return False

    def have_ipv4(self, number: int) -> bool:
        """As `in`, of the number of an IPv4 address: in less time than its text is looked up."""
        return bisect_right(self._v4, number) % 2 == 1


def _bounds(networks: Iterable[ipaddress.IPv4Network | ipaddress.IPv6Network]) -> list[int]:
    """The first address of a network and the first one after it, of all in order; no two overlap."""
    return [
        bound
        for network in ipaddress.collapse_addresses(networks)  # type: ignore[type-var]
        for bound in (int(network.network_address), int(network.broadcast_address) + 1)
    ]


def read_range(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
    """The network of one range, None when the text is none. `*` only stands for whole last bytes of IPv4."""
    text = text.strip()
    if "*" in text:
        parts = text.split(".")
        fixed = parts.index("*") if "*" in parts else -1
        if len(parts) != 4 or fixed < 0 or any(part != "*" for part in parts[fixed:]):
            return None
        text = ".".join([*parts[:fixed], *["0"] * (4 - fixed)]) + f"/{fixed * 8}"
    try:
        return ipaddress.ip_network(text, strict=False)
    except ValueError:
        return None


def client_address(peer: str, forwarded_for: str, trusted: AddressRanges) -> str:
    """The client's address: the peer's, or behind trusted proxies the last forwarded one that is no proxy."""
    address = canonical_address(peer)
    if not forwarded_for or not trusted or address not in trusted:
        return address
    if "," not in forwarded_for:
        return canonical_address(forwarded_for)
    for hop in reversed(forwarded_for.split(",")):
        address = canonical_address(hop)
        if address not in trusted:
            return address
    return address
