"""Bounds that every chat is held to before anything is decided for it, whoever would answer. Pure.

JSON allows numbers and nesting without end; model processes, APIs and the ledger do not. What a model reads only as
text, such as a schema, keeps integers of any size.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import msgspec
from msgspec.structs import replace

from routerd_client.chat import ChatRequest, Sampling

MAX_DEPTH = 128
"""Levels of lists and objects in one value, as in other readers of JSON."""
MAX_VALUES = 500_000
"""Values in one free part of a chat. Four million numbers hold up a model's other answers for seconds."""
MAX_TOKENS = 2**53
"""The largest integer that every reader of JSON keeps exactly."""

_TEXT = frozenset({str})
_SCALARS = frozenset({str, int, float, bool, type(None)})
_ANYTHING: msgspec.json.Decoder[Any] = msgspec.json.Decoder()


class BadChatError(ValueError):
    """A value of a chat that nobody can be asked with. The message begins with its place: ``seed is``."""


def check(chat: ChatRequest) -> None:
    """Raise `BadChatError` for the first value of ``chat`` that is out of bounds."""
    if chat.sampling != _USUAL:
        _check_sampling(chat.sampling)
    _check_integer("max_tokens", chat.max_tokens, -MAX_TOKENS, MAX_TOKENS, "at most 2^53")
    for name in ("top_logprobs", "hops"):
        _check_signed(name, getattr(chat, name))
    for place, value in _free(chat):
        check_value(place, value)
    for at, message in enumerate(chat.messages):
        for n, call in enumerate(message.tool_calls):
            _check_arguments(f"messages[{at}].tool_calls[{n}].function.arguments", call.function.arguments)


_USUAL = Sampling()


def bare(chat: ChatRequest) -> ChatRequest:
    """Return ``chat`` without what `check` looks at but its messages: so one that is out of bounds can be recorded."""
    return replace(
        chat,
        tools=[],
        response_format=None,
        template_args={},
        extra={},
        sampling=_USUAL,
        max_tokens=None,
        top_logprobs=0,
        hops=0,
    )


def check_value(place: str, value: Any) -> None:
    """Raise `BadChatError` where ``value``, which stands at ``place``, is too deep, too large, or no JSON."""
    level, count = [value], 0
    for _ in range(MAX_DEPTH):
        inner: list[Any] = []
        for node in level:
            if type(node) is dict:
                if not _TEXT.issuperset(map(type, node)):
                    raise BadChatError(f"{place} has a key that is no text: JSON has no others")
                count += len(node)
                inner += [child for child in node.values() if type(child) not in _SCALARS]
            elif type(node) is list:
                count += len(node)
                inner += [child for child in node if type(child) not in _SCALARS]
            else:
                raise BadChatError(f"{place} has a value of type {type(node).__name__}, which JSON does not have")
        if count > MAX_VALUES:
            raise BadChatError(f"{place} has more than {MAX_VALUES} values: send fewer")
        if not inner:
            return
        level = inner
    raise _too_deep(place)


def _too_deep(place: str) -> BadChatError:
    return BadChatError(f"{place} is nested deeper than {MAX_DEPTH} levels: send it flatter")


def _free(chat: ChatRequest) -> Iterator[tuple[str, Any]]:
    """Yield the parts of a chat that hold any JSON, each with its place."""
    for at, tool in enumerate(chat.tools):
        if tool.function.parameters:
            yield f"tools[{at}].function.parameters", tool.function.parameters
    if chat.response_format and chat.response_format.json_schema:
        yield "response_format.json_schema", chat.response_format.json_schema
    yield "template_args (chat_template_kwargs)", chat.template_args
    for kind, fields in chat.extra.items():
        yield f"extra.{kind}", [fields]


def _check_arguments(place: str, text: str) -> None:
    """Check JSON text that some backends parse. Text that is none is a model's own mistake, and passed on."""
    if text.count("{") + text.count("[") <= MAX_DEPTH:
        return
    try:
        check_value(place, [_ANYTHING.decode(text)])
    except RecursionError:
        raise _too_deep(place) from None
    except (msgspec.DecodeError, UnicodeError):
        pass


def _check_sampling(sampling: Sampling) -> None:
    for name in ("temperature", "top_p", "min_p", "repetition_penalty", "presence_penalty", "frequency_penalty"):
        _check_finite(name, getattr(sampling, name))
    _check_finite("xtc_probability", sampling.xtc_probability)
    _check_finite("xtc_threshold", sampling.xtc_threshold)
    _check_integer("seed", sampling.seed, -(2**63), 2**64 - 1, "below 2^64 and not below -2^63")
    _check_signed("top_k", sampling.top_k)
    for token, bias in sampling.logit_bias.items():
        _check_signed("a token id in logit_bias", token)
        _check_finite(f"logit_bias[{token}]", bias)


def _check_finite(name: str, value: float | None) -> None:
    if value is not None and not math.isfinite(value):
        raise BadChatError(f"{name} is {value}; it must be a finite number")


def _check_signed(name: str, value: int | None) -> None:
    _check_integer(name, value, -(2**63), 2**63 - 1, "below 2^63 and not below -2^63")


def _check_integer(name: str, value: int | None, low: int, high: int, bounds: str) -> None:
    if value is not None and not low <= value <= high:
        raise BadChatError(f"{name} is {value}; it must be {bounds}")
