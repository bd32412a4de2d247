"""Anthropic's count_tokens: what a prompt would cost the model that it would go to."""

from __future__ import annotations

from routerd_client.chat import ChatRequest
from routerd_client.protocol import ErrorCode

from ..dispatch.persona import with_persona
from ..dispatch.run import Call
from ..routing import bounds
from ..routing.admit import TEMPLATE_TOKENS
from ..routing.decide import UnknownModelError
from ..routing.features import Features
from . import messages
from .caller import client_name, laid_on
from .format import BadRequestError
from .page import Ask, Reply, json, refused
from .services import Services

ESTIMATED = "x-routerd-estimated"
_BYTES_A_TOKEN = 2
"""Text and code have more bytes in a token in every usual language, so an estimate is rather too high."""
_IMAGE_TOKENS = 1600
"""About what a large image comes to with the makers."""


async def count_tokens(services: Services, ask: Ask) -> Reply:
    """See `page.Page`. Exact where the backend that would be asked first has a tokenizer here, as owned models do;
    otherwise an estimate, and a header says so."""
    chat = laid_on(messages.read(ask.body, ask.headers).chat, ask.headers)
    generation = services.generation
    try:
        bounds.check(chat)
        call = Call(0, ask.request_id, chat, client=client_name(ask.headers))
        decided = await services.dispatcher.decide_proven(generation, call)
    except bounds.BadChatError as error:
        raise BadRequestError(str(error)) from None
    except UnknownModelError as error:
        raise refused(404, str(error), error.hint, ErrorCode.NOT_FOUND) from None
    asked = with_persona(decided.chat, generation.personas.get(decided.terms.persona, ""))
    decision = decided.decision
    names = [candidate.backend for candidate in decision.candidates]
    names += [skipped.backend for skipped in decision.skipped]  # a prompt that is too long is counted all the same
    tokens = await generation.backends[names[0]].count(asked) if names else None
    if tokens is not None:
        return json({"input_tokens": tokens})
    reply = json({"input_tokens": estimate(asked)})
    return Reply(body=reply.body, headers={ESTIMATED: "true"})


def estimate(chat: ChatRequest) -> int:
    """Tokens of ``chat``'s prompt, rather too many."""
    parts = [part for m in chat.messages if isinstance(m.content, list) for part in m.content]
    images = sum(not hasattr(part, "text") for part in parts)
    shaping = TEMPLATE_TOKENS * (len(chat.messages) + len(chat.tools))
    return Features(chat).prompt_bytes // _BYTES_A_TOKEN + shaping + images * _IMAGE_TOKENS
