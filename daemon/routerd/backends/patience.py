"""How long each step of an answer over HTTP may take."""

from __future__ import annotations

import asyncio
import math
from types import TracebackType
from typing import Self

import anyio

from routerd_client.records import FailureKind

from ..config.http import TimeoutSpec
from .base import BackendError

_K = FailureKind
_WORDS = {
    _K.TIMEOUT_CONNECT: "no connection to {place} within {limit:g} s",
    _K.TIMEOUT_FIRST_TOKEN: "{place} did not begin to answer within {limit:g} s",
    _K.STALLED: "{place} fell silent for {limit:g} s in the middle of its answer",
}


class Patience:
    """The one deadline of a request, moved on from step to step, with each piece of an answer twice.

    Use it as a context: what is inside is bounded by ``times``. Raises `BackendError` where one of them passes.

    One timer follows it: it is set anew when it rings too early, not each time the deadline moves on.
    """

    def __init__(self, times: TimeoutSpec, place: str) -> None:
        self._scope = anyio.CancelScope()
        self._times = times
        self._place = place
        self._paused: float | None = None
        self._loop = asyncio.get_running_loop()
        self._last = self._loop.time() + (math.inf if times.total is None else times.total)
        self._timer: asyncio.TimerHandle | None = None
        self._rings_at = math.inf  # a handle whose time has passed cannot say so itself
        self._step(_K.TIMEOUT_CONNECT, times.connect)

    def __enter__(self) -> Self:
        self._scope.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> bool | None:
        self._stop()
        handled = self._scope.__exit__(kind, error, tb)
        if self._scope.cancelled_caught:
            raise self._failure() from None
        return handled

    def connected(self) -> None:
        """There is a connection; the request goes out."""
        self._step(_K.TIMEOUT_FIRST_TOKEN, self._times.first_token)

    @property
    def sent(self) -> bool:
        """Whether the request may have reached the server."""
        return self._kind is not _K.TIMEOUT_CONNECT

    def pause(self) -> None:
        """Something came; until `go_on` the time is not the backend's."""
        self._paused = self._loop.time()

    def go_on(self) -> None:
        """The next piece is waited for."""
        if self._paused is not None:
            self._last += self._loop.time() - self._paused
            self._paused = None
        self._step(_K.STALLED, self._times.stall)

    def _failure(self) -> BackendError:
        """Why the time was up."""
        if self._due <= self._last:
            return BackendError(self._kind, _WORDS[self._kind].format(place=self._place, limit=self._limit))
        return BackendError(self._kind, f"the answer of {self._place} was not whole within {self._times.total:g} s")

    def _stop(self) -> None:
        if self._timer:
            self._timer.cancel()

    def _step(self, kind: FailureKind, limit: float) -> None:
        self._kind, self._limit = kind, limit
        self._due = self._loop.time() + limit
        due = min(self._due, self._last)
        if self._timer is None or due < self._rings_at:
            self._stop()
            self._ring_at(due)

    def _ring(self) -> None:
        self._timer = None
        if self._paused is not None:
            return  # what follows sets it
        due = min(self._due, self._last)
        if self._loop.time() < due:
            self._ring_at(due)
        else:
            self._scope.cancel()

    def _ring_at(self, due: float) -> None:
        self._rings_at = due
        self._timer = self._loop.call_at(due, self._ring)
