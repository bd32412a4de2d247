"""A client of the first rank's server: one connection a request, every answer a stream."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
import anyio.abc
from anyio.streams.buffered import BufferedByteReceiveStream

from .hosts import THIS_MACHINE
from .question import PROBE

HEAD_BYTES = 64 * 1024
EVENT_BYTES = 16 * 1024 * 1024
ERROR_BYTES = 4096
ANSWER_S = 5.0
"""How long the server may take to say whether it is well."""
DONE = b"data: [DONE]"


class CutError(Exception):
    """The connection could not be made, or ended before the answer did."""


class RefusedError(Exception):
    """The server answered with an error, whose text this carries."""


class Server:
    """The server on ``port`` of this machine. It need not listen yet, or any more."""

    def __init__(self, port: int) -> None:
        self._port = port

    async def listens(self) -> bool:
        try:
            async with await anyio.connect_tcp(THIS_MACHINE, self._port):
                return True
        except OSError:
            return False

    async def healthy(self) -> bool:
        """Whether it can still generate: its socket outlives what generates."""
        with anyio.move_on_after(ANSWER_S):
            try:
                async with self._request(b"GET /health HTTP/1.0\r\n\r\n"):
                    return True
            except (CutError, RefusedError):
                return False
        return False

    async def first_token(self) -> None:
        """Have one token generated. Raises what `chat` raises; blocks for as long as the model loads."""
        async with self.chat(PROBE) as events:
            async for _ in events:
                pass

    async def lives(self) -> bool:
        """Whether a token can be had; blocks as long as that takes."""
        try:
            await self.first_token()
        except (CutError, RefusedError):
            return False
        return True

    @asynccontextmanager
    async def chat(self, body: bytes) -> AsyncIterator[AsyncIterator[bytes]]:
        """The events of a streamed answer up to its end mark, which is left out; leaving early cancels it.

        Raises `RefusedError`, and `CutError` also from the iteration, where the end mark never came.
        """
        head = b"POST /v1/chat/completions HTTP/1.0\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
        async with self._request(head % len(body) + body) as received:
            yield _events(received)

    @asynccontextmanager
    async def _request(self, request: bytes) -> AsyncIterator[BufferedByteReceiveStream]:
        try:
            stream = await anyio.connect_tcp(THIS_MACHINE, self._port)
        except OSError as exc:
            raise CutError(f"the first rank's server cannot be reached: {exc}") from exc
        async with stream:
            received = BufferedByteReceiveStream(stream)
            try:
                await stream.send(request)
                head = await received.receive_until(b"\r\n\r\n", HEAD_BYTES)
            except (anyio.IncompleteRead, anyio.BrokenResourceError, anyio.DelimiterNotFound) as exc:
                raise CutError("the first rank's server did not answer") from exc
            if head.split(None, 2)[1:2] != [b"200"]:
                raise RefusedError(await _rest(received))
            yield received


async def _events(received: BufferedByteReceiveStream) -> AsyncIterator[bytes]:
    while True:
        try:
            event = await received.receive_until(b"\n\n", EVENT_BYTES)
        except (anyio.IncompleteRead, anyio.BrokenResourceError, anyio.DelimiterNotFound) as exc:
            raise CutError("the answer ended without its end mark") from exc
        if event == DONE:
            return
        yield event


async def _rest(received: BufferedByteReceiveStream) -> str:
    """What is left of a short answer."""
    rest = b""
    try:
        while len(rest) < ERROR_BYTES:
            rest += await received.receive()
    except (anyio.EndOfStream, anyio.BrokenResourceError):
        pass  # it ends when it is whole
    return rest.decode(errors="replace")
