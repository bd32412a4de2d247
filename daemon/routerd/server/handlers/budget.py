from __future__ import annotations

import time
from collections.abc import Awaitable, Callable

from msgspec.structs import replace

from routerd_client.chat import Usage
from routerd_client.protocol import Budget, Error, ErrorCode, Event, RecordSpend, SetSpent

from ...dispatch.budget import budget as told
from ...spend.tariff import MOST_TOKENS
from ...store.writer import StoreError
from ..services import Services

MOST_MICROUSD = 10**15
"""Of one booking: a billion dollars. Sums of them stay within what a database can hold."""
_TOO_MUCH = f"more than {MOST_TOKENS} tokens or {MOST_MICROUSD // 10**6} dollars at once: is it in micro-dollars?"

Respond = Callable[[Event], Awaitable[None]]


def budget(services: Services, request: Budget | RecordSpend | SetSpent, _client: str) -> Event:
    """What was spent, and what may still be."""
    return replace(told(services.dispatcher.purse, time.time()), id=request.id)


async def record_spend(services: Services, request: RecordSpend, client: str, _respond: Respond) -> Event:
    """Book what was spent elsewhere."""
    purse, cost = services.dispatcher.purse, request.cost_microusd
    used = Usage(request.prompt_tokens, request.completion_tokens)
    if min(used.prompt_tokens, used.completion_tokens, cost or 0) < 0:
        return Error(id=request.id, code=ErrorCode.BAD_REQUEST, message="what was spent is less than nothing")
    if max(used.prompt_tokens, used.completion_tokens) > MOST_TOKENS or (cost or 0) > MOST_MICROUSD:
        return Error(id=request.id, code=ErrorCode.BAD_REQUEST, message=_TOO_MUCH)
    known = [*services.generation.config.backends, *purse.sellers]
    if request.provider not in known:
        message = f"'{request.provider}' is neither a backend nor known to sell models"
        return Error(id=request.id, code=ErrorCode.NOT_FOUND, message=message, hint=f"known are {', '.join(known)}")
    if cost is None:
        cost = purse.estimate(services.generation.tariffs, request.provider, request.model, used)
    if cost is None:
        message = f"what '{request.model}' of {request.provider} costs is not known"
        hint = "say what it cost (--usd), or give it a price in routes.yaml"
        return Error(id=request.id, code=ErrorCode.NOT_FOUND, message=message, hint=hint)
    try:
        await purse.record(request.provider, request.model, request.client, cost)
    except StoreError as error:
        return Error(id=request.id, code=ErrorCode.UNAVAILABLE, message=str(error))
    return budget(services, request, client)


async def set_spent(services: Services, request: SetSpent, client: str, _respond: Respond) -> Event:
    """Say what was spent so far."""
    if max(request.day_microusd, request.month_microusd) > MOST_MICROUSD:
        return Error(id=request.id, code=ErrorCode.BAD_REQUEST, message=_TOO_MUCH)
    try:
        await services.dispatcher.purse.set_spent(request.day_microusd, request.month_microusd)
    except ValueError as error:
        return Error(id=request.id, code=ErrorCode.BAD_REQUEST, message=str(error))
    return budget(services, request, client)
