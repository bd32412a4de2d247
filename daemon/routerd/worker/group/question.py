"""From the daemon's request to the server's: checked here, because one bad value ends the server for everybody."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Struct

from routerd_client.chat import ChatRequest, Sampling
from routerd_client.records import FailureKind

from ..literal import CUT
from ..lm import Model
from ..prompt import prepare, template_arguments, template_message
from ..validate import RequestError, bad, check

JOINER = "\u2060"
"""Stands in a caller's words that spell a special token: invisible, and to the tokenizer no special token any more."""

PROBE = msgspec.json.encode(
    {"messages": [{"role": "user", "content": "hi"}], "model": "default_model", "max_tokens": 1, "stream": True}
)
"""A request for one token."""


class Question(Struct, frozen=True):
    """What the server is asked. ``prompt`` is the tokens of the prompt, ``tokens`` those of the longest answer too."""

    body: bytes
    prompt: int
    tokens: int


def ask(model: Model, chat: ChatRequest, max_tokens: int, kv_tokens: int) -> Question:
    """Check ``chat`` and translate it. Blocks on the tokenizer. Raises `RequestError`."""
    check(chat, model.vocab)
    sampling = _filled(chat.sampling, model.defaults)
    _refuse_missing(chat, sampling)
    chat = _spelled_out(model, chat)
    prompt = prepare(model, chat, max_tokens)
    room = kv_tokens - len(prompt.ids)
    if room < 1:
        text = f"the prompt has {len(prompt.ids)} tokens; all answers of the model may hold {kv_tokens} (kv_tokens)"
        raise RequestError(FailureKind.CONTEXT_OVERFLOW, text)
    longest = min(prompt.max_tokens, room)
    body = _sampling(sampling) | {
        "messages": [_message(template_message(m, keep_developer=model.knows_developer)) for m in chat.messages],
        # The one name that never makes the server load another model.
        "model": "default_model",
        "max_tokens": longest,
        "stream": True,
        "stream_options": {"include_usage": True},
        "tools": prompt.tools,
        "chat_template_kwargs": template_arguments(chat, model.template),
    }
    return Question(msgspec.json.encode(body), len(prompt.ids), len(prompt.ids) + longest)


def _filled(sampling: Sampling, defaults: dict[str, Any]) -> Sampling:
    missing = {name: value for name, value in defaults.items() if getattr(sampling, name) is None}
    return msgspec.structs.replace(sampling, **missing)


def _refuse_missing(chat: ChatRequest, sampling: Sampling) -> None:
    """Raise ``bad_request`` for what the server would silently leave out, or could not be stopped from doing."""
    if chat.continues:
        raise _unable("cannot go on from an answer's beginning")
    if chat.logprobs:
        raise _unable("gives no log probabilities")
    if chat.response_format and chat.response_format.type != "text":
        raise _unable(f"cannot hold an answer to response_format {chat.response_format.type}")
    # The server answers it alone, and a cancel then leaves the ranks at different steps for good.
    if sampling.seed is not None and sampling.temperature:
        raise _unable("draws without seeds")


def _unable(what: str) -> RequestError:
    return bad(f"a model over several machines {what}: leave that out, or ask a model on one machine")


def _sampling(sampling: Sampling) -> dict[str, Any]:
    given = {name: value for name, value in msgspec.structs.asdict(sampling).items() if value is not None}
    given.pop("seed", None)
    return given


def _spelled_out(model: Model, chat: ChatRequest) -> ChatRequest:
    """``chat`` with a `JOINER` inside whatever spells a special token."""
    plain = msgspec.to_builtins(chat)
    for message in plain["messages"]:
        literal = model.turn_markers if message["role"] == "assistant" else model.markers
        message.update(literal.cut({key: value for key, value in message.items() if key != "role"}))
    for field in ("tools", "template_args"):
        if field in plain:
            plain[field] = model.markers.cut(plain[field])
    text = msgspec.json.encode(plain).replace(CUT.encode(), JOINER.encode())
    return msgspec.json.decode(text, type=ChatRequest)


def _message(shaped: dict[str, Any]) -> dict[str, Any]:
    """``shaped`` for a server that takes arguments in the form of a string for JSON, and fails where it is none."""
    for call in shaped.get("tool_calls", ()):
        if isinstance(call["function"]["arguments"], str):
            call["function"]["arguments"] = msgspec.json.encode(call["function"]["arguments"]).decode()
    return shaped
