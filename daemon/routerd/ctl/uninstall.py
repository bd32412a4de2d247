from __future__ import annotations

import shutil
import sys
from pathlib import Path

import click

from ..agent.starts import FILE
from ..config.places import Places
from .agent import asking, chosen_places
from .common import EXIT_FAILED, running


@click.command()
@click.option("--purge", is_flag=True, help="Remove its state, logs and the models it made, too.")
@click.option("--yes", is_flag=True, help="Do not ask before --purge removes them.")
def command(purge: bool, yes: bool) -> None:
    """Stop the login agent, and remove what `routerctl install` wrote. routes.yaml and downloaded models stay.

    \b
    Examples:
      routerctl uninstall
      routerctl uninstall --purge --yes
    """
    where = chosen_places()
    folders = _own_folders(where) if purge else []
    if folders and not yes:
        click.echo("\n".join(map(str, folders)))
        click.confirm("Remove these folders with all that is in them?", abort=True)
    with asking() as agent:
        removed = agent.uninstall()
    if purge and (status := running(click.get_current_context())):
        click.echo(f"routerctl: a daemon (pid {status.pid}) still uses {status.state_dir}: nothing is purged", err=True)
        sys.exit(EXIT_FAILED)
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)
    for path in [*removed, *folders]:
        click.echo(f"removed {path}")
    if not removed:
        click.echo("the login agent was not installed")
    click.echo(f"kept {where.config}")


def _own_folders(where: Places) -> list[Path]:
    """State, logs and cache, those inside another left out; none that could be anything but routerd's."""
    folders = [folder for folder in (where.state, where.logs, where.cache) if folder.is_dir() and _own(folder, where)]
    return [one for one in folders if not any(one != other and one.is_relative_to(other) for other in folders)]


def _own(folder: Path, where: Places) -> bool:
    named = "routerd" in (folder.name, folder.parent.name)
    return not folder.is_symlink() and (named or (folder == where.state and (folder / FILE).exists()))
