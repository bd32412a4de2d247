"""How an endpoint orders its targets. Pure. A new strategy is a class here, its key in
`config.strategy`, and a line in `compile_strategy`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Protocol

from msgspec import Struct

from ..config.strategy import AbSpec, Share, StrategySpec, Target
from .view import Asking


class Item(Struct, frozen=True):
    """A backend in an endpoint's order, and why it stands there.

    ``rank`` grows with strength where the strategy knows of any: a session moves up, never down.
    ``chosen``: another request might be given another one, so a session keeps to it. ``judge``: its answer
    is judged, and passed over where the judge is surer than this that the next would do better.
    """

    backend: str
    reason: str
    rank: int = 0
    chosen: bool = False
    drained: bool = False
    judge: float | None = None


class Strategy(Protocol):
    """Backends in the order to try. May name one twice; the first time counts."""

    def order(self, asking: Asking, /) -> Iterable[Item]: ...


class Fixed(Struct, frozen=True):
    """A backend, or a fallback of backends: the same for every request, so it is made once."""

    items: tuple[Item, ...]

    def order(self, _asking: Asking, /) -> Iterable[Item]:
        return self.items


def single(backend: str) -> Strategy:
    """A backend."""
    return Fixed((Item(backend, _ALONE),))


def fallback(targets: tuple[Strategy, ...]) -> Strategy:
    """The targets in their written order."""
    if len(targets) == 1:
        return targets[0]
    fixed = [target.items for target in targets if isinstance(target, Fixed)]
    if len(fixed) < len(targets):
        return Fallback(targets)
    return Fixed(tuple(item for i, items in enumerate(fixed) for item in _said(items, _place(i))))


class Fallback(Struct, frozen=True):
    """The targets in their written order."""

    targets: tuple[Strategy, ...]

    def order(self, asking: Asking) -> Iterator[Item]:
        for i, target in enumerate(self.targets):
            yield from _said(target.order(asking), _place(i))


class Then(Struct, frozen=True):
    """What follows when all of another strategy have failed."""

    first: Strategy
    last: Strategy

    def order(self, asking: Asking) -> Iterator[Item]:
        yield from self.first.order(asking)
        yield from _said(self.last.order(asking), "when the others have failed")


class Balance(Struct, frozen=True):
    """The least busy first; in written order among equals."""

    targets: tuple[Strategy, ...]

    def order(self, asking: Asking) -> Iterator[Item]:
        ordered = [(target, list(target.order(asking))) for target in self.targets]
        loads = [min((asking.view.busy(item.backend) for item in items), default=0.0) for _, items in ordered]
        for i in sorted(range(len(ordered)), key=loads.__getitem__):
            yield from _said(ordered[i][1], f"{loads[i]:.0%} busy", chosen=True)


class Weighted(Struct, frozen=True):
    """By chance: each place goes to one of those left, in the shares of their weights."""

    targets: tuple[tuple[Strategy, float], ...]

    def order(self, asking: Asking) -> Iterator[Item]:
        left = [(target, weight) for target, weight in self.targets if weight > 0]
        while left:
            total = sum(weight for _, weight in left)
            drawn = asking.chance.random() * total
            i = 0
            while i < len(left) - 1 and drawn >= left[i][1]:
                drawn -= left[i][1]
                i += 1
            target, weight = left.pop(i)
            yield from _said(target.order(asking), f"drawn by weight {weight:g} of {total:g}", chosen=True)
        for target, weight in self.targets:
            if weight <= 0:
                for item in target.order(asking):
                    yield Item(item.backend, "drained (weight 0)", drained=True)


class Headroom(Struct, frozen=True):
    """What is paid for goes first: the quota that is fullest for the time it has left. See `_POLICIES`."""

    targets: tuple[Strategy, ...]
    billing: dict[str, str]
    floor: float = 0.0
    policy: str = "burn"

    def order(self, asking: Asking) -> Iterator[Item]:
        policy = asking.policy or self.policy
        items = [item for target in self.targets for item in target.order(asking)]
        weighed = [(self._key(item, asking, policy), i) for i, item in enumerate(items)]
        for _, i in sorted(weighed):
            yield _reason(items[i], self._why(items[i].backend, asking), chosen=True)

    def _key(self, item: Item, asking: Asking, policy: str) -> tuple[bool, int, float]:
        quality = asking.view.quality(item.backend)
        poor = quality is not None and quality < self.floor
        if policy == "fixed":
            return poor, 0, 0.0
        billing = self.billing.get(item.backend, "local")
        pressure = asking.view.pressure(item.backend)
        return poor, _POLICIES[policy].index(billing), -(1.0 if pressure is None else pressure)

    def _why(self, backend: str, asking: Asking) -> str:
        pressure, quality = asking.view.pressure(backend), asking.view.quality(backend)
        said = self.billing.get(backend, "local")
        said += "" if pressure is None else f", quota left for the time left {pressure:.2f}"
        return said + (
            f", quality {quality:.2f} under {self.floor:g}" if quality is not None and quality < self.floor else ""
        )


_POLICIES = {"burn": ("prepaid", "local", "metered"), "frugal": ("local", "prepaid", "metered")}


class ByComplexity(Struct, frozen=True):
    """The band of the newest ask's score, then the bands above it."""

    bands: tuple[tuple[float | None, Strategy], ...]
    abstain: Strategy | None
    classifier: str
    upward: bool = True
    ab: AbSpec | None = None

    def order(self, asking: Asking) -> Iterator[Item]:
        if self.ab:
            asking.variant = "b" if asking.chance.random() < self.ab.share else "a"
            limit = self.ab.below[asking.variant == "b"]
            drawn = ByComplexity(
                ((limit, self.bands[0][1]), *self.bands[1:]), self.abstain, self.classifier, self.upward
            )
            yield from _said(drawn.order(asking), f"variant {asking.variant}")
            return
        score = asking.score(self.classifier)
        if asking.features.ask.housekeeping:
            at, said = 0, "housekeeping of the client's"
        elif score.fired:
            at = next(
                (i for i, (below, _) in enumerate(self.bands) if below is None or score.value < below), len(self.bands)
            )
            said = f"complexity {score.value:.2f}"
        else:
            at, said = 0, "no sign of complexity"
            if self.abstain is not None:
                yield from _said(self.abstain.order(asking), said, chosen=True)
        last = len(self.bands) if self.upward else at + 1
        for rank in range(at, last):
            why = f"{said}: {self._name(rank)}" if rank == at else f"stronger than {self._name(at)}"
            yield from _said(self.bands[rank][1].order(asking), why, rank=rank, chosen=True)

    def _name(self, rank: int) -> str:
        below = self.bands[rank][0]
        if below is not None:
            return f"below {below:g}"
        under = self.bands[rank - 1][0] if rank else None
        return "any" if under is None else f"{under:g} or more"


class Cascade(Struct, frozen=True):
    """In written order; each answer but the last's is judged before it counts."""

    targets: tuple[Strategy, ...]
    judge: float

    def order(self, asking: Asking) -> Iterator[Item]:
        for i, target in enumerate(self.targets):
            judge = self.judge if i < len(self.targets) - 1 else None
            said = "answers first, and is judged" if i == 0 else f"where the answers before it are weak ({i})"
            yield from _said(target.order(asking), said, rank=i, chosen=True, judge=judge)


class Adaptive(Struct, frozen=True):
    """Thompson sampling: each target draws from what its answers came to (a Beta distribution of good and bad
    ones), the best draw first. With probability ``floor`` times their number, chance alone decides."""

    targets: tuple[Strategy, ...]
    floor: float

    def order(self, asking: Asking) -> Iterator[Item]:
        chance = asking.chance
        ordered = [list(target.order(asking)) for target in self.targets]
        explores = chance.random() < self.floor * len(ordered)
        draws = []
        for items in ordered:
            good, bad = asking.view.outcomes(items[0].backend) if items else (0.0, 0.0)
            draws.append(chance.random() if explores else chance.betavariate(1 + good, 1 + bad))
        for i in sorted(range(len(ordered)), key=lambda i: -draws[i]):
            said = "drawn evenly, to learn" if explores else f"drew {draws[i]:.2f} from its record"
            yield from _said(ordered[i], said, chosen=True)


def compile_strategy(spec: StrategySpec, resolve: Callable[[Target], Strategy], billing: dict[str, str]) -> Strategy:
    """The strategy of a block that has passed its checks; ``resolve`` gives what a target stands for."""

    def several(targets: tuple[Target, ...]) -> tuple[Strategy, ...]:
        return tuple(resolve(target) for target in targets)

    strategy: Strategy
    if spec.balance:
        strategy = Balance(several(spec.balance))
    elif spec.weighted:
        given = spec.weighted
        shares = [Share(use=u, weight=w) for u, w in given.items()] if isinstance(given, dict) else given
        strategy = Weighted(tuple((resolve(share.use), share.weight) for share in shares))
    elif spec.headroom:
        strategy = Headroom(several(spec.headroom), billing, spec.quality_floor, spec.policy)
    elif spec.by_complexity:
        bands = tuple((band.below, resolve(band.use)) for band in spec.by_complexity)
        abstain = resolve(spec.abstain) if spec.abstain is not None else None
        strategy = ByComplexity(bands, abstain, spec.classifier, spec.upward, spec.ab)
    elif spec.cascade:
        strategy = Cascade(several(spec.cascade), spec.judge)
    elif spec.adaptive:
        strategy = Adaptive(several(spec.adaptive), spec.floor)
    else:
        strategy = fallback(several(spec.fallback))
    return strategy if spec.then is None else Then(strategy, resolve(spec.then))


def _place(number: int) -> str:
    return f"fallback {number}" if number else "first choice"


def _said(
    items: Iterable[Item],
    reason: str,
    *,
    rank: int | None = None,
    chosen: bool = False,
    judge: float | None = None,
) -> Iterator[Item]:
    """``items`` with a strategy's own reason before theirs."""
    for item in items:
        yield Item(
            item.backend,
            reason if item.reason in ("", _ALONE) else f"{reason}; {item.reason}",
            item.rank if rank is None else rank,
            item.chosen or chosen,
            item.drained,
            item.judge if judge is None else judge,
        )


def _reason(item: Item, reason: str, *, chosen: bool) -> Item:
    return next(_said([item], reason, chosen=chosen))


_ALONE = "the only target"
