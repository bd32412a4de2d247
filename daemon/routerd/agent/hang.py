"""Ending a daemon whose event loop hangs, so that its service manager starts another. launchd has no watchdog."""

from __future__ import annotations

import faulthandler
import os
import threading
from types import TracebackType

import anyio

HANG_S = 30.0
EXIT_HUNG = 70
LOOKS = 6
"""So many looks in a row that find the loop not turned are a hang. They are counted, and no clock is read:
a machine that slept, or a process that was stopped, wakes to one missed look."""


class HangGuard:
    """While the ``with`` lasts, a thread ends the process, with every thread's traceback on stderr and
    status `EXIT_HUNG`, once `feed` has not run for ``limit_s``."""

    def __init__(self, limit_s: float = HANG_S) -> None:
        self._step_s = limit_s / LOOKS
        self._turned = True
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, name="hang guard", daemon=True)

    def __enter__(self) -> HangGuard:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._over.set()
        self._thread.join()

    async def feed(self) -> None:
        """Runs on the loop that is guarded, until cancelled."""
        while True:
            self._turned = True
            await anyio.sleep(self._step_s / 2)

    def _look(self) -> None:
        missed = 0
        while not self._over.wait(self._step_s):
            missed = 0 if self._turned else missed + 1
            self._turned = False
            if missed >= LOOKS:
                os.write(2, b"routerd: the event loop hangs; ending, to be started again\n")
                faulthandler.dump_traceback(all_threads=True)
                os._exit(EXIT_HUNG)
