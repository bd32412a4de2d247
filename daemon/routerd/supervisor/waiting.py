"""One task that waits, and many who may wake it."""

from __future__ import annotations

import math

import anyio


class News:
    """Says that something has happened, not what: the one task that waits looks at everything anew."""

    def __init__(self) -> None:
        self._event = anyio.Event()

    def tell(self) -> None:
        """Wake whoever waits; where nobody does, the next `wait` returns at once."""
        self._event.set()

    async def wait(self, until: float | None = None) -> None:
        """Return when something was told since the last return, or when the loop's clock reaches ``until``."""
        with anyio.CancelScope(deadline=math.inf if until is None else until):
            await self._event.wait()
        if self._event.is_set():
            self._event = anyio.Event()
