"""HTTP itself. The one module that imports aiohttp: that takes a sixth of a second, so nobody imports this early."""

from __future__ import annotations

import errno
import os
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from io import BytesIO
from types import SimpleNamespace
from typing import Any

import aiohttp
import anyio

from routerd_client.records import FailureKind

from .base import BackendError

_LINGER_S = 0.05
"""So long a connection is given to end its answer cleanly, and be used again."""
_IDLE_S = 30.0
"""So long a connection is kept for the next request."""
_LARGE = 2**20
"""Bytes from which a request is sent in parts, so that nobody else waits for it."""
_REASONS = {
    errno.ECONNREFUSED: "connection refused",
    errno.ENOENT: "there is no such socket",
    errno.ECONNRESET: "connection reset",
}


class Reply:
    """A server's answer, its head read. ``headers`` have lower-case names, the last of equal ones."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self.status = response.status
        self.headers: Mapping[str, str] = {name.lower(): value for name, value in response.headers.items()}
        self.content_type = self.headers.get("content-type", "").partition(";")[0].strip().lower()
        self.broken = False
        """Whether the connection broke before the answer's end."""
        self._content = response.content

    async def chunk(self) -> bytes:
        """What has come since the last call, at least a byte; ``b""`` at the answer's end, or where it broke off."""
        try:
            return await self._content.readany()
        except (aiohttp.ClientError, OSError):
            self.broken = True
            return b""

    async def body(self, limit: int) -> bytes:
        """All of it; no more than ``limit`` bytes are read."""
        read = bytearray()
        while len(read) < limit and (chunk := await self.chunk()):
            read += chunk
        return bytes(read[:limit])

    async def linger(self) -> None:
        """Let the answer end, so that the connection can be used again."""
        with anyio.move_on_after(_LINGER_S):
            while await self.chunk():
                pass


class Transport:
    """Connections that are used again: to one Unix socket, or to every host."""

    def __init__(self, socket: str = "") -> None:
        connector: aiohttp.BaseConnector
        if socket:
            connector = aiohttp.UnixConnector(socket, limit=0, keepalive_timeout=_IDLE_S)
        else:
            connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=_IDLE_S, ttl_dns_cache=60)
        trace = aiohttp.TraceConfig()
        trace.on_connection_create_end.append(_on_new)
        trace.on_connection_reuseconn.append(_on_reused)
        self._session = aiohttp.ClientSession(
            connector=connector,
            timeout=aiohttp.ClientTimeout(total=None),  # ours are finer: see patience.py
            cookie_jar=aiohttp.DummyCookieJar(),
            trace_configs=[trace],
            auto_decompress=False,  # nothing compressed is asked for, and a few bytes of it may be gigabytes
            trust_env=False,
        )

    @asynccontextmanager
    async def post(
        self, url: str, headers: Mapping[str, str], body: bytes, on_connected: Callable[[], None], place: str
    ) -> AsyncIterator[Reply]:
        """Send a request; ``on_connected`` is called when it has its connection.

        Redirects are not followed. Raises `BackendError` where no answer's head could be had. Leaving it before
        the answer's end closes the connection.
        """
        while (response := await self._send(url, headers, body, on_connected, place)) is None:
            pass
        if isinstance(response, BackendError):
            raise response  # here, where no context ties it to an error that holds the request's headers
        try:
            yield Reply(response)
        finally:
            response.release()

    async def _send(
        self, url: str, headers: Mapping[str, str], body: bytes, on_connected: Callable[[], None], place: str
    ) -> aiohttp.ClientResponse | BackendError | None:
        """The answer's head, or why there is none; None where the server had given up a connection that was kept
        for it, which says nothing of its health."""
        way = _Way(on_connected)
        try:
            return await self._session.post(
                url,
                headers=headers,
                data=body if len(body) < _LARGE else BytesIO(body),
                allow_redirects=False,
                trace_request_ctx=way,
            )
        except (aiohttp.ClientError, OSError, ValueError) as error:
            lost = isinstance(error, aiohttp.ServerDisconnectedError | aiohttp.ClientOSError)
            return None if way.reused and lost else _unanswered(error, place)

    async def aclose(self) -> None:
        await self._session.close()


class _Way:
    """How a request got its connection."""

    def __init__(self, on_connected: Callable[[], None]) -> None:
        self.on_connected = on_connected
        self.reused = False


async def _on_new(_session: aiohttp.ClientSession, context: SimpleNamespace, _parameters: Any) -> None:
    context.trace_request_ctx.on_connected()


async def _on_reused(_session: aiohttp.ClientSession, context: SimpleNamespace, _parameters: Any) -> None:
    context.trace_request_ctx.reused = True
    context.trace_request_ctx.on_connected()


def _unanswered(error: Exception, place: str) -> BackendError:
    """Why there is no answer. The words are ours: an error's own may hold what was sent."""
    kind = FailureKind.CONNECT_FAILED
    match error:
        case aiohttp.ClientConnectorCertificateError():
            why = getattr(error.certificate_error, "verify_message", "") or "it is not valid"
            hint = "SSL_CERT_FILE names the authorities that the daemon trusts"
            return BackendError(kind, f"cannot trust the certificate of {place}: {why}", hint=hint)
        case aiohttp.ClientSSLError():
            return BackendError(kind, f"cannot agree with {place} on TLS", hint="does base_url want http: there?")
        case aiohttp.ClientConnectorDNSError():
            return BackendError(kind, f"cannot find the address of {place}", hint="check base_url, and the network")
        case aiohttp.ClientConnectorError():
            hint = "is the server running?"
            return BackendError(kind, f"cannot connect to {place}: {_reason(error)}", hint=hint)
        case aiohttp.ClientConnectionError() | OSError():
            return BackendError(kind, f"{place} closed the connection before it answered")
        case aiohttp.ClientResponseError():
            return BackendError(FailureKind.MALFORMED, f"{place} answered something that is not HTTP")
        case _:
            hint = "check the backend's base_url and headers"
            return BackendError(FailureKind.NOT_FOUND, f"{place} cannot be asked: {type(error).__name__}", hint=hint)


def _reason(error: OSError) -> str:
    number = error.errno or 0
    return _REASONS.get(number) or (os.strerror(number) if number > 0 else "no connection")
