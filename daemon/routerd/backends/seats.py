"""So many requests at a time; who comes later waits in line."""

from __future__ import annotations

from collections import deque

import anyio

from routerd_client.records import FailureKind

from .base import BackendError, Emit, Waiting

_NEWEST = 0.3
"""How much the newest answer weighs in the usual time of one."""
_USUAL = 8
"""What a backend without a limit is taken to serve at a time, where backends are compared."""


class Seats:
    """The seats of one backend. They outlive reloads, which may change their number."""

    def __init__(self) -> None:
        self._limit: int | None = None
        self._taken = 0
        self._line: deque[anyio.Event] = deque()
        self._held_s = 0.0

    def resize(self, limit: int | None) -> None:
        """There are ``limit`` seats from now on; as many as are asked for where None."""
        self._limit = limit
        self._admit()

    @property
    def busy(self) -> float:
        """Requests in flight and in line, per seat."""
        return (self._taken + len(self._line)) / (self._limit or _USUAL)

    @property
    def wait_s(self) -> float:
        """Seconds until one more would have a seat, as far as one can tell."""
        return 0.0 if self._limit is None or self._free() else self._held_s * (len(self._line) + 1) / self._limit

    async def take(self, emit: Emit, *, patient: bool) -> None:
        """Have a seat until `leave`. Waits for it, or raises `BackendError` at once where not ``patient``."""
        if self._free() and not self._line:
            self._taken += 1
            return
        if not patient:
            message = f"it answers {self._limit} requests already, which is its limit"
            raise BackendError(FailureKind.OVERLOADED, message, retry_after_s=self.wait_s or None, cools=False)
        turn = anyio.Event()
        self._line.append(turn)
        try:
            await emit(Waiting("queued", position=len(self._line)))
            await turn.wait()
        except BaseException:
            if turn.is_set():
                self._rise()
            else:
                self._line.remove(turn)
            raise

    def leave(self, took: float) -> None:
        """Give up a seat that was held for ``took`` seconds."""
        self._held_s += (took - self._held_s) * (_NEWEST if self._held_s else 1.0)
        self._rise()

    def _rise(self) -> None:
        self._taken -= 1
        self._admit()

    def _admit(self) -> None:
        while self._line and self._free():
            self._line.popleft().set()
            self._taken += 1

    def _free(self) -> bool:
        return self._limit is None or self._taken < self._limit
