"""A file's tree while other systems' blocks are worked into it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import chain, count
from typing import Any, TypeAlias

from ..build import build
from ..report import Place, Report
from ..scalars import INVALID
from ..yamltree import Node, Scalar
from .catalog import Recipe

Path = tuple[str, ...]
"""Keys and indices from the top of the file."""

_NO_NAME = re.compile(r"[^A-Za-z0-9._:-]+")

Tree: TypeAlias = "Node | Scalar | Sequence[Tree] | Mapping[str, Tree]"
"""What a node can be made of."""


def make(value: Tree, place: Place) -> Node:
    """A node of ``value``, which may hold nodes already; what is new stands at ``place``."""
    if isinstance(value, Node):
        return value
    if isinstance(value, Mapping):
        children = {key: make(child, place) for key, child in value.items()}
        node = Node(children, place)
        node.marks = dict(children)
        return node
    if isinstance(value, Sequence) and not isinstance(value, str):
        return Node([make(child, place) for child in value], place)
    return Node(value, place, str(value).lower() if isinstance(value, bool) else str(value))


def remade(node: Node, children: dict[str, Node]) -> Node:
    """A map where ``node`` is, of ``children``; its keys keep their places."""
    made = Node(children, node)
    made.marks = {key: node.marks.get(key, child) for key, child in children.items()}
    return made


class Draft:
    """The file as it is to become. The tree it began with is left as it was.

    Mistakes go to ``report``, and ``whole`` turns false with the first; what is legal but surely not meant
    goes to ``notes``. ``origins`` says, by path, from what that was made which the file itself does not have.
    """

    def __init__(self, tree: Node, report: Report, notes: Report) -> None:
        self.origins: dict[Path, str] = {}
        self.whole = True
        self._report = report
        self._notes = notes
        self._place = tree
        self._top: dict[str, Node] = dict(tree.items())
        self._marks = dict(tree.marks)
        self._copied: set[str] = set()
        self._is_map = isinstance(tree.value, dict)

    def tree(self) -> Node:
        """What has become of the file so far."""
        if not self._is_map:
            return self._place
        tree = Node(self._top, self._place)
        tree.marks = self._marks
        return tree

    def fail(self, place: Place, message: str, hint: str = "") -> None:
        self.whole = False
        self._report.add(place, message, hint)

    def warn(self, place: Place, message: str, hint: str = "") -> None:
        self._notes.add(place, message, hint)

    def build(self, expected: Any, node: Node, path: str) -> Any:
        """The value that ``node`` describes; None where it is wrong, which is reported."""
        built = build(expected, node, path, self._report)
        if built is INVALID:
            self.whole = False
            return None
        return built

    def keys(self) -> list[str]:
        """Those at the top of the file, without the blocks that were taken."""
        return list(self._top)

    def take(self, key: str) -> Node | None:
        """The block ``key``, which the file has no more; None where it had none, or nothing in it."""
        node = self._top.pop(key, None)
        self._marks.pop(key, None)
        return None if node is None or node.value is None else node

    def declared(self, name: str) -> Node | None:
        """The backend or endpoint that the file has under ``name``."""
        return self.names("backends").get(name) or self.names("endpoints").get(name)

    def names(self, group: str) -> dict[str, Node]:
        """The names in ``backends`` or ``endpoints`` with what stands under them."""
        block = self._top.get(group)
        return dict(block.items()) if block else {}

    def put(self, group: str, name: str, node: Node, origin: str = "") -> None:
        """Have ``node`` under ``name`` in ``backends``, ``endpoints`` or ``aliases``."""
        block = self._block(group, {}, node)
        if isinstance(block.value, dict):
            block.value[name] = node
            block.marks.setdefault(name, node)
            if origin:
                self.origins[group, name] = origin

    def backend(self, model: str, block: Node, where: str, origin: str) -> str:
        """Add a backend for ``model`` and return its name: that of the model, with ``where`` where it is taken."""
        base = _NO_NAME.sub("-", model).strip("._:-") or "model"
        longer = f"{base}.{_NO_NAME.sub('-', where)}"
        names = chain((base, longer), (f"{longer}.{again}" for again in count(2)))
        name = next(name for name in names if not self.declared(name))
        self.put("backends", name, block, origin)
        if name != model and not self.declared(model) and model not in self.names("aliases"):
            self.put("aliases", model, make(name, block), origin)
        return name

    def route(self, node: Node, origin: str) -> None:
        """Add ``node`` after all routes so far."""
        block = self._block("routes", [], node)
        if isinstance(block.value, list):
            self.origins["routes", str(len(block.value))] = origin
            block.value.append(node)

    def default(self, name: str, place: Place, origin: str) -> bool:
        """Have ``name`` be the default, where there is none yet, and say whether it is."""
        if "default" in self._top:
            return False
        self._top["default"] = make(name, place)
        self._marks["default"] = place
        self.origins["default",] = origin
        return True

    def _block(self, key: str, empty: list[Node] | dict[str, Node], place: Place) -> Node:
        """The file's own block, as a copy that may be added to."""
        old = self._top.get(key)
        if old is not None and key in self._copied:
            return old
        if old is None or old.value is None:
            block = Node(empty, old or place)
        else:
            copied: Any = old.value.copy() if isinstance(old.value, list | dict) else old.value
            block = Node(copied, old, old.source)
            block.marks = dict(old.marks)
        self._copied.add(key)
        self._top[key] = block
        self._marks.setdefault(key, block)
        return block


def recipe_block(recipe: Recipe, place: Place, **more: Tree) -> Node:
    """What stands under a backend's name to have it answer as ``recipe`` says."""
    spec: dict[str, Tree] = {"model": recipe.model}
    if recipe.base_url:
        spec["base_url"] = recipe.base_url
    if recipe.key_env:
        spec["api_key"] = {"env": recipe.key_env}
    return make({recipe.kind: {**spec, **more}}, place)
