"""What is remembered of each chat: counts for status, a line in the log, a notice for watchers."""

from __future__ import annotations

from collections import Counter
from typing import Any, Protocol

import structlog

from routerd_client.protocol import Done, Error
from routerd_client.records import BreakerState, Decision

from ..dispatch.generation import Generation
from ..dispatch.run import Call
from ..server.notices import Hub

log = structlog.get_logger()


class _Source(Protocol):
    hub: Hub

    @property
    def generation(self) -> Generation: ...


class Journal:
    """The dispatcher's `Observer`."""

    def __init__(self, source: _Source) -> None:
        self._source = source
        self.counts = {"open": 0, "ok": 0, "failed": 0, "cancelled": 0}
        self.hits: Counter[str] = Counter()
        """Chats that each route took, by its name; ``""`` are those that no route took."""
        self.named = 0
        """Chats that named a model."""

    def started(self, _call: Call) -> None:
        self.counts["open"] += 1

    def ended(self, call: Call, decision: Decision | None, terminal: Done | Error | None) -> None:
        how = "ok" if isinstance(terminal, Done) else "failed" if terminal else "cancelled"
        self.counts["open"] -= 1
        self.counts[how] += 1
        if decision:
            self.named += bool(decision.named)
            self.hits[decision.route] += not decision.named
        facts = _facts(call, decision, terminal)
        texts = _texts(call, terminal) if self._source.generation.config.log.prompts else {}
        (log.warning if how == "failed" else log.info)(f"chat.{how}", **facts, **texts)
        self._source.hub.publish("decision", how, **facts)

    def breaker(self, backend: str, state: BreakerState, reason: str) -> None:
        log.warning(f"breaker.{state.value}", backend=backend, reason=reason)
        self._source.hub.publish("status", "breaker", backend=backend, state=state.value, reason=reason)


def _facts(call: Call, decision: Decision | None, terminal: Done | Error | None) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "request": call.request_id,
        "client": call.client,
        "route": decision.route if decision else "",
        "endpoint": decision.endpoint if decision else call.chat.model,
    }
    match terminal:
        case Done():
            facts |= {"backend": terminal.backend, "finish": terminal.finish_reason.value, "ttft_s": terminal.ttft_s}
            facts |= {"prompt_tokens": terminal.usage.prompt_tokens, "answer_tokens": terminal.usage.completion_tokens}
        case Error():
            facts |= {"code": terminal.code.value, "error": terminal.message}
    return facts


def _texts(call: Call, terminal: Done | Error | None) -> dict[str, str]:
    texts = {"prompt": call.chat.messages[-1].text if call.chat.messages else ""}
    return texts | ({"answer": terminal.text} if isinstance(terminal, Done) else {})
