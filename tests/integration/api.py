"""The Reporting API on a log of its own, asked over HTTP."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Any

from aiohttp.test_utils import TestClient, TestServer

from reporting.app import ReportingSetup, Resources, create_app
from reporting.methods import METHODS
from schemas.config import Config

ADMIN = "a" * 32


class Api:
    """An application on a log of its own, asked as a client does."""

    def __init__(self, resources: Resources, executor: ThreadPoolExecutor) -> None:
        self.resources = resources
        self._executor = executor
        self.methods = METHODS

    @asynccontextmanager
    async def client(self) -> AsyncIterator[TestClient[Any, Any]]:
        setup = ReportingSetup(
            resources=lambda: self.resources, executor=self._executor, methods=self.methods
        )
        async with TestClient(TestServer(create_app(setup))) as client:
            yield client

    def ask_all(self, forms: Sequence[Mapping[str, str]], token: str = ADMIN) -> list[tuple[int, str]]:
        """Status and body of each of many calls, one after the other."""

        async def run() -> list[tuple[int, str]]:
            answers = []
            async with self.client() as client:
                for form in forms:
                    data = {"module": "API", **form, **({"token_auth": token} if token else {})}
                    response = await client.post("/index.php", data=data)
                    answers.append((response.status, await response.text(errors="replace")))
            return answers

        return asyncio.run(run())

    def ask(self, method: str, token: str = ADMIN, **parameters: Any) -> tuple[int, Any]:
        """Status and decoded JSON of one call, parameters and token in the body."""

        async def run() -> tuple[int, Any]:
            async with self.client() as client:
                form = {"module": "API", "method": method, "format": "json", **parameters}
                if token:
                    form["token_auth"] = token
                response = await client.post("/index.php", data=form)
                return response.status, json.loads(await response.text())

        return asyncio.run(run())

    def value(self, method: str, token: str = ADMIN, **parameters: Any) -> Any:
        status, answer = self.ask(method, token, **parameters)
        assert status == 200, answer
        assert not (isinstance(answer, dict) and answer.get("result") == "error"), answer
        return answer["value"] if isinstance(answer, dict) and set(answer) == {"value"} else answer

    def refusal(self, method: str, token: str = ADMIN, **parameters: Any) -> tuple[int, str]:
        status, answer = self.ask(method, token, **parameters)
        assert isinstance(answer, dict), answer
        assert answer.get("result") == "error", answer
        return status, answer["message"]

    @property
    def config(self) -> Config:
        return self.resources.config()
