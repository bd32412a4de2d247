from __future__ import annotations

from routerd_client.protocol import Error, ErrorCode, Event, Route, RouteResult

from ...routing.decide import UnknownModelError
from ..services import Services


def route(services: Services, request: Route) -> Event:
    """Decide, and do nothing else."""
    try:
        decision, _ = services.dispatcher.decide(services.generation, request.chat, trace=request.trace)
    except UnknownModelError as error:
        return Error(id=request.id, code=ErrorCode.NOT_FOUND, message=str(error), hint=error.hint)
    return RouteResult(id=request.id, decision=decision)
