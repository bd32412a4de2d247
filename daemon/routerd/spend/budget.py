"""Limits of spending, and the days and months they are for. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime, tzinfo
from typing import Literal

from msgspec import Struct

from ..config.budgets import BudgetsSpec
from .price import dollars, microusd

TOTAL = "total"
"""The scope of everything that is spent. Others are ``backend:NAME``, ``route:NAME`` and ``client:NAME``."""

Word = Literal["budget_daily", "budget_monthly", "budget_locked", "budget_unpriced"]


class Limit(Struct, frozen=True):
    """What may be spent in one scope, in micro-dollars a day and a month; None for no limit."""

    daily: int | None = None
    monthly: int | None = None


class Period(Struct, frozen=True):
    """A day (``2026-11-21``), and with it its month (``2026-11``)."""

    day: str

    @property
    def month(self) -> str:
        return self.day[:7]


class Denied(Struct, frozen=True):
    """Why money may not be spent. ``waits``: nothing is in the way but what open requests have reserved."""

    word: Word
    why: str
    waits: bool = False

    def __str__(self) -> str:
        return f"{self.word}: {self.why}"


class Calendar:
    """Which day it is where the user lives. Time never goes back in it: a clock that is set back opens no fresh day.
    ``zone`` None is this machine's."""

    def __init__(self, zone: tzinfo | None = None) -> None:
        self.zone = zone
        self.latest = 0.0
        """The latest moment that was ever said."""

    def __repr__(self) -> str:
        return f"<Calendar {self.day_of(self.latest).day} {self.zone or 'local'}>"

    def day_of(self, moment: float) -> Period:
        """The day of any moment."""
        return Period(datetime.fromtimestamp(moment, self.zone).date().isoformat())

    def moment(self, now: float) -> float:
        """``now``, or the latest that was ever said."""
        self.latest = max(self.latest, now)
        return self.latest

    def today(self, now: float) -> Period:
        return self.day_of(self.moment(now))

    def restart(self, now: float) -> Period:
        """Take ``now`` for true, whatever was said before."""
        self.latest = now
        return self.today(now)


def scopes(backend: str, route: str, client: str) -> tuple[str, ...]:
    """Those that a request counts in."""
    named = (("backend", backend), ("route", route), ("client", client))
    return (TOTAL, *(f"{kind}:{name}" for kind, name in named if name))


def limits(spec: BudgetsSpec) -> dict[str, Limit]:
    """The configuration's, by scope; none for scopes without a limit."""
    groups = (("backend", spec.backends), ("route", spec.routes), ("client", spec.clients))
    given = {TOTAL: spec, **{f"{kind}:{name}": one for kind, group in groups for name, one in group.items()}}
    found = {scope: Limit(_money(one.daily_usd), _money(one.monthly_usd)) for scope, one in given.items()}
    return {scope: limit for scope, limit in found.items() if limit != Limit()}


def _money(usd: float | None) -> int | None:
    return None if usd is None else microusd(usd)


class Position(Struct, frozen=True):
    """What is spent and reserved of one limit."""

    scope: str
    word: Word
    limit: int
    spent: int
    reserved: int

    @property
    def left(self) -> int:
        """What may still be reserved; never below 0."""
        return max(0, self.limit - self.spent - self.reserved)

    def denies(self, amount: int) -> Denied | None:
        """Why ``amount`` more is too much; None where it is not."""
        if amount <= self.limit - self.spent - self.reserved:
            return None
        when = "today" if self.word == "budget_daily" else "this month"
        where = "" if self.scope == TOTAL else f" by {self.scope.replace(':', ' ', 1)}"
        why = f"{dollars(self.spent)} of {dollars(self.limit)} spent {when}{where}"
        if self.reserved:
            why += f", {dollars(self.reserved)} reserved by open requests"
        if amount > 1:
            why += f"; {dollars(self.left)} is left, and this request may cost {dollars(amount)}"
        return Denied(self.word, why, waits=amount <= self.limit - self.spent)


def denied(positions: Iterable[Position], amount: int) -> Denied | None:
    """The first reason that is not mere waiting, else the first, else None."""
    found = list(_denials(positions, amount))
    return next((one for one in found if not one.waits), found[0] if found else None)


def _denials(positions: Iterable[Position], amount: int) -> Iterator[Denied]:
    for position in positions:
        if denial := position.denies(amount):
            yield denial
