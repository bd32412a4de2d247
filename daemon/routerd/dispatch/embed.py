"""Embeddings: asked for, paid for and recorded as chats are, but what comes is vectors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import Raw, Struct
from msgspec.structs import replace

from routerd_client.chat import ChatRequest, FinishReason, Message, Usage
from routerd_client.records import FailureKind

from ..backends.base import Backend, BackendError, Emit, End
from ..backends.http import HttpBackend
from ..backends.usage import NO_USAGE, believable, fields, tokens
from ..routing.terms import Terms


class Vectors(Struct, frozen=True):
    """What an API answers: ``data`` as it came, and what it says that was used."""

    data: Raw
    usage: Raw = NO_USAGE


_VECTORS = msgspec.json.Decoder(Vectors)


class Embedding:
    """What one request asks for in the place of an answer: ``texts``, as far as they are no tokens, among the
    ``fields`` that are sent. ``vectors`` is None until they have come."""

    def __init__(self, fields: Mapping[str, Any], texts: list[str]) -> None:
        self.vectors: Vectors | None = None
        self.usage = Usage()
        self._fields = fields
        self._texts = texts

    def sized(self, chat: ChatRequest) -> ChatRequest:
        """``chat`` as what it costs hangs on: no answer, and each text by itself, since models add to each."""
        return replace(chat, messages=[Message("user", text) for text in self._texts], max_tokens=0, stream=False)

    async def ask(self, backend: Backend, chat: ChatRequest, emit: Emit, terms: Terms) -> End:
        """Have ``backend`` make them, for ``chat`` as it was decided. Raises `BackendError`."""
        assert isinstance(backend, HttpBackend)  # no other says of itself that it can
        body = await backend.embed(self._fields, chat, terms, emit)
        try:
            self.vectors = _VECTORS.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            message = f"{backend.name} answered something that is no embeddings"
            failure = BackendError(FailureKind.MALFORMED, message, hint="is it a model for embeddings?")
            failure.billed = True
            raise failure from None
        self.usage = believable(Usage(tokens(fields(self.vectors.usage), "prompt_tokens")))
        return End(FinishReason.STOP, self.usage)
