"""A socket on which every request is answered with the one reason why there is no daemon yet."""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence
from pathlib import Path

import anyio
import anyio.abc
import structlog

from routerd_client.framing import FrameTooLongError
from routerd_client.protocol import PROTOCOL, Cancel, Error, ErrorCode, Event, Hello, Request, Welcome

from .. import __version__
from .codec import Codec, FrameCodec, LineCodec
from .peer import peer_uid

log = structlog.get_logger()


class Refusing:
    """Answers on the claimed ``path``, or on the sockets ``given``, whose descriptors it copies."""

    def __init__(self, path: Path, given: Sequence[socket.socket], message: str, hint: str) -> None:
        self._path = path
        self._given = given
        self._message = message
        self._hint = hint

    async def run(self, *, task_status: anyio.abc.TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Answer until cancelled; reports started when connections are accepted."""
        listeners = [await anyio.abc.SocketListener.from_socket(given.dup()) for given in self._given]
        if not listeners:
            listeners = [await anyio.create_unix_listener(self._path, mode=0o600)]
        async with anyio.create_task_group() as tasks:
            task_status.started()
            for listener in listeners:
                tasks.start_soon(listener.serve, self._connection, tasks)

    async def _connection(self, stream: anyio.abc.SocketStream) -> None:
        try:
            async with stream:
                if peer_uid(stream.extra(anyio.abc.SocketAttribute.raw_socket)) == os.getuid():
                    await self._answer(stream)
        except (anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError, FrameTooLongError, OSError):
            pass  # it went away, or speaks something else
        except Exception:
            log.exception("session.internal_error")  # one peer's trouble must not end the wait for a right file

    async def _answer(self, stream: anyio.abc.SocketStream) -> None:
        chunk = await stream.receive(262144)
        codec: Codec = LineCodec() if chunk[:1] == b"{" else FrameCodec()
        while True:
            events = [self._event(codec.decode(body)) for body in codec.split(chunk)]
            await stream.send(b"".join(codec.encode(event) for event in events if event))
            chunk = await stream.receive(262144)

    def _event(self, request: Request | Error) -> Event | None:
        match request:
            case Error():
                return request
            case Cancel():
                return None
            case Hello():
                return Welcome(id=request.id, protocol=PROTOCOL, version=__version__, pid=os.getpid())
        return Error(id=request.id, code=ErrorCode.CONFIG, message=self._message, hint=self._hint, retryable=True)
