"""The Unix socket itself: listening on it, and letting the right peers in."""

from __future__ import annotations

import os
import socket
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from pathlib import Path

import anyio
import anyio.abc
import structlog

from .. import disk
from ..tasks import BackgroundTasks
from .peer import peer_uid
from .services import Services
from .session import Session

log = structlog.get_logger()

FIRST_BYTE_S = 10.0
"""A connection that says nothing for this long is closed."""

ACCEPT_PAUSE_S = 0.1

TakeHttp = Callable[[socket.socket], Awaitable[None]]
"""Takes over a connection whose first byte is an upper-case letter and still unread: a request of HTTP."""


class Listener:
    """Accepts connections on a claimed path and runs a `Session` for each, as one of ``tasks``.

    ``given`` are sockets that listen on it already; without any it binds one itself.
    """

    def __init__(
        self,
        path: Path,
        services: Services,
        take_http: TakeHttp,
        tasks: BackgroundTasks,
        given: Sequence[socket.socket] = (),
    ) -> None:
        self._path = path
        self._services = services
        self._take_http = take_http
        self._tasks = tasks
        self._given = given
        self._sessions: set[Session] = set()
        self._listeners: list[anyio.abc.SocketListener] = []
        self._file: tuple[int, int] | None = None
        self._moved = anyio.Event()

    def __repr__(self) -> str:
        return f"<Listener {self._path} {len(self._sessions)} connections>"

    @property
    def connections(self) -> int:
        return len(self._sessions)

    async def run(self, *, task_status: anyio.abc.TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Serve until cancelled; reports started when connections are accepted. It may be run again after a failure:
        connections that stand go on meanwhile."""
        if self._given:
            # Copies: a run that fails closes them, and the next needs them again.
            self._listeners = [await anyio.abc.SocketListener.from_socket(given.dup()) for given in self._given]
            self._file = await disk.run(_listened_on, self._path, what=self._path)
        else:
            await self._bind()
        task_status.started()
        while True:
            self._moved = anyio.Event()
            async with AsyncExitStack() as opened, BackgroundTasks(self._tasks.failures) as accepting:
                for listener in self._listeners:
                    await opened.enter_async_context(listener)
                    accepting.keep("accept connections", self._accept, listener)
                await self._moved.wait()

    async def reachable(self) -> bool:
        """Whether the path still leads to the socket that is listened on."""
        return self._file is not None and await disk.run(_identity, self._path, what=self._path) == self._file

    async def rebind(self) -> None:
        """Listen on a new socket at the path; connections that stand go on. Raises ``OSError``."""
        await self._bind()
        self._moved.set()

    async def _bind(self) -> None:
        self._listeners = [await anyio.create_unix_listener(self._path, mode=0o600, backlog=1024)]
        self._file = await disk.run(_identity, self._path, what=self._path)

    async def _accept(self, listener: anyio.abc.SocketListener) -> None:
        while True:
            try:
                stream = await listener.accept()
            except (anyio.BrokenResourceError, OSError) as error:
                # Out of descriptors, most likely: those who are connected go on, and will free some.
                log.warning("accept.failed", error=str(error.__cause__ or error), retry_in_s=ACCEPT_PAUSE_S)
                await anyio.sleep(ACCEPT_PAUSE_S)
                continue
            self._tasks.start("connection", self._connection, stream)

    async def _connection(self, stream: anyio.abc.SocketStream) -> None:
        try:
            async with stream:
                await self._welcome(stream)
        except (TimeoutError, anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError, OSError):
            pass  # the peer went away, or never said anything
        except Exception:
            log.exception("session.internal_error")  # one peer's trouble must not end the daemon

    async def _welcome(self, stream: anyio.abc.SocketStream) -> None:
        connection = stream.extra(anyio.abc.SocketAttribute.raw_socket)
        uid = peer_uid(connection)
        if uid != os.getuid():
            log.warning("peer.refused", uid=uid)
            return
        with anyio.fail_after(FIRST_BYTE_S):
            await anyio.wait_readable(connection)
        if connection.recv(1, socket.MSG_PEEK).isupper():
            await self._take_http(connection.dup())
            return
        first = await stream.receive(262144)
        session = Session(stream, self._services, first)
        self._sessions.add(session)
        try:
            await session.run()
        finally:
            self._sessions.discard(session)


def _listened_on(path: Path) -> tuple[int, int] | None:
    """The identity of ``path`` where somebody listens there; a socket that was given to us may have lost its file."""
    with socket.socket(socket.AF_UNIX) as probe:
        probe.setblocking(False)
        try:
            probe.connect(os.fspath(path))
        except BlockingIOError:
            pass  # there is a queue
        except OSError:
            return None
    return _identity(path)


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        info = path.stat()
    except OSError:
        return None
    return info.st_dev, info.st_ino
