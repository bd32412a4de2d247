"""Every value a caller sends, checked before mlx sees it.

mlx trusts its arguments: an id outside the vocabulary is a segmentation fault, and an exception
inside a step ends the whole batch. So nothing unchecked gets past this module.
"""

from __future__ import annotations

import math
from typing import Any

from routerd_client.chat import ChatRequest, ImagePart, Message, Sampling
from routerd_client.records import FailureKind

MAX_STOPS = 16
MAX_STOP_CHARS = 1024
MAX_STOP_TOKENS = 1024
MAX_TOP_LOGPROBS = 20

RANGES: dict[str, tuple[float, float]] = {
    "temperature": (0, 100),
    "top_p": (0, 1),
    "min_p": (0, 1),
    "repetition_penalty": (1e-3, 1e3),
    "presence_penalty": (-100, 100),
    "frequency_penalty": (-100, 100),
    "xtc_probability": (0, 1),
    "xtc_threshold": (0, 0.5),
    "seed": (0, 2**64 - 1),
}


class RequestError(Exception):
    """This one request cannot be answered. ``kind`` says why, the text what to change."""

    def __init__(self, kind: FailureKind, message: str) -> None:
        super().__init__(message)
        self.kind = kind


def bad(message: str) -> RequestError:
    """A `RequestError` of kind ``bad_request``."""
    return RequestError(FailureKind.BAD_REQUEST, message)


def check(chat: ChatRequest, vocab: int) -> None:
    """Raise `RequestError` (``bad_request``) for the first value of ``chat`` the model cannot take."""
    if not chat.messages:
        raise bad("messages is empty: send at least one message")
    for message in chat.messages:
        _check_message(message)
    _check_sampling(chat.sampling, vocab)
    _check_stop(chat.stop)
    _check_range("max_tokens", chat.max_tokens, 1, math.inf)
    _check_range("min_tokens", chat.min_tokens, 0, math.inf)
    for token in chat.stop_token_ids:
        _check_range("a token id in stop_token_ids", token, 0, vocab - 1)
    if len(chat.stop_token_ids) > MAX_STOP_TOKENS:
        raise bad(f"stop_token_ids has {len(chat.stop_token_ids)} tokens; the limit is {MAX_STOP_TOKENS}")
    _check_range("top_logprobs", chat.top_logprobs, 0, min(MAX_TOP_LOGPROBS, vocab - 1))


def _check_message(message: Message) -> None:
    if not isinstance(message.content, str) and any(isinstance(p, ImagePart) for p in message.content or ()):
        raise bad("this model reads text only: leave the images out, or ask a model with vision")


def _check_sampling(sampling: Sampling, vocab: int) -> None:
    for name, (low, high) in RANGES.items():
        _check_range(name, getattr(sampling, name), low, high)
    _check_range("top_k", sampling.top_k, 0, vocab - 1)
    for token, bias in sampling.logit_bias.items():
        _check_range("a token id in logit_bias", token, 0, vocab - 1)
        _check_range(f"logit_bias[{token}]", bias, -1e4, 1e4)
    if sampling.seed is not None and sampling.xtc_probability:
        raise bad("seed and xtc_probability exclude each other: xtc draws from a generator all requests share")


def _check_stop(stop: list[str]) -> None:
    if len(stop) > MAX_STOPS:
        raise bad(f"stop has {len(stop)} strings; the limit is {MAX_STOPS}")
    for text in stop:
        if not 0 < len(text) <= MAX_STOP_CHARS:
            raise bad(f"a stop string has {len(text)} characters; it must have 1 to {MAX_STOP_CHARS}")


def _check_range(name: str, value: Any, low: float, high: float) -> None:
    # NaN compares false with everything, so the test says what is allowed, not what is wrong.
    if value is not None and not low <= value <= high:
        bounds = f"at least {_plain(low)}" if high == math.inf else f"from {_plain(low)} to {_plain(high)}"
        raise bad(f"{name} is {value!r}; it must be {bounds}")


def _plain(bound: float) -> str:
    """Write a bound with all its digits where it is an integer."""
    return str(bound) if isinstance(bound, int) else f"{bound:g}"
