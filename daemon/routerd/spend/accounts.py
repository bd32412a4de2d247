"""The books: what is spent and reserved, by scope, day and month. Pure: a state machine that is told the time."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping

from msgspec import Struct
from msgspec.structs import replace

from .budget import TOTAL, Calendar, Denied, Limit, Period, Position, Word, denied


class Reservation(Struct, frozen=True):
    """Money set aside before it may be spent, for the day on which that was."""

    id: str
    scopes: tuple[str, ...]
    amount: int
    period: Period


class Entry(Struct, frozen=True):
    """What a ledger says of one piece of spending: at ``time``, in ``scopes``; those it names are all it counts in."""

    time: float
    scopes: tuple[str, ...]
    amount: int


EVERY = "*"
"""As a scope of an entry: it counts in the total, and in all that have a limit."""
REMEDY = "say what was spent: routerctl budget set-spent"
MOST = 1000
"""Scopes that a day, or a month, is kept for each by itself: clients give themselves what names they like. Those with
a limit always are; of further ones there is one sum for each kind."""
GRACE_S = 2 * 86_400.0
"""So long after its end a period is kept for all its scopes: what time zone days are in may change."""


class Accounts:
    """The one owner of what may be spent. ``locked`` is why nothing may be, ``""`` where it may.

    Spent and reserved money counts on the day of its reservation. At no moment is the sum of both beyond a limit,
    unless what was settled was more than its reservation, or a limit was lowered.
    """

    def __init__(self, calendar: Calendar, limits: Mapping[str, Limit]) -> None:
        self.calendar = calendar
        self.limits = dict(limits)
        self.locked = ""
        self.open: dict[str, Reservation] = {}
        self._spent: dict[str, dict[str, int]] = {}
        """By period and scope."""
        self._reserved: defaultdict[tuple[str, str], int] = defaultdict(int)

    def __repr__(self) -> str:
        return f"<Accounts {len(self.limits)} limits {len(self.open)} open{' locked' if self.locked else ''}>"

    def limit(self, limits: Mapping[str, Limit]) -> None:
        """Have these limits. What was spent in a scope that had none, and was not kept by itself, is taken to be all
        that was so spent in its kind."""
        for scope in limits.keys() - self.limits.keys():
            for totals in self._spent.values():
                if scope not in totals and (others := totals.get(_others(scope))):
                    totals[scope] = others
        self.limits = dict(limits)

    def forget(self) -> None:
        """Know nothing of what was spent, to `load` it anew."""
        self._spent.clear()

    def load(self, entries: Iterable[Entry]) -> None:
        """What a ledger says was spent. From now on it is no earlier than the newest of it, whatever the clock says."""
        for entry in entries:
            self.calendar.today(entry.time)
            self._add(entry.scopes, self.calendar.day_of(entry.time), entry.amount)

    def scopes(self) -> list[str]:
        """Those with a limit, or with anything spent or reserved; the total first."""
        known = {scope for scope, _ in self._reserved}.union(self.limits, *self._spent.values())
        return [TOTAL, *sorted(known - {TOTAL, EVERY})]

    def spent(self, scope: str, period: str) -> int:
        """Micro-dollars spent in a scope on a day (``2026-11-21``) or in a month (``2026-11``)."""
        totals = self._spent.get(period, {})
        counts = scope == TOTAL or scope in self.limits
        return totals.get(scope, 0) + (totals.get(EVERY, 0) if counts else 0)

    def reserved(self, scope: str, period: str) -> int:
        return self._reserved.get((scope, period), 0)

    def guards(self, scopes: Iterable[str]) -> bool:
        """Whether anything may forbid spending in ``scopes``."""
        return bool(self.locked) or any(scope in self.limits for scope in scopes)

    def positions(self, scopes: Iterable[str], now: float) -> list[Position]:
        """Where each limit of ``scopes`` stands."""
        period = self.calendar.today(now)
        found = []
        for scope in scopes:
            limit = self.limits.get(scope, Limit())
            if limit.daily is not None:
                found.append(self._position(scope, "budget_daily", limit.daily, period.day))
            if limit.monthly is not None:
                found.append(self._position(scope, "budget_monthly", limit.monthly, period.month))
        return found

    def closed(self) -> Denied | None:
        """Why nothing may be spent while ``locked``, and what to do; None where it is not."""
        return Denied("budget_locked", f"{self.locked}; {REMEDY}") if self.locked else None

    def denial(self, scopes: Iterable[str], amount: int, now: float) -> Denied | None:
        """Why ``amount`` may not be reserved now; None where it may."""
        return self.closed() or denied(self.positions(scopes, now), amount)

    def reserve(self, id_: str, scopes: tuple[str, ...], amount: int, now: float) -> Reservation | Denied:
        """Set ``amount`` aside, unless a limit forbids it. ``id_`` is unique."""
        assert id_ not in self.open
        if denial := self.denial(scopes, amount, now):
            return denial
        reservation = Reservation(id_, scopes, amount, self.calendar.today(now))
        self.open[id_] = reservation
        self._move(reservation, amount)
        return reservation

    def settle(self, id_: str, amount: int) -> None:
        """It cost ``amount``, all that was reserved where nobody knows; what was reserved beyond that is free again.

        Raises ``KeyError`` where the reservation is not open, as `release` does.
        """
        reservation = self.release(id_)
        self._add(reservation.scopes, reservation.period, amount)

    def release(self, id_: str) -> Reservation:
        """Nothing was spent of it."""
        reservation = self.open.pop(id_)
        self._move(reservation, -reservation.amount)
        return reservation

    def record(self, scopes: tuple[str, ...], amount: int, now: float) -> None:
        """Spent elsewhere, or a correction (then it may be negative); no limit is asked."""
        self._add(scopes, self.calendar.today(now), amount)

    def restart(self, now: float) -> None:
        """Open what is locked, and take ``now`` for true: what was spent or reserved on days to come was so today."""
        self.locked = ""
        today = self.calendar.restart(now)
        for period, totals in list(self._spent.items()):
            if period > today.day and len(period) == len(today.day):
                for scope, amount in list(totals.items()):
                    self._add([scope], today, amount)
                    self._add([scope], Period(period), -amount)
        for id_, reservation in list(self.open.items()):
            if reservation.period.day > today.day:
                self.release(id_)
                self.open[id_] = replace(reservation, period=today)
                self._move(self.open[id_], reservation.amount)

    def _position(self, scope: str, word: Word, limit: int, period: str) -> Position:
        return Position(scope, word, limit, self.spent(scope, period), self.reserved(scope, period))

    def _add(self, scopes: Iterable[str], period: Period, amount: int) -> None:
        if not amount:
            return
        for name in (period.day, period.month):
            if name not in self._spent:
                self._clear_up()
            totals = self._spent.setdefault(name, {})
            for scope in scopes:
                kept = scope if scope in totals or scope in self.limits or len(totals) < MOST else _others(scope)
                totals[kept] = totals.get(kept, 0) + amount

    def _clear_up(self) -> None:
        """Drop what no limit can ask for again. Scopes with one keep their days: a clock may turn out to be wrong."""
        oldest = self.calendar.day_of(self.calendar.latest - GRACE_S).day
        for period, totals in self._spent.items():
            if period < oldest[: len(period)]:
                kept = {TOTAL, EVERY, *self.limits}
                self._spent[period] = {scope: amount for scope, amount in totals.items() if scope in kept}

    def _move(self, reservation: Reservation, amount: int) -> None:
        for scope in reservation.scopes:
            for period in (reservation.period.day, reservation.period.month):
                self._reserved[scope, period] += amount
                if not self._reserved[scope, period]:
                    del self._reserved[scope, period]


def _others(scope: str) -> str:
    """Where ``scope`` counts that is not kept by itself: ``client:(others)``."""
    kind, colon, _ = scope.partition(":")
    return f"{kind}:(others)" if colon else scope
