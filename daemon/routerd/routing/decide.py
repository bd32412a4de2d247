"""One explainable decision: from a request to the ordered candidates. Pure, microseconds.

Order: the model the request names > the first matching route > the default. Then the endpoint's
strategy orders its targets, and each is admitted or skipped with a reason the `View` gives.
"""

from __future__ import annotations

from typing import Protocol

from routerd_client.chat import ChatRequest
from routerd_client.records import Candidate, Decision, Skipped

from .overrides import lay_on, opinions
from .table import ROUTED, CompiledRoute, Table


class View(Protocol):
    """What a decision may know of the backends at its moment. Filled by dispatch from their owners."""

    def blocked(self, backend: str) -> str:
        """Why the backend may not answer now; ``""`` where it may."""

    def note(self, backend: str) -> str:
        """What else speaks for or against it, for people (``loaded``, ``cold``); ``""`` for nothing."""


class UnknownModelError(LookupError):
    """A request names a model that is neither endpoint nor backend."""

    def __init__(self, name: str, nearest: str) -> None:
        super().__init__(f"there is no endpoint or backend {name!r}")
        self.hint = f"did you mean {nearest!r}?" if nearest else "routerctl status lists them"


def decide(
    table: Table, chat: ChatRequest, view: View, *, generation: int = 0, trace: bool = False
) -> tuple[Decision, ChatRequest]:
    """The decision for ``chat``, and ``chat`` with the matched route's overrides laid on.

    ``trace`` fills `Decision.trace`; nobody pays for it otherwise. Raises `UnknownModelError`.
    """
    endpoint, route = _destination(table, chat)
    overrides = route.overrides if route else None
    candidates: list[Candidate] = []
    skipped: list[Skipped] = []
    for backend, reason in table.endpoints[endpoint].order():
        if why_not := view.blocked(backend):
            skipped.append(Skipped(backend, why_not))
        else:
            note = view.note(backend)
            candidates.append(Candidate(backend, [reason, note] if note else [reason]))
    decision = Decision(
        route=route.name if route else "",
        endpoint=endpoint,
        candidates=candidates,
        skipped=skipped,
        overrides={name: str(value) for name, value in opinions(overrides).items()},
        trace=_trace(table, chat, endpoint, route, candidates, skipped) if trace else [],
        generation=generation,
    )
    return decision, lay_on(chat, overrides)


def _destination(table: Table, chat: ChatRequest) -> tuple[str, CompiledRoute | None]:
    if named := _named(chat):
        if named not in table.endpoints:
            raise UnknownModelError(named, table.nearest(named))
        return named, None
    for route in table.routes:
        if route.predicate(chat.context):
            return route.use, route
    return table.default, None


def _named(chat: ChatRequest) -> str:
    return "" if chat.model == ROUTED else chat.model


def _trace(
    table: Table,
    chat: ChatRequest,
    endpoint: str,
    matched: CompiledRoute | None,
    candidates: list[Candidate],
    skipped: list[Skipped],
) -> list[str]:
    lines: list[str] = []
    if named := _named(chat):
        lines.append(f"the request names {named}: routes are not asked")
    else:
        for route in table.routes:
            why = route.predicate.explain(chat.context)
            if route is matched:
                lines.append(f"{route.name}: match ({why}) -> {route.use}")
                break
            lines.append(f"{route.name}: no match, {why}")
        else:
            lines.append(f"no route matches: default -> {table.default}")
    if matched and (set_ := opinions(matched.overrides)):
        lines.append(f"{matched.name} sets " + ", ".join(f"{name}={value}" for name, value in set_.items()))
    lines.append(f"endpoint {endpoint}: " + type(table.endpoints[endpoint]).__name__.lower())
    lines += [f"candidate {c.backend}: {', '.join(c.reasons)}" for c in candidates]
    lines += [f"skipped {s.backend}: {s.reason}" for s in skipped]
    return lines
