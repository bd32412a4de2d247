"""What a route's ``match`` means. Pure. A new match key gets its compiled form here."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct

from ..config.schema import RouteSpec


class Predicate(Struct, frozen=True):
    """A compiled ``match``: each key must be in the context with one of its values. A missing key is no match."""

    wanted: tuple[tuple[str, frozenset[str]], ...]

    def __call__(self, context: Mapping[str, str]) -> bool:
        return all(context.get(key) in values for key, values in self.wanted)

    def explain(self, context: Mapping[str, str]) -> str:
        """Why it does or does not match, in words."""
        for key, values in self.wanted:
            if key not in context:
                return f"the context has no {key}"
            if context[key] not in values:
                return f"{key} is {context[key]}, not {' or '.join(sorted(values))}"
        return ", ".join(f"{key}={context[key]}" for key, _ in self.wanted) or "matches everything"


def compile_match(route: RouteSpec) -> Predicate:
    return Predicate(tuple((key, frozenset((v,) if isinstance(v, str) else v)) for key, v in route.match.items()))
