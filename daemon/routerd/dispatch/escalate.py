"""When an answer that came is passed over for the next candidate's. Pure."""

from __future__ import annotations

from routerd_client.chat import ChatRequest
from routerd_client.records import FailureKind

from ..config.strategy import EscalateOn
from ..quality.degenerate import Ask, Finding
from ..routing.features import Features
from ..routing.terms import Terms

_KINDS: dict[EscalateOn, FailureKind] = {
    "empty": FailureKind.EMPTY,
    "refusal": FailureKind.REFUSAL,
    "hedged": FailureKind.REFUSAL,
    "degenerate": FailureKind.DEGENERATE,
    "short": FailureKind.DEGENERATE,
    "invalid_json": FailureKind.DEGENERATE,
    "length": FailureKind.DEGENERATE,
    "content_filter": FailureKind.CONTENT_FILTERED,
}
SURE = 0.5
"""How sure (0..1) the judge of refusals must be, where a route lists them."""


def watched(terms: Terms) -> frozenset[FailureKind]:
    """The faults for which an answer is passed over."""
    return frozenset(_KINDS[name] for name in terms.escalate_on if name in _KINDS)


def measured_by(chat: ChatRequest, terms: Terms) -> Ask:
    """What an answer to ``chat`` is measured by, as far as its route cares."""
    whole = "degenerate" in terms.escalate_on
    return Ask(
        prompt=Features(chat).ask.text,
        response_format=chat.response_format if whole or "invalid_json" in terms.escalate_on else None,
        tools=chat.tools,
        min_chars=terms.min_chars if "short" in terms.escalate_on else 0,
        complete="length" in terms.escalate_on,
    )


def passes_over(finding: Finding, terms: Terms, hops: int, *, refused: bool) -> bool:
    """Whether the next candidate is to answer. ``hops`` escalations were made before; ``refused``: one of
    them for a refusal, which is enough for one request."""
    if finding.kind not in watched(terms) or hops >= terms.max_hops:
        return False
    return finding.kind is not FailureKind.REFUSAL or (not refused and finding.confidence >= SURE)
