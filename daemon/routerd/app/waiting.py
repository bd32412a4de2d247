"""A login agent whose routes.yaml is wrong when it starts: it says so to whoever asks, until the file is right."""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence
from pathlib import Path

import anyio
import structlog

from .. import disk
from ..config.load import ConfigFailedError
from ..config.places import Places
from ..server.claim import claim
from ..server.refusing import Refusing
from ..tasks import BackgroundTasks, FailureLog
from .compiled import compiled_file

log = structlog.get_logger()

LOOK_S = 0.5
AGAIN_S = 30.0
"""So often the file is read again though it has not changed: what it names may have."""
TOLD = 3


async def right_config(places: Places, given: Sequence[socket.socket], waiting: Callable[[], None]) -> None:
    """Return once routes.yaml can be used; meanwhile requests are answered with its mistakes. ``waiting`` is called
    when they are.

    Raises `SocketTakenError`.
    """
    while True:
        seen = await _seen(places.config)
        try:
            await compiled_file(places.config, places.state)
            return
        except ConfigFailedError as error:
            mistakes = [str(one) for one in error.errors]
        log.error("config.wrong", errors=mistakes)
        left = f" (and {len(mistakes) - TOLD} more)" if len(mistakes) > TOLD else ""
        message = f"routerd cannot begin, for its configuration is wrong: {'; '.join(mistakes[:TOLD])}{left}"
        hint = "correct the file: it is then loaded by itself"
        async with (
            disk.entered(claim(places.socket, given), what=places.socket),
            BackgroundTasks(FailureLog()) as tasks,
        ):
            await tasks.started("refuse requests", Refusing(places.socket, given, message, hint).run)
            waiting()
            await _changed(places.config, seen)


async def _changed(path: Path, seen: tuple[int, ...] | None) -> None:
    with anyio.move_on_after(AGAIN_S):
        while await _seen(path) == seen:  # noqa: ASYNC110 - a file tells nobody
            await anyio.sleep(LOOK_S)


async def _seen(path: Path) -> tuple[int, ...] | None:
    try:
        return await disk.run(_stamp, path, what=path)
    except OSError:  # its disk hangs: as if it were not there
        return None


def _stamp(path: Path) -> tuple[int, ...] | None:
    try:
        info = path.stat()
    except OSError:
        return None
    return info.st_ino, info.st_mtime_ns, info.st_size
