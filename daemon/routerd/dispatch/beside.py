"""Work that takes a while, done beside the event loop."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import structlog
from anyio import to_thread

log = structlog.get_logger()

T = TypeVar("T")


async def beside_loop(work: Callable[[], T]) -> T:
    """Return what ``work`` returns, done in a thread; on the loop where the system gives no more threads. Raises what
    it raises. ``work`` must be such that it may begin twice."""
    try:
        return await to_thread.run_sync(work)
    except RuntimeError as error:
        if "new thread" not in str(error):
            raise
        log.warning("threads.none_left", error=str(error))
    return work()
