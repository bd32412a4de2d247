"""A reader that makes a mistake: its backend's failure, whatever the mistake, and others are asked."""

from __future__ import annotations

from typing import Any

import pytest

from routerd.backends import openai
from routerd.backends.base import End, Piece
from routerd.backends.http import Http, HttpBackend
from routerd.backends.sse import Event
from routerd.config.http import HttpSpec
from routerd.routing.terms import Terms
from routerd.selftest.fake_api import FakeApi
from routerd_client.chat import ChatRequest
from routerd_client.records import FailureKind

from .asking import failure

MISTAKES = [
    KeyError("x"),
    RecursionError(),
    OverflowError(),
    AttributeError(),
    UnicodeDecodeError("utf-8", b"", 0, 1, ""),
]


class Reader(openai.Reader):
    """One that fails at ``step``."""

    def __init__(self, step: str, mistake: Exception) -> None:
        super().__init__()
        self._step = step
        self._mistake = mistake

    def feed(self, event: Event) -> Piece | None:
        if self._step == "feed":
            raise self._mistake
        return super().feed(event)

    def whole(self, body: bytes) -> Piece | None:
        if self._step == "whole":
            raise self._mistake
        return super().whole(body)

    def end(self) -> End:
        if self._step == "end":
            raise self._mistake
        return super().end()


class Odd:
    """A format with a mistake in it."""

    BASE_URL = openai.BASE_URL
    PATH = openai.PATH

    def __init__(self, step: str, mistake: Exception) -> None:
        self._step = step
        self._mistake = mistake

    def headers(self, key: str, spec: HttpSpec) -> dict[str, str]:
        return openai.headers(key, spec)

    def encode(self, chat: ChatRequest, spec: HttpSpec, terms: Terms) -> dict[str, Any]:
        if self._step == "encode":
            raise self._mistake
        return openai.encode(chat, spec, terms)

    def reader(self) -> Reader:
        return Reader(self._step, self._mistake)


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda one: type(one).__name__)
@pytest.mark.parametrize("step", ["feed", "whole", "end", "encode"])
async def test_whatever_a_translation_raises(http: Http, api: FakeApi, step: str, mistake: Exception) -> None:
    api.knobs.whole = step == "whole"
    backend = HttpBackend("there", "openai", HttpSpec(model="m", base_url=api.base_url), Odd(step, mistake), http)

    error = await failure(backend)

    assert error.kind is (FailureKind.BAD_REQUEST if step == "encode" else FailureKind.MALFORMED)
    assert type(mistake).__name__ in error.message
