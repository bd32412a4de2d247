"""HTTP itself: from a request to the format, the dispatcher and back. With `connection` and `stream` the only module
here that imports aiohttp: that takes a sixth of a second, so nobody imports it early."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Mapping
from functools import partial

import anyio.lowlevel
import structlog
from aiohttp import web
from aiohttp.http_exceptions import ContentEncodingError, LineTooLong
from msgspec.structs import replace

from routerd_client.protocol import Done, Error, ErrorCode, Routed

from .. import __version__
from ..backends.peer import CHALLENGE, PROOF, proof
from ..dispatch.beside import beside_loop
from ..dispatch.elements import TOO_MANY, too_many
from ..dispatch.run import Call, Emit
from ..routing.sentinels import without_sentinels
from .caller import client_name, laid_on
from .connection import MAX_BODY, Server
from .format import (
    LEFT_OUT,
    ROUTE,
    TOO_DEEP,
    Asked,
    BadRequestError,
    Format,
    Refusal,
    bad_request,
    check_counts,
    refusal,
    spoken_in,
)
from .formats import FORMATS, format_of
from .guard import Guard
from .page import SHUTTING_DOWN, Ask, RefusedError, refused
from .pages import PAGES, PREFIXES, places
from .services import Services
from .stream import PING_S, WAIT_S, Collected, Headers, Streamed

log = structlog.get_logger()

BODY_S = 60.0
"""How long a request may take to arrive. Heads have `IDLE_S`."""
IDLE_S = 75.0
"""How long a connection may be silent between requests."""
CLOSE_S = 1.0

_LARGE = 2**20
"""Bytes of a request that take a while to read."""
_MAX_HEADER = 1000
"""Characters of a header whose text others gave."""

_SERVER = f"routerd/{__version__}"


class Front:
    """Answers HTTP requests. ``guard`` is asked about those that come over TCP; without one they are all refused."""

    def __init__(
        self,
        services: Services,
        *,
        body_s: float = BODY_S,
        idle_s: float = IDLE_S,
        ping_s: float = PING_S,
        wait_s: float = WAIT_S,
    ) -> None:
        self.guard: Guard | None = None
        self.renew_token: Callable[[], Awaitable[None]] = anyio.lowlevel.checkpoint
        """Called before each question to the guard, so that a new token counts from the next request on."""
        self.server = Server(self._handle, self._misread, idle_s=idle_s)
        self._services = services
        self._body_s = body_s
        self._ping_s = ping_s
        self._wait_s = wait_s
        self._open: set[asyncio.Task[object]] = set()

    def __repr__(self) -> str:
        return f"<Front {len(self._open)} open>"

    @property
    def connections(self) -> int:
        return len(self.server.connections)

    def hang_up(self) -> None:
        """Close the connections over TCP, each as soon as its request is answered."""
        for connection in self.server.connections:
            if not _is_local(connection.sockname):
                connection.close()

    async def close(self) -> None:
        """Cut what is open, and wait until it is gone."""
        self.server.pre_shutdown()
        for task in self._open:
            task.cancel()
        if self._open:
            await asyncio.wait(self._open, timeout=CLOSE_S)
        await self.server.shutdown(CLOSE_S)

    def _misread(self, request: web.BaseRequest, status: int, error: BaseException | None) -> web.StreamResponse:
        """What to say to a request that could not be read; its connection ends with that."""
        message, hint = "this is no request of HTTP that can be read", ""
        if isinstance(error, LineTooLong):
            status, message = 431, "a header, or the address, is longer than 8 KB"
        elif isinstance(error, ContentEncodingError):
            status, message = 415, "the body is packed in a way that cannot be unpacked here"
            hint = "send it as it is, or by gzip"
        said = Refusal(status, Error(id=0, code=ErrorCode.BAD_REQUEST, message=message, hint=hint))
        format_ = format_of(request.path, request.headers)
        response = self._refuse(request, self._services.new_request_id(), format_, said)
        response.force_close()
        return response

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        task = asyncio.current_task()
        assert task
        self._open.add(task)
        id_ = self._services.new_request_id()
        format_ = format_of(request.path, request.headers)
        try:
            if (given := request.headers.get(CHALLENGE)) is not None:
                # No key is needed: the proof tells only those who can compute it, and a wrong key is reported as one.
                return web.Response(status=204, headers={**self._head(id_), PROOF: proof(given)})
            if not _is_local(request.protocol.sockname):
                await self._admit(request)
            return await self._answer(request, id_)
        except RefusedError as error:
            return self._refuse(request, id_, format_, error.refusal, error.headers)
        except BadRequestError as error:
            return self._refuse(request, id_, format_, bad_request(error))
        except RecursionError:
            return self._refuse(request, id_, format_, bad_request(BadRequestError(TOO_DEEP)))
        except (asyncio.CancelledError, ConnectionError):
            raise  # the caller is gone
        except Exception as error:
            log.exception("http.internal_error", request=id_, path=request.path[:100])
            if request.writer.output_size:
                raise ConnectionResetError from error  # in the middle of an answer: cut, it is seen to be no whole one
            message = f"the daemon made a mistake: {type(error).__name__}"
            hint = "routerd's log has the details; please report it"
            mistake = Error(id=0, code=ErrorCode.INTERNAL, message=message, hint=hint, request_id=id_)
            return self._refuse(request, id_, format_, Refusal(500, mistake))
        finally:
            self._open.discard(task)

    async def _admit(self, request: web.BaseRequest) -> None:
        await self.renew_token()
        if self.guard is None:
            raise refused(403, "HTTP is not served here any more")
        self.guard.check(request.path, request.headers)

    async def _answer(self, request: web.BaseRequest, id_: str) -> web.StreamResponse:
        path, method = request.path, request.method
        if chats := FORMATS.get(path):
            _must_be(method, ("POST",))
            return await self._chat(request, id_, chats)
        pages, rest = PAGES.get(path), ""
        if pages is None:
            prefix = next((prefix for prefix in PREFIXES if path.startswith(prefix)), None)
            if prefix is None:
                raise refused(404, f"there is nothing at {path[:100]}", f"there is {', '.join(places(method))}")
            pages, rest = PREFIXES[prefix], path.removeprefix(prefix)
        _must_be(method, tuple(pages))
        body = await self._body(request) if method == "POST" else b""
        page = pages["GET" if method == "HEAD" else method]
        reply = await page(self._services, Ask(request_id=id_, headers=request.headers, rest=rest, body=body))
        told = {name: _printable(value) for name, value in reply.headers.items()}
        headers = {"content-type": reply.content_type, **self._head(id_), **told}
        return web.Response(status=reply.status, body=reply.body, headers=headers)

    async def _chat(self, request: web.BaseRequest, id_: str, format_: Format) -> web.StreamResponse:
        body = await self._body(request)
        if len(body) > _LARGE:  # beside the loop, which gets its turns between one step and the next
            asked = await beside_loop(partial(format_.read, body, request.headers))
        else:
            asked = format_.read(body, request.headers)
        chat = without_sentinels(laid_on(asked.chat, request.headers))
        check_counts(chat)
        if self._services.draining:
            return self._refuse(request, id_, format_, refusal(SHUTTING_DOWN))
        call = Call(0, id_, chat, client=client_name(request.headers), left_out=asked.left_out, read=asked.read)
        head = self._head(id_)
        if chat.stream:
            end = await self._streamed(request, call, asked, head)
        else:
            end = await self._whole(call, asked, head)
        if isinstance(end, Error):
            head |= {ROUTE: _printable(end.route), "x-routerd-attempts": str(len(end.attempts))}
            return self._refuse(request, id_, format_, refusal(end), head)
        return end

    async def _whole(self, call: Call, asked: Asked, head: Headers) -> web.StreamResponse | Error:
        """The answer in one piece, or why there is none. ``head`` then has who was asked last."""
        collected = Collected()
        end = await self._dispatch(call, collected.emit)
        if isinstance(end, Error):
            head |= _who(collected.routed, asked)
            return end
        if end.message is None:
            end = replace(end, message=collected.message(), logprobs=collected.logprobs)
        headers = {
            "content-type": "application/json",
            **head,
            **_who(end, asked),
            "x-routerd-attempts": str(len(end.attempts)),
        }
        return web.Response(body=asked.writer.whole(end), headers=headers)

    async def _streamed(
        self, request: web.BaseRequest, call: Call, asked: Asked, head: Headers
    ) -> web.StreamResponse | Error:
        """The same, piece by piece; an error only where nothing was sent yet."""

        def begun(routed: Routed) -> Headers:
            return {**head, **_who(routed, asked), "x-routerd-attempts": str(routed.attempt)}

        streamed = Streamed(request, asked.writer, begun, ping_s=self._ping_s, wait_s=self._wait_s)
        try:
            end = await self._dispatch(call, streamed.emit)
            if isinstance(end, Done):
                return await streamed.done(end)
            if streamed.response:
                return await streamed.failed(end)
        finally:
            streamed.close()
        head |= _who(streamed.routed, asked)
        return end

    async def _dispatch(self, call: Call, emit: Emit) -> Done | Error:
        return await self._services.dispatcher.chat(self._services.generation, call, emit)

    async def _body(self, request: web.BaseRequest) -> bytes:
        """All of the request's body, which can be decoded in a moment."""
        body = await self._received(request)
        if await too_many(body):
            raise BadRequestError(TOO_MANY)
        return body

    async def _received(self, request: web.BaseRequest) -> bytes:
        if (request.content_length or 0) > MAX_BODY:
            raise refused(413, f"the request is larger than {MAX_BODY >> 20} MB")
        if request.headers.get("expect", "").lower() == "100-continue":
            await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            request.writer.output_size = 0
        try:
            if request.content.is_eof():
                return await request.read()
            async with asyncio.timeout(self._body_s):
                return await request.read()
        except TimeoutError:
            raise refused(408, f"the request took longer than {self._body_s:g} s to arrive") from None
        except web.HTTPRequestEntityTooLarge:
            raise refused(413, f"the request is larger than {MAX_BODY >> 20} MB") from None
        except web.RequestPayloadError as error:
            raise refused(400, f"the request's body cannot be read: {error}") from None

    def _head(self, id_: str) -> Headers:
        """Headers of every answer."""
        ids = dict.fromkeys(("x-routerd-request-id", "x-request-id", "request-id"), id_)  # the makers' SDKs tell theirs
        return {"server": _SERVER, **ids}

    def _refuse(
        self,
        request: web.BaseRequest,
        id_: str,
        format_: Format,
        refusal: Refusal,
        more: Mapping[str, str] | None = None,
    ) -> web.StreamResponse:
        refusal = spoken_in(refusal, format_)
        error = refusal.error
        headers = {"content-type": "application/json", **self._head(id_), **(more or {})}
        if error.retry_after:
            headers["retry-after"] = str(math.ceil(error.retry_after))
        if not error.retryable:
            headers["x-should-retry"] = "false"  # the makers' SDKs would send it twice more
        if refusal.status in (401, 403, 421):
            log.warning("http.refused", status=refusal.status, path=request.path[:100], why=error.message)
        if not error.request_id:
            refusal = replace(refusal, error=replace(error, request_id=id_))
        return web.Response(status=refusal.status, body=format_.refuse(refusal), headers=headers)


def _who(who: Routed | Done | None, asked: Asked) -> Headers:
    """Headers that name who answers, or who was asked, and what of the request that is without."""
    left_out = dict.fromkeys([*asked.left_out, *(who.dropped if who else ())])
    head = {LEFT_OUT: _printable("; ".join(left_out))} if left_out else {}
    return {**head, "x-routerd-backend": who.backend, ROUTE: _printable(who.route)} if who else head


def _is_local(sockname: object) -> bool:
    """Whether it is the address of a Unix socket; one that is not known any more is none."""
    return isinstance(sockname, str | bytes)


def _must_be(method: str, allowed: tuple[str, ...]) -> None:
    if method not in allowed and not (method == "HEAD" and "GET" in allowed):
        raise refused(
            405, f"{method[:20]} is not for this path", f"send {' or '.join(allowed)}", allow=", ".join(allowed)
        )


def _printable(text: str) -> str:
    """``text`` as a header may have it: aiohttp sends none with control characters, and clients read no long ones."""
    return "".join(one if one.isascii() and one.isprintable() else "?" for one in text[:_MAX_HEADER])
