from __future__ import annotations

import click

from .agent import asking, refuse_another


@click.command()
def command() -> None:
    """Stop the login agent: open answers may end first (up to 20 s). It comes back with `start`, or the next login.

    \b
    Examples:
      routerctl stop
    """
    with asking() as agent:
        refuse_another(agent)
        agent.stop()
    click.echo("the login agent is stopped")
