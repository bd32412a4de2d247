"""Tree -> structs, driven by the structs' own type hints. Every mistake is reported with its place."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from keyword import iskeyword
from types import UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

from msgspec import NODEFAULT, Struct
from msgspec.structs import fields

from .match import MatchSpec, Words
from .report import Report
from .scalars import INVALID, choices, describe_scalar, read_scalar
from .schema import NOT_SUPPORTED, OverrideSpec
from .yamltree import Node

_SHOWN = 40
_LISTED_KEYS = 8
_OLD_BOOLS = {"on": True, "yes": True, "off": False, "no": False}  # YAML 1.1 took these for truth values

# the field that takes the keys a struct does not know, and their type
_OTHERS: dict[type, tuple[str, Any]] = {MatchSpec: ("context", Words)}


def build(expected: Any, node: Node, path: str, report: Report) -> Any:
    """The value of type ``expected`` that ``node`` describes, or `INVALID` with every reason in ``report``.

    Understands structs, ``dict[str, T]``, ``tuple[T, ...]``, ``list[T]``, literals, enums, unions,
    `schema.Duration`, `schema.Size` and plain scalars. ``path`` is how messages name the value.
    """
    for option in _options(expected):
        container = _container(option)
        if container and isinstance(node.value, container.shape):
            return container.build(option, node, path, report)
        if not container and (value := read_scalar(option, node)) is not INVALID:
            return value
    wanted = " or ".join(dict.fromkeys(_describe(option) for option in _options(expected)))
    report.add(node, _at(path, f"expected {wanted}, got {_shown(node)}"), _hint(expected, node, report))
    return INVALID


class _Container:
    """How a type that holds others is built, from which ``shape`` of node."""

    def __init__(self, shape: type, build: Callable[[Any, Node, str, Report], Any]) -> None:
        self.shape = shape
        self.build = build


def _build_struct(cls: type[Struct], node: Node, path: str, report: Report) -> Any:
    specs = _fields(cls)
    values: dict[str, Any] = {}
    others: dict[str, Any] = {}
    for key, child in node.items():
        if key not in specs and cls in _OTHERS:
            others[key] = build(_OTHERS[cls][1], child, _join(path, key), report)
        elif (cls, key) in NOT_SUPPORTED:
            report.add(node.marks[key], _at(path, f"'{key}' is not supported"), NOT_SUPPORTED[cls, key])
        elif key not in specs:
            _report_unknown(key, list(specs), node, path, report)
        elif not _no_opinion(cls, child, required=specs[key][1]):
            values[key] = build(specs[key][0], child, _join(path, key), report)
    if others:
        field = _OTHERS[cls][0]
        values[field] = INVALID if INVALID in others.values() else {**values.get(field, {}), **others}
    for key, (_, required) in specs.items():
        if required and key not in node.marks:
            report.add(node, _at(path, f"the key '{key}' is missing"))
            values[key] = INVALID
    if INVALID in values.values():
        return INVALID
    return cls(**{f"{key}_" if iskeyword(key) else key: value for key, value in values.items()})


def _no_opinion(cls: type[Struct], node: Node, *, required: bool) -> bool:
    if cls is OverrideSpec and node.value in ("", []):
        return True
    return node.value is None and not required


def _report_unknown(key: str, known: list[str], node: Node, path: str, report: Report) -> None:
    near = report.nearest(key, known)
    hints = [f"did you mean '{near}'?"] if near else []
    if len(known) <= _LISTED_KEYS or not near:
        hints.append(f"known here: {', '.join(known)}")
    report.add(node.marks[key], _at(path, f"unknown key '{key}'"), " ".join(hints))


def _build_dict(expected: Any, node: Node, path: str, report: Report) -> Any:
    kind = get_args(expected)[1]
    built = {key: build(kind, child, _join(path, key), report) for key, child in node.items()}
    return INVALID if INVALID in built.values() else built


def _build_sequence(expected: Any, node: Node, path: str, report: Report) -> Any:
    kind = get_args(expected)[0]
    built = [build(kind, child, f"{path}[{index}]", report) for index, child in enumerate(node.elements())]
    return INVALID if INVALID in built else get_origin(expected)(built)


@cache
def _container(option: Any) -> _Container | None:
    origin = get_origin(option)
    if isinstance(option, type) and issubclass(option, Struct):
        return _Container(dict, _build_struct)
    if origin is dict:
        return _Container(dict, _build_dict)
    if origin in (tuple, list):
        return _Container(list, _build_sequence)
    return None


@cache
def _fields(cls: type[Struct]) -> dict[str, tuple[Any, bool]]:
    """Each key's type, and whether the file must give it. A key that is a word of Python has a field with ``_``."""
    hints = get_type_hints(cls, include_extras=True)
    return {
        field.name.removesuffix("_"): (
            hints[field.name],
            field.default is NODEFAULT and field.default_factory is NODEFAULT,
        )
        for field in fields(cls)
    }


@cache
def _options(expected: Any) -> tuple[Any, ...]:
    if get_origin(expected) in (Union, UnionType):
        return tuple(option for option in get_args(expected) if option is not type(None))
    return (expected,)


def _describe(option: Any) -> str:
    container = _container(option)
    if container:
        return "a list" if container.shape is list else "a block of 'key: value' lines"
    return describe_scalar(option)


def _hint(expected: Any, node: Node, report: Report) -> str:
    value = node.value
    words = [str(word) for option in _options(expected) for word in choices(option)]
    near = report.nearest(node.source, words) if isinstance(value, str) else ""
    if near:
        return f"did you mean '{near}'?"
    if expected is bool and isinstance(value, str) and value in _OLD_BOOLS:
        return f"write {str(_OLD_BOOLS[value]).lower()}"
    if str in _options(expected) and node.source and not isinstance(value, str | None):
        return f"write it in quotes: '{node.source}'"
    return ""


def _shown(node: Node) -> str:
    if isinstance(node.value, dict):
        return "a block"
    if isinstance(node.value, list):
        return "a list"
    if node.value is None:
        return "nothing"
    text = node.source if len(node.source) <= _SHOWN else node.source[:_SHOWN] + "..."
    return repr(text) if isinstance(node.value, str) else text


def _join(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key


def _at(path: str, message: str) -> str:
    return f"{path}: {message}" if path else message
