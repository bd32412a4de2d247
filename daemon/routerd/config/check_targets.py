"""Names that must exist, strategies that must be whole: endpoints, routes, aliases, tests."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase

from .graph import TAG
from .report import Report
from .strategy import STRATEGIES, EndpointSpec
from .yamltree import Node, select

RESERVED = "routed"
_ENDPOINT_KEYS = frozenset(EndpointSpec.__struct_encode_fields__)
MOST_SCORE = 10
"""What a caller asks for who wants the routes to decide."""


class Names:
    """What the file's names may refer to."""

    def __init__(self, tree: Node, report: Report) -> None:
        self._report = report
        self.endpoints = _keys(tree, "endpoints")
        self.known = [*_keys(tree, "backends"), *self.endpoints]
        self._tags = {
            tag.value
            for group in ("backends", "endpoints")
            for _, tag in select(tree, (group, "*", "tags", "*"))
            if isinstance(tag.value, str)
        }

    def check(self, target: Node, path: str, *more: str) -> None:
        """Report ``target`` where it names nothing; ``more`` may be named as well."""
        name = target.value
        if not isinstance(name, str) or name in self.known or name in more:
            return
        if name.startswith(TAG):
            tag = name.removeprefix(TAG)
            if tag not in self._tags:
                self._report.add(target, f"{path}: nothing has the tag '{tag}'", self._hint(tag, sorted(self._tags)))
        else:
            known = [*self.known, *more]
            self._report.add(target, f"{path}: there is no endpoint or backend '{name}'", self._hint(name, known))

    def _hint(self, name: str, known: list[str]) -> str:
        if near := self._report.nearest(name, known):
            return f"did you mean '{near}'?"
        return f"there are: {', '.join(known)}" if 0 < len(known) <= 8 else ""


def check_targets(tree: Node, report: Report) -> None:
    """Report every name that leads nowhere, and every strategy that is none or more than one."""
    names = Names(tree, report)
    for path, endpoint in select(tree, ("endpoints", "*")):
        _check_strategy(endpoint, path, names, report)
    for path, other in select(tree, ("endpoints", "*", "shadow", "to")):
        names.check(other, path)
    for pattern in (("routes", "*", "use"), ("default",), ("tests", "*", "expect")):
        for path, target in select(tree, pattern):
            names.check(target, path)
    for path, target in select(tree, ("aliases", "*")):
        names.check(target, path, RESERVED)
    aliases = _keys(tree, "aliases")
    for path, model in select(tree, ("tests", "*", "model")):
        if model.value and not any(fnmatchcase(str(model.value), alias) for alias in aliases):
            names.check(model, path, RESERVED)


def _misspelled(block: Mapping[str, object], report: Report) -> bool:
    """Return whether the block has no strategy but a key that was probably meant to be one."""
    unknown = [key for key in block if key not in _ENDPOINT_KEYS]
    return not any(key in STRATEGIES for key in block) and any(report.nearest(key, STRATEGIES) for key in unknown)


def _check_strategy(node: Node, path: str, names: Names, report: Report) -> None:
    if not isinstance(node.value, dict) or _misspelled(node.value, report):
        return  # no block, or an unknown key: either is reported where the block is built
    given = [key for key in node.value if key in STRATEGIES]
    used = [key for key in given if node.value[key].value] or given[:1]
    if len(used) != 1:
        what = f"one strategy is needed, not {' and '.join(used)}" if used else "a strategy is needed"
        report.add(node.marks[used[1]] if used else node, f"{path}: {what}", f"one of {', '.join(STRATEGIES)}")
        return
    (strategy,) = used
    if not node.value[strategy].value:
        report.add(node.value[strategy], f"{path}.{strategy}: at least one target is needed")
    if strategy == "by_complexity":
        _check_bands(node.value[strategy], f"{path}.{strategy}", report)
    _check_ab(node, path, report)
    if strategy == "weighted":
        _check_weights(node.value[strategy], f"{path}.{strategy}", report)
    for key in ("judge", "floor", "quality_floor"):
        share = node.get(key)
        if share and isinstance(share.value, int | float) and not 0 <= share.value <= 1:
            report.add(share, f"{path}.{key}: must be between 0 and 1, got {share.source}")
    seen: set[str] = set()
    for where, target in _targets(node, strategy, path):
        if isinstance(target.value, dict):
            _check_strategy(target, where, names, report)
        elif isinstance(target.value, str):
            if target.value in seen and where.startswith(f"{path}.{strategy}") and strategy != "by_complexity":
                report.add(target, f"{path}.{strategy}: '{target.value}' is listed twice")
            names.check(target, where)
            seen.add(target.value)


def _targets(node: Node, strategy: str, path: str) -> Iterator[tuple[str, Node]]:
    """What a strategy's block names, each with its path."""
    given = node.get(strategy)
    assert given
    for name in given.marks:  # a map's keys are the targets
        yield f"{path}.{strategy}", _key(given, name)
    for index, element in enumerate(given.elements()):
        where = f"{path}.{strategy}[{index}]"
        inner = element.get("use") if strategy in ("by_complexity", "weighted") else element
        if inner:
            yield where, inner
    for key in ("abstain", "then"):
        if (child := node.get(key)) and child.value is not None:
            yield f"{path}.{key}", child


def _key(node: Node, name: str) -> Node:
    return Node(name, node.marks[name], name)


def _check_bands(bands: Node, path: str, report: Report) -> None:
    last = float("-inf")
    for index, band in enumerate(bands.elements()):
        below = band.get("below")
        if below is None or below.value is None:
            if index < len(bands.elements()) - 1:
                report.add(band, f"{path}[{index}]: a band without 'below' takes all that are left", "put it last")
        elif isinstance(below.value, int | float):
            _check_score(below, f"{path}[{index}].below", report)
            if below.value <= last:
                report.add(below, f"{path}[{index}].below: must be more than the band before it, {last:g}")
            last = float(below.value)
    elements = bands.elements()
    if elements and (below := elements[-1].get("below")) and below.value is not None:
        report.add(elements[-1], f"{path}: asks that score {last:g} or more have no band", "end with {use: NAME}")


def _check_score(limit: Node, path: str, report: Report) -> None:
    if isinstance(limit.value, int | float) and not 0 <= limit.value <= MOST_SCORE:
        what = f"{path}: must be between 0 and {MOST_SCORE}, got {limit.source}"
        report.add(limit, what, f"asks score 0 to {MOST_SCORE}")


def _check_ab(node: Node, strategy_path: str, report: Report) -> None:
    ab, bands, path = node.get("ab"), node.get("by_complexity"), f"{strategy_path}.ab"
    if ab is None or ab.value is None:
        return
    if bands is None:
        report.add(ab, f"{path}: only by_complexity has limits to compare")
        return
    share = ab.get("share")
    if share and isinstance(share.value, int | float) and not 0 <= share.value <= 1:
        report.add(share, f"{path}.share: must be between 0 and 1, got {share.source}")
    below = ab.get("below")
    limits = [element.value for element in below.elements()] if below else []
    if below and len(limits) != 2:
        report.add(below, f"{path}.below: two limits are compared, and {len(limits)} are given")
    for limit in below.elements() if below else ():
        _check_score(limit, f"{path}.below", report)
    elements = bands.elements()
    if len(elements) < 2:
        report.add(ab, f"{path}: it needs a second band, for asks that score more")
        return
    last = elements[1].get("below")
    most = last.value if last and isinstance(last.value, int | float) else float("inf")
    if below and any(isinstance(limit, int | float) and limit >= most for limit in limits):
        report.add(below, f"{path}.below: must be less than the next band's, {most:g}")


def _check_weights(weights: Node, path: str, report: Report) -> None:
    shares = [(name, value) for name, value in weights.items()]
    shares += [(str(i), w) for i, e in enumerate(weights.elements()) if (w := e.get("weight"))]
    numbers = [value.value for _, value in shares if isinstance(value.value, int | float)]
    for name, value in shares:
        if isinstance(value.value, int | float) and not 0 <= value.value < float("inf"):
            report.add(value, f"{path}.{name}: a weight is 0 or more, got {value.source}")
    if numbers and len(numbers) == len(shares) and not any(numbers):
        report.add(weights, f"{path}: all weights are 0, so nobody answers")


def _keys(tree: Node, key: str) -> list[str]:
    group = tree.get(key)
    return list(group.marks) if group else []
