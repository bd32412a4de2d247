"""A configuration as it is in force: every default filled in, nothing secret in it. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum
from functools import cache
from typing import Any, get_args, get_type_hints

from msgspec import Struct

from .http import HttpSpec
from .load import Loaded
from .schema import ConfigSpec
from .types import SecretSpec
from .units import format_duration
from .yamltree import Node

Path = tuple[str, ...]

HIDDEN = "********"
_NO_OPINION: tuple[Any, ...] = (None, "", (), {})


def effective(config: ConfigSpec) -> dict[str, Any]:
    """``config`` as the text of a file would give it, of dictionaries, lists and scalars.

    It loads as the same configuration again, but for secrets and header values that stand in the file: these
    are `HIDDEN`, and so are the arguments of commands that print a secret. What has no value is left out.
    """
    return _struct(config)


def origin(loaded: Loaded, path: Path, file: str) -> str:
    """Where the value at ``path`` of `effective` is from: ``file:line``, what was translated, or ``default``."""
    node = _find(loaded.tree, path)
    if node is None:
        return "default"
    made = next((loaded.origins[part] for part in _prefixes(path) if part in loaded.origins), "")
    if made.startswith(("env ", "preset ")):
        return made
    place = f"{file}:{node.line}"
    return f"{made}, {place}" if made else place


def _struct(value: Struct) -> dict[str, Any]:
    hints = _hints(type(value))
    shown = {}
    for name in value.__struct_fields__:
        item = getattr(value, name)
        if item not in _NO_OPINION:
            hidden = isinstance(value, HttpSpec) and name == "headers"
            shown[name.removesuffix("_")] = dict.fromkeys(item, HIDDEN) if hidden else _plain(item, hints[name])
    return shown


def _plain(value: Any, hint: Any = None) -> Any:
    if isinstance(value, SecretSpec):
        return _secret(value)
    if isinstance(value, Struct):
        return _struct(value)
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, Enum):
        return value.value
    return format_duration(value) if isinstance(value, float) and _is_duration(hint) else value


def _secret(secret: SecretSpec) -> str | dict[str, Any]:
    if secret.inline:
        return HIDDEN
    if secret.command:
        return {"command": [secret.command[0], *([HIDDEN] if len(secret.command) > 1 else [])]}
    return _struct(secret)


@cache
def _hints(cls: type[Struct]) -> dict[str, Any]:
    return get_type_hints(cls, include_extras=True)


def _is_duration(hint: Any) -> bool:
    options = (hint, *get_args(hint))
    return any(getattr(option, "__metadata__", ()) == ("duration",) for option in options)


def _find(tree: Node, path: Path) -> Node | None:
    """What the file says at ``path``; a value that it says in short form stands where the long form would."""
    node: Node | None = tree
    for key in path:
        assert node
        if isinstance(node.value, list):
            node = node.elements()[int(key)]
            continue
        inner = node.get(key)
        if inner is None and key == "context":
            continue  # a match may give the context's keys beside its own
        node = inner
        if node is None:
            return None
    return node


def _prefixes(path: Path) -> Iterator[Path]:
    """``path`` and all that it is in, the nearest first."""
    return (path[:length] for length in range(len(path), 0, -1))
