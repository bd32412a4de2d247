"""A sample of answered chats is asked of another backend too, to see what the difference would be."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Coroutine
from typing import Any, Protocol

import structlog
from msgspec.structs import replace

from routerd_client.chat import ChatRequest, Priority
from routerd_client.protocol import Done, Event

from ..dispatch.dispatcher import Dispatcher
from ..dispatch.generation import Generation
from ..dispatch.run import Call, Run
from ..quality.agree import agreement
from ..routing.features import Features
from ..store.ledger import Ledger
from ..store.shadows import Shadow

log = structlog.get_logger()

CLIENT = "shadow"
"""Whom these chats are from, in the log and the ledger."""
MOST = 2
"""So many at a time; what comes meanwhile is not sampled."""
DEADLINE_S = 600.0


class _Source(Protocol):
    ledger: Ledger

    @property
    def generation(self) -> Generation: ...
    @property
    def dispatcher(self) -> Dispatcher: ...
    @property
    def draining(self) -> bool: ...
    def new_request_id(self) -> str: ...
    def spawn(self, name: str, work: Callable[..., Coroutine[Any, Any, None]], *arguments: object) -> None: ...


class Shadows:
    """They are chats like any other: recorded, bounded by budgets, never leaving the machine where the first must
    not, and behind everybody in the queue."""

    def __init__(self, source: _Source) -> None:
        self._source = source
        self._open = 0

    def consider(self, call: Call, run: Run, done: Done, tier: str) -> None:
        """Have the chat that ended so asked again, if it is one of the sample."""
        source, config = self._source, self._source.generation.config
        endpoint = config.endpoints.get(run.decision.endpoint)
        if endpoint is None or endpoint.shadow is None or call.client == CLIENT or tier not in ("", "simple"):
            return
        if source.draining or self._open >= MOST or random.random() >= endpoint.shadow.share:
            return
        local_only = bool(call.chat.local_only or run.decided.chat.local_only or endpoint.local_only)
        other = config.backends.get(endpoint.shadow.to)
        if local_only and other and not other.local:
            return
        chat = replace(
            call.chat,
            model=endpoint.shadow.to,
            local_only=local_only,
            session="",
            stream=False,
            priority=Priority.BACKGROUND,
            deadline_s=DEADLINE_S,
        )
        self._open += 1
        source.spawn("mirrored request", self._ask, chat, run, done)

    async def _ask(self, chat: ChatRequest, run: Run, done: Done) -> None:
        source = self._source
        try:
            call = Call(0, source.new_request_id(), chat, client=CLIENT)
            other = await source.dispatcher.chat(source.generation, call, _nobody)
            if isinstance(other, Done) and other.backend != done.backend:
                source.ledger.compare(self._compared(run, done, other))
        finally:
            self._open -= 1

    def _compared(self, run: Run, done: Done, other: Done) -> Shadow:
        return Shadow(
            request=done.request_id,
            time=time.time(),
            shadow=other.request_id,
            endpoint=done.endpoint,
            backend=done.backend,
            other=other.backend,
            score=next(iter(run.decision.scores.values()), None),
            agreement=agreement(run.reception.text, other.text),
            quality=self._quality(run, done, run.reception.text),
            other_quality=self._quality(run, other, other.text),
        )

    def _quality(self, run: Run, done: Done, text: str) -> float | None:
        """By the learned judge; nothing where something was found wrong."""
        judge = self._source.generation.table.judge
        if judge is None:
            return None
        return 0.0 if done.flaw else 1 - judge(Features(run.decided.chat).ask.text, text).value / 10


async def _nobody(_event: Event) -> None:
    """Nobody listens to what comes on the way."""
