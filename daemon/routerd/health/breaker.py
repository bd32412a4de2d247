"""A circuit breaker for one backend. Pure: every call takes the time, in seconds of one steady clock."""

from __future__ import annotations

from collections import deque

from routerd_client.records import BreakerState

from ..config.schema import HealthSpec


class Breaker:
    """Closed, open or half-open, after the last ``window`` seconds of outcomes.

    | state     | admits                  | success        | counted failure              |
    |-----------|-------------------------|----------------|------------------------------|
    | closed    | all                     | stays closed   | opens past either threshold  |
    | open      | none until the cooldown | (a late one) ignored | ignored                |
    | half-open | one probe at a time     | closes         | opens, cooldown doubled      |

    Thresholds: ``allowed_fails`` in a row, or ``failure_rate`` of at least ``min_requests`` in the window.
    """

    __slots__ = ("_epoch", "_failed_probes", "_in_a_row", "_open_until", "_outcomes", "_probing", "spec")

    def __init__(self, spec: HealthSpec) -> None:
        self.spec = spec
        self._outcomes: deque[tuple[float, bool]] = deque(maxlen=1000)
        self._in_a_row = 0
        self._failed_probes = 0
        self._open_until: float | None = None
        self._probing = False
        self._epoch = 1  # numbers given out are true

    def __repr__(self) -> str:
        return f"<Breaker until={self._open_until} probing={self._probing} failed_in_a_row={self._in_a_row}>"

    def state(self, now: float) -> BreakerState:
        if self._open_until is None:
            return BreakerState.CLOSED
        return BreakerState.OPEN if now < self._open_until else BreakerState.HALF_OPEN

    def retry_in(self, now: float) -> float:
        """Seconds until a request may be admitted; 0 where one may be now."""
        return max(0.0, self._open_until - now) if self._open_until is not None else 0.0

    def admits(self, now: float) -> bool:
        """Whether `take` would admit a request; changes nothing."""
        state = self.state(now)
        return state is BreakerState.CLOSED or (state is BreakerState.HALF_OPEN and not self._probing)

    def take(self, now: float) -> int | None:
        """Admit one request, or not (None). In half-open the one admitted is the probe.

        Every admitted request ends with `succeed`, `fail` or `release`, which take the number it was
        given: one from before the state last changed says nothing about the state there is now.
        """
        if not self.admits(now):
            return None
        if self._open_until is not None:
            self._probing = True
            self._epoch += 1
        return self._epoch

    def release(self, admitted: int) -> None:
        """An admitted request ended without saying anything about the backend's health."""
        if admitted == self._epoch:
            self._probing = False

    def succeed(self, now: float, admitted: int) -> None:
        if admitted != self._epoch:
            return
        self._outcomes.append((now, True))
        self._in_a_row = 0
        if self._open_until is not None:
            self._open_until = None
            self._failed_probes = 0
            self._probing = False
            self._epoch += 1

    def fail(self, now: float, admitted: int) -> None:
        if admitted != self._epoch:
            return
        self._outcomes.append((now, False))
        self._in_a_row += 1
        if self._probing:
            self._failed_probes += 1
            self._open(now)
        elif self._in_a_row >= self.spec.allowed_fails or self._rate_exceeded(now):
            self._open(now)

    def _open(self, now: float) -> None:
        longest = max(self.spec.cooldown, self.spec.cooldown_max)
        self._open_until = now + min(self.spec.cooldown * 2**self._failed_probes, longest)
        self._probing = False
        self._epoch += 1
        # What opened it must not open it again right after the probe that closes it.
        self._outcomes.clear()
        self._in_a_row = 0

    def _rate_exceeded(self, now: float) -> bool:
        while self._outcomes and self._outcomes[0][0] < now - self.spec.window:
            self._outcomes.popleft()
        total = len(self._outcomes)
        failed = sum(1 for _, ok in self._outcomes if not ok)
        return total >= self.spec.min_requests and failed >= self.spec.failure_rate * total
