from __future__ import annotations

import sys
import time
from pathlib import Path

import click

from routerd_client.protocol import CheckResult
from routerd_client.records import ConfigError

from ..app.compiled import compile_file
from ..config.load import ConfigFailedError, Loaded
from ..config.places import places
from ..config.report import Report
from ..config.unreached import advice, unreached
from ..harness.table import HARNESSES
from ..store.callers import naming
from .common import EXIT_WRONG, json_option, print_json

SEEN_S = 7 * 86_400.0
"""Seconds back for which clients are looked for in the ledger."""


@click.command()
@click.argument("file", required=False, type=click.Path(path_type=Path))
@json_option
def command(file: Path | None, as_json: bool) -> None:
    """Validate FILE, or the routes.yaml that the daemon would use. Needs no daemon.

    Every mistake is told as file:line:column; the exit code is then 2. Warnings are legal but
    surely not meant. Two go by more than the file: a server on this machine of which nobody says
    whether it forwards requests, and a route by client whose client has named a model in all its
    requests of the last week, by the ledger: a named model skips the routes.

    \b
    Examples:
      routerctl check
      routerctl check ./routes.yaml --json
    """
    path = file or places().config
    result = check(path)
    if as_json:
        print_json({"file": str(path), "errors": result.errors, "warnings": result.warnings})
    else:
        for error in result.errors:
            click.echo(str(error), err=True)
        for warning in result.warnings:
            click.echo(f"warning: {warning}", err=True)
        if not result.errors:
            click.echo(f"{path}: no mistakes")
    if result.errors:
        sys.exit(EXIT_WRONG)


def check(path: Path) -> CheckResult:
    """Check ``path`` as a daemon would, and against the clients it has seen. Blocks on the disk."""
    try:
        loaded = compile_file(path, places().state).loaded
        return CheckResult(id=0, warnings=[*loaded.warnings, *_seen(path, loaded), *_undeclared(path, loaded)])
    except ConfigFailedError as error:
        return CheckResult(id=0, errors=error.errors)


def _undeclared(path: Path, loaded: Loaded) -> list[ConfigError]:
    """Return a note of each server on this machine of which nobody knows whether it forwards requests."""
    report, backends = Report(str(path)), loaded.tree.get("backends")
    assert backends
    for name, spec in loaded.config.backends.items():
        if spec.near and spec.http and spec.http.local is None:
            what = f"backends.{name} is on this machine but may forward requests, so those with local_only"
            hint = "say 'local: true' if it answers by itself, 'local: false' if it does not"
            report.add(backends.marks[name], f"{what} go to it only if it is another routerd", hint)
    return report.sorted()


def _seen(path: Path, loaded: Loaded) -> list[ConfigError]:
    """Return a warning of each route by client that its client never reaches, by the ledger."""
    report, routes = Report(str(path)), loaded.tree.get("routes")
    if not routes:
        return []
    for index, client, why in unreached(loaded.config.routes, naming(places().state, time.time() - SEEN_S)):
        name = loaded.config.routes[index].name
        report.add(
            routes.elements()[index], f"routes[{index}]{f' {name!r}' if name else ''}: {why}", advice(client, HARNESSES)
        )
    return report.sorted()
