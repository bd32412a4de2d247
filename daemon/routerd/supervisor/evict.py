"""Which models make room for another: decided from numbers alone, carried out by the caller."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import Enum
from itertools import chain, combinations
from math import exp2, fsum

from msgspec import Struct

from ..config.units import format_size

EXACT_UP_TO = 12
"""So many idle models are searched exactly: 4096 sets. Beyond, a rule that is at most twice as dear."""


class Standing(Enum):
    """Whether a claim's model may go."""

    IDLE = "idle"
    BUSY = "busy"
    LOADING = "loading"
    PINNED = "pinned"


class Claim(Struct, frozen=True, kw_only=True):
    """The ``size`` in bytes that model ``name`` holds. ``load_s`` is what it took to load, ``uses`` how much it
    is wanted (see `Uses`), ``idle_since`` seconds of any one clock; these matter for an idle one only."""

    name: str
    size: int
    standing: Standing
    idle_since: float = 0.0
    load_s: float = 0.0
    uses: float = 0.0

    @property
    def cost(self) -> float:
        """Seconds of loading that evicting it is likely to cause."""
        return self.load_s * self.uses


class Uses(Struct):
    """Recent uses of one model: each counts 1 when it happens and half as much with every ``half_life_s``."""

    half_life_s: float = 900.0
    count: float = 0.0
    since: float = 0.0

    def add(self, now: float) -> None:
        self.count, self.since = self.at(now) + 1.0, now

    def at(self, now: float) -> float:
        """The count as it is at ``now``, not before the last `add`."""
        return self.count * exp2((self.since - now) / self.half_life_s)


class Fits(Struct, frozen=True):
    """There is room."""


class Evict(Struct, frozen=True):
    """There is room once the models ``names`` are gone."""

    names: tuple[str, ...]


class Wait(Struct, frozen=True):
    """There may be room once some of ``for_``, busy or loading, are idle: decide again then."""

    for_: tuple[str, ...]


class Refuse(Struct, frozen=True):
    """There can be no room; ``message`` has the numbers."""

    message: str


Decision = Fits | Evict | Wait | Refuse


def decide(name: str, wanted: int, claims: Iterable[Claim], budget: int | None) -> Decision:
    """How ``wanted`` bytes for ``name`` come to fit into ``budget`` (None: no limit) beside ``claims``.

    Only idle models are evicted, and no model needlessly: the set that costs least to bring back, of equal
    ones the smallest, then the longest idle. ``claims`` does not hold what ``name`` itself may hold already.
    """
    if budget is None:
        return Fits()
    claims = list(claims)
    short = wanted - budget + sum(claim.size for claim in claims)
    if short <= 0:
        return Fits()
    idle = [claim for claim in claims if claim.standing is Standing.IDLE]
    if sum(claim.size for claim in idle) >= short:
        return Evict(tuple(claim.name for claim in _cheapest(idle, short)))
    pinned = [claim for claim in claims if claim.standing is Standing.PINNED]
    if wanted + sum(claim.size for claim in pinned) > budget:
        return Refuse(_refusal(name, wanted, budget, pinned))
    return Wait(tuple(claim.name for claim in claims if claim.standing in (Standing.BUSY, Standing.LOADING)))


def too_large(name: str, wanted: int, budget: int) -> str:
    """Why ``wanted`` bytes for ``name`` have no room in ``budget``."""
    return f"{name} needs {format_size(wanted)} and models may take {format_size(budget)} together"


def _refusal(name: str, wanted: int, budget: int, pinned: Sequence[Claim]) -> str:
    message = too_large(name, wanted, budget)
    if pinned:
        held = format_size(sum(claim.size for claim in pinned))
        message += f", of which {held} are pinned by {', '.join(sorted(claim.name for claim in pinned))}"
    return message


def _cheapest(idle: Sequence[Claim], short: int) -> Sequence[Claim]:
    # One that holds nothing can free nothing, and would be in the way of a price for a byte.
    idle = sorted((claim for claim in idle if claim.size > 0), key=lambda claim: claim.idle_since)
    candidates = _every(idle) if len(idle) <= EXACT_UP_TO else _greedy(idle, short)
    return min((chosen for chosen in candidates if _size(chosen) >= short), key=_badness)


def _badness(chosen: Sequence[Claim]) -> tuple[float, int, float, int]:
    """Smaller is better. Leaving out a claim always makes it smaller, so the best set has none to spare."""
    return _cost(chosen), len(chosen), max(claim.idle_since for claim in chosen), _size(chosen)


def _every(idle: Sequence[Claim]) -> Iterable[Sequence[Claim]]:
    return chain.from_iterable(combinations(idle, count) for count in range(1, len(idle) + 1))


def _greedy(idle: Sequence[Claim], short: int) -> Iterable[Sequence[Claim]]:
    """Sets that free enough, the cheapest of them at most twice as dear as can be.

    The heuristic of Csirik, Frenk, Labbé and Zhang for the minimum knapsack (1991): by the price of a byte, take
    what does not suffice yet; everything that would is the end of a candidate, and not taken.
    """
    taken: list[Claim] = []
    for claim in sorted(idle, key=lambda claim: claim.cost / claim.size):
        if _size(taken) + claim.size < short:
            taken.append(claim)
        else:
            yield _without_spare([*taken, claim], short)


def _without_spare(chosen: list[Claim], short: int) -> list[Claim]:
    for claim in sorted(chosen, key=lambda claim: -claim.cost):
        if _size(chosen) - claim.size >= short:
            chosen.remove(claim)
    return chosen


def _size(chosen: Iterable[Claim]) -> int:
    return sum(claim.size for claim in chosen)


def _cost(chosen: Iterable[Claim]) -> float:
    return fsum(claim.cost for claim in chosen)
