"""When an answer that came is passed over for the next candidate's. Pure."""

from __future__ import annotations

from typing import get_args

from routerd_client.chat import ChatRequest
from routerd_client.records import FailureKind

from ..quality.degenerate import Ask, Fault, Finding
from ..routing.classify.ask import newest_ask
from ..routing.features import callable_tools, must_call
from ..routing.terms import Terms

FAULTS: tuple[Fault, ...] = get_args(Fault)


def watched(terms: Terms) -> frozenset[Fault]:
    """The faults for which an answer is passed over."""
    listed: set[Fault] = {fault for fault in FAULTS if fault in terms.escalate_on}
    if "degenerate" in listed:
        listed |= {"invalid_json", "broken_call"}
    if "error" in terms.escalate_on:
        listed.add("broken_call")  # as useless as a failure
    if terms.judges:
        listed.add("weak")
    return frozenset(listed)


def measured_by(chat: ChatRequest, terms: Terms) -> Ask:
    """What an answer to ``chat`` is measured by."""
    return Ask(
        prompt=newest_ask(chat.messages).text,
        response_format=chat.response_format,
        tools=callable_tools(chat),
        must_call=must_call(chat),
        min_chars=terms.min_chars if "short" in terms.escalate_on else 0,
        complete="length" in terms.escalate_on,
    )


def may_pass_over(finding: Finding, terms: Terms, hops: int, *, refused: bool, broken: bool) -> bool:
    """Whether the next candidate may be asked for a better answer than one with ``finding``.

    ``hops`` were passed over before; ``refused``: one of them for a refusal, which is enough for one request;
    ``broken``: one of them for a call that cannot be read, which is enough where the route does not list them.
    """
    listed = {"broken_call", "degenerate"} & set(terms.escalate_on)
    again = finding.fault == "broken_call" and broken and not listed
    return hops < terms.max_hops and not again and not (refused and finding.kind is FailureKind.REFUSAL)
