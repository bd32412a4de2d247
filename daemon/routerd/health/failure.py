"""The one table of what each `FailureKind` means for retries, fallback, breaker and caller.

Code and tests read this table. A new kind is a member of `FailureKind` and a
row here.
"""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from routerd_client.protocol import ErrorCode
from routerd_client.records import FailureKind


class Rule(Struct, frozen=True):
    """What follows from one kind of failure.

    ``retry_here``: once more on the same backend, after a jitter, may help. ``next``: the next
    candidate may do better; false gives the failure to the caller at once. ``counts``: it speaks of
    the backend's health, so the breaker counts it. ``code``: what the caller is told where nobody
    answered. ``rests``: how long nobody asks the backend again where it names no time itself: its
    ``health.cooldown``, until the configuration changes, or not at all. ``callers``: the request's own
    doing, which leaves no mark on the backend.
    """

    retry_here: bool
    next: bool
    counts: bool
    code: ErrorCode
    rests: Literal["", "cooldown", "config"] = ""
    callers: bool = False


_K = FailureKind
_C = ErrorCode

RULES: dict[FailureKind, Rule] = {
    #                                retry_here  next   counts  code                rests
    _K.CONNECT_FAILED: Rule(True, True, True, _C.UNAVAILABLE),
    _K.TIMEOUT_CONNECT: Rule(False, True, True, _C.UNAVAILABLE),
    _K.TIMEOUT_FIRST_TOKEN: Rule(False, True, True, _C.UNAVAILABLE),
    _K.STALLED: Rule(False, True, True, _C.UNAVAILABLE),
    _K.CUT: Rule(False, True, True, _C.UNAVAILABLE),
    _K.MALFORMED: Rule(False, True, True, _C.UNAVAILABLE),
    _K.RATE_LIMITED: Rule(False, True, False, _C.OVERLOADED, "cooldown"),
    _K.OVERLOADED: Rule(False, True, False, _C.OVERLOADED, "cooldown"),
    _K.SERVER_ERROR: Rule(True, True, True, _C.UNAVAILABLE),
    _K.AUTH_FAILED: Rule(False, True, False, _C.CONFIG, "config"),
    _K.NOT_FOUND: Rule(False, True, False, _C.CONFIG),
    _K.CONTEXT_OVERFLOW: Rule(False, True, False, _C.CONTEXT_OVERFLOW, callers=True),
    _K.CONTENT_FILTERED: Rule(False, False, False, _C.CONTENT_FILTERED, callers=True),
    _K.BAD_REQUEST: Rule(False, False, False, _C.BAD_REQUEST, callers=True),
    _K.UNSUPPORTED: Rule(False, True, False, _C.BAD_REQUEST, callers=True),
    _K.REFUSAL: Rule(False, True, False, _C.UNAVAILABLE),
    _K.EMPTY: Rule(False, True, False, _C.UNAVAILABLE),
    _K.DEGENERATE: Rule(False, True, False, _C.UNAVAILABLE),
    _K.INVALID_LOGITS: Rule(False, True, True, _C.UNAVAILABLE),
    _K.SPAWN_FAILED: Rule(False, True, True, _C.UNAVAILABLE),
    _K.LOAD_FAILED: Rule(False, True, True, _C.UNAVAILABLE),
    _K.OOM_KILLED: Rule(False, True, True, _C.UNAVAILABLE),
    _K.WORKER_DIED: Rule(False, True, True, _C.UNAVAILABLE),
    _K.QUEUE_TIMEOUT: Rule(False, True, False, _C.OVERLOADED),
    _K.BUDGET_DENIED: Rule(False, True, False, _C.BUDGET),
    _K.QUOTA_SPENT: Rule(False, True, False, _C.BUDGET, "cooldown"),
    _K.CANCELLED: Rule(False, False, False, _C.CANCELLED, callers=True),
    _K.DEADLINE: Rule(False, False, False, _C.DEADLINE, callers=True),
    _K.UNKNOWN: Rule(False, True, True, _C.UNAVAILABLE),
}
