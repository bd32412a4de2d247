"""Putting back what is taken away from under a running daemon."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import anyio
import structlog

from .. import disk
from ..server.claim import Lock
from ..server.listener import Listener

log = structlog.get_logger()

LOOK_S = 2.0


async def keep_reachable(listener: Listener, locks: Sequence[Lock]) -> None:
    """Every `LOOK_S`, until cancelled: where the socket, a lock or their folder was deleted, make it anew.

    Raises `SocketTakenError` once another daemon has taken our place.
    """
    while True:
        await anyio.sleep(LOOK_S)
        try:
            lost = [str(lock.file.parent) for lock in locks if await disk.run(lock.renew, what=lock.file)]
            if not await listener.reachable():
                await listener.rebind()
                lost.append("socket")
        except OSError as error:
            log.warning("place.lost", error=str(error), retry_in_s=LOOK_S)
            continue
        if lost:
            log.warning("place.restored", lost=lost)


async def python_gone() -> None:
    """Return once the interpreter that runs us was removed, by an upgrade of it: no model could be started then."""
    program, missing = Path(sys.executable), 0
    while missing < 2:  # one look may fall into the moment of its replacement
        await anyio.sleep(LOOK_S)
        missing = 0 if await _there(program) else missing + 1
    log.error("python.gone", program=str(program))


async def _there(program: Path) -> bool:
    try:
        return await disk.run(program.exists, what=program)
    except OSError:
        return True  # its disk is stuck, which says nothing
