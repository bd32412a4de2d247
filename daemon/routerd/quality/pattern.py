"""How long a regular expression may take, found from its text alone. Pure; linear in the pattern.

Python's matcher backtracks, and holds the interpreter meanwhile: what might take long must not be begun.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache

from msgspec import Struct

LONGEST = 500
"""Characters: a longer pattern is not tried."""
MOST_WORK = 10_000_000
"""Steps: what may take more is not tried. A twentieth of a second, since most ways end early."""
_HIGHEST = 3
"""Repetitions without end that may follow one another."""

_TOKEN = re.compile(
    r"(?P<atom>\\[^1-9]|\[\^?\]?(?:\\.|[^\]\\])*+\])"  # an escape, a class: one character each
    r"|(?P<open>\((?!\?)|\(\?(?::|P?<\w+>))|(?P<close>\))|(?P<or>\|)"
    r"|(?P<endless>[*+]|\{\d*,\})[?+]?|(?P<maybe>\?)[?+]?|(?P<times>\{(?P<least>\d*)(?:,(?P<most>\d+))?\})[?+]?"
    r"|(?P<other>[^\\\[()])",
    re.DOTALL,
)


class _Cost(Struct):
    """Ways to match a part of a pattern: ``ways`` times the length of the text to the power of ``power``."""

    ways: int = 1
    power: int = 0
    repeats: bool = False

    def then(self, other: _Cost) -> None:
        self.ways = min(self.ways * other.ways, MOST_WORK + 1)
        self.power += other.power
        self.repeats = self.repeats or other.repeats


class _Group:
    """A group, or the whole, as it is read: its alternatives so far, the one that is read, and its newest item."""

    def __init__(self) -> None:
        self._others: list[_Cost] = []
        self._here = _Cost()
        self._item = _Cost()

    @property
    def branches(self) -> bool:
        return bool(self._others)

    def add(self, item: _Cost) -> None:
        self._here.then(self._item)
        self._item = item

    def alternative(self) -> None:
        self.add(_Cost())
        self._others.append(self._here)
        self._here = _Cost()

    def repeat(self, ways: int, power: int, *, endless: bool) -> bool:
        """Repeat the newest item; false where it holds a choice, so that the ways multiply."""
        item = self._item
        if endless and (item.ways > 1 or item.repeats):
            return False
        self._item = _Cost(min(item.ways * ways, MOST_WORK + 1), item.power + power, repeats=True)
        return True

    def whole(self) -> _Cost:
        self.alternative()
        ways = sum(cost.ways for cost in self._others)
        power = max(cost.power for cost in self._others)
        return _Cost(ways, power, any(cost.repeats for cost in self._others))


def work(pattern: str, length: int) -> int | None:
    """Steps that ``pattern`` may take on a text of ``length`` characters; None where it is not to be tried."""
    cost = _cost(pattern) if len(pattern) <= LONGEST else None
    if cost is None:
        return None
    steps: int = cost.ways * (length + 1) ** cost.power
    return steps if steps <= MOST_WORK else None


@lru_cache(maxsize=256)
def _cost(pattern: str) -> _Cost | None:
    groups = [_Group()]
    for token in _tokens(pattern):
        if token is None or not _take(token, groups):
            return None
    if len(groups) > 1:
        return None
    anchored = pattern.startswith("^") and not groups[0].branches
    cost = groups[0].whole()
    if not anchored:
        cost.power += 1  # it is tried at every place
    return cost if cost.power <= _HIGHEST else None


def _tokens(pattern: str) -> Iterator[re.Match[str] | None]:
    """The pattern's tokens; None for what is none that is understood: references, look-around, what never closes."""
    at = 0
    while at < len(pattern):
        token = _TOKEN.match(pattern, at)
        yield token
        if token is None:
            return
        at = token.end()


def _take(token: re.Match[str], groups: list[_Group]) -> bool:
    """Whether the pattern may still be tried after ``token``."""
    match token.lastgroup:
        case "open":
            groups.append(_Group())
            return True
        case "close":
            if len(groups) == 1:
                return False
            cost = groups.pop().whole()
            groups[-1].add(cost)
            return True
        case "or":
            groups[-1].alternative()
            return True
    return _repeat(token, groups[-1])


def _repeat(token: re.Match[str], group: _Group) -> bool:
    if token["endless"]:
        return group.repeat(1, 1, endless=True)
    if token["maybe"]:
        return group.repeat(2, 0, endless=False)
    if token["times"]:
        least = int(token["least"] or 0)
        most = int(token["most"] or least)
        return most <= 1000 and least <= most and group.repeat(most - least + 1, 0, endless=True)
    group.add(_Cost())
    return True
