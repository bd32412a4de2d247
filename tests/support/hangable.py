"""``routerd``, but SIGWINCH hangs its event loop for good."""

from __future__ import annotations

import signal
import time
from types import FrameType

from routerd.__main__ import main


def hang(_signal: int, _frame: FrameType | None) -> None:
    while True:  # as a loop does that never awaits
        time.sleep(0.05)


if __name__ == "__main__":
    signal.signal(signal.SIGWINCH, hang)
    main()
