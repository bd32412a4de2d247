from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress

import anyio
from msgspec.structs import replace

from routerd_client.protocol import Event, Status

from ...store.writer import StoreError
from ..services import Services

LEDGER_S = 2.0
"""So long the ledger is waited for: who looks what is wrong with a slow disk is not to wait for it."""


async def status(
    services: Services, request: Status, _client: str, _respond: Callable[[Event], Awaitable[None]]
) -> Event:
    """The daemon's state, with fresh figures of memory and, where it gives them soon, those of the ledger."""
    await services.supervisor.measure()
    tiers = None
    with anyio.move_on_after(LEDGER_S), suppress(StoreError):  # what is wrong with the ledger is said there
        tiers = await services.ledger.tiers()
    return replace(services.status(), id=request.id, tiers=tiers)
