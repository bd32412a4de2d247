"""An engine in the test's own process, for what must happen between two of its steps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from routerd.wire import Failed, Finished, FromWorker, Generate, Piece
from routerd.worker.batch import Limits
from routerd.worker.engine import Engine
from routerd.worker.lm import Model
from routerd.worker.pipe import Inbox
from routerd.worker.sampling import Samplers


class EndOfTestError(Exception):
    """Leaves the engine's loop, which by itself never ends."""


class Collector:
    """An outbox that keeps what it is given, and lets a test answer each message at once."""

    def __init__(self, done: int, react: Callable[[FromWorker], None]) -> None:
        self.messages: list[FromWorker] = []
        self._left = done
        self._react = react

    def send_all(self, messages: list[FromWorker]) -> None:
        self.messages += messages
        for message in messages:
            self._react(message)
        self._left -= sum(isinstance(m, Finished | Failed) for m in messages)
        if self._left <= 0:
            raise EndOfTestError

    def of(self, id_: int) -> list[FromWorker]:
        return [m for m in self.messages if getattr(m, "id", None) == id_]

    def text(self, id_: int) -> str:
        return "".join(m.text for m in self.of(id_) if isinstance(m, Piece))

    def finished(self, id_: int) -> Finished:
        last = self.of(id_)[-1]
        assert isinstance(last, Finished), last
        return last

    def failed(self, id_: int) -> Failed:
        last = self.of(id_)[-1]
        assert isinstance(last, Failed), last
        return last


def run_engine(
    model: Model,
    messages: list[Any],
    *,
    samplers: Samplers | None = None,
    limits: Limits | None = None,
    answer: Callable[[FromWorker], Any] = lambda _: None,
    count: int | None = None,
) -> Collector:
    """Run an engine until ``count`` requests have ended, or as many as there are in ``messages``.

    What ``answer`` makes of a message of the engine is in the inbox before its next step.
    """
    inbox = Inbox()

    def react(message: FromWorker) -> None:
        if reply := answer(message):
            inbox.put(reply)

    collector = Collector(count or sum(isinstance(m, Generate) for m in messages), react)
    samplers, limits = samplers or Samplers(), limits or Limits()
    engine = Engine(model, inbox, collector, samplers=samplers, max_tokens=64, limits=limits)
    engine.warm_up()
    for message in messages:
        inbox.put(message)
    with pytest.raises(EndOfTestError):
        engine.run()
    return collector
