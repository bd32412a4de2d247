"""Answers that are none: 200, and all the same nothing that was asked for."""

from __future__ import annotations

from typing import Any

from routerd_client.records import FailureKind as K

from .fake_formats import Knobs
from .fake_worker import BROKEN_CALL
from .fault import COOLDOWN, SECOND, Api, Expect, Fault, Mode, Worker, api, everywhere

REFUSES = ["I'm sorry, ", "but I can't ", "help with that request."]
LOOPS = ["and over and over "] * 60
TOOL = {
    "type": "function",
    "function": {
        "name": "look",
        "parameters": {"type": "object", "properties": {"at": {"type": "string"}}, "required": ["at"]},
    },
}
AS_JSON = {"type": "json_object"}
HARD = {"type": "object", "properties": {"way": {"type": "string", "pattern": "[" * 12_000}}}
TOUCHY = {"health": {"allowed_fails": 1}}
"""One failure that counts opens the breaker."""
BOTH_BREAK = Expect(
    tries="first: degenerate, second: degenerate", text='I look. \nlook({"at": "\\d"})', flaw=K.DEGENERATE
)


def _fault(
    name: str,
    does: str,
    first: Api,
    expect: dict[Mode, Expect],
    *,
    on: str = "",
    second: Api = SECOND,
    options: dict[str, Any] | None = None,
    config: dict[str, Any] | None = None,
) -> Fault:
    endpoint: dict[str, Any] = {"escalate_on": ["error", on]} if on else {}
    backends: dict[str, Any] = {"first": first, "second": second}
    return Fault(
        name=name,
        does=does,
        backends=backends,
        expect=expect,
        endpoint=endpoint,
        options=options or {},
        config=config or {},
    )


def _late(kind: K) -> dict[Mode, Expect]:
    """A fault that only the whole answer shows: streamed live it can only be marked."""
    better = Expect(tries=f"first: {kind.value}, second")
    return {"live": Expect(tries="first", flaw=kind), "restarts": better, "safe": better, "whole": better}


ANSWERS: tuple[Fault, ...] = (
    _fault(
        "refusal, rerouted",
        "it refuses, and the endpoint escalates on refusal",
        api(pieces=REFUSES),
        everywhere(tries="first: refusal, second"),
        on="refusal",
    ),
    _fault(
        "refusal, delivered",
        "it refuses, and no route wants another",
        api(pieces=REFUSES),
        everywhere(tries="first", flaw=K.REFUSAL),
    ),
    _fault(
        "both refuse",
        "the caller gets the first refusal, marked",
        api(pieces=REFUSES),
        everywhere(tries="first: refusal, second: refusal", text="".join(REFUSES), flaw=K.REFUSAL),
        on="refusal",
        second=api(pieces=["I cannot ", "assist with that."]),
    ),
    _fault(
        "outage, then refusal",
        "503, and the next refuses: an outage is no way round it",
        api(status=503),
        everywhere(tries="first: overloaded, second", flaw=K.REFUSAL, rests=COOLDOWN),
        second=api(pieces=REFUSES),
    ),
    _fault(
        "empty, rerouted",
        "200 without text, and the endpoint escalates on empty",
        api(pieces=[]),
        everywhere(tries="first: empty, second"),
        on="empty",
    ),
    _fault(
        "empty, delivered",
        "200 without text, and no route wants another",
        api(pieces=[]),
        everywhere(tries="first", flaw=K.EMPTY),
    ),
    _fault(
        "broken tool call",
        "a tool call whose arguments are no JSON: the next is asked, and no breaker counts it",
        api(pieces=[], calls=[("look", '{"at": ')]),
        everywhere(tries="first: degenerate, second", again=Expect(tries="first: degenerate, second")),
        options={"tools": [TOOL]},
        config=TOUCHY,
    ),
    _fault(
        "broken tool calls everywhere",
        "the next one's is broken too: the caller gets the first answer, the call as text",
        api(pieces=["I look. "], calls=[("look", '{"at": "\\d"}')]),
        {
            "live": Expect(tries="first", text='I look. \nlook({"at": "\\d"})', flaw=K.DEGENERATE),
            "safe": BOTH_BREAK,
            "whole": BOTH_BREAK,
        },
        second=api(pieces=[], calls=[("look", '{"at": NaN}')]),
        options={"tools": [TOOL]},
    ),
    _fault(
        "a tool call that does not fit",
        "it misses its tool's schema: it is delivered, and marked",
        api(pieces=["I look."], calls=[("look", '{"at": 5}')]),
        everywhere(tries="first", flaw=K.DEGENERATE),
        options={"tools": [TOOL]},
    ),
    Fault(
        name="a model's broken tool call",
        does="a model of this machine writes a call that nobody can read: the next is asked, and no breaker counts it",
        backends={"first": Worker(options="--broken-call"), "second": SECOND},
        expect=everywhere(tries="first: degenerate, second", again=Expect(tries="first: degenerate, second")),
        options={"tools": [TOOL]},
        config=TOUCHY,
    ),
    Fault(
        name="a model's broken tool call, nobody else",
        does="there is no other: the caller gets the text, marked",
        backends={"first": Worker(options="--broken-call")},
        expect=everywhere(tries="first: degenerate", text=BROKEN_CALL, flaw=K.DEGENERATE),
        options={"tools": [TOOL]},
        config=TOUCHY,
    ),
    _fault(
        "invalid JSON",
        "prose where response_format asks for JSON",
        api(),
        _late(K.DEGENERATE),
        on="invalid_json",
        second=api(pieces=['{"way": ', '"left"}']),
        options={"response_format": AS_JSON},
    ),
    _fault(
        "a pattern that is none",
        "JSON for a schema whose pattern is 12 000 brackets: the pattern is not checked",
        api(pieces=['{"way": ', '"left"}']),
        everywhere(tries="first"),
        on="invalid_json",
        options={"response_format": {"type": "json_schema", "json_schema": {"name": "way", "schema": HARD}}},
    ),
    Fault(
        name="refusal, outage, local",
        does="Claude refuses, GPT is down, and a model of this machine answers",
        backends={
            "first": Api(kind="anthropic", knobs=Knobs(pieces=REFUSES)),
            "second": Api(kind="responses", knobs=Knobs(status=503)),
            "third": Worker(),
        },
        expect=everywhere(tries="first: refusal, second: overloaded, third"),
        endpoint={"escalate_on": ["error", "refusal"]},
    ),
    _fault("loop", "the same over and over", api(pieces=LOOPS), _late(K.DEGENERATE), on="degenerate"),
)
