"""Hits for tests with a whole instance: of any visitor, at any second of an old day."""

import json
from collections.abc import Sequence
from urllib.parse import urlencode

from tests.instance import RunningInstance

AGENT = "Mozilla/5.0 (X11; Linux x86_64; rv:133.0) Gecko/20100101 Firefox/133.0"


def hit(visitor: int, second: int, path: str, **fields: str) -> str:
    """A hit on 2026-09-10, `second` after noon."""
    at = f"2026-09-10 {12 + second // 3600:02d}:{second // 60 % 60:02d}:{second % 60:02d}"
    return "?" + urlencode(
        {
            "idsite": "1", "rec": "1", "url": f"http://one.example/{path}", "action_name": path,
            "cid": f"{visitor:016x}", "cdt": at, "ua": AGENT, **fields,
        }
    )  # fmt: skip


def send(instance: RunningInstance, hits: Sequence[str]) -> None:
    client = instance.client()
    body = json.dumps({"requests": list(hits), "token_auth": instance.token}).encode()
    status, answer = client.request("POST", "/matomo.php", body)
    client.close()
    assert (status, json.loads(answer)["invalid"]) == (200, 0), answer
