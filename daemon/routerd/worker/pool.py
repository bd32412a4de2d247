"""How many bytes the KV caches may take, and what a batch claims of them.

A batch is padded to its longest sequence, so one long prompt makes every row next to it long.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from msgspec import Struct

STEP = 256
"""Tokens by which mlx-lm grows a KV cache."""


class Cost(Struct, frozen=True):
    """Bytes of one sequence's KV cache: ``base``, and ``per_token`` for each of its tokens."""

    base: int
    per_token: int

    @classmethod
    def measured(cls, first: tuple[int, int], second: tuple[int, int]) -> Cost:
        """The line through two measurements of (tokens, bytes)."""
        (tokens, size), (more_tokens, more_size) = first, second
        per_token = -((size - more_size) // (more_tokens - tokens))
        return cls(base=max(0, size - per_token * tokens), per_token=max(0, per_token))


class Pool(Struct, frozen=True):
    """``limit`` bytes for the KV caches of the batch and the prompt cache together, 0 for no limit."""

    limit: int
    cost: Cost

    def claim(self, lengths: Sequence[int]) -> int:
        """The most bytes a batch of sequences of these lengths (in tokens) takes before it grows again."""
        return len(lengths) * self._row(max(lengths, default=0))

    def fits(self, lengths: Sequence[int]) -> bool:
        return not self.limit or self.claim(lengths) <= self.limit

    def room(self, lengths: Sequence[int]) -> int:
        """Bytes that are left for the prompt cache next to such a batch."""
        return max(0, self.limit - self.claim(lengths)) if self.limit else sys.maxsize

    @property
    def longest(self) -> int:
        """Tokens of the longest sequence that fits alone, 0 where none does."""
        if not self.limit or not self.cost.per_token:
            return sys.maxsize
        steps = (self.limit - self.cost.base) // (self.cost.per_token * STEP)
        return max(0, (steps - 1) * STEP)

    def _row(self, tokens: int) -> int:
        # A cache that is full grows by a whole step, from wherever it is: it may hold STEP - 1 unused places.
        steps = -(-tokens // STEP) + 1
        return self.cost.base + self.cost.per_token * steps * STEP
