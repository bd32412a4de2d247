"""What routes.yaml may say of an endpoint: how it orders its targets."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from .types import Duration

STRATEGIES = ("fallback", "balance", "weighted", "headroom", "by_complexity", "cascade", "adaptive")

EscalateOn = Literal[
    "error",
    "empty",
    "refusal",
    "hedged",
    "broken_call",
    "degenerate",
    "short",
    "invalid_json",
    "length",
    "content_filter",
]


class Band(Struct, frozen=True, kw_only=True):
    """Asks that score below ``below``, or all that are left where it is absent."""

    use: Target
    below: float | None = None


class AbSpec(Struct, frozen=True, kw_only=True):
    """Two limits of the lowest band, to be compared: ``routerctl stats --by variant``."""

    below: tuple[float, ...]
    """Those of the variants ``a`` and ``b``."""
    share: float = 0.5
    """The part of the requests that ``b`` gets."""


class ShadowSpec(Struct, frozen=True, kw_only=True):
    """A sample of the answered requests is asked of another backend too, behind the caller's back."""

    to: str
    share: float = 0.05


class Share(Struct, frozen=True, kw_only=True):
    use: Target
    weight: float


class StrategySpec(Struct, frozen=True, kw_only=True):
    """Exactly one of `STRATEGIES`, over backends, endpoints, ``tag:NAME`` or strategies again."""

    fallback: tuple[Target, ...] = ()
    """In their order: the first that can, answers."""
    balance: tuple[Target, ...] = ()
    """The one with the fewest requests for its ``concurrency`` first."""
    weighted: dict[str, float] | tuple[Share, ...] = ()
    """By chance, in these shares; weight 0 gets none."""
    headroom: tuple[Target, ...] = ()
    """The one with most of its quota left for the time it has left, first."""
    quality_floor: float = 0.0
    """For ``headroom``: those below this quality (0..1) come last."""
    policy: Literal["burn", "frugal", "fixed"] = "burn"
    """For ``headroom``: prepaid before local before metered, local before prepaid before metered, or as written."""
    by_complexity: tuple[Band, ...] = ()
    """By the score of the newest ask, 0..10; the bands above the right one follow it."""
    classifier: Literal["rules", "learned"] = "rules"
    abstain: Target | None = None
    """Where no sign of complexity shows, either way; the lowest band where absent."""
    ab: AbSpec | None = None
    """For ``by_complexity``: the lowest band's ``below`` is one of two, by chance."""
    upward: bool = True
    """Whether the bands above follow the right one."""
    cascade: tuple[Target, ...] = ()
    """The first answers; where its answer is judged too weak, the next."""
    judge: float = 0.5
    """For ``cascade``: how sure (0..1) the learned judge must be that the next would do better."""
    adaptive: tuple[Target, ...] = ()
    """By chance, by what their answers came to so far."""
    floor: float = 0.05
    """For ``adaptive``: the least share of requests each gets."""
    then: Target | None = None
    """What follows when all of these have failed."""


class EndpointSpec(StrategySpec, frozen=True, kw_only=True):
    """A name callers ask for."""

    tags: tuple[str, ...] = ()
    shadow: ShadowSpec | None = None
    spill: Literal["explicit", "failure", "active"] = "failure"
    """When a backend outside this machine may be used that stands behind one inside it: only where the
    request names it; when those before it have failed or can not be used; also when they would let it wait."""
    patience: Duration | None = None
    """Backends that would let a request wait longer than this come after those that would not."""
    escalate_on: tuple[EscalateOn, ...] = ("error",)
    """What makes the next candidate answer, beside failures."""
    max_hops: int = 2
    """Escalations of one request, at most."""
    min_chars: int = 0
    """For ``short``: shorter answers are."""
    local_only: bool = False


Target = str | StrategySpec
"""A backend, an endpoint, ``tag:NAME``, or a strategy."""


def used(spec: StrategySpec) -> list[str]:
    """Which strategies ``spec`` gives."""
    return [name for name in STRATEGIES if getattr(spec, name)]
