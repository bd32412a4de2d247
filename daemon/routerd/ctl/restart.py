from __future__ import annotations

import click

from .agent import asking, chosen_places, refuse_another, said_started, until_answers


@click.command()
def command() -> None:
    """Restart the login agent, after an upgrade say: open answers may end first (up to 20 s).

    \b
    Examples:
      routerctl restart
    """
    with asking() as agent:
        refuse_another(agent)
        agent.restart()
        status = until_answers(agent, chosen_places())
    click.echo(said_started(status))
