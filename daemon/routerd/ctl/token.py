from __future__ import annotations

import sys
from pathlib import Path

import click

from routerd_client import Client
from routerd_client.errors import DaemonUnavailableError, RouterdError

from ..config.places import places
from ..gateway.token import Token, rotate
from .common import EXIT_FAILED, fail


@click.command()
@click.option("--rotate", "anew", is_flag=True, help="Make a new one; the old one is worth nothing from then on.")
def command(anew: bool) -> None:
    """Print the token that requests over TCP must bring; it is made where there is none yet.

    Send it as `Authorization: Bearer TOKEN` or `x-api-key: TOKEN`. Over the Unix socket none is needed.

    \b
    Examples:
      export OPENAI_API_KEY=$(routerctl token)
      routerctl token --rotate
    """
    state = _state()
    try:
        click.echo(rotate(state) if anew else Token(state)())
    except OSError as error:
        click.echo(f"routerctl: the token cannot be kept: {error}", err=True)
        sys.exit(EXIT_FAILED)


def _state() -> Path:
    """The state folder of the daemon that answers, else of the one that would be started here."""
    try:
        with Client(click.get_current_context().obj, name="routerctl") as client:
            return Path(client.status().state_dir)
    except DaemonUnavailableError:
        return places().state
    except RouterdError as error:
        fail(error)
        raise
