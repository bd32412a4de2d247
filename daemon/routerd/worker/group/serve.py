"""The life of the worker's process: what must stand before anything slow, and how it ends."""

from __future__ import annotations

import os
import socket
import sys
import traceback
from argparse import Namespace
from typing import NoReturn

import anyio

from ..pipe import Inbox, Outbox, start_reader
from ..serve import LOAD_FAILED

LOST = 1
"""The exit code of a worker that has lost a rank."""


def serve(arguments: Namespace) -> NoReturn:
    """Run the group on ``arguments.fd``. It ends with the socket, with `Stop`, or with a rank.

    Leaving the process closes the launcher's standard input, and that ends launcher and ranks.
    """
    sock = socket.socket(fileno=arguments.fd)
    inbox, outbox = Inbox(), Outbox(sock)
    # Before the slow imports: the daemon may give up on this load at any time.
    start_reader(sock, inbox)
    from .run import run

    code = LOST
    try:
        if failed := anyio.run(run, arguments, inbox, outbox):
            outbox.send(failed)
            outbox.flush()
            code = LOAD_FAILED
    except Exception:
        traceback.print_exc()
    sys.stderr.flush()
    # Without waiting for the thread that waits for the daemon's next message.
    os._exit(code)
