from __future__ import annotations

from routerd_client.protocol import Error, ErrorCode, Event, Route, RouteResult

from ...dispatch.run import Call
from ...routing import bounds
from ...routing.decide import UnknownModelError
from ...routing.sentinels import without_sentinels
from ..services import Services


def route(services: Services, request: Route, client: str) -> Event:
    """Decide, and do nothing else."""
    try:
        bounds.check(request.chat)
        client = request.client or client
        call = Call(request.id, services.new_request_id(), without_sentinels(request.chat), client=client)
        decided = services.dispatcher.decide(services.generation, call, trace=request.trace)
    except bounds.BadChatError as error:
        return Error(id=request.id, code=ErrorCode.BAD_REQUEST, message=str(error))
    except UnknownModelError as error:
        return Error(id=request.id, code=ErrorCode.NOT_FOUND, message=str(error), hint=error.hint)
    return RouteResult(id=request.id, decision=decided.decision)
