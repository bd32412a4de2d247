"""One request's place in the admission queue."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import anyio

from .errors import ProcessFailedError
from .process import ModelProcess
from .schedule import Waiter

Progress = tuple[str, float | None, int | None]
"""Phase, fraction (0..1) and position in the queue (from 1); None where there is none."""

OnProgress = Callable[[str, float | None, int | None], Awaitable[None]]


class Ticket:
    """Waits until its model takes it in. The supervisor moves it; one task waits for it."""

    def __init__(self, waiter: Waiter, *, patient: bool) -> None:
        self.waiter = waiter
        self.patient = patient
        """Whether it waits for other requests; if not, it is refused where it would have to."""
        self.process: ModelProcess | None = None
        self._failure: ProcessFailedError | None = None
        self._progress: Progress | None = None
        self._news = anyio.Event()

    def __repr__(self) -> str:
        return f"<Ticket {self.waiter.number} for {self.waiter.model} {self._progress}>"

    @property
    def open(self) -> bool:
        return self.process is None and self._failure is None

    def admit(self, process: ModelProcess) -> None:
        self.process = process
        self._news.set()

    def fail(self, failure: ProcessFailedError) -> None:
        self._failure = failure
        self._news.set()

    def tell(self, progress: Progress) -> None:
        if progress != self._progress:
            self._progress = progress
            self._news.set()

    async def wait(self, on_progress: OnProgress) -> ModelProcess:
        """The process that took it in. Raises `ProcessFailedError` where none will."""
        told: Progress | None = None
        while self.open:
            if self._progress and told != self._progress:
                told = self._progress
                await on_progress(*told)
                continue  # it may have moved on meanwhile
            self._news = anyio.Event()
            await self._news.wait()
        if self._failure:
            raise self._failure
        assert self.process
        return self.process
