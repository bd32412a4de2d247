"""The residency state machine: every arrow that exists, none that does not, and the waits after a crash."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routerd.supervisor.state import (
    BACKOFF_MAX_S,
    FAILED_RETRY_S,
    STABLE_S,
    Event,
    InvalidTransitionError,
    State,
    may_start,
    settled,
    step,
)
from routerd_client.records import Residency

STOPPED, LOADING, READY = Residency.STOPPED, Residency.LOADING, Residency.READY
DRAINING, STOPPING, BACKOFF, FAILED = Residency.DRAINING, Residency.STOPPING, Residency.BACKOFF, Residency.FAILED

ARROWS = {
    (STOPPED, Event.START): LOADING,
    (STOPPED, Event.STOP): STOPPED,
    (LOADING, Event.READY): READY,
    (LOADING, Event.DIED): BACKOFF,
    (LOADING, Event.REFUSED): FAILED,
    (LOADING, Event.STOP): STOPPING,
    (READY, Event.DIED): BACKOFF,
    (READY, Event.REFUSED): FAILED,
    (DRAINING, Event.REFUSED): STOPPED,
    (READY, Event.DRAIN): DRAINING,
    (READY, Event.STOP): STOPPING,
    (DRAINING, Event.STOP): STOPPING,
    (DRAINING, Event.DIED): STOPPED,
    (STOPPING, Event.DIED): STOPPED,
    (STOPPING, Event.REFUSED): STOPPED,
    (STOPPING, Event.STOP): STOPPING,
    (BACKOFF, Event.START): LOADING,
    (BACKOFF, Event.STOP): STOPPED,
    (FAILED, Event.START): LOADING,
    (FAILED, Event.STOP): STOPPED,
}
RESIDENCIES = [residency for residency in Residency if residency is not Residency.UNKNOWN]


def label(value: object) -> str:
    return str(getattr(value, "value", value))


@pytest.mark.parametrize("residency", RESIDENCIES, ids=label)
@pytest.mark.parametrize("event", list(Event), ids=label)
def test_the_arrows_are_these_and_no_others(residency: Residency, event: Event) -> None:
    state = State(residency)
    if target := ARROWS.get((residency, event)):
        assert step(state, event, 1.0).residency is target
    else:
        with pytest.raises(InvalidTransitionError, match=f"{event.value} while {residency.value}"):
            step(state, event, 1.0)


def crash(state: State, now: float) -> State:
    """It is started, becomes ready and dies at once."""
    loading = step(state, Event.START, now)
    return step(step(loading, Event.READY, now), Event.DIED, now, "it died")


def test_the_wait_doubles_with_each_crash_up_to_a_minute() -> None:
    state, waits = State(), []
    for _ in range(8):
        state = crash(state, 0.0)
        waits.append(state.retry_at)
    assert waits == [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, BACKOFF_MAX_S, BACKOFF_MAX_S]


def test_a_process_that_was_ready_for_long_is_not_held_to_earlier_crashes() -> None:
    state = crash(crash(State(), 0.0), 0.0)
    ready = step(step(state, Event.START, 10.0), Event.READY, 10.0)
    assert step(ready, Event.DIED, 10.0 + STABLE_S - 0.1).crashes == 3
    assert step(ready, Event.DIED, 10.0 + STABLE_S).crashes == 1


def test_a_model_that_cannot_be_loaded_waits_long() -> None:
    failed = step(State(LOADING), Event.REFUSED, 5.0, "no such file")
    assert (failed.retry_at, failed.error) == (5.0 + FAILED_RETRY_S, "no such file")


def test_a_stop_forgets_crashes_and_waits() -> None:
    assert step(crash(State(), 0.0), Event.STOP, 1.0) == State(STOPPED, 1.0)


def test_an_error_lasts_until_the_next_start() -> None:
    crashed = crash(State(), 0.0)
    assert crashed.error == "it died"
    assert step(crashed, Event.START, 2.0).error == ""


@pytest.mark.parametrize("residency", RESIDENCIES, ids=label)
def test_settled_is_where_no_process_exists(residency: Residency) -> None:
    assert settled(State(residency)) is (residency in (STOPPED, BACKOFF, FAILED))


def test_a_request_may_start_it_only_where_nothing_runs_and_the_wait_is_over() -> None:
    crashed = crash(State(), 0.0)
    assert (may_start(State(), 0.0), may_start(crashed, 0.9), may_start(crashed, 1.0)) == (True, False, True)
    assert not may_start(State(READY), 9.0)


@given(st.lists(st.tuples(st.sampled_from(list(Event)), st.integers(0, 100)), max_size=40))
def test_no_wait_is_ever_longer_than_the_cap(events: list[tuple[Event, int]]) -> None:
    state, now = State(), 0.0
    for event, seconds in events:
        now += seconds
        try:
            state = step(state, event, now)
        except InvalidTransitionError:
            continue
        assert state.retry_at - now <= max(BACKOFF_MAX_S, FAILED_RETRY_S)
