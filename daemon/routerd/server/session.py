"""One connection: its requests in, its events out, and the end of everything it asked for when it goes."""

from __future__ import annotations

import os
import select
from collections.abc import Awaitable, Callable

import anyio
import anyio.abc
import structlog

from routerd_client.framing import FrameTooLongError
from routerd_client.protocol import PROTOCOL, Cancel, Error, ErrorCode, Event, Hello, Request, Welcome

from .. import __version__
from ..dispatch.elements import TOO_MANY, too_many
from .codec import SPOKEN, UNSENDABLE, Codec, FrameCodec, LineCodec
from .handlers import BACKGROUND, IMMEDIATE
from .outbox import Outbox
from .services import Services

log = structlog.get_logger()

MAX_OPEN = 1024
"""Requests one connection may have open at a time."""

MAX_NAME = 256
"""Characters of a client's name that are kept."""
HANG_UP_POLL_S = 0.05

Respond = Callable[[Event], Awaitable[None]]


class Session:
    """One connected client. `run` returns when it has gone; its open requests are cancelled with it."""

    def __init__(self, stream: anyio.abc.SocketStream, services: Services, first: bytes) -> None:
        self.client = ""
        self._stream = stream
        self._services = services
        self._codec: Codec = LineCodec() if first[:1] == b"{" else FrameCodec()
        self._first = first
        self._outbox = Outbox(stream)
        self._open: dict[int, anyio.CancelScope] = {}

    def __repr__(self) -> str:
        return f"<Session {self.client or 'unnamed'} {len(self._open)} open {self._outbox}>"

    async def run(self) -> None:
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._outbox.run)
                await self._read(tasks)
                tasks.cancel_scope.cancel()
        except* (anyio.BrokenResourceError, anyio.ClosedResourceError, OSError):
            pass  # the client went away; that is how most sessions end

    async def _read(self, tasks: anyio.abc.TaskGroup) -> None:
        chunk = self._first
        while True:
            try:
                bodies = self._codec.split(chunk)
            except FrameTooLongError as error:
                await self._refuse(f"{error}; the connection is closed")
                return
            # Whatever one receive brought is answered in one send.
            answers = [self._terminal(event) for body in bodies if (event := await self._taken(body, tasks))]
            if answers:
                await self._outbox.put_now(b"".join(answers))
            try:
                chunk = await self._stream.receive(262144)
            except anyio.EndOfStream:
                await self._finish()
                return

    async def _finish(self) -> None:
        """The client will ask nothing more. One that only closed its sending side, as ``echo ... | socat``
        does, still gets its answers; one that is gone is told apart by the hang-up that poll reports."""
        poll = select.poll()
        poll.register(self._stream.extra(anyio.abc.SocketAttribute.raw_socket), 0)
        while self._open and not poll.poll(0):  # noqa: ASYNC110 - a hang-up after end of file wakes nobody
            await anyio.sleep(HANG_UP_POLL_S)
        if not self._open:
            await self._outbox.flush()

    async def _refuse(self, message: str) -> None:
        error = Error(id=-1, code=ErrorCode.BAD_REQUEST, message=message, hint=SPOKEN)
        await self._outbox.put_now(self._codec.encode(error))
        with anyio.move_on_after(1.0):
            await self._outbox.flush()

    async def _taken(self, body: bytes, tasks: anyio.abc.TaskGroup) -> Event | None:
        if isinstance(self._codec, LineCodec) and await too_many(body):
            return self._codec.rejected(body, TOO_MANY)
        return self._handle(body, tasks)

    def _handle(self, body: bytes, tasks: anyio.abc.TaskGroup) -> Event | None:
        """The answer, where it is there at once; otherwise a task that will send it."""
        request = self._codec.decode(body)
        match request:
            case Error():
                return request
            case Hello():
                return self._hello(request)
            case Cancel():
                if scope := self._open.get(request.target):
                    scope.cancel()
                return None
        if immediate := IMMEDIATE.get(type(request)):
            try:
                return immediate(self._services, request, self.client)
            except Exception as error:
                return _mistake(request, error)
        if request.id in self._open or len(self._open) >= MAX_OPEN:
            what = "its id is that of an open request" if request.id in self._open else f"{MAX_OPEN} requests are open"
            return Error(id=request.id, code=ErrorCode.BAD_REQUEST, message=f"the request was refused: {what}")
        scope = self._open[request.id] = anyio.CancelScope()
        tasks.start_soon(self._background, request, scope)
        return None

    def _hello(self, request: Hello) -> Event:
        self.client = request.client[:MAX_NAME]
        if request.protocol == PROTOCOL:
            return Welcome(id=request.id, protocol=PROTOCOL, version=__version__, pid=os.getpid())
        older = "daemon" if request.protocol > PROTOCOL else "client"
        return Error(
            id=request.id,
            code=ErrorCode.VERSION_MISMATCH,
            message=f"this daemon ({__version__}) speaks protocol {PROTOCOL}, the client protocol {request.protocol}",
            hint=f"update the {older}",
        )

    async def _background(self, request: Request, scope: anyio.CancelScope) -> None:
        async def respond(event: Event) -> None:
            await self._outbox.put(self._codec.encode(event))

        terminal: Event | None = None
        try:
            with scope:
                terminal = await BACKGROUND[type(request)](self._services, request, self.client, respond)
        except Exception as error:
            terminal = _mistake(request, error)
        if terminal is None:
            terminal = Error(id=request.id, code=ErrorCode.CANCELLED, message="the request was cancelled")
        try:
            # Until it is sent the request is open: a client that does not read cannot have more answered.
            await self._outbox.put(self._terminal(terminal))
        finally:
            del self._open[request.id]

    def _terminal(self, event: Event) -> bytes:
        """Encode ``event``, which ends a request; where it cannot be written, an `Error` that says so. The
        connection and its other requests go on."""
        try:
            return self._codec.encode(event)
        except UNSENDABLE as error:
            log.exception("answer.unsendable", event_type=type(event).__name__)
            message = f"the answer cannot be sent over this connection: {error}"
            return self._codec.encode(
                Error(id=event.id, code=ErrorCode.INTERNAL, message=message, hint=_UNSENDABLE_HINT)
            )


def _mistake(request: Request, error: Exception) -> Error:
    log.exception("request.internal_error", request=type(request).__name__)
    return Error(
        id=request.id,
        code=ErrorCode.INTERNAL,
        message=f"the daemon made a mistake: {type(error).__name__}: {error}",
        hint="routerd's log has the details; please report it",
    )


_UNSENDABLE_HINT = "ask for less at once, or by JSON lines or HTTP; routerd's log has the details"
