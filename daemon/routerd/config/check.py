"""What types cannot say: names that must exist, numbers in their ranges, routes that never match.

The checks read the tree, not the structs, so that they tell their mistakes also where the structs
could not be built.
"""

from __future__ import annotations

import re

from routerd_client.records import ConfigError

from .check_backends import check_backends
from .check_budgets import check_budgets
from .check_front import check_front
from .check_hosts import check_hosts
from .check_match import check_matches
from .check_targets import RESERVED, check_targets
from .graph import TAG
from .limits import check_limits
from .report import Report
from .schema import ConfigSpec
from .secrets import inline_secrets
from .shadow import shadowed
from .yamltree import Node, select

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]*")


def check(tree: Node, report: Report) -> None:
    """Report every name, reference and number of ``tree`` that is wrong. Pure computation."""
    _check_names(tree, report)
    _check_routes(tree, report)
    _check_models(tree, report)
    check_hosts(tree, report)
    check_front(tree, report)
    check_backends(tree, report)
    check_budgets(tree, report)
    check_matches(tree, report)
    if (backends := tree.get("backends")) and backends.marks:
        # without any, each name would be wrong for that one reason
        check_targets(tree, report)
    check_limits(tree, report)


def _check_names(tree: Node, report: Report) -> None:
    backends, endpoints = tree.get("backends"), tree.get("endpoints")
    if backends and backends.value == {}:
        report.add(backends, "backends: at least one is needed")
    for kind, group in (("a backend", backends), ("an endpoint", endpoints)):
        for name, mark in group.marks.items() if group else ():
            if name == RESERVED or name.startswith(TAG):
                asks = "whatever the routes say" if name == RESERVED else "all that have a tag"
                report.add(mark, f"the name '{name}' is reserved", f"it asks for {asks}")
            elif not _NAME.fullmatch(name):
                report.add(mark, f"'{name}' cannot name {kind}", "use letters, digits and . _ : -")
    for name, mark in endpoints.marks.items() if endpoints else ():
        if backends and name in backends.marks:
            report.add(mark, f"the name '{name}' is taken", f"a backend has it, on line {backends.marks[name].line}")


def _check_routes(tree: Node, report: Report) -> None:
    """Counts and decisions are kept by a route's name, so each has its own."""
    routes = tree.get("routes")
    taken: dict[str, tuple[int, int]] = {}
    for index, route in enumerate(routes.elements() if routes else []):
        given = route.get("name")
        name = str(given.value) if given and given.value else f"routes[{index}]"
        if name in taken:
            other, line = taken[name]
            message = f"routes[{index}].name: the name '{name}' is taken"
            report.add(given or route, message, f"routes[{other}] has it, on line {line}")
        taken.setdefault(name, (index, route.line))


def _check_models(tree: Node, report: Report) -> None:
    for path, mlx in select(tree, ("backends", "*", "mlx")):
        model = mlx.get("model")
        if model and isinstance(model.value, str) and not model.value.strip():
            report.add(model, f"{path}.model: a model is needed", "a Hugging Face id, a folder, a .gguf file, or demo")


def warnings(config: ConfigSpec, tree: Node, file: str) -> list[ConfigError]:
    """What is legal but surely not meant: routes that an earlier one leaves nothing to, secrets in the open."""
    report = Report(file)
    for path, secret in inline_secrets(config, tree):
        hint = "write {env: NAME}, {file: PATH} or {keychain: SERVICE}"
        report.add(secret, f"{path}: a secret stands in the file", hint)
    routes = tree.get("routes")
    nodes = routes.elements() if routes else []
    for late, early in shadowed(config.routes):
        taker = f"routes[{early}] on line {nodes[early].line}"
        report.add(nodes[late], f"routes[{late}] never matches: {taker} takes all of it", "move it up, or remove it")
    return report.sorted()
