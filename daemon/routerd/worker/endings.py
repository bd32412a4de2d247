"""Where an answer ends, as its request may change it: more end tokens, none of the model's own, none before so many."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import mlx.core as mx
from msgspec import Struct

from routerd_client.chat import ChatRequest

Array = Any  # mlx ships no usable types


class Endings(Struct, frozen=True):
    """``tokens`` end the answer, the model's own among them. None of them is drawn before the answer has ``earliest``
    tokens, and of ``forbidden`` none at all."""

    tokens: list[int]
    forbidden: list[int] = []
    earliest: int = 0

    def processors(self, prompt: int) -> list[Callable[[Array, Array], Array]]:
        """Logits processors for an answer to ``prompt`` tokens."""
        found = [_without(self.forbidden)] if self.forbidden else []
        return [*found, _until(prompt + self.earliest, self.tokens)] if self.earliest and self.tokens else found


def endings(chat: ChatRequest, own: list[int]) -> Endings:
    """The endings of an answer to ``chat`` by a model whose ``own`` end tokens these are."""
    forbidden = [token for token in own if token not in chat.stop_token_ids] if chat.ignore_eos else []
    return Endings(sorted({*own, *chat.stop_token_ids}), sorted(forbidden), chat.min_tokens or 0)


def _without(tokens: list[int]) -> Callable[[Array, Array], Array]:
    banned = mx.array(tokens)

    def processor(_before: Array, logits: Array) -> Array:
        logits[:, banned] = -mx.inf
        return logits

    return processor


def _until(length: int, tokens: list[int]) -> Callable[[Array, Array], Array]:
    without = _without(tokens)
    return lambda before, logits: without(before, logits) if len(before) < length else logits
