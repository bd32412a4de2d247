"""A worker never outlives its daemon."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from pathlib import Path

PR_SET_PDEATHSIG = 1


def bind_to_parent(parent: int) -> None:
    """Make the kernel kill this process when ``parent`` dies; exits at once if it is dead already.

    Only Linux has such a signal. Elsewhere the end of the daemon's socket is the one sign.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    # The parent may have died before the signal was set, and then nothing would ever come.
    if os.getppid() != parent:
        os._exit(0)


def volunteer_for_oom() -> None:
    """Let the kernel, short of memory, take a model that can be loaded again before the daemon."""
    try:
        Path("/proc/self/oom_score_adj").write_text("500")
    except OSError:
        pass  # not Linux, or not allowed: a preference, not a need


def ignore_keyboard() -> None:
    """Ctrl-C reaches the whole terminal group; what it means for workers is the daemon's to say."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
