"""Requests that would take a model down for everybody: what they come to."""

from __future__ import annotations

from typing import Any

from routerd_client.protocol import ErrorCode
from routerd_client.records import FailureKind as K

from .fault import SECOND, Expect, Fault, Worker, everywhere

POISON = "Which poison?"
DEADLY = Worker(options="--die-on poison")
BAD_REQUEST = everywhere(tries="", code=ErrorCode.BAD_REQUEST)


def _tool(parameters: dict[str, Any]) -> dict[str, Any]:
    return {"tools": [{"type": "function", "function": {"name": "reserve", "parameters": parameters}}]}


def _nested(levels: int) -> dict[str, Any]:
    """Build a JSON schema of this many levels."""
    schema: dict[str, Any] = {"type": "integer"}
    for _ in range(levels):
        schema = {"items": schema}
    return schema


def _fault(name: str, does: str, options: dict[str, Any], expect: dict[Any, Expect]) -> Fault:
    return Fault(name=name, does=does, backends={"first": Worker(), "second": SECOND}, expect=expect, options=options)


POISONS: tuple[Fault, ...] = (
    _fault(
        "integer over 64 bits in a schema",
        "a tool's schema has the maximum of a u128",
        _tool({"type": "object", "properties": {"n": {"type": "integer", "maximum": 2**128 - 1}}}),
        everywhere(tries="first"),
    ),
    _fault("seed over 64 bits", "its seed is 2^64", {"seed": 2**64}, BAD_REQUEST),
    _fault("deep nesting", "a tool's schema has 300 levels", _tool(_nested(300)), BAD_REQUEST),
    Fault(
        name="deadly request",
        does="every model process that reads it ends",
        backends={"first": DEADLY, "second": DEADLY, "third": SECOND},
        prompt=POISON,
        expect=everywhere(
            tries=f"first: {K.WORKER_DIED.value}, second: {K.WORKER_DIED.value}",
            code=ErrorCode.BAD_REQUEST,
            again=Expect(tries="third"),
        ),
    ),
    Fault(
        name="deadly request, an API next",
        does="every model process that reads it ends, and an API comes before the next",
        backends={"first": DEADLY, "second": SECOND, "third": DEADLY},
        prompt=POISON,
        expect=everywhere(tries=f"first: {K.WORKER_DIED.value}, second"),
    ),
)
