"""routes.yaml compiled for deciding: names resolved, predicates built, routes indexed. One for each generation."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from fnmatch import translate

from msgspec import Struct

from ..config.graph import TAG, tagged
from ..config.match import is_glob
from ..config.schema import BackendSpec, ConfigSpec
from ..config.strategy import EndpointSpec, StrategySpec, Target
from .classify.complexity import complexity
from .match import Predicate, compile_match
from .overrides import Overrides, compile_overrides, usual_terms
from .strategy import Strategy, compile_strategy, fallback, single
from .terms import Terms
from .view import Judge, Scorer

ROUTED = "routed"
"""The model name that means "no model named: go through the routes", as ``""`` does."""


_LONGEST_NAMED = 200
"""Characters of a name for which a near one is looked for."""


class CompiledRoute(Struct, frozen=True):
    name: str
    predicate: Predicate
    use: str
    overrides: Overrides


class Endpoint(Struct, frozen=True):
    """What a name stands for: an endpoint's strategy, a backend by itself, or all that have a tag."""

    strategy: Strategy
    spec: EndpointSpec
    terms: Terms


_ALONE = EndpointSpec()


class Table:
    """``endpoints`` has every name a caller may ask for; ``routes`` are in the order of the file."""

    def __init__(self, config: ConfigSpec, scorers: Mapping[str, Scorer], judge: Judge | None) -> None:
        self.default = config.default
        self.backends: dict[str, BackendSpec] = config.backends
        self.judge = judge
        """Says of a prompt and an answer how probably (0..10) a stronger model would do better."""
        self.scorers = {"rules": complexity, **scorers}
        self.endpoints = _Endpoints(config).all()
        self.routes = tuple(
            CompiledRoute(
                route.name or f"routes[{i}]", compile_match(route.match), route.use, compile_overrides(route.set)
            )
            for i, route in enumerate(config.routes)
        )
        self._aliases = {name: use for name, use in config.aliases.items() if not is_glob(name)}
        self._globs = [(re.compile(translate(name)), use) for name, use in config.aliases.items() if is_glob(name)]
        self._indexed: dict[tuple[str, str], list[int]] = {}
        self._others: list[int] = []
        for i, route in enumerate(self.routes):
            for pair in route.predicate.pairs:
                self._indexed.setdefault(pair, []).append(i)
            if not route.predicate.pairs:
                self._others.append(i)

    def __repr__(self) -> str:
        return f"<Table {len(self.endpoints)} endpoints {len(self.routes)} routes>"

    def possible(self, context: Mapping[str, str]) -> Iterator[CompiledRoute]:
        """The routes that may match a request with ``context``, in the order of the file: those whose needed value
        the context does not have are left out without being looked at."""
        found = self._others
        for pair in context.items():
            if more := self._indexed.get(pair):
                found = found + more
        for i in sorted(found) if found is not self._others else found:
            yield self.routes[i]

    def named(self, model: str) -> str:
        """The endpoint or backend a request's ``model`` names; ``""`` where the routes are to decide."""
        if model in ("", ROUTED):
            return ""
        if model in self.endpoints:
            return model
        use = self._aliases.get(model)
        if use is None:
            use = next((use for pattern, use in self._globs if pattern.match(model)), model)
        return "" if use == ROUTED else use

    def nearest(self, name: str) -> str:
        """The known name most like ``name``; ``""`` where none is."""
        if len(name) > _LONGEST_NAMED:
            return ""  # what takes quadratic time is for names that people write
        return next(iter(get_close_matches(name, self.endpoints, n=1)), "")


class _Endpoints:
    """Compiles each name once, also where several strategies use it."""

    def __init__(self, config: ConfigSpec) -> None:
        self._config = config
        self._billing: dict[str, str] = {name: spec.bills for name, spec in config.backends.items()}
        self._done: dict[str, Strategy] = {}

    def all(self) -> dict[str, Endpoint]:
        config = self._config
        tags = {tag for group in (config.backends, config.endpoints) for spec in group.values() for tag in spec.tags}
        names = [*config.backends, *(f"{TAG}{tag}" for tag in sorted(tags)), *config.endpoints]
        specs = {name: config.endpoints.get(name, _ALONE) for name in names}
        return {
            name: Endpoint(self._resolve(name), spec, usual_terms(spec, config.persona)) for name, spec in specs.items()
        }

    def _resolve(self, target: Target) -> Strategy:
        if isinstance(target, StrategySpec):
            return compile_strategy(target, self._resolve, self._billing)
        if target not in self._done:
            self._done[target] = self._compile(target)
        return self._done[target]

    def _compile(self, name: str) -> Strategy:
        if name in self._config.backends:
            return single(name)
        if name.startswith(TAG):
            return fallback(tuple(map(self._resolve, tagged(self._config, name.removeprefix(TAG)))))
        return compile_strategy(self._config.endpoints[name], self._resolve, self._billing)


def compile_table(config: ConfigSpec, scorers: Mapping[str, Scorer] | None = None, judge: Judge | None = None) -> Table:
    """``config`` must have passed its checks. ``scorers``: learned classifiers, by name."""
    return Table(config, scorers or {}, judge)
