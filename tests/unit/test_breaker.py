"""The circuit breaker: its state table, its one probe, its cooldowns."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from routerd.config.schema import HealthSpec
from routerd.health.breaker import Breaker
from routerd_client.records import BreakerState

CLOSED, OPEN, HALF_OPEN = BreakerState.CLOSED, BreakerState.OPEN, BreakerState.HALF_OPEN
SPEC = HealthSpec(allowed_fails=3, failure_rate=0.5, min_requests=5, window=60.0, cooldown=5.0, cooldown_max=20.0)


def opened(spec: HealthSpec = SPEC, at: float = 0.0) -> Breaker:
    breaker = Breaker(spec)
    for _ in range(spec.allowed_fails):
        fail(breaker, at)
    return breaker


def take(breaker: Breaker, now: float) -> int:
    """The number of a request that must be admitted."""
    admitted = breaker.take(now)
    assert admitted
    return admitted


def fail(breaker: Breaker, now: float) -> None:
    """A request comes and fails."""
    breaker.fail(now, take(breaker, now))


def outcomes(breaker: Breaker, text: str) -> None:
    """``+`` a success, ``-`` a failure, one a second."""
    for second, outcome in enumerate(text):
        admitted = take(breaker, float(second))
        (breaker.succeed if outcome == "+" else breaker.fail)(float(second), admitted)


def test_a_new_breaker_is_closed_and_admits_all() -> None:
    breaker = Breaker(SPEC)
    assert breaker.state(0) is CLOSED
    assert all(breaker.take(0) for _ in range(10))


@pytest.mark.parametrize(
    ("history", "state"),
    [
        ("--", CLOSED),
        ("---", OPEN),
        ("--+--", OPEN),  # in a row only two, but four of five
        ("++++--", CLOSED),
        ("++--", CLOSED),  # half, but fewer than min_requests
        ("++-+-", CLOSED),
        ("+-+-+-", OPEN),
    ],
)
def test_it_opens_after_failures_in_a_row_or_past_the_rate(history: str, state: BreakerState) -> None:
    breaker = Breaker(SPEC)
    outcomes(breaker, history)
    assert breaker.state(len(history)) is state


def test_failures_older_than_the_window_do_not_count_for_the_rate() -> None:
    breaker = Breaker(SPEC)
    outcomes(breaker, "+-+-")
    fail(breaker, 100.0)
    assert breaker.state(100.0) is CLOSED


def test_open_admits_nothing_until_the_cooldown_has_passed() -> None:
    breaker = opened()
    assert (breaker.admits(4.9), breaker.retry_in(4.0)) == (False, 1.0)
    assert (breaker.state(5.0), breaker.admits(5.0), breaker.retry_in(5.0)) == (HALF_OPEN, True, 0.0)


def test_half_open_admits_exactly_one() -> None:
    breaker = opened()
    assert [bool(breaker.take(6)) for _ in range(3)] == [True, False, False]


def test_a_probe_that_says_nothing_gives_its_place_to_the_next() -> None:
    breaker = opened()
    breaker.release(take(breaker, 6))
    assert [bool(breaker.take(6)), bool(breaker.take(6))] == [True, False]


def test_asking_whether_it_admits_changes_nothing() -> None:
    breaker = opened()
    assert [breaker.admits(6) for _ in range(3)] == [True] * 3


def test_a_probe_that_succeeds_closes_it() -> None:
    breaker = opened()
    breaker.succeed(7, take(breaker, 6))
    assert breaker.state(7) is CLOSED
    assert all(breaker.take(7) for _ in range(2))


def test_the_cooldown_doubles_with_each_failed_probe_up_to_the_cap() -> None:
    breaker, now, waits = opened(), 0.0, []
    for _ in range(4):
        now += breaker.retry_in(now)
        fail(breaker, now)
        waits.append(breaker.retry_in(now))
    assert waits == [10.0, 20.0, 20.0, 20.0]


def test_a_success_sets_the_cooldown_back() -> None:
    breaker = opened()
    fail(breaker, 5)
    breaker.succeed(15, take(breaker, 15))
    for _ in range(3):
        fail(breaker, 16)
    assert breaker.retry_in(16) == 5.0


def test_what_opened_it_does_not_open_it_again() -> None:
    breaker = opened()
    breaker.succeed(6, take(breaker, 6))
    fail(breaker, 7)
    assert breaker.state(7) is CLOSED


def test_late_answers_to_requests_from_before_change_nothing_while_it_is_open() -> None:
    breaker = Breaker(SPEC)
    late = [take(breaker, 0) for _ in range(5)]
    for number in late[:3]:
        breaker.fail(0, number)
    breaker.succeed(1, late[3])
    breaker.fail(1, late[4])
    assert (breaker.state(1), breaker.retry_in(1)) == (OPEN, 4.0)


def test_a_request_from_before_does_not_free_the_probes_place() -> None:
    """A long answer begun while it was closed, and cancelled during the probe, says nothing of the probe."""
    breaker = Breaker(SPEC)
    *failing, long = [take(breaker, 0) for _ in range(4)]
    for number in failing:
        breaker.fail(0, number)
    assert breaker.take(6), "the probe"
    breaker.release(long)
    assert not breaker.take(6)


def test_a_changed_cooldown_holds_from_the_next_opening() -> None:
    breaker = Breaker(SPEC)
    breaker.spec = HealthSpec(cooldown=1.0)
    for _ in range(3):
        fail(breaker, 0)
    assert breaker.retry_in(0) == 1.0


@given(st.lists(st.tuples(st.floats(0, 3), st.sampled_from(["take", "succeed", "fail", "release"])), max_size=60))
def test_open_never_admits_and_taking_agrees_with_asking(steps: list[tuple[float, str]]) -> None:
    breaker, now, taken = Breaker(SPEC), 0.0, [0]
    for wait, action in steps:
        now += wait
        if action == "take":
            would, state = breaker.admits(now), breaker.state(now)
            number = breaker.take(now)
            assert bool(number) is would
            assert not (state is OPEN and would)
            taken += [number] if number else []
        elif action == "release":
            breaker.release(taken[-1])
        else:
            getattr(breaker, action)(now, taken[-1])


class OneProbe(RuleBasedStateMachine):
    """Requests come, and end in any order and any way; each that was admitted ends once."""

    admitted = Bundle("admitted")

    def __init__(self) -> None:
        super().__init__()
        self.breaker = Breaker(HealthSpec(allowed_fails=1))
        self.now = 0.0
        self.open: dict[int, int] = {}
        self.probes: set[int] = set()
        self.count = 0

    @rule(seconds=st.sampled_from([0.1, 5.0, 20.0]))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @rule(target=admitted)
    def comes(self) -> int:
        self.count += 1
        state = self.breaker.state(self.now)
        if admitted := self.breaker.take(self.now):
            assert state is not OPEN
            self.open[self.count] = admitted
            if state is HALF_OPEN:
                self.probes.add(self.count)
        return self.count

    @rule(number=consumes(admitted), how=st.sampled_from(["succeed", "fail", "release"]))
    def ends(self, number: int, how: str) -> None:
        if number in self.open:
            admitted = self.open.pop(number)
            self.probes.discard(number)
            if how == "release":
                self.breaker.release(admitted)
            else:
                getattr(self.breaker, how)(self.now, admitted)
            if self.breaker.state(self.now) is CLOSED:
                self.probes.clear()  # it closed: those still under way are requests like all others

    @invariant()
    def there_are_never_two_probes(self) -> None:
        assert len(self.probes) <= 1


TestOneProbe = OneProbe.TestCase
