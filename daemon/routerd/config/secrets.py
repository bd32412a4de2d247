"""Secrets that stand in the file itself."""

from __future__ import annotations

from collections.abc import Iterator

from .schema import ConfigSpec
from .yamltree import Node, select


def inline_secrets(config: ConfigSpec, tree: Node) -> Iterator[tuple[str, Node]]:
    """Each with its path for messages and its node. ``config`` was built from ``tree``."""
    for name, backend in config.backends.items():
        if backend.http and backend.http.api_key and backend.http.api_key.inline:
            yield from select(tree, ("backends", name, backend.kind, "api_key"))
    routes = tree.get("routes")
    for index, (route, node) in enumerate(zip(config.routes, routes.elements() if routes else (), strict=True)):
        if route.set and route.set.api_key and route.set.api_key.inline:
            yield from select(node, ("set", "api_key"), f"routes[{index}]")
