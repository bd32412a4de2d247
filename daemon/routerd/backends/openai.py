"""OpenAI's chat/completions, and the many servers that speak it."""

from __future__ import annotations

import re
from typing import Any
from uuid import uuid4

import msgspec
from msgspec import Struct, to_builtins

from routerd_client.chat import (
    ChatRequest,
    FinishReason,
    Function,
    Message,
    Sampling,
    TokenLogprob,
    ToolCall,
    TopLogprob,
    Usage,
)

from ..config.http import HttpSpec, host
from ..routing.terms import Terms
from .base import End, Piece
from .failures import Said
from .format import ErrorInStreamError, cut, decode, given, limit_calls, spelled
from .sse import Event
from .usage import NO_USAGE, believable, fields, tokens

BASE_URL = "https://api.openai.com/v1"
PATH = "/chat/completions"

_SAMPLING = ("temperature", "top_p", "presence_penalty", "frequency_penalty")
_OWN_SAMPLING = ("top_k", "min_p", "repetition_penalty", "xtc_probability", "xtc_threshold")
"""What the format does not have, and servers of one's own (mlx-lm, llama.cpp, vLLM) understand."""
_REASONING = re.compile(r"(o\d|gpt-([5-9]|\d\d)|codex)")
_FINISH = {
    "stop": FinishReason.STOP,
    "length": FinishReason.LENGTH,
    "tool_calls": FinishReason.TOOL_CALLS,
    "function_call": FinishReason.TOOL_CALLS,
    "content_filter": FinishReason.CONTENT_FILTER,
}


_NO_OPINION = Sampling()


def headers(key: str, spec: HttpSpec) -> dict[str, str]:
    if not key:
        return {}
    return {"api-key": key} if _on_azure(spec) else {"authorization": f"Bearer {key}"}


def encode(chat: ChatRequest, spec: HttpSpec, terms: Terms) -> dict[str, Any]:
    """See `Format`. Fields that not every server knows go only to those that do.

    OpenAI's own hosts, and Azure's, get ``max_completion_tokens`` and the ``developer`` role, and for reasoning
    models the effort but no sampling, which these refuse. Servers reached by plain http or a Unix socket are
    taken for one's own, and get the sampling and template arguments that the format does not have.
    """
    model, makers = terms.model or spec.model, is_makers(spec)
    limit = chat.max_tokens if chat.max_tokens is not None else spec.max_tokens
    body: dict[str, Any] = {
        **chat.extra.get("openai", {}),
        "model": model,
        "messages": [_message(message, makers=makers) for message in chat.messages],
        "stream": True,
        "stream_options": {"include_usage": True},
        **given({"max_completion_tokens" if makers else "max_tokens": limit, "stop": chat.stop}),
        **given({"seed": chat.sampling.seed}),
    }
    if chat.tools:
        body["tools"] = to_builtins(chat.tools)
        body |= given({"tool_choice": chat.tool_choice, "parallel_tool_calls": chat.parallel_tool_calls})
    if chat.response_format and chat.response_format.type != "text":
        body["response_format"] = to_builtins(chat.response_format)
    if reasons(model, spec):
        return body | given({"reasoning_effort": chat.reasoning_effort})
    body |= _drawn(chat)
    if not makers:
        body |= given({"reasoning_effort": chat.reasoning_effort})
    if is_own(spec) and (chat.template_args or chat.sampling != _NO_OPINION):
        body |= _fields(chat.sampling, _OWN_SAMPLING) | given({"chat_template_kwargs": chat.template_args})
    if is_own(spec):
        body |= given({"min_tokens": chat.min_tokens, "stop_token_ids": chat.stop_token_ids})
        body |= {"ignore_eos": True} if chat.ignore_eos else {}
    return body


def reasons(model: str, spec: HttpSpec) -> bool:
    """Whether it is one of the maker's own reasoning models."""
    return is_makers(spec) and bool(_REASONING.match(model))


def _drawn(chat: ChatRequest) -> dict[str, Any]:
    """How tokens are drawn, and told of."""
    if chat.sampling == _NO_OPINION and not chat.logprobs:
        return {}
    bias = {str(token): value for token, value in chat.sampling.logit_bias.items()}
    fields = _fields(chat.sampling, _SAMPLING) | given({"logit_bias": bias})
    if chat.logprobs:
        fields |= {"logprobs": True, **given({"top_logprobs": chat.top_logprobs or None})}
    return fields


def _message(message: Message, *, makers: bool) -> dict[str, Any]:
    role = "system" if message.role == "developer" and not makers else message.role
    if isinstance(message.content, str) and not (message.name or message.tool_call_id or message.tool_calls):
        return {"role": role, "content": message.content}
    calls = [{"id": c.id, "type": "function", "function": _function(c.function)} for c in message.tool_calls]
    fields = {"name": message.name, "tool_call_id": message.tool_call_id, "tool_calls": calls}
    return {"role": role, "content": to_builtins(message.content), **given(fields)}


def _function(function: Function) -> dict[str, str]:
    return {"name": function.name, "arguments": function.arguments}


def _fields(sampling: Sampling, names: tuple[str, ...]) -> dict[str, Any]:
    return given({name: getattr(sampling, name) for name in names})


def _on_azure(spec: HttpSpec) -> bool:
    return host(spec.base_url).endswith(".azure.com")


def is_makers(spec: HttpSpec) -> bool:
    """Whether OpenAI itself is asked, or Azure, which serves the same models."""
    return host(spec.base_url or BASE_URL) == "api.openai.com" or _on_azure(spec)


def is_own(spec: HttpSpec) -> bool:
    """Whether it is taken for a server of one's own: plain http, or a Unix socket."""
    return spec.base_url.startswith(("http:", "unix:"))


class _FunctionDelta(Struct, frozen=True):
    name: str | None = None
    arguments: str | dict[str, Any] | None = None


class _CallDelta(Struct, frozen=True):
    index: int | None = None
    id: str | None = None
    function: _FunctionDelta = _FunctionDelta()


class _Text(Struct, frozen=True):
    text: str = ""


class _Part(Struct, frozen=True):
    text: str = ""
    thinking: list[_Text] = []


class _Delta(Struct, frozen=True):
    content: str | list[_Part] | None = None
    refusal: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    tool_calls: list[_CallDelta] | None = None


class _Top(Struct, frozen=True):
    token: str
    logprob: float
    bytes: Any = None


class _Logprob(Struct, frozen=True):
    logprob: float
    token: str | None = None
    top_logprobs: list[_Top] | None = None
    bytes: Any = None


class _Logprobs(Struct, frozen=True):
    content: list[_Logprob] | None = None


class _Choice(Struct, frozen=True):
    index: int = 0
    delta: _Delta | None = None
    message: _Delta | None = None
    finish_reason: str | None = None
    logprobs: _Logprobs | None = None


class _Chunk(Struct, frozen=True):
    choices: list[_Choice] | None = None
    usage: msgspec.Raw = NO_USAGE
    error: Any = None


_CHUNK = msgspec.json.Decoder(_Chunk)


class Reader:
    """See `format.Reader`. Tool calls are given once they are whole, with the finish reason."""

    def __init__(self) -> None:
        self.done = False
        self._finish: FinishReason | None = None
        self._usage = Usage()
        self._refusal = ""
        self._calls = _Calls()

    def feed(self, event: Event) -> Piece | None:
        if event.data.strip() == b"[DONE]":
            self.done = True
            return None
        if event.name == "error":
            raise ErrorInStreamError.of(event.data)
        return self.whole(event.data)

    def whole(self, body: bytes) -> Piece | None:
        chunk = decode(_CHUNK, body)
        if chunk.error:
            raise ErrorInStreamError.of(body)
        if usage := fields(chunk.usage):
            self._usage = _usage(usage)
        pieces = [self._choice(choice) for choice in chunk.choices or () if choice.index == 0]
        return pieces[0] if pieces else None

    def end(self) -> End:
        if self._finish is None:
            raise cut()
        return End(self._finish, self._usage, refusal=self._refusal)

    def _choice(self, choice: _Choice) -> Piece | None:
        delta = choice.delta or choice.message or _Delta()
        self._refusal += delta.refusal or ""
        for call in delta.tool_calls or ():
            self._calls.take(call)
        text, reasoning = _content(delta)
        if choice.finish_reason:
            return Piece(text, reasoning, self._finished(choice.finish_reason), _logprobs(choice))
        brings = text or reasoning or delta.refusal or delta.tool_calls
        return Piece(text, reasoning, [], _logprobs(choice)) if brings else None

    def _finished(self, reason: str) -> list[ToolCall]:
        if reason == "error":
            raise ErrorInStreamError(Said("the answer ended in an error that was not named"))
        self._finish = _FINISH.get(reason, FinishReason.UNKNOWN)
        return self._calls.whole()


class _Calls:
    """Tool calls as their fragments come."""

    def __init__(self) -> None:
        self._calls: list[tuple[str, str, list[str]]] = []
        self._at: dict[int, int] = {}

    def take(self, delta: _CallDelta) -> None:
        """Servers that give every call the same index, or none, give each an id of its own."""
        index = delta.index if delta.index is not None else -1
        at = self._at.get(index)
        if at is None or (delta.id and delta.id != self._calls[at][0]):
            at = self._at[index] = len(self._calls)
            limit_calls(at + 1)
            self._calls.append((delta.id or f"call_{uuid4().hex[:24]}", delta.function.name or "", []))
        arguments = delta.function.arguments
        if arguments:
            text = arguments if isinstance(arguments, str) else msgspec.json.encode(arguments).decode()
            self._calls[at][2].append(text)

    def whole(self) -> list[ToolCall]:
        """All of them; once."""
        calls, self._calls, self._at = self._calls, [], {}
        return [
            ToolCall(id=id_, function=Function(name, "".join(arguments)), index=index)
            for index, (id_, name, arguments) in enumerate(calls)
        ]


def _content(delta: _Delta) -> tuple[str, str]:
    """Text and reasoning, which Mistral sends as parts of the content."""
    if isinstance(delta.content, list):
        thoughts = [thought.text for part in delta.content for thought in part.thinking]
        return "".join(part.text for part in delta.content), "".join(thoughts)
    return delta.content or "", delta.reasoning_content or delta.reasoning or ""


def _usage(usage: dict[str, Any]) -> Usage:
    prompt, completion = tokens(usage, "prompt_tokens"), tokens(usage, "completion_tokens")
    # some makers leave the thinking they bill out of the completion, but not out of the total
    unseen = max(0, tokens(usage, "total_tokens") - prompt - completion)
    return believable(
        Usage(
            prompt,
            completion + unseen,
            tokens(usage, "prompt_tokens_details", "cached_tokens"),
            tokens(usage, "completion_tokens_details", "reasoning_tokens"),
        )
    )


def _logprobs(choice: _Choice) -> list[TokenLogprob]:
    return [
        TokenLogprob(
            entry.token,
            entry.logprob,
            [TopLogprob(top.token, top.logprob, spelled(top.token, top.bytes)) for top in entry.top_logprobs or ()],
            spelled(entry.token, entry.bytes),
        )
        for entry in (choice.logprobs.content if choice.logprobs else None) or ()
        if entry.token is not None
    ]


reader = Reader
