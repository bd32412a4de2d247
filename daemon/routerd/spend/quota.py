"""What is left of what may be used in a span of time. Pure: a state machine that is told the time."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Mapping
from datetime import datetime, tzinfo
from typing import Literal

from msgspec import Struct

from ..config.schema import QuotaSpec
from .price import dollars, microusd
from .windows import SPANS, window

Unit = Literal["tokens", "requests", "usd"]
ANSWER_TOKENS = 1024
"""What an answer is taken to need where nobody bounds it."""
BYTES_A_TOKEN = 3
"""Of a prompt, before it is counted: rather too few than too many."""
_BUCKETS = 100
_NEAR = 0.01


class Use(Struct, frozen=True):
    """What a request used of its backend; ``cost`` in micro-dollars, as it would cost where nothing is prepaid."""

    tokens: int = 0
    requests: int = 0
    cost: int = 0

    def __add__(self, more: Use) -> Use:
        return Use(self.tokens + more.tokens, self.requests + more.requests, self.cost + more.cost)

    def __sub__(self, less: Use) -> Use:
        return Use(self.tokens - less.tokens, self.requests - less.requests, self.cost - less.cost)

    def of(self, unit: Unit) -> int:
        return self.cost if unit == "usd" else self.tokens if unit == "tokens" else self.requests


class Told(Struct, frozen=True):
    """What a provider says of one of its limits: what is ``left`` of ``limit``, and when it is full again.

    ``unit`` ``share``: of 1, in a window of ``window_s`` seconds. ``heard`` is when it was said, by a steady clock;
    ``resets_s`` is seconds from then.
    """

    unit: Literal["tokens", "requests", "share"]
    limit: float
    left: float
    resets_s: float | None = None
    window_s: float | None = None
    heard: float = 0.0


class Meter:
    """One quota of one backend. ``held`` is set aside for open requests."""

    def __init__(self, spec: QuotaSpec, zone: tzinfo | None) -> None:
        self.spec = spec
        self.unit: Unit = "tokens" if spec.tokens is not None else "requests" if spec.requests is not None else "usd"
        self.amount: int = spec.tokens or spec.requests or microusd(spec.usd or 0)
        self.span = SPANS[spec.per]
        self.held = 0
        self.loaded = False
        """Whether it knows what was used before."""
        self.heard = -math.inf
        """`Told.heard` of what its provider last said of it."""
        self.zone = zone
        self._starts = datetime.fromisoformat(spec.starts) if spec.starts else None
        self._begin = self._end = 0.0
        self._used = 0
        self._buckets: deque[tuple[float, float, int]] = deque()
        """Of a rolling window: when the first and the last of it came, and how much."""

    def __repr__(self) -> str:
        return f"<Meter {self._used} of {self.amount} {self.unit} per {self.spec.per}>"

    def used(self, now: float) -> int:
        if self.spec.window == "rolling":
            while self._buckets and self._buckets[0][1] <= now - self.span:
                self._used -= self._buckets.popleft()[2]
        elif now >= self._end:
            return 0
        return max(0, self._used)

    def add(self, amount: int, moment: float) -> None:
        """Used at ``moment``; moments come in their order, but for clocks that are set back."""
        self.used(moment)
        if self.spec.window == "rolling":
            self._roll(amount, moment)
            return
        if moment >= self._end:
            self._begin, self._end, self._used = *self._window(moment), 0
        self._used += amount

    def _roll(self, amount: int, moment: float) -> None:
        """Into the newest bucket, or one of its own; a bucket leaves the window with the last that came into it."""
        begin, last, there = self._buckets[-1] if self._buckets else (-math.inf, -math.inf, 0)
        if moment - begin < self.span / _BUCKETS:
            self._buckets[-1] = (begin, max(last, moment), there + amount)
        else:
            self._buckets.append((moment, moment, amount))
        self._used += amount

    def load(self, uses: Iterable[tuple[float, int]]) -> None:
        """What was used when, oldest first, in the place of what it knows."""
        self._begin = self._end = 0.0
        self._used = 0
        self._buckets.clear()
        for moment, amount in uses:
            self.add(amount, moment)
        self.loaded = True

    def left(self, now: float) -> int:
        return max(0, self.amount - self.used(now) - self.held)

    def resets_at(self, now: float) -> float:
        """When it is full again, or, rolling, when the first part of it comes back."""
        if self.spec.window == "rolling":
            self.used(now)
            return (self._buckets[0][1] if self._buckets else now) + self.span
        return self._end if now < self._end else self._window(now)[1]

    def pressure(self, now: float) -> float:
        """(left / quota) / (time left / window): above 1, more is left than the time that is left would use up."""
        share = self.left(now) / self.amount
        if self.spec.window == "rolling":
            return share
        begin, end = (self._begin, self._end) if now < self._end else self._window(now)
        return share / max((end - max(now, begin)) / (end - begin), 1e-6)

    def correct(self, left: float, resets_at: float | None, now: float) -> None:
        """The provider says that this is left."""
        used = round(self.amount - left)
        if self.spec.window == "rolling":
            self._buckets, self._used = deque([(now, now, used)]), used
            return
        if now >= self._end:
            self._begin, self._end = self._window(now)
        if resets_at is not None and now < resets_at <= now + self.span * 1.1:
            self._begin, self._end = resets_at - self.span, resets_at
        self._used = used

    def spent(self, now: float) -> str:
        """Why nothing is left; ``""`` where something is."""
        if self.left(now) > 0:
            return ""
        used, amount = self.used(now), self.amount
        what = f"{dollars(used)} of {dollars(amount)}" if self.unit == "usd" else f"{used} of {amount} {self.unit}"
        return f"{what} used in this {self.spec.per}"

    def _window(self, moment: float) -> tuple[float, float]:
        if self.spec.per == "5h" and self._starts is None:
            return moment, moment + self.span  # such a window begins with the first request in it
        return window(self.spec.per, moment, self.zone, self._starts)


class Quotas:
    """The one owner of what is used of quotas, by backend."""

    def __init__(self) -> None:
        self._meters: dict[str, list[Meter]] = {}
        self._held: dict[str, Use] = {}
        """What is set aside, by backend; meters come and go with reloads."""

    def __repr__(self) -> str:
        return f"<Quotas {self._meters}>"

    def configure(self, specs: Mapping[str, tuple[QuotaSpec, ...]], zone: tzinfo | None) -> list[str]:
        """Have these quotas; meters that stay keep their state. Returns backends with new ones, to `load`."""
        new = []
        before, self._meters = self._meters, {}
        for backend, quotas in specs.items():
            known = {meter.spec: meter for meter in before.get(backend, ()) if meter.zone == zone}
            self._meters[backend] = [known.get(quota) or Meter(quota, zone) for quota in quotas]
            self._set_aside(backend, self._held.get(backend, Use()))
            if not all(quota in known for quota in quotas):
                new.append(backend)
        return new

    def forget(self) -> list[str]:
        """Have every meter `load` anew what was used. Returns their backends."""
        for meters in self._meters.values():
            for meter in meters:
                meter.loaded = False
        return list(self._meters)

    def load(self, backend: str, uses: Iterable[tuple[float, Use]]) -> None:
        """All that was used of ``backend`` so far, oldest first: for meters that do not know what was before them."""
        known = list(uses)
        for meter in self._meters.get(backend, ()):
            if not meter.loaded:
                meter.load((moment, use.of(meter.unit)) for moment, use in known)

    def all(self) -> list[tuple[str, list[Meter]]]:
        return list(self._meters.items())

    def meters(self, backend: str) -> list[Meter]:
        return self._meters.get(backend, [])

    def pressure(self, backend: str, now: float) -> float | None:
        """The least of its quotas; None where it has none."""
        return min((meter.pressure(now) for meter in self.meters(backend)), default=None)

    def spent(self, backend: str, now: float) -> str:
        """Why ``backend`` may not be asked; ``""`` where something is left of all its quotas."""
        return next((f"quota_spent: {why}" for meter in self.meters(backend) if (why := meter.spent(now))), "")

    def hold(self, backend: str, use: Use, now: float) -> str:
        """Set ``use`` aside, and return ``""``, or why not. What is larger than a whole quota may have it alone."""
        for meter in self.meters(backend):
            taken = meter.used(now) + meter.held
            if taken and taken + use.of(meter.unit) > meter.amount:
                return f"quota_spent: {taken} of {meter.amount} {meter.unit} a {meter.spec.per} are used or set aside"
        self._set_aside(backend, self._held.get(backend, Use()) + use)
        return ""

    def let_go(self, backend: str, held: Use, used: Use, now: float) -> None:
        """A request that had ``held`` came to ``used``."""
        self._set_aside(backend, self._held.get(backend, Use()) - held)
        for meter in self.meters(backend):
            if amount := used.of(meter.unit):
                meter.add(amount, now)

    def _set_aside(self, backend: str, held: Use) -> None:
        self._held[backend] = held
        for meter in self.meters(backend):
            meter.held = held.of(meter.unit)

    def correct(self, backend: str, told: Iterable[Told], now: float, steady: float) -> None:
        """Take what its provider says for true, where it speaks of one of its quotas: not what it said before
        something else that is known already, nor of a window that has ended since. ``steady`` is ``now`` by the clock
        of `Told.heard`."""
        for item in told:
            resets_at = None if item.resets_s is None else now - (steady - item.heard) + item.resets_s
            if resets_at is not None and resets_at < now:
                continue
            for meter in self.meters(backend):
                if _speaks_of(item, meter) and item.heard >= meter.heard:
                    meter.heard = item.heard
                    meter.correct(item.left / item.limit * meter.amount, resets_at, now)


def _speaks_of(told: Told, meter: Meter) -> bool:
    if told.limit <= 0:
        return False
    if told.unit == "share":
        return told.window_s is not None and abs(told.window_s - meter.span) <= _NEAR * meter.span
    return told.unit == meter.unit and abs(told.limit - meter.amount) <= _NEAR * meter.amount
