"""Asking a real backend over a real socket."""

from __future__ import annotations

from typing import Any

import pytest

from routerd.backends.base import BackendError, End, Limited, News, Piece, Sent, Waiting
from routerd.backends.build import FORMATS
from routerd.backends.http import Http, HttpBackend
from routerd.config.http import HttpSpec, TimeoutSpec
from routerd.config.types import SecretSpec
from routerd.routing.terms import USUAL, Terms
from routerd.spend.quota import Told
from routerd_client.chat import ChatRequest, Message
from routerd_client.records import FailureKind

each_kind = pytest.mark.parametrize("kind", list(FORMATS))

KEY = "sk-test-0123456789abcdef"
HELLO = [Message("user", "Hello?")]


def chat(**fields: Any) -> ChatRequest:
    return ChatRequest(**{"messages": HELLO, **fields})


def backend(http: Http, kind: str, base_url: str, **fields: Any) -> HttpBackend:
    """One with the key `KEY`; ``first_token``, ``stall``, ``total`` and ``connect`` are its timeouts in seconds."""
    names = [name for name in TimeoutSpec.__struct_fields__ if name in fields]
    times = TimeoutSpec(**{name: fields.pop(name) for name in names})
    secret = SecretSpec(inline=KEY)
    spec = HttpSpec(**{"model": "m", "base_url": base_url, "api_key": secret, "timeouts": times, **fields})
    return http.backend("there", kind, spec, FORMATS[kind])


class Heard:
    """What an answer brought."""

    def __init__(self) -> None:
        self.pieces: list[Piece] = []
        self.waits: list[Waiting] = []
        self.told: list[Told] = []
        self.sent = 0
        self.end: End | None = None

    @property
    def text(self) -> str:
        return "".join(piece.text for piece in self.pieces)

    @property
    def reasoning(self) -> str:
        return "".join(piece.reasoning for piece in self.pieces)

    @property
    def calls(self) -> list[tuple[str, str]]:
        return [(call.function.name, call.function.arguments) for piece in self.pieces for call in piece.tool_calls]

    async def take(self, event: News) -> None:
        match event:
            case Waiting():
                self.waits.append(event)
            case Piece():
                self.pieces.append(event)
            case Limited():
                self.told += event.told
            case Sent():
                self.sent += 1


async def ask(asked: HttpBackend, request: ChatRequest | None = None, terms: Terms = USUAL) -> Heard:
    heard = Heard()
    heard.end = await asked.answer(request or chat(), heard.take, terms)
    return heard


async def failure(asked: HttpBackend, request: ChatRequest | None = None, terms: Terms = USUAL) -> BackendError:
    """How asking fails. Whatever it says, it never says the key."""
    with pytest.raises(BackendError) as caught:
        await ask(asked, request, terms)
    error = caught.value
    told: BaseException | None = error
    while told is not None:
        assert KEY not in f"{told} {told!r} {told.args} {vars(told)}"
        told = told.__context__ or told.__cause__
    assert error.kind is not FailureKind.UNKNOWN
    return error
