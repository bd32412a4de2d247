"""Laying a patch over the text of a file that is somebody else's: what it does not touch stays as it was written."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Mapping
from typing import Any

import yaml

from .setup import Edit

_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_TABLE = re.compile(r"\s*\[+\s*([^\]]+?)\s*\]+")
_KEY = re.compile(r"\s*([\w-]+)\s*=")


class CannotEditError(Exception):
    """The file cannot be read, or not be changed without harm."""


def edited(edit: Edit, text: str) -> str:
    """``text`` with ``edit`` made; ``""`` gives the file as it is where there is none. Raises `CannotEditError`."""
    try:
        return _FORMATS[edit.format](edit, text)
    except (yaml.YAMLError, json.JSONDecodeError, tomllib.TOMLDecodeError) as error:
        what = " ".join(str(error).split())
        raise CannotEditError(f"{edit.path} is no {edit.format.upper()} that can be read: {what}") from error


def merged(old: Any, patch: Any, by: str = "") -> Any:
    """``patch`` laid over ``old`` as RFC 7396 has it, and lists of maps by their key ``by``, new ones first."""
    if isinstance(patch, dict):
        result = dict(old) if isinstance(old, dict) else {}
        for key, value in patch.items():
            if value is None:
                result.pop(key, None)
            else:
                result[key] = merged(result.get(key), value, by)
        return result
    if by and isinstance(patch, list) and isinstance(old, list):
        mine = [item[by] for item in patch]
        return [*patch, *(item for item in old if not (isinstance(item, dict) and item.get(by) in mine))]
    return patch


def _yaml(edit: Edit, text: str) -> str:
    old = yaml.load(text, Loader=_Loader)  # noqa: S506 - the C version of the safe one
    new = merged(old, edit.patch, edit.by)
    root = yaml.compose(text, Loader=_Loader)
    if not isinstance(root, yaml.MappingNode) or root.flow_style or not isinstance(new, dict):
        return _dump(new)
    changed = {key: value for key, value in new.items() if key not in old or old[key] != value}
    gone = [key for key in old if key not in new]
    kept = _Blocks(text, root).replaced(old, changed, gone)
    # anchors, keys given twice and the like: then the whole is written anew
    return kept if _same(kept, new) else _dump(new)


def _same(text: str, value: Any) -> bool:
    try:
        return bool(yaml.load(text, Loader=_Loader) == value)  # noqa: S506
    except yaml.YAMLError:
        return False


class _Blocks:
    """A YAML file by its topmost keys, each with the lines from it to the next."""

    def __init__(self, text: str, root: yaml.MappingNode) -> None:
        self._lines = text.splitlines()
        self._values = {key.value: value for key, value in root.value}
        starts = [key.start_mark.line for key, _ in root.value]
        ends = [self._end(end) for end in [*starts[1:], len(self._lines)]]
        self._spans = {
            key.value: span for (key, _), span in zip(root.value, zip(starts, ends, strict=True), strict=True)
        }

    def _end(self, end: int) -> int:
        """Comments before a key are that key's."""
        while end and (not self._lines[end - 1].strip() or self._lines[end - 1].startswith("#")):
            end -= 1
        return end

    def replaced(self, old: Mapping[str, Any], changed: Mapping[str, Any], gone: list[str]) -> str:
        lines = list(self._lines)
        for key in sorted(self._spans, key=lambda key: self._spans[key], reverse=True):
            start, end = self._spans[key]
            if key in gone:
                del lines[start:end]
            elif key in changed:
                lines[start:end] = self._grown(key, old[key], changed[key]) or _dump({key: changed[key]}).splitlines()
        new = {key: value for key, value in changed.items() if key not in self._spans}
        return "\n".join([*lines, *(_dump(new).splitlines() if new else [])]) + "\n"

    def _grown(self, key: str, old: Any, new: Any) -> list[str]:
        """The block's lines with what is new in it put first, where nothing else of it changes; else none."""
        value, (start, end) = self._values[key], self._spans[key]
        if not isinstance(value, yaml.CollectionNode) or value.flow_style or value.start_mark.line == start:
            return []
        added: Any
        if isinstance(old, dict) and isinstance(new, dict) and all(new.get(name) == old[name] for name in old):
            added = {name: item for name, item in new.items() if name not in old}
        elif isinstance(old, list) and isinstance(new, list) and old and new[-len(old) :] == old:
            added = new[: -len(old)]
        else:
            return []
        margin = " " * value.start_mark.column
        at = value.start_mark.line
        return [*self._lines[start:at], *(margin + line for line in _dump(added).splitlines()), *self._lines[at:end]]


def _dump(value: Any) -> str:
    """A line for each key or item at the top, and below it blocks where they hold more than scalars."""
    if isinstance(value, dict) and value:
        return "".join(_dump_one({key: item}, item) for key, item in value.items())
    if isinstance(value, list) and value:
        return "".join(_dump_one([item], item) for item in value)
    return yaml.safe_dump(value)


def _dump_one(whole: Any, item: Any) -> str:
    flow = None if isinstance(item, dict | list) else False
    return yaml.safe_dump(whole, sort_keys=False, allow_unicode=True, default_flow_style=flow, width=110)


def _json(edit: Edit, text: str) -> str:
    old = json.loads(text) if text.strip() else {}
    return json.dumps(merged(old, edit.patch, edit.by), indent=2, ensure_ascii=False) + "\n"


def _env(edit: Edit, text: str) -> str:
    kept = [line for line in text.splitlines() if line.partition("=")[0].removeprefix("export ") not in edit.patch]
    return "\n".join([*kept, *(f"{key}={value}" for key, value in edit.patch.items())]) + "\n"


def _text(edit: Edit, _text: str) -> str:
    return str(edit.patch)


def _toml(edit: Edit, text: str) -> str:
    """The patch's tables take the place of those in the file; its values are written before the first table."""
    values = {key: value for key, value in edit.patch.items() if not isinstance(value, dict)}
    tables = list(_tables(edit.patch))
    paths = [path for path, _ in tables]
    kept: list[str] = []
    table: tuple[str, ...] = ()
    for line in text.splitlines():
        if header := _TABLE.match(line):
            table = tuple(part.strip("\"' ") for part in header[1].split("."))
        key = _KEY.match(line)
        dropped = any(table[: len(path)] == path for path in paths) or (not table and key and key[1] in values)
        if not dropped:
            kept.append(line)
    head = [f"{key} = {_toml_value(value)}" for key, value in values.items() if value is not None]
    blocks = [
        "\n".join([f"[{'.'.join(path)}]", *(f"{key} = {_toml_value(value)}" for key, value in block.items())])
        for path, block in tables
    ]
    body = "\n".join(kept).strip("\n")
    result = "\n\n".join(part for part in ("\n".join(head), body, *blocks) if part) + "\n"
    _check_toml(edit, text, result, paths)
    return result


def _check_toml(edit: Edit, text: str, result: str, paths: list[tuple[str, ...]]) -> None:
    """Values over several lines, tables in one line: what this does not read is not to be spoilt."""
    expected = tomllib.loads(text)
    for *parents, last in paths:
        table = expected
        for name in parents:
            table = table.get(name, {})
        table.pop(last, None)
    try:
        right = tomllib.loads(result) == merged(expected, edit.patch)
    except tomllib.TOMLDecodeError:
        right = False
    if not right:
        raise CannotEditError(f"{edit.path} is written in a way that cannot be changed here: do it by hand")


def _tables(value: Mapping[str, Any], path: tuple[str, ...] = ()) -> Any:
    """The tables in ``value`` that hold values, each with its path."""
    for key, item in value.items():
        if isinstance(item, dict):
            inner = {name: part for name, part in item.items() if not isinstance(part, dict)}
            if inner:
                yield (*path, key), inner
            yield from _tables(item, (*path, key))


def _toml_value(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)  # texts, numbers, booleans and lists of them are written alike


_FORMATS = {"yaml": _yaml, "json": _json, "env": _env, "text": _text, "toml": _toml}
