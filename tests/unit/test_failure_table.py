"""The table of failures is complete, and keeps to a few laws."""

from __future__ import annotations

import pytest

from routerd.dispatch.run import verdict
from routerd.health.failure import RULES
from routerd_client.protocol import ErrorCode
from routerd_client.records import FailureKind

K = FailureKind
each_kind = pytest.mark.parametrize("kind", list(FailureKind), ids=lambda kind: kind.value)


def test_every_kind_has_a_rule() -> None:
    assert set(RULES) == set(FailureKind)


@each_kind
def test_what_is_worth_a_retry_here_is_worth_another_backend(kind: FailureKind) -> None:
    assert RULES[kind].next or not RULES[kind].retry_here


@each_kind
def test_the_callers_own_failures_never_speak_of_health(kind: FailureKind) -> None:
    assert not (RULES[kind].callers and RULES[kind].counts)


@each_kind
def test_a_caller_is_told_something_it_can_act_on(kind: FailureKind) -> None:
    assert RULES[kind].code not in (ErrorCode.UNKNOWN, ErrorCode.INTERNAL)


@pytest.mark.parametrize("kind", [FailureKind.STALLED, FailureKind.TIMEOUT_FIRST_TOKEN, FailureKind.TIMEOUT_CONNECT])
def test_a_silent_backend_is_not_asked_again_at_once(kind: FailureKind) -> None:
    assert not RULES[kind].retry_here


@pytest.mark.parametrize("kind", [FailureKind.BAD_REQUEST, FailureKind.CONTENT_FILTERED, FailureKind.CANCELLED])
def test_what_is_the_callers_goes_back_to_the_caller(kind: FailureKind) -> None:
    assert not RULES[kind].next


@each_kind
def test_a_backend_that_says_no_rests_and_is_not_sick(kind: FailureKind) -> None:
    says_no = (FailureKind.RATE_LIMITED, FailureKind.OVERLOADED, FailureKind.QUOTA_SPENT, FailureKind.AUTH_FAILED)
    assert bool(RULES[kind].rests) == (kind in says_no)
    assert not (RULES[kind].rests and RULES[kind].counts)


@pytest.mark.parametrize(
    ("failures", "code", "kind"),
    [
        ([K.RATE_LIMITED, K.RATE_LIMITED], ErrorCode.OVERLOADED, K.RATE_LIMITED),
        ([K.RATE_LIMITED, K.OVERLOADED], ErrorCode.OVERLOADED, None),
        ([K.RATE_LIMITED, None], ErrorCode.OVERLOADED, K.RATE_LIMITED),
        ([K.RATE_LIMITED, K.CONNECT_FAILED], ErrorCode.UNAVAILABLE, None),
        ([K.CONTEXT_OVERFLOW, None], ErrorCode.CONTEXT_OVERFLOW, K.CONTEXT_OVERFLOW),
        ([None], ErrorCode.UNAVAILABLE, None),
        ([], ErrorCode.UNAVAILABLE, None),
    ],
)
def test_why_nobody_was_asked(failures: list[K | None], code: ErrorCode, kind: K | None) -> None:
    assert verdict(failures) == (code, kind)
