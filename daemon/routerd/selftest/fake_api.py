"""An API that speaks all three formats over HTTP, and can go wrong in every way that one can.

In a process that has other things to do by `fake_api`; as a program of its own by
``python -m routerd.selftest.fake_api '{"status": 503}' [--socket PATH]``, which prints its address.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import socket
import ssl
import struct
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio
import msgspec
from aiohttp import web

from .fake_formats import SPEAKERS, Knobs, embedded

FORMATS = {"/v1/chat/completions": "openai", "/v1/messages": "anthropic", "/v1/responses": "responses"}
EMBEDDINGS = "/v1/embeddings"
FOREVER = 3600.0
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n" * 10_000
_CONTINUE_BYTES = 2**20


@dataclass
class Asked:
    """One request. ``connection`` numbers the connections from 1; ``gone``: its sender left before the end."""

    path: str
    headers: dict[str, str]
    body: dict[str, Any]
    at: float
    connection: int
    gone: bool = False
    ended: bool = False


@dataclass
class FakeApi:
    """Its knobs, and what it was asked."""

    knobs: Knobs = field(default_factory=Knobs)
    asked: list[Asked] = field(default_factory=list)
    base_url: str = ""
    in_flight: int = 0
    most_in_flight: int = 0
    _connections: list[object] = field(default_factory=list)

    @property
    def connections(self) -> int:
        return len(self._connections)

    def connection(self, transport: object) -> int:
        if transport not in self._connections:
            self._connections.append(transport)
        return self._connections.index(transport) + 1


@asynccontextmanager
async def fake_api(
    knobs: Knobs | None = None, *, unix: Path | None = None, tls: ssl.SSLContext | None = None
) -> AsyncIterator[FakeApi]:
    """One on a port of this machine or on the socket ``unix``; ``tls`` has its certificate, for localhost."""
    api = FakeApi(knobs or Knobs())

    async def handle(request: web.Request) -> web.StreamResponse:
        return await _handle(api, request)

    app = web.Application(client_max_size=2**28)
    for path in (*FORMATS, EMBEDDINGS):
        app.router.add_post(path, handle)
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1, access_log=None)
    await runner.setup()
    try:
        if unix:
            await web.UnixSite(runner, str(unix)).start()
            api.base_url = f"unix:{unix}"
        else:
            await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls).start()
            port = runner.addresses[0][1]
            api.base_url = f"https://localhost:{port}/v1" if tls else f"http://127.0.0.1:{port}/v1"
        yield api
    finally:
        await runner.cleanup()


def refused_url() -> str:
    """An address of this machine where nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{probe.getsockname()[1]}/v1"


async def _handle(api: FakeApi, request: web.Request) -> web.StreamResponse:
    headers = {name.lower(): value for name, value in request.headers.items()}
    body = json.loads(await request.read())
    connection = api.connection(request.transport)
    again = any(other.connection == connection for other in api.asked)
    asked = Asked(request.path, headers, body, time.monotonic(), connection)
    api.asked.append(asked)
    knobs = api.knobs
    if knobs.times is not None and len(api.asked) > knobs.times:
        knobs = Knobs(pieces=knobs.pieces)
    api.in_flight += 1
    api.most_in_flight = max(api.most_in_flight, api.in_flight)
    try:
        return await _Answer(knobs, request, headers).give(again=again)
    except (asyncio.CancelledError, ConnectionError):
        asked.gone = True
        raise
    finally:
        asked.ended = True
        api.in_flight -= 1


class _Answer:
    def __init__(self, knobs: Knobs, request: web.Request, headers: dict[str, str]) -> None:
        self.knobs = knobs
        self.request = request
        self.headers = headers
        self._speak = SPEAKERS[FORMATS.get(request.path, "openai")]
        self.stream = web.StreamResponse(headers={"Content-Type": knobs.content_type, **knobs.headers})

    async def give(self, *, again: bool) -> web.StreamResponse:
        """``again``: it is not the connection's first request."""
        knobs, speak = self.knobs, self._speak
        await anyio.sleep(knobs.before_headers)
        if knobs.reset or (knobs.stale and again):
            return self._reset()
        if knobs.interim:
            await self._continue()
        if knobs.key and knobs.key not in (self.headers.get("x-api-key"), self.headers.get("authorization", "")[7:]):
            return web.json_response({"error": {"message": "no such key", "code": "invalid_api_key"}}, status=401)
        if knobs.body is not None or knobs.status >= 300:
            body = knobs.body if knobs.body is not None else json.dumps({"error": knobs.error})
            headers = {"Content-Type": "application/json", **knobs.headers}
            return web.Response(status=knobs.status, text=body, headers=headers)
        if self.request.path == EMBEDDINGS:
            return web.json_response(embedded(json.loads(await self.request.read())))
        if knobs.whole:
            return web.json_response(speak.whole(knobs))
        await self.stream.prepare(self.request)
        await self._pause(knobs.before_first)
        for number, event in enumerate([*speak.head(knobs), *speak.pieces(knobs)]):
            if await self._goes_wrong(number - len(speak.head(knobs))):
                return self.stream
            if number:
                await self._pause(knobs.between)
            await self._send(event)
        for event in speak.tail(knobs):
            await self._send(event)
        await self.stream.write_eof()
        return self.stream

    async def _goes_wrong(self, sent: int) -> bool:
        """Whether that was all, after ``sent`` pieces."""
        knobs = self.knobs
        if sent == knobs.stall_after:
            await self._pause(FOREVER)
        if sent == knobs.cut_after:
            self._reset()
        if sent == knobs.garbage_after:
            await self.stream.write(knobs.garbage.encode())
        if sent == knobs.error_after:
            await self._send(self._speak.error(knobs))
        if sent == knobs.huge_after:
            await self.stream.write(b"data: " + b"x" * knobs.huge + b"\n\n")
        return sent in (knobs.cut_after, knobs.error_after)

    async def _pause(self, seconds: float) -> None:
        if not self.knobs.pings:
            await anyio.sleep(seconds)
            return
        end = anyio.current_time() + seconds
        while anyio.current_time() < end:
            await self.stream.write(b": ping\n\n")
            await anyio.sleep(self.knobs.pings)

    async def _send(self, event: str) -> None:
        if not self.knobs.drip:
            await self.stream.write(event.encode())
            return
        for byte in event.encode():
            await self.stream.write(bytes([byte]))
            await anyio.sleep(self.knobs.drip)

    async def _continue(self) -> None:
        """Say that the answer is still to come, until the caller leaves."""
        while transport := self.request.transport:
            if transport.get_write_buffer_size() < _CONTINUE_BYTES:
                transport.write(_CONTINUE)
            await asyncio.sleep(0.001)
        raise ConnectionResetError

    def _reset(self) -> web.StreamResponse:
        transport = self.request.transport
        if transport is not None:
            raw = transport.get_extra_info("socket")
            if raw.family != socket.AF_UNIX:
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            transport.abort()
        return self.stream


async def _main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("knobs", nargs="?", default="{}")
    parser.add_argument("--socket", type=Path)
    options = parser.parse_args()
    async with fake_api(msgspec.json.decode(options.knobs, type=Knobs), unix=options.socket) as api:
        sys.stdout.write(f"{api.base_url}\n")
        sys.stdout.flush()
        await anyio.sleep_forever()


if __name__ == "__main__":
    asyncio.run(_main())
