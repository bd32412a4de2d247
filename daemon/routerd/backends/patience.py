"""How long each step of an answer over HTTP may take."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager

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
    """The one deadline of a request, moved on from step to step."""

    def __init__(self, scope: anyio.CancelScope, times: TimeoutSpec, place: str) -> None:
        self._scope = scope
        self._times = times
        self._place = place
        self._last = anyio.current_time() + (math.inf if times.total is None else times.total)
        self._paused = 0.0
        self._step(_K.TIMEOUT_CONNECT, times.connect)

    def connected(self) -> None:
        """There is a connection; the request goes out."""
        self._step(_K.TIMEOUT_FIRST_TOKEN, self._times.first_token)

    def pause(self) -> None:
        """Something came; until `go_on` the time is not the backend's."""
        self._paused = anyio.current_time()
        self._scope.deadline = math.inf

    def go_on(self) -> None:
        """The next piece is waited for."""
        self._last += anyio.current_time() - self._paused
        self._step(_K.STALLED, self._times.stall)

    def failure(self) -> BackendError:
        """Why the time was up."""
        if self._due <= self._last:
            return BackendError(self._kind, _WORDS[self._kind].format(place=self._place, limit=self._limit))
        return BackendError(self._kind, f"the answer of {self._place} was not whole within {self._times.total:g} s")

    def _step(self, kind: FailureKind, limit: float) -> None:
        self._kind, self._limit = kind, limit
        self._due = anyio.current_time() + limit
        self._scope.deadline = min(self._due, self._last)


@contextmanager
def patience(times: TimeoutSpec, place: str) -> Iterator[Patience]:
    """Bounds what is inside by ``times``. Raises `BackendError` where one of them passes."""
    with anyio.CancelScope() as scope:
        waiting = Patience(scope, times, place)
        yield waiting
    if scope.cancelled_caught:
        raise waiting.failure()
