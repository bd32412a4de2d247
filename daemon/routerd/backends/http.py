"""Backends that are asked over HTTP, whatever their format."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

import anyio
import msgspec
from msgspec import Struct
from msgspec.structs import replace

from routerd_client.chat import ChatRequest
from routerd_client.records import FailureKind

from .. import __version__
from ..config.http import HttpSpec, TimeoutSpec
from ..routing.terms import Terms
from ..routing.view import Limits
from . import openai
from .base import BackendError, Emit, End, Limited, Piece, Sent
from .dropped import by_api
from .failures import Said, failed, said
from .format import ErrorInStreamError, Format, Reader
from .patience import Patience
from .rate_limits import rate_limits
from .seats import Seats
from .secrets import Secrets
from .sse import MAX_EVENT, MAX_STREAM, EventParser

if TYPE_CHECKING:
    from .transport import Reply, Transport

T = TypeVar("T")
Read = Callable[["Reply", Patience], Awaitable[T]]

EMBEDDINGS = "/embeddings"
HOPS = "x-routerd-hops"
"""The header that counts the routers a request came through: two that ask each other would never end."""
MAX_ERROR = 2**16
"""Bytes that are read of an error's body."""
_CLOSE_S = 1.0

_SENT = Sent()
_encode = msgspec.json.Encoder().encode


class Http:
    """What all such backends share for the daemon's life: connections, secrets, seats. Leave it to close them.

    ``folder`` is where relative files of secrets count from.
    """

    def __init__(self, folder: Path, secrets: Secrets | None = None) -> None:
        self.secrets = secrets or Secrets(folder)
        self._transports: dict[str, Transport] = {}
        self._seats: defaultdict[str, Seats] = defaultdict(Seats)

    async def __aenter__(self) -> Http:
        return self

    async def __aexit__(self, *_: object) -> None:
        with anyio.move_on_after(_CLOSE_S, shield=True):
            for transport in self._transports.values():
                await transport.aclose()

    def backend(self, name: str, kind: str, spec: HttpSpec, api: Format) -> HttpBackend:
        from . import transport  # noqa: F401 - loaded with the configuration, not in the first request

        return HttpBackend(name, kind, spec, api, self)

    def transport(self, socket: str) -> Transport:
        """Connections to the Unix socket ``socket``, or for ``""`` to every host."""
        from .transport import Transport

        if socket not in self._transports:
            self._transports[socket] = Transport(socket)
        return self._transports[socket]

    def seats(self, identity: str, limit: int | None) -> Seats:
        """The seats of a backend, ``limit`` from now on."""
        seats = self._seats[identity]
        seats.resize(limit)
        return seats


class HttpBackend:
    """See `Backend`."""

    def __init__(self, name: str, kind: str, spec: HttpSpec, api: Format, http: Http) -> None:
        base_url = self._base_url = spec.base_url or api.BASE_URL
        self.name = name
        self.kind = kind
        self.model = spec.model
        self.identity = f"{name}|{kind}|{base_url}|{spec.model}"
        self._spec = spec
        self._api = api
        self._http = http
        self._seats = http.seats(self.identity, spec.concurrency)
        self._socket, self._url, self._place = _address(base_url, api.PATH)

    def __repr__(self) -> str:
        return f"<HttpBackend {self.name} {self.kind} {self.model} at {self._place}>"

    def note(self) -> str:
        return self._place if self._spec.local else "remote"

    def refusal(self) -> BackendError | None:
        return None

    def dropped(self, chat: ChatRequest) -> list[str]:
        return by_api(chat, self.kind, local=self.kind == "openai" and openai.is_own(self._spec))

    def limits(self) -> Limits:
        spec = self._spec
        embeddings = self.kind == "openai"
        return Limits(
            context=spec.context,
            tools=spec.tools,
            vision=spec.vision,
            prefill=spec.prefill,
            embeddings=embeddings,
        )

    def busy(self) -> float:
        return self._seats.busy

    def wait(self) -> float:
        return self._seats.wait_s

    async def count(self, chat: ChatRequest) -> int | None:  # noqa: ARG002 - no tokenizer is at hand
        return None

    async def answer(self, chat: ChatRequest, emit: Emit, terms: Terms) -> End:
        body = _encode(self._api.encode(chat, self._spec, terms))
        errand = _Errand(self._url, body, chat.hops, patient=chat.when_full in (None, "wait"))
        return await self._ask(errand, emit, terms, partial(self._read, emit))

    async def embed(self, fields: Mapping[str, Any], hops: int, terms: Terms, emit: Emit) -> bytes:
        """What the API answers to a request for embeddings with ``fields``, the model's name put in; it came through
        ``hops`` routers.

        Only for the kind ``openai``. Raises `BackendError`.
        """
        body = _encode({**fields, "model": terms.model or self._spec.model})
        _, url, _ = _address(self._base_url, EMBEDDINGS)
        return await self._ask(_Errand(url, body, hops), emit, terms, self._read_bytes)

    async def _ask(self, errand: _Errand, emit: Emit, terms: Terms, read: Read[T]) -> T:
        await self._seats.take(emit, patient=errand.patient)
        began = perf_counter()
        try:
            return await self._authorized(errand, emit, terms, read)
        finally:
            self._seats.leave(perf_counter() - began)

    async def _authorized(self, errand: _Errand, emit: Emit, terms: Terms, read: Read[T]) -> T:
        secret = terms.api_key or self._spec.api_key
        key = await self._http.secrets.resolve(secret) if secret else ""
        try:
            return await self._post(errand, key, emit, terms, read)
        except BackendError as error:
            if error.kind is not FailureKind.AUTH_FAILED or not secret:
                raise
            newer = await self._http.secrets.resolve(secret, anew=True)
            if newer == key:
                raise
        return await self._post(errand, newer, emit, terms, read)  # the key was changed meanwhile

    async def _post(self, errand: _Errand, key: str, emit: Emit, terms: Terms, read: Read[T]) -> T:
        spec = self._spec
        headers = {
            "accept": "text/event-stream",
            "accept-encoding": "identity",
            "content-type": "application/json",
            "user-agent": f"routerd/{__version__}",
            **self._api.headers(key, spec),
            **{name.lower(): value for name, value in spec.headers.items()},
        }
        if spec.base_url:  # there may be another router, or this one
            headers[HOPS] = str(errand.hops + 1)
        transport = self._http.transport(self._socket)
        await emit(_SENT)
        status = 0
        try:
            with Patience(_times(spec.timeouts, terms), self._place) as waiting:
                reply = await transport.post(errand.url, headers, errand.body, waiting.connected, self._place)
                try:
                    status = reply.status
                    if told := rate_limits(reply.headers, time.time(), perf_counter()):
                        await emit(Limited(told))
                    return await read(reply, waiting)
                except ErrorInStreamError as error:
                    hidden = (key, *spec.headers.values())
                    failure = failed(self._place, status, error.said, reply.headers, time.time(), hidden)
                finally:
                    reply.close()
                raise failure
        except BackendError as error:
            error.billed = waiting.sent and status < 300
            raise
        raise AssertionError  # for the type checker: patience lets nothing through

    async def _read_bytes(self, reply: Reply, _waiting: Patience) -> bytes:
        await self._check(reply)
        body = await reply.body(MAX_STREAM)
        if reply.broken:
            raise BackendError(FailureKind.CUT, f"{self._place} broke off in the middle of its answer")
        return body

    async def _read(self, emit: Emit, reply: Reply, waiting: Patience) -> End:
        await self._check(reply)
        reader, answer = self._api.reader(), _Answer(emit, waiting)
        if reply.content_type == "application/json":
            await answer.bring([await self._whole(reply, reader)])
        else:
            await self._stream(reply, reader, answer)
        return replace(reader.end(), decode_s=answer.decode_s)

    async def _check(self, reply: Reply) -> None:
        """Refuse what is no answer of a model."""
        if not 200 <= reply.status < 300:
            raise ErrorInStreamError(await _refused(reply))
        encoding = reply.headers.get("content-encoding", "identity")
        if encoding != "identity":
            message = f"{self._place} compressed its answer ({encoding[:20]}), though asked not to"
            raise BackendError(FailureKind.MALFORMED, message)
        if reply.content_type == "text/html":
            message = f"{self._place} answered with a web page"
            raise BackendError(FailureKind.MALFORMED, message, hint="check the backend's base_url")

    async def _whole(self, reply: Reply, reader: Reader) -> Piece | None:
        body = await reply.body(MAX_EVENT)
        if reply.broken:
            raise BackendError(FailureKind.CUT, f"{self._place} broke off in the middle of its answer")
        return reader.whole(body)

    async def _stream(self, reply: Reply, reader: Reader, answer: _Answer) -> None:
        """Read until the answer is whole or the stream ends; which of the two, the reader knows."""
        parser = EventParser()
        while not reader.done and (chunk := await reply.chunk()):
            await answer.bring(reader.feed(event) for event in parser.feed(chunk))
        if reader.done:
            await reply.linger()


class _Errand(Struct, frozen=True):
    """What is sent, and where: it came through ``hops`` routers, and waits for a seat where it is ``patient``."""

    url: str
    body: bytes
    hops: int
    patient: bool = True


class _Answer:
    """What has come of an answer: hands it on, and keeps time."""

    def __init__(self, emit: Emit, waiting: Patience) -> None:
        self._emit = emit
        self._waiting = waiting
        self._first: float | None = None
        self._last = 0.0

    @property
    def decode_s(self) -> float | None:
        return None if self._first is None else self._last - self._first

    async def bring(self, pieces: Iterable[Piece | None]) -> None:
        """Hand on what came at once as one piece."""
        found = [piece for piece in pieces if piece is not None]
        if not found:
            return
        self._last = perf_counter()
        self._first = self._first or self._last
        self._waiting.pause()
        await self._emit(found[0] if len(found) == 1 else _joined(found))
        self._waiting.go_on()


def _joined(pieces: list[Piece]) -> Piece:
    return Piece(
        "".join(piece.text for piece in pieces),
        "".join(piece.reasoning for piece in pieces),
        [call for piece in pieces for call in piece.tool_calls],
        [logprob for piece in pieces for logprob in piece.logprobs],
    )


def _address(base_url: str, path: str) -> tuple[str, str, str]:
    """The Unix socket or ``""``, the URL, and what messages call the place."""
    if base_url.startswith("unix:"):
        socket = str(Path(base_url.removeprefix("unix:")).expanduser())
        return socket, f"http://localhost/v1{path}", socket
    parts = urlsplit(base_url)
    return "", parts._replace(path=parts.path.rstrip("/") + path).geturl(), parts.netloc


def _times(own: TimeoutSpec, terms: Terms) -> TimeoutSpec:
    given = {name: value for name in ("first_token", "stall", "total") if (value := getattr(terms, name)) is not None}
    return replace(own, **given) if given else own


async def _refused(reply: Reply) -> Said:
    if 300 <= reply.status < 400:
        return Said(f"it is elsewhere: {reply.headers.get('location', '')}")
    return said(await reply.body(MAX_ERROR))
