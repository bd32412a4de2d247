"""Embeddings, paid for like answers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import Struct

from routerd_client.chat import ChatRequest, Usage

from ..backends.base import BackendError, News, Sent
from ..backends.http import HttpBackend
from ..routing.decide import Decided
from .generation import Generation
from .hop import Asking
from .purse import Purse
from .run import Call


class _Usage(Struct, frozen=True):
    prompt_tokens: int = 0


class _Answer(Struct, frozen=True):
    usage: _Usage | None = None


_ANSWER = msgspec.json.Decoder(_Answer)


async def embed(
    purse: Purse, generation: Generation, call: Call, decided: Decided, backend: HttpBackend, fields: Mapping[str, Any]
) -> bytes:
    """What ``backend`` answers to a request for embeddings with ``fields``. Raises `BackendError`."""
    asking = Asking(
        backend=backend.name,
        tariff=generation.tariffs.of(backend.name, decided.terms.model),
        chat=ChatRequest(messages=[], max_tokens=0, extra={"openai": dict(fields)}),
        request=call.request_id,
        attempt=1,
        route=decided.decision.route,
        client=call.client,
    )
    hop = await purse.open(asking)
    usage, billed = None, False

    async def hear(news: News) -> None:
        nonlocal billed
        billed = billed or isinstance(news, Sent)

    try:
        body = await backend.embed(fields, decided.terms, hear)
        usage = _used(body)
    except BackendError as error:
        billed = error.billed
        raise
    finally:
        await purse.settle(hop, usage, billed=billed, told=[])
    return body


def _used(body: bytes) -> Usage | None:
    try:
        usage = _ANSWER.decode(body).usage
    except msgspec.DecodeError:
        return None
    return Usage(usage.prompt_tokens) if usage and usage.prompt_tokens else None
