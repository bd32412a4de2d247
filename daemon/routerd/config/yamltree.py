"""YAML text -> a tree of `Node`, each with its place, in YAML 1.2's meaning.

`on`, `no`, `22:30`, `0123` and dates are strings here. The tree is made from parser events:
composing the whole document in one C call would hold the interpreter for all of it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Never

import yaml

from .report import WHOLE_FILE, Mark, Place, Report
from .syntax import report_odd_character, report_syntax

Scalar = str | int | float | bool | None

_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_MAX_DEPTH = 64
_MAX_EXPANDED = 100_000
_WORDS: dict[str, Scalar] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_INT = re.compile(r"[-+]?(?:0|[1-9](?:_?[0-9])*|0x[0-9a-fA-F]+|0o[0-7]+)")
_FLOAT = re.compile(r"[-+]?(?:(?:0|[1-9](?:_?[0-9])*)(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][-+]?[0-9]+)?|[-+]?\.inf|\.nan")
_LONGEST_NUMBER = 40

_MINIMAL = "a minimal file has two lines: 'backends: {small: {mlx: {model: demo}}}' and 'default: small'"


class Node:
    """One value of the file: a scalar, a list, or a map, and where it stands (from 1).

    ``source`` is a scalar's text as written, without quotes. ``marks`` has the place of each key of a
    map. ``size`` counts the values in it and ``depth`` its levels, with aliases followed.
    """

    __slots__ = ("column", "depth", "line", "marks", "size", "source", "value")

    def __init__(self, value: Scalar | list[Node] | dict[str, Node], place: Place, source: str = "") -> None:
        self.value = value
        self.line = place.line
        self.column = place.column
        self.source = source
        self.marks: dict[str, Place] = {}
        self.size = self.depth = 1

    def items(self) -> Iterator[tuple[str, Node]]:
        """A map's keys and values; nothing where it is no map."""
        return iter(self.value.items() if isinstance(self.value, dict) else ())

    def elements(self) -> list[Node]:
        """A list's elements; nothing where it is no list."""
        return self.value if isinstance(self.value, list) else []

    def get(self, key: str) -> Node | None:
        """A map's value of ``key``; None where it has none or is no map."""
        return self.value.get(key) if isinstance(self.value, dict) else None

    def count(self, child: Node) -> None:
        """Take a child's size and depth into account."""
        self.size += child.size
        self.depth = max(self.depth, child.depth + 1)


def parse(text: str, report: Report) -> Node | None:
    """The document of ``text``. Mistakes go to ``report``; None where no tree could be made.

    Pure computation, in steps that let other threads run.
    """
    text = text.removeprefix("\ufeff")
    if report_odd_character(text, report):
        return None
    assembler = _Assembler(report)
    try:
        for event in yaml.parse(text, Loader=_Loader):
            assembler.feed(event)
    except _GiveUpError:
        return None
    except yaml.MarkedYAMLError as error:
        report_syntax(error, text, report)
        return None
    if assembler.root is None or assembler.root.value is None:
        report.add(WHOLE_FILE, "the file is empty", _MINIMAL)
        return None
    return assembler.root


def resolve(text: str) -> Scalar:
    """What an unquoted scalar means."""
    if text in _WORDS:
        return _WORDS[text]
    if text[0] not in "+-.0123456789" or len(text) > _LONGEST_NUMBER:
        return text
    if _INT.fullmatch(text):
        return int(text, 0)
    if _FLOAT.fullmatch(text):
        return float(text.replace(".inf", "inf").replace(".nan", "nan"))
    return text


def select(node: Node, pattern: tuple[str, ...], path: str = "") -> Iterator[tuple[str, Node]]:
    """Every node under ``pattern``, where ``*`` is any key or index, with its path for messages."""
    if not pattern:
        yield path, node
        return
    key, rest = pattern[0], pattern[1:]
    for name, child in node.items():
        if key in ("*", name):
            yield from select(child, rest, f"{path}.{name}" if path else name)
    for index, child in enumerate(node.elements() if key == "*" else ()):
        yield from select(child, rest, f"{path}[{index}]")


class _GiveUpError(Exception):
    """Reported already; reading on would not help."""


class _Frame:
    """A list or map that is being read. ``key`` is a map's key that waits for its value."""

    __slots__ = ("anchor", "key", "node", "waiting")

    def __init__(self, node: Node, anchor: str | None) -> None:
        self.node = node
        self.anchor = anchor
        self.key: str | None = None
        self.waiting = False


class _Assembler:
    def __init__(self, report: Report) -> None:
        self.root: Node | None = None
        self._report = report
        self._frames: list[_Frame] = []
        self._anchors: dict[str, Node | None] = {}
        self._expanded = 0
        self._documents = 0

    def feed(self, event: yaml.Event) -> None:
        if isinstance(event, yaml.ScalarEvent):
            self._tag(event)
            value = event.value if event.style else resolve(event.value)
            self._put(self._anchor(event.anchor, Node(value, _place(event), event.value)), plain=not event.style)
        elif isinstance(event, yaml.CollectionStartEvent):
            self._tag(event)
            self._open(event)
        elif isinstance(event, yaml.CollectionEndEvent):
            frame = self._frames.pop()
            self._put(self._anchor(frame.anchor, frame.node))
        elif isinstance(event, yaml.AliasEvent):
            self._put(self._alias(event))
        elif isinstance(event, yaml.DocumentStartEvent):
            self._documents += 1
            if self._documents > 1:
                self._give_up(event, "a second document begins here", "one file holds one document: remove the '---'")

    def _open(self, event: yaml.CollectionStartEvent) -> None:
        if len(self._frames) >= _MAX_DEPTH:
            self._give_up(event, f"nested deeper than {_MAX_DEPTH} levels")
        if event.anchor:
            self._anchors[event.anchor] = None
        empty: dict[str, Node] | list[Node] = {} if isinstance(event, yaml.MappingStartEvent) else []
        self._frames.append(_Frame(Node(empty, _place(event)), event.anchor))

    def _anchor(self, name: str | None, node: Node) -> Node:
        if name:
            self._anchors[name] = node
        return node

    def _alias(self, event: yaml.AliasEvent) -> Node:
        name = event.anchor or ""
        node = self._anchors.get(name)
        if node is None:
            what = "stands inside what it repeats" if name in self._anchors else f"has no anchor &{name} above it"
            self._give_up(event, f"*{name} {what}")
        # a few lines of aliases to aliases can stand for billions of values
        self._expanded += node.size
        if self._expanded > _MAX_EXPANDED:
            self._give_up(event, f"the aliases of this file stand for more than {_MAX_EXPANDED} values")
        if len(self._frames) + node.depth > _MAX_DEPTH:
            self._give_up(event, f"nested deeper than {_MAX_DEPTH} levels")
        return node

    def _put(self, node: Node, *, plain: bool = False) -> None:
        if not self._frames:
            self.root = node
            return
        frame = self._frames[-1]
        value = frame.node.value
        if isinstance(value, list):
            value.append(node)
            frame.node.count(node)
        elif frame.waiting:
            self._put_value(frame, node)
        else:
            frame.key, frame.waiting = self._key(frame.node, node, plain=plain), True

    def _put_value(self, frame: _Frame, node: Node) -> None:
        if frame.key is not None and isinstance(frame.node.value, dict):
            frame.node.value[frame.key] = node
            frame.node.count(node)
        frame.waiting = False

    def _key(self, owner: Node, node: Node, *, plain: bool) -> str | None:
        """The key's text; None where it is wrong, and its value is to be dropped."""
        key = node.source
        if isinstance(node.value, list | dict):
            self._report.add(node, "a key must be text, not a list or a block")
        elif plain and key == "<<":
            self._report.add(node, "merge keys ('<<') are not supported", "write the keys out")
        elif not isinstance(node.value, str) and type(node.value) is not int:
            self._report.add(node, f"the key {key or 'null'} is not text", f"write it in quotes: '{key}'")
        elif key in owner.marks:
            self._report.add(node, f"duplicate key '{key}'", f"it is given first on line {owner.marks[key].line}")
        else:
            owner.marks[key] = node
            return key
        return None

    def _tag(self, event: yaml.ScalarEvent | yaml.CollectionStartEvent) -> None:
        if event.tag is not None:
            self._report.add(_place(event), f"YAML tags ({event.tag}) are not supported", "write the value in quotes")

    def _give_up(self, event: yaml.Event, message: str, hint: str = "") -> Never:
        self._report.add(_place(event), message, hint)
        raise _GiveUpError


def _place(event: yaml.Event) -> Mark:
    mark = event.start_mark
    assert mark is not None  # only events that are made by hand have none
    return Mark(mark.line + 1, mark.column + 1)
