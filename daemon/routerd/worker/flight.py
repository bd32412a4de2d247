"""One request on its way, from the waiting line to its last token."""

from __future__ import annotations

from itertools import pairwise

from msgspec import Struct

from routerd_client.chat import ChatRequest

from .admission import Seat
from .answer import Answer
from .prompt import Prompt
from .sampling import Drawing


class Flight(Struct, eq=False):
    """A request with a place in the batch, or waiting for one.

    ``tokens`` are the prompt's and, after them, the answer's so far: a request that had to leave the
    batch goes on from there. ``cached`` of them were not computed, ``done`` are in the KV cache.
    ``unkept`` is true while its computed prompt is still to be kept for others. ``started`` is the
    monotonic time of its first token. ``finite``: its last token was drawn from numbers.
    """

    id: int
    order: int
    chat: ChatRequest
    prompt: Prompt
    answer: Answer
    tokens: list[int]
    drawing: Drawing | None = None
    decoding: bool = False
    cached: int = 0
    done: int = 0
    unkept: bool = False
    started: float = 0.0
    finite: bool = True

    @property
    def drawn(self) -> int:
        """Tokens of the answer that are there already."""
        return len(self.tokens) - len(self.prompt.ids)

    @property
    def seat(self) -> Seat:
        """The flight as admission sees it."""
        computing = not self.decoding and self.done < self.prompt.system
        return Seat(self.order, len(self.tokens), self.prompt.system_key, computing)

    @property
    def marks(self) -> list[int]:
        """Where in the prompt a cache is worth keeping. The last token is computed with the first of the answer."""
        if self.drawn:
            return []
        last = len(self.tokens) - 1
        return sorted({min(self.prompt.system, last), min(self.prompt.lasting, last)} - {0})

    @property
    def ahead(self) -> int:
        """Tokens to compute before the next mark, or before the last one of the prompt. 0 while decoding."""
        if self.decoding:
            return 0
        return next((at - self.done for at in [*self.marks, len(self.tokens) - 1] if at > self.done), 0)

    def segments(self) -> list[list[int]]:
        """What is left to compute, cut at the marks."""
        cuts = [self.done, *(m for m in self.marks if m > self.done), len(self.tokens) - 1, len(self.tokens)]
        return [part for a, b in pairwise(cuts) if (part := self.tokens[a:b])]
