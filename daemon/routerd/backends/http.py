"""Backends that are asked over HTTP, whatever their format."""

from __future__ import annotations

import asyncio
import math
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
import structlog
from msgspec import Struct
from msgspec.structs import replace

from routerd_client.chat import ChatRequest, Part, TextPart
from routerd_client.records import FailureKind

from .. import __version__
from ..config.http import HttpSpec, TimeoutSpec
from ..config.types import Secret
from ..routing.terms import Terms
from ..routing.view import Limits
from . import openai
from .base import BackendError, Emit, End, Limited, Piece, Sent
from .dropped import by_api
from .failures import Said, failed, said
from .format import ErrorInStreamError, Format, Reader, reading
from .patience import Patience
from .peer import CHALLENGE, LOCAL_ONLY, PROOF, PROOF_S, challenge, passed_on, proves
from .rate_limits import rate_limits
from .seats import Seats
from .secrets import Secrets
from .sse import MAX_EVENT, MAX_STREAM, EventParser

if TYPE_CHECKING:
    from .transport import Reply, Transport

log = structlog.get_logger()

T = TypeVar("T")
Read = Callable[["Reply", Patience], Awaitable[T]]

EMBEDDINGS = "/embeddings"
HOPS = "x-routerd-hops"
"""The header that counts the routers a request came through: two that ask each other would never end."""
MAX_ERROR = 2**16
"""Bytes that are read of an error's body."""
_MANY, _LONG = 500, 2**18
"""Messages or parts of one, and characters, that take a while to write down."""
MAX_ANSWER = 2**24
"""Characters of an answer: what is longer would not fit into a frame to the caller."""
KNOWN_S = 10.0
"""Seconds for which a server that gave no proof of keeping requests here is passed over. One that gave it is asked
again before each request anyway."""
_CLOSE_S = 1.0
_SLICE = 2**15
"""Bytes of a stream that are read at once: there may be thousands of events in them."""

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
        self._stays = spec.local is True
        self._asked_at = -math.inf

    def __repr__(self) -> str:
        return f"<HttpBackend {self.name} {self.kind} {self.model} at {self._place}>"

    def note(self) -> str:
        return self._place if self._spec.near else "remote"

    def refusal(self) -> BackendError | None:
        return None

    def dropped(self, chat: ChatRequest, read: frozenset[str]) -> list[str]:
        return by_api(chat, self.kind, read, local=self.kind == "openai" and openai.is_own(self._spec))

    def limits(self) -> Limits:
        spec = self._spec
        embeddings = self.kind == "openai"
        return Limits(
            context=spec.context,
            tools=spec.tools,
            vision=spec.vision,
            prefill=spec.prefill,
            embeddings=embeddings,
            stays=self._stays or (False if perf_counter() - self._asked_at < KNOWN_S else None),
        )

    async def ask_whether_it_stays(self) -> bool:
        """Ask the server whether it is a routerd on this machine that keeps here what must stay here.

        Asked anew each time: another program may have taken its place. Never raises.
        """
        self._stays, given = False, challenge()
        with anyio.move_on_after(PROOF_S):
            try:
                key = await self._key(self._spec.api_key)
                headers = {"accept-encoding": "identity", **self._headers(key), CHALLENGE: given, LOCAL_ONLY: "true"}
                transport = self._http.transport(self._socket)
                reply = await transport.get(self._url, headers, self._place)
                self._stays = proves(given, reply.headers.get(PROOF, ""))
                reply.close()
            except BackendError:
                pass  # who asks it for an answer learns why
        self._asked_at = perf_counter()
        return self._stays

    def busy(self) -> float:
        return self._seats.busy

    def wait(self) -> float:
        return self._seats.wait_s

    async def count(self, chat: ChatRequest) -> int | None:  # noqa: ARG002 - no tokenizer is at hand
        return None

    async def answer(self, chat: ChatRequest, emit: Emit, terms: Terms) -> End:
        if large := _is_large(chat):
            await asyncio.sleep(0)  # the decision took a while too
        body = self._written(chat, terms)
        if large:
            await asyncio.sleep(0)
        errand = _Errand(self._url, body, chat)
        return await self._ask(errand, emit, terms, partial(self._read, emit))

    def _written(self, chat: ChatRequest, terms: Terms) -> bytes:
        """Return the request's body. Raises `BackendError`, whatever is in ``chat``."""
        try:
            return _encode(self._api.encode(chat, self._spec, terms))
        except BackendError:
            raise
        except Exception as error:
            log.exception("backend.unwritable", backend=self.name)
            message = f"the request cannot be written for {self._place}: {type(error).__name__}"
            raise BackendError(FailureKind.BAD_REQUEST, message) from None

    async def embed(self, fields: Mapping[str, Any], chat: ChatRequest, terms: Terms, emit: Emit) -> bytes:
        """Ask for embeddings with ``fields``, the model's name put in, and return the API's answer; ``chat`` is the
        request as it was decided.

        Only for the kind ``openai``. Raises `BackendError`.
        """
        body = _encode({**fields, "model": terms.model or self._spec.model})
        _, url, _ = _address(self._base_url, EMBEDDINGS)
        return await self._ask(_Errand(url, body, replace(chat, when_full=None)), emit, terms, self._read_bytes)

    async def _ask(self, errand: _Errand, emit: Emit, terms: Terms, read: Read[T]) -> T:
        await self._seats.take(emit, patient=errand.chat.when_full in (None, "wait"))
        began = perf_counter()
        try:
            return await self._authorized(errand, emit, terms, read)
        finally:
            self._seats.leave(perf_counter() - began)

    async def _authorized(self, errand: _Errand, emit: Emit, terms: Terms, read: Read[T]) -> T:
        secret = terms.api_key or self._spec.api_key
        key = await self._key(secret)
        if errand.chat.local_only and self._spec.local is None and not await self.ask_whether_it_stays():
            raise _leaves(self._place)  # also where it was another program when this was decided
        try:
            return await self._post(errand, key, emit, terms, read)
        except BackendError as error:
            if error.kind is not FailureKind.AUTH_FAILED or not secret:
                raise
            newer = await self._http.secrets.resolve(secret, anew=True)
            if newer == key:
                raise
        return await self._post(errand, newer, emit, terms, read)  # the key was changed meanwhile

    async def _key(self, secret: Secret | None) -> str:
        return await self._http.secrets.resolve(secret) if secret else ""

    def _headers(self, key: str) -> dict[str, str]:
        """Return the headers of each request."""
        spec = self._spec
        own = {name.lower(): value for name, value in spec.headers.items()}
        return {"user-agent": f"routerd/{__version__}", **self._api.headers(key, spec), **own}

    async def _post(self, errand: _Errand, key: str, emit: Emit, terms: Terms, read: Read[T]) -> T:
        spec = self._spec
        headers = {
            "accept": "text/event-stream",
            "accept-encoding": "identity",
            "content-type": "application/json",
            **(passed_on(errand.chat) if spec.near or spec.routerd else {}),
            **self._headers(key),
        }
        if errand.chat.local_only:
            headers[LOCAL_ONLY] = "true"  # whatever routes.yaml has among its headers
        if spec.base_url:  # there may be another router, or this one
            headers[HOPS] = str(errand.chat.hops + 1)
        transport = self._http.transport(self._socket)
        await emit(_SENT)
        status = 0
        try:
            with Patience(_times(spec.timeouts, terms), self._place) as waiting:
                reply = await transport.post(errand.url, headers, errand.body, waiting.connected, self._place)
                try:
                    status = reply.status
                    with reading(self._place):
                        told = rate_limits(reply.headers, time.time(), perf_counter())
                    if told:
                        await emit(Limited(told))
                    return await read(reply, waiting)
                except ErrorInStreamError as error:
                    hidden = (key, *spec.headers.values())
                    with reading(self._place):
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
        with reading(self._place):
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
        with reading(self._place):
            return reader.whole(body)

    async def _stream(self, reply: Reply, reader: Reader, answer: _Answer) -> None:
        """Read until the answer is whole or the stream ends; which of the two, the reader knows."""
        parser = EventParser()
        while not reader.done and (chunk := await reply.chunk()):
            for at in range(0, len(chunk), _SLICE):
                if at:
                    await asyncio.sleep(0)  # an API that always has more to say makes nobody else wait
                with reading(self._place):
                    pieces = [reader.feed(event) for event in parser.feed(chunk[at : at + _SLICE])]
                await answer.bring(pieces)
        if reader.done:
            await reply.linger()


class _Errand(Struct, frozen=True):
    """A body, the URL it goes to, and the request it is for."""

    url: str
    body: bytes
    chat: ChatRequest


class _Answer:
    """What has come of an answer: hands it on, and keeps time."""

    def __init__(self, emit: Emit, waiting: Patience) -> None:
        self._emit = emit
        self._waiting = waiting
        self._first: float | None = None
        self._last = 0.0
        self._chars = 0

    @property
    def decode_s(self) -> float | None:
        return None if self._first is None else self._last - self._first

    async def bring(self, pieces: Iterable[Piece | None]) -> None:
        """Hand on what came at once as one piece."""
        found = [piece for piece in pieces if piece is not None]
        if not found:
            return
        self._chars += sum(map(_size, found))
        if self._chars > MAX_ANSWER:
            raise BackendError(FailureKind.MALFORMED, "the API sent more than any answer can be")
        self._last = perf_counter()
        self._first = self._first or self._last
        self._waiting.pause()
        await self._emit(found[0] if len(found) == 1 else _joined(found))
        self._waiting.go_on()


def _is_large(chat: ChatRequest) -> bool:
    """Whether ``chat`` takes a while to write down."""
    return len(chat.messages) > _MANY or any(_is_long(message.content or "") for message in chat.messages)


def _is_long(content: str | list[Part]) -> bool:
    if isinstance(content, str):
        return len(content) > _LONG
    texts = (part.text if isinstance(part, TextPart) else part.image_url.url for part in content)
    return len(content) > _MANY or any(len(text) > _LONG for text in texts)


def _size(piece: Piece) -> int:
    calls = sum(len(call.function.name) + len(call.function.arguments) for call in piece.tool_calls)
    return len(piece.text) + len(piece.reasoning) + calls


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


def _leaves(place: str) -> BackendError:
    message = f"{place} may forward a request that must stay on this machine"
    hint = "if it answers by itself, say 'local: true' in its backend"
    return BackendError(FailureKind.NOT_FOUND, message, hint=hint)


def _times(own: TimeoutSpec, terms: Terms) -> TimeoutSpec:
    given = {name: value for name in ("first_token", "stall", "total") if (value := getattr(terms, name)) is not None}
    return replace(own, **given) if given else own


async def _refused(reply: Reply) -> Said:
    if 300 <= reply.status < 400:
        return Said(f"it is elsewhere: {reply.headers.get('location', '')}")
    return said(await reply.body(MAX_ERROR))
