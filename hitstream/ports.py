"""Ports for processes that are started soon."""

import secrets
import socket

_kept: dict[int, socket.socket] = {}


def free_port() -> int:
    """A TCP port of 127.0.0.1 that no other caller gets while this process lives: it keeps the UDP port of
    the same number. Below the ports that a system gives to connections, which may take one at any moment."""
    return free_ports(1)[0]


def free_ports(count: int) -> range:
    """Some, one after the other."""
    while True:
        first = 20_000 + secrets.randbelow(10_000)
        ports = range(first, first + count)
        if all(_keep(port) for port in ports):
            return ports


def _keep(port: int) -> bool:
    keeper = socket.socket(type=socket.SOCK_DGRAM)
    with socket.socket() as probe:
        try:
            keeper.bind(("127.0.0.1", port))
            probe.bind(("127.0.0.1", port))
        except OSError:
            keeper.close()
            return False
    _kept[port] = keeper
    return True
