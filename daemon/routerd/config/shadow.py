"""Routes that can never match, because an earlier one takes all that they would. Pure."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence

from .schema import RouteSpec

_Match = dict[str, frozenset[str]]
_Pair = tuple[str, str]


def shadowed(routes: Sequence[RouteSpec]) -> Iterator[tuple[int, int]]:
    """Each route that can never match, with the first earlier one that covers it, as indices.

    Near linear in the number of routes: a route is looked up by its rarest key and value, so that a
    thousand routes that share one key are not compared all with all.
    """
    matches = [_values(route) for route in routes]
    common = Counter(pair for match in matches for key in match for pair in _pairs(match, key))
    index: defaultdict[_Pair | None, list[int]] = defaultdict(list)
    for late, match in enumerate(matches):
        found = [early for probe in _probes(match) for early in index[probe] if _covers(matches[early], match)]
        if found:
            yield late, min(found)
            continue
        for entry in _entries(match, common):
            index[entry].append(late)


def _values(route: RouteSpec) -> _Match:
    return {key: frozenset((values,) if isinstance(values, str) else values) for key, values in route.match.items()}


def _pairs(match: _Match, key: str) -> list[_Pair]:
    return [(key, value) for value in match[key]]


def _entries(match: _Match, common: Counter[_Pair]) -> list[_Pair] | list[None]:
    """Where a route is found: under each value of one key; None for the route that takes everything."""
    if not match:
        return [None]
    rarest = min(match, key=lambda key: max(common[pair] for pair in _pairs(match, key)))
    return _pairs(match, rarest)


def _probes(match: _Match) -> list[_Pair | None]:
    """Where a route that covers ``match`` must be found: it has all values of each of its keys, so one will do."""
    return [None, *((key, next(iter(values))) for key, values in match.items())]


def _covers(wide: _Match, narrow: _Match) -> bool:
    return all(key in narrow and narrow[key] <= values for key, values in wide.items())
