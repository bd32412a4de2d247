"""HTTP itself. The one module here that imports aiohttp: that takes a sixth of a second, so nobody imports this early.

aiohttp finds, opens, keeps and reads connections. Its session and its requests are left out, since they take longer
than all else that is done here for a short answer; a request's head is written by `_Target`.
"""

from __future__ import annotations

import asyncio
import errno
import os
import re
from collections.abc import Callable, Mapping
from functools import partial
from weakref import WeakSet

import aiohttp
import anyio
from aiohttp.client_proto import ResponseHandler
from aiohttp.connector import Connection
from aiohttp.http import HttpProcessingError, RawResponseMessage
from yarl import URL

from routerd_client.records import FailureKind

from .base import BackendError

_LINGER_S = 0.05
"""So long a connection is given to end its answer cleanly, and be used again."""
_IDLE_S = 30.0
"""So long a connection is kept for the next request."""
_PIECE = 2**18
"""Bytes of a request that are sent at once: what is encrypted makes everybody else wait."""
MAX_HEAD = 2**18
"""Bytes of all that a server says before its answer's body: interim answers, and the head."""
_HEAD_SLICE = 2**14
_LARGE = 2**16
"""Bytes of one read after which others come first."""
STALE_S = 0.5
"""A connection that the server had given up shows it within so long. Who breaks off later, or after the first line of
an answer, may charge for it: that is not asked for once more by itself."""
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_TIMEOUT = aiohttp.ClientTimeout(total=None)  # ours are finer: see patience.py
_REASONS = {
    errno.ECONNREFUSED: "connection refused",
    errno.ENOENT: "there is no such socket",
    errno.ECONNRESET: "connection reset",
}


class _TooMuchError(HttpProcessingError):
    """A server said more before its answer than any head is."""


class _Protocol(ResponseHandler):
    """A connection that bounds what a server says before its answer, however often it says ``100 Continue``, and that
    lets the loop turn between two large reads: libuv reads from a socket that is always ready 32 times in a row."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop)
        self._fairness = loop
        self._before = 0  # bytes read before the answer's head was whole
        self._answered = False
        self._full = False

    def expect_head(self) -> None:
        """Bound what comes from now on, until an answer's head is whole."""
        self._before, self._answered = 0, False

    def feed_data(self, data: tuple[RawResponseMessage, aiohttp.StreamReader], size: int = 0) -> None:
        self._answered = self._answered or not _is_interim(data[0])
        super().feed_data(data, size)

    def data_received(self, data: bytes) -> None:
        at = 0
        while not self._answered and at < len(data) and self.transport is not None:
            self._before += len(data[at : at + _HEAD_SLICE])
            super().data_received(data[at : at + _HEAD_SLICE])
            at += _HEAD_SLICE
            if self._before > MAX_HEAD and not self._answered:
                self.set_exception(_TooMuchError(message="no head is as long"))
                self.transport.abort()
                return
        if at < len(data) or not data:
            super().data_received(data[at:])
        if len(data) >= _LARGE and self.transport is not None:
            self.transport.pause_reading()
            self._fairness.call_soon(self._go_on)

    def pause_reading(self) -> None:
        self._full = True
        super().pause_reading()

    def resume_reading(self, resume_parser: bool = True) -> None:
        self._full = False
        super().resume_reading(resume_parser)

    def _go_on(self) -> None:
        if not self._full and self.transport is not None and not self.transport.is_closing():
            self.transport.resume_reading()


def _is_interim(message: RawResponseMessage) -> bool:
    """Whether ``message`` is about an answer that is still to come."""
    return message.code < 200 and message.code != 101


class Reply:
    """A server's answer, its head read. ``headers`` have lower-case names, the last of equal ones. Close it."""

    def __init__(self, connection: Connection, message: RawResponseMessage, content: aiohttp.StreamReader) -> None:
        self.status = message.code
        self.headers: Mapping[str, str] = {name.lower(): value for name, value in message.headers.items()}
        self.content_type = self.headers.get("content-type", "").partition(";")[0].strip().lower()
        self.broken = False
        """Whether the connection broke before the answer's end."""
        self._connection = connection
        self._content = content

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
        if self._content.at_eof():
            return
        with anyio.move_on_after(_LINGER_S):
            while await self.chunk():
                pass

    def close(self) -> None:
        """Keep the connection for the next request if the answer is whole, and cut it otherwise."""
        transport = self._connection.transport
        if transport and transport.get_write_buffer_size():
            _abort(self._connection)  # answered before all of the request was sent
        else:
            if isinstance(protocol := self._connection.protocol, _Protocol):
                protocol.expect_head()  # what it says unasked has an end too
            self._connection.release()


def _abort(connection: Connection) -> None:
    # Merely closed, a connection keeps what was not sent yet for as long as the server does not read it.
    if connection.transport:
        connection.transport.abort()
    connection.close()


class Transport:
    """Connections that are used again: to one Unix socket, or to every host."""

    def __init__(self, socket: str = "") -> None:
        self._connector: aiohttp.BaseConnector
        if socket:
            self._connector = aiohttp.UnixConnector(socket, limit=0, keepalive_timeout=_IDLE_S)
        else:
            self._connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=_IDLE_S, ttl_dns_cache=60)
        # aiohttp has no public way to have another protocol.
        self._connector._factory = partial(_Protocol, asyncio.get_running_loop())  # type: ignore[assignment]
        self._targets: dict[tuple[str, str], _Target] = {}
        self._used: WeakSet[ResponseHandler] = WeakSet()

    async def post(
        self, url: str, headers: Mapping[str, str], body: bytes, on_connected: Callable[[], None], place: str
    ) -> Reply:
        """Send a request, and have its answer's head; ``on_connected`` is called when it has its connection.

        Redirects are not followed, and nothing is unpacked. Raises `BackendError` where no answer's head could be
        had.
        """
        return await self._reply("POST", url, headers, body, on_connected, place)

    async def get(self, url: str, headers: Mapping[str, str], place: str) -> Reply:
        """The same for a request without a body."""
        return await self._reply("GET", url, headers, b"", lambda: None, place)

    async def _reply(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: bytes,
        on_connected: Callable[[], None],
        place: str,
    ) -> Reply:
        while (reply := await self._send(method, url, headers, body, on_connected, place)) is None:
            pass
        if isinstance(reply, BackendError):
            raise reply  # here, where no context ties it to an error that holds the request's headers
        return reply

    async def _send(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: bytes,
        on_connected: Callable[[], None],
        place: str,
    ) -> Reply | BackendError | None:
        """The answer, or why there is none; None where the server had given up a connection that was kept for it,
        which says nothing of its health."""
        reused, began = False, 0.0
        try:
            target = self._targets.get((method, url))
            if target is None:
                target = self._targets[method, url] = _Target(method, url)
            head = target.head(headers, len(body))
            connection = await self._connector.connect(target.request, [], _TIMEOUT)
            try:
                protocol = connection.protocol
                assert isinstance(protocol, _Protocol)
                reused = protocol in self._used
                if reused and protocol.should_close:
                    connection.close()  # it said something that nobody asked for: whose answer would the next be?
                    return None
                self._used.add(protocol)
                on_connected()
                began = anyio.current_time()
                return await _exchange(connection, protocol, head, body)
            except BaseException:
                _abort(connection)
                raise
        except (aiohttp.ClientError, HttpProcessingError, OSError, ValueError) as error:
            lost = isinstance(error, aiohttp.ServerDisconnectedError | aiohttp.ClientOSError)
            lost = lost and not isinstance(getattr(error, "message", None), RawResponseMessage)  # a head had begun
            stale = reused and lost and anyio.current_time() - began < STALE_S
            return None if stale else _unanswered(error, place)

    async def aclose(self) -> None:
        await self._connector.close()


async def _exchange(connection: Connection, protocol: _Protocol, head: bytes, body: bytes) -> Reply:
    protocol.expect_head()
    # Nothing compressed is asked for, and a few bytes of it may be gigabytes. Servers of HTTP/1.0 say no length.
    protocol.set_response_params(auto_decompress=False, read_until_eof=True)
    if protocol.transport is None:
        raise aiohttp.ServerDisconnectedError
    protocol.transport.writelines([head, body[:_PIECE]])
    for at in range(_PIECE, len(body), _PIECE):
        await asyncio.sleep(0)
        if protocol.transport is None:
            break  # it is said below why
        protocol.transport.write(body[at : at + _PIECE])
    while True:
        message, content = await protocol.read()
        if not _is_interim(message):
            return Reply(connection, message, content)


class _Target:
    """Where requests go: what the connector asks of one, and what stands in the head of each.

    Raises ``ValueError`` for what is no address.
    """

    def __init__(self, method: str, url: str) -> None:
        self.request = aiohttp.ClientRequest(method, URL(url), loop=asyncio.get_running_loop())
        self._line = f"{method} {self.request.url.raw_path_qs} HTTP/1.1"
        self._own = {
            name.lower(): value
            for name, value in self.request.headers.items()
            if name.lower() in ("host", "authorization")  # the latter from the address itself
        }

    def head(self, headers: Mapping[str, str], size: int) -> bytes:
        """The head of a request with ``headers``, which win, and a body of ``size`` bytes. Raises ``ValueError``
        where one would end before its time."""
        length = {"content-length": str(size)} if size or self._line.startswith("POST") else {}
        fields = {**self._own, **headers, **length}
        lines = [self._line, *(f"{name}: {value}" for name, value in fields.items()), "", ""]
        if any(map(_CONTROL.search, lines)):
            raise ValueError("a control character in a header")
        return "\r\n".join(lines).encode()


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
        case _TooMuchError():
            message = f"{place} sent more than {MAX_HEAD >> 10} KB and no answer's head"
            return BackendError(FailureKind.MALFORMED, message)
        case HttpProcessingError():
            return BackendError(FailureKind.MALFORMED, f"{place} answered something that is not HTTP")
        case _:
            hint = "check the backend's base_url and headers"
            return BackendError(FailureKind.NOT_FOUND, f"{place} cannot be asked: {type(error).__name__}", hint=hint)


def _reason(error: OSError) -> str:
    number = error.errno or 0
    return _REASONS.get(number) or (os.strerror(number) if number > 0 else "no connection")
