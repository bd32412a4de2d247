"""The makers' own clients, pointed at a daemon: over TCP or over its Unix socket."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import anthropic
import httpx2
import openai
import pytest

from routerd.gateway.token import FILE
from tests.support.daemon import Running, running_daemon
from tests.support.wait import until

HTTP = "http: {listen: 127.0.0.1:0}"
"""For routes.yaml."""

each_way = pytest.mark.parametrize("way", ["tcp", "unix"])


class Door:
    """Where a daemon is asked over HTTP: ``url`` without the version, ``key``, and ``uds`` where it is a socket."""

    def __init__(self, url: str, key: str, uds: str | None) -> None:
        self.url = url
        self.key = key
        self.uds = uds

    @asynccontextmanager
    async def anthropic(self) -> AsyncIterator[anthropic.AsyncAnthropic]:
        async with httpx2.AsyncClient(transport=httpx2.AsyncHTTPTransport(uds=self.uds), timeout=60) as http:
            yield anthropic.AsyncAnthropic(base_url=self.url, api_key=self.key, max_retries=0, http_client=http)

    @contextmanager
    def anthropic_sync(self) -> Iterator[anthropic.Anthropic]:
        with httpx2.Client(transport=httpx2.HTTPTransport(uds=self.uds), timeout=60) as http:
            yield anthropic.Anthropic(base_url=self.url, api_key=self.key, max_retries=0, http_client=http)

    @asynccontextmanager
    async def openai(self) -> AsyncIterator[openai.AsyncOpenAI]:
        async with httpx2.AsyncClient(transport=httpx2.AsyncHTTPTransport(uds=self.uds), timeout=60) as http:
            yield openai.AsyncOpenAI(base_url=f"{self.url}/v1", api_key=self.key, max_retries=0, http_client=http)

    @asynccontextmanager
    async def plain(self) -> AsyncIterator[httpx2.AsyncClient]:
        """No SDK."""
        transport = httpx2.AsyncHTTPTransport(uds=self.uds)
        headers = {"authorization": f"Bearer {self.key}"}
        async with httpx2.AsyncClient(transport=transport, base_url=self.url, headers=headers, timeout=60) as http:
            yield http


async def door(running: Running, way: str = "unix") -> Door:
    """``tcp`` needs `HTTP` in routes.yaml."""
    if way == "unix":
        return Door("http://localhost", "none", str(running.socket))
    gateway = running.daemon.gateway
    url = await until(lambda: gateway.address, "the front listens", deadline=60)
    return Door(url, (running.places.state / FILE).read_text().strip(), None)


@asynccontextmanager
async def front(folder: Path, text: str, way: str = "unix") -> AsyncIterator[Door]:
    """A daemon in this process, with `routes` as ``text``."""
    async with running_daemon(folder, text) as running:
        yield await door(running, way)
