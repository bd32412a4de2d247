"""What goes out on one connection: in order, many events a send, bounded."""

from __future__ import annotations

import anyio
import anyio.abc

HIGH_WATER = 256 * 1024
"""Bytes waiting to be sent; past this whoever wants to send waits. As many again may be under way."""


class Outbox:
    """Collects encoded events and sends them together.

    `run` sends; `put` may be called by any task and waits while the peer does not read. `put_now`
    is the reader's short cut: with nothing waiting it sends at once, without a switch of tasks.
    """

    def __init__(self, stream: anyio.abc.SocketStream) -> None:
        self._stream = stream
        self._waiting: list[bytes] = []
        self._size = 0
        self._sending = False
        self._news = anyio.Event()
        self._room = anyio.Event()

    def __repr__(self) -> str:
        return f"<Outbox {self._size} bytes waiting{' sending' if self._sending else ''}>"

    async def put(self, data: bytes) -> None:
        self._waiting.append(data)
        self._size += len(data)
        self._news.set()
        while self._size > HIGH_WATER:
            await self._sent()

    async def put_now(self, data: bytes) -> None:
        if self._waiting or self._sending:
            await self.put(data)
            return
        await self._send(data)
        if self._waiting:
            self._news.set()

    async def run(self) -> None:
        """Send what is put until cancelled, or until the peer is gone (an exception of anyio's)."""
        while True:
            await self._news.wait()
            self._news = anyio.Event()
            while self._waiting and not self._sending:
                data = b"".join(self._waiting)
                self._waiting.clear()
                self._size = 0
                await self._send(data)

    async def flush(self) -> None:
        """Wait until everything that was put has been sent."""
        while self._waiting or self._sending:
            await self._sent()

    async def _sent(self) -> None:
        if self._room.is_set():
            self._room = anyio.Event()
        await self._room.wait()

    async def _send(self, data: bytes) -> None:
        self._sending = True
        try:
            await self._stream.send(data)
        finally:
            self._sending = False
            self._room.set()
