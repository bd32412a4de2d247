"""The residency state machine of one model process. Pure: a state, an event and the time give the next state.

STOPPED   --start-->  LOADING   BACKOFF --start--> LOADING   FAILED --start--> LOADING
LOADING   --ready-->  READY
LOADING   --died-->   BACKOFF   (it broke: wait, then try again)
LOADING   --refused-> FAILED    (the model itself cannot be loaded: the same again would not help soon)
READY     --died-->   BACKOFF
READY     --drain-->  DRAINING  --stop--> STOPPING
LOADING, READY --stop--> STOPPING
DRAINING, STOPPING --died--> STOPPED
"""

from __future__ import annotations

from enum import Enum

from msgspec import Struct
from msgspec.structs import replace

from routerd_client.records import Residency

BACKOFF_BASE_S = 1.0
BACKOFF_MAX_S = 60.0
FAILED_RETRY_S = 60.0
STABLE_S = 60.0
"""A process that was ready this long is not held responsible for earlier crashes."""


class Event(Enum):
    START = "start"
    READY = "ready"
    DIED = "died"
    REFUSED = "refused"
    DRAIN = "drain"
    STOP = "stop"


class State(Struct, frozen=True):
    """``since`` and ``retry_at`` are seconds of one steady clock; ``crashes`` counts those in a row."""

    residency: Residency = Residency.STOPPED
    since: float = 0.0
    crashes: int = 0
    retry_at: float = 0.0
    error: str = ""


_R, _E = Residency, Event

_ARROWS: dict[tuple[Residency, Event], Residency] = {
    (_R.STOPPED, _E.START): _R.LOADING,
    (_R.BACKOFF, _E.START): _R.LOADING,
    (_R.FAILED, _E.START): _R.LOADING,
    (_R.LOADING, _E.READY): _R.READY,
    (_R.LOADING, _E.DIED): _R.BACKOFF,
    (_R.LOADING, _E.REFUSED): _R.FAILED,
    (_R.LOADING, _E.STOP): _R.STOPPING,
    (_R.READY, _E.DIED): _R.BACKOFF,
    (_R.READY, _E.REFUSED): _R.FAILED,
    (_R.DRAINING, _E.REFUSED): _R.STOPPED,
    (_R.READY, _E.DRAIN): _R.DRAINING,
    (_R.READY, _E.STOP): _R.STOPPING,
    (_R.DRAINING, _E.STOP): _R.STOPPING,
    (_R.DRAINING, _E.DIED): _R.STOPPED,
    (_R.STOPPING, _E.DIED): _R.STOPPED,
    (_R.STOPPING, _E.REFUSED): _R.STOPPED,
    # Settled states have nothing to stop; saying so again is no error.
    (_R.STOPPED, _E.STOP): _R.STOPPED,
    (_R.BACKOFF, _E.STOP): _R.STOPPED,
    (_R.FAILED, _E.STOP): _R.STOPPED,
    (_R.STOPPING, _E.STOP): _R.STOPPING,
}


class InvalidTransitionError(RuntimeError):
    """The supervisor asked for an arrow that does not exist: a mistake in the supervisor."""


def step(state: State, event: Event, now: float, error: str = "") -> State:
    """The next state. ``error`` says why, for DIED and REFUSED. Raises `InvalidTransitionError`."""
    target = _ARROWS.get((state.residency, event))
    if target is None:
        raise InvalidTransitionError(f"{event.value} while {state.residency.value}")
    if target is Residency.BACKOFF:
        stable = state.residency is Residency.READY and now - state.since >= STABLE_S
        crashes = 1 if stable else state.crashes + 1
        delay = min(BACKOFF_BASE_S * 2 ** (crashes - 1), BACKOFF_MAX_S)
        return State(target, now, crashes, now + delay, error)
    if target is Residency.FAILED:
        return State(target, now, state.crashes + 1, now + FAILED_RETRY_S, error)
    if target is Residency.STOPPED:
        return State(target, now)
    return replace(state, residency=target, since=now, error="")


def settled(state: State) -> bool:
    """Whether no process exists."""
    return state.residency in (Residency.STOPPED, Residency.BACKOFF, Residency.FAILED)


def may_start(state: State, now: float) -> bool:
    """Whether a request may start the process now."""
    return settled(state) and now >= state.retry_at
