"""Prometheus text, and the small server that shows it for stages that answer nothing else."""

import json
import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal

logger = logging.getLogger(__name__)

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


@dataclass(frozen=True)
class Family:
    """One metric: its samples by labels."""

    name: str
    kind: Literal["counter", "gauge"]
    meaning: str
    samples: Sequence[tuple[Mapping[str, str], float]] = field(default_factory=list)


def one(name: str, kind: Literal["counter", "gauge"], meaning: str, value: float) -> Family:
    """A metric without labels."""
    return Family(name, kind, meaning, [({}, value)])


def by(
    label: str, name: str, kind: Literal["counter", "gauge"], meaning: str, values: Mapping[str, float]
) -> Family:
    """A metric with one label."""
    return Family(name, kind, meaning, [({label: key}, value) for key, value in sorted(values.items())])


def exposition(families: Sequence[Family]) -> str:
    """The text exposition format, one line per sample."""
    lines = []
    for family in families:
        lines.append(f"# HELP {family.name} {family.meaning}")
        lines.append(f"# TYPE {family.name} {family.kind}")
        for labels, value in family.samples:
            shown = ",".join(f'{name}="{_escaped(text)}"' for name, text in labels.items())
            lines.append(f"{family.name}{f'{{{shown}}}' if shown else ''} {value:.15g}")
    return "\n".join(lines) + "\n"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


class StageServer:
    """/metrics, /health/live and /health/ready of one process, until `close`.

    `problem` says why the stage does not work, empty when it does."""

    def __init__(self, host: str, port: int, metrics: Callable[[], str], problem: Callable[[], str]) -> None:
        """Listens on return; raises OSError. Port 0: none."""
        self.port = 0
        self._server: ThreadingHTTPServer | None = None
        if not port:
            return
        self._server = _server(host, port, metrics, problem)
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, name="metrics", daemon=True).start()

    def close(self) -> None:
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()


def _server(
    host: str, port: int, metrics: Callable[[], str], problem: Callable[[], str]
) -> ThreadingHTTPServer:
    class Handler(BaseHTTPRequestHandler):
        timeout = 10

        def do_GET(self) -> None:
            match self.path.partition("?")[0]:
                case "/metrics":
                    self._send(200, metrics(), CONTENT_TYPE)
                case "/health/live":
                    self._send(200, "live\n", "text/plain; charset=utf-8")
                case "/health" | "/health/ready":
                    said = problem()
                    body = json.dumps({"ready": not said, "problem": said}) + "\n"
                    self._send(503 if said else 200, body, "application/json")
                case _:
                    self._send(404, "Only /metrics and /health are here.\n", "text/plain; charset=utf-8")

        def _send(self, status: int, text: str, kind: str) -> None:
            body = text.encode()
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            logger.debug(format, *args)

    server = ThreadingHTTPServer((host, port), Handler)
    server.daemon_threads = True
    return server
