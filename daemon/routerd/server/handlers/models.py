from __future__ import annotations

from collections.abc import Awaitable, Callable

import anyio

from routerd_client.protocol import Error, ErrorCode, Event, Models, ModelsResult, Progress

from ...health.failure import RULES
from ...supervisor.errors import ProcessFailedError
from ..services import Services

Respond = Callable[[Event], Awaitable[None]]


async def models(services: Services, request: Models, _client: str, respond: Respond) -> Event:
    """List the model processes; before that, load or unload one."""
    if request.action != "list":
        if services.supervisor.status(request.backend) is None:
            return _unknown(services, request)
        if error := await _ACTIONS[request.action](services, request, respond):
            return error
    await services.supervisor.measure()
    return ModelsResult(id=request.id, models=services.supervisor.statuses(anyio.current_time()))


async def _load(services: Services, request: Models, respond: Respond) -> Error | None:
    async def on_progress(phase: str, fraction: float | None, position: int | None) -> None:
        await respond(Progress(id=request.id, attempt=0, phase=phase, fraction=fraction, position=position))

    try:
        await services.supervisor.load(request.backend, on_progress)
    except ProcessFailedError as error:
        return Error(
            id=request.id,
            code=ErrorCode.CONFIG if error.permanent else RULES[error.kind].code,
            message=f"{request.backend}: {error.message}",
            hint=error.hint,
            retry_after=None if error.permanent else error.retry_after_s,
        )
    return None


async def _unload(services: Services, request: Models, _respond: Respond) -> Error | None:
    if await services.supervisor.unload(request.backend, force=request.force):
        return None
    return Error(
        id=request.id,
        code=ErrorCode.BUSY,
        message=f"{request.backend} is answering requests",
        hint="wait for them, or unload with --force and cut them off",
        retryable=True,
    )


async def _pin(services: Services, request: Models, _respond: Respond) -> Error | None:
    services.supervisor.pin(request.backend, pinned=request.action == "pin")
    return None


_ACTIONS = {"load": _load, "unload": _unload, "pin": _pin, "unpin": _pin}


def _unknown(services: Services, request: Models) -> Error:
    names = ", ".join(m.backend for m in services.supervisor.statuses(anyio.current_time()))
    return Error(
        id=request.id,
        code=ErrorCode.NOT_FOUND,
        message=f"there is no model process {request.backend!r}",
        hint=f"the backends are: {names}",
    )
