from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from ..app.compiled import compile_text
from ..config.importers import IMPORTERS, import_text
from ..config.load import ConfigFailedError, load
from ..config.places import places
from .agents import LISTEN
from .common import EXIT_FAILED, EXIT_WRONG
from .rewrite import read, rewrite


@click.command(name="import")
@click.argument("system", type=click.Choice(IMPORTERS), metavar=f"[{'|'.join(IMPORTERS)}]")
@click.argument("file", type=click.Path(path_type=Path, allow_dash=True))
@click.option("--write", is_flag=True, help="Write it, and show what changes; what was there is kept beside it.")
@click.option("--output", type=click.Path(path_type=Path), help="The file to write, instead of the daemon's own.")
def command(system: str, file: Path, write: bool, output: Path | None) -> None:
    """Make a routes.yaml from another system's FILE (- for standard input), and print it. What could not be carried
    over is said line by line, on stderr and at the head of the file.

    FILE is LiteLLM's or llama-swap's config.yaml, Hermes's ~/.hermes/config.yaml, or for Ollama what `ollama list`
    prints, or a Modelfile.

    \b
    Examples:
      routerctl import litellm config.yaml
      ollama list | routerctl import ollama - --write
    """
    path = output or places().config
    try:
        text = sys.stdin.read() if str(file) == "-" else file.read_text(encoding="utf-8")
        found = import_text(system, text, file.name, listen=_own())
        warnings = compile_text(found.text, str(path), places().state).loaded.warnings
    except (OSError, UnicodeDecodeError) as error:
        click.echo(f"routerctl: {file} cannot be read: {error}", err=True)
        sys.exit(EXIT_FAILED)
    except ConfigFailedError as error:
        click.echo("\n".join(map(str, error.errors)), err=True)
        sys.exit(EXIT_WRONG)
    if found.notes:
        click.echo("not carried over, or not as it was:", err=True)
    for note in found.notes:
        click.echo(f"  {file.name}:{note.line}: {note.what}", err=True)
    for warning in warnings:
        click.echo(f"warning: {warning.message}", err=True)
    if not write:
        click.echo(found.text, nl=False)
        return
    try:
        click.echo(rewrite(path, read(path), found.text))
    except OSError as error:
        click.echo(f"routerctl: {path} cannot be written: {error.strerror or error}", err=True)
        sys.exit(EXIT_FAILED)


def _own() -> str:
    """Where this machine's daemon takes HTTP, or would."""
    path = places().config
    try:
        http = load(read(path), str(path), os.environ).config.http
    except (OSError, UnicodeDecodeError, ConfigFailedError):
        http = None
    return http.listen if http else LISTEN
