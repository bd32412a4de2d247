"""What can be judged only when the whole file has been read: what stands behind names, and the file's own tests."""

from __future__ import annotations

from .graph import backends_of, cycle, places
from .report import Place, Report
from .schema import ConfigSpec, RouteSpec
from .yamltree import Node

MOST_PLACES = 1000


def check_whole(config: ConfigSpec, tree: Node, report: Report) -> None:
    """Report endpoints that stand for too much, and what says local_only and may leave the machine. ``config`` has
    passed all other checks."""
    _check_places(config, tree, report)
    for name, endpoint in config.endpoints.items():
        if endpoint.local_only:
            _check_local(config, name, _place(name, tree), f"endpoints.{name}", report)
    routes = tree.get("routes")
    for index, route in enumerate(config.routes):
        if route.set and route.set.local_only and routes:
            _check_local(config, route.use, routes.elements()[index], f"routes[{index}]", report)
        if route.set and (route.set.api_key or route.set.model) and routes:
            _check_one_api(config, route, routes.elements()[index], f"routes[{index}]", report)


def _check_one_api(config: ConfigSpec, route: RouteSpec, place: Place, path: str, report: Report) -> None:
    """One maker's key or model name must not reach another maker."""
    apis = [name for name in backends_of(config, route.use) if config.backends[name].http]
    if len(apis) != 1:
        said = f"{route.use} leads to {' and '.join(apis)}" if apis else f"{route.use} leads to no API"
        report.add(
            place, f"{path}.set: api_key and model are for one backend over HTTP, and {said}", "use that backend"
        )


def check_cycles(config: ConfigSpec, tree: Node, report: Report) -> None:
    """Report endpoints that lead back to themselves, whatever else is wrong."""
    told: set[str] = set()
    for name in config.endpoints:
        way = cycle(config, name)
        if not told & set(way):
            told |= set(way)
            if way:
                report.add(_place(name, tree), f"endpoints.{name}: leads back to itself: {' -> '.join(way)}")


def _check_places(config: ConfigSpec, tree: Node, report: Report) -> None:
    """Endpoints of endpoints of endpoints, each named twice, would make one decision take for ever."""
    for name in config.endpoints:
        if (count := places(config, name)) > MOST_PLACES:
            what = f"its order has {count} places, with all that its targets name, and may have {MOST_PLACES}"
            report.add(_place(name, tree), f"endpoints.{name}: {what}", "name each target once")


def _place(endpoint: str, tree: Node) -> Place:
    endpoints = tree.get("endpoints")
    return endpoints.marks[endpoint] if endpoints else tree


def _check_local(config: ConfigSpec, target: str, place: Place, path: str, report: Report) -> None:
    backends = {name: config.backends[name] for name in backends_of(config, target)}
    # a server on this machine that says nothing of itself is asked whether it keeps requests here
    remote = [name for name, spec in backends.items() if not spec.local and (spec.mlx or not spec.near)]
    if remote:
        what = f"it says local_only, and {', '.join(remote)} would leave the machine"
        report.add(place, f"{path}: {what}", "take them out, or take local_only out")
