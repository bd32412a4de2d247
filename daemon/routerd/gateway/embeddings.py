"""OpenAI's embeddings, by the APIs that speak them: owned models have none."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
from msgspec import Raw, Struct

from routerd_client.chat import ChatRequest, Message
from routerd_client.protocol import Error, ErrorCode

from ..backends.base import BackendError
from ..backends.http import HttpBackend
from ..dispatch.embed import embed
from ..dispatch.generation import Generation
from ..dispatch.run import Call
from ..health.failure import RULES
from ..routing.decide import Decided, UnknownModelError
from .caller import client_name, laid_on
from .format import BadRequestError, decode, encode, refusal, told, unknown
from .page import Ask, RefusedError, Reply, refused
from .services import Services


class Body(Struct, frozen=True):
    """What is read of a request."""

    input: str | list[str | int | list[int]]
    model: str | None = None
    metadata: dict[str, Any] | None = None


class _Answer(Struct, frozen=True):
    data: Raw
    usage: dict[str, Any] | None = None


_BODY = msgspec.json.Decoder(Body)
_ANSWER = msgspec.json.Decoder(_Answer)
_KNOWN = frozenset({"model", "metadata"})


async def embeddings(services: Services, ask: Ask) -> Reply:
    """See `page.Page`. Vectors of different models say nothing to each other, so only backends with the first one's
    model take its place."""
    asked = decode(_BODY, ask.body)
    if not asked.input:
        raise BadRequestError("input is empty: at least one text is needed", "input")
    chat = ChatRequest(
        messages=[Message("user", _text(asked.input))], model=asked.model or "", context=told(asked.metadata)
    )
    call = Call(0, ask.request_id, laid_on(chat, ask.headers), client=client_name(ask.headers))
    generation = services.generation
    try:
        decided = services.dispatcher.decide(generation, call)
    except UnknownModelError as error:
        raise refused(404, str(error), error.hint, ErrorCode.NOT_FOUND) from None
    backend, body = await _embedded(services, generation, call, decided, unknown(ask.body, _KNOWN))
    answer = _read(backend, body)
    fields = {"object": "list", "model": asked.model or decided.decision.endpoint, "data": answer.data}
    usage = answer.usage or {"prompt_tokens": 0, "total_tokens": 0}
    return Reply(body=encode({**fields, "usage": usage}), headers={"x-routerd-backend": backend.name})


def _text(found: str | list[str | int | list[int]]) -> str:
    """What routes may look at."""
    return found if isinstance(found, str) else "\n".join(text for text in found if isinstance(text, str))


async def _embedded(
    services: Services, generation: Generation, call: Call, decided: Decided, fields: dict[str, Any]
) -> tuple[HttpBackend, bytes]:
    failure: BackendError | None = None
    for backend in _able(generation, decided):
        try:
            purse = services.dispatcher.purse
            return backend, await embed(purse, generation, call, decided, backend, fields)
        except BackendError as error:
            failure = error
            if not RULES[error.kind].next:
                break
    if failure is None:
        raise _nobody(generation, decided)
    code = RULES[failure.kind].code
    retryable = code in (ErrorCode.UNAVAILABLE, ErrorCode.OVERLOADED)
    after = failure.retry_after_s
    end = Error(id=0, code=code, message=failure.message, hint=failure.hint, retryable=retryable, retry_after=after)
    raise RefusedError(refusal(end))


def _able(generation: Generation, decided: Decided) -> Iterator[HttpBackend]:
    backends = [generation.backends[candidate.backend] for candidate in decided.decision.candidates]
    able = [backend for backend in backends if isinstance(backend, HttpBackend) and backend.kind == "openai"]
    return (backend for backend in able if backend.model == able[0].model)


def _nobody(generation: Generation, decided: Decided) -> RefusedError:
    decision = decided.decision
    if not decision.candidates:
        why = "; ".join(f"{skipped.backend}: {skipped.reason}" for skipped in decision.skipped)
        return refused(503, f"no backend of {decision.endpoint} can be asked now: {why}", "", ErrorCode.UNAVAILABLE)
    kinds = {generation.backends[candidate.backend].kind for candidate in decision.candidates}
    message = f"{decision.endpoint} gives no embeddings: its backends are of kind {', '.join(sorted(kinds))}"
    hint = "name an endpoint or backend of kind openai whose API has /v1/embeddings"
    return refused(400, message, hint)


def _read(backend: HttpBackend, body: bytes) -> _Answer:
    try:
        return _ANSWER.decode(body)
    except msgspec.DecodeError:
        message = f"{backend.name} answered something that is no embeddings"
        raise refused(502, message, "is it a model for embeddings?", ErrorCode.UNAVAILABLE) from None
