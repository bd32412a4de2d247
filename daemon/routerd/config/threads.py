"""A check that threads can be started, for libraries that end the process where they cannot."""

from __future__ import annotations

import errno
import os
import threading


def require_threads(count: int) -> None:
    """Raise ``OSError`` (EAGAIN) where ``count`` more threads cannot be started now."""
    end = threading.Event()
    started: list[threading.Thread] = []
    try:
        for _ in range(count):
            thread = threading.Thread(target=end.wait, name="probe", daemon=True)
            thread.start()
            started.append(thread)
    except RuntimeError:
        raise OSError(errno.EAGAIN, f"no more threads: {os.strerror(errno.EAGAIN)}") from None
    finally:
        end.set()
        for thread in started:
            thread.join()
