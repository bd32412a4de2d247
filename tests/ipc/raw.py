"""The protocol without a client: bytes on the daemon's socket."""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import anyio.abc

from routerd_client import protocol
from routerd_client.chat import ChatRequest, Message
from routerd_client.framing import FrameBuffer, pack
from routerd_client.protocol import Event, Request

DEADLINE = 10.0


class Raw:
    """One connection; every wait has a deadline."""

    def __init__(self, stream: anyio.abc.SocketStream) -> None:
        self.stream = stream
        self._frames = FrameBuffer()
        self._waiting: list[Event] = []

    async def send(self, *requests: Request) -> None:
        await self.stream.send(b"".join(pack(protocol.encoder.encode(request)) for request in requests))

    async def event(self) -> Event:
        """The next event, whichever request it answers."""
        with anyio.fail_after(DEADLINE):
            while not self._waiting:
                frames = self._frames.feed(await self.stream.receive())
                self._waiting += [protocol.event_decoder.decode(frame) for frame in frames]
        return self._waiting.pop(0)

    async def bytes(self) -> bytes:
        """What comes next, as it comes; empty where the daemon has closed the connection."""
        with anyio.fail_after(DEADLINE):
            try:
                return await self.stream.receive()
            except (anyio.EndOfStream, anyio.BrokenResourceError):
                return b""

    async def answer(self, id_: int) -> list[Event]:
        """All events of request ``id_`` up to its end; those of others are dropped."""
        events: list[Event] = []
        while not (events and isinstance(events[-1], protocol.TERMINAL)):
            event = await self.event()
            if event.id == id_:
                events.append(event)
        return events

    async def rest(self) -> bytes:
        """All that comes until the daemon closes the connection."""
        received = b""
        while chunk := await self.bytes():
            received += chunk
        return received


@asynccontextmanager
async def connected(socket: Path) -> AsyncIterator[Raw]:
    async with await anyio.connect_unix(os.fspath(socket)) as stream:
        yield Raw(stream)


def chat(id_: int, text: str = "hello", *, restarts: bool = False, **fields: Any) -> protocol.Chat:
    """A streamed chat."""
    asked = ChatRequest(messages=[Message("user", text)], **{"stream": True, **fields})
    return protocol.Chat(id=id_, chat=asked, restarts=restarts)


def recorded(file: Path, what: str) -> list[dict[str, Any]]:
    """What a fake worker wrote of one kind of message it got."""
    lines = file.read_text().splitlines() if file.exists() else []
    return [line for line in map(json.loads, lines) if line["what"] == what]
