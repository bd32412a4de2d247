"""What is remembered of each chat: counts for status, a record in the ledger, a line in the log, a notice for
watchers, and what it teaches of its backends."""

from __future__ import annotations

import time
from collections import Counter
from typing import Any, Protocol

import anyio
import structlog

from routerd_client.protocol import Done, Error
from routerd_client.records import EMBEDDING, Attempt, BreakerState, FailureKind

from .. import clock
from ..dispatch.generation import Generation
from ..dispatch.run import Call, Run
from ..health.outcomes import Outcomes, standing
from ..routing.features import Moment
from ..server.notices import Hub
from ..store.ledger import Ledger
from ..store.records import Entry
from .shadow import Shadows

log = structlog.get_logger()

MOST_CLIENTS = 200
"""A client's name is what it says itself, and may be another in each request."""
DIGITS = 4
"""Of a second in what is told: tenths of a millisecond."""


class _Source(Protocol):
    hub: Hub
    ledger: Ledger

    @property
    def generation(self) -> Generation: ...


class Journal:
    """The dispatcher's `Observer`."""

    def __init__(self, source: _Source, outcomes: Outcomes, shadows: Shadows) -> None:
        self._source = source
        self._outcomes = outcomes
        self._shadows = shadows
        self._began: dict[str, float] = {}
        self._idle: anyio.Event | None = None
        """Is set when no chat is open any more; None where nobody waits for that."""
        self.counts = {"open": 0, "ok": 0, "failed": 0, "cancelled": 0}
        self.hits: Counter[str] = Counter()
        """Chats that each route took, by its name; ``""`` are those that no route took."""
        self.named = 0
        """Chats that named a model."""
        self._clients: dict[str, tuple[int, int]] = {}
        """The chats of each client, and those of them that named a model; of the first `MOST_CLIENTS` clients."""

    def started(self, call: Call) -> None:
        self._began[call.request_id] = time.perf_counter()
        self.counts["open"] += 1

    async def rest(self, until: float) -> int:
        """Wait for the open chats' ends, to ``until`` on the loop's clock at most; how many are open then."""
        with anyio.CancelScope(deadline=until):
            if self.counts["open"]:
                self._idle = self._idle or anyio.Event()
                await self._idle.wait()
        return self.counts["open"]

    def ended(self, call: Call, run: Run | None, terminal: Done | Error | None) -> None:
        how = "ok" if isinstance(terminal, Done) else "failed" if terminal else "cancelled"
        self.counts["open"] -= 1
        if self._idle and not self.counts["open"]:
            self._idle.set()
            self._idle = None
        self.counts[how] += 1
        if run:
            self.named += bool(run.decision.named)
            self.hits[run.decision.route] += not run.decision.named
            self._count(call, named=bool(run.decision.named))
        total_s = time.perf_counter() - self._began.pop(call.request_id)
        self._record(call, run, terminal, total_s)
        facts = _facts(call, run, terminal) | {"total_s": round(total_s, DIGITS)}
        texts = _texts(call, run) if self._source.generation.config.log.prompts else {}
        (log.warning if how == "failed" else log.info)(f"chat.{how}", **facts, **texts)
        self._source.hub.publish("decision", how, **facts)
        if run and isinstance(terminal, Done):
            self._shadows.consider(call, run, terminal, _tier(run))

    def naming(self) -> dict[str, int]:
        """Return the clients that named a model in all their chats since the daemon started, with their number."""
        return {client: chats for client, (chats, named) in self._clients.items() if chats == named}

    def _count(self, call: Call, *, named: bool) -> None:
        if call.client and not call.embedding and (call.client in self._clients or len(self._clients) < MOST_CLIENTS):
            chats, before = self._clients.get(call.client, (0, 0))
            self._clients[call.client] = (chats + 1, before + named)

    def breaker(self, backend: str, state: BreakerState, reason: str) -> None:
        log.warning(f"breaker.{state.value}", backend=backend, reason=reason)
        self._source.hub.publish("status", "breaker", backend=backend, state=state.value, reason=reason)

    def _record(self, call: Call, run: Run | None, terminal: Done | Error | None, total_s: float) -> None:
        generation, now = self._source.generation, time.time()
        keeps, local = generation.config.ledger, time.localtime(now - total_s)
        attempts = run.attempts if run else []
        models = [b.model if (b := generation.backends.get(a.backend)) else "" for a in attempts]
        standings = [standing(a, _flaw(a, terminal)) for a in attempts]
        for attempt, model, said in zip(attempts, models, standings, strict=True):
            self._outcomes.note((attempt.backend, model), clock.now(), good=said == "good", bad=said == "bad")
        self._source.ledger.record(
            Entry(
                time=now,
                moment=Moment(local.tm_hour * 60 + local.tm_min, local.tm_wday),
                request_id=call.request_id,
                client=call.client,
                chat=call.chat,
                decision=run.decision if run else None,
                terminal=terminal,
                attempts=attempts,
                models=models,
                standings=standings,
                total_s=total_s,
                tier=_tier(run),
                answer=run.reception.text if keeps.text and run and not call.embedding else None,
                text_max=keeps.text_max,
            )
        )


def _flaw(attempt: Attempt, terminal: Done | Error | None) -> FailureKind | None:
    """What was found wrong with the attempt's answer, though it was the one that counted."""
    return terminal.flaw if isinstance(terminal, Done) and terminal.attempt == attempt.number else None


def _tier(run: Run | None) -> str:
    if run and run.call.embedding:
        return EMBEDDING
    if run is None or not run.decision.scores or not run.decided.items:
        return ""
    return "complex" if run.decided.items[0].rank else "simple"


def _facts(call: Call, run: Run | None, terminal: Done | Error | None) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "request": call.request_id,
        "client": call.client,
        "route": run.decision.route if run else "",
        "endpoint": run.decision.endpoint if run else call.chat.model,
    }
    if run and run.decision.scores:
        facts |= {"scores": {name: round(score, 2) for name, score in run.decision.scores.items()}, "tier": _tier(run)}
    if run and run.decided.factors:
        facts["factors"] = run.decided.factors
    if run and run.decision.candidates:
        facts["why"] = "; ".join(run.decision.candidates[0].reasons)
    match terminal:
        case Done():
            facts |= {"backend": terminal.backend, "model": terminal.model, "finish": terminal.finish_reason.value}
            facts |= {"prompt_tokens": terminal.usage.prompt_tokens, "answer_tokens": terminal.usage.completion_tokens}
            ttft_s = None if terminal.ttft_s is None else round(terminal.ttft_s, DIGITS)
            facts |= {"ttft_s": ttft_s, "cost_microusd": terminal.cost_microusd}
        case Error():
            facts |= {"code": terminal.code.value, "error": terminal.message}
        case None if run and run.attempts:
            facts["backend"] = run.attempts[-1].backend
    if run and not isinstance(terminal, Done):
        facts["cost_microusd"] = sum(attempt.cost_microusd for attempt in run.attempts)
    return facts


def _texts(call: Call, run: Run | None) -> dict[str, str]:
    texts = {"prompt": call.chat.messages[-1].text if call.chat.messages else ""}
    return texts | ({"answer": run.reception.text} if run else {})
