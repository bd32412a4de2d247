"""Routes that can never match, because an earlier one takes all that they would. Pure."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence

from msgspec.structs import replace

from .match import MatchSpec, is_glob, texts
from .schema import RouteSpec

_Match = dict[str, frozenset[str]]
_Pair = tuple[str, str]
_ANY = MatchSpec()


def shadowed(routes: Sequence[RouteSpec]) -> Iterator[tuple[int, int]]:
    """Each route that can never match, with the first earlier one that covers it, as indices.

    Only routes that look at nothing but plain values of the context are taken to cover others; what else a
    later one asks for makes it match less, never more. Near linear in the number of routes: a route is
    looked up by its rarest key and value, so that a thousand routes that share one key are not compared all with all.
    """
    matches = [_values(route.match) for route in routes]
    common = Counter(pair for match in matches for key in match for pair in _pairs(match, key))
    index: defaultdict[_Pair | None, list[int]] = defaultdict(list)
    for late, match in enumerate(matches):
        found = [early for probe in _probes(match) for early in index[probe] if _covers(matches[early], match)]
        if found:
            yield late, min(found)
            continue
        if not _plain(routes[late].match):
            continue
        for entry in _entries(match, common):
            index[entry].append(late)


def _values(match: MatchSpec) -> _Match:
    """The keys of the context that ``match`` wants, with their values, where those are no globs."""
    values = {key: frozenset(texts(wanted)) for key, wanted in match.context.items()}
    return {key: wanted for key, wanted in values.items() if not any(map(is_glob, wanted))}


def _plain(match: MatchSpec) -> bool:
    return replace(match, context={}) == _ANY and len(_values(match)) == len(match.context)


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
