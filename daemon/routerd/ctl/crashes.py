from __future__ import annotations

import sys
from pathlib import Path

import click
from msgspec import structs

from ..config.places import places
from ..crashes import Crash, kept
from .common import EXIT_FAILED, json_option, print_json, running, size, table


@click.command()
@click.argument("backend", default="")
@click.option("--last", is_flag=True, help="The newest report, whole: command line, memory, its last words.")
@json_option
def command(backend: str, last: bool, as_json: bool) -> None:
    """List the model processes that died, the newest last: all, or those of BACKEND. Needs no daemon.

    The daemon keeps a report of the last twenty in its state folder. What was unloaded, or could not load its model and
    said why, is no crash.

    \b
    Examples:
      routerctl crashes
      routerctl crashes small --last
      routerctl crashes --json | jq '.crashes[].says'
    """
    daemon = running(click.get_current_context())
    state = Path(daemon.state_dir) if daemon else places().state
    found = [(file, crash) for file, crash in kept(state) if backend in ("", crash.backend)]
    if as_json:
        chosen = found[-1:] if last else found
        print_json({"crashes": [structs.asdict(crash) | {"file": str(file)} for file, crash in chosen]})
    elif not found:
        click.echo("no model process has died")
    elif last:
        file, _ = found[-1]
        try:
            click.echo(file.read_text("utf-8", "replace").rstrip())
        except OSError as error:
            click.echo(f"routerctl: {file} cannot be read: {error.strerror}", err=True)
            sys.exit(EXIT_FAILED)
    else:
        click.echo(table([_row(crash) for _, crash in found]))
        click.echo(f"\nthe reports: {found[-1][0].parent}")


def _row(crash: Crash) -> dict[str, str]:
    return {
        "when (utc)": crash.at[:19].replace("T", " "),
        "backend": crash.backend,
        "pid": str(crash.pid),
        "kind": crash.kind,
        "memory": size(crash.measured) if crash.measured else "",
        "how": crash.says[:100],
    }
