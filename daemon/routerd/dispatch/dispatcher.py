"""The attempt loop: candidates in order, until one answers or none is left."""

from __future__ import annotations

import random
from typing import Protocol

import anyio
import structlog

from routerd_client.chat import ChatRequest
from routerd_client.protocol import Done, Error, ErrorCode
from routerd_client.records import BreakerState, Candidate, Decision, FailureKind

from ..backends.base import Backend, BackendError, End
from ..health.failure import RULES
from ..health.tracker import Health, Tracker
from ..routing.decide import UnknownModelError, decide
from .generation import Generation
from .run import Call, Emit, Run
from .view import LiveView

log = structlog.get_logger()

RETRY_JITTER_S = (0.05, 0.25)
"""A retry in place waits a random time between these two."""


class Observer(Protocol):
    """Hears of every chat. Must not block."""

    def started(self, call: Call) -> None: ...

    def ended(self, call: Call, decision: Decision | None, terminal: Done | Error | None) -> None:
        """``decision`` is None where none was made; ``terminal`` is None where the chat was cancelled."""

    def breaker(self, backend: str, state: BreakerState, reason: str) -> None:
        """A backend's breaker opened or closed."""


class Dispatcher:
    """Answers chats."""

    def __init__(self, tracker: Tracker, observer: Observer) -> None:
        self._tracker = tracker
        self._observer = observer

    def decide(self, generation: Generation, chat: ChatRequest, *, trace: bool = False) -> tuple[Decision, ChatRequest]:
        """See `routing.decide.decide`; on the backends as they are now."""
        view = LiveView(generation.backends, self._tracker, anyio.current_time())
        return decide(generation.table, chat, view, generation=generation.number, trace=trace)

    async def chat(self, generation: Generation, call: Call, emit: Emit) -> Done | Error:
        """Answer ``call``; emits everything but the terminal event, and returns that.

        There is always exactly one, also where the deadline passes or the dispatcher itself is at
        fault; only cancelling it from outside leaves the terminal event to the one who cancels.
        """
        decision: Decision | None = None
        terminal: Done | Error | None = None
        self._observer.started(call)
        try:
            decision, chat = self.decide(generation, call.chat)
            terminal = await self._bounded(generation, Run(call, chat, decision, emit))
        except UnknownModelError as error:
            terminal = Error(id=call.id, code=ErrorCode.NOT_FOUND, message=str(error), hint=error.hint)
        except Exception as error:
            log.exception("chat.internal_error", request=call.request_id)
            terminal = Error(
                id=call.id,
                code=ErrorCode.INTERNAL,
                message=f"the daemon made a mistake: {type(error).__name__}: {error}",
                hint="routerd's log has the details; please report it",
                request_id=call.request_id,
            )
        finally:
            self._observer.ended(call, decision, terminal)
        return terminal

    async def _bounded(self, generation: Generation, run: Run) -> Done | Error:
        deadline = run.chat.deadline_s
        if deadline is not None and not deadline > 0:
            return run.error(ErrorCode.BAD_REQUEST, f"deadline_s is {deadline:g}; it must be more than 0 seconds")
        with anyio.move_on_after(deadline):
            return await self._candidates(generation, run)
        return run.error(ErrorCode.DEADLINE, f"no answer within the request's deadline of {deadline:g} s")

    async def _candidates(self, generation: Generation, run: Run) -> Done | Error:
        last: BackendError | None = None
        for candidate in run.decision.candidates:
            backend = generation.backends[candidate.backend]
            health = self._tracker.health(backend.identity)
            end, failure = await self._try(run, backend, health, candidate)
            if failure and RULES[failure.kind].retry_here and not run.final:
                last = failure
                await run.retract(failure)
                await anyio.sleep(random.uniform(*RETRY_JITTER_S))
                end, failure = await self._try(run, backend, health, candidate)
            if end:
                return run.done(backend, end)
            if failure is None:
                continue  # not admitted after all
            refused = run.chat.when_full == "refuse" and failure.kind is FailureKind.OVERLOADED
            if run.final or refused or not RULES[failure.kind].next:
                return run.failed(failure)
            await run.retract(failure)
            last = failure
        return run.exhausted(last, self._retry_after(generation, run, last))

    async def _try(
        self, run: Run, backend: Backend, health: Health, candidate: Candidate
    ) -> tuple[End | None, BackendError | None]:
        """One attempt: its end, or its failure; neither where the backend may not be asked now."""
        admitted = health.take(anyio.current_time())
        if admitted is None:
            run.passed_over.append(f"{backend.name}: {health.blocked(anyio.current_time())}")
            return None, None
        try:
            await run.start(backend, candidate)
            end = await backend.answer(run.chat, run.receive)
        except BackendError as failure:
            before = health.breaker.state(anyio.current_time())
            cooldown = failure.retry_after_s if failure.cools else None
            health.failed(anyio.current_time(), admitted, failure.kind, failure.message, cooldown)
            self._compare(backend, before, health, failure.message)
            run.end_attempt(backend.name, failure)
            log.warning(
                "attempt.failed",
                request=run.call.request_id,
                attempt=run.number - 1,
                backend=backend.name,
                failure=failure.kind.value,
                error=failure.message,
            )
            return None, failure
        except BaseException:
            health.released(admitted)
            run.end_attempt(backend.name, None, cancelled=True)
            raise
        before = health.breaker.state(anyio.current_time())
        health.succeeded(anyio.current_time(), admitted, run.ttft_s)
        self._compare(backend, before, health, "")
        run.end_attempt(backend.name, None)
        return end, None

    def _compare(self, backend: Backend, before: BreakerState, health: Health, reason: str) -> None:
        state = health.breaker.state(anyio.current_time())
        if state is not before:
            self._observer.breaker(backend.name, state, reason)

    def _retry_after(self, generation: Generation, run: Run, last: BackendError | None) -> float | None:
        """The soonest moment at which one of the endpoint's backends may be asked again."""
        now = anyio.current_time()
        names = [a.backend for a in run.attempts] + [s.backend for s in run.decision.skipped]
        backends = [generation.backends[name] for name in names]
        waits = [self._tracker.health(backend.identity).figures(now).retry_in_s for backend in backends]
        waits += [refusal.retry_after_s or 0.0 for backend in backends if (refusal := backend.refusal())]
        waits.append((last.retry_after_s if last else None) or 0.0)
        return min((w for w in waits if w > 0), default=None)
