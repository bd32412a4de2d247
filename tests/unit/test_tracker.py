"""Health of backends: cooldowns, what leaves a mark, what a reload keeps, the figures."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routerd.config.schema import HealthSpec
from routerd.health.failure import RULES
from routerd.health.tracker import Health, Tracker, quantile
from routerd_client.records import BreakerState, FailureKind

SPEC = HealthSpec(allowed_fails=3, cooldown=5.0)
CALLERS = [kind for kind, rule in RULES.items() if rule.callers]


def failed(health: Health, now: float, kind: FailureKind, message: str, retry_after_s: float | None = None) -> None:
    """A request comes, where one may, and fails."""
    health.failed(now, health.take(now) or 0, kind, message, retry_after_s)


def test_a_stated_retry_after_is_honoured_exactly() -> None:
    health = Health(SPEC)
    failed(health, 10.0, FailureKind.RATE_LIMITED, "slow down", 30.0)
    assert (health.take(39.9), bool(health.take(40.0))) == (None, True)
    assert health.blocked(20.0) == "cooling down for 20.0 s"
    assert health.figures(20.0).retry_in_s == 20.0


@pytest.mark.parametrize("kind", [FailureKind.RATE_LIMITED, FailureKind.OVERLOADED, FailureKind.QUOTA_SPENT])
def test_a_backend_that_limits_and_names_no_time_rests_for_its_cooldown(kind: FailureKind) -> None:
    health = Health(SPEC)
    failed(health, 10.0, kind, "slow down")
    assert (health.take(14.9), bool(health.take(15.0))) == (None, True)


def test_a_time_of_its_own_goes_before_the_cooldown() -> None:
    health = Health(SPEC)
    failed(health, 10.0, FailureKind.RATE_LIMITED, "slow down", 0.5)
    assert (health.take(10.4), bool(health.take(10.5))) == (None, True)


def test_a_limit_of_our_own_is_no_rest() -> None:
    health = Health(SPEC)
    health.failed(10.0, health.take(10.0) or 0, FailureKind.OVERLOADED, "the line is full", 3.0, cools=False)
    assert health.take(10.0)


def test_a_shorter_retry_after_does_not_end_a_longer_one() -> None:
    health = Health(SPEC)
    failed(health, 0.0, FailureKind.RATE_LIMITED, "", 30.0)
    failed(health, 0.0, FailureKind.OVERLOADED, "", 1.0)
    assert not health.take(29.0)
    assert health.blamed(29.0) is FailureKind.RATE_LIMITED


def test_a_rate_limit_does_not_open_the_breaker() -> None:
    health = Health(SPEC)
    for _ in range(10):
        failed(health, 0.0, FailureKind.RATE_LIMITED, "")
    assert health.figures(0.0).breaker is BreakerState.CLOSED


def test_a_wrong_key_cools_down_until_the_configuration_changes() -> None:
    health = Health(SPEC)
    failed(health, 0.0, FailureKind.AUTH_FAILED, "401")
    assert health.blocked(1e9) == "cooling down until the configuration changes"
    assert not health.take(1e9)
    health.configure(SPEC)
    assert health.take(1e9)


def test_a_key_that_could_not_be_had_is_looked_for_again() -> None:
    health = Health(SPEC)
    failed(health, 0.0, FailureKind.AUTH_FAILED, "the keychain is locked", 60.0)
    assert (health.take(59.9), bool(health.take(60.0))) == (None, True)


@pytest.mark.parametrize("kind", CALLERS, ids=lambda kind: kind.value)
def test_a_failure_of_the_callers_own_leaves_no_mark(kind: FailureKind) -> None:
    health = Health(SPEC)
    for _ in range(10):
        failed(health, 0.0, kind, "yours", 60.0)
    figures = health.figures(0.0)
    assert (figures.breaker, figures.requests, figures.last_failure) == (BreakerState.CLOSED, 0, None)
    assert health.take(0.0)


@pytest.mark.parametrize("kind", CALLERS, ids=lambda kind: kind.value)
def test_a_probe_that_failed_by_the_callers_own_doing_may_be_made_again(kind: FailureKind) -> None:
    health = broken()
    failed(health, 6.0, kind, "yours")
    assert health.take(6.0)


def broken() -> Health:
    health = Health(SPEC)
    for _ in range(3):
        failed(health, 0.0, FailureKind.WORKER_DIED, "it died")
    return health


def test_an_open_breaker_says_for_how_long_and_why() -> None:
    assert broken().blocked(1.0) == "breaker open for 4.0 s after it died"


def test_a_probe_under_way_is_said() -> None:
    health = broken()
    assert health.blocked(6.0) == ""
    health.take(6.0)
    assert health.blocked(6.0) == "breaker half-open, a probe is under way"


def test_health_outlives_a_reload_that_names_the_backend_again() -> None:
    tracker = Tracker()
    tracker.configure({"small": SPEC})
    for _ in range(3):
        failed(tracker.health("small"), 0.0, FailureKind.WORKER_DIED, "it died")
    tracker.configure({"large": SPEC})
    tracker.configure({"small": SPEC, "large": SPEC})
    assert tracker.health("small").figures(0.0).breaker is BreakerState.OPEN


def test_a_reload_brings_its_thresholds_into_force() -> None:
    tracker = Tracker()
    tracker.configure({"small": SPEC})
    tracker.configure({"small": HealthSpec(allowed_fails=1)})
    failed(tracker.health("small"), 0.0, FailureKind.WORKER_DIED, "it died")
    assert tracker.health("small").figures(0.0).breaker is BreakerState.OPEN


def test_a_stated_cooldown_outlives_a_reload() -> None:
    health = Health(SPEC)
    failed(health, 0.0, FailureKind.RATE_LIMITED, "", 30.0)
    health.configure(SPEC)
    assert not health.take(29.0)


def test_figures_are_none_for_a_backend_that_was_not_used() -> None:
    figures = Health(SPEC).figures(0.0)
    assert (figures.requests, figures.success_rate, figures.ttft_p50_s, figures.ttft_p95_s) == (0, None, None, None)


def test_figures_cover_the_window_alone() -> None:
    health = Health(SPEC)
    failed(health, 0.0, FailureKind.STALLED, "old")
    for second in range(100, 110):
        health.succeeded(float(second), health.take(float(second)) or 0, (second - 99) / 10)
    figures = health.figures(110.0)
    assert (figures.requests, figures.failures, figures.success_rate) == (10, 0, 1.0)
    assert (figures.ttft_p50_s, figures.ttft_p95_s) == (0.5, 1.0)
    assert figures.last_failure is FailureKind.STALLED


def test_refusals_are_counted_whether_they_stood_or_not() -> None:
    health = Health(SPEC)
    assert health.figures(0.0).refusal_rate is None
    health.succeeded(1.0, health.take(1.0) or 0, 0.1)
    health.succeeded(1.0, health.take(1.0) or 0, 0.1, FailureKind.EMPTY)
    health.succeeded(1.0, health.take(1.0) or 0, 0.1, FailureKind.REFUSAL)
    failed(health, 1.0, FailureKind.REFUSAL, "it declines")
    assert health.figures(1.0).refusal_rate == 0.5


@pytest.mark.parametrize(
    ("values", "q", "expected"),
    [([], 0.5, None), ([1.0], 0.95, 1.0), ([1.0, 2.0], 0.5, 1.0), ([1.0, 2.0, 3.0], 0.5, 2.0)],
)
def test_a_quantile_is_one_of_the_values(values: list[float], q: float, expected: float | None) -> None:
    assert quantile(values, q) == expected


@given(st.lists(st.floats(0, 100), min_size=1), st.floats(0.01, 1))
def test_a_quantile_has_at_least_its_share_at_or_below_it(values: list[float], q: float) -> None:
    found = quantile(sorted(values), q)
    assert found in values
    assert sum(v <= found for v in values) >= q * len(values) - 1e-9


def test_one_event_of_which_several_requests_fail_counts_once() -> None:
    health = Health(HealthSpec(allowed_fails=3))
    for event in ("pid 1", "pid 1", "pid 1", "pid 2"):
        admitted = health.take(0.0)
        assert admitted is not None
        health.failed(0.0, admitted, FailureKind.WORKER_DIED, "it died", cools=False, event=event)

    assert health.blocked(0.0) == ""


def test_failed_embeddings_keep_no_chat_away() -> None:
    tracker = Tracker()
    tracker.configure({"b": HealthSpec(allowed_fails=1)})
    embeddings = tracker.health("b", embeds=True)
    admitted = embeddings.take(0.0)
    assert admitted is not None
    embeddings.failed(0.0, admitted, FailureKind.AUTH_FAILED, "no such key")

    assert tracker.health("b", embeds=True).blocked(0.0)
    assert tracker.health("b").blocked(0.0) == ""


def test_what_blocks_a_backend_blocks_its_embeddings() -> None:
    tracker = Tracker()
    tracker.configure({"b": HealthSpec(allowed_fails=1)})
    chats = tracker.health("b")
    admitted = chats.take(0.0)
    assert admitted is not None
    chats.failed(0.0, admitted, FailureKind.RATE_LIMITED, "too many", 30.0)

    embeddings = tracker.health("b", embeds=True)
    assert embeddings.blocked(1.0) == "cooling down for 29.0 s"
    assert embeddings.take(1.0) is None
    assert embeddings.blamed(1.0) is FailureKind.RATE_LIMITED
    assert embeddings.figures(1.0).retry_in_s == 29.0
    assert embeddings.take(31.0) is not None
