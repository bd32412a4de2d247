"""Who may be answered now, so that all answers' caches stay within their tokens: the server has no limit of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio

from ..pool import STEP


class _Seat:
    def __init__(self, tokens: int) -> None:
        self.tokens = -(-tokens // STEP) * STEP
        self.taken = anyio.Event()


class Seats:
    """Seats for answers that may come to hold ``tokens`` together, each padded to the longest of them.

    An answer cannot be parked here, so each counts with all the tokens it may come to. One alone
    always has room; nobody overtakes.
    """

    def __init__(self, tokens: int) -> None:
        self._tokens = tokens
        self._seated: list[_Seat] = []
        self._waiting: list[_Seat] = []

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    @asynccontextmanager
    async def seat(self, tokens: int) -> AsyncIterator[None]:
        """Wait for room for an answer of up to ``tokens``, prompt included, and keep it."""
        seat = _Seat(tokens)
        self._waiting.append(seat)
        self._fill()
        try:
            await seat.taken.wait()
            yield
        finally:
            (self._seated if seat in self._seated else self._waiting).remove(seat)
            self._fill()

    def _fill(self) -> None:
        while self._waiting and self._fits(self._waiting[0]):
            seat = self._waiting.pop(0)
            self._seated.append(seat)
            seat.taken.set()

    def _fits(self, seat: _Seat) -> bool:
        rows = [*self._seated, seat]
        return len(rows) == 1 or len(rows) * max(row.tokens for row in rows) <= self._tokens
