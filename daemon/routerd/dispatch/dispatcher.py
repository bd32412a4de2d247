"""The attempt loop: candidates in order, until one answers or none is left."""

from __future__ import annotations

import random
import time
from collections.abc import Mapping
from functools import partial
from typing import Protocol

import anyio
import structlog
from msgspec.structs import replace

from routerd_client.chat import ChatRequest, Usage
from routerd_client.protocol import Done, Error, ErrorCode
from routerd_client.records import BreakerState, Candidate, FailureKind

from .. import clock
from ..backends.base import Backend, BackendError, End
from ..backends.http import HttpBackend
from ..health.failure import RULES
from ..health.tracker import Health, Tracker
from ..quality.degenerate import Finding
from ..routing import bounds
from ..routing.decide import Decided, UnknownModelError, decide
from ..routing.features import Features, Moment
from ..routing.terms import Terms
from .costs import Costs
from .generation import Generation
from .hop import Asking, DeniedError, Hop
from .persona import with_persona
from .purse import Purse
from .quarantine import MAX_DEATHS, Quarantine
from .run import OWNED, Answer, Call, Emit, Run, telling
from .sessions import Sessions
from .view import LiveView

log = structlog.get_logger()

RETRY_JITTER_S = (0.05, 0.25)
"""A retry in place waits a random time between these two."""
RETRIES = 1
"""Retries in place that one request may cost: no more attempts than its candidates and this."""


class Observer(Protocol):
    """Hears of every chat. Must not block."""

    def started(self, call: Call) -> None: ...

    def ended(self, call: Call, run: Run | None, terminal: Done | Error | None) -> None:
        """``run`` is None where no decision was made; ``terminal`` is None where the chat was cancelled."""

    def breaker(self, backend: str, state: BreakerState, reason: str) -> None:
        """A backend's breaker opened or closed."""


class Dispatcher:
    """Answers chats."""

    def __init__(self, tracker: Tracker, observer: Observer, purse: Purse) -> None:
        self.sessions = Sessions()
        self.purse = purse
        self._quarantine = Quarantine()
        self._tracker = tracker
        self._observer = observer

    def decide(
        self, generation: Generation, call: Call, *, trace: bool = False, tokens: Mapping[str, int] | None = None
    ) -> Decided:
        """See `routing.decide.decide`; on the backends as they are now. ``tokens``: the prompt's, by backend."""
        now, local = clock.now(), time.localtime()
        session = call.chat.session
        decided = decide(
            generation.table,
            Features(
                call.chat,
                call.client,
                Moment(local.tm_hour * 60 + local.tm_min, local.tm_wday),
                embeds=call.embedding is not None,
            ),
            LiveView(
                generation.backends,
                generation.config.backends,
                self._tracker,
                self.sessions,
                Costs(self.purse, generation.tariffs, call.client, partial(_sent, generation, call)),
                now,
                session=session,
                tokens=tokens,
                embeds=call.embedding is not None,
            ),
            session_model=self.sessions.model(session, now) if session else "",
            seed=call.request_id,
            generation=generation.number,
            trace=trace,
        )
        for route, error in decided.broken:
            log.warning("route.broken", request=call.request_id, route=route, error=error)
        return decided

    async def decide_proven(self, generation: Generation, call: Call, *, trace: bool = False) -> Decided:
        """The same, made again where servers had to be asked whether they keep the request on this machine."""
        decided = self.decide(generation, call, trace=trace)
        if not decided.unproven:
            return decided
        async with anyio.create_task_group() as tasks:
            for name in decided.unproven:
                backend = generation.backends[name]
                assert isinstance(backend, HttpBackend)  # of all others it is known
                tasks.start_soon(backend.ask_whether_it_stays)
        return self.decide(generation, call, trace=trace)

    async def _fitting(self, generation: Generation, call: Call) -> Decided:
        """The decision, made again as long as the first candidate hangs on a count of the prompt's tokens.

        Those behind it are counted only where it turns out too small; nobody is waited for beyond the deadline.
        """
        decided = await self.decide_proven(generation, call)
        if not decided.unsure:
            return decided
        tokens: dict[str, int] = {}
        asked: set[str] = set()
        with anyio.move_on_after(call.chat.deadline_s):
            while (first := decided.items[0].backend if decided.items else "") in decided.unsure and first not in asked:
                asked.add(first)
                counted = await generation.backends[first].count(decided.chat)
                if counted is None:
                    break
                tokens[first] = counted
                decided = self.decide(generation, call, tokens=tokens)
        return decided

    async def chat(self, generation: Generation, call: Call, emit: Emit) -> Done | Error:
        """Answer ``call``; emits everything but the terminal event, and returns that.

        There is always exactly one, also where the deadline passes or the dispatcher itself is at
        fault; only cancelling it from outside leaves the terminal event to the one who cancels.
        """
        try:
            bounds.check(call.chat)
        except bounds.BadChatError as error:
            return self._out_of_bounds(call, error)
        run: Run | None = None
        terminal: Done | Error | None = None
        self._observer.started(call)
        began = clock.now()
        try:
            decided = await self._fitting(generation, call)
            run = Run(call, decided, _sent(generation, call, decided.chat, decided.terms), emit)
            terminal = await self._bounded(generation, run, began)
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
            self._observer.ended(call, run, terminal)
        return terminal

    def _out_of_bounds(self, call: Call, error: bounds.BadChatError) -> Error:
        """End a request that nothing else may look at."""
        terminal = Error(id=call.id, code=ErrorCode.BAD_REQUEST, message=str(error), request_id=call.request_id)
        call = replace(call, chat=bounds.bare(call.chat))
        self._observer.started(call)
        self._observer.ended(call, None, terminal)
        return terminal

    async def _bounded(self, generation: Generation, run: Run, began: float) -> Done | Error:
        deadline = run.chat.deadline_s
        if deadline is not None and not deadline > 0:
            return run.error(ErrorCode.BAD_REQUEST, f"deadline_s is {deadline:g}; it must be more than 0 seconds")
        if deadline is None:
            return await self._candidates(generation, run)
        # From its arrival: what counting its tokens took is a part of it.
        with anyio.CancelScope(deadline=began + deadline):
            return await self._candidates(generation, run)
        return run.error(ErrorCode.DEADLINE, f"no answer within the request's deadline of {deadline:g} s")

    async def _candidates(self, generation: Generation, run: Run) -> Done | Error:
        last: BackendError | None = None
        left = len(run.decision.candidates)
        self._recall(run)
        for candidate in run.decision.candidates:
            left -= 1
            backend = generation.backends[candidate.backend]
            if why := self._unfit(generation, run, backend):
                run.passed_over.append(f"{backend.name}: {why}")
                continue
            found = await self._try(generation, run, backend, candidate)
            if isinstance(found, BackendError) and self._again(run, backend, found):
                last = found
                run.retries += 1
                await run.retract(found.message)
                await anyio.sleep(random.uniform(*RETRY_JITTER_S))
                found = await self._try(generation, run, backend, candidate)
            if isinstance(found, Answer) and not run.wants_better(found.finding, more=left > 0):
                self._keep(run, candidate)
                return await run.done(found)
            if isinstance(found, Answer):
                await run.retract(found.finding.message if found.finding else "")
                run.pass_over(found)
            elif found is not None:
                last = telling(last, found)
                stops = self._is_last(run, found)
                if run.final and left and not stops and run.may_go_on():
                    await run.go_on()
                    continue
                if run.final or (stops and not run.spare):
                    return run.failed(found)
                await run.retract(found.message)
        if run.began and last:
            return run.failed(last)
        if run.spare:
            return await run.done(run.spare)
        if run.deaths >= MAX_DEATHS and last is None:
            return run.exhausted(_deadly(run), None)
        return run.exhausted(last, self._retry_after(generation, run, last))

    def _recall(self, run: Run) -> None:
        """Hold against the request what identical ones before it did to owned models."""
        run.deaths, left_s = self._quarantine.deaths(run.call.chat, clock.now())
        if run.deaths >= MAX_DEATHS:
            run.kept_back = (
                f"{run.deaths} model processes died with this request; try it again in {left_s / 60:.0f} min"
            )

    def _unfit(self, generation: Generation, run: Run, backend: Backend) -> str:
        """Why ``backend`` cannot take the place of those before it; ``""`` where it can."""
        if run.kept_back and backend.kind == OWNED:
            return run.kept_back
        if run.began and not backend.limits().prefill:
            return "it does not go on from an answer's beginning"
        if run.call.embedding and backend.model != generation.backends[run.decision.candidates[0].backend].model:
            return "vectors of another model say nothing to those who have the first one's"
        return ""

    def _again(self, run: Run, backend: Backend, failure: BackendError) -> bool:
        """Whether the backend that has just failed is asked once more before the next."""
        health = self._tracker.health(backend.identity, embeds=run.call.embedding is not None)
        well = not failure.retry_after_s and not health.blocked(clock.now())
        return RULES[failure.kind].retry_here and run.retries < RETRIES and well and not run.final

    def _is_last(self, run: Run, failure: BackendError) -> bool:
        """Whether a failure goes to the caller, though candidates may be left."""
        if run.deaths >= MAX_DEATHS and failure.died:
            return True
        if failure.kind is FailureKind.CONTENT_FILTERED and "content_filter" in run.terms.escalate_on:
            return False
        if failure.kind is FailureKind.BAD_REQUEST and len({attempt.backend for attempt in run.attempts}) > 1:
            return False  # one that stands in for another may be particular: whoever follows may not be
        refused = run.chat.when_full == "refuse" and failure.kind is FailureKind.OVERLOADED
        return refused or not RULES[failure.kind].next or "error" not in run.terms.escalate_on

    async def _try(
        self, generation: Generation, run: Run, backend: Backend, candidate: Candidate
    ) -> Answer | BackendError | None:
        """One attempt: its answer, or its failure; None where the backend may not be asked now."""
        health = self._tracker.health(backend.identity, embeds=run.call.embedding is not None)
        if why := health.blocked(clock.now()):
            run.passed_over.append(f"{backend.name}: {why}")
            return None
        try:
            hop = await self.purse.open(self._asking(generation, run, backend))
        except DeniedError as denial:
            run.denied(backend.name, denial)
            return None
        # Only now, for whoever waits for money is not to hold the one probe of a breaker meanwhile.
        admitted = health.take(clock.now())
        if admitted is None:
            self.purse.close(hop, None, billed=False, told=[])
            run.passed_over.append(f"{backend.name}: {health.blocked(clock.now())}")
            return None
        before = health.breaker.state(clock.now())
        try:
            await run.start(backend, candidate)
            end = await self._answer(run, backend)
            await self._settle(run, hop, end)
            if isinstance(end, BackendError):
                return self._failed(run, backend, health, admitted, end)
            finding = await self._finding(generation, run, backend, end)
        except BaseException:
            health.released(admitted)
            run.cost = self.purse.close(hop, None, billed=run.reception.sent, told=run.reception.told)
            run.end_attempt(backend.name, None, cancelled=True)
            raise
        minded = run.minds(finding)
        now = clock.now()
        if minded and finding:
            health.failed(now, admitted, finding.kind, finding.message)
        else:
            health.succeeded(now, admitted, run.reception.ttft_s, finding.kind if finding else None)
            if run.deaths and backend.kind == OWNED:
                self._quarantine.answered(run.call.chat)
        self._compare(backend, before, health, "")
        run.end_attempt(backend.name, None, finding=finding if minded else None)
        return Answer(backend, run.reception, end, finding)

    def _asking(self, generation: Generation, run: Run, backend: Backend) -> Asking:
        return Asking(
            backend=backend.name,
            tariff=generation.tariffs.of(backend.name, run.terms.model),
            chat=run.asked,
            request=run.call.request_id,
            attempt=run.number,
            route=run.decision.route,
            client=run.call.client,
        )

    async def _settle(self, run: Run, hop: Hop, end: End | BackendError) -> None:
        """Find out what the attempt under way cost."""
        billed = True
        if isinstance(end, BackendError):
            billed = end.billed
        elif end.usage != Usage():
            run.usage = end.usage
        run.cost = await self.purse.settle(hop, run.usage, billed=billed, told=run.reception.told)

    async def _answer(self, run: Run, backend: Backend) -> End | BackendError:
        """What the backend's answer came to; what it says goes to the run's reception meanwhile."""
        reception = run.reception
        try:
            if run.call.embedding:
                return await run.call.embedding.ask(backend, run.asked, reception.receive, run.attempt_terms)
            if not reception.timed:
                return await backend.answer(run.asked, reception.receive, run.attempt_terms)
            found: End | BackendError | None = None
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(reception.release_in_time)
                try:
                    found = await backend.answer(run.asked, reception.receive, run.attempt_terms)
                except BackendError as failure:  # caught here, or the task group would wrap it
                    found = failure
                tasks.cancel_scope.cancel()
        except BackendError as failure:
            return failure
        assert found
        return found

    def _failed(self, run: Run, backend: Backend, health: Health, admitted: int, failure: BackendError) -> BackendError:
        before = health.breaker.state(clock.now())
        health.failed(
            clock.now(),
            admitted,
            failure.kind,
            failure.message,
            failure.retry_after_s,
            cools=failure.cools,
            event=failure.died,
        )
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
        if failure.died:
            run.deaths = self._quarantine.died(run.call.chat, failure.died, clock.now())
            return _deadly(run, failure.died) if run.deaths >= MAX_DEATHS else failure
        return failure

    async def _finding(self, generation: Generation, run: Run, backend: Backend, end: End) -> Finding | None:
        """What is wrong with the whole answer, if anything."""
        if run.call.embedding:
            return None  # vectors are not read
        await run.reception.ended(end)
        finding = run.reception.finding
        return finding if run.minds(finding) else self._judged(generation, run, backend) or finding

    def _judged(self, generation: Generation, run: Run, backend: Backend) -> Finding | None:
        """What the learned judge of a cascade says of the answer."""
        limit, judge = run.terms.judges.get(backend.name), generation.table.judge
        if limit is None or judge is None:
            return None
        weak = judge(Features(run.decided.chat).ask.text, run.reception.text).value / 10
        if weak < limit:
            return None
        return Finding("weak", f"judged too weak: {weak:.2f} of 1, and {limit:g} is too much", weak)

    def _keep(self, run: Run, candidate: Candidate) -> None:
        """Let the session keep to who answered, where another request might be given somebody else."""
        session = run.chat.session
        item = next(item for item in run.decided.items if item.backend == candidate.backend)
        if session and item.chosen:
            self.sessions.keep(session, run.decision.endpoint, candidate.backend, clock.now())
        self.sessions.touch(session, clock.now())

    def _compare(self, backend: Backend, before: BreakerState, health: Health, reason: str) -> None:
        state = health.breaker.state(clock.now())
        if state is not before:
            self._observer.breaker(backend.name, state, reason)

    def _retry_after(self, generation: Generation, run: Run, last: BackendError | None) -> float | None:
        """The soonest moment at which one of the endpoint's backends may be asked again."""
        now = clock.now()
        names = [a.backend for a in run.attempts] + [s.backend for s in run.decision.skipped]
        backends = [generation.backends[name] for name in names]
        embeds = run.call.embedding is not None
        waits = [self._tracker.health(backend.identity, embeds=embeds).figures(now).retry_in_s for backend in backends]
        waits += [refusal.retry_after_s or 0.0 for backend in backends if (refusal := backend.refusal())]
        waits.append((last.retry_after_s if last else None) or 0.0)
        return min((w for w in waits if w > 0), default=None)


def _deadly(run: Run, process: str = "") -> BackendError:
    """Make the failure of a request that model processes keep dying with; ``process`` is the last of them."""
    message = f"{run.deaths} model processes died while they answered this request"
    hint = "routerctl crashes shows how they died; change the request, or name a backend that is an API"
    failure = BackendError(FailureKind.BAD_REQUEST, message, hint=hint)
    failure.died = process
    return failure


def _sent(generation: Generation, call: Call, chat: ChatRequest, terms: Terms) -> ChatRequest:
    """What backends are sent of ``chat``, which has its route's overrides on it."""
    if call.embedding:
        return call.embedding.sized(chat)
    return with_persona(chat, generation.personas.get(terms.persona, ""))
