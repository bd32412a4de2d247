"""``routerd`` where no thread can be started, for as long as the file named first stands: a stack so large is not to
be had."""

from __future__ import annotations

import sys
import threading
import time
from pathlib import Path

from routerd.__main__ import main

HUGE = 2**46


def _watch(knob: Path) -> None:
    while True:
        threading.stack_size(HUGE if knob.exists() else 0)
        time.sleep(0.02)


if __name__ == "__main__":
    knob = Path(sys.argv.pop(1))
    threading.Thread(target=_watch, args=(knob,), daemon=True).start()
    if knob.exists():
        time.sleep(0.1)
    main()
