"""The admission queue: who waits for which model."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from itertools import count

import anyio

from routerd_client.chat import Priority
from routerd_client.records import FailureKind

from .errors import Failure, ProcessFailedError
from .process import ModelProcess
from .schedule import Waiter

Progress = tuple[str, float | None, int | None]
"""Phase, fraction (0..1) and position in the queue (from 1); None where there is none."""

OnProgress = Callable[[str, float | None, int | None], Awaitable[None]]


class Ticket:
    """One request's place. Waits until its model takes it in: the supervisor moves it, one task waits for it."""

    def __init__(self, waiter: Waiter, *, patient: bool) -> None:
        self.waiter = waiter
        self.process: ModelProcess | None = None
        self._patient = patient
        self._failure: Failure | None = None
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

    def fail(self, failure: Failure) -> None:
        self._failure = failure
        self._news.set()

    def queued(self, place: int) -> None:
        """It waits for others, as number ``place`` of its model; where it is not patient, it fails with that."""
        if self._patient:
            self.tell(("queued", None, place))
        else:
            message = f"{self.waiter.model} would have to wait for others"
            self.fail(Failure(FailureKind.OVERLOADED, message))

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
            raise ProcessFailedError.of(self._failure)
        assert self.process
        return self.process


class Queue:
    """The tickets of all requests, those that were taken in among them until they end."""

    def __init__(self) -> None:
        self._tickets: dict[int, Ticket] = {}
        self._numbers = count(1)

    def __len__(self) -> int:
        """How many wait."""
        return len(self.waiting())

    def __getitem__(self, number: int) -> Ticket:
        return self._tickets[number]

    def add(self, model: str, priority: Priority, *, patient: bool, alone: bool = False) -> Ticket:
        """A place at the end. Not ``patient``, it fails as soon as it would have to wait for other requests."""
        now = anyio.current_time()
        waiter = Waiter(number=next(self._numbers), model=model, priority=priority, arrived=now, alone=alone)
        ticket = self._tickets[waiter.number] = Ticket(waiter, patient=patient)
        return ticket

    def remove(self, ticket: Ticket) -> None:
        del self._tickets[ticket.waiter.number]

    def waiting(self, model: str | None = None) -> list[Ticket]:
        """Those that wait, for ``model`` where one is given, in the order of their arrival."""
        return [t for t in self._tickets.values() if t.open and model in (None, t.waiter.model)]

    def waiters(self) -> list[Waiter]:
        return [ticket.waiter for ticket in self.waiting()]
