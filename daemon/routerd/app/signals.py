"""The signals that the daemon takes: those that end it, one that reloads, and those that would end it by default."""

from __future__ import annotations

import signal
import sys
import traceback
from typing import Any

RELOAD = signal.SIGHUP
QUIT = signal.SIGQUIT
ENDING = frozenset({signal.SIGTERM, signal.SIGINT})

# Those of the first line do not end a process; those of the second say that the program itself is broken.
_LEFT_ALONE = (
    "SIGKILL SIGSTOP SIGCHLD SIGCLD SIGCONT SIGTSTP SIGTTIN SIGTTOU SIGWINCH SIGURG SIGINFO SIGPIPE SIGXFSZ "
    "SIGABRT SIGIOT SIGBUS SIGEMT SIGFPE SIGILL SIGSEGV SIGSYS SIGTRAP"
)


def _ignored() -> frozenset[int]:
    left = {getattr(signal, name, None) for name in _LEFT_ALONE.split()}
    return frozenset(int(number) for number in signal.valid_signals() - left - {RELOAD, QUIT, *ENDING})


IGNORED = _ignored()
"""Signals nobody sends to a daemon on purpose, and each of which ends a process that has no handler, its socket left
behind: SIGUSR1, SIGUSR2, SIGALRM and the like."""
TAKEN: Any = (RELOAD, QUIT, *ENDING, *sorted(IGNORED))
"""Every signal that the daemon takes, real-time signals too, for which Python has no names."""


def hold() -> None:
    """Have no signal but the ending ones end a process that starts. A handler, since children inherit what is
    ignored."""
    for number in (RELOAD, *IGNORED):
        try:
            signal.signal(number, lambda *_: None)
        except (OSError, ValueError):
            pass  # some are the system's own


def name(number: int) -> str:
    """The name of a signal, as ``kill -l`` has it."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def stacks() -> list[str]:
    """Where each thread is."""
    return ["".join(traceback.format_stack(frame)) for frame in sys._current_frames().values()]
