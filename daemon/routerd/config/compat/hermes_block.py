"""Hermes's ``model:`` block as it may stand in a file, and its routes in the order in which they are tried."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from msgspec import Struct

from ..match import Words
from ..types import Secret, Word
from ..yamltree import Node
from .draft import Draft, make, remade

SHORTHANDS = {"platforms": "platform", "by_source": "source_kind"}
"""Blocks of routes by one key of the context, and that key."""

_HERMES_ONLY = {
    *("args", "auth_mode", "command", "credential_pool", "default_headers", "entra", "extra_headers", "max_tokens"),
    *("ollama_num_ctx", "openai_runtime", "request_overrides", "streaming", "supports_vision"),
}


class _Override(Struct, frozen=True, kw_only=True):
    """Parts of a model. Read for its mistakes; what follows works on the nodes, which have places."""

    model: Word = ""
    provider: Word = ""
    base_url: str = ""
    api_key: Secret | None = None
    key_env: str = ""
    api_key_env: str = ""
    key_cmd: str | tuple[str, ...] = ""
    api_mode: str = ""
    context_length: int | None = None


class _Route(_Override, frozen=True, kw_only=True):
    match: dict[str, Words]


class _Block(_Override, frozen=True, kw_only=True):
    default: Word = ""
    routes: tuple[_Route, ...] = ()
    platforms: dict[str, Word | _Override] = {}
    by_source: dict[str, Word | _Override] = {}


class Entry(NamedTuple):
    """A route, its ``match`` spelled out. ``label`` tells a backend apart that is made for it alone."""

    path: str
    label: str
    node: Node


def read_block(draft: Draft, node: Node) -> Node | None:
    """The block without what is no opinion (``""``, null and ``[]``; 0 and false are values), and without what
    Hermes alone has use for; None where something in it is wrong, which is reported."""
    block = _with_opinions(draft, node)
    return block if draft.build(_Block, block, "model") is not None else None


def entries(block: Node) -> Iterator[Entry]:
    """The routes in the order in which they are tried."""
    routes = block.get("routes")
    for index, node in enumerate(routes.elements() if routes else ()):
        yield Entry(f"model.routes[{index}]", f"route{index}", node)
    for key, predicate in SHORTHANDS.items():
        group = block.get(key)
        for name, node in group.items() if group else ():
            fields = dict(node.items()) if isinstance(node.value, dict) else {"model": node}
            match = make({predicate: name}, node)
            yield Entry(f"model.{key}.{name}", name, remade(node, {**fields, "match": match}))


def _with_opinions(draft: Draft, block: Node) -> Node:
    pruned = _pruned(draft, block, "model", _Block)
    children = dict(pruned.items())
    if routes := pruned.get("routes"):
        kept = [_pruned(draft, node, f"model.routes[{i}]", _Route) for i, node in enumerate(routes.elements())]
        children["routes"] = make(kept, routes) if kept else routes
    for key in SHORTHANDS:
        if (group := pruned.get(key)) and isinstance(group.value, dict):
            overrides = {name: node for name, node in group.items() if not _empty(node) and node.value != {}}
            pruned_ones = {
                name: _pruned(draft, node, f"model.{key}.{name}", _Override) for name, node in overrides.items()
            }
            children[key] = remade(group, pruned_ones)
    return remade(pruned, children)


def _pruned(draft: Draft, node: Node, path: str, spec: type[_Override]) -> Node:
    if not isinstance(node.value, dict):
        return node
    unused = [key for key, child in node.items() if key in _HERMES_ONLY and not _empty(child)]
    if unused:
        draft.warn(node.marks[unused[0]], f"{path}: {', '.join(unused)} is Hermes's own and not used here")
    droppable = {*_HERMES_ONLY, *(key for key in spec.__struct_fields__ if (child := node.get(key)) and _empty(child))}
    return remade(node, {key: child for key, child in node.items() if key not in droppable})


def _empty(node: Node) -> bool:
    return node.value is None or node.value in ("", [])
