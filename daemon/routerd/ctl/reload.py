from __future__ import annotations

import sys

import click

from .common import EXIT_WRONG, daemon, json_option, print_json


@click.command()
@json_option
def command(as_json: bool) -> None:
    """Have the daemon read routes.yaml again, and say what changed.

    The daemon does so by itself when the file is saved; this waits for it and shows the result.
    A file with mistakes changes nothing: they are listed, and the exit code is 2.

    \b
    Examples:
      routerctl reload
      routerctl reload --json | jq .plan.changes
    """
    with daemon(as_json=as_json) as client:
        result = client.reload()
    if as_json:
        print_json(result)
    elif result.errors:
        click.echo("\n".join(str(error) for error in result.errors), err=True)
        click.echo(f"refused: generation {result.generation} stays in force", err=True)
    elif not result.changed or result.plan is None:
        click.echo(f"nothing changed: generation {result.generation}")
    else:
        click.echo(f"generation {result.generation}: {result.plan.summary}")
        for change in result.plan.changes:
            click.echo(f"  {change}")
    if result.errors:
        sys.exit(EXIT_WRONG)
