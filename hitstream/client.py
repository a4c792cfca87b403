"""Talks to a running instance over HTTP: what the operator commands share."""

import http.client
import json
import urllib.parse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hitstream.data_directory import running_instance, stored_token
from hitstream.settings import ClientSettings


class InstanceError(Exception):
    """The instance can't be reached or refused; the message says the way out."""


class InstanceClient:
    """One keep-alive connection to an instance. Not for several threads."""

    def __init__(self, url: str, token: str, timeout: float = 600.0) -> None:
        parts = urllib.parse.urlsplit(url if "//" in url else "http://" + url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise InstanceError(f"{url!r} is not the address of an instance: expected http://host:port")
        kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        self.url = f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/')}"
        self.token = token
        self._prefix = parts.path.rstrip("/")
        self._connection = kind(parts.hostname, parts.port, timeout=timeout)

    def request(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> tuple[int, bytes]:
        """Status and body; see `answer`."""
        status, answered, _ = self.answer(method, path, body, headers)
        return status, answered

    def answer(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> tuple[int, bytes, Mapping[str, str]]:
        """Status, body and headers. A connection that the instance closed meanwhile is opened anew, once,
        when nothing was answered; raises InstanceError when it can't be reached."""
        sent = {"Authorization": f"Bearer {self.token}", **(headers or {})}
        for attempt in (0, 1):
            try:
                self._connection.request(method, self._prefix + path, body, sent)
                answer = self._connection.getresponse()
                return answer.status, answer.read(), dict(answer.getheaders())
            except (http.client.RemoteDisconnected, BrokenPipeError, ConnectionResetError) as error:
                self._connection.close()
                # A POST that was cut off may have been carried out: the caller decides whether to repeat it.
                if attempt or method != "GET":
                    raise InstanceError(f"{self.url} closed the connection: {error}") from None
            except (OSError, http.client.HTTPException) as error:
                self._connection.close()
                raise InstanceError(
                    f"no answer from {self.url}: {error}; is `hitstream up` (or `make run`) running?"
                ) from None
        raise AssertionError("unreachable")

    def json(self, method: str, path: str, **parameters: str) -> dict[str, Any]:
        """A JSON object of an operator endpoint; raises InstanceError with the instance's own message."""
        body = urllib.parse.urlencode(parameters).encode() if method == "POST" else None
        if method == "GET" and parameters:
            path += "?" + urllib.parse.urlencode(parameters)
        headers = {"Content-Type": "application/x-www-form-urlencoded"} if body is not None else {}
        status, answer = self.request(method, path, body, headers)
        try:
            found = json.loads(answer)
        except ValueError:
            found = None
        if status != 200 or not isinstance(found, dict):
            said = found.get("error") if isinstance(found, dict) else answer[:200].decode("utf-8", "replace")
            raise InstanceError(f"{self.url}{path.partition('?')[0]} answered {status}: {said}")
        return found

    def api(self, name: str, **parameters: str) -> Any:
        """The answer of a method of the Reporting API; raises InstanceError with its message."""
        body = urllib.parse.urlencode({"module": "API", "method": name, "format": "json", **parameters})
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        status, answer = self.request("POST", "/index.php", body.encode(), headers)
        try:
            found = json.loads(answer)
        except ValueError:
            found = {"result": "error", "message": answer[:200].decode("utf-8", "replace")}
        if status != 200 or (isinstance(found, dict) and found.get("result") == "error"):
            raise InstanceError(f"{name}: {found.get('message', status)}")
        return found

    def close(self) -> None:
        self._connection.close()


def find_instance(settings: ClientSettings, url: str = "", token: str = "") -> InstanceClient:
    """The named instance, else the one running on the data directory; raises InstanceError."""
    known = running_instance(settings.data_dir)
    url = url or settings.url or (known.url if known else "")
    if not url:
        raise InstanceError(
            f"no instance runs on {settings.data_dir.resolve()}: start one with `hitstream up`, "
            "or name it with --url or HITSTREAM_URL"
        )
    token = token or settings.admin_token or stored_token(settings.data_dir)
    if not token:
        raise InstanceError(
            f"no token found in {settings.data_dir.resolve()}: set HITSTREAM_ADMIN_TOKEN"
            " or HITSTREAM_DATA_DIR"
        )
    return InstanceClient(url, token)


def sql_url(data_dir: Path) -> str:
    """Address of the SQL endpoint of the running instance, or empty."""
    known = running_instance(data_dir)
    return known.sql_url if known else ""
