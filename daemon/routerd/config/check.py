"""What types cannot say: names that must exist, numbers in their ranges, routes that never match.

The checks read the tree, not the structs, so that they tell their mistakes also where the structs
could not be built.
"""

from __future__ import annotations

import re

from routerd_client.records import ConfigError

from .limits import check_limits
from .report import Report
from .schema import ConfigSpec
from .shadow import shadowed
from .yamltree import Node, select

RESERVED = "routed"
"""What a caller asks for who wants the routes to decide."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]*")


def check(tree: Node, report: Report) -> None:
    """Report every name, reference and number of ``tree`` that is wrong. Pure computation."""
    _check_names(tree, report)
    _check_models(tree, report)
    if _keys(tree, "backends"):
        # without any, each name would be wrong for that one reason
        _check_endpoints(tree, report)
        _check_routes(tree, report)
    check_limits(tree, report)


def _check_names(tree: Node, report: Report) -> None:
    backends, endpoints = tree.get("backends"), tree.get("endpoints")
    if backends and backends.value == {}:
        report.add(backends, "backends: at least one is needed")
    for kind, group in (("a backend", backends), ("an endpoint", endpoints)):
        for name, mark in group.marks.items() if group else ():
            if name == RESERVED:
                report.add(mark, f"the name '{name}' is reserved", "it asks for whatever the routes say")
            elif not _NAME.fullmatch(name):
                report.add(mark, f"'{name}' cannot name {kind}", "use letters, digits and . _ : -")
    for name, mark in endpoints.marks.items() if endpoints else ():
        if backends and name in backends.marks:
            report.add(mark, f"the name '{name}' is taken", f"a backend has it, on line {backends.marks[name].line}")


def _check_models(tree: Node, report: Report) -> None:
    for path, mlx in select(tree, ("backends", "*", "mlx")):
        model = mlx.get("model")
        if model and isinstance(model.value, str) and not model.value.strip():
            report.add(model, f"{path}.model: a model is needed", "a Hugging Face id, a folder, a .gguf file, or demo")


def _check_endpoints(tree: Node, report: Report) -> None:
    backends, endpoints = _keys(tree, "backends"), _keys(tree, "endpoints")
    for path, targets in select(tree, ("endpoints", "*", "fallback")):
        if targets.value == []:
            report.add(targets, f"{path}: at least one backend is needed")
        seen = set()
        for target in targets.elements():
            if not isinstance(target.value, str):
                continue
            if target.value in seen:
                report.add(target, f"{path}: '{target.value}' is listed twice")
            elif target.value in endpoints and target.value not in backends:
                report.add(target, f"{path}: '{target.value}' is an endpoint", "a fallback lists backends")
            else:
                _check_target(target, path, "backend", backends, report)
            seen.add(target.value)


def _check_routes(tree: Node, report: Report) -> None:
    known = [*_keys(tree, "endpoints"), *_keys(tree, "backends")]
    for path, target in [*select(tree, ("routes", "*", "use")), *select(tree, ("default",))]:
        _check_target(target, path, "endpoint or backend", known, report)
    for path, values in select(tree, ("routes", "*", "match", "*")):
        if values.value == []:
            report.add(values, f"{path}: an empty list never matches", "give a value, or remove the key")


def _check_target(target: Node, path: str, kind: str, known: list[str], report: Report) -> None:
    if not isinstance(target.value, str) or target.value in known:
        return
    near = report.nearest(target.value, known)
    listed = f"there are: {', '.join(known)}" if 0 < len(known) <= 8 else ""
    hint = f"did you mean '{near}'?" if near else listed
    report.add(target, f"{path}: there is no {kind} '{target.value}'", hint)


def _keys(tree: Node, key: str) -> list[str]:
    group = tree.get(key)
    return list(group.marks) if group else []


def warnings(config: ConfigSpec, tree: Node, file: str) -> list[ConfigError]:
    """What is legal but surely not meant: routes that an earlier one leaves nothing to. In file order."""
    report = Report(file)
    routes = tree.get("routes")
    nodes = routes.elements() if routes else []
    for late, early in shadowed(config.routes):
        taker = f"routes[{early}] on line {nodes[early].line}"
        report.add(nodes[late], f"routes[{late}] never matches: {taker} takes all of it", "move it up, or remove it")
    return report.sorted()
