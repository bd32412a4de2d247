"""OpenAI's completions, the old way: a text goes on. Here it is asked as a chat of one message, so a model that has
learned to chat answers the text rather than going on with it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import msgspec

from routerd_client.chat import ChatRequest, Message, TokenLogprob, Usage
from routerd_client.protocol import Delta, Done, Error, Routed

from .chat_completions import finish_reason
from .format import Asked, BadRequestError, about, decode, encode, told, unknown
from .local_fields import NAMES, local_fields
from .openai import OVERLOADED, Common, error_object, refuse, usage_object

__all__ = ["OVERLOADED", "read", "refuse"]

KIND = "openai"


class Body(Common, frozen=True, kw_only=True):
    """What is read of a request."""

    prompt: str | list[str | int | list[int]]
    logprobs: int | None = None
    echo: bool | None = None
    best_of: int | None = None
    suffix: str | None = None


_BODY = msgspec.json.Decoder(Body)
_KNOWN = frozenset(Body.__struct_fields__) - {"prompt_cache_key"}
_READ = NAMES - {"continue_final_message"}  # its text is always the user's


def read(body: bytes, headers: Mapping[str, str]) -> Asked:  # noqa: ARG001 - all of this format is in its body
    """See `Format`."""
    asked = decode(_BODY, body)
    asked.check()
    if asked.best_of not in (None, 1):
        raise BadRequestError("best_of: one answer is made for a request", "best_of")
    if asked.echo or asked.suffix:
        field = "echo" if asked.echo else "suffix"
        raise BadRequestError(f"{field}: the text is asked as a chat, which has no such thing; leave it out", field)
    extra, left_out = unknown(body, _KNOWN)
    local = local_fields(extra)
    chat = ChatRequest(
        messages=[Message("user", _text(asked.prompt))],
        model=asked.model or "",
        sampling=asked.sampling(local),
        stop=local.stops(asked.stop),
        max_tokens=local.limit(max_tokens=asked.max_tokens),
        **local.endings,
        logprobs=asked.logprobs is not None,
        top_logprobs=asked.logprobs or 0,
        reasoning_effort=local.effort,
        template_args=local.template_args(),
        context=told(asked.metadata),
        session=asked.session,
        stream=bool(asked.stream),
        extra={KIND: extra} if extra else {},
    )
    return Asked(chat, Writer(chat.model, include_usage=asked.include_usage), left_out, _READ)


def _text(prompt: str | list[str | int | list[int]]) -> str:
    match prompt:
        case str(text) | [str(text)]:
            return text
        case [str(), *_]:
            raise BadRequestError("prompt: one text a request; send a request for each", "prompt")
    raise BadRequestError("prompt: a text is needed; each model has token ids of its own", "prompt")


class Writer:
    """See `format.Writer`. Of tool calls and reasoning this format knows nothing; a refusal is text like any other."""

    def __init__(self, model: str, *, include_usage: bool) -> None:
        self._model = model
        self._include_usage = include_usage
        self._facts: dict[str, Any] = {}
        self._said = False

    def begin(self, routed: Routed, usage: Usage) -> bytes:  # noqa: ARG002 - its end has the usage
        self._facts = self._about(routed.request_id, routed.endpoint)
        return b""

    def delta(self, delta: Delta) -> bytes:
        self._said = self._said or bool(delta.text)
        return self._chunk(delta.text, None, _logprobs(delta.logprobs)) if delta.text or delta.logprobs else b""

    def ping(self) -> bytes:
        return b": still at it\n\n"

    def done(self, done: Done) -> bytes:
        text = "" if self._said else done.refusal
        end = self._chunk(text, finish_reason(done), None, routerd=about(done))
        if self._include_usage:
            end += _event({**self._facts, "choices": [], "usage": usage_object(done.usage)})
        return end + b"data: [DONE]\n\n"

    def failed(self, error: Error) -> bytes:
        return _event({"error": error_object(502, error), "routerd": about(error)})

    def whole(self, done: Done) -> bytes:
        assert done.message
        choice = _choice(done.message.text or done.refusal, finish_reason(done), _logprobs(done.logprobs))
        facts = self._about(done.request_id, done.endpoint)
        return encode({**facts, "choices": [choice], "usage": usage_object(done.usage), "routerd": about(done)})

    def _about(self, request_id: str, endpoint: str) -> dict[str, Any]:
        created, model = int(time.time()), self._model or endpoint
        return {"id": f"cmpl-{request_id}", "object": "text_completion", "created": created, "model": model}

    def _chunk(self, text: str, finish: str | None, logprobs: dict[str, Any] | None, **more: Any) -> bytes:
        return _event({**self._facts, "choices": [_choice(text, finish, logprobs)], **more})


def _event(value: dict[str, Any]) -> bytes:
    return b"data: " + encode(value) + b"\n\n"


def _choice(text: str, finish: str | None, logprobs: dict[str, Any] | None) -> dict[str, Any]:
    return {"index": 0, "text": text, "logprobs": logprobs, "finish_reason": finish}


def _logprobs(logprobs: list[TokenLogprob]) -> dict[str, Any] | None:
    if not logprobs:
        return None
    return {
        "tokens": [one.token for one in logprobs],
        "token_logprobs": [one.logprob for one in logprobs],
        "top_logprobs": [{top.token: top.logprob for top in one.top} for one in logprobs],
    }
