"""An ingest process in the test's own, asked over HTTP."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import aiohttp
from yarl import URL

from ingest.app import PROCESS, create_app
from ingest.server import Listener
from ingest.settings import IngestSettings
from schemas.config import Config, ConfigEvent, Site
from schemas.hit import Hit, decode_hit
from stream.config import ConfigWriter
from stream.embedded import EmbeddedLog
from tests.waiting import PATIENCE_SECONDS

TOKEN = "0123456789abcdef0123456789abcdef"
PIXEL = "/matomo.php?idsite=1&rec=1"


class Running:
    """An ingest process in this one, with the writer of its configuration."""

    def __init__(self, data_dir: Path, **changes: object) -> None:
        self.settings = IngestSettings(
            data_dir=data_dir,
            port=0,
            admin_token=TOKEN,
            config_refresh_s=0.005,
            **changes,  # type: ignore[arg-type]
        )
        self.log = EmbeddedLog(data_dir / "log", 2)
        self.config = ConfigWriter(self.log)

    async def __aenter__(self) -> "Running":
        if not self.config.current.sites:
            self.config.write(ConfigEvent(at=0, site=Site(site_id=1, name="one")))
        self.app = create_app(self.settings, self.log)
        self.listener = Listener(self.app, self.settings)
        await self.listener.start()
        self.client = aiohttp.ClientSession(
            f"http://127.0.0.1:{self.listener.port}", auto_decompress=False, raise_for_status=False
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.client.close()
        await self.listener.stop()
        self.config.close()

    def configure(self, **events: object) -> Config:
        """Write a configuration event and let the process read it."""
        config = self.config.write(ConfigEvent(at=0, **events))  # type: ignore[arg-type]
        self.app[PROCESS].refresh()
        return config

    async def get(self, path: str, **more: object) -> tuple[int, bytes]:
        url = URL(f"http://127.0.0.1:{self.listener.port}{path}", encoded=True)
        async with self.client.get(url, **more) as answer:  # type: ignore[arg-type]
            return answer.status, await answer.read()

    async def post(self, body: bytes | str, path: str = "/matomo.php", **headers: str) -> tuple[int, bytes]:
        async with self.client.post(path, data=body, headers=headers) as answer:
            return answer.status, await answer.read()

    def hits(self) -> list[Hit]:
        return hits_of(EmbeddedLog(self.settings.data_dir / "log"))


def hits_of(log: EmbeddedLog) -> list[Hit]:
    """All hits of a log, in order of acceptance."""
    reader = log.reader()
    hits = []
    for partition in range(log.partitions):
        offset = 0
        while (batch := reader.read("hits", partition, offset, 1000)) is not None:
            hits += [decode_hit(message.value) for message in batch.messages]
            offset = batch.next_offset
    reader.close()
    return sorted(hits, key=lambda hit: hit.hit_id)


def run(tmp_path: Path, story: Callable[[Running], Awaitable[None]], **changes: object) -> None:
    async def tell() -> None:
        async with Running(tmp_path, **changes) as running:
            await story(running)

    asyncio.run(tell())


async def answer_of(reader: asyncio.StreamReader) -> bytes:
    return await asyncio.wait_for(reader.read(100), PATIENCE_SECONDS)
