"""Connections over HTTP, as aiohttp keeps them, and requests as it reads them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import StreamReader, http, web
from aiohttp.abc import AbstractStreamWriter

MAX_BODY = 64 * 2**20
"""Bytes of a request, unpacked; as many as a frame of the socket's own protocol may have."""
LINGER_S = 2.0
"""How long what a refused sender still sends is read and dropped."""

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]
Misread = Callable[[web.BaseRequest, int, BaseException | None], web.StreamResponse]
"""What to answer to a request that could not be read, by the status that aiohttp has for it."""

_quiet = logging.getLogger("routerd.http")
_quiet.disabled = True  # aiohttp's lines have what was sent in them


class Server(web.Server):
    """Gives each connection's requests to ``handler``; what is none, to ``misread``. A connection may be silent for
    ``idle_s`` seconds between requests."""

    def __init__(self, handler: Handler, misread: Misread, *, idle_s: float) -> None:
        super().__init__(handler, request_factory=_request, handler_cancellation=True)
        self.misread = misread
        self._idle_s = idle_s

    def __call__(self) -> web.RequestHandler:
        return _Connection(
            self,
            loop=asyncio.get_running_loop(),
            access_log=None,
            logger=_quiet,
            keepalive_timeout=self._idle_s,
            lingering_time=LINGER_S,
        )


class _Connection(web.RequestHandler):
    def __init__(self, server: Server, **options: Any) -> None:
        super().__init__(server, **options)
        self._misread = server.misread

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,  # noqa: ARG002 - it has what was sent in it
    ) -> web.StreamResponse:
        if request.writer.output_size:
            raise ConnectionError("in the middle of an answer")
        return self._misread(request, status, exc)


def _request(
    message: http.RawRequestMessage,
    payload: StreamReader,
    protocol: web.RequestHandler,
    writer: AbstractStreamWriter,
    task: asyncio.Task[None],
) -> web.BaseRequest:
    loop = asyncio.get_running_loop()
    return web.BaseRequest(message, payload, protocol, writer, task, loop, client_max_size=MAX_BODY)
