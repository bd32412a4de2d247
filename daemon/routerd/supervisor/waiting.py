"""Waiting for one of several facts, or a time."""

from __future__ import annotations

import anyio


async def wait_any(*events: anyio.Event, until: float | None = None) -> None:
    """Return when one of ``events`` is set or the loop's clock reaches ``until``, whichever is first."""
    async with anyio.create_task_group() as tasks:
        for event in events:
            tasks.start_soon(_cancel_after, event, tasks.cancel_scope)
        if until is not None:
            await anyio.sleep_until(until)
            tasks.cancel_scope.cancel()


async def _cancel_after(event: anyio.Event, scope: anyio.CancelScope) -> None:
    await event.wait()
    scope.cancel()
