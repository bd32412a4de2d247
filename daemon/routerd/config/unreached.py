"""Routes by client that a client never reaches, because it names a model in all its requests. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase

from .match import MatchSpec, texts
from .schema import RouteSpec


def unreached(routes: Sequence[RouteSpec], naming: Mapping[str, int]) -> Iterator[tuple[int, str, str]]:
    """Yield a route's index, a client that it matches and that never reaches it, and why.

    ``naming``: the clients that named a model in all their requests, and how many these were.
    """
    for index, route in enumerate(routes):
        wanted = list(_clients(route.match))
        for client, requests in naming.items():
            if any(fnmatchcase(client, pattern) for pattern in wanted):
                yield index, client, _why(client, requests)


def advice(client: str, agents: Collection[str]) -> str:
    """Return what to do about a client that always names a model; ``agents`` are those that init can set up."""
    done = f": routerctl init --harness {client} --write" if client in agents else ""
    return f"have {client} ask for the model 'routed', which leaves the choice to the routes{done}"


def _why(client: str, requests: int) -> str:
    every = "its one request" if requests == 1 else f"all its {requests} requests"
    return f"client {client!r} named a model in {every}, and a named model skips the routes"


def _clients(match: MatchSpec) -> Iterator[str]:
    yield from texts(match.client)
    for inner in (*match.any, *match.all):
        yield from _clients(inner)
