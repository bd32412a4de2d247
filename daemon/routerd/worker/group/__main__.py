"""``python -m routerd.worker.group``: run a model over several machines, on a socket of the daemon.

Exit codes: 0 the daemon said so or is gone, 1 a rank is lost, 2 wrong arguments, 3 the model cannot be used.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from .. import lifeline
from ..__main__ import stay_local


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m routerd.worker.group")
    parser.add_argument("--fd", type=int, required=True, help="the worker's end of a socketpair")
    parser.add_argument("--parent", type=int, required=True, help="the daemon's process id")
    parser.add_argument("--model", type=Path, required=True, help="a folder, at the same path on every machine")
    parser.add_argument("--host", action="append", required=True, dest="hosts", help="one a rank, this machine first")
    parser.add_argument("--context", type=int, help="cap on prompt and answer together, in tokens")
    parser.add_argument("--max-tokens", type=int, default=4096, help="an answer's cap where none is asked for")
    parser.add_argument("--concurrency", type=int, default=8, help="answers decoded together")
    parser.add_argument("--kv-tokens", type=int, default=16384, help="tokens all answers may hold together")
    parser.add_argument("--kv-pool", type=int, default=0, help="bytes of all KV caches and kept prompts; 0 keeps none")
    parser.add_argument("--quiet-after", type=float, default=10.0, help="seconds of silence until it is asked for life")
    return parser.parse_args(arguments)


def main() -> None:
    arguments = parse()
    stay_local()
    lifeline.ignore_keyboard()
    lifeline.bind_to_parent(arguments.parent)
    lifeline.volunteer_for_oom()
    if os.getpgrp() != os.getpid():
        os.setpgid(0, 0)  # the end of this worker is the end of its whole group
    from .serve import serve

    serve(arguments)


if __name__ == "__main__":
    main()
