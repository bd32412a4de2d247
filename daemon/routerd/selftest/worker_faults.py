"""What goes wrong with model processes."""

from __future__ import annotations

from routerd_client.protocol import ErrorCode
from routerd_client.records import FailureKind as K

from .fault import SECOND, Expect, Fault, Mode, Worker, everywhere, midway


def _fault(name: str, does: str, first: Worker, expect: dict[Mode, Expect]) -> Fault:
    return Fault(name=name, does=does, backends={"first": first, "second": SECOND}, expect=expect)


WORKERS: tuple[Fault, ...] = (
    _fault(
        "worker killed midway",
        "its process is killed in the answer",
        Worker(options="--die-after 2"),
        midway(K.WORKER_DIED),
    ),
    _fault(
        "worker stuck midway",
        "it computes, says nothing and hears nothing",
        Worker(options="--spin-after 2", settings={"stall_timeout": "500ms"}),
        midway(K.STALLED),
    ),
    _fault(
        "garbage frames",
        "its process sends what is no frame",
        Worker(options="--garbage"),
        everywhere(tries="first: malformed, second"),
    ),
    _fault(
        "worker out of memory",
        "it has no memory for the answer",
        Worker(options="--fail oom_killed"),
        everywhere(tries="first: oom_killed, second"),
    ),
    _fault(
        "no numbers",
        "its model computes NaN where the answer would begin",
        Worker(options="--fail invalid_logits"),
        everywhere(tries="first: invalid_logits, second"),
    ),
    _fault(
        "no numbers midway",
        "its model computes NaN in the answer",
        Worker(options="--fail invalid_logits --fail-after 2"),
        midway(K.INVALID_LOGITS),
    ),
    _fault(
        "cannot do it",
        "its model turns out to lack what the request needs",
        Worker(options="--fail unsupported"),
        everywhere(tries="first: unsupported, second"),
    ),
    _fault(
        "broken chat template",
        "its model's chat template does not compile",
        Worker(options="--refuse-load 'the chat template does not compile (line 3)'"),
        everywhere(tries="first: load_failed, second"),
    ),
    _fault(
        "load that hangs",
        "its model is never ready",
        Worker(options="--hang-load", settings={"load_timeout": "500ms"}),
        everywhere(tries="first: load_failed, second"),
    ),
    _fault(
        "load that is refused",
        "its model cannot be loaded",
        Worker(options="--refuse-load broken"),
        everywhere(tries="first: load_failed, second"),
    ),
    _fault(
        "bad model path",
        "there is no such folder",
        Worker(model="./no/such/model"),
        everywhere(tries="first: load_failed, second"),
    ),
    _fault(
        "dies at the first request",
        "it loads well, and ends as the request comes",
        Worker(options="--die-after-load"),
        everywhere(tries="first: worker_died, second"),
    ),
    Fault(
        name="worker killed, nobody else",
        does="it is killed in the answer, and it is the only one",
        backends={"first": Worker(options="--die-after 2")},
        expect={
            "live": Expect(tries="first: worker_died", code=ErrorCode.INTERRUPTED),
            "safe": Expect(tries="first: worker_died", code=ErrorCode.UNAVAILABLE),
            "whole": Expect(tries="first: worker_died", code=ErrorCode.UNAVAILABLE),
        },
    ),
)
