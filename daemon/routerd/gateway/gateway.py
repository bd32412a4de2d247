"""The HTTP front's life: connections that the Unix socket hands over, and the TCP address that routes.yaml gives it,
which a reload may make, move and take away."""

from __future__ import annotations

import asyncio
import errno
import os
import secrets
import socket
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
import structlog

from .. import disk
from ..config.front import FrontSpec
from .guard import Guard
from .services import Services
from .token import Token

if TYPE_CHECKING:
    from .web import Front

log = structlog.get_logger()

RETRY_S = 5.0
"""How often an address that was taken is tried again."""
RENEW_S = 2.0
"""How long a request waits for the disk that the token is on."""
BACKLOG = 1024


class Gateway:
    """HTTP, over the daemon's own socket at once, and over TCP where the configuration says so."""

    def __init__(self, state: Path, services: Services) -> None:
        self.address = ""
        """Where it listens, ``http://127.0.0.1:8765``; ``""`` while it does not."""
        self._error = ""
        self._unread = ""
        self._services = services
        self._token = Token(state)
        self._expected = _known_to_nobody()
        self._front: Front | None = None
        self._listening: asyncio.Server | None = None
        self._spec: FrontSpec | None = None
        self._news = anyio.Event()

    def __repr__(self) -> str:
        return f"<Gateway {self.address or self.error or 'no address'} {self.connections} connections>"

    @property
    def error(self) -> str:
        """Why it does not listen though it should, or lets nobody in though it listens."""
        return self._error or self._unread

    @property
    def connections(self) -> int:
        return self._front.connections if self._front else 0

    def configure(self, spec: FrontSpec | None) -> None:
        """Have `run` listen where ``spec`` says. Does not block."""
        if spec != self._spec:
            self._spec = spec
            self._news.set()

    async def take(self, connection: socket.socket) -> None:
        """Answer the requests on a connection of this user's, which was not read from yet. It is the front's now."""
        front = await self._loaded()
        await asyncio.get_running_loop().connect_accepted_socket(front.server, connection)

    async def run(self) -> None:
        """Listen as configured until cancelled. It may be run again after a failure."""
        while True:
            self._news = anyio.Event()
            await self._listen(self._spec)
            with anyio.move_on_after(RETRY_S if self._error else None):
                await self._news.wait()

    async def close(self) -> None:
        """Stop listening and cut everything that is open, within `CLOSE_S` of the front, also where cancelled."""
        with anyio.CancelScope(shield=True):
            self._stop()
            if self._front:
                await self._front.close()

    async def _listen(self, spec: FrontSpec | None) -> None:
        before, self._error = self._error, ""
        self._stop()
        if spec is None:
            return
        try:
            front = await self._loaded()
            self._expected = await disk.run(self._token, what=self._token.file)  # made before anybody can need it
            self._unread = ""
            listening, loop = _bound(*spec.place), asyncio.get_running_loop()
            self._listening = await loop.create_server(front.server, sock=listening, backlog=BACKLOG)
        except OSError as error:
            self._error = _why(spec, error, self._token)
            if self._error != before:
                log.error("http.not_listening", error=self._error)
            return
        front.guard, front.renew_token = Guard(spec.hosts, lambda: self._expected), self._renew_token
        self.address = _url(listening)
        log.info("http.listening", address=self.address)

    async def _renew_token(self) -> None:
        """Take in the token as it is now; nobody is let in while it cannot be read."""
        before, self._unread = self._unread, ""
        try:
            self._expected = await disk.run(self._token, what=self._token.file, within=RENEW_S)
        except OSError as error:
            self._unread, self._expected = _kept(self._token, error), _known_to_nobody()
            if self._unread != before:
                log.error("http.token_unreadable", error=self._unread)

    def _stop(self) -> None:
        """Take no more requests over TCP; those under way are answered."""
        if self._listening and self._front:
            self._listening.close()
            self._front.guard = None
            self._front.hang_up()
            log.info("http.stopped", address=self.address)
        self._listening, self.address = None, ""

    async def _loaded(self) -> Front:
        if self._front is None:
            front = await disk.run(_import, what="routerd's own files", within=60)
            self._front = self._front or front(self._services)
        return self._front


def _import() -> type[Front]:
    from .web import Front  # off the loop: it takes a sixth of a second

    return Front


def _bound(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.create_server((host, port), family=family, backlog=BACKLOG)
    listening.setblocking(False)
    return listening


def _url(listening: socket.socket) -> str:
    host, port, *_ = listening.getsockname()
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _known_to_nobody() -> str:
    return secrets.token_urlsafe(32)


def _kept(token: Token, error: OSError) -> str:
    return f"the token cannot be kept: {token.file}: {disk.reason(error)}"


def _why(spec: FrontSpec, error: OSError, token: Token) -> str:
    if error.filename or isinstance(error, disk.DiskError | IsADirectoryError):
        return _kept(token, error)
    if error.errno == errno.EADDRINUSE:
        why = "another program has that port; stop it, or choose another in routes.yaml"
    elif error.errno == errno.EADDRNOTAVAIL:
        why = "this machine has no such address"
    else:
        why = os.strerror(error.errno) if error.errno else str(error)
    return f"cannot listen on {spec.listen}: {why}"
