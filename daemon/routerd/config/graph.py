"""Who stands behind a name: endpoints, strategies and tags followed down to backends. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from .schema import ConfigSpec
from .strategy import StrategySpec, Target, used

TAG = "tag:"


def targets(spec: StrategySpec) -> Iterator[Target]:
    """What ``spec`` names itself, in the order of the file."""
    for name in used(spec):
        given = getattr(spec, name)
        if isinstance(given, dict):
            yield from given
        elif name in ("by_complexity", "weighted"):
            yield from (item.use for item in given)
        else:
            yield from given
    yield from (target for target in (spec.abstain, spec.then) if target is not None)


def tagged(config: ConfigSpec, tag: str) -> list[str]:
    """The backends with ``tag``, then those of endpoints that have it, in the order of the file."""
    backends = [name for name, spec in config.backends.items() if tag in spec.tags]
    return backends + [name for name, spec in config.endpoints.items() if tag in spec.tags]


def backends_of(config: ConfigSpec, target: Target) -> list[str]:
    """Every backend that may answer for ``target``, each once. A name that leads back to itself adds nothing."""
    found: dict[str, None] = {}
    seen: set[str] = set()

    def follow(target: Target) -> None:
        if isinstance(target, StrategySpec):
            for inner in targets(target):
                follow(inner)
        elif target in config.backends:
            found[target] = None
        elif target not in seen:
            seen.add(target)
            for inner in followed(config, target):
                follow(inner)

    follow(target)
    return list(found)


def cycle(config: ConfigSpec, endpoint: str) -> list[str]:
    """The names on a way from ``endpoint`` back to itself; empty where there is none."""
    seen: set[str] = set()

    def walk(target: Target, path: tuple[str, ...]) -> list[str]:
        if target == endpoint and path:
            return [*path, endpoint]
        if isinstance(target, StrategySpec):
            inner = list(targets(target))
        elif target in seen:
            return []  # it was followed on another way, and did not lead back
        else:
            seen.add(target)
            inner, path = followed(config, target), path if target.startswith(TAG) else (*path, target)
        return next((found for step in inner if (found := walk(step, path))), [])

    return walk(endpoint, ())


def followed(config: ConfigSpec, name: str) -> list[Target]:
    """What ``name`` stands for, one step on; nothing for a backend."""
    if name in config.backends:
        return []
    if name in config.endpoints:
        return list(targets(config.endpoints[name]))
    return list[Target](tagged(config, name.removeprefix(TAG))) if name.startswith(TAG) else []


def places(config: ConfigSpec, endpoint: str) -> int:
    """How long the order of ``endpoint`` is, a backend counted each time it comes. Needs a graph without cycles."""
    known: dict[str, int] = {}

    def count(target: Target) -> int:
        if isinstance(target, StrategySpec):
            return sum(map(count, targets(target)))
        if target not in known:
            known[target] = 1 if target in config.backends else sum(map(count, followed(config, target)))
        return known[target]

    return count(endpoint)
