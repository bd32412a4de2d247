from __future__ import annotations

import shlex
import sys

import click

from ..config.load import ConfigFailedError, read
from ..config.places import places
from ..harness.table import HARNESSES
from .agents import plan, role_option, tcp_option, warn_toolless
from .common import EXIT_FAILED, EXIT_WRONG, json_option, print_json


@click.command()
@click.argument("agent", type=click.Choice(sorted(HARNESSES)), metavar="AGENT")
@role_option
@tcp_option
@json_option
def command(agent: str, chosen: tuple[str, ...], tcp: bool, as_json: bool) -> None:
    """Print what AGENT needs in its environment to ask this daemon, as lines for a shell.

    \b
    Examples:
      eval "$(routerctl env claude-code)" && claude
      eval "$(routerctl env aider --role weak=small)" && aider
      routerctl env open-webui --json
    """
    path = places().config
    try:
        made = plan(agent, path, read(path), chosen, tcp=tcp, as_is=True)
    except ConfigFailedError as error:
        click.echo("\n".join(map(str, error.errors)), err=True)
        sys.exit(EXIT_WRONG)
    if made.harness.environment is None:
        click.echo(f"routerctl: {agent} is set up by its files: routerctl init --harness {agent}", err=True)
        sys.exit(EXIT_WRONG)
    if "http" in made.routes.patch:
        listen = made.routes.patch["http"]["listen"]
        click.echo(f"routerctl: routes.yaml has no front for it: add 'http: {{listen: \"{listen}\"}}'", err=True)
        sys.exit(EXIT_FAILED)
    warn_toolless(agent, made)
    variables = made.harness.environment(made.setup)
    if as_json:
        print_json(variables)
    else:
        click.echo("\n".join(f"export {name}={shlex.quote(value)}" for name, value in variables.items()))
