"""Downloading a model of the hub, seen from the process that wants it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import msgspec
from msgspec import Struct

from . import child
from .errors import PrepareError

COMMAND = (sys.executable, "-m", "routerd.models.fetch")


class Line(Struct, frozen=True, omit_defaults=True):
    """What the downloading process says: ``done`` of ``total`` bytes, and last the ``path`` or the ``error``."""

    done: int = 0
    total: int = 0
    path: str = ""
    error: str = ""
    hint: str = ""


async def download(name: str, revision: str, progress: Callable[[str, float | None], None], *, hold: int) -> Path:
    """Have a process download ``name`` and return its folder; at once where nothing is missing of it.

    The process keeps ``hold``, the descriptor of a held lock, open: should this one be killed, nobody
    else begins before that one has noticed. Cancelling kills it; what it has is kept for the next
    time, and does not look whole. Raises `PrepareError`.
    """
    last = Line()

    def on_line(text: str) -> None:
        nonlocal last
        last = msgspec.json.decode(text, type=Line)
        if last.total:
            progress("download", last.done / last.total)

    progress("download", None)
    command = [*COMMAND, *(["--revision", revision] if revision else []), "--", name]
    said = await child.run(command, on_line, pass_fds=(hold,))
    if last.path:
        return Path(last.path)
    raise PrepareError(
        last.error or f"{name} cannot be downloaded: {(said or 'no reason given').splitlines()[-1]}", last.hint
    )
