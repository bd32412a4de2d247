"""What a ``match`` says in little languages: patterns, times, ranges."""

from __future__ import annotations

from collections.abc import Callable

from .match import MatchSpec
from .pattern import compile_regex, parse_weekday, parse_window
from .report import Report
from .yamltree import Node, select

_GIVE = "give a value, or remove the key"
_FIELDS = {name.removesuffix("_") for name in MatchSpec.__struct_fields__}


def check_matches(tree: Node, report: Report) -> None:
    """Report what can never match, and what cannot be read."""
    for path, match in select(tree, ("routes", "*", "match")):
        _check(match, path, report)


def _check(match: Node, path: str, report: Report) -> None:
    for key, child in match.items():
        where = f"{path}.{key}"
        if key == "context":
            for name, inner in child.items():
                _check_values(inner, f"{where}.{name}", report)
        elif key not in _FIELDS:
            _check_values(child, where, report)
        elif key in ("chars", "tokens", "turn"):
            _check_range(child, where, report)
        elif key == "not":
            _check(child, where, report)
        else:
            _check_given(child, where, report)
    for key in ("any", "all"):
        for where, inner in select(match, (key, "*"), path):
            _check(inner, where, report)
    _read(match, ("prompt", "regex"), path, compile_regex, report)
    _read(match, ("time",), path, parse_window, report)
    _read(match, ("time", "*"), path, parse_window, report)
    _read(match, ("weekday",), path, parse_weekday, report)
    _read(match, ("weekday", "*"), path, parse_weekday, report)
    for where, words in [*select(match, ("prompt",), path), *select(match, ("prompt", "*"), path)]:
        for word in words.elements():
            if isinstance(word.value, str) and not any(map(str.isalnum, word.source)):
                report.add(word, f"{where}: no prompt has the keyword '{word.source}'", "it needs a letter or a digit")


def _check_values(node: Node, path: str, report: Report) -> None:
    if node.value == []:
        report.add(node, f"{path}: an empty list never matches", _GIVE)


def _check_given(node: Node, path: str, report: Report) -> None:
    if node.value in ([], {}, ""):
        report.add(node, f"{path}: it says nothing", _GIVE)
    for key, child in node.items():
        _check_given(child, f"{path}.{key}", report)


def _read(match: Node, pattern: tuple[str, ...], path: str, parse: Callable[[str], object], report: Report) -> None:
    for where, node in select(match, pattern, path):
        if isinstance(node.value, str) and node.value:
            try:
                parse(node.value)
            except ValueError as error:
                report.add(node, f"{where}: {error}")


def _check_range(node: Node, path: str, report: Report) -> None:
    low, high = node.get("at_least"), node.get("below")
    if node.value == {}:
        report.add(node, f"{path}: give at_least, or below, or both")
    numbers = [side.value for side in (low, high) if side and isinstance(side.value, int | float)]
    if len(numbers) == 2 and numbers[0] >= numbers[1]:
        report.add(node, f"{path}: nothing is at least {numbers[0]:g} and below {numbers[1]:g}")
