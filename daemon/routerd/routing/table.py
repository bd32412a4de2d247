"""routes.yaml compiled for deciding: names resolved, predicates built. Immutable, one for each generation."""

from __future__ import annotations

from difflib import get_close_matches

from msgspec import Struct

from ..config.schema import ConfigSpec, OverrideSpec
from .match import Predicate, compile_match
from .strategy import Fallback, Strategy

ROUTED = "routed"
"""The model name that means "no model named: go through the routes", as ``""`` does."""


class CompiledRoute(Struct, frozen=True):
    name: str
    predicate: Predicate
    use: str
    overrides: OverrideSpec | None


class Table(Struct, frozen=True):
    """``endpoints`` has every name a caller may ask for; a backend's own name stands for itself alone."""

    endpoints: dict[str, Strategy]
    routes: tuple[CompiledRoute, ...]
    default: str

    def nearest(self, name: str) -> str:
        """The known name most like ``name``; ``""`` where none is."""
        return next(iter(get_close_matches(name, self.endpoints, n=1)), "")


def compile_table(config: ConfigSpec) -> Table:
    """``config`` must have passed its checks: every name in it exists."""
    endpoints: dict[str, Strategy] = {name: Fallback((name,)) for name in config.backends}
    endpoints |= {name: Fallback(spec.fallback) for name, spec in config.endpoints.items()}
    routes = tuple(
        CompiledRoute(route.name or f"routes[{i}]", compile_match(route), route.use, route.set)
        for i, route in enumerate(config.routes)
    )
    return Table(endpoints, routes, config.default)
