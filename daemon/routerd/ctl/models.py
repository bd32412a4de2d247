from __future__ import annotations

import click

from routerd_client.protocol import ModelsAction, ModelsResult, Progress

from .common import daemon, json_option, model_names, print_json, table
from .progress import ProgressLine
from .status import model_row

STORED = ("ls", "pull", "rm")
"""The commands that deal with files and need no daemon; imported when used, as they bring much with them."""


class _Models(click.Group):
    def list_commands(self, context: click.Context) -> list[str]:
        return sorted([*super().list_commands(context), *STORED])

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        if name in STORED:
            from . import storage

            found = getattr(storage, name)
            assert isinstance(found, click.Command)
            return found
        return super().get_command(context, name)


@click.group("models", cls=_Models, invoke_without_command=True)
@json_option
@click.pass_context
def command(context: click.Context, as_json: bool) -> None:
    """Show, load and unload model processes; download, list and delete models.

    \b
    Examples:
      routerctl models
      routerctl models load small
      routerctl models pull mlx-community/Qwen3-4B-Instruct-2507-4bit
      routerctl models ls
    """
    if context.invoked_subcommand is None:
        _processes(as_json=as_json)


@command.command()
@json_option
def ps(as_json: bool) -> None:
    """Show the model processes, as `routerctl models` does.

    \b
    Examples:
      routerctl models ps
      routerctl models ps --json | jq '.models[] | {backend, residency, memory_bytes}'
    """
    _processes(as_json=as_json)


@command.command()
@click.argument("backend", shell_complete=model_names)
@json_option
def load(backend: str, as_json: bool) -> None:
    """Load BACKEND's model now and wait until it can answer.

    \b
    Examples:
      routerctl models load small
    """
    progress = ProgressLine()

    def show(event: Progress) -> None:
        progress.show(event.phase, event.fraction)

    with daemon(as_json=as_json) as client:
        try:
            result = client.models("load", backend, on_progress=show)
        finally:
            progress.clear()
    _print(result, as_json=as_json)


@command.command()
@click.argument("backend", shell_complete=model_names)
@click.option("--force", is_flag=True, help="Also where it is answering; those answers are cut off.")
@json_option
def unload(backend: str, force: bool, as_json: bool) -> None:
    """Stop BACKEND's model process. The next request loads it again.

    \b
    Examples:
      routerctl models unload small
      routerctl models unload small --force
    """
    with daemon(as_json=as_json) as client:
        _print(client.models("unload", backend, force=force), as_json=as_json)


@command.command()
@click.argument("backend", shell_complete=model_names)
@json_option
def pin(backend: str, as_json: bool) -> None:
    """Load BACKEND's model and keep it, idle or not, until `unpin` or the daemon's end.

    \b
    Examples:
      routerctl models pin small
    """
    _act("pin", backend, as_json=as_json)


@command.command()
@click.argument("backend", shell_complete=model_names)
@json_option
def unpin(backend: str, as_json: bool) -> None:
    """Let BACKEND's model be unloaded again.

    \b
    Examples:
      routerctl models unpin small
    """
    _act("unpin", backend, as_json=as_json)


def _act(action: ModelsAction, backend: str, *, as_json: bool) -> None:
    with daemon(as_json=as_json) as client:
        _print(client.models(action, backend), as_json=as_json)


def _processes(*, as_json: bool) -> None:
    with daemon(as_json=as_json) as client:
        _print(client.models(), as_json=as_json)


def _print(result: ModelsResult, *, as_json: bool) -> None:
    if as_json:
        print_json({"models": result.models})
    else:
        click.echo(table([model_row(model) for model in result.models]))
