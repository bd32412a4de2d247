"""OpenAI's embeddings, by the APIs that speak them: owned models have none."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from routerd_client.chat import ChatRequest, Message
from routerd_client.protocol import Error, Event

from ..dispatch.embed import Embedding
from ..dispatch.generation import Generation
from ..dispatch.run import Call
from ..routing.admit import NO_EMBEDDINGS
from ..routing.decide import UnknownModelError
from .caller import client_name, laid_on
from .format import LEFT_OUT, ROUTE, BadRequestError, decode, encode, refusal, told, unknown
from .page import SHUTTING_DOWN, Ask, RefusedError, Reply, refused
from .services import Services


class Body(Struct, frozen=True):
    """What is read of a request."""

    input: str | list[str | int | list[int]]
    model: str | None = None
    metadata: dict[str, Any] | None = None


MOST_TEXTS = 2048
"""In one request, as at OpenAI."""

_BODY = msgspec.json.Decoder(Body)
_KNOWN = frozenset({"model", "metadata"})


async def embeddings(services: Services, ask: Ask) -> Reply:
    """See `page.Page`. Vectors of different models say nothing to each other, so only backends with the first one's
    model take its place."""
    asked = decode(_BODY, ask.body)
    if not asked.input:
        raise BadRequestError("input is empty: at least one text is needed", "input")
    if isinstance(asked.input, list) and sum(not isinstance(one, int) for one in asked.input) > MOST_TEXTS:
        raise BadRequestError(f"input has more than {MOST_TEXTS} texts: send them in several requests", "input")
    if services.draining:
        raise RefusedError(refusal(SHUTTING_DOWN))
    fields, left_out = unknown(ask.body, _KNOWN)
    chat = _chat(asked, fields, ask.headers)
    embedding = Embedding(fields, _texts(asked))
    call = Call(0, ask.request_id, chat, client=client_name(ask.headers), embedding=embedding)
    generation = services.generation
    await _check(services, generation, call)
    end = await services.dispatcher.chat(generation, call, _nobody)
    told_of = {ROUTE: end.route, "x-routerd-attempts": str(len(end.attempts))}
    if isinstance(end, Error):
        raise RefusedError(refusal(end), told_of)
    assert embedding.vectors
    used = embedding.usage.prompt_tokens
    usage = {"prompt_tokens": used, "total_tokens": used}
    answer = {"object": "list", "model": asked.model or end.endpoint, "data": embedding.vectors.data, "usage": usage}
    headers = {"x-routerd-backend": end.backend, **told_of}
    return Reply(body=encode(answer), headers=headers | ({LEFT_OUT: "; ".join(left_out)} if left_out else {}))


def _texts(asked: Body) -> list[str]:
    """Those of the input that are no tokens."""
    return [asked.input] if isinstance(asked.input, str) else [text for text in asked.input if isinstance(text, str)]


def _chat(asked: Body, fields: dict[str, Any], headers: Mapping[str, str]) -> ChatRequest:
    """What routes may look at: the texts. It belongs to no conversation."""
    texts = _texts(asked)
    tokens = isinstance(asked.input, list) and len(texts) < len(asked.input)
    rest = {name: value for name, value in fields.items() if tokens or name != "input"}
    chat = ChatRequest(
        messages=[Message("user", "\n".join(texts))],
        model=asked.model or "",
        context=told(asked.metadata),
        extra={"openai": rest} if rest else {},
    )
    return replace(laid_on(chat, headers), session="")


async def _check(services: Services, generation: Generation, call: Call) -> None:
    """Raises `RefusedError` where nobody that could be asked gives embeddings."""
    try:
        decision = (await services.dispatcher.decide_proven(generation, call)).decision
    except UnknownModelError:
        return  # who answers says so
    if decision.candidates or any(skipped.reason != NO_EMBEDDINGS for skipped in decision.skipped):
        return
    kinds = {generation.backends[skipped.backend].kind for skipped in decision.skipped}
    message = f"{decision.endpoint} gives no embeddings: its backends are of kind {', '.join(sorted(kinds))}"
    hint = "name an endpoint or backend of kind openai whose API has /v1/embeddings"
    raise refused(400, message, hint)


async def _nobody(_event: Event) -> None:
    """Nothing is told of them on the way."""
