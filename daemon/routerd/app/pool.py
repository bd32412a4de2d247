"""The threads of libuv, started with the daemon: it ends the process where it cannot start them later."""

from __future__ import annotations

import asyncio
import os

import anyio

from ..config.threads import require_threads

_USUAL = 4
_WITHIN_S = 2.0


async def start_pool() -> None:
    """Have libuv start its threads, which look up names, by a look-up. Raises ``OSError`` where there are none."""
    size = os.environ.get("UV_THREADPOOL_SIZE", "")
    require_threads(int(size) if size.isdecimal() and 0 < int(size) <= 1024 else _USUAL)
    with anyio.move_on_after(_WITHIN_S):
        try:
            await asyncio.get_running_loop().getaddrinfo("localhost", None)
        except OSError:
            pass  # whatever it finds, they run
