from __future__ import annotations

import click

from routerd_client.protocol import ModelsResult

from .common import daemon, json_option, print_json, table
from .status import model_row


@click.group("models", invoke_without_command=True)
@json_option
@click.pass_context
def command(context: click.Context, as_json: bool) -> None:
    """Show, load and unload model processes.

    \b
    Examples:
      routerctl models
      routerctl models load small
      routerctl models unload small
    """
    if context.invoked_subcommand is None:
        with daemon(as_json=as_json) as client:
            _print(client.models(), as_json=as_json)


@command.command()
@click.argument("backend")
@json_option
def load(backend: str, as_json: bool) -> None:
    """Load BACKEND's model now and wait until it can answer."""
    with daemon(as_json=as_json) as client:
        _print(client.models("load", backend), as_json=as_json)


@command.command()
@click.argument("backend")
@click.option("--force", is_flag=True, help="Also where it is answering; those answers are cut off.")
@json_option
def unload(backend: str, force: bool, as_json: bool) -> None:
    """Stop BACKEND's model process. The next request loads it again."""
    with daemon(as_json=as_json) as client:
        _print(client.models("unload", backend, force=force), as_json=as_json)


def _print(result: ModelsResult, *, as_json: bool) -> None:
    if as_json:
        print_json({"models": result.models})
    else:
        click.echo(table([model_row(model) for model in result.models]))
