"""Who stands behind a name: endpoints, strategies and tags followed down to backends. Pure.

No function here is defined inside another: one that calls itself would keep the whole configuration alive until
the next collection of garbage.
"""

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
    return list(dict.fromkeys(_leaves(config, target, set())))


def _leaves(config: ConfigSpec, target: Target, seen: set[str]) -> Iterator[str]:
    if isinstance(target, str):
        if target in config.backends:
            yield target
        if target in seen:
            return
        seen.add(target)
    for inner in followed(config, target):
        yield from _leaves(config, inner, seen)


def cycle(config: ConfigSpec, endpoint: str) -> list[str]:
    """The names on a way from ``endpoint`` back to itself; empty where there is none."""
    return _way_back(config, endpoint, endpoint, (), set())


def _way_back(config: ConfigSpec, endpoint: str, target: Target, path: tuple[str, ...], seen: set[str]) -> list[str]:
    if target == endpoint and path:
        return [*path, endpoint]
    if isinstance(target, str):
        if target in seen:
            return []  # it was followed on another way, and did not lead back
        seen.add(target)
        path = path if target.startswith(TAG) else (*path, target)
    ways = (_way_back(config, endpoint, step, path, seen) for step in followed(config, target))
    return next(filter(None, ways), [])


def followed(config: ConfigSpec, name: Target) -> list[Target]:
    """What ``name`` stands for, one step on; nothing for a backend."""
    if isinstance(name, StrategySpec):
        return list(targets(name))
    if name in config.backends:
        return []
    if name in config.endpoints:
        return list(targets(config.endpoints[name]))
    return list[Target](tagged(config, name.removeprefix(TAG))) if name.startswith(TAG) else []


def places(config: ConfigSpec, endpoint: str) -> int:
    """How long the order of ``endpoint`` is, a backend counted each time it comes. Needs a graph without cycles."""
    return _count(config, endpoint, {})


def _count(config: ConfigSpec, target: Target, known: dict[str, int]) -> int:
    if isinstance(target, str) and target in known:
        return known[target]
    if isinstance(target, str) and target in config.backends:
        return 1
    length = sum(_count(config, inner, known) for inner in followed(config, target))
    if isinstance(target, str):
        known[target] = length
    return length
