from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from .. import disk
from ..config.load import ConfigFailedError, load
from ..config.places import places
from ..config.presets import PRESETS, render
from ..harness.table import HARNESSES
from .agents import role_option, tcp_option
from .common import EXIT_FAILED, EXIT_WRONG
from .set_up import set_up


@click.command(epilog="Presets: " + "; ".join(f"{name} ({preset.about})" for name, preset in PRESETS.items()) + ".")
@click.option(
    "--preset", type=click.Choice(list(PRESETS)), default="two", show_default=True, help="The names to begin with."
)
@click.option(
    "--model",
    "models",
    multiple=True,
    metavar="REF",
    help="A model, in the order of the preset's names: a folder, a .gguf file, a Hugging Face id, demo, or a name"
    " like claude-haiku-4-5. Repeatable; the last takes the names that are left.",
)
@click.option("--force", is_flag=True, help="Replace a file that is there.")
@click.option("--output", type=click.Path(path_type=Path), help="The file to write, instead of the daemon's own.")
@click.option("--harness", type=click.Choice(sorted(HARNESSES)), help="Set up this agent instead, to ask this daemon.")
@role_option
@tcp_option
@click.option("--write", is_flag=True, help="With --harness: change the files, and show how; backups are kept.")
def command(
    preset: str,
    models: tuple[str, ...],
    force: bool,
    output: Path | None,
    harness: str | None,
    chosen: tuple[str, ...],
    tcp: bool,
    write: bool,
) -> None:
    """Write a first routes.yaml, where the daemon looks for it. Never replaces one without --force.

    With --harness, print instead what that agent's own files are to say so that it asks this daemon, each of its
    roles an endpoint of routes.yaml, and what routes.yaml lacks for it; --write puts it there.

    \b
    Examples:
      routerctl init
      routerctl init --model mlx-community/Qwen3-4B-Instruct-2507-4bit --model claude-haiku-4-5
      routerctl init --preset timmy --output ./routes.yaml
      routerctl init --harness codex --write
      routerctl init --harness hermes --role auxiliary=small
    """
    path = output or places().config
    try:
        text = render(preset, [_from_here(model) for model in models])
        if harness:
            set_up(harness, path, text, chosen, tcp=tcp, write=write)
            return
        loaded = load(text, str(path), os.environ)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--model") from error
    except ConfigFailedError as error:  # the environment gives a tier a model that is none
        click.echo("\n".join(map(str, error.errors)), err=True)
        sys.exit(EXIT_WRONG)
    try:
        write_new(path, text, force=force)
    except FileExistsError:
        click.echo(f"routerctl: {path} is there already: --force replaces it", err=True)
        sys.exit(EXIT_FAILED)
    except OSError as error:
        click.echo(f"routerctl: {path} cannot be written: {error.strerror or error}", err=True)
        sys.exit(EXIT_FAILED)
    config = loaded.config
    click.echo(f"wrote {path}")
    for name, backend in config.backends.items():
        spec = backend.mlx or backend.http
        assert spec
        click.echo(f"  backend {name}: {spec.model} ({backend.kind})")
    click.echo(f"  endpoints: {', '.join(config.endpoints)}; the default is {config.default}")
    click.echo("next:" if models else "next: change the models to those you have, then")
    click.echo(f"  routerctl check{f' {output}' if output else ''}")
    click.echo(f"  routerd serve{f' --config {output}' if output else ''}")


def _from_here(model: str) -> str:
    """A folder or file of this machine by its whole path: the file that names it is elsewhere."""
    path = disk.expanded(model)
    return str(path.absolute()) if path.exists() else model


def write_new(path: Path, text: str, *, force: bool) -> None:
    """Put ``text`` there, a new file for its owner alone. Raises FileExistsError unless ``force``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # in place: where the file is a link, what it leads to is the one to replace
    flags = os.O_WRONLY | os.O_CREAT | (os.O_TRUNC if force else os.O_EXCL)
    with os.fdopen(os.open(path, flags, 0o600), "w") as file:
        file.write(text)
