"""What people are told of money and quotas."""

from __future__ import annotations

from collections.abc import Iterator

from routerd_client.protocol import BudgetResult
from routerd_client.records import BudgetLine, QuotaStatus

from ..spend.budget import TOTAL, Limit
from .purse import Purse


def budget(purse: Purse, now: float) -> BudgetResult:
    """All of it at ``now``, in seconds since 1970; its ``id`` is 0."""
    accounts = purse.accounts
    today = accounts.calendar.today(now)
    denied = accounts.denial((TOTAL,), 1, now)
    return BudgetResult(
        id=0,
        day=today.day,
        month=today.month,
        time_zone=str(accounts.calendar.zone or "this machine's"),
        allowed=denied is None,
        reason=str(denied or ""),
        lines=list(_lines(purse, now)),
        quotas=list(_quotas(purse, now)),
        prices=purse.prices_date,
        store=purse.store_mode,
    )


def _lines(purse: Purse, now: float) -> Iterator[BudgetLine]:
    accounts = purse.accounts
    today = accounts.calendar.today(now)
    for scope in accounts.scopes():
        limit = accounts.limits.get(scope, Limit())
        for period, most in ((today.day, limit.daily), (today.month, limit.monthly)):
            spent, reserved = accounts.spent(scope, period), accounts.reserved(scope, period)
            if spent or reserved or most is not None or scope == TOTAL:
                yield BudgetLine(
                    scope=scope,
                    period=period,
                    spent_microusd=spent,
                    reserved_microusd=reserved,
                    limit_microusd=most,
                    left_microusd=None if most is None else max(0, most - spent - reserved),
                )


def _quotas(purse: Purse, now: float) -> Iterator[QuotaStatus]:
    for backend, meters in purse.quotas.all():
        for meter in meters:
            yield QuotaStatus(
                backend=backend,
                per=meter.spec.per,
                unit=meter.unit,
                amount=meter.amount,
                used=meter.used(now),
                left=meter.left(now),
                resets_in_s=max(0.0, meter.resets_at(now) - now),
                pressure=meter.pressure(now),
            )
