"""How a model process died, in words, from what is known of its end. Pure."""

from __future__ import annotations

from signal import Signals

from msgspec import Struct

from routerd_client.records import FailureKind

from ..config.units import format_size
from .errors import Failure


class End(Struct, frozen=True, kw_only=True):
    """The end of a process that nobody had asked to end.

    ``code`` is its exit code, or the signal's number below 0. ``loaded``: it could answer; ``in_flight`` of its
    answers were open. ``forced``: it had closed its socket and lived on, so we killed it. ``oom_killed``: the
    system did, for want of memory. ``planned`` and ``measured``, 0 where it was not, are bytes.
    """

    code: int | None
    loaded: bool
    in_flight: int = 0
    forced: bool = False
    oom_killed: bool = False
    planned: int = 0
    measured: int = 0
    last_words: str = ""


def explain(end: End) -> Failure:
    """What those who used the process are told."""
    doing = "while it loaded" if not end.loaded else "while it answered" if end.in_flight else "while it was idle"
    if end.oom_killed:
        return _out_of_memory(end, doing)
    last = f"; its last words: {end.last_words}" if end.last_words else ""
    return Failure(FailureKind.WORKER_DIED, f"the model process {_how(end)} {doing}{last}")


def _how(end: End) -> str:
    if end.forced or end.code is None:
        return "closed its socket, and was killed,"
    if end.code < 0:
        return f"was killed by signal {-end.code} ({_signal(-end.code)})"
    # Only we end a worker, by asking: a 0 of its own accord is no better than a crash.
    return f"exited with code {end.code}"


def _signal(number: int) -> str:
    try:
        return Signals(number).name
    except ValueError:
        return "unknown"


def _out_of_memory(end: End, doing: str) -> Failure:
    measured = f"seen to have {format_size(end.measured)}" if end.measured else "not measured yet"
    return Failure(
        FailureKind.OOM_KILLED,
        f"the system killed the model process {doing}, for want of memory: "
        f"it was planned at {format_size(end.planned)} and {measured}",
        hint="its next load asks for more; lower its kv_tokens or concurrency, take a smaller model, "
        "or set memory.budget to what the machine can really spare",
    )
