"""``python -m routerd.worker.group.launch HOSTFILE-TEXT OPTION...``: `mlx.launch`, and its lifeline.

The launcher outlives whoever started it, and so do its ranks. So this watches its own standard
input: when that ends, the worker at its other end is gone, however it went, and the whole process
group is killed.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from importlib.metadata import entry_points


def main() -> None:
    threading.Thread(target=_end_with, args=(_own_stdin(),), name="lifeline", daemon=True).start()
    hostfile, *options = sys.argv[1:]
    sys.argv = ["mlx.launch", "--hostfile", _as_file(hostfile), *options]
    (program,) = entry_points(group="console_scripts", name="mlx.launch")
    program.load()()


def _own_stdin() -> int:
    """Standard input, with a silent one in its place: the launcher reads its own, and passes it to the ranks."""
    lifeline = os.dup(0)
    silent, _open_for_ever = os.pipe()
    os.dup2(silent, 0)
    return lifeline


def _end_with(lifeline: int) -> None:
    while os.read(lifeline, 1):
        pass
    os.killpg(0, signal.SIGKILL)


def _as_file(text: str) -> str:
    """A path from which ``text`` can be read once: nothing is left behind by a launcher that is killed."""
    source, sink = os.pipe()
    with open(sink, "w") as file:  # noqa: PTH123 - a descriptor is no path
        file.write(text)
    return f"/dev/fd/{source}"


if __name__ == "__main__":
    main()
