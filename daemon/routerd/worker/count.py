"""A counter: the tokenizer of a model that is not loaded, in a process of its own.

Importing mlx and transformers takes 75 MB, the tokenizer 14 bytes for each byte of its file: 130 MB in all for
one of 3.5 MB. No weights are read, and nothing is computed.
"""

from __future__ import annotations

import socket
import sys
from argparse import Namespace
from typing import TYPE_CHECKING, NoReturn

from ..models.errors import BrokenModelError
from ..wire import Count, LoadFailed
from .pipe import Inbox, Outbox, start_reader
from .serve import LOAD_FAILED, explain

if TYPE_CHECKING:
    from pathlib import Path

    from .counting import Counting


def count(arguments: Namespace) -> NoReturn:
    """Answer the counts that come on ``arguments.fd``. It ends with the socket, or with `Stop`.

    Exits with `LOAD_FAILED` after a `LoadFailed` where the tokenizer cannot be loaded.
    """
    sock = socket.socket(fileno=arguments.fd)
    inbox, outbox = Inbox(), Outbox(sock)
    # Before the slow imports: the daemon may end at any time.
    start_reader(sock, inbox)
    try:
        counting = _load(arguments.model)
    except BrokenModelError as exc:
        outbox.send(LoadFailed(message=str(exc), hint=exc.hint))
        outbox.flush()
        sys.exit(LOAD_FAILED)
    while True:
        message = inbox.get()
        if isinstance(message, Count):
            outbox.send(counting.answer(message))


def _load(folder: Path) -> Counting:
    from . import lm
    from .counting import Counting

    try:
        return Counting(lm.tokenizing(folder))
    except BrokenModelError:
        raise
    except Exception as exc:  # mlx_lm and transformers raise what they like at a folder they cannot take
        raise explain(exc) from exc
