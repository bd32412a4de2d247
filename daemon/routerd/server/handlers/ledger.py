"""What is asked of the ledger."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from msgspec.structs import replace

from routerd_client.protocol import (
    Decisions,
    DecisionsResult,
    Error,
    ErrorCode,
    Event,
    Feedback,
    Noted,
    Show,
    ShowResult,
    Stats,
)

from ...store.writer import StoreError
from ..services import Services

NO_ROUTES = ("(default)", "(request)", "(session)")
"""What stands in a route's place where none led to the endpoint."""

Respond = Callable[[Event], Awaitable[None]]


async def decisions(services: Services, request: Decisions, _client: str, _respond: Respond) -> Event:
    """The newest chats."""
    try:
        chats = await services.ledger.decisions(request)
        if not chats and (stranger := await _stranger(services, request)):
            return stranger
        return DecisionsResult(id=request.id, chats=chats)
    except LookupError:
        return _unknown(services, request.id, request.before)
    except StoreError as error:
        return _unread(request.id, error)


async def show(services: Services, request: Show, _client: str, _respond: Respond) -> Event:
    """One chat."""
    try:
        chat = await services.ledger.story(request.request_id)
    except LookupError as several:
        message = f"several requests begin with {request.request_id!r}"
        return Error(id=request.id, code=ErrorCode.NOT_FOUND, message=message, hint=f"such as {several}")
    except StoreError as error:
        return _unread(request.id, error)
    return ShowResult(id=request.id, chat=chat) if chat else _unknown(services, request.id, request.request_id)


async def feedback(services: Services, request: Feedback, _client: str, _respond: Respond) -> Event:
    """Take in what somebody says of an answer."""
    if not 0 <= request.score <= 1:
        return Error(
            id=request.id,
            code=ErrorCode.BAD_REQUEST,
            message=f"score is {request.score:g}; it must be from 0 (bad) to 1 (good)",
        )
    try:
        await services.feedback(request)
    except LookupError:
        return _unknown(services, request.id, request.request_id)
    except StoreError as error:
        return _unread(request.id, error)
    return Noted(id=request.id)


async def stats(services: Services, request: Stats, _client: str, _respond: Respond) -> Event:
    """Figures."""
    try:
        return replace(await services.ledger.stats(request), id=request.id)
    except StoreError as error:
        return _unread(request.id, error)


async def _stranger(services: Services, asked: Decisions) -> Error | None:
    """Says of a name that it is in neither configuration nor ledger; None where there is no such name."""
    generation = services.generation
    routes = [*(route.name for route in generation.table.routes), *NO_ROUTES]
    by_backend = Decisions(id=0, backend=asked.backend, limit=1)
    by_route = Decisions(id=0, route=asked.route, limit=1)
    for what, name, known, alone in (
        ("backend", asked.backend, list(generation.backends), by_backend),
        ("route", asked.route, routes, by_route),
    ):
        if name and name not in known and not await services.ledger.decisions(alone):
            message = f"there is no {what} {name!r}, and the ledger knows of none"
            return Error(id=asked.id, code=ErrorCode.NOT_FOUND, message=message, hint=f"known are {', '.join(known)}")
    return None


def _unknown(services: Services, id_: int, request_id: str) -> Error:
    status = services.ledger.status()
    message, hint = f"the ledger has no request {request_id!r}", "routerctl decisions lists the newest"
    if status.mode == "memory":
        message += " while it is in memory"
        hint = f"what {status.file} has is told as far as it can be read: {status.reason}"
    return Error(id=id_, code=ErrorCode.NOT_FOUND, message=message, hint=hint)


def _unread(id_: int, error: StoreError) -> Error:
    hint = "routerctl status shows the ledger's state"
    return Error(id=id_, code=ErrorCode.UNAVAILABLE, message=str(error), hint=hint, retryable=True)
