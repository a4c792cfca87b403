"""A light load generator: request bytes made beforehand, plain sockets, one process.

    python -m bench.sender FILE HOST PORT CONNECTIONS RATE

RATE is requests per second, 0 as fast as possible.

FILE holds requests, each after its length as four bytes. Prints a JSON line: requests, seconds, when it began
(unix seconds), CPU seconds of its own, latency and statuses. Latency is counted from when a request was due,
so that waiting for a slow server shows.
"""

import json
import selectors
import socket
import sys
import time
from pathlib import Path


def pack(requests: list[bytes]) -> bytes:
    """The content of FILE."""
    return b"".join(len(request).to_bytes(4, "big") + request for request in requests)


def unpack(content: bytes) -> list[bytes]:
    requests, at = [], 0
    while at < len(content):
        size = int.from_bytes(content[at : at + 4], "big")
        requests.append(content[at + 4 : at + 4 + size])
        at += 4 + size
    return requests


def answer_length(head: bytes, end: int) -> int:
    """Bytes of an answer whose head ends at `end`."""
    at = head.find(b"ontent-Length: ", 0, end)
    if at < 0:
        return end
    return end + int(head[at + 15 : head.find(b"\r", at)])


def run(requests: list[bytes], host: str, port: int, connections: int, rate: float) -> dict[str, object]:
    """Each connection has one request under way, as trackers do; it is opened when it is needed, since a
    server cuts those over which nothing comes."""
    selector = selectors.DefaultSelector()
    idle: list[socket.socket] = []
    due: dict[socket.socket, float] = {}
    buffers: dict[socket.socket, bytes] = {}
    latencies: list[float] = []
    statuses: dict[str, int] = {}
    following, total = 0, len(requests)
    began, began_at, used = time.perf_counter(), time.time(), time.process_time()
    while len(latencies) < total:
        now = time.perf_counter()
        while following < total and (idle or len(buffers) < connections):
            at = began + following / rate if rate else now
            if at > now:
                break
            if idle:
                connection = idle.pop()
            else:
                connection = socket.create_connection((host, port))
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                selector.register(connection, selectors.EVENT_READ)
                buffers[connection] = b""
            connection.sendall(requests[following])
            due[connection] = at
            following += 1
        wait = None
        if rate and following < total and (idle or len(buffers) < connections):
            wait = max(0.0, began + following / rate - time.perf_counter())
        for key, _ in selector.select(wait):
            connection = key.fileobj  # type: ignore[assignment]
            received = connection.recv(262144)
            if not received:
                raise ConnectionError(f"the server closed a connection after {len(latencies)} answers")
            buffer = buffers[connection] + received
            end = buffer.find(b"\r\n\r\n")
            if end >= 0 and len(buffer) >= answer_length(buffer, end + 4):
                latencies.append(time.perf_counter() - due.pop(connection))
                status = buffer[9:12].decode()
                statuses[status] = statuses.get(status, 0) + 1
                buffer = b""
                idle.append(connection)
            buffers[connection] = buffer
    seconds = time.perf_counter() - began
    latencies.sort()
    return {
        "requests": total,
        "seconds": seconds,
        "began_at": began_at,
        "cpu_seconds": time.process_time() - used,
        "statuses": statuses,
        "p50_ms": 1000 * latencies[total // 2],
        "p99_ms": 1000 * latencies[int(total * 0.99)],
    }


if __name__ == "__main__":
    file, host, port, connections, rate = sys.argv[1:]
    found = run(unpack(Path(file).read_bytes()), host, int(port), int(connections), float(rate))
    print(json.dumps(found))
