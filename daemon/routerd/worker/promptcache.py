"""Computed beginnings of prompts, kept for whoever begins the same way.

mlx-lm's own ``LRUPromptCache`` forgets what is in constant use, and its search copies a list for
each token of the longest entry; hence this one. It knows nothing of what a cache is made of.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from msgspec import Struct

MOST_ENTRIES = 64
"""Entries are compared one by one; with a small model a lot of them would fit the bytes."""
BLOCK = 256


class Caches(Protocol):
    """What can be done with one sequence's KV cache."""

    def size(self, cache: Any) -> int:
        """Its bytes."""

    def can_trim(self, cache: Any) -> bool:
        """Whether its last tokens can be taken away again."""

    def copy(self, cache: Any, trim: int) -> Any:
        """A copy of it without its last ``trim`` tokens."""


class Entry(Struct, frozen=True, eq=False):
    tokens: list[int]
    cache: Any
    size: int
    can_trim: bool
    lasting: bool

    def usable(self, tokens: Sequence[int]) -> int:
        """How many of ``tokens`` need no computing with this entry."""
        shared = common_prefix(self.tokens, tokens)
        return shared if self.can_trim or shared == len(self.tokens) else 0


class PromptCache:
    """Keeps up to ``limit`` bytes, those last used; 0 keeps nothing.

    Beginnings of fewer than ``shortest`` tokens are not worth taking.
    """

    def __init__(self, limit: int, caches: Caches, shortest: int = 1) -> None:
        self._limit = limit
        self._shortest = shortest
        self._caches = caches
        self._entries: list[Entry] = []  # the last used at the end
        self.size = 0

    @property
    def enabled(self) -> bool:
        return self._limit > 0

    def covered(self, tokens: Sequence[int]) -> int:
        """How many of the first of ``tokens`` are known."""
        return max((entry.usable(tokens) for entry in self._entries), default=0)

    def take(self, tokens: list[int]) -> tuple[Any, int]:
        """A cache of the longest known beginning of ``tokens`` and its length; ``None`` and 0 where none is known
        that is worth it.

        The last token is never part of it: an answer needs one to begin with.
        """
        wanted = tokens[:-1]
        found = [(entry.usable(wanted), -len(entry.tokens), entry) for entry in self._entries]
        length, _, best = max(found, key=lambda each: each[:2], default=(0, 0, None))
        if best is None or length < self._shortest:
            return None, 0
        self._entries.remove(best)
        self._entries.append(best)
        return self._caches.copy(best.cache, len(best.tokens) - length), length

    def keep(self, tokens: list[int], cache: Any, *, room: int, lasting: bool = False) -> None:
        """Keep ``cache``, which holds ``tokens``, where it fits ``room`` bytes; older entries make place.

        What it continues is dropped, unless that is ``lasting``: the beginning of many others.
        """
        room = min(room, self._limit)
        size = self._caches.size(cache)
        if size > room or not tokens:
            return
        can_trim = self._caches.can_trim(cache)
        for entry in [e for e in self._entries if self._replaced(e, tokens, can_trim)]:
            self._drop(entry)
        self.shrink(room - size)
        self._entries.append(Entry(list(tokens), cache, size, can_trim, lasting))
        self.size += size
        if len(self._entries) > MOST_ENTRIES:
            self._drop(self._entries[0])

    def shrink(self, size: int) -> None:
        """Drop what was not used for longest until at most ``size`` bytes are left."""
        while self._entries and self.size > size:
            self._drop(self._entries[0])

    def _replaced(self, entry: Entry, tokens: list[int], can_trim: bool) -> bool:
        if len(entry.tokens) == len(tokens):
            return entry.tokens == tokens
        return can_trim and not entry.lasting and entry.tokens == tokens[: len(entry.tokens)]

    def _drop(self, entry: Entry) -> None:
        self._entries.remove(entry)
        self.size -= entry.size


def common_prefix(a: Sequence[int], b: Sequence[int]) -> int:
    """How many tokens both begin with."""
    end = min(len(a), len(b))
    # Slices compare a hundred times faster than tokens one by one.
    for start in range(0, end, BLOCK):
        if a[start : start + BLOCK] != b[start : start + BLOCK]:
            return _difference(a, b, start, min(start + BLOCK, end))
    return end


def _difference(a: Sequence[int], b: Sequence[int], low: int, high: int) -> int:
    """Where they first differ; it is known to be in ``low`` up to ``high``, or at it."""
    while low < high:
        middle = (low + high + 1) // 2
        if a[low:middle] == b[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low
