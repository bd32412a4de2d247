"""One process at a time does a piece of work, whoever else wants it done."""

from __future__ import annotations

import fcntl
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio

from .. import disk

POLL_S = 0.1


@asynccontextmanager
async def locked(file: Path, *, timeout: float) -> AsyncIterator[int]:
    """Hold ``file``'s lock, made where missing; gives its descriptor.

    The kernel frees it when the process ends, however it ends, and those to which it passed the descriptor.
    Raises ``OSError`` where it cannot be made, ``TimeoutError`` after ``timeout`` seconds of waiting for another
    holder.
    """
    with anyio.CancelScope(shield=True):  # a descriptor that nobody waits for would never be closed
        descriptor = await disk.run(_open, file, what=file)
    try:
        with anyio.fail_after(timeout):
            # Tried again and again: a thread that blocks in flock could not be called back.
            while not _try_lock(descriptor):  # noqa: ASYNC110 - another process sets no event
                await anyio.sleep(POLL_S)
        yield descriptor
    finally:
        os.close(descriptor)


def _open(file: Path) -> int:
    file.parent.mkdir(parents=True, exist_ok=True)
    return os.open(file, os.O_RDWR | os.O_CREAT | os.O_NONBLOCK | os.O_CLOEXEC, 0o600)


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
