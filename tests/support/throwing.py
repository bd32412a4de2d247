"""Errors thrown into running tasks, from where they wait: as if what they wait for had raised."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class ThrownError(Exception):
    """An error that no code expects."""


def waiting_tasks() -> dict[str, list[asyncio.Task[object]]]:
    """Return all tasks of the loop but the caller's, those of one name together."""
    found: dict[str, list[asyncio.Task[object]]] = {}
    for task in asyncio.all_tasks():
        if task is not asyncio.current_task():
            found.setdefault(task.get_name(), []).append(task)
    return found


def throw_into(task: asyncio.Task[object]) -> bool:
    """Raise `ThrownError` in ``task`` at its next step; false where it waits for nothing that can fail."""
    waiter: asyncio.Future[object] | None = getattr(task, "_fut_waiter", None)
    if waiter is None or waiter.done() or isinstance(waiter, asyncio.Task):
        return False
    waiter.set_exception(ThrownError("thrown by a test"))
    return True


@contextmanager
def late_results_ignored() -> Iterator[None]:
    """Ignore that a thread finds the future, for which a task waited, taken by `throw_into`."""
    loop = asyncio.get_running_loop()
    before = loop.get_exception_handler()

    def handle(_loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        if not isinstance(context.get("exception"), asyncio.InvalidStateError) and before:
            before(loop, context)

    loop.set_exception_handler(handle)
    try:
        yield
    finally:
        loop.set_exception_handler(before)
