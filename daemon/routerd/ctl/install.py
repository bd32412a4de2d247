from __future__ import annotations

import os
import sys

import click

from .. import __version__
from ..agent.launchd import plist
from ..agent.manager import Manager, outdated
from ..agent.program import passing
from ..agent.secrets import offer, unresolved
from ..agent.setup import Setup, setup
from ..agent.systemd import service_unit, socket_unit
from ..app.compiled import compile_file
from ..config.load import ConfigFailedError
from ..config.places import Places
from ..config.presets import render
from ..config.schema import ConfigSpec
from ..gateway.token import Token
from .agent import asking, chosen_places, refuse_another, said_started, until_answers
from .common import EXIT_WRONG
from .init import write_new

PRINTED = {"plist": plist, "service": service_unit, "socket": socket_unit}


@click.command()
@click.option("--dry-run", is_flag=True, help="Say what would be done, and do nothing.")
@click.option("--print", "printed", type=click.Choice(list(PRINTED)), help="Print the file for this machine; no more.")
def command(dry_run: bool, printed: str | None) -> None:
    """Have routerd run whenever you are logged in, as a LaunchAgent or a systemd user service.

    Writes a first routes.yaml where there is none (a small demo model), starts the daemon and waits until it answers.
    Run again, it changes only what is not so already; after an upgrade it restarts the daemon. ROUTERD_*, XDG_* and
    HF_* variables that say where things are, and --socket, are kept for the daemon. `routerctl uninstall` undoes it.

    \b
    Examples:
      routerctl install
      routerctl install --dry-run
      routerctl install --print plist | plutil -lint -
    """
    where = chosen_places()
    wanted = setup(where, os.environ)
    if printed:
        click.echo(PRINTED[printed](wanted).decode(), nl=False)
        return
    with asking() as agent:
        if dry_run:
            for line in _plan(agent, wanted, where):
                click.echo(line)
            return
        status = refuse_another(agent)
        config = _have_config(where)
        _warn(wanted, where)
        changed = outdated(agent.files(wanted))
        if status is None or changed or status.version != __version__:
            agent.install(wanted)
            status = until_answers(agent, where)
        for file in changed:
            click.echo(f"wrote {file}")
    click.echo(said_started(status))
    if config.http:
        Token(where.state)()
        click.echo("routerctl token prints what requests over HTTP must bring")
    click.echo("undo it with: routerctl uninstall" + _note(agent))


def _have_config(where: Places) -> ConfigSpec:
    """The routes.yaml, a first one where there was none; ends the command where it has mistakes."""
    try:
        write_new(where.config, render("two"), force=False)
        click.echo(f"wrote {where.config}: a small demo model; routerctl init --force --model ... takes your own")
    except FileExistsError:
        pass
    try:
        return compile_file(where.config, where.state).loaded.config
    except ConfigFailedError as error:
        click.echo("\n".join(map(str, error.errors)), err=True)
        click.echo("routerctl: nothing was installed; correct the file first", err=True)
        sys.exit(EXIT_WRONG)


def _warn(wanted: Setup, where: Places) -> None:
    """Of what will not work, though nothing stands in the way of installing it."""
    if passing(wanted.program):
        hint = "it will vanish: make install, in routerd's folder, then install again"
        click.echo(f"warning: {wanted.program} is in a temporary folder; {hint}", err=True)
    for missing in unresolved(wanted):
        click.echo(f"warning: {missing.where}: {missing.why}. The agent does not see your shell's variables:", err=True)
        click.echo(f"  {offer(missing, where.config.parent, keychain=sys.platform == 'darwin')}", err=True)


def _plan(agent: Manager, wanted: Setup, where: Places) -> list[str]:
    files = agent.files(wanted)
    changed = outdated(files)
    lines = [] if where.config.exists() else [f"would write {where.config}: a small demo model"]
    lines += [f"would write {file}" if file in changed else f"is so already: {file}" for file in files]
    return [*lines, *(f"would run: {command}" for command in agent.commands())]


def _note(agent: Manager) -> str:
    if agent.name == "launchd":
        return "\nmacOS will say that routerd can run in the background: it is listed under Login Items"
    return "\nit ends when you log out; to keep it: loginctl enable-linger"
