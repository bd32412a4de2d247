from __future__ import annotations

import sys
from pathlib import Path

import click

from routerd_client.protocol import CheckResult

from ..app.compiled import compile_file
from ..config.load import ConfigFailedError
from ..config.places import places
from .common import EXIT_WRONG, json_option, print_json


@click.command()
@click.argument("file", required=False, type=click.Path(path_type=Path))
@json_option
def command(file: Path | None, as_json: bool) -> None:
    """Validate FILE, or the routes.yaml that the daemon would use. Needs no daemon.

    Every mistake is told as file:line:column; the exit code is then 2. Warnings are legal but
    surely not meant.

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
    """What a daemon would say of ``path``. Blocks on the disk."""
    try:
        compiled = compile_file(path, places().state)
        return CheckResult(id=0, warnings=compiled.loaded.warnings)
    except ConfigFailedError as error:
        return CheckResult(id=0, errors=error.errors)
